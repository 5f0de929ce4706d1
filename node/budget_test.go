package node

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// held is what the process holds once the garbage is gone: bytes of heap and of stacks, and goroutines.
func held() (heap, stacks int64, goroutines int) {
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse), runtime.NumGoroutine()
}

// A peer that a running node is connected to, has exchanged gossip with and was caught up from costs both ends together a
// known amount of memory and a known number of goroutines, and when the nodes stop nothing of it is left. The bounds
// are about twice what is measured. They hold for whole nodes what package host holds for hosts.
func TestNodeBudget(t *testing.T) {
	const (
		homes         = 16
		maxHeap       = 256 << 10 // bytes per connection, both ends
		maxStacks     = 160 << 10
		maxGoroutines = 28
	)
	police := newPolice(t)
	police.append(must(consent.Sign(police.request(), police.officer, police.sergeant)))

	ctx, cancel := context.WithCancel(t.Context())
	var running errgroup.Group
	start := func(name string, role Role) *Peer {
		dir := filepath.Join(t.TempDir(), name)
		if err := Create(dir, role); err != nil {
			t.Fatal(err)
		}
		if err := WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), police.chain); err != nil {
			t.Fatal(err)
		}
		config := strings.NewReplacer("0.0.0.0", "127.0.0.1", `, "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0"`, "",
			`, "/ip6/::/udp/4001/quic-v1", "/ip6/::/tcp/4001"`, "", "4001", "0", "mdns = true", "mdns = false").Replace(DefaultConfig(role))
		if err := durable.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		p := must(OpenPeer(dir, Options{}))
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
		running.Go(func() error { return p.Run(ctx) })
		return p
	}
	steward := start("steward", Steward)
	d := steward.Docket(police.self.ID())
	if err := d.Extend(0, police.notes, police.log.Checkpoint()); err != nil {
		t.Fatal(err)
	}
	if err := steward.readDocket(d); err != nil {
		t.Fatal(err)
	}
	var all []*Peer
	for range homes {
		all = append(all, start("home", Home))
	}
	addr := steward.Addrs()[0]
	for _, a := range steward.Addrs() {
		if strings.Contains(a, "/tcp/") {
			addr = a
		}
	}

	heap, stacks, goroutines := held()
	for _, p := range all {
		if err := p.Host().Connect(ctx, addr); err != nil {
			t.Fatal(err)
		}
	}
	caughtUp := func() (n int) {
		for _, p := range all {
			if len(p.Requests()) == 1 {
				n++
			}
		}
		return n
	}
	for end := time.Now().Add(time.Minute); caughtUp() < homes || steward.topic.Peers() < homes; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d homes have caught up, the steward's gossip sees %d", caughtUp(), homes, steward.topic.Peers())
		}
	}
	var h, s, g int64
	within := false
	// What a handshake or a pull left ends by itself.
	for end := time.Now().Add(time.Minute); !within && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		nh, ns, ng := held()
		h, s, g = (nh-heap)/homes, (ns-stacks)/homes, int64(ng-goroutines)/homes
		within = h <= maxHeap && s <= maxStacks && g <= maxGoroutines
	}
	t.Logf("per connected peer, both ends: heap %d KiB, stacks %d KiB, %d goroutines", h>>10, s>>10, g)
	if !within {
		t.Errorf("over the budget of %d KiB, %d KiB, %d goroutines", maxHeap>>10, maxStacks>>10, maxGoroutines)
	}
	cancel()
	if err := running.Wait(); err != nil {
		t.Error(err)
	}
	for _, p := range append(all, steward) {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A docket that comes at once counts as a whole, and again after a restart.
func TestADocketThatComesAtOnceCountsAsAWhole(t *testing.T) {
	police := newPolice(t)
	const requests = 150
	for range requests {
		note := must(consent.Sign(police.request(), police.officer, police.sergeant))
		pending := must(police.log.Prepare(note, time.Now()))
		police.notes = append(police.notes, note)
		if err := police.log.Commit(pending); err != nil {
			t.Fatal(err)
		}
	}
	checkpoint := must(police.log.SignCheckpoint(police.docket))
	p := police.home(nil)
	d := p.Docket(police.self.ID())
	if err := d.Extend(0, police.notes, checkpoint); err != nil {
		t.Fatal(err)
	}
	if err := p.readDocket(d); err != nil {
		t.Fatal(err)
	}
	if len(p.requests) != requests {
		t.Errorf("%d of %d requests were read", len(p.requests), requests)
	}
	dir := p.State.Path()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	again := must(OpenPeer(dir, Options{}))
	defer again.Close()
	if len(again.requests) != requests {
		t.Errorf("after a restart %d of %d requests were read", len(again.requests), requests)
	}
}
