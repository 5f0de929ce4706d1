package ranks

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(a, b, by float64) bool { return math.Abs(a-b) <= by*max(math.Abs(b), 1e-12) }

// The values are counted by hand.
func TestCompareKnownValues(t *testing.T) {
	for _, row := range []struct {
		name   string
		a, b   []float64
		auc, p float64
	}{
		{"nothing to compare", nil, []float64{1}, 0.5, 1},
		{"one number everywhere", []float64{3, 3, 3}, []float64{3, 3}, 0.5, 1},
		{"apart", []float64{4, 5, 6}, []float64{1, 2, 3}, 1, 2.0 / 20},
		{"apart the other way", []float64{1, 2, 3}, []float64{4, 5, 6}, 0, 2.0 / 20},
		{"mixed", []float64{1, 4}, []float64{2, 3}, 0.5, 1},
		{"one of four ties", []float64{1, 2}, []float64{2, 3}, 0.125, 4.0 / 6},
		// Rare events: two of sixty-two, both in the smaller sample. 66 of 1,891 choices.
		{"rare", spikes(12, 2), spikes(50, 0), 0.5 + 2.0/12/2, 66.0 / 1891},
		{"rarer", spikes(12, 6), spikes(50, 0), 0.75, 924.0 / 61474519},
	} {
		auc, p := Compare(row.a, row.b)
		if !near(auc, row.auc, 1e-9) || !near(p, row.p, 1e-6) {
			t.Errorf("%s: AUC %v, p %v; want %v, %v", row.name, auc, p, row.auc, row.p)
		}
	}
}

// spikes are so many zeros, of which the first ones are 1.
func spikes(n, ones int) []float64 {
	out := make([]float64, n)
	for i := range ones {
		out[i] = 1
	}
	return out
}

// Where the samples are large the approximation is taken, and it agrees with what is counted.
func TestTheApproximationAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, shift := range []float64{0.7, 0.8} {
		var a, b []float64
		for range 60 {
			a, b = append(a, math.Round(4*(r.NormFloat64()+shift))), append(b, math.Round(4*r.NormFloat64()))
		}
		_, counted := Compare(a, b)
		ranks, ties := doubled(a, b)
		u := -60.0 * 61 / 2
		for _, k := range ranks[:60] {
			u += float64(k) / 2
		}
		z := (math.Abs(u-1800) - 0.5) / math.Sqrt(300*(121-ties/(120*119)))
		if about := math.Erfc(z / math.Sqrt2); counted >= exactBelow || about < counted/3 || about > counted*3 {
			t.Errorf("shift %v: counted %v, about %v", shift, counted, about)
		}
	}
}

// Of samples with no difference one in a hundred has a p below 0.01, and no more.
func TestNoDifferenceIsRarelyFound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, draw := range map[string]func() float64{
		"numbers": r.Float64,
		"counts":  func() float64 { return float64(r.IntN(4)) },
		"rare":    func() float64 { return float64(r.IntN(20) / 19) },
	} {
		found, median := 0, 0
		const runs = 3000
		for range runs {
			var a, b []float64
			for range 50 {
				a = append(a, draw())
			}
			for range 12 {
				b = append(b, draw())
			}
			_, p := Compare(a, b)
			if p < 0.01 {
				found++
			}
			if p < 0.5 {
				median++
			}
		}
		if found > runs*17/1000 || median > runs*55/100 {
			t.Errorf("%s: of %d pairs %d have p < 0.01 and %d have p < 0.5", name, runs, found, median)
		}
	}
}

func TestHolm(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005})
	for i, want := range []float64{0.03, 0.06, 0.06, 0.02} {
		if !near(got[i], want, 1e-9) {
			t.Errorf("number %d is corrected to %v, want %v", i, got[i], want)
		}
	}
}
