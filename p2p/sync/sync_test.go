package sync

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	gosync "sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// shelf keeps logs in memory; it is Source and Sink.
type shelf struct {
	mu    gosync.Mutex
	logs  map[string][][]byte
	taken int
	err   error
}

func newShelf() *shelf { return &shelf{logs: map[string][][]byte{}} }

func (s *shelf) fill(log string, n, size int) {
	for i := range n {
		s.logs[log] = append(s.logs[log], append([]byte(fmt.Sprintf("%s %d ", log, i)), make([]byte, size)...))
	}
}

func (s *shelf) Heads() []Head {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Head
	for l, e := range s.logs {
		out = append(out, Head{Log: l, Size: int64(len(e)), Note: []byte("note of " + l)})
	}
	return out
}

func (s *shelf) Entries(log string, from int64, max int) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.logs[log]
	if from >= int64(len(e)) {
		return nil, nil
	}
	return e[from:min(len(e), int(from)+max)], nil
}

func (s *shelf) Want(remote []Head) []Range {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Range
	for _, h := range remote {
		out = append(out, Range{h.Log, int64(len(s.logs[h.Log])), h.Size}, Range{"no such log", 0, 5})
	}
	return out
}

func (s *shelf) Take(log string, from int64, entries [][]byte, head Head) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken += len(entries)
	if s.err != nil {
		return s.err
	}
	if from != int64(len(s.logs[log])) || string(head.Note) != "note of "+log {
		return fmt.Errorf("from %d, note %q", from, head.Note)
	}
	s.logs[log] = append(s.logs[log], entries...)
	return nil
}

func (s *shelf) len(log string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.logs[log])
}

