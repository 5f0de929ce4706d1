package home

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// What left is held against what the requester signed and what its docket says: each release's commitment is looked for in the daily
// entries, and each sealed message in them is tried with the keys of this home's answers. All of that is done here, at the moments at which
// this home looks at its folders, and nothing is sent.

// Stand is where a release that left is in its life, as far as its owner can tell.
type Stand string

// How a release may stand.
const (
	StandSending      Stand = "sending"      // its key has not left
	StandAllowed      Stand = "allowed"      // its owner let it be passed on, and nobody signed that it was
	StandUnsigned     Stand = "unsigned"     // blocks left and nothing was signed for all of them
	StandKeyUnsure    Stand = "key-unsure"   // the key left, and the requester did not say that it came
	StandHeld         Stand = "held"         // signed for; the docket has time to tell
	StandPromised     Stand = "promised"     // the docket holds the commitment
	StandDeleted      Stand = "deleted"      // the docket says so
	StandGone         Stand = "gone"         // the requester signed so, and the docket has time to tell
	StandKeptByLaw    Stand = "kept-by-law"  // a hold stands in the way
	StandMissing      Stand = "missing"      // grant.FaultMissing
	StandOverdue      Stand = "overdue"      // grant.FaultOverdue
	StandContradicted Stand = "contradicted" // grant.FaultContradicted
)

// Failed says whether a docket fails what was signed.
func (s Stand) Failed() bool {
	return s == StandMissing || s == StandOverdue || s == StandContradicted
}

// Promise is one release that left, what binds one of its holders, and how it stands.
type Promise struct {
	Release  string            `json:"release"`
	Answer   string            `json:"answer"`
	Request  consent.RequestID `json:"request"`
	Case     string            `json:"case"`
	Agency   string            `json:"agency"`
	AgencyID consent.AgencyID  `json:"agency_id"`
	Via      consent.AgencyID  `json:"via,omitempty"` // the agency that passed it on to this one
	Camera   string            `json:"camera"`
	From     time.Time         `json:"from"`
	Until    time.Time         `json:"until"`
	Terms    grant.Terms       `json:"terms"` // with what the owner said since
	State    Stand             `json:"state"`
	Words    string            `json:"words"`         // the same for people
	Due      docket.Day        `json:"due,omitempty"` // the day by which the docket is to say more
	Docket   *docket.Follow    `json:"docket,omitempty"`
	Silent   docket.Day        `json:"silent,omitempty"` // the docket's daily entries stopped on this day
	Breach   string            `json:"breach,omitempty"` // of what it fails now: "", "leaving" or "public"
	Faults   []Fault           `json:"faults,omitempty"` // all that was ever found, the oldest first
	Said     []Said            `json:"said"`
}

// Broken are the faults of which how the release stands now says nothing.
func (p Promise) Broken() []Fault {
	return slices.DeleteFunc(slices.Clone(p.Faults), func(f Fault) bool { return f.Over == "" && f.Kind == grant.Fault(p.State) })
}

// Said is one thing that either side said about a release, in order.
type Said struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"` // "owner" or "requester"
	What string    `json:"what"`
	Text string    `json:"text,omitempty"`
	ID   string    `json:"id"` // SHA-256 of the note
}

// file names of what was said in an answer's folder.
const saidFile = "said" // records: notes that the requester signed, as they came

// maxSaid bounds what a requester may have this home keep about one answer.
const maxSaid = 1000

