package home

import (
	"context"
	"fmt"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
)

// Fault is what the docket of one holder of a release did not keep, as its owner was told. It stays on record when the docket says it after all, or
// its owner lets the release be kept for longer.
type Fault struct {
	Holder consent.AgencyID `json:"holder"`
	Kind   grant.Fault      `json:"kind"`
	Found  docket.Day       `json:"found"`
	Over   docket.Day       `json:"over,omitempty"`   // since when it is so no more; "" while it is
	Breach string           `json:"breach,omitempty"` // "leaving" or "public", where its owner shows that
	Note   string           `json:"note,omitempty"`   // the record that its owner shows
}

// Words say what was found, until when it was so, and who was shown it.
func (f Fault) Words() string {
	s := fmt.Sprintf("%s, found on %s", f.Kind, f.Found)
	if f.Over != "" {
		s += ", until " + string(f.Over)
	}
	switch f.Breach {
	case "leaving":
		s += "; its breach record is on its way"
	case "public":
		s += "; its breach record is public"
	}
	return s
}

// fault is what the docket of a holder fails to keep now; nil where it keeps all, as far as its owner was told.
func (r *Release) fault(holder consent.AgencyID) *Fault {
	for i := range r.Faults {
		if f := &r.Faults[i]; f.Holder == holder && f.Over == "" {
			return f
		}
	}
	return nil
}

// judged notes what the docket of a holder fails to keep now, "" for nothing, and returns it.
func (r *Release) judged(holder consent.AgencyID, kind grant.Fault, today docket.Day) *Fault {
	f := r.fault(holder)
	if f != nil && f.Kind != kind {
		f.Over, f = today, nil // another fault is another record
	}
	if f == nil && kind != "" {
		r.Faults = append(r.Faults, Fault{Holder: holder, Kind: kind, Found: today})
		f = &r.Faults[len(r.Faults)-1]
	}
	return f
}

// BreachArg is the arguments of "home.breach": the release, and whether everybody is to see what a holder's docket does not keep.
type BreachArg struct {
	Release string           `json:"release"`
	Holder  consent.AgencyID `json:"holder,omitempty"` // which one; "" for the first whose docket fails
	Publish bool             `json:"publish"`
	Order   string           `json:"order,omitempty"` // of a household: one person's signed order (household.go)
}

// BreachStatus is the answer: what publishing opens, and where that is.
type BreachStatus struct {
	Promise Promise `json:"promise"`
	Note    string  `json:"note"` // the record
	Leaving Leaving `json:"leaving,omitzero"`

	Request consent.RequestID `json:"request"`
	By      []string          `json:"by,omitempty"`      // of a household: who has signed that it is to be public
	Missing int               `json:"missing,omitempty"` // how many more have to
}

// breach makes the record of what a docket does not keep about one release, and publishes it over stewards where its owner says so.
func (h *Home) breach(_ context.Context, arg BreachArg) (BreachStatus, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, i, err := h.signedFor(arg.Release)
	if err != nil {
		return BreachStatus{}, err
	}
	g, err := h.given(a)
	if err != nil {
		return BreachStatus{}, err
	}
	notes, err := h.notes(a)
	if err != nil {
		return BreachStatus{}, err
	}
	o, p, err := h.failing(a, i, g, notes, arg.Holder)
	out := BreachStatus{Promise: p}
	if err != nil {
		return out, err
	}
	fault := grant.Fault(p.State)
	note, err := h.breachRecord(a, o, notes, fault)
	if err != nil {
		return out, err
	}
	out.Note, out.Request = string(note), a.Request
	if !arg.Publish {
		return out, nil
	}
	if f := a.Releases[i].fault(o.Holder); f != nil && f.Kind == fault && f.Breach == "public" {
		return out, node.WithHint(fmt.Errorf("the breach record of release %s is public already", a.Releases[i].Root), "`porchlight home given` shows it")
	}
	arg.Release, arg.Holder = a.Releases[i].Root, o.Holder
	var done bool
	if done, out.By, out.Missing, err = h.approves(arg.Order, "approve", a.Request, arg.Digest()); err != nil || !done {
		return out, err
	}
	if f := a.Releases[i].fault(o.Holder); f == nil || f.Kind != fault { // it was found just now
		if err := h.ledger.Note("node", stepFails, p.Release, p.Agency+": "+p.Words); err != nil {
			return out, err
		}
	}
	if err := h.ledger.Note("owner", "breach record approved", out.Promise.Release, string(fault)); err != nil {
		return out, err
	}
	if out.Leaving, err = h.leave(note); err != nil {
		return out, err
	}
	next := a.copy()
	f := next.Releases[i].judged(o.Holder, fault, docket.DayOf(h.peer.Now()))
	f.Breach, f.Note = "leaving", out.Note
	if err := h.record(&next); err != nil {
		return out, err
	}
	*a = next
	// Those who approved this record have not approved another one, should the docket fail in another way.
	return out, h.settled(a.Request)
}

