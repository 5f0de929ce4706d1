package attack

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// A Ring is attackers who work together: each tells the others at what address it saw whom, and all of them dial
// everybody there, three times at most. They have no connections among themselves. Its zero value is ready.
type Ring struct {
	// Around, where it is not empty, is the one peer that the ring dials.
	Around string

	mu      sync.Mutex
	members map[string]bool
	seen    map[string]string // honest peers, by id: a full address
}

const ringTries = 3

// Member makes a program one of the ring's.
func (r *Ring) Member(does Program) Program {
	return func(ctx context.Context, h *host.Host, topic string) (func() error, error) {
		r.mu.Lock()
		if r.members == nil {
			r.members, r.seen = map[string]bool{}, map[string]string{}
		}
		r.members[h.ID()] = true
		r.mu.Unlock()
		h.Gate(func(id string) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return !r.members[id]
		})
		h.Libp2p().Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
			r.Tells(c.RemotePeer().String(), c.RemoteMultiaddr().String())
		}})
		leave, err := does(ctx, h, topic)
		if err != nil {
			return nil, err
		}
		ended := make(chan struct{})
		go func() { // until ctx ends
			defer close(ended)
			r.dials(ctx, h)
		}()
		return func() error { <-ended; return leave() }, nil
	}
}

// Tells lets the ring know where somebody is.
func (r *Ring) Tells(id, addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.members, r.seen = map[string]bool{}, map[string]string{}
	}
	r.seen[id] = addr + "/p2p/" + id
}

func (r *Ring) targets() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]string{}
	for id, addr := range r.seen {
		if !r.members[id] && (r.Around == "" || r.Around == id) {
			out[id] = addr
		}
	}
	return out
}

func (r *Ring) dials(ctx context.Context, h *host.Host) {
	tried := map[string]int{}
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		there := map[string]bool{}
		for _, p := range h.Peers() {
			there[p.ID] = true
		}
		for id, addr := range r.targets() {
			if there[id] || tried[id] >= ringTries {
				continue
			}
			tried[id]++
			running.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				h.Connect(ctx, addr)
			})
		}
	}
}
