package host

import (
	"cmp"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Source is where a connected peer comes from, which another peer id does not change: an IPv4 /24 or an IPv6 /48; one address on
// a private network; and on this machine the peer itself.
func (h *Host) Source(p peer.ID) string {
	if conns := h.h.Network().ConnsToPeer(p); len(conns) > 0 {
		return source(p, conns[0].RemoteMultiaddr())
	}
	return string(p)
}

func source(p peer.ID, at ma.Multiaddr) string {
	ip, err := manet.ToIP(at)
	v4 := ip.To4()
	switch {
	case err != nil || ip.IsLoopback():
		return string(p)
	case ip.IsPrivate() || ip.IsLinkLocalUnicast():
		return string(ip.To16())
	case v4 != nil:
		return string(v4.Mask(net.CIDRMask(24, 32)))
	}
	return string(ip[:6])
}

// Shares divides what a server does at a time among the sources of its peers, so that one of them does not take all of it.
type Shares struct {
	mu sync.Mutex
	of map[string]int
}

// Take takes one of at most that many of a source; free gives it back and is nil where there is none.
func (s *Shares) Take(source string, most int) (free func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[source] >= most {
		return nil
	}
	if s.of == nil {
		s.of = map[string]int{}
	}
	s.of[source]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.of[source]--; s.of[source] == 0 {
			delete(s.of, source)
		}
	}
}

// maxBook is how many of its addresses a peer is remembered by. identify alone would keep 500.
const maxBook = 16

// remembers leaves few addresses of a connected peer, and after it left those of peers that this host dials. libp2p keeps
// some of everybody's, and forgets those that it had while the peer was connected never; whoever comes back says them anew.
func (h *Host) remembers(p peer.ID, connected bool) {
	book := h.h.Peerstore()
	addrs, ttl := book.Addrs(p), time.Duration(peerstore.ConnectedAddrTTL)
	if connected && len(addrs) <= maxBook {
		return
	}
	book.ClearAddrs(p)
	if !connected {
		h.mu.Lock()
		dialled := h.mesh[p] || h.book[p] != nil
		h.mu.Unlock()
		if !dialled {
			return
		}
		ttl = peerstore.RecentlyConnectedAddrTTL
	}
	book.AddAddrs(p, addrs[:min(len(addrs), maxBook)], ttl)
}

const (
	complainAgain = 10 * time.Minute
	maxComplaints = 256
)

// complaints keeps the log short: about one peer and protocol it has one line at once, and then one in ten minutes that
// says how often. Once it knows of so many that the table is full, all others share one line.
type complaints struct {
	mu  sync.Mutex
	now func() time.Time // nil is the machine's clock
	of  map[complaint]*tally
}

type complaint struct{ peer, protocol string }

type tally struct {
	times int // since the last line
	next  time.Time
}

// add says whether there is a line due, about whom, and how often it happened since the last one.
func (c *complaints) add(about complaint) (_ complaint, times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.now != nil {
		now = c.now()
	}
	if c.of[about] == nil && len(c.of) >= maxComplaints {
		for k, t := range c.of {
			if !now.Before(t.next) {
				delete(c.of, k)
			}
		}
		if len(c.of) >= maxComplaints {
			about = complaint{peer: "others"}
		}
	}
	t := c.of[about]
	if t == nil {
		t = &tally{}
		if c.of == nil {
			c.of = map[complaint]*tally{}
		}
		c.of[about] = t
	}
	t.times++
	if now.Before(t.next) {
		return about, 0
	}
	t.next = now.Add(complainAgain)
	times, t.times = t.times, 0
	return about, times
}

// Misbehaved is the one log line about a peer that broke a protocol. where names the protocol. A peer that goes on has a
// line every ten minutes, which says how often it did.
func (h *Host) Misbehaved(id, where string, err error) {
	about, times := h.complaints.add(complaint{id, where})
	if times > 0 {
		h.log.Warn("peer misbehaved", "peer", about.peer, "protocol", cmp.Or(about.protocol, where), "times", times, "error", err)
	}
}
