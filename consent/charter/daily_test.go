package charter

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
)

func TestTheDefaultDailySuitsAnyLimits(t *testing.T) {
	for retention := 1; retention <= 3653; retention++ {
		l := DefaultLimits()
		l.MaxRetentionDays = retention
		d := DefaultDaily(l)
		if err := d.Check(l); err != nil {
			t.Fatalf("%d days: %v", retention, err)
		}
	}
	if d := DefaultDaily(DefaultLimits()); !reflect.DeepEqual(d, Daily{16, []int{30, 90, 180, 365}, 3, 1536}) {
		t.Errorf("%+v", d)
	}
}

func TestDailyEntriesThatNoCharterHas(t *testing.T) {
	for _, tc := range []struct {
		name string
		d    Daily
		want consent.Class
	}{
		{"none", Daily{RetentionDays: []int{}}, ""},
		{"the fewest", Daily{8, []int{30, 365}, 0, 0}, ""},
		{"most commitments", Daily{34, []int{365}, 0, 0}, ""},
		{"most classes", Daily{32, []int{1, 2, 3, 4, 5, 6, 7, 365}, 0, 0}, ""},
		{"too few", Daily{7, []int{365}, 0, 0}, consent.BadValue},
		{"too few in a class", Daily{11, []int{30, 90, 365}, 0, 0}, consent.BadValue},
		{"too many", Daily{65, []int{365}, 0, 0}, consent.BadValue},
		{"too many classes", Daily{64, []int{1, 2, 3, 4, 5, 6, 7, 8, 365}, 0, 0}, consent.BadValue},
		{"no class", Daily{16, nil, 4, 1024}, consent.BadValue},
		{"no commitments", Daily{0, []int{365}, 4, 1024}, consent.BadValue},
		{"a class twice", Daily{16, []int{30, 30, 365}, 0, 0}, consent.BadValue},
		{"classes out of order", Daily{16, []int{90, 30, 365}, 0, 0}, consent.BadValue},
		{"a class of no day", Daily{16, []int{0, 365}, 0, 0}, consent.BadValue},
		{"a class over the limit", Daily{16, []int{30, 366}, 0, 0}, consent.BadValue},
		{"no class of the limit", Daily{16, []int{30, 364}, 0, 0}, consent.BadValue},
		{"too many messages", Daily{16, []int{365}, 17, 16}, consent.BadValue},
		{"too long messages", Daily{16, []int{365}, 1, 2049}, consent.BadValue},
		{"messages of nothing", Daily{16, []int{365}, 4, 0}, consent.BadValue},
		{"bytes of no message", Daily{16, []int{365}, 0, 1024}, consent.BadValue},
		{"too short messages", Daily{16, []int{365}, 1, 1535}, consent.BadValue},
		{"more messages than fit", Daily{16, []int{365}, 16, 1536}, consent.Oversize},
		{"more commitments than fit", Daily{64, []int{365}, 0, 0}, consent.Oversize},
	} {
		if err := tc.d.Check(DefaultLimits()); consent.ClassOf(err) != tc.want {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
	}
}

// Whatever becomes of the real ones, there are places for them and dummies for the other places.
func TestEachClassHasRoomForAllRealOnes(t *testing.T) {
	for n := MinCommitments; n <= MaxCommitments; n++ {
		for classes := 1; classes <= min(MaxClasses, n/ClassSlots); classes++ {
			d, slots := Daily{Commitments: n}, 0
			for i := range classes {
				d.RetentionDays = append(d.RetentionDays, 10*(i+1))
			}
			for i := range classes {
				c := d.Class(i, 25)
				slots += c.Slots
				dummies := c.Slots - c.Real
				if c.Real < 1 || c.Real > c.PassedOn || c.Used > dummies || c.Exported > c.Used-c.Real || c.PassedOn > c.Exported-c.Real || c.Split != min(c.KeepDays, 25) {
					t.Errorf("%d in %d classes: %+v", n, classes, c)
				}
			}
			if slots != n {
				t.Errorf("%d in %d classes have %d slots", n, classes, slots)
			}
		}
	}
}

func TestPlansComeAfterNoticeAndStay(t *testing.T) {
	quiet := start(t)
	if quiet.Plans() != nil {
		t.Error("plans of a mesh without daily entries")
	}
	c := must(t, quiet, everybody(t, after(quiet, func(n *Charter) { n.Daily = DefaultDaily(n.Limits) })))
	says := func(c Chain) string {
		s := ""
		for _, p := range c.Plans() {
			s += fmt.Sprintf("%s %d/%d/%d ", p.From.Format(time.DateOnly), p.Daily.Commitments, p.UnusedDays, slices.Max(p.Daily.RetentionDays))
		}
		return s
	}
	grow := func(c Chain, change func(*Charter)) Chain {
		t.Helper()
		return must(t, c, everybody(t, after(c, change)))
	}
	if got := says(c); got != "2026-04-01 16/30/365 " {
		t.Error("the first:", got)
	}
	same := grow(c, func(n *Charter) { n.Quotas.EntriesPerDay++ })
	if got := says(same); got != says(c) {
		t.Error("nothing changed:", got)
	}
	less := grow(same, func(n *Charter) { n.Limits.MaxUnusedDays = 20 }) // June 1
	if got := says(less); got != "2026-04-01 16/30/365 2026-07-01 16/20/365 " {
		t.Error("a change:", got)
	}
	again := grow(less, func(n *Charter) { n.Daily.Commitments = 20 }) // July 1
	if got := says(again); got != "2026-04-01 16/30/365 2026-07-01 16/20/365 2027-07-01 20/20/365 " {
		t.Error("a second change, once no cohort of the first plan is left:", got)
	}
	other := grow(again, func(n *Charter) { n.Daily.Commitments = 24; n.Daily.Messages = 2 })
	if got := says(other); got != "2026-04-01 16/30/365 2026-07-01 16/20/365 2027-07-01 24/20/365 " {
		t.Error("in the place of a change that had not come:", got)
	}
	if back := grow(other, func(n *Charter) { n.Daily = DefaultDaily(n.Limits) }); says(back) != says(less) {
		t.Error("a change that had not come, taken back:", says(back))
	}
	drop := after(c, func(n *Charter) { n.Daily = Daily{} })
	if _, err := c.Extend(everybody(t, drop)); consent.ClassOf(err) != consent.BadValue {
		t.Errorf("dropped: %v", err)
	}
	next := after(c, func(n *Charter) { n.Daily.Messages, n.Daily.RetentionDays = 2, []int{90, 365} })
	if got := Changes(c.Current(), &next); len(got) != 2 {
		t.Errorf("signers are told %q", got)
	}
}
