package model

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func town(homes int) Config {
	return Config{Homes: homes, Seed: 1, MinLatency: 20 * time.Millisecond, MaxLatency: 60 * time.Millisecond}
}

func (r Result) quantile(q float64) time.Duration { return r.Took[int(q*float64(len(r.Took)-1))] }

func TestAMillionHomesHearWithinHalfASecond(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds and some 200 MB")
	}
	for _, processing := range []time.Duration{0, 10 * time.Millisecond} {
		c := town(1_000_000)
		c.Processing = processing
		r, err := Run(c)
		if err != nil {
			t.Fatal(err)
		}
		p99 := r.quantile(0.99)
		t.Logf("%v a hop, %d stewards: p50 %v, p99 %v, max %v, %.2f copies, %.0f bytes", processing, r.Stewards, r.quantile(0.5), p99, r.quantile(1), r.Copies, r.Bytes)
		if len(r.Took) != c.Homes || p99 >= 500*time.Millisecond || r.Copies > 7 || r.Bytes > 20_000 {
			t.Errorf("%d of %d homes, p99 %v, %v copies, %v bytes", len(r.Took), c.Homes, p99, r.Copies, r.Bytes)
		}
	}
}

// The first arrivals are those of the shortest paths, found here by relaxing every edge until nothing changes. Links
// without end and messages of a byte take sending, which is drawn, out of it.
func TestArrivalsAreShortestPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Config{Homes: rapid.IntRange(1, 40).Draw(t, "homes"), Stewards: rapid.IntRange(1, 12).Draw(t, "stewards"),
			Known: rapid.IntRange(1, 4).Draw(t, "known"), Degree: rapid.IntRange(1, 4).Draw(t, "degree"), Seed: rapid.Uint64().Draw(t, "seed"),
			MinLatency: time.Millisecond, MaxLatency: 80 * time.Millisecond, HomeUp: 1 << 50, StewardUp: 1 << 50, Message: 1}
		r, err := Run(c)
		if err != nil {
			t.Fatal(err)
		}
		m := build(c)
		police := int32(len(m.first) - 2)
		best := map[int32]float64{police: 0}
		for changed := true; changed; {
			changed = false
			for a := range police + 1 {
				at, known := best[a]
				for _, b := range m.neighbours(a) {
					if d := at + m.latency(a, b); known && b != police && (best[b] == 0 || d < best[b]-1e-12) {
						best[b], changed = d, true
					}
				}
			}
		}
		total, reached := 0.0, 0
		for n, at := range best {
			if n >= int32(c.Stewards) && n != police {
				total += at
				reached++
			}
		}
		sum := 0.0
		for _, d := range r.Took {
			sum += d.Seconds()
		}
		if len(r.Took) != reached || sum < total-1e-3 || sum > total+1e-3 {
			t.Fatalf("%d homes in %v s together, the shortest paths lead to %d in %v s", len(r.Took), sum, reached, total)
		}
	})
}

func TestAFairLinkSendsEverythingInItsTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		n, size := 1+r.IntN(600), 1+r.IntN(9000)
		last := 0.0
		for k := range n {
			last = max(last, leaves(k, n, size, 1_000_000))
		}
		if want := float64(n*wire(size)*8) / 1e6; last < want*0.999 || last > want*1.001 {
			t.Fatalf("%d copies of %d bytes take %v s, not %v", n, size, last, want)
		}
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, c := range []Config{{}, {Homes: -1}, {Homes: 1, Known: 100}, {Homes: 1, Stewards: -2}, {Homes: 1, MinLatency: 2, MaxLatency: 1}} {
		if _, err := Run(c); err == nil {
			t.Errorf("%+v was run", c)
		}
	}
}
