package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

const (
	// maxOfficers bounds how many keys of a docket a record lists.
	maxOfficers = 1000
	// recordPage is how many requests a page of a record has at most.
	recordPage = 100
)

// Record gathers the record of one agency, or of all that any version of the charter admitted, without their requests.
func (p *Peer) Record(id consent.AgencyID) (Record, error) {
	chain := p.chainCopy()
	if len(chain) == 0 {
		return Record{}, WithHint(errors.New("this node has joined no mesh"), "run `porchlight join LINK` with an invitation")
	}
	c := chain.Current()
	rec := Record{Version: RecordVersion, Mesh: c.Mesh, MeshID: chain.Mesh(), Charter: c.Version, Made: p.Now().UTC().Truncate(time.Second), Agencies: []AgencyRecord{}}
	for _, s := range standards(chain) {
		d := p.Docket(s.agency.ID())
		if d == nil || id != "" && s.agency.ID() != id {
			continue
		}
		a, err := p.agencyRecord(chain, d)
		if err != nil {
			return Record{}, fmt.Errorf("docket of %s: %w", s.agency.Name, err)
		}
		rec.Agencies = append(rec.Agencies, a)
	}
	if id != "" && len(rec.Agencies) == 0 {
		return Record{}, errNotAdmitted
	}
	slices.SortFunc(rec.Agencies, func(a, b AgencyRecord) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(string(a.ID), string(b.ID)))
	})
	return rec, nil
}

func (p *Peer) agencyRecord(chain charter.Chain, d *Docket) (AgencyRecord, error) {
	if err := p.readDocket(d); err != nil {
		return AgencyRecord{}, err
	}
	a := d.describe()
	a.Standing, a.Charter = p.Standing(a.ID), chronicle(chain, a.ID)
	a.Succeeds = append([]consent.AgencyID{}, chain.Lineage(a.ID)...)
	a.Exigent, a.Tally, a.Promises = p.ExigentCounts(a.ID), p.Tally(a.ID), p.Promises(a.ID)
	if err := d.listOfficers(&a); err != nil {
		return AgencyRecord{}, err
	}
	past := p.newHistory(d)
	for i := range a.Entries {
		r, ok, err := p.requestAt(d, i)
		if err != nil {
			return AgencyRecord{}, err
		}
		if !ok {
			continue
		}
		past.judge(r)
		if p.bar(r) != nil {
			a.NotShown++
		}
	}
	return a, nil
}

// describe is what the docket itself shows of its agency.
func (d *Docket) describe() AgencyRecord {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := AgencyRecord{ID: d.agency.ID(), Name: d.agency.Name, Class: d.agency.Class, PolicyURL: d.agency.PolicyURL, Entries: d.log.Size(), Root: d.log.Root().String(),
		Witnessed: Witnessed{Quorum: d.quorum, Of: len(d.witnesses), By: []string{}, Entries: d.shown.Size}, Refused: map[consent.Class]int{}, Officers: []OfficerRecord{}}
	for _, w := range d.witnesses {
		if slices.Contains(d.shown.By, w.Key) {
			a.Witnessed.By = append(a.Witnessed.By, w.Name)
		}
	}
	for i := range a.Entries {
		switch class := d.log.Refused(i); class {
		case "":
		case consent.Unread:
			a.Unread++
		default:
			a.Refused[class]++
		}
	}
	if d.proof != nil {
		a.Proof = &Proof{Shows: proofWords(d.agency, d.proof), Text: string(d.proof)}
	}
	return a
}

// proofWords says what a proof of misconduct shows.
func proofWords(a charter.Agency, proof []byte) string {
	m, err := docket.ParseMisconduct(proof)
	if err != nil {
		return ""
	}
	one, _ := docket.ParseCheckpoint([]byte(m.One), a)
	other, _ := docket.ParseCheckpoint([]byte(m.Other), a)
	var shows string
	switch {
	case m.Entries != nil:
		shows = fmt.Sprintf("signed two dockets, of %d and of %d entries, in which entry %d is not the same", one.Size, other.Size, m.Entries.Index)
	case one.Size == other.Size:
		shows = fmt.Sprintf("signed two dockets of %d entries that are not the same", one.Size)
	default:
		shows = fmt.Sprintf("signed a docket of %d entries, and one of %d that does not begin with them", one.Size, other.Size)
	}
	return a.Name + " " + shows + ": it showed different things to different people, or took something back. Whoever has its key, which stands in the charter, can check this proof and need believe nobody."
}

