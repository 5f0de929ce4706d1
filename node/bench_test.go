package node

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// newBusyPolice has a docket of that many entries, all of today, as the charter allows: an officer's enrolment, and requests, which two
// persons sign.
func newBusyPolice(b *testing.B, entries int) (p *police, checkpoint []byte) {
	b.Helper()
	p = newPolice(b)
	c := *p.chain.Current()
	c.Quotas.EntriesPerDay, c.Quotas.BytesPerDay = 100_000, 1<<30
	p.chain = must(charter.Start(must(consent.Sign(c, p.ana))))
	p.notes = append(p.notes, make(notes, entries-1)...)
	r := p.request()
	var g sync.WaitGroup
	for core := range runtime.GOMAXPROCS(0) {
		g.Go(func() {
			for i := 1 + core; i < entries; i += runtime.GOMAXPROCS(0) {
				r := r
				r.Case = fmt.Sprint("EP-", i)
				p.notes[i] = must(consent.Sign(r, p.officer, p.sergeant))
			}
		})
	}
	g.Wait()
	p.log = must(docket.Open(p.self, charter.Quotas{}, &p.notes, int64(entries)))
	return p, must(p.log.SignCheckpoint(p.docket))
}

// node makes a folder that knows the charter and listens on loopback only.
func (p *police) node(name string, role Role) (dir string) {
	p.t.Helper()
	dir = filepath.Join(p.t.TempDir(), name)
	if err := Create(dir, role); err != nil {
		p.t.Fatal(err)
	}
	if err := WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), p.chain); err != nil {
		p.t.Fatal(err)
	}
	config := strings.NewReplacer("0.0.0.0", "127.0.0.1", `, "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0"`, "",
		`, "/ip6/::/udp/4001/quic-v1", "/ip6/::/tcp/4001"`, "", "4001", "0", "mdns = true", "mdns = false").Replace(DefaultConfig(role))
	if err := durable.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return dir
}

// put gives a docket its entries past the network.
func (p *police) put(h *Peer, checkpoint []byte) {
	p.t.Helper()
	d := h.Docket(p.self.ID())
	if err := d.Extend(0, p.notes, checkpoint); err != nil {
		p.t.Fatal(err)
	}
	if err := h.readDocket(d); err != nil {
		p.t.Fatal(err)
	}
}

// BenchmarkCatchUp is how long a home takes, over loopback, for a docket of 10,000 entries that a steward has: connecting, fetching, verifying two
// signatures of each and storing.
func BenchmarkCatchUp(b *testing.B) {
	const entries = 10_000
	police, checkpoint := newBusyPolice(b, entries)
	ctx, cancel := context.WithCancel(b.Context())
	var running errgroup.Group
	start := func(name string, role Role) *Peer {
		p := must(OpenPeer(police.node(name, role), Options{}))
		if err := p.Start(ctx); err != nil {
			b.Fatal(err)
		}
		running.Go(func() error { return p.Run(ctx) })
		return p
	}
	steward := start("steward", Steward)
	police.put(steward, checkpoint)
	all := []*Peer{steward}
	b.SetBytes(int64(len(bytes.Join(police.notes, nil))))
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		home := start("home", Home)
		all = append(all, home)
		b.StartTimer()
		if err := home.Host().Connect(ctx, steward.Addrs()[0]); err != nil {
			b.Fatal(err)
		}
		for home.Docket(police.self.ID()).Size() < entries {
			time.Sleep(time.Millisecond)
		}
	}
	b.StopTimer()
	cancel()
	if err := running.Wait(); err != nil {
		b.Error(err)
	}
	for _, p := range all {
		if err := p.Stop(); err != nil {
			b.Error(err)
		}
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkOpenPeer opens a node's folder with a docket of 100,000 entries. What it holds in memory then is told by the entry.
func BenchmarkOpenPeer(b *testing.B) {
	const entries = 100_000
	police, checkpoint := newBusyPolice(b, entries)
	dir := police.node("home", Home)
	h := must(OpenPeer(dir, Options{}))
	police.put(h, checkpoint)
	if err := h.Close(); err != nil {
		b.Fatal(err)
	}
	police.notes, police.log, h = nil, nil, nil
	before, _, _ := held()
	b.ResetTimer()
	for range b.N {
		p := must(OpenPeer(dir, Options{}))
		b.StopTimer()
		heap, _, _ := held()
		b.ReportMetric(float64(heap-before)/(1<<20), "MiB")
		b.ReportMetric(float64(heap-before)/entries, "B/entry")
		if n := p.Docket(police.self.ID()).Size(); n != entries {
			b.Fatalf("%d entries", n)
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
