package node

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// A breach record is a paper (papers.go): an owner shows a receipt that the agency's docket does not keep. It is taken in while the docket fails the
// receipt; whether it still does is judged again each time it is shown.

// maxBreaches bounds the breach records about one docket: what is over is not kept.
const maxBreaches = 2000

// A Breach is a breach record as this node shows it.
type Breach struct {
	Agency     consent.AgencyID  `json:"agency"`
	Name       string            `json:"name"` // of the agency
	Request    consent.RequestID `json:"request"`
	PassedOn   bool              `json:"passed_on,omitempty"` // to this agency by one that the clip was given to
	Fault      grant.Fault       `json:"fault"`
	Commitment grant.Commitment  `json:"commitment"`
	Received   time.Time         `json:"received"`           // when the agency signed the receipt
	Due        docket.Day        `json:"due"`                // when the docket had to say what it does not say, or said what the receipt denies
	Created    time.Time         `json:"created"`            // the record
	Stands     bool              `json:"stands"`             // the docket still fails the receipt
	Answered   docket.Day        `json:"answered,omitempty"` // the day on which the docket said it after all, where one entry did
	Note       string            `json:"note"`               // the record, for whoever checks it
}

// Words says in plain words what the docket does not keep.
func (b Breach) Words() string {
	due, stands := "", ""
	switch b.Fault {
	case grant.FaultMissing:
		due, stands = "a clip that the agency signed for had to be in a daily entry by %s", ", and is in none"
	case grant.FaultOverdue:
		due, stands = "the deletion of a clip was due on %s", ", and the docket does not say it"
	case grant.FaultContradicted:
		due = "the docket says that a clip was deleted on %s; the agency signed later that it is there"
	}
	s := fmt.Sprintf(due, b.Due)
	if b.PassedOn {
		s = "passed on to " + b.Name + ": " + s
	}
	switch {
	case b.Stands:
		s += stands
	case b.Answered != "":
		s += fmt.Sprintf("; answered since, on %s", b.Answered)
	default:
		s += "; since then the charter lists the agency no more"
	}
	return s
}

// admitBreach keeps a breach record that stands.
func (p *Peer) admitBreach(msg []byte) error {
	b, err := grant.OpenBreach(msg)
	if err != nil {
		return err
	}
	d := p.Docket(b.Agency)
	if d == nil {
		return fmt.Errorf("%w: docket %s: %w", errHere, b.Agency, errNotAdmitted)
	}
	if b.Created.After(p.Now().Add(request.ClockSkew)) {
		return consent.Refuse(consent.NotYetValid, "created", "the record is dated %s, in the future", b.Created)
	}
	p.mu.Lock()
	r, known := p.requests[b.Request]
	p.mu.Unlock()
	// What an agency holds with a card of its own was granted to another.
	if !known || b.Card == "" && r.Agency != b.Agency {
		return fmt.Errorf("%w: %w", errHere, consent.Refuse(consent.UnknownRequest, "request", "the docket holds no request %.16s…", string(b.Request)))
	}
	receipt, err := b.OpenReceipt(r.Body.ReceptionKey)
	if err != nil {
		return err
	}
	if err := d.takeBreach(b, receipt, msg, p.Now()); err != nil {
		return err
	}
	p.arrived() // an owner may have refused what such an agency asks
	return nil
}

// takeBreach keeps a record: one of each fault of a commitment.
func (d *Docket) takeBreach(b grant.Breach, r grant.Receipt, msg []byte, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
	}
	k := keptBreach{b, r, string(bytes.Clone(msg))}
	if _, known := d.breaches[k.id()]; known {
		return errKnown
	}
	if !d.stands(k, now) {
		return fmt.Errorf("%w: the docket of %s does not fail the receipt, or not yet", errHere, d.agency.Name)
	}
	if len(d.breaches) >= maxBreaches {
		if err := d.dropAnswered(now); err != nil {
			return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
		}
	}
	if len(d.breaches) >= maxBreaches {
		return fmt.Errorf("%w: %d breach records about %s stand already", errHere, len(d.breaches), d.agency.Name)
	}
	have := []string{}
	for _, k := range d.breaches {
		have = append(have, k.note)
	}
	if err := d.keepPaper(breachesLog, have, k.note); err != nil {
		return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
	}
	d.breaches[k.id()] = k
	return nil
}

// dropAnswered makes room: an agency may make records against itself, answer them and have no room left for others'. The caller holds d.mu.
func (d *Docket) dropAnswered(now time.Time) error {
	var text []byte
	left := map[string]keptBreach{}
	for id, k := range d.breaches {
		if d.stands(k, now) {
			left[id] = k
			text = durable.AppendRecord(text, []byte(k.note))
		}
	}
	if len(left) == len(d.breaches) {
		return nil
	}
	if err := d.disk.WriteFile(d.path("breaches"), text, 0o600); err != nil {
		return err
	}
	d.breaches = left
	delete(d.torn, breachesLog)
	return nil
}

// A keptBreach is a record that was taken in, read.
type keptBreach struct {
	grant.Breach
	receipt grant.Receipt
	note    string
}

// id names what a record is about, whoever's copy it is.
func (k keptBreach) id() string { return string(k.Fault) + " " + string(k.receipt.Commitment) }

// stands says whether the docket fails the receipt of a record at a time. The caller holds d.mu.
func (d *Docket) stands(k keptBreach, now time.Time) bool {
	return d.log.Fails(k.receipt, k.Fault, d.judged(now))
}

