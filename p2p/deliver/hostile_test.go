package deliver

import (
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// A hostile requester: whatever it does, no key goes out and Send ends in time.
func TestHostileRequester(t *testing.T) {
	f := newFilm(t, 24<<20)
	header := func(kind byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{kind}, n) }
	begin := func(l *link, have uint64) {
		l.expect(kindGrant, 30*time.Second)
		l.send(kindAcceptance, nil)
		l.expect(kindManifest, 30*time.Second)
		l.send(kindHave, binary.BigEndian.AppendUint64(nil, have))
	}
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	hold := func() { <-over } // the stream stays open
	for _, c := range []struct {
		name  string
		do    func(l *link)
		class string
	}{
		{"silent", func(*link) { hold() }, ClassSlow},
		{"hangs up", func(l *link) { l.Close() }, ""},
		{"huge acceptance", func(l *link) { l.Write(header(kindAcceptance, 1<<30)) }, ClassOversize},
		{"endless acceptance", func(l *link) {
			l.Write(header(kindAcceptance, MaxDocument))
			for range 150 {
				l.Write([]byte{0})
				time.Sleep(20 * time.Millisecond)
			}
		}, ClassSlow},
		{"receipt first", func(l *link) { l.send(kindReceipt, nil) }, ClassProtocol},
		{"more blocks than there are", func(l *link) { begin(l, 1<<63) }, ClassProtocol},
		{"receipt before the blocks", func(l *link) { begin(l, 0); l.send(kindReceipt, []byte("r")); io.Copy(io.Discard, l) }, ClassProtocol},
		{"does not read", func(l *link) { begin(l, 0); hold() }, ClassSlow},
		{"no receipt", func(l *link) { begin(l, 25); hold() }, ClassSlow},
		{"rude words", func(l *link) { l.send(kindError, []byte("\x1b[31mno\n")) }, " [31mno "},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := requester(t, newVault(), Limits{})
			h.Libp2p().SetStreamHandler(Protocol, func(st network.Stream) {
				defer st.Close()
				c.do(&link{stream: st, timing: Timing{}.filled()})
			})
			hooks := trusting()
			cfg := sendConfig(h, "tcp")
			if c.class == ClassSlow {
				cfg.Timing = quick
				cfg.Timing.MinRate = 8 << 20
			}
			r := f.release()
			if c.class != "" {
				r.Key = func() []byte { t.Error("the key was asked for"); return nil }
			}
			began := time.Now()
			err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Releases: []Release{r}}, hooks)
			if err == nil || class(err) != c.class || time.Since(began) > 30*time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	}
}

// TCP is tried before QUIC, and one dead address does not keep the others from being tried.
func TestAddressesAreTriedInTurn(t *testing.T) {
	f := newFilm(t, 1000)
	v := newVault(f)
	h := requester(t, v, Limits{})
	cfg := sendConfig(h, "tcp")
	quic := one(h, "quic-v1")[0]
	dead := "/ip4/127.0.0.1/tcp/1/p2p/" + h.ID()
	cfg.Addrs = []string{quic, dead}
	if err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting()); err != nil {
		t.Fatal(err)
	}
	cfg.Addrs = []string{quic, one(h, "tcp")[0]}
	hooks := trusting()
	hooks.Accepted = func([]byte) error {
		peers := h.Peers()
		if last := peers[len(peers)-1].Addr; len(peers) != 1 || !strings.Contains(last, "/tcp/") {
			t.Errorf("connected by %v", peers)
		}
		return nil
	}
	for deadline := time.Now().Add(30 * time.Second); len(h.Peers()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first connection stays")
		}
	}
	cfg.Timing.HeadStart = time.Hour
	if err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Releases: nil}, hooks); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]string{nil, {dead}, {"/dns4/example.org/tcp/1/p2p/" + h.ID()}, {"/ip4/127.0.0.1/tcp/1"}, {"nonsense"}} {
		cfg.Addrs = bad
		if err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Releases: nil}, trusting()); err == nil {
			t.Errorf("sent to %q", bad)
		}
	}
	if got := len(v.grants); got != 2 {
		t.Errorf("%d grants", got)
	}
	if err := Send(context.Background(), SendConfig{Addrs: []string{quic}}, Offer{}, trusting()); err == nil {
		t.Error("sent without a key")
	}
}
