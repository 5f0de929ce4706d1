package docket_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

// A vault is an agency's side in plain values: releases, what officers do with them on which day, and what waits.
type vault struct {
	r        *rand.Rand
	rate     float64 // releases a day, on average
	burst    int     // on one day in ten so many at once
	held     float64 // how many are on hold beyond their day
	longest  int     // retention that is asked for
	unused   int     // days after which a clip that nobody uses is gone
	today    int
	releases map[grant.Commitment]*clip
	load     Load
}

// A clip is one release. Days count from the first; far stands for never.
type clip struct {
	keep, arrived              int
	used, exported, passed     int
	deleted                    int // the first day on which its key is gone, once it is due
	placed                     int
	saidUsed, saidX, saidP, by bool
}

const far = 1 << 30

func newVault(seed uint64, rate float64, burst int, held float64, longest, unused int) *vault {
	v := &vault{unused: unused, r: rand.New(rand.NewPCG(seed, 1)), rate: rate, burst: burst, held: held, longest: longest, releases: map[grant.Commitment]*clip{}}
	v.load.Real = func(c grant.Commitment) (Status, bool) {
		x := v.releases[c]
		if x == nil {
			return Status{}, false
		}
		return Status{Used: x.used <= v.today, Exported: x.exported <= v.today, PassedOn: x.passed <= v.today, Deleted: x.deleted <= v.today}, true
	}
	return v
}

// arrive brings the releases of a day, which wait from the next day on.
func (v *vault) arrive(day int) {
	n := 0
	for f := v.rate; f > 0; f-- {
		if v.r.Float64() < f {
			n++
		}
	}
	if v.burst > 0 && v.r.IntN(10) == 0 {
		n += v.burst
	}
	for range n {
		var h [32]byte
		for i := range h {
			h[i] = byte(v.r.Uint32())
		}
		c := grant.Commitment(fmt.Sprintf("%x", h))
		x := &clip{keep: 1 + v.r.IntN(v.longest), arrived: day, used: far, exported: far, passed: far, placed: -1}
		for _, at := range []*int{&x.used, &x.exported, &x.passed} {
			if v.r.IntN(3) == 0 {
				*at = day + v.r.IntN(v.longest)
			}
		}
		// What nobody uses in time is gone, and nothing comes of it.
		x.deleted = day + x.keep + 1
		if min(x.used, x.exported, x.passed) > day+min(v.unused, x.keep) {
			x.used, x.exported, x.passed = far, far, far
			x.deleted = day + min(v.unused, x.keep) + 1
		}
		if v.r.Float64() < v.held {
			x.deleted = day + v.r.IntN(4*v.longest)
		}
		v.releases[c] = x
		v.load.Waiting = append(v.load.Waiting, Waiting{c, x.keep, today(day + 1)})
	}
}

// A ledger is what the schedule says of past days, in plain lists.
type ledger struct {
	plans []charter.Plan
	days  []Daily
}

func (l *ledger) plan(day Day) (p charter.Plan) {
	for _, next := range l.plans {
		if DayOf(next.From.Time) <= day {
			p = next
		}
	}
	return p
}

// counts are how many are to be used, exported, passed on and, without holds, deleted on the day of the next entry.
func (l *ledger) counts(day Day) (used, exported, passed, deleted int) {
	for _, d := range l.days {
		p := l.plan(d.Day)
		for _, t := range d.Commitments {
			quarter := len(t.Of) / 4
			split, end := d.Day.Add(min(t.KeepDays, p.UnusedDays)), d.Day.Add(t.KeepDays)
			if split == day {
				used += 3 * quarter
				deleted += len(t.Of) - 3*quarter
			}
			if end == day {
				exported, passed, deleted = exported+2*quarter, passed+quarter, deleted+3*quarter
			}
		}
	}
	return used, exported, passed, deleted
}