// readBreaches reads the records that are kept beside the docket. The caller holds d.mu or is alone.
func (d *Docket) readBreaches() error {
	d.breaches = map[string]keptBreach{}
	_, err := d.disk.ReadRecords(d.path("breaches"), func(msg []byte) error {
		b, err := grant.OpenBreach(msg)
		if err != nil {
			return err
		}
		// That the receipt is the agency's was seen when the record was taken in.
		r, err := consent.Open([]byte(b.Receipt), func(r grant.Receipt) ([]consent.VerifierKey, error) { return []consent.VerifierKey{r.Key}, nil })
		if err == nil {
			k := keptBreach{b, r, string(msg)}
			d.breaches[k.id()] = k
		}
		return err
	})
	var damaged *durable.DamagedError
	if errors.As(err, &damaged) {
		// Others have them too: they are fetched again.
		d.breaches = map[string]keptBreach{}
		return d.disk.Remove(d.path("breaches"))
	}
	return err
}

// standing are the records of breaches that stand at a time: no others are handed on. The caller holds d.mu.
func (d *Docket) standing(now time.Time) (all []keptBreach) {
	if d.broken != nil {
		return nil
	}
	for _, k := range d.breaches {
		if d.stands(k, now) {
			all = append(all, k)
		}
	}
	return all
}

// Breaches are the breach records about an agency, those that stand first, then the newest first.
func (p *Peer) Breaches(id consent.AgencyID) []Breach {
	return p.breaches(id, func(grant.Breach) bool { return true })
}

// BreachesOf are those about what answered one request, of whoever holds it: of its own agency first.
func (p *Peer) BreachesOf(r Request) []Breach {
	of := func(b grant.Breach) bool { return b.Request == r.ID }
	all := p.breaches(r.Agency, of)
	for _, d := range p.Dockets() {
		if d.ID() != r.Agency {
			all = append(all, p.breaches(d.ID(), of)...)
		}
	}
	return all
}

func (p *Peer) breaches(id consent.AgencyID, which func(grant.Breach) bool) []Breach {
	out := []Breach{}
	d := p.Docket(id)
	if d == nil {
		return out
	}
	now := p.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return out
	}
	for _, k := range d.breaches {
		if which(k.Breach) {
			out = append(out, d.show(k, now))
		}
	}
	slices.SortFunc(out, func(a, b Breach) int {
		if a.Stands != b.Stands {
			if a.Stands {
				return -1
			}
			return 1
		}
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.Note, b.Note))
	})
	return out
}

// show judges a record by what the docket says now. The caller holds d.mu.
func (d *Docket) show(k keptBreach, now time.Time) Breach {
	b := Breach{Agency: k.Agency, Name: d.agency.Name, PassedOn: k.Card != "", Request: k.Request, Fault: k.Fault, Commitment: k.receipt.Commitment, Received: k.receipt.At.Time, Created: k.Created.Time,
		Stands: d.stands(k, now), Note: k.note}
	said, known := d.log.Follow(k.receipt.Commitment)
	switch k.Fault {
	case grant.FaultMissing:
		b.Due = docket.DayOf(k.receipt.At.Add(grant.CommitWithin))
		if known {
			b.Answered = said.Shown
		}
	case grant.FaultOverdue:
		b.Due, b.Answered = said.Due, said.Deleted
	case grant.FaultContradicted:
		b.Due = said.Deleted
	}
	return b
}

// AnyBreach says whether a breach record about an agency stands.
func (p *Peer) AnyBreach(id consent.AgencyID) bool {
	d := p.Docket(id)
	if d == nil {
		return false
	}
	now := p.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return false
	}
	for _, k := range d.breaches {
		if d.stands(k, now) {
			return true
		}
	}
	return false
}

// Follow returns what the docket says of a commitment, and whether it holds it.
func (d *Docket) Follow(c grant.Commitment) (docket.Follow, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return docket.Follow{}, false
	}
	return d.log.Follow(c)
}

// Until is when the charter ceased to list the agency, whose docket can say no more then; the zero time while it lists it.
func (d *Docket) Until() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.until
}

// HasDaily says whether the charter has a daily entry on a day.
func (d *Docket) HasDaily(on docket.Day) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken == nil && d.log.HasDaily(on)
}

// Classes are those of a day's commitments; none for a day of which the charter has no entry.
func (d *Docket) Classes(day docket.Day) []charter.Class {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, _ := d.planOf(day)
	return p.Classes()
}

// Current is when a peer was last asked for more of the docket and had none, since this node was started; the zero time where none was.
func (d *Docket) Current() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

// NoMore notes that a peer was asked for more of the docket at a time, and had none.
func (d *Docket) NoMore(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current = at
}

// Broken says whether the disk refused the docket, so that nothing can be told of it.
func (d *Docket) Broken() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken != nil
}

// Fails returns the faults by which the docket fails a receipt at a time.
func (d *Docket) Fails(r grant.Receipt, at time.Time) (all []grant.Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil
	}
	for _, f := range grant.Faults() {
		if d.log.Fails(r, f, d.judged(at)) {
			all = append(all, f)
		}
	}
	return all
}

// Covers says whether the hold of that id lives at a time and covers a commitment under a salt (docket.Log.Covers).
func (d *Docket) Covers(id string, salt grant.Secret, c grant.Commitment, at time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken == nil && d.log.Covers(id, salt, c, at)
}
