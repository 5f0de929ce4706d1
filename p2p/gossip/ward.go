package gossip

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// What a peer may cost. An honest one never passes on what another rejects; what it passes on and another ignores, such
// as an entry that came by catching up just before, is as rare as messages are.
const (
	maxRejected = 4                      // messages, before the peer is disconnected and blocked
	rejectedFor = blockFor               // until they are forgotten
	maxIgnored  = 512                    // messages at once: a steward that was away for long passes on what it caught up
	ignoredWait = 500 * time.Millisecond // until another one is looked at
	maxWarded   = 4096                   // peers remembered, and sources
	// What the peers of one source (host.Source) may send together, in the ignored messages of one peer: gossipsub remembers
	// each for seenTTL, and a peer that is out of them comes back under another id.
	maxSiblings = 4
)

// ward counts what each peer's messages came to. gossipsub's own score does too, but it is looked at every few seconds
// and by whole RPCs, and one RPC can carry over a hundred messages. Here a peer is out at once, with the rest that it sent.
type ward struct {
	now func() time.Time

	mu      sync.Mutex
	peers   map[peer.ID]*conduct
	sources map[string]*siblings
}

// siblings is what the peers of one source sent that was ignored.
type siblings struct {
	ignored float64
	last    time.Time
}

type conduct struct {
	turn sync.Mutex // messages of one peer are checked one after the other, or as many as there are processors would slip in

	// Under ward.mu:
	rejected int
	ignored  float64
	last     time.Time
}

func newWard() *ward {
	return &ward{now: time.Now, peers: map[peer.ID]*conduct{}, sources: map[string]*siblings{}}
}

// of is a peer's conduct up to now. The caller holds w.mu.
func (w *ward) of(p peer.ID) *conduct {
	now := w.now()
	c := w.peers[p]
	if c == nil {
		if len(w.peers) >= maxWarded {
			w.forget(now)
		}
		c = &conduct{last: now}
		w.peers[p] = c
	}
	past := now.Sub(c.last)
	c.ignored = max(0, c.ignored-past.Seconds()/ignoredWait.Seconds())
	if past > rejectedFor {
		c.rejected = 0
	}
	c.last = now
	return c
}

// forget makes room: those of good conduct go, and if there are none, whoever was heard of least recently.
func (w *ward) forget(now time.Time) {
	var oldest peer.ID
	for p, c := range w.peers {
		if c.rejected == 0 || now.Sub(c.last) > rejectedFor {
			delete(w.peers, p)
		} else if oldest == "" || c.last.Before(w.peers[oldest].last) {
			oldest = p
		}
	}
	if len(w.peers) >= maxWarded {
		delete(w.peers, oldest)
	}
}

// from is what a source's peers sent up to now. The caller holds w.mu.
func (w *ward) from(source string) *siblings {
	now := w.now()
	s := w.sources[source]
	if s == nil {
		if len(w.sources) >= maxWarded {
			w.forgetSources(now)
		}
		s = &siblings{last: now}
		w.sources[source] = s
	}
	s.ignored = max(0, s.ignored-maxSiblings*now.Sub(s.last).Seconds()/ignoredWait.Seconds())
	s.last = now
	return s
}

// forgetSources makes room: those that may send all again go, and if there are none, the one heard of least recently.
func (w *ward) forgetSources(now time.Time) {
	var oldest string
	for k, s := range w.sources {
		if now.Sub(s.last) > maxIgnored*ignoredWait {
			delete(w.sources, k)
		} else if oldest == "" || s.last.Before(w.sources[oldest].last) {
			oldest = k
		}
	}
	if len(w.sources) >= maxWarded {
		delete(w.sources, oldest)
	}
}

// deaf says whether nothing of a peer is taken in just now: it is out, or has sent too much that nobody needed, or those
// of its source have.
func (w *ward) deaf(p peer.ID, source string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sources[source] != nil && w.from(source).ignored >= maxSiblings*maxIgnored {
		return true
	}
	if w.peers[p] == nil {
		return false
	}
	c := w.of(p)
	return c.rejected >= maxRejected || c.ignored >= maxIgnored
}

// judge runs a check of a peer's message. looked is false where the peer was out before, and nobody checked; out is true
// for the message that puts it out.
func (w *ward) judge(p peer.ID, source string, check func() Verdict) (v Verdict, looked, out bool) {
	w.mu.Lock()
	c := w.of(p)
	w.mu.Unlock()
	c.turn.Lock()
	defer c.turn.Unlock()
	w.mu.Lock()
	gone := c.rejected >= maxRejected
	w.mu.Unlock()
	if gone {
		return Reject, false, false
	}
	v = check()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch v {
	case Ignore:
		c.ignored++
		w.from(source).ignored++
	case Reject:
		c.rejected++
	}
	return v, true, v == Reject && c.rejected == maxRejected
}
