package gossip

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// An RPC can carry over a hundred messages, and whoever writes it itself keeps to no limit. The first four
// are looked at; then the peer is gone, and the host knows that a true one may have been among the rest.
func TestAFloodInOneRPCIsHardlyLookedAt(t *testing.T) {
	b := start(t, host.Steward, func(m []byte) Verdict {
		if m[0] == '+' {
			return Accept
		}
		return Reject
	})
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Connect(t.Context(), b.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	id, _ := peer.Decode(b.ID())
	st, err := h.Libp2p().NewStream(t.Context(), id, protocolID)
	if err != nil {
		t.Fatal(err)
	}
	topic, rpc := "mesh", &pb.RPC{}
	for i := range 150 {
		rpc.Publish = append(rpc.Publish, &pb.Message{Topic: &topic, Data: fmt.Appendf(nil, "x %d", i)})
	}
	rpc.Publish = append(rpc.Publish, &pb.Message{Topic: &topic, Data: []byte("+ true")})
	raw, err := proto.Marshal(rpc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write(append(binary.AppendUvarint(nil, uint64(len(raw))), raw...)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the flooder is gone", func() bool { return len(b.Peers()) == 0 })
	select {
	case <-b.topic.Missed():
	case <-time.After(time.Minute):
		t.Error("nobody says that messages were missed")
	}
	time.Sleep(200 * time.Millisecond)
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.from); n != maxRejected {
		t.Errorf("%d messages were looked at, not %d", n, maxRejected)
	}
}

func TestWardForgetsAndIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := newWard()
	w.now = func() time.Time { return now }
	say := func(p peer.ID, v Verdict, times int) (looked, outs int) {
		for range times {
			_, l, out := w.judge(p, string(p), func() Verdict { return v })
			if l {
				looked++
			}
			if out {
				outs++
			}
		}
		return looked, outs
	}
	if looked, outs := say("forger", Reject, 10); looked != maxRejected || outs != 1 || !w.deaf("forger", "forger") {
		t.Errorf("%d forged messages were looked at, and it was put out %d times", looked, outs)
	}
	if _, outs := say("honest", Accept, 1000); outs != 0 || w.deaf("honest", "honest") {
		t.Error("accepted messages are held against a peer")
	}
	say("replayer", Ignore, maxIgnored)
	if !w.deaf("replayer", "replayer") {
		t.Error("there is no end to messages that nobody needs")
	}
	now = now.Add(10 * ignoredWait)
	if w.deaf("replayer", "replayer") {
		t.Error("it is not listened to again")
	}
	now = now.Add(rejectedFor)
	if w.deaf("forger", "forger") {
		t.Error("a peer is out for good")
	}
	for i := range 2 * maxWarded {
		say(peer.ID(fmt.Sprint(i)), Reject, 1)
	}
	if len(w.peers) > maxWarded {
		t.Errorf("%d peers are remembered", len(w.peers))
	}
}

// Whoever comes back under another id gets no more than so often what one peer may send; those elsewhere are heard.
func TestAnotherIDIsNoOtherSource(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := newWard()
	w.now = func() time.Time { return now }
	looked := 0
	for i := range 20 * maxSiblings {
		p := peer.ID(fmt.Sprint("sybil", i))
		for range maxIgnored {
			if w.deaf(p, "mob") {
				break
			}
			w.judge(p, "mob", func() Verdict { return Ignore })
			looked++
		}
	}
	if looked != maxSiblings*maxIgnored {
		t.Errorf("%d messages of one source were looked at, want %d", looked, maxSiblings*maxIgnored)
	}
	if w.deaf("ana", "elsewhere") {
		t.Error("a peer of another source is not heard")
	}
	if now = now.Add(ignoredWait); w.deaf("ana", "mob") {
		t.Error("the source is never heard again")
	}
	for i := range 2 * maxWarded {
		w.judge("p", fmt.Sprint(i), func() Verdict { return Ignore })
	}
	if len(w.sources) > maxWarded {
		t.Errorf("%d sources are remembered", len(w.sources))
	}
	now = now.Add(2 * maxIgnored * ignoredWait)
	if w.judge("p", "new", func() Verdict { return Ignore }); len(w.sources) != 1 {
		t.Errorf("%d sources are remembered after a while", len(w.sources))
	}
}

// So strangers in a mesh never keep a chosen peer out of it.
func TestAChosenPeerIsWorthMoreThanAnyStranger(t *testing.T) {
	score, limits := scoring("mesh", func(p peer.ID) bool { return p == "steward" })
	steward, stranger := score.AppSpecificScore("steward"), score.AppSpecificScore("stranger")
	if best := stranger + score.Topics["mesh"].FirstMessageDeliveriesCap; steward <= best || limits.OpportunisticGraftThreshold <= best || limits.OpportunisticGraftThreshold > steward {
		t.Errorf("a steward has %v, a stranger at best %v, and better peers are looked for below %v", steward, best, limits.OpportunisticGraftThreshold)
	}
}
