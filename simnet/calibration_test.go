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
		var copies, bytes int64
		story(t, c, func(w *World) {
			w.Police.Enrols()
			w.Settle(10 * time.Second)
			count := func(sign int64) {
				for _, h := range w.Homes {
					t := h.Link.Traffic()
					copies, bytes = copies+sign*h.peer.Copies(), bytes+sign*(t.SentBytes+t.GotBytes)
				}
			}
			count(-1)
			id, at := w.Police.Asks()
			w.Settle(window)
			r = w.Reach(id, at)
			count(1)
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
			Latency: func(a, b int) time.Duration { return c.Latency(links(a), links(b)) }})
		if err != nil {
			t.Fatal(err)
		}
		graph := Reach{Took: m.Took}
		for _, row := range []struct {
			what              string
			packets, modelled float64
		}{
			{"p50, ms", ms(r.Quantile(0.5)), ms(graph.Quantile(0.5))},
			{"p99, ms", ms(r.Quantile(0.99)), ms(graph.Quantile(0.99))},
			{"copies per home", float64(copies) / float64(c.Homes), m.Copies},
			{"bytes per home", float64(bytes) / float64(c.Homes), m.Bytes},
		} {
			off := row.modelled/row.packets - 1
			t.Logf("%d homes, %s: %.1f by packets, %.1f by the model, %+.0f %%", c.Homes, row.what, row.packets, row.modelled, 100*off)
			if math.Abs(off) > 0.15 {
				t.Errorf("%d homes, %s: the model is off by %.0f %%", c.Homes, row.what, 100*off)
			}
		}
	}
}
