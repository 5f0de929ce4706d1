package simnet

import (
	"math"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/simnet/model"
)

// The graph model tells the same of a neighbourhood as whole nodes and their packets do, on the very same connections and
// latencies. That is what its word about a million homes rests on.
func TestTheModelAgreesWithPackets(t *testing.T) {
	if testing.Short() || raced() {
		t.Skip("runs 250 whole nodes")
	}
	for _, size := range []struct{ homes, stewards int }{{50, 5}, {200, 10}} {
		c := Config{Homes: size.homes, Stewards: size.stewards, Known: 4, Quiet: true, Conditions: street(6)}
		var r Reach
		var copies int64
		story(t, c, func(w *World) {
			w.Police.Enrols()
			w.Settle(10 * time.Second)
			for _, h := range w.Homes {
				copies -= h.peer.Copies()
			}
			id, at := w.Police.Asks()
			w.Settle(window)
			r = w.Reach(id, at)
			for _, h := range w.Homes {
				copies += h.peer.Copies()
			}
		})
		links := func(n int) int { // the model's numbers are stewards, homes, police; links join as stewards, police, homes
			switch {
			case n < c.Stewards:
				return n
			case n == c.Stewards+c.Homes:
				return c.Stewards
			}
			return n + 1
		}
		m, err := model.Run(model.Config{Homes: c.Homes, Stewards: c.Stewards, Known: c.Known, Keeps: c.keeps,
			Latency: func(a, b int) time.Duration { return c.between(links(a), links(b)) }})
		if err != nil {
			t.Fatal(err)
		}
		graph := Reach{Took: m.Took}
		for _, q := range []float64{0.5, 0.99} {
			of, by := r.Quantile(q), graph.Quantile(q)
			t.Logf("%d homes, %v of them: %v by packets, %v by the model", c.Homes, q, of, by)
			if ratio := float64(by) / float64(of); math.Abs(ratio-1) > 0.15 {
				t.Errorf("%d homes, %v of them: the model is off by %.0f %%", c.Homes, q, 100*(ratio-1))
			}
		}
		per := float64(copies) / float64(c.Homes)
		t.Logf("%d homes: %.2f copies by packets, %.2f by the model", c.Homes, per, m.Copies)
		if math.Abs(m.Copies/per-1) > 0.15 {
			t.Errorf("%d homes: %.2f copies by packets, %.2f by the model", c.Homes, per, m.Copies)
		}
	}
}
