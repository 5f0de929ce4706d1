package host

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// maxBlocked bounds the block list: whoever fills it up pushes out the entry that ends soonest.
const maxBlocked = 1024

// gate is libp2p's connection gater over a list of blocked peers and the node's own function.
type gate struct {
	self peer.ID

	mu      sync.Mutex
	allow   func(id string) bool
	blocked map[peer.ID]time.Time // until
}

func newGate() *gate { return &gate{blocked: map[peer.ID]time.Time{}} }

func (g *gate) setAllow(f func(string) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allow = f
}

func (g *gate) block(p peer.ID, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p == g.self || d <= 0 {
		return
	}
	if _, ok := g.blocked[p]; !ok && len(g.blocked) >= maxBlocked {
		var first peer.ID
		var soonest time.Time
		for id, until := range g.blocked {
			if first == "" || until.Before(soonest) {
				first, soonest = id, until
			}
		}
		delete(g.blocked, first)
	}
	g.blocked[p] = time.Now().Add(d)
}

func (g *gate) ok(p peer.ID) bool {
	g.mu.Lock()
	if until, ok := g.blocked[p]; ok {
		if time.Now().Before(until) {
			g.mu.Unlock()
			return false
		}
		delete(g.blocked, p)
	}
	allow := g.allow
	g.mu.Unlock()
	return allow == nil || allow(p.String())
}

func (g *gate) InterceptPeerDial(p peer.ID) bool             { return g.ok(p) }
func (g *gate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }
func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool  { return true }
func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) {
	return true, 0
}

func (g *gate) InterceptSecured(_ network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	return g.ok(p)
}
