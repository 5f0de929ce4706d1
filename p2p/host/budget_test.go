package host_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"runtime"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// usage is what the process holds once the garbage is gone.
func usage() (heap, stacks int64, goroutines int) {
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse), runtime.NumGoroutine()
}

// A mesh peer costs both ends together a known amount of memory and a known number of goroutines. The bounds are about
// twice what is measured, with 24 peers of one steward over each transport.
func TestPeerBudget(t *testing.T) {
	const (
		peers      = 24
		maxHeap    = 256 << 10 // bytes per connection, both ends
		maxStacks  = 160 << 10
		goroutines = 28
	)
	for _, c := range []struct{ name, listen string }{{"tcp", "/ip4/127.0.0.1/tcp/0"}, {"quic", "/ip4/127.0.0.1/udp/0/quic-v1"}} {
		t.Run(c.name, func(t *testing.T) {
			var all []*host.Host
			join := func(role host.Role, listen ...string) *gossip.Topic {
				_, key, _ := ed25519.GenerateKey(rand.Reader)
				h, err := host.New(host.Config{Key: key, Role: role, Listen: listen})
				if err != nil {
					t.Fatal(err)
				}
				topic, err := gossip.Join(context.Background(), h, "mesh", func(string, []byte) gossip.Verdict { return gossip.Accept })
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { topic.Close(); h.Close() })
				all = append(all, h)
				return topic
			}
			topic := join(host.Steward, c.listen)
			for range peers {
				join(host.Home)
			}
			heap, stacks, routines := usage()
			for _, h := range all[1:] {
				if err := h.Connect(t.Context(), all[0].Addrs()[0]); err != nil {
					t.Fatal(err)
				}
			}
			for deadline := time.Now().Add(time.Minute); topic.Peers() < peers; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("gossip sees %d of %d peers", topic.Peers(), peers)
				}
			}
			// Handshakes and identify leave goroutines that end by themselves.
			var h, s, g int64
			ok := false
			for deadline := time.Now().Add(time.Minute); !ok && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
				nh, ns, ng := usage()
				h, s, g = (nh-heap)/peers, (ns-stacks)/peers, int64(ng-routines)/peers
				ok = h <= maxHeap && s <= maxStacks && g <= goroutines
			}
			t.Logf("per connection, both ends: heap %d KiB, stacks %d KiB, %d goroutines", h>>10, s>>10, g)
			if !ok {
				t.Errorf("over the budget of %d KiB, %d KiB, %d goroutines", maxHeap>>10, maxStacks>>10, goroutines)
			}
		})
	}
}