// breachRecord is the record of what a holder's docket fails to keep. The caller holds h.mu.
func (h *Home) breachRecord(a *Answer, o holder, notes [][]byte, fault grant.Fault) ([]byte, error) {
	receipt, card, err := h.failed(o, notes, fault)
	if err != nil {
		return nil, err
	}
	key, err := node.ReadKey(h.file(a, "grant.key"))
	if err != nil {
		return nil, node.WithHint(err, "nothing can be shown without the grant's key; it is in every backup")
	}
	// Dated by the day, since nobody else has to know when its owner looked.
	day := h.peer.Now().UTC().Truncate(24 * 60 * 60 * 1e9)
	return consent.Sign(grant.Breach{Agency: o.Holder, Request: a.Request, Fault: fault, Receipt: string(receipt), Card: card, Created: consent.At(day), Key: key.Verifier()}, key)
}

// breachRecords are those that the owner of an answer may show: of what was made public, and of what its releases' holders fail to keep now. The
// caller holds h.mu.
func (h *Home) breachRecords(a *Answer) (all [][]byte, err error) {
	g, err := h.given(a)
	if err != nil {
		return nil, err
	}
	notes, err := h.notes(a)
	if err != nil {
		return nil, err
	}
	for i, rel := range a.Releases {
		for _, f := range rel.Faults {
			if f.Note != "" {
				all = append(all, []byte(f.Note))
			}
		}
		holders, err := h.holders(a, i, g, notes)
		if err != nil {
			return nil, err
		}
		for _, o := range holders {
			p, err := h.promise(a, i, g, o, notes)
			if err != nil {
				return nil, err
			}
			if f := rel.fault(o.Holder); !p.State.Failed() || f != nil && f.Note != "" {
				continue
			}
			note, err := h.breachRecord(a, o, notes, grant.Fault(p.State))
			if err != nil {
				return nil, err
			}
			all = append(all, note)
		}
	}
	return all, nil
}

// signedFor finds a release that a receipt stands for by the beginning of its root. The caller holds h.mu.
func (h *Home) signedFor(name string) (*Answer, int, error) {
	return h.one(name, func(r Release) bool { return r.Receipt },
		"`porchlight home given` lists what left", "no release %q that the agency signed for")
}

// failing is the holder of that id whose docket fails what was signed, the first one for "", and how the release stands there.
func (h *Home) failing(a *Answer, i int, g given, notes [][]byte, id consent.AgencyID) (holder, Promise, error) {
	all, err := h.holders(a, i, g, notes)
	if err != nil {
		return holder{}, Promise{}, err
	}
	if id != "" {
		o, err := oneHolder(all, id)
		if err != nil {
			return o, Promise{}, err
		}
		all = []holder{o}
	}
	var first Promise
	for n, o := range all {
		p, err := h.promise(a, i, g, o, notes)
		if err != nil {
			return o, p, err
		}
		if p.State.Failed() {
			return o, p, nil
		}
		if n == 0 {
			first = p
		}
	}
	return holder{}, first, fmt.Errorf("the docket of %s keeps what was signed about release %s: %s", first.Agency, first.Release, first.Words)
}

// failed is the newest receipt of a holder that its docket fails in that way, and the card whose key signed it.
func (h *Home) failed(o holder, notes [][]byte, fault grant.Fault) (newest []byte, card string, err error) {
	var at consent.Time
	for _, n := range notes {
		r, ok := o.receipt(n)
		if !ok || r.State == grant.Deleted || r.At.Before(at.Time) {
			continue
		}
		for _, f := range h.peer.Docket(o.Holder).Fails(r, h.peer.Now()) {
			if f == fault {
				newest, card, at = n, o.cards[r.Key], r.At
			}
		}
	}
	if newest == nil {
		return nil, "", fmt.Errorf("no receipt of release %s shows that", o.CID)
	}
	return newest, card, nil
}

// leftAs notes of a breach record that a steward took it, "public", or that none did, "".
func (h *Home) leftAs(note []byte, state string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.answers {
		for i, r := range a.Releases {
			for j, f := range r.Faults {
				if f.Breach != "leaving" || f.Note != string(note) {
					continue
				}
				next := a.copy()
				next.Releases[i].Faults[j].Breach = state
				if err := h.record(&next); err != nil {
					return err
				}
				*a = next
			}
		}
	}
	return nil
}
