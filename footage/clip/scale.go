package clip

import (
	"math"
	"math/bits"
	"time"
)

// rescale is v*num/den rounded to nearest, half away from zero, exact in between and saturating at the
// ends of int64. num must not be negative and den must be positive.
func rescale(v, num, den int64) int64 {
	neg := v < 0
	u := uint64(v)
	if neg {
		u = -u
	}
	hi, lo := bits.Mul64(u, uint64(num))
	lo, carry := bits.Add64(lo, uint64(den)/2, 0)
	hi += carry
	q := uint64(math.MaxInt64)
	if hi < uint64(den) {
		q, _ = bits.Div64(hi, lo, uint64(den))
		q = min(q, math.MaxInt64)
	}
	if neg {
		return -int64(q)
	}
	return int64(q)
}

// ticks turns a duration into ticks of a timescale.
func ticks(d time.Duration, timescale uint32) int64 {
	return rescale(int64(d), int64(timescale), int64(time.Second))
}

// lcm is the least common multiple; both must be positive and at most maxTimescale.
func lcm(a, b int64) int64 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