// Whatever an agency has and does: the log takes every entry, each says as many things as with no load, no real release is ever told to
// be what it is not, those that wait come in their order and into their class, and none is lost.
func TestPropertyDailyEntriesSayTheTruthAndAsMuchAsAlways(t *testing.T) {
	t.Parallel()
	police := police()
	entries, real, told := 0, 0, [4]int{}
	rapid.Check(t, func(t *rapid.T) {
		classes := rapid.SampledFrom([][]int{{2, 9}, {3}, {1, 4, 12}}).Draw(t, "classes")
		plan := charter.Plan{From: noonOn(-20), UnusedDays: rapid.IntRange(1, classes[len(classes)-1]).Draw(t, "unused days"),
			Daily: charter.Daily{Commitments: rapid.IntRange(4*len(classes), 17).Draw(t, "commitments"), RetentionDays: classes, Messages: 2, MessageBytes: 16}}
		book := &ledger{plans: []charter.Plan{plan}}
		if rapid.IntRange(0, 3).Draw(t, "another plan") == 0 {
			other := plan
			other.From, other.UnusedDays, other.Daily.Commitments = noonOn(rapid.IntRange(1, 15).Draw(t, "from")), 1, 8+4*len(classes)
			book.plans = append(book.plans, other)
		}
		days := rapid.SampledFrom([]int{12, 20, 12, 30, 200}).Draw(t, "days")
		if days == 200 && rapid.IntRange(0, 15).Draw(t, "long") > 0 {
			days = 40
		}
		held := float64(rapid.SampledFrom([]int{0, 0, 20}).Draw(t, "percent on hold")) / 100
		off := rapid.SampledFrom([]int{0, 0, 15}).Draw(t, "percent of days off")
		seed := rapid.Uint64().Draw(t, "seed")
		v := newVault(seed, float64(rapid.IntRange(0, 5).Draw(t, "rate")), rapid.SampledFrom([]int{0, 9}).Draw(t, "burst"), held, classes[len(classes)-1], book.plans[len(book.plans)-1].UnusedDays)
		l, err := Open(police, charter.Quotas{}, nil, 0, book.plans...)
		if err != nil {
			t.Fatal(err)
		}
		random := chance(seed)
		sent := 0
		for day := range days {
			v.today = day
			v.arrive(day)
			v.load.Messages = append(v.load.Messages, fmt.Appendf(nil, "message %08d", day))
			if day < days-1 && v.r.IntN(100) < off {
				continue
			}
			for l.LastDaily() < today(day) {
				before := slices.Clone(v.load.Waiting)
				messages := len(v.load.Messages)
				d, rest, err := l.NextDaily(v.load, noonOn(day), random)
				if err != nil {
					t.Fatalf("day %d: %v", day, err)
				}
				if err := l.TakeDaily(d); err != nil {
					t.Fatalf("day %d: %v", day, err)
				}
				entries++
				sent += messages - len(rest.Messages)
				used, exported, passed, deleted := book.counts(d.Day)
				if len(d.Used) != used || len(d.Exported) != exported || len(d.PassedOn) != passed || len(d.Messages) != 2 || held == 0 && len(d.Deleted) != deleted {
					t.Fatalf("%s: %d used, %d exported, %d passed on, %d deleted; the schedule has %d, %d, %d, %d", d.Day,
						len(d.Used), len(d.Exported), len(d.PassedOn), len(d.Deleted), used, exported, passed, deleted)
				}
				v.holdAgainst(t, d, before, rest.Waiting, book.plan(d.Day))
				book.days = append(book.days, d)
				v.load = rest
			}
		}
		if want := min(days, 2*len(book.days)); sent > want || sent+len(v.load.Messages) != days {
			t.Fatalf("%d messages were sent and %d wait, of %d", sent, len(v.load.Messages), days)
		}
		waits := map[grant.Commitment]bool{}
		for _, w := range v.load.Waiting {
			waits[w.Commitment] = true
		}
		committed := 0
		for c, x := range v.releases {
			f, ok := l.Follow(c)
			if ok == waits[c] {
				t.Fatalf("a release is in the docket: %v, and waits: %v", ok, waits[c])
			}
			if !ok {
				continue
			}
			committed++
			if (f.Used != "") != x.saidUsed || (f.Exported != "") != x.saidX || (f.PassedOn != "") != x.saidP || (f.Deleted != "") != x.by || f.Day != today(x.placed) {
				t.Fatalf("%+v of %+v", f, x)
			}
			for i, said := range []bool{x.saidUsed, x.saidX, x.saidP, x.by} {
				if said {
					told[i]++
				}
			}
		}
		real += committed
		slots := 0
		for _, d := range book.days {
			slots += book.plan(d.Day).Daily.Commitments
		}
		if tally := l.Tally(today(days - 1)); tally.Committed != slots || held == 0 && off == 0 && (tally.Overdue != 0 || tally.Late != 0) {
			t.Fatalf("%+v of %d", tally, slots)
		}
	})
	t.Logf("%d entries with %d real commitments, of which %d were told to be used, %d exported, %d passed on and %d deleted", entries, real, told[0], told[1], told[2], told[3])
	if slices.Min(told[:]) == 0 {
		t.Error("some state was never told of a real release")
	}
}