// listOfficers reads who is enrolled and since when. A key whose enrolment the docket does not hold is the charter's.
func (d *Docket) listOfficers(a *AgencyRecord) error {
	d.mu.Lock()
	all := d.log.Officers().All()
	d.mu.Unlock()
	a.Persons = len(all)
	for _, e := range all[:min(len(all), maxOfficers)] {
		o := OfficerRecord{Person: Person{e.Name, e.Key}, Role: e.Role, Expires: e.Expires.Time}
		if e.Index >= 0 {
			entry, err := readEntry(d, e.Index, docket.OpenOfficer)
			if err != nil {
				return err
			}
			o.Enrolled = entry.Created.Time
		}
		if e.Revoked {
			entry, err := readEntry(d, e.RevokedAt, docket.OpenOfficer)
			if err != nil {
				return err
			}
			o.Revoked, o.Reason = entry.Created.Time, entry.Reason
		}
		a.Officers = append(a.Officers, o)
	}
	return nil
}

func readEntry[T any](d *Docket, i int64, open func([]byte) (T, error)) (v T, err error) {
	note, err := d.Read(i)
	if err != nil {
		return v, err
	}
	return open(note)
}

// person is who signed with a key, by the docket.
func (d *Docket) person(k consent.VerifierKey) Person {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, _ := d.log.Officer(k)
	return Person{e.Name, k}
}

// RecordRequests are the requests of one agency's docket before an index, newest first, and the index to go on before; 0 when
// there are no more.
func (p *Peer) RecordRequests(id consent.AgencyID, before int64) (page []RequestRecord, next int64, err error) {
	d := p.Docket(id)
	if d == nil {
		return nil, 0, errNotAdmitted
	}
	page = []RequestRecord{}
	for next = min(before, d.Size()); next > 0 && len(page) < recordPage; next-- {
		r, ok, err := p.requestAt(d, next-1)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			continue
		}
		rec, err := p.requestRecord(d, r)
		if err != nil {
			return nil, 0, fmt.Errorf("entry %d of the docket of %s: %w", r.Index, r.Name, err)
		}
		page = append(page, rec)
	}
	return page, next, nil
}

// requestAt is the request that is the entry at an index, if it is a sound one.
func (p *Peer) requestAt(d *Docket, i int64) (r Request, ok bool, err error) {
	leaf, err := d.leaf(i)
	if err != nil {
		return r, false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok = p.requests[consent.RequestID(hex.EncodeToString(leaf[:]))]
	if !ok || r.Index != i || r.Agency != d.ID() {
		return r, false, nil
	}
	r.Ended = d.ended(r.ID)
	return r, true, nil
}

func (p *Peer) requestRecord(d *Docket, r Request) (rec RequestRecord, err error) {
	rec = RequestRecord{ID: r.ID, Agency: r.Agency, AgencyName: r.Name, Index: r.Index, State: r.state(p.Now()), Officer: d.person(r.Body.Officer),
		Supervisor: d.person(r.Body.Supervisor), AreaM2: r.Body.Area.AreaM2(), Body: r.Body, Objections: p.Objections(r), Breaches: p.BreachesOf(r), NotShown: p.bar(r)}
	account := d.account(r.ID)
	rec.Report, rec.Outcome = p.account(account, r.Body)
	if rec.Report != nil && account.Report > 0 {
		report, err := readEntry(d, account.Report, docket.OpenReport)
		if err != nil {
			return rec, err
		}
		rec.Report.Text = report.Text
	}
	switch {
	case account.Ending == 0:
	case r.Ended == string(docket.StateSuperseded):
		s, err := readEntry(d, account.Ending, docket.OpenSupersede)
		if err != nil {
			return rec, err
		}
		rec.Ending = &Ending{s.Created.Time, s.Reason, s.Replacement}
	default:
		s, err := readEntry(d, account.Ending, docket.OpenResolve)
		if err != nil {
			return rec, err
		}
		rec.Ending = &Ending{At: s.Created.Time, Reason: s.Reason}
	}
	return rec, nil
}

// state is the request's in one word.
func (r Request) state(now time.Time) string {
	switch {
	case r.Ended != "":
		return r.Ended
	case r.Live(now):
		return "live"
	}
	return "expired"
}

// bar says why owners are not shown a request; of one that is over, only what the charter and the requests before it say.
func (p *Peer) bar(r Request) *Bar {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if r.Live(p.Now()) {
		err = p.lawful(r)
	} else if v := p.verdicts[r.ID]; v.charter == p.chain.CurrentHash() {
		err = v.err
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errForked):
		return &Bar{consent.Suspended, "the agency signed two versions of its docket"}
	case errors.Is(err, errNotAdmitted):
		return &Bar{consent.UnknownAgency, "the charter does not admit the agency"}
	}
	if e, ok := errors.AsType[*consent.Error](err); ok && e.Err != nil {
		return &Bar{e.Class, e.Err.Error()}
	}
	return &Bar{consent.ClassOf(err), err.Error()}
}

// A history judges the requests of one docket in their order. It finds what came before a request by what can matter to it: the
// case, the offence on the days of the window, the day on which it was made. Comparing all with all would take a long docket hours.
type history struct {
	p     *Peer
	a     charter.Agency
	c     *charter.Charter
	hash  string
	known map[string][]consent.RequestID
}

