package simnet

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/simnet/attack"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// street is the network of a town: 20 to 60 ms one way.
func street(seed uint64) wire.Conditions {
	return wire.Conditions{Seed: seed, MinLatency: 20 * time.Millisecond, MaxLatency: 60 * time.Millisecond}
}

// story runs a world in virtual time, once its nodes had a minute to meet.
func story(t *testing.T, c Config, tell func(w *World)) {
	t.Helper()
	bubble(t, c, func(w *World) {
		w.Settle(time.Minute)
		tell(w)
	})
}

// alongside lets a test run beside others: each world has a time of its own. Under the race detector they take turns, see bubble.
func alongside(t *testing.T) {
	t.Helper()
	if !raced() {
		t.Parallel()
	}
}

// bubble runs a world in virtual time from its first moment.
func bubble(t *testing.T, c Config, tell func(w *World)) {
	t.Helper()
	t.Helper()
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		if c.Homes > 6 {
			t.Skip("the race detector sees the same code in the smaller worlds")
		}
		// Under it the bubble can deadlock on several processors: golang/go issue 78156.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, func(t *testing.T) {
		tell(New(t, c))
	})
}

func (w *World) everyone(within, p99 time.Duration) {
	w.t.Helper()
	id, at := w.Police.Asks()
	w.Settle(within)
	r := w.Reach(id, at)
	w.t.Logf("%d of %d homes, p50 %v, p99 %v, max %v", r.Reached, r.Homes, r.Quantile(0.5), r.Quantile(0.99), r.Quantile(1))
	if r.Reached < r.Homes {
		w.fail("%d of %d homes have the request after %v", r.Reached, r.Homes, within)
	}
	if p99 > 0 && r.Quantile(0.99) > p99 {
		w.fail("p99 is %v, over %v", r.Quantile(0.99), p99)
	}
}

func TestFiftyHomesHearWithinAQuarterOfASecond(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 50, Conditions: street(1)}, func(w *World) { w.everyone(5*time.Second, 250*time.Millisecond) })
}

func TestHomesBehindNATHearAsFast(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 200, Stewards: 10, NATShare: 0.9, Conditions: street(2)}, func(w *World) { w.everyone(5*time.Second, 300*time.Millisecond) })
}

func TestLossDelaysAndLosesNothing(t *testing.T) {
	alongside(t)
	for _, row := range []struct {
		loss   float64
		within time.Duration
	}{{0.05, 2 * time.Second}, {0.20, 10 * time.Second}} {
		c := Config{Homes: 50, Conditions: street(3)}
		c.Loss = row.loss
		story(t, c, func(w *World) { w.everyone(row.within, 0) })
	}
}

func TestStewardsWhoHandOnNothingHideNothing(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 30, Stewards: 6, Attackers: slices.Repeat([]Attack{{Does: attack.Silent}}, 4), NATShare: 0.9, Conditions: street(6)}, func(w *World) { w.everyone(5*time.Second, time.Second) })
}

func TestASplitHealsAndAnAbsentHomeCatchesUp(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 30, Stewards: 6, NATShare: 0.9, Conditions: street(4)}, func(w *World) {
		var away []*Node
		away = append(away, w.Stewards[:3]...)
		for _, h := range w.Homes[:15] {
			away = append(away, h.Node)
		}
		w.Homes[20].LosesPower()
		w.Splits(away)
		w.Settle(5 * time.Minute)
		id, _ := w.Police.Asks()
		w.Settle(5 * time.Minute)
		if w.Homes[0].Knows(id) {
			w.fail("the request crossed the split")
		}
		w.Heals()
		w.Homes[20].PowerReturns()
		healed := time.Now()
		w.Until(10*time.Second, "all homes to have the request", func() bool { return w.Reach(id, healed).Reached == len(w.Homes) })
		t.Logf("all have it %v after healing", time.Since(healed))
	})
}

func TestOneOwnerAgreesAnotherSaysNothing(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 4, Stewards: 2, Conditions: street(5)}, func(w *World) {
		ada, ben := w.Homes[0], w.Homes[1]
		id, _ := w.Police.Asks()
		filmed := w.Now().Add(-time.Hour - 12*time.Minute).Truncate(time.Minute)
		ada.Films(minute(t, filmed), Corner, true)
		ben.Films(minute(t, filmed), Corner, true)
		ada.Sees(time.Minute, id)
		ben.Sees(time.Minute, id)
		ada.Agrees(id)
		w.Police.Vault(time.Minute, 1, "open")
		ben.LosesPower()
		for _, line := range []string{
			fmt.Sprintf("home1      sees %.12s (approved)", id), "home2      has no running node to look at",
			fmt.Sprintf("police     sees a release for %.12s (open)", id), fmt.Sprintf("home1      agrees to %.12s", id),
		} {
			if !strings.Contains(w.story(), line) {
				w.fail("a story that fails does not print %q", line)
			}
		}
	})
}

// minute makes a folder with a minute of footage from a time on.
func minute(t testing.TB, from time.Time) string {
	folder := t.TempDir()
	for i := range 3 {
		start := from.Add(time.Duration(i) * 20 * time.Second).UTC()
		cliptest.Recording(t, folder, start.Format("2006-01-02/15.04.05")+".mp4", 20)
	}
	return folder
}
