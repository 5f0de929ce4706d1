package agency

import (
	"context"
	"errors"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
)

// Question is the arguments of "agency.ask": what is asked of the owner of a release, whom nobody here knows.
type Question struct {
	Release string    `json:"release"` // root CID or the beginning of it
	Ask     grant.Ask `json:"ask"`
	Reason  string    `json:"reason"`
	Until   time.Time `json:"until,omitzero"` // of an extension
	To      string    `json:"to,omitempty"`   // of passing on: an agency's name, id, or the beginning of one
}

// Asked is the answer: the message waits for a place in a daily entry.
type Asked struct {
	Release string `json:"release"`
	Waiting int    `json:"waiting"` // messages, this one included
	PerDay  int    `json:"per_day"` // that a daily entry takes
}

// ask seals a message to the owner of a release and leaves it for one of the next daily entries. The owner answers or does not.
func (a *Agency) ask(_ context.Context, q Question) (Asked, error) {
	h, k, err := a.vault.find(q.Release)
	if err != nil {
		return Asked{}, err
	}
	_, d, err := a.self()
	if err != nil {
		return Asked{}, err
	}
	_, plan, _, ok := d.NextDaily(a.peer.Now())
	if !ok || plan.Messages == 0 {
		return Asked{}, node.WithHint(errors.New("the charter has no daily entries with messages, so owners cannot be asked"), "its signers can add them: `porchlight charter propose --help`")
	}
	var to consent.AgencyID
	if q.To != "" {
		g, err := a.peer.AgencyCalled(q.To)
		if err != nil {
			return Asked{}, err
		}
		to = g.ID()
	}
	key, err := a.receptionKey(h.signer(&k))
	if err != nil {
		return Asked{}, err
	}
	m := grant.Message{Grant: h.id, CID: consent.ReleaseID(k.Root), Ask: q.Ask, Reason: q.Reason, To: to, Created: consent.At(a.peer.Now()), Key: key.Verifier()}
	if !q.Until.IsZero() {
		m.RetainUntil = consent.At(q.Until)
	}
	note, err := consent.Sign(m, key)
	if err != nil {
		return Asked{}, err
	}
	if err := a.custody.Note("officer", "owner asked", k.Root, string(q.Ask)+": "+q.Reason); err != nil {
		return Asked{}, err
	}
	if err := a.queueFor(h, note); err != nil {
		return Asked{}, err
	}
	return Asked{k.Root, a.vault.waiting(), plan.Messages}, nil
}

func (v *vault) waiting() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.messages)
}