// newHistory begins one, with what an agency asked in the dockets that it lost. That of an agency which the charter does not admit judges nothing.
func (p *Peer) newHistory(d *Docket) *history {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &history{p: p, c: p.chain.Current(), hash: p.chain.CurrentHash(), known: map[string][]consent.RequestID{}}
	h.a, _ = h.c.Agency(d.ID())
	if lost := p.chain.Lineage(d.ID()); len(lost) > 0 {
		for _, r := range p.requests {
			if slices.Contains(lost, r.Agency) {
				h.keep(r, subjects(r.Body))
			}
		}
	}
	return h
}

// keep has later requests be held against one.
func (h *history) keep(r Request, keys []string) {
	for _, k := range append(keys, "all "+string(r.Body.Offence)) {
		h.known[k] = append(h.known[k], r.ID)
	}
}

// maxWindowDays is how many days of a window are told apart; a longer window is held against all of its offence.
const maxWindowDays = 16

// subjects are the keys under which a request is kept, and under which those that may matter to it are found.
func subjects(r request.Request) (keys []string) {
	keys = append(keys, "case "+r.Case, "made "+r.Created.Format(time.DateOnly))
	if r.Window() > maxWindowDays*24*time.Hour {
		return append(keys, "long "+string(r.Offence))
	}
	for day := r.From.Truncate(24 * time.Hour); day.Before(r.Until.Time); day = day.Add(24 * time.Hour) {
		keys = append(keys, "on "+day.Format(time.DateOnly)+" "+string(r.Offence))
	}
	return keys
}

// judge fills in the verdict on a request where none stands. Requests come in the order of the docket.
func (h *history) judge(r Request) {
	if h.a.ID() == "" {
		return
	}
	keys := subjects(r.Body)
	defer h.keep(r, keys)
	h.p.mu.Lock()
	v, ok := h.p.verdicts[r.ID]
	h.p.mu.Unlock()
	if ok && v.charter == h.hash {
		return
	}
	err := r.Body.CheckCharter(h.c, h.a)
	if err == nil {
		err = request.CheckHistory(h.before(r.Body, keys), request.Seen{ID: r.ID, Request: r.Body}, h.c.Limits)
	}
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	h.p.verdicts[r.ID] = verdict{h.hash, err}
}

// before are the earlier requests that may matter to one.
func (h *history) before(r request.Request, keys []string) (seen []request.Seen) {
	keys = append(slices.Clone(keys), "long "+string(r.Offence))
	if slices.Contains(keys[:len(keys)-1], "long "+string(r.Offence)) {
		keys = append(keys, "all "+string(r.Offence))
	}
	found := map[consent.RequestID]bool{}
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	for _, k := range keys {
		for _, id := range h.known[k] {
			if !found[id] {
				found[id] = true
				seen = append(seen, request.Seen{ID: id, Request: h.p.requests[id].Body})
			}
		}
	}
	return seen
}

// RecordArg names an agency, "" for all.
type RecordArg struct {
	Agency string `json:"agency"` // its id or the beginning of it, or its name
}

// RequestsArg asks for a page of the record of one agency's requests.
type RequestsArg struct {
	Agency consent.AgencyID `json:"agency"`
	Before int64            `json:"before"` // an index of the docket
}

// RequestsPage is the answer; Next is the next page's Before, 0 when there is none.
type RequestsPage struct {
	Requests []RequestRecord `json:"requests"`
	Next     int64           `json:"next"`
}

func (p *Peer) showRecord(_ context.Context, arg RecordArg) (Record, error) {
	if arg.Agency == "" {
		return p.Record("")
	}
	id, err := p.findAgency(arg.Agency)
	if err != nil {
		return Record{}, err
	}
	return p.Record(id)
}

// findAgency is the agency that a version of the charter admitted, by its name, its id or the beginning of it.
func (p *Peer) findAgency(called string) (consent.AgencyID, error) {
	var found []consent.AgencyID
	for id, s := range standards(p.chainCopy()) {
		if s.agency.Name == called || len(called) >= 6 && strings.HasPrefix(string(id), called) {
			found = append(found, id)
		}
	}
	if len(found) != 1 {
		return "", WithHint(fmt.Errorf("%d agencies of this mesh are called %q", len(found), called), "give the whole name, or at least 6 digits of the id; `porchlight agencies` lists those that the charter admits, `porchlight observe record` all")
	}
	return found[0], nil
}

// AgencyCalled is the agency that the charter admits, by its name, its id or the beginning of it.
func (p *Peer) AgencyCalled(called string) (charter.Agency, error) {
	id, err := p.findAgency(called)
	if err != nil {
		return charter.Agency{}, err
	}
	a, ok := p.Agency(id)
	if !ok {
		return a, WithHint(fmt.Errorf("the charter no longer admits agency %q", called), "`porchlight agencies` lists those that it admits")
	}
	return a, nil
}

func (p *Peer) showRequests(_ context.Context, arg RequestsArg) (RequestsPage, error) {
	page, next, err := p.RecordRequests(arg.Agency, arg.Before)
	return RequestsPage{page, next}, err
}
