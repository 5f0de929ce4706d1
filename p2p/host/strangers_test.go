package host

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"
)

// A stranger that says to live at many addresses is remembered by few, and by none once it has left.
func TestFewAddressesAreRemembered(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := start(t, Config{Role: Steward, Listen: loopback})
	defer s.Close()
	var many []ma.Multiaddr
	for i := range 100 {
		many = append(many, ma.StringCast(fmt.Sprintf("/ip4/127.0.0.9/tcp/%d", 1000+i)))
	}
	x, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics(), libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return many }))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	info, err := peer.AddrInfoFromString(s.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Connect(t.Context(), *info); err != nil {
		t.Fatal(err)
	}
	book := s.h.Peerstore()
	eventually(t, "identify is through", func() bool { v, _ := book.Get(x.ID(), "AgentVersion"); return v != nil })
	eventually(t, "few are left", func() bool { n := len(book.Addrs(x.ID())); return n > 0 && n <= maxBook })
	x.Close()
	eventually(t, "it is forgotten", func() bool { return len(book.Addrs(x.ID())) == 0 })
}

// The addresses of a peer that this host dials outlive the connection.
func TestDialledPeersAreRemembered(t *testing.T) {
	s := start(t, Config{Role: Steward, Listen: loopback})
	defer s.Close()
	h := start(t, Config{Role: Steward})
	defer h.Close()
	if err := h.Connect(t.Context(), s.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	book := h.h.Peerstore()
	eventually(t, "identify is through", func() bool { v, _ := book.Get(s.h.ID(), "AgentVersion"); return v != nil })
	s.Close()
	eventually(t, "the loss is noticed", func() bool { return len(h.Peers()) == 0 })
	if len(book.Addrs(s.h.ID())) == 0 {
		t.Error("nothing is remembered of a peer that was dialled")
	}
}

// However often peers misbehave, and however many do, the log stays short, and says how often it was.
func TestMisbehaviourCostsFewLines(t *testing.T) {
	var log bytes.Buffer
	now := time.Now()
	h := &Host{log: slog.New(slog.NewTextHandler(&log, nil))}
	h.complaints.now = func() time.Time { return now }
	lines := func() (out []string) {
		out = strings.Split(strings.TrimSpace(log.String()), "\n")
		log.Reset()
		return out
	}
	for range 1000 {
		h.Misbehaved("mallory", "/sync", errors.New("junk"))
	}
	if got := lines(); len(got) != 1 || !strings.Contains(got[0], "peer=mallory protocol=/sync times=1 error=junk") {
		t.Errorf("a thousand times over: %q", got)
	}
	now = now.Add(complainAgain)
	h.Misbehaved("mallory", "/sync", errors.New("junk"))
	h.Misbehaved("mallory", "/ask", errors.New("junk"))
	if got := lines(); len(got) != 2 || !strings.Contains(got[0], "times=1000") || !strings.Contains(got[1], "protocol=/ask times=1 ") {
		t.Errorf("ten minutes later: %q", got)
	}
	for i := range 10 * maxComplaints {
		h.Misbehaved(fmt.Sprint("sybil", i), "/sync", errors.New("junk"))
	}
	if got := lines(); len(got) > maxComplaints+1 || !strings.Contains(got[len(got)-1], "peer=others") {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
	if n := len(h.complaints.of); n > maxComplaints+1 {
		t.Errorf("%d entries", n)
	}
	now = now.Add(complainAgain)
	h.Misbehaved("ben", "/sync", errors.New("junk"))
	if got := lines(); !strings.Contains(got[0], "peer=ben") {
		t.Errorf("the table does not empty: %q", got)
	}
}

// Another peer id at the same address is no other source.
func TestSources(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/udp/2/quic-v1", true},
		{"/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.5/tcp/1", true},
		{"/ip4/1.2.3.4/tcp/1", "/ip4/1.2.4.4/tcp/1", false},
		{"/ip4/10.2.3.4/tcp/1", "/ip4/10.2.3.5/tcp/1", false},
		{"/ip4/10.2.3.4/tcp/1", "/ip4/10.2.3.4/tcp/2", true},
		{"/ip6/2001:db8:1:2::1/tcp/1", "/ip6/2001:db8:1:3::1/tcp/1", true},
		{"/ip6/2001:db8:1::1/tcp/1", "/ip6/2001:db8:2::1/tcp/1", false},
		{"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1", false},
	} {
		if same := source("p", ma.StringCast(c.a)) == source("q", ma.StringCast(c.b)); same != c.same {
			t.Errorf("%s and %s: same source %v", c.a, c.b, same)
		}
	}
}

func TestSharesAreBounded(t *testing.T) {
	var s Shares
	a, b := s.Take("one", 2), s.Take("one", 2)
	if a == nil || b == nil || s.Take("one", 2) != nil || s.Take("two", 2) == nil {
		t.Error("two of each are to be had")
	}
	a()
	if s.Take("one", 2) == nil {
		t.Error("what was given back is not to be had")
	}
	b()
	if s.of["one"] != 1 || len(s.of) != 2 {
		t.Errorf("%v are taken", s.of)
	}
}

// Whatever announces itself on the LAN leaves room for whom somebody named.
func TestNeighboursMakeRoom(t *testing.T) {
	h := start(t, Config{})
	defer h.Close()
	for i := range 2 * maxCandidates {
		h.mergeCandidate(peer.AddrInfo{ID: fakeID(i)}, neighbour)
	}
	h.mergeCandidate(peer.AddrInfo{ID: "s"}, steward)
	h.mergeCandidate(peer.AddrInfo{ID: "c"}, cached)
	if h.book["s"] == nil || h.book["c"] == nil || len(h.book) != maxCandidates {
		t.Errorf("a steward %v, a cached peer %v, of %d", h.book["s"], h.book["c"], len(h.book))
	}
}
