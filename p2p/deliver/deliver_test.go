package deliver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

var quick = Timing{Dial: 5 * time.Second, Grant: 300 * time.Millisecond, Idle: 400 * time.Millisecond, Answer: time.Second, MinRate: 8 << 10}

func TestDeliver(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, kind := range []string{"tcp", "quic-v1"} {
		t.Run(kind, func(t *testing.T) {
			long, short := newFilm(t, 20<<20+12345), newFilm(t, 777)
			v := newVault(long, short)
			h := requester(t, v, Limits{})
			cfg := sendConfig(h, kind)
			var steps []string
			hooks := Hooks{
				Accepted: func(a []byte) error { steps = append(steps, string(a)); return nil },
				Received: func(root string, r []byte) error {
					if string(r) != "receipt for "+root {
						t.Errorf("receipt %q", r)
					}
					steps = append(steps, "receipt")
					return nil
				},
				Confirmed: func(root string) { steps = append(steps, "confirmed") },
				Progress: func(_ string, sent, total int64) {
					if sent > total {
						t.Errorf("sent %d of %d", sent, total)
					}
				},
			}
			if err := Send(t.Context(), cfg, Offer{Grant: []byte("grant"), Releases: []Release{long.release(), short.release()}}, hooks); err != nil {
				t.Fatal(err)
			}
			for _, f := range []*film{long, short} {
				f.whole(t, v.shelf[f.root.String()])
				if v.keys[f.root.String()] != "key of "+f.root.String() {
					t.Error("no key")
				}
			}
			if want := []string{"accepted: grant", "receipt", "confirmed", "receipt", "confirmed"}; !slices.Equal(steps, want) {
				t.Errorf("steps %q", steps)
			}
			if !v.from[0].Equal(cfg.Key.Public()) {
				t.Error("the session's identity is not the grant key")
			}
			if len(h.Peers()) > 0 {
				time.Sleep(200 * time.Millisecond)
			}
			// The requester learns nothing of the home but its connection's address.
			for _, p := range h.Libp2p().Peerstore().Peers() {
				if protos, _ := h.Libp2p().Peerstore().GetProtocols(p); p.String() != h.ID() && len(protos) > 0 {
					t.Errorf("the home told %v in identify", protos)
				}
			}
		})
	}
}

// Whatever block the line is cut at, the next session sends only what is missing.
func TestResume(t *testing.T) {
	f := newFilm(t, 12<<20+1)
	for _, cut := range []int64{0, 1, 2, 7, f.Blocks() - 1} {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			v := newVault(f)
			s := v.shelf[f.root.String()]
			h := requester(t, v, Limits{})
			s.failAt = cut
			err := Send(t.Context(), sendConfig(h, "tcp"), Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting())
			if class(err) != ClassInternal || strings.Contains(err.Error(), "secret") {
				t.Fatalf("first session: %v", err)
			}
			if s.settled(t); s.have != cut || s.closed.Load() != 1 {
				t.Fatalf("%d blocks stored, closed %d times", s.have, s.closed.Load())
			}
			s.failAt = -1
			f.asked = nil
			if err := Send(t.Context(), sendConfig(h, "quic-v1"), Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting()); err != nil {
				t.Fatal(err)
			}
			if len(f.asked) == 0 || f.asked[0] != cut {
				t.Errorf("sent again from block %v, had %d", f.asked, cut)
			}
			f.whole(t, s)
			// Everything is there: a third session asks for no block and still ends in a receipt and a key.
			f.asked, v.keys = nil, map[string]string{}
			if err := Send(t.Context(), sendConfig(h, "tcp"), Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting()); err != nil {
				t.Fatal(err)
			}
			if len(f.asked) != 0 || len(v.keys) != 1 {
				t.Errorf("asked for %v, %d keys", f.asked, len(v.keys))
			}
		})
	}
}

