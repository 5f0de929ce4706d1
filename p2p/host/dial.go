package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	firstWait  = 2 * time.Second // at most, before a lost peer is dialled again; doubled each time it fails
	longWait   = 2 * time.Minute
	chosenWait = 10 * time.Second // in place of longWait for a steward that cannot be reached
	shortWait  = 5 * time.Second  // in place of longWait where all hangs on the peer: see longest
	dialAtOnce = 4
	maxAddrs   = 8 // of one peer
	dialTime   = 20 * time.Second
	mdnsName   = "_porchlight._udp"
	tagMesh    = "porchlight"
)

type kind int

const (
	neighbour kind = iota // found on the LAN
	cached
	steward
)

// candidate is a peer Run may dial: at once when it was never dialled, else not before next.
type candidate struct {
	info   peer.AddrInfo
	kind   kind
	failed int
	err    error     // why the last dial failed; nil where it did not
	errAt  time.Time // when
	next   time.Time
	busy   bool
	up     bool // was connected when last looked at
}

func (h *Host) addCandidate(addr string, k kind) error {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return err
	}
	if len(info.Addrs) == 0 {
		return errors.New("no address before /p2p/")
	}
	h.mergeCandidate(*info, k)
	return nil
}

func (h *Host) mergeCandidate(info peer.AddrInfo, k kind) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.book[info.ID]
	if c == nil {
		if len(h.book) >= maxCandidates && !h.forgetNeighbour(k) {
			return
		}
		c = &candidate{info: peer.AddrInfo{ID: info.ID}, kind: k}
		h.book[info.ID] = c
	}
	c.kind = max(c.kind, k)
	if k == steward {
		h.mesh[info.ID] = true
	}
	for _, a := range info.Addrs {
		if len(c.info.Addrs) < maxAddrs && !slices.ContainsFunc(c.info.Addrs, a.Equal) {
			c.info.Addrs = append(c.info.Addrs, a)
		}
	}
}

// forgetNeighbour makes room for a candidate that somebody named to this host: anybody on the LAN can fill the book. The
// caller holds h.mu.
func (h *Host) forgetNeighbour(wanted kind) bool {
	for id, c := range h.book {
		if c.kind == neighbour && wanted > neighbour && !c.busy && !c.up {
			delete(h.book, id)
			return true
		}
	}
	return false
}