func start(t *testing.T, role host.Role) *host.Host {
	t.Helper()
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	h, err := host.New(host.Config{Key: key, Role: role, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func serve(t *testing.T, h *host.Host, src Source, sink Sink) *Syncer {
	t.Helper()
	s, err := Serve(h, src, sink)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// Somebody who was away connects and soon has everything; somebody who joins later still gets it from that one.
func TestCatchUp(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var done gosync.WaitGroup
		t.Cleanup(func() { cancel(); done.Wait() })
		join := func(s *shelf) *host.Host {
			h := start(t, host.Home)
			y := serve(t, h, s, s)
			done.Go(func() { y.Run(ctx, 200*time.Millisecond) })
			return h
		}
		full, empty, late := newShelf(), newShelf(), newShelf()
		full.fill("docket", 700, 3000)
		full.fill("charter", 3, 10)
		a, b := join(full), join(empty)
		if err := b.Connect(t.Context(), a.Addrs()[0]); err != nil {
			t.Fatal(err)
		}
		eventually(t, "catch-up on connecting", func() bool { return empty.len("docket") == 700 && empty.len("charter") == 3 })
		if !bytes.Equal(empty.logs["docket"][699], full.logs["docket"][699]) {
			t.Error("entries differ")
		}
		c := join(late)
		if err := c.Connect(t.Context(), b.Addrs()[0]); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the late one has it too", func() bool { return late.len("docket") == 700 })
		full.mu.Lock()
		full.logs["docket"] = append(full.logs["docket"], []byte("new"))
		full.mu.Unlock()
		eventually(t, "an entry gossip missed travels by the regular pulls", func() bool { return late.len("docket") == 701 })
	})
}

func TestPullReportsARefusedEntry(t *testing.T) {
	full, sink := newShelf(), newShelf()
	full.fill("docket", 600, 10)
	sink.err = errors.New("two roots at one size")
	a, b := start(t, host.Home), start(t, host.Home)
	serve(t, a, full, nil)
	y := serve(t, b, nil, sink)
	if err := b.Connect(t.Context(), a.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if err := y.Pull(t.Context(), a.ID()); !errors.Is(err, sink.err) {
		t.Errorf("error %v", err)
	}
	if sink.taken > MaxBatchCount {
		t.Errorf("the pull went on for %d entries", sink.taken)
	}
}

// A hostile server: whatever it does, a pull ends in time and within its bytes.
func TestPullIsBounded(t *testing.T) {
	entry := bytes.Repeat([]byte{7}, 60000)
	many := encodeEntries(slicesOf(entry, 17))
	for _, c := range []struct {
		name  string
		serve func(w *wire)
		blame bool
	}{ // those that are not to blame, but for the endless one, are slow
		{"silent", func(w *wire) { io.Copy(io.Discard, w.rw) }, false},
		{"half a frame", func(w *wire) { w.rw.Write([]byte{kindHeads, 0, 0}); io.Copy(io.Discard, w.rw) }, false},
		{"trickle", func(w *wire) {
			w.rw.Write([]byte{kindHeads, 0, 0, 255, 0})
			for range 6000 {
				if _, err := w.rw.Write([]byte{0}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}, false},
		{"huge heads", func(w *wire) { w.rw.Write([]byte{kindHeads, 255, 255, 255, 255}) }, true},
		{"twice the same log", func(w *wire) { w.send(kindHeads, encodeHeads([]Head{{Log: "x", Size: 1}, {Log: "x", Size: 2}})) }, true},
		{"more than asked for", func(w *wire) {
			w.send(kindHeads, encodeHeads([]Head{{Log: "x", Size: 2, Note: []byte("note of x")}}))
			w.send(kindEntries, many)
		}, true},
		{"endless", func(w *wire) {
			w.send(kindHeads, encodeHeads([]Head{{Log: "x", Size: 1 << 60, Note: []byte("note of x")}}))
			for w.send(kindEntries, many) == nil {
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := start(t, host.Steward), start(t, host.Home)
			a.Libp2p().SetStreamHandler(Protocol, func(st network.Stream) {
				c.serve(&wire{st, 30 * time.Second})
				st.Close()
			})
			sink := newShelf()
			y := serve(t, b, nil, sink)
			y.frameTime, y.maxPull = 30*time.Second, 5<<20
			if !c.blame && c.name != "endless" {
				y.frameTime = 500 * time.Millisecond
			}
			if err := b.Connect(t.Context(), a.Addrs()[0]); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err := y.Pull(t.Context(), a.ID())
			var bad *badPeer
			if errors.As(err, &bad) != c.blame || (err == nil) != (c.name == "endless") {
				t.Errorf("error %v", err)
			}
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
			if sink.taken*len(entry) > 7<<20 {
				t.Errorf("took in %d entries", sink.taken)
			}
		})
	}
}

func slicesOf(b []byte, n int) [][]byte {
	var out [][]byte
	for range n {
		out = append(out, b)
	}
	return out
}

// A hostile client: one stream at a time, a number a minute, and none at all from strangers to a requester.
func TestServerIsBounded(t *testing.T) {
	s := &Syncer{served: map[peer.ID]*rate{}}
	now := time.Unix(1e9, 0)
	if !s.enter("a", now) || s.enter("a", now) {
		t.Error("a peer has to have one stream, and only one")
	}
	s.leave("a")
	n := 1
	for ; s.enter("a", now); n++ {
		s.leave("a")
	}
	if n != Burst {
		t.Errorf("%d pulls at once, want %d", n, Burst)
	}
	if !s.enter("a", now.Add(time.Minute/Burst+time.Second)) {
		t.Error("the allowance does not come back")
	}
	s.leave("a")
	for i := range maxStreams {
		if !s.enter(peer.ID(fmt.Sprint("p", i)), now) {
			t.Fatalf("stream %d refused", i)
		}
	}
	if s.enter("one more", now) {
		t.Error("too many streams")
	}
	for i := range maxStreams {
		s.leave(peer.ID(fmt.Sprint("p", i)))
	}
	for i := range maxWatched + 10 {
		if p := peer.ID(fmt.Sprint("q", i)); s.enter(p, now) {
			s.leave(p)
		}
	}
	if len(s.served) > maxWatched {
		t.Errorf("%d peers remembered", len(s.served))
	}
	if !s.enter("later", now.Add(2*time.Minute)) {
		t.Error("old peers are not forgotten")
	}
}

// When all streams are taken, the one on which nothing moves gives way, or else the one that has been there too long.
func TestASlowStreamGivesWay(t *testing.T) {
	s := &Syncer{served: map[peer.ID]*rate{}}
	now := time.Unix(1e9, 0)
	cut := make(chan peer.ID, maxStreams)
	for i := range maxStreams {
		p := peer.ID(fmt.Sprint("p", i))
		s.enter(p, now.Add(time.Duration(i)*time.Millisecond))
		s.served[p].cut = func() { cut <- p }
	}
	if s.enter("early", now.Add(time.Second)) {
		t.Error("somebody had to give way at once")
	}
	now = now.Add(idleTime + time.Second)
	for i := range maxStreams {
		if i != 5 {
			s.served[peer.ID(fmt.Sprint("p", i))].moved = now
		}
	}
	if !s.enter("one", now) || <-cut != "p5" || s.streams != maxStreams {
		t.Errorf("the stream on which nothing moves did not give way; %d are taken", s.streams)
	}
	s.served["one"].cut = func() { cut <- "one" }
	if s.enter("two", now) {
		t.Error("a stream that moves gave way")
	}
	now = now.Add(fairTime)
	for _, r := range s.served {
		r.moved = now
	}
	if !s.enter("two", now) || <-cut != "p0" {
		t.Error("the stream that has been there the longest did not give way")
	}
	s.leave("p5")
	s.leave("p0")
	if s.streams != maxStreams {
		t.Errorf("%d streams are counted", s.streams)
	}
}

// Strangers who let a node's pulls wait, more of them than it has pulls at once, give way to whoever came after them.
func TestStalledPullsGiveWay(t *testing.T) {
	sink, full := newShelf(), newShelf()
	full.fill("docket", 5, 10)
	h := start(t, host.Steward)
	y := serve(t, h, nil, sink)
	stalled, end := make(chan struct{}), make(chan struct{})
	for range maxPulls + 4 {
		stranger := start(t, host.Home)
		stranger.Libp2p().SetStreamHandler(Protocol, func(st network.Stream) {
			select {
			case stalled <- struct{}{}:
			case <-end:
			}
			<-end
			st.Reset()
		})
		if err := stranger.Connect(t.Context(), h.Addrs()[0]); err != nil {
			t.Fatal(err)
		}
	}
	defer close(end)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { y.Run(ctx, time.Hour); close(ran) }()
	defer func() { cancel(); <-ran }()
	for range maxPulls {
		<-stalled
	}
	good := start(t, host.Requester)
	serve(t, good, full, nil)
	if err := good.Connect(t.Context(), h.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pull from an honest stranger", func() bool { return sink.len("docket") == 5 })
}

func TestRequesterServesItsStewardsOnly(t *testing.T) {
	r, stranger := start(t, host.Requester), start(t, host.Home)
	full := newShelf()
	full.fill("docket", 3, 1)
	serve(t, r, full, nil)
	y := serve(t, stranger, nil, newShelf())
	if err := stranger.Connect(t.Context(), r.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if err := y.Pull(t.Context(), r.ID()); err == nil {
		t.Error("a stranger was served")
	}
	if err := r.Connect(t.Context(), stranger.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if err := y.Pull(t.Context(), r.ID()); err != nil {
		t.Errorf("a chosen peer was not served: %v", err)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(byte(kindHeads), encodeHeads([]Head{{Log: "docket", Size: 5, Note: []byte("note")}, {Log: "charter", Size: 1}}))
	f.Add(byte(kindWant), encodeWant(Range{"docket", 3, 9}))
	f.Add(byte(kindEntries), encodeEntries([][]byte{{}, []byte("entry")}))
	f.Add(byte(kindEntries), []byte{255, 255})
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		if kind == 0 || int(kind) >= len(frameLimit) {
			kind = kindHeads
		}
		frame := append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(b))), b...)
		body, err := readFrame(bytes.NewReader(frame), kind)
		if (err == nil) != (len(b) <= frameLimit[kind]) {
			t.Fatalf("frame of %d bytes: %v", len(b), err)
		}
		if h, err := decodeHeads(body); err == nil && len(body) > 0 {
			for _, x := range h {
				if x.Log == "" || x.Size < 0 || len(x.Note) > MaxNote {
					t.Fatalf("head %+v", x)
				}
			}
			if len(h) < 2 && !bytes.Equal(encodeHeads(h), body) {
				t.Fatal("heads have two encodings")
			}
		}
		if r, err := decodeWant(body); err == nil && !bytes.Equal(encodeWant(r), body) {
			t.Fatal("a want has two encodings")
		}
		if e, err := decodeEntries(body); err == nil && len(body) > 0 && !bytes.Equal(encodeEntries(e), body) {
			t.Fatal("entries have two encodings")
		}
	})
}
