package node

import (
	"cmp"
	"slices"
)

// Weighed is a request of the past or present, and what the charter as it is now and the docket before
// it say of it: nil where an owner may be shown it.
type Weighed struct {
	Request
	Barred error
}

// EveryRequest lists all requests that stand in this node's dockets, newest first, also those that are
// not shown.
func (p *Peer) EveryRequest() []Weighed {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Weighed, 0, len(p.requests))
	for _, r := range p.requests {
		r.Ended = p.dockets[r.Agency].ended(r.ID)
		all = append(all, Weighed{Request: r, Barred: p.lawful(r)})
	}
	slices.SortFunc(all, func(a, b Weighed) int {
		return cmp.Or(b.Body.Created.Compare(a.Body.Created.Time), cmp.Compare(a.ID, b.ID))
	})
	return all
}