// Run keeps the host connected until ctx ends: while fewer than Config.Degree candidates are connected it dials
// stewards first, then cached and LAN peers in random order, each no sooner than its jittered back-off allows. Other
// peers do not take the place of stewards: these are dialled while fewer than Config.Degree of them are connected. A
// lost connection is noticed at once and redialled within seconds, and a steward that cannot be reached is tried
// several times a minute, whoever else is there: it may be the only honest peer. Without candidates Run waits to be found.
func (h *Host) Run(ctx context.Context) error {
	if h.cfg.MDNS && !h.cfg.Network.Simulated() && h.cfg.Role != Requester {
		s := mdns.NewMdnsService(h.h, mdnsName, (*found)(h))
		if err := s.Start(); err != nil {
			return fmt.Errorf("host: look for peers on this network: %w", err)
		}
		defer s.Close()
	}
	dials := make(chan struct{}, dialAtOnce)
	defer func() { // every dial has ended before Run does
		for range dialAtOnce {
			dials <- struct{}{}
		}
	}()
	for {
		wait := longWait
		for _, c := range h.due(time.Now(), &wait) {
			select {
			case dials <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			go func() {
				defer func() { <-dials }()
				h.dial(ctx, c)
			}()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.kick:
		case <-time.After(wait):
		}
	}
}

// due picks the candidates to dial now, marks them busy, and lowers wait to when the next one may be due.
func (h *Host) due(now time.Time, wait *time.Duration) []*candidate {
	h.mu.Lock()
	defer h.mu.Unlock()
	have, stewards := 0, 0
	is := func(c *candidate) {
		have++
		if c.kind == steward {
			stewards++
		}
	}
	var out []*candidate
	for _, c := range h.book {
		switch {
		case h.h.Network().Connectedness(c.info.ID) == network.Connected:
			is(c)
			c.up = true
		case c.busy:
			is(c)
		case h.cfg.Role == Requester && c.kind != steward:
		case c.info.ID == h.h.ID():
		default:
			if c.up { // lost: a steward that goes away is not redialled by everybody at once
				c.up = false
				if now.After(c.next) {
					c.failed, c.next = 0, now.Add(rand.N(firstWait))
				}
			}
			out = append(out, c)
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	slices.SortStableFunc(out, func(a, b *candidate) int { return int(b.kind) - int(a.kind) })
	picked := out[:0]
	for _, c := range out {
		if have >= h.cfg.Degree && (c.kind != steward || stewards >= h.cfg.Degree) {
			break
		}
		if d := c.next.Sub(now); d > 0 {
			*wait = min(*wait, d)
			continue
		}
		c.busy = true
		picked = append(picked, c)
		is(c)
	}
	return picked
}

func (h *Host) dial(ctx context.Context, c *candidate) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	h.mu.Lock()
	info := peer.AddrInfo{ID: c.info.ID, Addrs: slices.Clone(c.info.Addrs)}
	k := c.kind
	h.mu.Unlock()
	// The swarm keeps back-offs of its own, which would turn a redial into an immediate failure; ours rule.
	if s, ok := h.h.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(info.ID)
	}
	err := h.h.Connect(ctx, info)
	longest := h.longest()
	if k == steward && err != nil {
		longest = min(longest, chosenWait)
	}
	h.mu.Lock()
	c.busy = false
	if c.err = err; err != nil {
		c.errAt = time.Now()
	}
	// Half to one and a half of the back-off. It counts after a success too: a peer that takes a connection and drops it
	// at once is dialled ever more rarely; due forgets it for one that stayed.
	back := min(longest, firstWait<<min(c.failed, 10))
	c.failed++
	c.next = time.Now().Add(back/2 + rand.N(back))
	h.mu.Unlock()
	if err != nil {
		h.log.Debug("dial failed", "peer", info.ID.String(), "error", err)
	} else {
		if k == steward {
			h.h.ConnManager().Protect(info.ID, tagMesh)
		}
		for _, conn := range h.h.Network().ConnsToPeer(info.ID) {
			if a := conn.RemoteMultiaddr(); k != neighbour && conn.Stat().Direction == network.DirOutbound && slices.ContainsFunc(info.Addrs, func(b ma.Multiaddr) bool { return b.Equal(a) }) {
				h.remember(a.String() + "/p2p/" + info.ID.String())
				break
			}
		}
	}
	h.wake()
}

// longest is the most that a back-off grows to. A steward that cannot reach others may be what keeps two halves of the
// mesh apart, and a node with fewer than two peers hears nothing or depends on one: these go on trying every few seconds.
func (h *Host) longest() time.Duration {
	if h.cfg.Role == Steward || len(h.h.Network().Peers()) < 2 {
		return shortWait
	}
	return longWait
}

// found takes mDNS peers in.
type found Host

func (f *found) HandlePeerFound(info peer.AddrInfo) {
	h := (*Host)(f)
	if info.ID == h.h.ID() {
		return
	}
	h.mergeCandidate(info, neighbour)
	h.wake()
}

// ErrNotKnown is what ConnectKnown returns for a peer that nobody named to this host.
var ErrNotKnown = errors.New("host: nobody named this peer to this host")

// ConnectKnown connects to a peer that was named to this host, as a steward, a cached peer or to Connect; never to one that only came
// to it.
func (h *Host) ConnectKnown(ctx context.Context, id string) error {
	p, err := peer.Decode(id)
	if err != nil {
		return fmt.Errorf("host: peer id %q: %w", id, err)
	}
	info := peer.AddrInfo{ID: p} // libp2p remembers where one is that was dialled before
	h.mu.Lock()
	c := h.book[p]
	known := h.mesh[p] || c != nil && c.kind != neighbour
	if c != nil {
		info.Addrs = slices.Clone(c.info.Addrs)
	}
	h.mu.Unlock()
	if !known {
		return ErrNotKnown
	}
	if err := h.h.Connect(ctx, info); err != nil {
		return fmt.Errorf("host: connect to %s: %w", id, err)
	}
	return nil
}

// Reach connects to a full address, without taking the peer for one of the mesh.
func (h *Host) Reach(ctx context.Context, addr string) error {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return fmt.Errorf("host: address %q: %w", addr, err)
	}
	if err := h.h.Connect(ctx, *info); err != nil {
		return fmt.Errorf("host: connect to %s: %w", addr, err)
	}
	return nil
}
