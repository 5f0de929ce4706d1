package host

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"
)

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func start(t *testing.T, cfg Config) *Host {
	t.Helper()
	if cfg.Key == nil {
		cfg.Key = newKey(t)
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

var loopback = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}

// A home finds its steward, tells it no address, and finds it again after it was away.
func TestHomeKeepsItsSteward(t *testing.T) {
	defer goleak.VerifyNone(t)
	key := newKey(t)
	s := start(t, Config{Key: key, Role: Steward, Listen: loopback})
	addrs := s.Addrs()
	if len(addrs) != 2 || !strings.HasSuffix(addrs[0], "/p2p/"+s.ID()) {
		t.Fatalf("addresses %q", addrs)
	}
	h := start(t, Config{Role: Home, Listen: loopback, Stewards: addrs})
	defer h.Close()
	met := make(chan string, 8)
	h.OnPeer(func(id string) { met <- id })
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	select {
	case id := <-met:
		if id != s.ID() {
			t.Fatalf("met %s", id)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the steward was never met")
	}
	eventually(t, "the address is remembered", func() bool { return len(h.Known()) == 1 && slices.Contains(addrs, h.Known()[0]) })
	if got := h.h.Addrs(); len(got) != 0 {
		t.Errorf("a home advertises %v", got)
	}
	eventually(t, "identify is through", func() bool {
		v, _ := s.h.Peerstore().Get(h.h.ID(), "AgentVersion")
		return v == UserAgent
	})
	for _, a := range s.h.Peerstore().Addrs(h.h.ID()) {
		for _, l := range h.Addrs() {
			if strings.HasPrefix(l, a.String()+"/") {
				t.Errorf("the steward learnt the home's listen address %s", a)
			}
		}
	}

	s.Close()
	eventually(t, "the loss is noticed", func() bool { return len(h.Peers()) == 0 })
	var listen []string
	for _, a := range addrs {
		listen = append(listen, strings.TrimSuffix(a, "/p2p/"+s.ID()))
	}
	s = start(t, Config{Key: key, Role: Steward, Listen: listen})
	defer s.Close()
	began := time.Now()
	eventually(t, "the home is back", func() bool { return len(h.Peers()) == 1 })
	t.Logf("back after %v", time.Since(began))
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}

func TestBlockAndGate(t *testing.T) {
	defer goleak.VerifyNone(t)
	a := start(t, Config{Listen: loopback})
	defer a.Close()
	b := start(t, Config{})
	defer b.Close()
	if err := b.Connect(t.Context(), a.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	a.Block(b.ID(), time.Hour)
	eventually(t, "the blocked peer is gone", func() bool { return len(a.Peers()) == 0 && len(b.Peers()) == 0 })
	if err := a.Connect(t.Context(), b.ID()); err == nil {
		t.Error("an address without a place to dial was dialled")
	}
	if b.Connect(t.Context(), a.Addrs()[0]); len(a.Peers()) != 0 {
		t.Error("a blocked peer came back")
	}
	c := start(t, Config{})
	defer c.Close()
	a.Gate(func(id string) bool { return id != c.ID() })
	if c.Connect(t.Context(), a.Addrs()[1]); len(a.Peers()) != 0 {
		t.Error("a gated peer came in")
	}
}

func TestBlockListIsBounded(t *testing.T) {
	g := newGate()
	for i := range maxBlocked + 10 {
		g.block(fakeID(i), time.Duration(i+1)*time.Hour)
	}
	if len(g.blocked) != maxBlocked {
		t.Errorf("%d entries", len(g.blocked))
	}
	if g.ok(fakeID(maxBlocked)) {
		t.Error("the newest entry was pushed out")
	}
}

// What a node persisted comes back, and a rotten line of it does no harm.
func TestKnownIsACache(t *testing.T) {
	good := "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
	h := start(t, Config{Cached: []string{"rotten", good}})
	defer h.Close()
	if got := h.Known(); !slices.Equal(got, []string{good}) {
		t.Errorf("known %q", got)
	}
	for i := range maxKnown + 10 {
		h.remember(fmt.Sprint(i))
	}
	if got := h.Known(); len(got) != maxKnown || got[0] != fmt.Sprint(maxKnown+9) {
		t.Errorf("%d known, first %q", len(got), got[0])
	}
}

func fakeID(i int) peer.ID { return peer.ID(fmt.Sprint("peer", i)) }

func TestBadConfigIsRefused(t *testing.T) {
	defer goleak.VerifyNone(t)
	key := newKey(t)
	for name, cfg := range map[string]Config{
		"no key":                {},
		"steward without id":    {Key: key, Stewards: []string{"/ip4/127.0.0.1/tcp/1"}},
		"steward without place": {Key: key, Stewards: []string{"/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"}},
		"bad listen address":    {Key: key, Listen: []string{"127.0.0.1:80"}},
		"bad announced address": {Key: key, Announce: []string{"here"}},
	} {
		if h, err := New(cfg); err == nil {
			h.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

// A node that has enough other peers still dials a steward that it lost: those may all be one person's.
func TestOtherPeersDoNotTakeAStewardsPlace(t *testing.T) {
	at := func() string {
		id, err := IDOf(newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		return "/ip4/127.0.0.1/tcp/1/p2p/" + id
	}
	h := start(t, Config{Degree: 2, Stewards: []string{at()}, Cached: []string{at(), at(), at()}})
	defer h.Close()
	for _, c := range h.book {
		c.busy = c.kind == cached
	}
	wait := longWait
	if got := h.due(time.Now(), &wait); len(got) != 1 || got[0].kind != steward {
		t.Errorf("%d peers are to be dialled, want the steward", len(got))
	}
	if got := h.due(time.Now(), &wait); len(got) != 0 {
		t.Errorf("%d more peers are to be dialled", len(got))
	}
	for _, c := range h.book {
		c.busy = c.kind == steward
	}
	if got := h.due(time.Now(), &wait); len(got) != 1 || got[0].kind != cached {
		t.Errorf("%d peers are to be dialled beside the steward, want one", len(got))
	}
}
