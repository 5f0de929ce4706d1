package node

import (
	"context"
	"errors"
	"slices"
)

// asks says whether a request that asks now names a reply address: a steward carries paths there, and nowhere else that is no steward.
func (p *Peer) asks(addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if !slices.Contains(r.Body.Reply, addr) || !r.Live(p.Now()) {
			continue
		}
		if _, ok := p.shown(r); ok {
			return true
		}
	}
	return false
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