// notes are what the requester said about an answer: the receipts of the delivery, and what came since.
func (h *Home) notes(a *Answer) (all [][]byte, err error) {
	for i := range a.Releases {
		b, err := os.ReadFile(h.file(a, fmt.Sprintf("%d.receipt", i)))
		if err == nil {
			all = append(all, b)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	_, err = h.disk().ReadRecords(h.file(a, saidFile), func(b []byte) error {
		all = append(all, bytes.Clone(b))
		return nil
	})
	return all, err
}

// hears keeps what the requester signed about an answer, beside what is kept already.
func (h *Home) hears(a *Answer, note []byte) error {
	f, err := h.disk().OpenAppend(h.file(a, saidFile), 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Append(durable.AppendRecord(nil, note)), f.Close())
}

// given is an answer's grant, and the request that it answers.
type given struct {
	grant   grant.Grant
	id      consent.GrantID
	request node.Request
}

func (h *Home) given(a *Answer) (g given, err error) {
	note, err := os.ReadFile(h.file(a, "grant.note"))
	if err != nil {
		return g, err
	}
	if g.grant, err = grant.OpenGrant(note); err != nil {
		return g, err
	}
	g.id = grant.IDOf(note)
	g.request, err = h.peer.Held(a.Request)
	return g, err
}

// promisesAbout say how a release stands with each of its holders. The caller holds h.mu.
func (h *Home) promisesAbout(a *Answer, i int, g given, notes [][]byte) (out []Promise, err error) {
	all, err := h.holders(a, i, g, notes)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		p, err := h.promise(a, i, g, o, notes)
		if err != nil {
			return nil, err
		}
		if p.State == StandAllowed && slices.ContainsFunc(out, func(q Promise) bool { return q.AgencyID == o.From && saidPassedOn(q, o.name) }) {
			p.State, p.Words = StandUnsigned, fmt.Sprintf("%s says that it was passed on; %s has signed nothing for it yet", h.nameOf(o.From), o.name)
		}
		out = append(out, p)
	}
	return out, nil
}

func saidPassedOn(p Promise, to string) bool {
	return slices.ContainsFunc(p.Said, func(s Said) bool { return s.By == "requester" && s.What == string(grant.PassedOn) && s.Text == to })
}

func (h *Home) nameOf(id consent.AgencyID) string {
	if x, ok := h.peer.Agency(id); ok {
		return x.Name
	}
	return string(id)
}

// promise says how a release stands with one holder. The caller holds h.mu.
func (h *Home) promise(a *Answer, i int, g given, o holder, notes [][]byte) (Promise, error) {
	rel := a.Releases[i]
	p := Promise{Release: rel.Root, Answer: a.ID, Request: a.Request, Case: g.request.Body.Case, Agency: o.name, AgencyID: o.Holder, Via: o.From, Camera: rel.Camera, From: rel.From, Until: rel.Until,
		Terms: o.Terms, Said: []Said{}}
	for _, f := range rel.Faults {
		if f.Holder == o.Holder {
			p.Faults = append(p.Faults, f)
		}
	}
	if f := rel.fault(o.Holder); f != nil {
		p.Breach = f.Breach
	}
	var receipts []grant.Receipt
	for _, n := range notes {
		if r, ok := o.receipt(n); ok {
			p.Said = append(p.Said, Said{r.At.Time, "requester", string(r.State), r.Detail, consent.HashText(n)})
			receipts = append(receipts, r)
		} else if m, ok := o.message(n); ok {
			text := m.Reason
			switch m.Ask {
			case grant.AskExtension:
				text = "until " + m.RetainUntil.String() + ": " + text
			case grant.AskPassOn:
				text = "to " + string(m.To) + ": " + text
			}
			p.Said = append(p.Said, Said{m.Created.Time, "requester", "asks: " + string(m.Ask), text, consent.HashText(n)})
		}
	}
	for _, w := range a.Words {
		if w.Release == rel.Root && w.To == o.Holder {
			p.Said = append(p.Said, w.said())
		}
	}
	slices.SortStableFunc(p.Said, func(a, b Said) int { return a.At.Compare(b.At) })
	slices.SortStableFunc(receipts, func(a, b grant.Receipt) int { return a.At.Compare(b.At.Time) })
	h.stand(&p, a, g, rel, o, receipts)
	return p, nil
}

// stand holds a release against its holder's docket. receipts are all that the holder signed about it, oldest first.
func (h *Home) stand(p *Promise, a *Answer, g given, rel Release, o holder, all []grant.Receipt) {
	say := func(s Stand, format string, args ...any) {
		p.State, p.Words = s, fmt.Sprintf(format, args...)
	}
	// The commitment that counts is the newest that the holder signed for: an extension that it did not answer changes nothing that it owes.
	commitment := o.Commitment()
	var receipts []grant.Receipt
	for i := len(o.Secrets) - 1; i >= 0 && len(receipts) == 0; i-- {
		commitment = grant.Release{CID: o.CID, Secret: o.Secrets[i]}.Commitment()
		for _, r := range all {
			if r.Commitment == commitment {
				receipts = append(receipts, r)
			}
		}
	}
	if len(receipts) == 0 {
		switch {
		case o.From != "":
			say(StandAllowed, "%s may have it; nobody has said that it was passed on", o.name)
		case rel.Sent == 0:
			say(StandSending, "nothing of it has left")
		default:
			say(StandUnsigned, "%d of %d blocks left; the agency signed nothing for it and has no key", rel.Sent, rel.Blocks)
		}
		return
	}
	last := all[len(all)-1]
	d := h.peer.Docket(p.AgencyID)
	if d == nil {
		say(StandHeld, "signed for on %s; this node does not follow the agency's docket", docket.DayOf(last.At.Time))
		return
	}
	// It is judged by when it was last heard: what this node missed is no fault of the agency's. What was found before this node was started stands
	// until the docket says otherwise.
	now := d.Current()
	if now.IsZero() && rel.fault(o.Holder) != nil {
		now = h.peer.Now()
	}
	p.Silent = h.peer.Promises(p.AgencyID).Silent
	f, known := d.Follow(commitment)
	if known {
		p.Docket = &f
	}
	var fault grant.Fault
	for _, r := range receipts {
		for _, x := range d.Fails(r, now) {
			fault = x
		}
	}
	// A hold may cover the release under an earlier commitment, and something else may have been signed since.
	law, byLaw := grant.Receipt{}, false
	today := now
	if today.IsZero() {
		today = h.peer.Now()
	}
	for _, r := range all {
		if r.State == grant.KeptByLaw && slices.ContainsFunc(o.Secrets, func(s grant.Secret) bool {
			return d.Covers(r.Entry, r.Salt, grant.Release{CID: o.CID, Secret: s}.Commitment(), today)
		}) {
			law, byLaw = r, true
		}
	}
	switch {
	case fault == grant.FaultOverdue && byLaw:
		say(StandKeptByLaw, "kept by law: %s", law.Detail)
	case fault == grant.FaultOverdue:
		p.Due = f.Due
		say(StandOverdue, "OVERDUE: its deletion was due on %s, and the docket does not say it", f.Due)
	case fault == grant.FaultMissing:
		p.Due = docket.DayOf(receipts[0].At.Add(grant.CommitWithin))
		say(StandMissing, "MISSING: the agency signed for it, and it is in no daily entry; it had to be by %s", p.Due)
	case fault == grant.FaultContradicted:
		p.Due = f.Deleted
		say(StandContradicted, "CONTRADICTED: the docket says that it was deleted on %s; the agency signed later that it is there", f.Deleted)
	case known && f.Deleted != "":
		say(StandDeleted, "deleted on %s, as the docket says", f.Deleted)
	case byLaw:
		say(StandKeptByLaw, "kept by law: %s", law.Detail)
	case last.State == grant.Deleted:
		say(StandGone, "deleted, the agency signed on %s; the docket is yet to say it", docket.DayOf(last.At.Time))
	case known:
		p.Due = f.Due
		say(StandPromised, "in the docket since %s, to be deleted by %s%s", f.Day, f.Due, happened(f))
		if f.Used != "" && !slices.ContainsFunc(all, func(r grant.Receipt) bool { return r.State != grant.Held }) {
			p.Words += ", which the agency has not signed to you"
		}
	case !rel.Key:
		say(StandKeyUnsure, "signed for; its key has not left")
	case !d.HasDaily(docket.DayOf(receipts[0].At.Time)):
		say(StandHeld, "signed for on %s; the charter had no daily entries then, and the docket need not tell of it", docket.DayOf(receipts[0].At.Time))
	default:
		p.Due = docket.DayOf(receipts[0].At.Add(grant.CommitWithin))
		say(StandHeld, "signed for on %s; it is to be in a daily entry by %s", docket.DayOf(receipts[0].At.Time), p.Due)
	}
	if known && f.Deleted == "" {
		p.Words += entered(d, f, a, g, o, commitment)
	}
	if until := d.Until(); !until.IsZero() && p.State != StandDeleted {
		p.Words += fmt.Sprintf("; the charter has not listed the agency since %s, and its docket says no more", docket.DayOf(until))
	} else if away := h.peer.Now().Sub(now); !d.Current().IsZero() && away > 24*time.Hour && p.State != StandDeleted {
		p.Words += fmt.Sprintf("; nobody was heard to have more of the docket since %s", docket.DayOf(now))
	} else if p.Silent != "" && p.State != StandDeleted {
		p.Words += fmt.Sprintf("; the docket has been silent since %s", p.Silent)
	}
}

// entered says where a docket has a release among those kept for longer than its terms ask for; "" where it has not. No receipt says which class it
// was to be in, so that nobody but its owner can see this, and no breach record shows it.
func entered(d *node.Docket, f docket.Follow, a *Answer, g given, o holder, c grant.Commitment) string {
	from, until := g.grant.Created, g.grant.Terms.RetainUntil
	for _, w := range a.Words {
		if x, err := grant.OpenOnward([]byte(w.Note)); err == nil && x.CID == o.CID && x.To == o.Holder {
			from, until = x.Created, x.Terms.RetainUntil
		}
		if e, err := grant.OpenExtension([]byte(w.Note)); err == nil && (grant.Release{CID: o.CID, Secret: e.Secret}).Commitment() == c {
			from, until = e.Created, e.RetainUntil
			break
		}
	}
	for _, class := range d.Classes(f.Day) {
		if class.KeepDays < f.KeepDays && !until.After(from.AddDate(0, 0, class.KeepDays)) {
			return fmt.Sprintf("; ENTERED FOR LONGER: among those kept %d days, where its terms end on %s and %d days would do: the docket is not seen to be overdue before", f.KeepDays, docket.DayOf(until.Time), class.KeepDays)
		}
	}
	return ""
}

func happened(f docket.Follow) string {
	var all []string
	for _, x := range []struct {
		what string
		on   docket.Day
	}{{"used", f.Used}, {"exported", f.Exported}, {"passed on", f.PassedOn}} {
		if x.on != "" {
			all = append(all, x.what)
		}
	}
	if all == nil {
		return ""
	}
	return "; said to be " + strings.Join(all, ", ")
}

// promises are all releases that something of has left, the newest answer first.
func (h *Home) promises(_ context.Context, a PromisesArg) ([]Promise, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []Promise{}
	for _, ans := range h.sorted() {
		of, err := h.promisesOf(ans)
		if err != nil {
			return nil, err
		}
		for _, p := range of {
			if strings.HasPrefix(p.Release, a.Release) {
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// PromisesArg is the arguments of "home.promises": those whose release begins so.
type PromisesArg struct {
	Release string `json:"release,omitempty"`
}

// sorted are the answers, the newest first. The caller holds h.mu.
func (h *Home) sorted() (all []*Answer) {
	for _, a := range h.answers {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *Answer) int { return b.Created.Compare(a.Created) })
	return all
}

// promisesOf are those of one answer. The caller holds h.mu.
func (h *Home) promisesOf(a *Answer) (out []Promise, err error) {
	if a.Grant == "" || !slices.ContainsFunc(a.Releases, func(r Release) bool { return r.Sent > 0 || r.Receipt }) {
		return nil, nil
	}
	g, err := h.given(a)
	if err != nil {
		return nil, fmt.Errorf("answer %s: %w", a.ID, err)
	}
	notes, err := h.notes(a)
	if err != nil {
		return nil, err
	}
	for i, r := range a.Releases {
		if r.Sent > 0 || r.Receipt {
			of, err := h.promisesAbout(a, i, g, notes)
			if err != nil {
				return nil, fmt.Errorf("answer %s: %w", a.ID, err)
			}
			out = append(out, of...)
		}
	}
	return out, nil
}

// watch looks at what the dockets say of what left, once for each of their entries and each day on which they were heard.
func (h *Home) watch() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.answers {
		if a.Grant == "" || a.unsure {
			continue
		}
		if err := h.watchOne(a); err != nil {
			h.peer.Log.Error("what left is not held against the docket", "answer", a.ID, "err", err)
		}
	}
}

func (h *Home) watchOne(a *Answer) error {
	if !slices.ContainsFunc(a.Releases, func(r Release) bool { return r.Receipt }) {
		return nil
	}
	seen := h.watched[a.ID]
	look := map[consent.AgencyID]watched{}
	fresh := false
	for _, id := range a.agencies() {
		d := h.peer.Docket(id)
		if d == nil || d.Broken() || d.Current().IsZero() {
			continue
		}
		size, _ := d.Head()
		look[id] = watched{size, docket.DayOf(d.Current())}
		if seen[id] != look[id] {
			fresh = true
		}
	}
	if !fresh {
		return nil
	}
	next := a.copy()
	changed := false
	for id, to := range look {
		from := next.Heard[id]
		if err := h.listen(a, h.peer.Docket(id), from, to.size); err != nil {
			return err
		}
		if next.Heard == nil {
			next.Heard = map[consent.AgencyID]int64{}
		}
		next.Heard[id] = max(from, to.size)
		changed = changed || to.size-from >= readAgain
	}
	of, err := h.promisesOf(a)
	if err != nil {
		return err
	}
	for _, p := range of {
		if _, looked := look[p.AgencyID]; !looked {
			continue
		}
		r := &next.Releases[slices.IndexFunc(next.Releases, func(r Release) bool { return r.Root == p.Release })]
		var was, kind grant.Fault
		if f := r.fault(p.AgencyID); f != nil {
			was = f.Kind
		}
		if p.State.Failed() {
			kind = grant.Fault(p.State)
		}
		if was == kind {
			continue
		}
		step := stepFails
		if kind == "" {
			step = "the docket fails it no more"
		}
		if err := h.ledger.Note("node", step, p.Release, p.Agency+": "+p.Words); err != nil {
			return err
		}
		r.judged(p.AgencyID, kind, docket.DayOf(h.peer.Now()))
		changed = true
	}
	if changed {
		if err := h.record(&next); err != nil {
			return err
		}
	}
	*a = next
	h.watched[a.ID] = look
	return nil
}

const stepFails = "the docket fails what was signed"

// watched is how far an answer was held against a docket.
type watched struct {
	size int64
	day  docket.Day
}

// agencies are those whose dockets tell of an answer: the one that it went to, and those that its owner let it be passed on to.
func (a *Answer) agencies() []consent.AgencyID {
	all := []consent.AgencyID{a.Agency}
	for _, w := range a.Words {
		if o, err := grant.OpenOnward([]byte(w.Note)); err == nil && !w.Said.IsZero() && !slices.Contains(all, o.To) {
			all = append(all, o.To)
		}
	}
	return all
}