// A wrong block is refused at that block, nothing of it is written, and the sender is told the class.
func TestWrongBlocks(t *testing.T) {
	flip := func(at int64) func(int64, []byte) []byte {
		return func(i int64, b []byte) []byte {
			if i == at {
				b = bytes.Clone(b)
				b[len(b)/2] ^= 1
			}
			return b
		}
	}
	cases := []struct {
		name   string
		damage func(i int64, b []byte) []byte
		at     int64
		class  string
	}{
		{"flipped root", flip(0), 0, ClassWrongBlock},
		{"flipped leaf", flip(5), 5, ClassWrongBlock},
		{"flipped last leaf", flip(9), 9, ClassWrongBlock},
		{"short leaf", func(i int64, b []byte) []byte { return b[:len(b)-int(i)] }, 1, ClassWrongBlock},
		{"empty leaf", func(i int64, b []byte) []byte { return b[:len(b)*int(1-min(i, 1))] }, 1, ClassWrongBlock},
	}
	for _, c := range cases {
		for _, kind := range []string{"tcp", "quic-v1"} {
			t.Run(c.name+" "+kind, func(t *testing.T) {
				f := newFilm(t, 9<<20)
				f.damage = c.damage
				v := newVault(f)
				h := requester(t, v, Limits{})
				err := Send(t.Context(), sendConfig(h, kind), Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting())
				var e *Error
				if !errors.As(err, &e) || !e.Remote || e.Class != c.class {
					t.Fatalf("error %v", err)
				}
				if s := v.shelf[f.root.String()].settled(t); s.have != c.at || len(v.keys) != 0 || v.receipts != 0 {
					t.Errorf("%d blocks written, %d keys, %d receipts", s.have, len(v.keys), v.receipts)
				}
			})
		}
	}
	t.Run("other size than granted", func(t *testing.T) {
		f := newFilm(t, 9<<20)
		v := newVault(f)
		v.shelf[f.root.String()].size = 8<<20 + 5
		h := requester(t, v, Limits{})
		if err := Send(t.Context(), sendConfig(h, "tcp"), Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting()); class(err) != ClassBadDAG {
			t.Errorf("error %v", err)
		}
		if v.shelf[f.root.String()].have != 0 {
			t.Error("a block was written")
		}
	})
}

func TestRefusals(t *testing.T) {
	f := newFilm(t, 3<<20)
	for step, want := range map[string]string{"grant": "no such request", "manifest": "no such request", "begin": ClassInternal, "complete": ClassInternal, "key": ClassInternal} {
		t.Run(step, func(t *testing.T) {
			v := newVault(f)
			v.refuse[step] = errors.New("no such request")
			h := requester(t, v, Limits{})
			confirmed := false
			hooks := trusting()
			hooks.Confirmed = func(string) { confirmed = true }
			err := Send(t.Context(), sendConfig(h, "tcp"), Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, hooks)
			var e *Error
			if !errors.As(err, &e) || !e.Remote || e.Class != want || confirmed {
				t.Errorf("error %v, confirmed %v", err, confirmed)
			}
		})
	}
	t.Run("acceptance", func(t *testing.T) {
		v := newVault(f)
		h := requester(t, v, Limits{})
		hooks := trusting()
		hooks.Accepted = func([]byte) error { return errors.New("looser terms") }
		f.asked = nil
		err := Send(t.Context(), sendConfig(h, "tcp"), Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, hooks)
		if class(err) != ClassAcceptance || len(f.asked) != 0 || !strings.Contains(err.Error(), "looser terms") {
			t.Errorf("error %v, blocks %v", err, f.asked)
		}
	})
	t.Run("receipt", func(t *testing.T) {
		v := newVault(f)
		h := requester(t, v, Limits{})
		hooks := trusting()
		hooks.Received = func(string, []byte) error { return errors.New("not signed") }
		r := f.release()
		r.Key = func() []byte { t.Error("the key was asked for"); return nil }
		err := Send(t.Context(), sendConfig(h, "tcp"), Offer{Grant: []byte("g"), Releases: []Release{r}}, hooks)
		if class(err) != ClassReceipt || len(v.keys) != 0 {
			t.Errorf("error %v, keys %v", err, v.keys)
		}
	})
	t.Run("release the grant does not name", func(t *testing.T) {
		h := requester(t, newVault(f), Limits{})
		other := newFilm(t, 5)
		if err := Send(t.Context(), sendConfig(h, "tcp"), Offer{Grant: []byte("g"), Releases: []Release{other.release()}}, trusting()); class(err) != ClassRoot {
			t.Errorf("error %v", err)
		}
	})
	t.Run("long reason", func(t *testing.T) {
		v := newVault(f)
		v.refuse["grant"] = errors.New(strings.Repeat("weiß\n", 400))
		h := requester(t, v, Limits{})
		err := Send(t.Context(), sendConfig(h, "tcp"), Offer{Grant: []byte("g"), Releases: nil}, trusting())
		if c := class(err); len(c) > maxClass || len(c) < 400 || strings.Contains(c, "\n") {
			t.Errorf("class %q", c)
		}
	})
}

