// Package ranks tells whether two samples of numbers can be told apart, by their order alone.
//
// The measure is the area under the ROC curve (AUC): how often a number of the first sample is above one of the second, ties
// counted half. It is the statistic of Mann and Whitney (1947) divided by the number of pairs. At 0.5 whoever sees the number can
// only guess which sample it is of; at 0 or 1 it tells.
package ranks

import (
	"math"
	"slices"
)

// Compare is the AUC of a over b, and the probability p of one that is as far from 0.5 or further where there is no difference. p comes
// from the normal approximation, corrected for ties and continuity; where that is small and the samples are, too, it is counted out
// exactly (Streitberg and Röhmel, 1986), since the approximation says too little of rare events. With an empty sample nothing can be
// told: 0.5 and 1.
func Compare(a, b []float64) (auc, p float64) {
	n, m := float64(len(a)), float64(len(b))
	if n == 0 || m == 0 {
		return 0.5, 1
	}
	ranks, ties := doubled(a, b)
	sum := 0
	for _, r := range ranks[:len(a)] {
		sum += r
	}
	u := float64(sum)/2 - n*(n+1)/2
	all := n + m
	variance := n * m / 12 * (all + 1 - ties/(all*(all-1)))
	if variance <= 0 {
		return 0.5, 1 // one number, everywhere
	}
	z := max(0, math.Abs(u-n*m/2)-0.5) / math.Sqrt(variance)
	p = min(1, math.Erfc(z/math.Sqrt2))
	if all <= exactAll && (p < exactBelow || all < exactLeast) {
		p = exact(ranks, len(a), sum)
	}
	return u / (n * m), p
}

const (
	exactAll   = 128  // numbers in both samples; more take too long
	exactLeast = 20   // fewer are always counted out
	exactBelow = 1e-2 // p from which on they are
)

// doubled are twice the ranks of a and then of b among both, ties at their mean, which makes all of them whole; and the sum over ties of
// t³-t.
func doubled(a, b []float64) (ranks []int, ties float64) {
	all := slices.Concat(a, b)
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		switch {
		case all[x] < all[y]:
			return -1
		case all[x] > all[y]:
			return 1
		}
		return 0
	})
	ranks = make([]int, len(all))
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && all[order[j]] == all[order[i]] {
			j++
		}
		for _, at := range order[i:j] {
			ranks[at] = i + 1 + j
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	return ranks, ties
}

// exact is the share of all choices of n of the ranks whose sum is as far from the mean as sum, or further.
func exact(ranks []int, n, sum int) float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	ways := make([][]float64, n+1) // by how many were chosen and their sum
	for i := range ways {
		ways[i] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for done, r := range ranks {
		for k := min(done+1, n); k > 0; k-- {
			from, to := ways[k-1], ways[k]
			for s := total; s >= r; s-- {
				to[s] += from[s-r]
			}
		}
	}
	count, far := 0.0, 0.0
	mean := float64(total) * float64(n) / float64(len(ranks))
	for s, w := range ways[n] {
		count += w
		if math.Abs(float64(s)-mean) >= math.Abs(float64(sum)-mean)-1e-9 {
			far += w
		}
	}
	return far / count
}

// Holm corrects probabilities for their number (Holm, 1979): that any of those below a limit is so by chance has at most that
// probability, whatever they have to do with each other.
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		if p[x] < p[y] {
			return -1
		}
		return 1
	})
	out, least := make([]float64, len(p)), 0.0
	for i, at := range order {
		least = max(least, min(1, p[at]*float64(len(p)-i)))
		out[at] = least
	}
	return out
}
