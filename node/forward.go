package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// replies finds requests by their reply addresses, since strangers make a steward look them up. What is over is dropped as others come.
type replies map[string][]reply

type reply struct {
	id      consent.RequestID
	expires time.Time
}

// wordsFor is how long after the last deletion that a request's terms ask for its owners may still have words for the agency.
const wordsFor = 90 * 24 * time.Hour

func (m replies) add(id consent.RequestID, r request.Request, now time.Time) {
	over := r.Expires.AddDate(0, 0, r.Terms.RetentionDays).Add(wordsFor)
	if !now.Before(over) {
		return
	}
	for _, addr := range r.Reply {
		if !slices.ContainsFunc(m[addr], func(have reply) bool { return have.id == id }) {
			m[addr] = append(slices.DeleteFunc(m[addr], func(old reply) bool { return !now.Before(old.expires) }), reply{id, over})
		}
	}
	if len(m)%1024 == 0 {
		maps.DeleteFunc(m, func(_ string, all []reply) bool {
			return !slices.ContainsFunc(all, func(r reply) bool { return now.Before(r.expires) })
		})
	}
}

// asks says whether a request names a reply address that asks now, or under whose terms somebody may hold a release: a steward carries paths
// there, and nowhere else that is no steward. What was given to an agency that may ask no more can still be taken back.
func (p *Peer) asks(addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now()
	return slices.ContainsFunc(p.replies[addr], func(have reply) bool {
		r, known := p.requests[have.id]
		if !known || !now.Before(have.expires) {
			return false
		}
		a, admitted := p.chain.Agency(r.Agency)
		return p.lawful(r) == nil || !admitted || a.MayAsk() != nil || p.dockets[r.Agency].Forked()
	})
}

// findSteward is where the directory says that a steward is.
func (p *Peer) findSteward(ctx context.Context, id string) []string {
	if p.directory == nil {
		return nil
	}
	addrs, err := p.directory.Steward(ctx, id)
	if err != nil {
		p.Log.Debug("steward of a path not found", "steward", id, "err", err)
	}
	return addrs
}

// post makes public what a home sent over a path: a paper, which says by itself who signed it.
func (p *Peer) post(ctx context.Context, doc []byte) error {
	if !isPaper(doc) {
		return errors.New("not a document that stewards make public for others")
	}
	if err := p.AdmitPaper(doc); err != nil && !errors.Is(err, errKnown) {
		return err
	}
	return p.Publish(ctx, doc)
}