// raw opens a stream as a home would, for a test to misuse.
func raw(t *testing.T, h *host.Host) *link {
	t.Helper()
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	return rawAs(t, h, key)
}

func rawAs(t *testing.T, h *host.Host, key ed25519.PrivateKey) *link {
	t.Helper()
	c, err := newCaller(key, host.Network{})
	if err != nil {
		t.Fatal(err)
	}
	tg, err := parseTarget(one(h, "tcp")[0])
	if err != nil {
		t.Fatal(err)
	}
	conn, l, err := c.call(t.Context(), Timing{}.filled(), tg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); c.close() })
	return l
}

func TestMisuseEndsTheSession(t *testing.T) {
	f := newFilm(t, 4<<20)
	header := func(kind byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{kind}, n) }
	manifest, _ := encodeManifest(f.root.String(), f.release().Manifest)
	upTo := func(t *testing.T, l *link, step string) {
		t.Helper()
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if step == "grant" {
			return
		}
		must(l.send(kindGrant, []byte("g")))
		_, err := l.expect(kindAcceptance, 30*time.Second)
		must(err)
		if step == "manifest" {
			return
		}
		must(l.send(kindManifest, manifest))
		_, err = l.expect(kindHave, 30*time.Second)
		must(err)
	}
	trickle := func(l *link) {
		for range 200 {
			if _, err := l.Write([]byte{0}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	for _, c := range []struct {
		name, step string
		do         func(l *link)
		class      string
	}{
		{"silent before the grant", "grant", func(*link) {}, ClassSlow},
		{"half a header", "grant", func(l *link) { l.Write([]byte{1, 0}) }, ClassSlow},
		{"huge grant", "grant", func(l *link) { l.Write(header(kindGrant, 1<<31)) }, ClassOversize},
		{"unknown kind", "grant", func(l *link) { l.Write(header(77, 1)) }, ClassProtocol},
		{"key first", "grant", func(l *link) { l.send(kindKey, []byte("k")) }, ClassProtocol},
		{"silent before the manifest", "manifest", func(*link) {}, ClassSlow},
		{"empty manifest", "manifest", func(l *link) { l.send(kindManifest, nil) }, ClassProtocol},
		{"silent before a block", "blocks", func(*link) {}, ClassSlow},
		{"huge block", "blocks", func(l *link) { l.Write(header(kindBlock, MaxBlock+1)) }, ClassOversize},
		{"endless block", "blocks", func(l *link) { l.Write(header(kindBlock, MaxBlock)); trickle(l) }, ClassSlow},
		{"endless empty blocks", "blocks", func(l *link) {
			for range 1000 {
				if l.send(kindBlock, nil) != nil {
					return
				}
			}
		}, ClassWrongBlock},
		{"manifest among blocks", "blocks", func(l *link) { l.send(kindManifest, manifest) }, ClassProtocol},
		{"key before the blocks", "blocks", func(l *link) { l.send(kindKey, []byte("k")) }, ClassProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVault(f)
			var timing Timing
			if c.class == ClassSlow {
				timing = quick
				timing.MinRate = 2 << 20
				if c.step != "grant" { // how far it comes is not what is tested
					timing.Grant, timing.Idle = 0, 2*time.Second
				}
			}
			h := requester(t, v, Limits{Timing: timing})
			l := raw(t, h)
			upTo(t, l, c.step)
			go c.do(l)
			_, err := l.expect(0, 30*time.Second)
			var e *Error
			if !errors.As(err, &e) || !e.Remote || e.Class != c.class {
				t.Errorf("the requester said %v, want %s", err, c.class)
			}
			if s := v.shelf[f.root.String()]; s.have != 0 || len(v.keys) != 0 {
				t.Errorf("%d blocks, %d keys", s.have, len(v.keys))
			}
		})
	}
}

func TestSessionsAreBounded(t *testing.T) {
	h := requester(t, newVault(), Limits{Sessions: 2})
	a, b, c := raw(t, h), raw(t, h), raw(t, h)
	for _, l := range []*link{a, b} {
		if err := l.send(kindGrant, []byte("g")); err != nil {
			t.Fatal(err)
		}
		if _, err := l.expect(kindAcceptance, 30*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	c.send(kindGrant, []byte("g"))
	if _, err := c.expect(kindAcceptance, 30*time.Second); class(err) != ClassBusy {
		t.Errorf("third session: %v", err)
	}
	a.CloseWrite()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		d := raw(t, h)
		d.send(kindGrant, []byte("g"))
		if _, err := d.expect(kindAcceptance, time.Second); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// silentReceiver accepts and then never answers.
func TestSenderGivesUpOnASilentRequester(t *testing.T) {
	f := newFilm(t, 30<<20)
	v := newVault(f)
	h := requester(t, v, Limits{})
	block := make(chan struct{})
	defer close(block)
	slow := &slowVault{vault: v, block: block}
	stop, err := Serve(h, slow, Limits{}) // replaces the handler
	if err != nil {
		t.Fatal(err)
	}
	_ = stop
	cfg := sendConfig(h, "tcp")
	cfg.Timing = quick
	cfg.Timing.MinRate = 8 << 20
	began := time.Now()
	err = Send(t.Context(), cfg, Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting())
	if class(err) != ClassSlow || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if len(v.keys) != 0 {
		t.Error("a key went out")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	cfg.Timing = Timing{}
	cfg.Key = sendConfig(h, "tcp").Key
	if err := Send(ctx, cfg, Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
}

type slowVault struct {
	*vault
	block chan struct{}
}

func (s *slowVault) Begin(ctx context.Context, from ed25519.PublicKey, root string) (Sink, error) {
	return &slowShelf{s.vault.shelf[root], s.block}, nil
}

type slowShelf struct {
	*shelf
	block chan struct{}
}

func (s *slowShelf) Write(int64, bool, []byte) error { <-s.block; return errors.New("stopped") }

func TestProbe(t *testing.T) {
	h := requester(t, newVault(), Limits{})
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	deaf, err := host.New(host.Config{Key: key, Role: host.Steward, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	shut := "/ip4/127.0.0.1/tcp/1/p2p/" + h.ID()
	named := "/dns4/example.org/tcp/1/p2p/" + h.ID()
	reached, err := Probe(t.Context(), host.Network{}, append(h.Addrs(), shut, named, deaf.Addrs()[0]))
	if !slices.Equal(reached, h.Addrs()) {
		t.Errorf("reached %q", reached)
	}
	for _, a := range []string{shut, named, deaf.Addrs()[0]} {
		if err == nil || !strings.Contains(err.Error(), a) {
			t.Errorf("no word about %s in: %v", a, err)
		}
	}
	// A wrong key behind an address is not the requester.
	wrong := strings.Replace(one(h, "tcp")[0], h.ID(), deaf.ID(), 1)
	if reached, _ := Probe(t.Context(), host.Network{}, []string{wrong}); len(reached) != 0 {
		t.Error("another key passed for the requester")
	}
}

// Both ends together, in one process, hold a few blocks of a large release and no more.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("256 MiB over loopback")
	}
	f := newFilm(t, 256<<20)
	v := newVault(f)
	h := requester(t, v, Limits{})
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, peak := m.HeapAlloc, uint64(0)
	hooks := trusting()
	hooks.Progress = func(_ string, sent, _ int64) {
		if sent%8 == 0 {
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
	}
	cfg := sendConfig(h, "tcp")
	cfg.Timing = Timing{}
	began := time.Now()
	if err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, hooks); err != nil {
		t.Fatal(err)
	}
	t.Logf("256 MiB in %v, heap %d MiB above the start", time.Since(began), (peak-before)>>20)
	f.whole(t, v.shelf[f.root.String()])
	if peak-before > 32<<20 {
		t.Errorf("the heap grew by %d MiB", (peak-before)>>20)
	}
}
