package gossip

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/protocol"
	"go.uber.org/goleak"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// neighbour is a host with a topic, and a list of what its check was shown.
type neighbour struct {
	*host.Host
	topic *Topic

	mu   sync.Mutex
	seen map[string]int
	from []string
}

func (n *neighbour) check(verdict func([]byte) Verdict) func(string, []byte) Verdict {
	return func(from string, msg []byte) Verdict {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.seen[string(msg)]++
		n.from = append(n.from, from)
		return verdict(msg)
	}
}

func (n *neighbour) count(msg string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[msg]
}

func accept([]byte) Verdict { return Accept }

func start(t *testing.T, role host.Role, verdict func([]byte) Verdict) *neighbour {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Config{Key: key, Role: role, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		t.Fatal(err)
	}
	n := &neighbour{Host: h, seen: map[string]int{}}
	if n.topic, err = Join(context.Background(), h, "mesh", n.check(verdict)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.topic.Close(); h.Close() })
	return n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func connect(t *testing.T, a, b *neighbour) {
	t.Helper()
	if err := a.Connect(t.Context(), b.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
}

// A line of three: what the middle one rejects or ignores never reaches the far end.
func TestOnlyAcceptedMessagesAreForwarded(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("line", func(t *testing.T) {
		a := start(t, host.Home, accept)
		b := start(t, host.Steward, func(m []byte) Verdict {
			switch m[0] {
			case 'x':
				return Reject
			case 'o':
				return Ignore
			}
			return Accept
		})
		c := start(t, host.Home, accept)
		connect(t, a, b)
		connect(t, c, b)
		eventually(t, "the line stands", func() bool {
			return b.topic.Peers() == 2 && a.topic.Peers() == 1 && c.topic.Peers() == 1
		})
		time.Sleep(1500 * time.Millisecond) // a heartbeat, in which b takes c into its mesh
		for _, m := range []string{"x forged", "o known", "+ good"} {
			if err := a.topic.Publish(t.Context(), []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the good message arrives", func() bool { return c.count("+ good") == 1 })
		eventually(t, "b saw all", func() bool { return b.count("x forged") == 1 && b.count("o known") == 1 })
		time.Sleep(1500 * time.Millisecond) // past a heartbeat, with its announcements
		if c.count("x forged")+c.count("o known") != 0 {
			t.Error("a message that b did not accept reached c")
		}
		if b.count("+ good") != 1 || c.count("+ good") != 1 {
			t.Error("a message was shown more than once")
		}
		if n := b.topic.Copies(); n != 3 {
			t.Errorf("b counts %d messages of its peers, not 3", n)
		}
		b.mu.Lock()
		if b.from[0] != a.ID() {
			t.Errorf("from = %s, want the forwarding peer %s", b.from[0], a.ID())
		}
		b.mu.Unlock()

		// A stripped copy is another message, judged on its own, and the whole one still gets through.
		if err := a.topic.Publish(t.Context(), []byte("x + whole")[:1]); err != nil {
			t.Fatal(err)
		}
		if err := a.topic.Publish(t.Context(), []byte("+ whole")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the whole message arrives", func() bool { return c.count("+ whole") == 1 })
	})
}

func TestPublishTellsWhatOwnCheckSays(t *testing.T) {
	n := start(t, host.Home, func(m []byte) Verdict { return Verdict(m[0] - '0') })
	for msg, ok := range map[string]bool{"0": false, "1": true, "2": false} {
		if err := n.topic.Publish(t.Context(), []byte(msg)); (err == nil) != ok {
			t.Errorf("publish %q: %v", msg, err)
		}
	}
	if n.from[0] != n.ID() {
		t.Error("a message of this host's own does not say so")
	}
	if err := n.topic.Publish(t.Context(), make([]byte, MaxMessage+1)); err == nil {
		t.Error("an oversize message was published")
	}
}

// A peer that keeps sending rejected messages is disconnected and cannot come back.
func TestSpammerIsBlocked(t *testing.T) {
	spammer := start(t, host.Home, accept)
	b := start(t, host.Steward, func([]byte) Verdict { return Reject })
	connect(t, spammer, b)
	eventually(t, "they meet", func() bool { return spammer.topic.Peers() == 1 && b.topic.Peers() == 1 })
	for i := range 10 {
		spammer.topic.Publish(t.Context(), bytes.Repeat([]byte{byte(i)}, 100))
	}
	eventually(t, "the spammer is gone", func() bool { return len(b.Peers()) == 0 })
	if err := spammer.Connect(t.Context(), b.Addrs()[0]); err == nil && len(b.Peers()) > 0 {
		t.Error("the spammer came back")
	}
}

// Whoever connects to a requester without being its steward gossips nothing with it.
func TestRequesterGossipsWithItsStewardsOnly(t *testing.T) {
	steward := start(t, host.Steward, accept)
	requester := start(t, host.Requester, accept)
	stranger := start(t, host.Home, accept)
	connect(t, requester, steward)
	connect(t, stranger, requester)
	eventually(t, "the steward is found", func() bool { return requester.topic.Peers() == 1 && steward.topic.Peers() == 1 })
	stranger.topic.Publish(t.Context(), []byte("from a stranger"))
	steward.topic.Publish(t.Context(), []byte("from the steward"))
	eventually(t, "the steward's message", func() bool { return requester.count("from the steward") == 1 })
	time.Sleep(300 * time.Millisecond)
	if requester.count("from a stranger") != 0 {
		t.Error("a stranger's message was looked at")
	}
}

func TestProtocolIsOurOwn(t *testing.T) {
	for _, p := range pubsub.GossipSubDefaultProtocols {
		for f := range pubsub.GossipSubFeature(4) {
			if features(f, p) {
				t.Errorf("feature %d is on for %s", f, p)
			}
		}
	}
	if !features(pubsub.GossipSubFeatureMesh, protocol.ID("/porchlight/gossip/1")) || features(pubsub.GossipSubFeaturePX, protocolID) {
		t.Error("own protocol has the wrong features")
	}
}
