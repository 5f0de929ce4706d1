package ask

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const proto = "/porchlight/test/1"

func start(t *testing.T, role host.Role) *host.Host {
	t.Helper()
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	h, err := host.New(host.Config{Key: key, Role: role, Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// pair is somebody who asks and, connected to it over TCP, somebody who answers.
func pair(t *testing.T, answer func(from string, question []byte) ([]byte, error)) (asks, answers *host.Host, stop func()) {
	t.Helper()
	return pairOver(t, "/tcp/", answer)
}

func pairOver(t *testing.T, transport string, answer func(from string, question []byte) ([]byte, error)) (asks, answers *host.Host, stop func()) {
	t.Helper()
	asks, answers = start(t, host.Home), start(t, host.Steward)
	stop = Serve(answers, proto, answer)
	addrs := answers.Addrs()
	i := slices.IndexFunc(addrs, func(a string) bool { return strings.Contains(a, transport) })
	if err := asks.Connect(t.Context(), addrs[i]); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(60 * time.Second); len(Speaks(asks, proto)) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody is known to speak the protocol")
		}
	}
	return asks, answers, stop
}

func TestAQuestionAndItsAnswer(t *testing.T) {
	var from atomic.Value
	a, b, stop := pair(t, func(who string, q []byte) ([]byte, error) {
		from.Store(who)
		return bytes.ToUpper(q), nil
	})
	defer stop()
	for _, q := range []string{"what is it", "", strings.Repeat("x", Max)} {
		got, err := Question(t.Context(), a, b.ID(), proto, []byte(q))
		if err != nil || string(got) != strings.ToUpper(q) {
			t.Errorf("a question of %d bytes: %.20q, %v", len(q), got, err)
		}
	}
	if from.Load() != a.ID() {
		t.Errorf("asked by %v, not by %s", from.Load(), a.ID())
	}
	if all := Speaks(b, proto); len(all) != 0 {
		t.Errorf("%v are said to answer, and only ask", all)
	}
	if _, err := Question(t.Context(), a, b.ID(), proto, make([]byte, Max+1)); err == nil {
		t.Error("a question over the limit was sent")
	}
	for _, id := range []string{"x", start(t, host.Home).ID()} {
		if _, err := Question(t.Context(), a, id, proto, nil); err == nil {
			t.Errorf("%s, who is not connected, answered", id)
		}
	}
	if _, err := Question(t.Context(), a, b.ID(), "/porchlight/other/1", nil); err == nil {
		t.Error("an answer over a protocol that nobody speaks")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Question(ctx, a, b.ID(), proto, nil); err == nil {
		t.Error("an answer after the time was over")
	}
}

// A server that closes a QUIC stream ends both its ways, perhaps before the one who asked has closed its own: the answer counts.
func TestAnswersOverQUIC(t *testing.T) {
	a, b, stop := pairOver(t, "/quic-v1", func(_ string, q []byte) ([]byte, error) { return q, nil })
	defer stop()
	for i := range 200 {
		if got, err := Question(t.Context(), a, b.ID(), proto, []byte{byte(i)}); err != nil || !bytes.Equal(got, []byte{byte(i)}) {
			t.Fatalf("question %d: %x, %v", i, got, err)
		}
	}
}

// What the answering function refuses is held against who asked, and the answer is none; so is one that is too long.
func TestAQuestionIsRefused(t *testing.T) {
	a, b, stop := pair(t, func(_ string, q []byte) ([]byte, error) {
		if string(q) == "long" {
			return make([]byte, Max+1), nil
		}
		return nil, errors.New("no honest peer asks that")
	})
	defer stop()
	for _, q := range []string{"bad", "long"} {
		if got, err := Question(t.Context(), a, b.ID(), proto, []byte(q)); err == nil {
			t.Errorf("%s: answered %.20q", q, got)
		}
	}
}

// Whatever either side sends in place of a message, the other is through with it at once.
func TestWhatIsNoMessage(t *testing.T) {
	for name, raw := range map[string]string{
		"nothing": "", "half a length": "\x00\x00", "too long": "\x00\x00\x40\x01" + strings.Repeat("x", Max+1),
		"far too long": "\xff\xff\xff\xff", "cut short": "\x00\x00\x00\x09hello",
	} {
		t.Run(name, func(t *testing.T) {
			asked := false
			a, b, stop := pair(t, func(string, []byte) ([]byte, error) { asked = true; return nil, nil })
			defer stop()
			to, err := peer.Decode(b.ID())
			if err != nil {
				t.Fatal(err)
			}
			st, err := a.Libp2p().NewStream(network.WithNoDial(t.Context(), "test"), to, proto)
			if err != nil {
				t.Fatal(err)
			}
			st.Write([]byte(raw)) // who answers may have reset it already
			st.CloseWrite()
			if got, err := io.ReadAll(st); err == nil || len(got) > 0 || asked {
				t.Errorf("answered %q, %v", got, err)
			}
			b.Libp2p().SetStreamHandler(proto+"/bad", func(st network.Stream) {
				receive(st)
				st.Write([]byte(raw))
				st.Close()
			})
			if got, err := Question(t.Context(), a, b.ID(), proto+"/bad", nil); err == nil {
				t.Errorf("%q was taken for an answer", got)
			}
		})
	}
}

// One question of a peer at a time; stop waits for the one under way, and nothing is answered after it.
func TestBusyAndStopped(t *testing.T) {
	begun, end := make(chan bool, 1), make(chan bool)
	a, b, stop := pair(t, func(string, []byte) ([]byte, error) {
		begun <- true
		<-end
		return []byte("done"), nil
	})
	var g gosync.WaitGroup
	g.Go(func() {
		if got, err := Question(t.Context(), a, b.ID(), proto, nil); err != nil || string(got) != "done" {
			t.Errorf("the question under way: %q, %v", got, err)
		}
	})
	<-begun
	if _, err := Question(t.Context(), a, b.ID(), proto, nil); err == nil {
		t.Error("two questions of one peer at a time")
	}
	stopped := make(chan bool)
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Error("stop did not wait")
	case <-time.After(100 * time.Millisecond):
	}
	close(end)
	g.Wait()
	<-stopped
	if _, err := Question(t.Context(), a, b.ID(), proto, nil); err == nil {
		t.Error("answered after the end")
	}
}

func TestSoManyQuestionsInAll(t *testing.T) {
	s := &server{busy: map[peer.ID]bool{}}
	for i := range MaxStreams {
		if !s.enter(peer.ID(fmt.Sprint(i))) {
			t.Fatalf("peer %d is turned away", i)
		}
	}
	if s.enter("one more") {
		t.Error("more questions at once than there may be")
	}
	s.free("0")
	if !s.enter("one more") {
		t.Error("turned away although there is room")
	}
	if s.enter("1") {
		t.Error("two questions of one peer")
	}
}

// A requester answers its stewards only, and nobody who is a stranger to it.
func TestARequesterAnswersNoStranger(t *testing.T) {
	r, stranger := start(t, host.Requester), start(t, host.Home)
	defer Serve(r, proto, func(string, []byte) ([]byte, error) { return []byte("hello"), nil })()
	if err := stranger.Connect(t.Context(), r.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if got, err := Question(t.Context(), stranger, r.ID(), proto, nil); err == nil {
		t.Errorf("a stranger was told %q", got)
	}
	if err := r.Connect(t.Context(), stranger.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := Question(t.Context(), stranger, r.ID(), proto, nil); err != nil {
		t.Errorf("a chosen peer was not answered: %v", err)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05hello"))
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x40\x01"))
	f.Add([]byte("\x00\x00\x00\x09cut"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		got, err := receive(r)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := send(&again, got); err != nil || len(got) > Max || !bytes.Equal(again.Bytes(), b[:len(b)-r.Len()]) {
			t.Fatalf("%d bytes were read, and written again they are %d (%v)", len(got), again.Len(), err)
		}
		if n := binary.BigEndian.Uint32(b); int(n) != len(got) {
			t.Fatalf("%d bytes of %d", len(got), n)
		}
	})
}
