package forward_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/porchlight-mesh/porchlight/p2p/forward"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func listen(t *testing.T, role host.Role, stewards ...string) *host.Host {
	t.Helper()
	h, err := host.New(host.Config{Key: newKey(t), Role: role, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Stewards: stewards})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// way is a home, two stewards and a requester that sends back what it gets, on this machine's loopback.
type way struct {
	t               *testing.T
	home, requester *host.Host
	stewards        []*host.Host
	stops           []func()
	from            chan ed25519.PublicKey
	posted          chan []byte
	refuses         error
}

func newWay(t *testing.T, limits forward.Limits) *way {
	t.Helper()
	w := &way{t: t, from: make(chan ed25519.PublicKey, 16), posted: make(chan []byte, 16)}
	w.requester = listen(t, host.Requester)
	t.Cleanup(forward.Accept(w.requester, func(from ed25519.PublicKey, _ network.StreamScope, c *forward.Conn) {
		w.from <- from
		io.Copy(c, c)
		c.CloseWrite()
	}))
	reply := w.requester.Addrs()[0]
	var known []string
	for range 2 {
		h := listen(t, host.Steward, known...)
		known = append(known, h.Addrs()[0])
		stop, err := forward.Serve(h, forward.Steward{Limits: limits, Asks: func(a string) bool { return a == reply },
			Post: func(_ context.Context, doc []byte) error { w.posted <- doc; return w.refuses }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		w.stops = append(w.stops, stop)
		w.stewards = append(w.stewards, h)
	}
	// The second steward was named to the first one, too.
	if err := w.stewards[0].Connect(t.Context(), known[1]); err != nil {
		t.Fatal(err)
	}
	w.home = listen(t, host.Home)
	if err := w.home.Connect(t.Context(), known[0]); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *way) path() (ids []string) {
	for _, s := range w.stewards {
		ids = append(ids, s.ID())
	}
	return ids
}

func (w *way) dial(key ed25519.PrivateKey) (*forward.Conn, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	return forward.Dial(ctx, w.home, w.path(), w.requester.Addrs()[0], key)
}

// What goes in comes out, both ways and to its end; the requester knows the home by its key, and no host but the second steward's.
func TestAPathCarriesBothWays(t *testing.T) {
	w := newWay(t, forward.Limits{})
	key := newKey(t)
	c, err := w.dial(key)
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, 3<<20+17)
	rand.Read(sent)
	go func() { c.Write(sent); c.CloseWrite() }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
	if from := <-w.from; !from.Equal(key.Public()) {
		t.Error("the requester was shown another key")
	}
	if peers := w.requester.Peers(); len(peers) != 1 || peers[0].ID != w.stewards[1].ID() {
		t.Errorf("the requester is connected to %v", peers)
	}
	for _, p := range w.stewards[1].Libp2p().Peerstore().Peers() {
		if p.String() == w.home.ID() {
			t.Error("the second steward knows the home's host")
		}
	}
}

// A neighbour has so many paths at a time, so many bytes a day, and no path on which nothing moves.
func TestQuotas(t *testing.T) {
	t.Run("paths", func(t *testing.T) {
		w := newWay(t, forward.Limits{PerPeer: 1})
		first, err := w.dial(newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.dial(newKey(t))
		var said *forward.HopError
		if !errors.As(err, &said) || said.Status != forward.StatusBusy || said.Hop != 0 {
			t.Errorf("a second path at a time: %v", err)
		}
		first.Close()
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			again, err := w.dial(newKey(t))
			if err == nil {
				again.Close()
				break
			}
			if time.Now().After(end) {
				t.Fatal("the first path is closed, and there is no room for another:", err)
			}
		}
	})
	t.Run("bytes", func(t *testing.T) {
		w := newWay(t, forward.Limits{Bytes: 1 << 20})
		c, err := w.dial(newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		go func() { c.Write(make([]byte, 4<<20)); c.CloseWrite() }()
		if n, err := io.Copy(io.Discard, c); err == nil || n > 1<<20 {
			t.Errorf("%d bytes came back and no error: %v", n, err)
		}
		_, err = w.dial(newKey(t))
		var said *forward.HopError
		if !errors.As(err, &said) || said.Status != forward.StatusBusy {
			t.Errorf("after its bytes of the day: %v", err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		w := newWay(t, forward.Limits{Idle: 3 * time.Second})
		c, err := w.dial(newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a path on which nothing moves stays")
		}
	})
}

// A steward that stops breaks its paths off, and waits for them.
func TestStoppingEndsPaths(t *testing.T) {
	w := newWay(t, forward.Limits{})
	c, err := w.dial(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	w.stops[1]()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the path goes on")
	}
}

// The last steward makes a document public, or says that it does not.
func TestPost(t *testing.T) {
	w := newWay(t, forward.Limits{})
	if err := forward.Post(t.Context(), w.home, w.path(), []byte("an objection")); err != nil {
		t.Fatal(err)
	}
	if doc := <-w.posted; string(doc) != "an objection" {
		t.Errorf("%q came", doc)
	}
	w.refuses = errors.New("no")
	err := forward.Post(t.Context(), w.home, w.path(), []byte("an objection"))
	var said *forward.HopError
	if !errors.As(err, &said) || said.Status != forward.StatusRefused {
		t.Errorf("a document that is refused: %v", err)
	}
	if err := forward.Post(t.Context(), w.home, w.path(), make([]byte, forward.MaxPost+1)); err == nil {
		t.Error("a document over the limit went")
	}
}

// What is no beginning of a path costs its sender a stream and leaves nothing behind.
func TestJunkAtASteward(t *testing.T) {
	w := newWay(t, forward.Limits{})
	id, err := peer.Decode(w.stewards[0].ID())
	if err != nil {
		t.Fatal(err)
	}
	for _, junk := range [][]byte{{7}, {0, 0xff, 0xff}, {0, 0, 0}, {0, 0, 1, 'x'}, {1, 0, 0}, slices.Concat([]byte{1}, make([]byte, 100)), slices.Concat([]byte{0, 0, 4}, []byte("post"), []byte{0xff, 0xff, 0xff, 0xff})} {
		st, err := w.home.Libp2p().NewStream(t.Context(), id, forward.Protocol)
		if err != nil {
			t.Fatal(err)
		}
		st.Write(junk)
		st.CloseWrite()
		st.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(st); len(b) > 256 || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%x is answered with %d bytes, %v", junk, len(b), err)
		}
		st.Reset()
	}
	c, err := w.dial(newKey(t))
	if err != nil {
		t.Fatal("after the junk:", err)
	}
	c.Close()
}