// holdAgainst holds an entry against what officers did, and what waited against what still waits.
func (v *vault) holdAgainst(t *rapid.T, d Daily, before, after []Waiting, plan charter.Plan) {
	entry := 0
	for today(entry) != d.Day {
		entry++
	}
	places := map[grant.Commitment]int{}
	for i, term := range d.Commitments {
		reals := 0
		for _, c := range term.Of {
			places[c] = i
			x := v.releases[c]
			if x == nil {
				continue
			}
			if reals++; x.keep > term.KeepDays || i > 0 && x.keep <= d.Commitments[i-1].KeepDays || x.arrived >= entry {
				t.Fatalf("%s: kept %d days, come on day %d, it stands among those kept %d days", d.Day, x.keep, x.arrived, term.KeepDays)
			}
			x.placed = entry
		}
		if reals > len(term.Of)/4 {
			t.Fatalf("%s: %d real ones of %d", d.Day, reals, len(term.Of))
		}
		// First come, first served, of those who may be in this class today.
		var fit []grant.Commitment
		for _, w := range before {
			if w.KeepDays <= term.KeepDays && (i == 0 || w.KeepDays > d.Commitments[i-1].KeepDays) && w.From <= d.Day {
				fit = append(fit, w.Commitment)
			}
		}
		for _, c := range fit[:min(len(fit), len(term.Of)/4)] {
			if !slices.Contains(term.Of, c) {
				t.Fatalf("%s: one that waits longer was passed over", d.Day)
			}
		}
	}
	if left := slices.DeleteFunc(slices.Clone(before), func(w Waiting) bool { _, is := places[w.Commitment]; return is }); !slices.Equal(left, after) {
		t.Fatalf("%s: %d waited, %d were placed, %d wait", d.Day, len(before), len(before)-len(left), len(after))
	}
	for c, x := range v.releases {
		if x.placed < 0 || x.placed == entry {
			continue
		}
		keep := 0
		for _, k := range plan.Daily.RetentionDays {
			if k >= x.keep {
				keep = k
				break
			}
		}
		s, _ := v.load.Real(c)
		s.Exported = s.Exported || s.PassedOn
		s.Used = s.Used || s.Exported
		says := func(l []grant.Commitment) bool { _, is := slices.BinarySearch(l, c); return is }
		used, exported, passed, deleted := says(d.Used), says(d.Exported), says(d.PassedOn), says(d.Deleted)
		if used && !s.Used || exported && !s.Exported || passed && !s.PassedOn || deleted && !s.Deleted {
			t.Fatalf("%s tells what is not so of a real release: %v %v %v %v, %+v", d.Day, used, exported, passed, deleted, s)
		}
		if entry == x.placed+keep && x.saidUsed && (exported != s.Exported || passed != s.PassedOn) {
			t.Fatalf("%s does not tell what is so of a real release: %v %v, %+v", d.Day, exported, passed, s)
		}
		x.saidUsed, x.saidX, x.saidP, x.by = x.saidUsed || used, x.saidX || exported, x.saidP || passed, x.by || deleted
	}
}
