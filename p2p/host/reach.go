package host

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Reach is what is known of whether others can connect to this host from the internet. The addresses are public ones:
// those of the machine, those that its router maps, and those that peers see it at.
type Reach struct {
	Asked   bool     // whether anybody is asked: a steward does, unless it listens on loopback alone or lives in virtual time
	Yes     []string // another steward dialled it back there
	No      []string // others tried in vain
	Unknown []string // not tried yet, or with answers that differ
	Ports   []string // what it listens on, such as "tcp 4001": what a router has to pass on
}

// fromOutside gives the options by which a host learns and widens how it is reached. In every role but a steward's, and
// where there is no outside, there is one: not to learn it. A home that asked to be dialled back, or mapped a port, would
// be known to whoever it asked, and open to whoever scans.
func (h *Host) fromOutside() []libp2p.Option {
	if !h.asksAround() {
		return []libp2p.Option{libp2p.DisableIdentifyAddressDiscovery()}
	}
	opts := []libp2p.Option{libp2p.EnableAutoNATv2()}
	if h.cfg.MapPort {
		opts = append(opts, libp2p.NATPortMap())
	}
	return opts
}

func (h *Host) asksAround() bool {
	return h.cfg.Role == Steward && !h.cfg.Network.Simulated() && slices.ContainsFunc(h.cfg.Listen, func(s string) bool {
		a, err := ma.NewMultiaddr(s)
		return err == nil && !manet.IsIPLoopback(a)
	})
}

// Reachable says what is known by now. Answers take minutes, and another steward to give them.
func (h *Host) Reachable() Reach {
	h.mu.Lock()
	r := Reach{Asked: h.asksAround(), Yes: slices.Clone(h.reach.Yes), No: slices.Clone(h.reach.No), Unknown: slices.Clone(h.reach.Unknown)}
	h.mu.Unlock()
	for _, a := range h.h.Network().ListenAddresses() {
		for _, code := range []int{ma.P_TCP, ma.P_UDP} {
			if port, err := a.ValueForProtocol(code); err == nil {
				r.Ports = append(r.Ports, strings.ToLower(ma.ProtocolWithCode(code).Name)+" "+port)
			}
		}
	}
	slices.Sort(r.Ports)
	r.Ports = slices.Compact(r.Ports)
	return r
}

// OnReach installs a function that is called whenever Reachable has something new to say. It must return at once.
func (h *Host) OnReach(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onRch = f
}

func (h *Host) reached(e event.EvtHostReachableAddrsChanged) {
	h.mu.Lock()
	h.reach = Reach{Yes: full(e.Reachable, h.h.ID()), No: full(e.Unreachable, h.h.ID()), Unknown: full(e.Unknown, h.h.ID())}
	f := h.onRch
	h.mu.Unlock()
	if f != nil {
		f()
	}
}

// CheckAnnounce refuses what is no address to announce: one that names no place and port, or names a peer as well.
func CheckAnnounce(s string) error {
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		return fmt.Errorf("%q is no address: %w", s, err)
	}
	if _, err := a.ValueForProtocol(ma.P_P2P); err == nil {
		return fmt.Errorf("%q names a peer", s)
	}
	port, err := a.ValueForProtocol(ma.P_TCP)
	if err != nil {
		port, err = a.ValueForProtocol(ma.P_UDP)
	}
	if err != nil || port == "0" || manet.IsIPUnspecified(a) {
		return fmt.Errorf("%q names no place that somebody could dial", s)
	}
	return nil
}

func full(addrs []ma.Multiaddr, id peer.ID) (out []string) {
	for _, a := range addrs {
		out = append(out, a.String()+"/p2p/"+id.String())
	}
	return out
}

// Kept is a peer that Run tries to stay connected to, and how that goes.
type Kept struct {
	ID     string
	Addrs  []string  // where it is dialled
	Named  bool      // it is one of Config.Stewards
	LAN    bool      // it was found on this LAN; neither: it is a cached peer
	Since  time.Time // connected since then; zero where it is not
	Failed error     // how the last dial failed; nil where it did not
	At     time.Time // when it failed
	Next   time.Time // when it may be dialled again
}

// Moved takes note of further addresses of peers that are kept, which are dialled before those known so far. It says whether any
// of them is new; of other peers it takes none.
func (h *Host) Moved(addrs []string) (fresh bool) {
	for _, s := range addrs {
		info, err := peer.AddrInfoFromString(s)
		if err != nil || len(info.Addrs) == 0 {
			continue
		}
		h.mu.Lock()
		if c := h.book[info.ID]; c != nil && !slices.ContainsFunc(c.info.Addrs, info.Addrs[0].Equal) {
			c.info.Addrs = append([]ma.Multiaddr{info.Addrs[0]}, c.info.Addrs...)
			c.info.Addrs = c.info.Addrs[:min(len(c.info.Addrs), maxAddrs)]
			c.next, fresh = time.Time{}, true
		}
		h.mu.Unlock()
	}
	if fresh {
		h.wake()
	}
	return fresh
}

// Kept lists those peers, stewards first, then in the order of their ids.
func (h *Host) Kept() (all []Kept) {
	h.mu.Lock()
	for id, c := range h.book {
		all = append(all, Kept{ID: id.String(), Addrs: full(c.info.Addrs, id), Named: c.kind == steward, LAN: c.kind == neighbour, Failed: c.err, At: c.errAt, Next: c.next})
	}
	h.mu.Unlock()
	for i, k := range all {
		id, err := peer.Decode(k.ID)
		if err != nil || h.h.Network().Connectedness(id) != network.Connected {
			continue
		}
		for _, c := range h.h.Network().ConnsToPeer(id) {
			if at := c.Stat().Opened; all[i].Since.IsZero() || at.Before(all[i].Since) {
				all[i].Since = at
			}
		}
	}
	slices.SortFunc(all, func(a, b Kept) int {
		if a.Named != b.Named {
			if a.Named {
				return -1
			}
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}
