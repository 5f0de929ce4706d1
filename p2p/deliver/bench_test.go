//go:build unix

package deliver

import (
	"context"
	"crypto/ed25519"
	"syscall"
	"testing"
)

// cached is a film that lies in memory, so that making its bytes is no part of the measure.
type cached struct {
	*film
	leaves [][]byte
}

func (c cached) Block(i int64, _ []byte) ([]byte, error) {
	if e := c.order[i]; e.node == nil {
		return c.leaves[e.leaf], nil
	}
	return c.order[i].node, nil
}

// nowhere is a vault that keeps no byte.
type nowhere struct {
	*vault
	size int64
}

func (n nowhere) Begin(context.Context, ed25519.PublicKey, string) (Sink, error) { return n, nil }
func (n nowhere) Size() int64                                                    { return n.size }
func (nowhere) Have() int64                                                      { return 0 }
func (nowhere) Nodes() [][]byte                                                  { return nil }
func (nowhere) Write(int64, bool, []byte) error                                  { return nil }
func (nowhere) Close() error                                                     { return nil }

// BenchmarkDelivery is the quick look at what the protocol itself costs: 128 MiB from memory to nowhere, both ends in
// this process. Wall time depends on what else runs; the CPU time a GiB hardly does. The command speed, beside this
// package, compares whole ways.
func BenchmarkDelivery(b *testing.B) {
	f := newFilm(b, 128<<20)
	c := cached{film: f}
	for i := int64(0); i*leafSize < f.size; i++ {
		c.leaves = append(c.leaves, f.leafBytes(i, make([]byte, leafSize)))
	}
	for _, kind := range []string{"tcp", "quic-v1"} {
		b.Run(kind, func(b *testing.B) {
			h := requester(b, nowhere{newVault(f), f.size}, Limits{})
			r := f.release()
			r.Blocks = c
			b.SetBytes(f.size)
			before := cpuSeconds()
			for b.Loop() {
				cfg := sendConfig(h, kind)
				cfg.Timing = Timing{}
				if err := Send(b.Context(), cfg, Offer{Grant: []byte("g"), Releases: []Release{r}}, trusting()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuSeconds()-before)/float64(b.N)*(1<<30)/float64(f.size), "cpu-s/GiB")
		})
	}
}

func cpuSeconds() float64 {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}
