package docket_test

import (
	"encoding/hex"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/simnet/ranks"
)

// observed is how many days somebody looks at two dockets to tell which has real releases.
const observed = 1000

// A busyness is what an agency has on a day and what comes of it.
type busyness struct {
	name     string
	arrivals func(r *rand.Rand, day int) int // in each class
	status   func(r *rand.Rand) Status
}

func always(s Status) func(*rand.Rand) Status { return func(*rand.Rand) Status { return s } }

var (
	many  = func(*rand.Rand, int) int { return 2 } // more than a day takes
	mixed = func(r *rand.Rand) Status {
		return Status{Used: r.IntN(2) == 0, Exported: r.IntN(4) == 0, PassedOn: r.IntN(9) == 0}
	}
	idle   = busyness{"nothing", func(*rand.Rand, int) int { return 0 }, always(Status{})}
	unused = busyness{"all that fits and nothing comes of it", many, always(Status{})}
	spread = busyness{"all that fits and all of it passed on", many, always(Status{PassedOn: true})}
	loads  = []busyness{
		{"all that fits", many, mixed}, unused, spread,
		{"forty at once, now and then", func(r *rand.Rand, _ int) int {
			if r.IntN(60) == 0 {
				return 10
			}
			return 0
		}, mixed},
		{"busy in the second half", func(_ *rand.Rand, day int) int { return 2 * (2 * day / observed) }, mixed},
	}
)

type next func(l *Log, load Load, created consent.Time, random io.Reader) (Daily, Load, error)

// seen are the entries that an agency so busy publishes. All of its releases are gone in time.
func seen(t testing.TB, b busyness, seed uint64, next next, commit func(r *rand.Rand) grant.Commitment) []Daily {
	t.Helper()
	l, err := Open(police(), charter.Quotas{}, nil, 0, thePlan())
	if err != nil {
		t.Fatal(err)
	}
	random, r := chance(seed), rand.New(rand.NewPCG(seed, 2))
	truth := map[grant.Commitment]Status{}
	load := Load{Real: func(c grant.Commitment) (Status, bool) { s, is := truth[c]; return s, is }}
	var all []Daily
	for day := range observed {
		for _, keep := range thePlan().Daily.RetentionDays {
			for range b.arrivals(r, day) {
				c := commit(r)
				s := b.status(r)
				s.Deleted = true
				truth[c] = s
				load.Waiting = append(load.Waiting, Waiting{Commitment: c, KeepDays: keep})
			}
		}
		load.Waiting = load.Waiting[max(0, len(load.Waiting)-100):] // who waits longer than this is no matter here
		var d Daily
		if d, load, err = next(l, load, noonOn(day), random); err == nil {
			err = l.TakeDaily(d)
		}
		if err != nil {
			t.Fatalf("%s: day %d: %v", b.name, day, err)
		}
		all = append(all, d)
	}
	return all
}

func hashed(r *rand.Rand) grant.Commitment {
	var secret [32]byte
	for i := range secret {
		secret[i] = byte(r.Uint32())
	}
	return grant.Release{CID: "some release", Secret: grant.Secret(hex.EncodeToString(secret[:]))}.Commitment()
}

// A distinguisher turns what a docket shows into numbers, of days or of cohorts.
type distinguisher struct {
	name    string
	numbers func(days []Daily) []float64
}

// picked is the mean place, from 0, of the commitments of a list among those that they are picked of, for each cohort in which any are.
func picked(of func(days []Daily, day, class int) (pool, some []grant.Commitment)) func([]Daily) []float64 {
	return func(days []Daily) (out []float64) {
		for day := range days {
			for class := range days[day].Commitments {
				if pool, some := of(days, day, class); len(some) > 0 {
					sum := 0
					for _, c := range some {
						at, _ := slices.BinarySearch(pool, c)
						sum += at
					}
					out = append(out, float64(sum)/float64(len(some)))
				}
			}
		}
		return out
	}
}

func both(a, b []grant.Commitment) (all []grant.Commitment) {
	for _, c := range a {
		if _, is := slices.BinarySearch(b, c); is {
			all = append(all, c)
		}
	}
	return all
}

// usedOf, exportedOf and passedOf are what became of a cohort, nothing where the docket does not go so far.
func usedOf(days []Daily, day, class int) []grant.Commitment {
	at := day + min(30, days[day].Commitments[class].KeepDays)
	if at >= len(days) {
		return nil
	}
	return both(days[day].Commitments[class].Of, days[at].Used)
}

func atEnd(days []Daily, day, class int) Daily {
	if at := day + days[day].Commitments[class].KeepDays; at < len(days) {
		return days[at]
	}
	return Daily{}
}

func exportedOf(days []Daily, day, class int) []grant.Commitment {
	return both(days[day].Commitments[class].Of, atEnd(days, day, class).Exported)
}

func passedOf(days []Daily, day, class int) []grant.Commitment {
	return both(days[day].Commitments[class].Of, atEnd(days, day, class).PassedOn)
}

func each(f func(days []Daily, i int) float64) func([]Daily) []float64 {
	return func(days []Daily) (out []float64) {
		for i := range days {
			out = append(out, f(days, i))
		}
		return out
	}
}

func digits(of []grant.Commitment, at int) (sum float64) {
	for _, c := range of {
		b, _ := hex.DecodeString(string(c[at : at+2]))
		sum += float64(b[0])
	}
	return sum
}

func made(d Daily) (all []grant.Commitment) {
	for _, t := range d.Commitments {
		all = append(all, t.Of...)
	}
	return all
}

var distinguishers = []distinguisher{
	{"places of the used among their cohort", picked(func(days []Daily, day, class int) (pool, some []grant.Commitment) {
		return days[day].Commitments[class].Of, usedOf(days, day, class)
	})},
	{"places of the exported among the used", picked(func(days []Daily, day, class int) (pool, some []grant.Commitment) {
		return usedOf(days, day, class), exportedOf(days, day, class)
	})},
	{"places of the exported among their cohort", picked(func(days []Daily, day, class int) (pool, some []grant.Commitment) {
		return days[day].Commitments[class].Of, exportedOf(days, day, class)
	})},
	{"places of the passed on among the exported", picked(func(days []Daily, day, class int) (pool, some []grant.Commitment) {
		return exportedOf(days, day, class), passedOf(days, day, class)
	})},
	{"whether the first of a cohort is used and exported", each(func(days []Daily, i int) (n float64) {
		for class, term := range days[i].Commitments {
			if x := exportedOf(days, i, class); len(x) > 0 && x[0] == term.Of[0] {
				n++
			}
		}
		return n
	})},
	{"whether the used stand where those of the day before did", each(func(days []Daily, i int) (n float64) {
		if i == 0 {
			return 0
		}
		for class, term := range days[i].Commitments {
			before := days[i-1].Commitments[class].Of
			for at := range term.Of {
				if slices.Contains(usedOf(days, i, class), term.Of[at]) && slices.Contains(usedOf(days, i-1, class), before[at]) {
					n++
				}
			}
		}
		return n
	})},
	{"first digits of new commitments", each(func(days []Daily, i int) float64 { return digits(made(days[i]), 0) })},
	{"last digits of new commitments", each(func(days []Daily, i int) float64 { return digits(made(days[i]), 62) })},
	{"the least new commitment", each(func(days []Daily, i int) float64 { return digits([]grant.Commitment{slices.Min(made(days[i]))}, 0) })},
	{"first digits of the used", each(func(days []Daily, i int) float64 { return digits(days[i].Used, 0) })},
	{"first digits of the exported", each(func(days []Daily, i int) float64 { return digits(days[i].Exported, 0) })},
	{"last digits of the passed on", each(func(days []Daily, i int) float64 { return digits(days[i].PassedOn, 62) })},
	{"first digits of the deleted", each(func(days []Daily, i int) float64 { return digits(days[i].Deleted, 0) })},
	{"ages of the deleted", each(func(days []Daily, i int) (sum float64) {
		for day := range i {
			for _, term := range days[day].Commitments {
				if i-day == min(30, term.KeepDays) || i-day == term.KeepDays {
					sum += float64((i - day) * len(both(term.Of, days[i].Deleted)))
				}
			}
		}
		return sum
	})},
	{"how many are used, exported, passed on and deleted", each(func(days []Daily, i int) float64 {
		d := days[i]
		return float64(len(d.Used) + 100*len(d.Exported) + 10_000*len(d.PassedOn) + 1_000_000*len(d.Deleted))
	})},
	{"bytes of an entry", each(func(days []Daily, i int) float64 {
		text, err := consent.Text(days[i])
		if err != nil {
			panic(err)
		}
		return float64(len(text))
	})},
	{"bytes of messages", each(func(days []Daily, i int) (sum float64) {
		for _, m := range days[i].Messages {
			sum += float64(m[0]) + float64(m[len(m)-1])
		}
		return sum
	})},
}

// told compares two dockets by every distinguisher and returns those that tell them apart, Holm's correction for their number made.
func told(t testing.TB, what string, one, other []Daily) (by []string) {
	t.Helper()
	var p, auc []float64
	for _, d := range distinguishers {
		a, q := ranks.Compare(d.numbers(one), d.numbers(other))
		auc, p = append(auc, a), append(p, q)
	}
	for i, q := range ranks.Holm(p) {
		t.Logf("%s: %s: AUC %.3f, p %.3g, corrected %.3g", what, distinguishers[i].name, auc[i], p[i], q)
		if q < 0.01 {
			by = append(by, distinguishers[i].name)
		}
	}
	return by
}

// Whoever looks at a docket for a thousand days cannot tell an agency with as many releases as fit from one without any. Seeds are fixed, so
// that there is no false alarm but by a change of the code.
func TestADocketDoesNotShowHowBusyItsAgencyIs(t *testing.T) {
	t.Parallel()
	base := seen(t, idle, 1, (*Log).NextDaily, hashed)
	if size := ranksOf(base, "bytes of an entry"); slices.Min(size[366:]) != slices.Max(size[366:]) {
		t.Errorf("entries have %v to %v bytes", slices.Min(size[366:]), slices.Max(size[366:]))
	}
	for i, b := range loads {
		// Each against a docket of its own, so that one odd draw does not count for all.
		if by := told(t, b.name, seen(t, idle, uint64(100+i), (*Log).NextDaily, hashed), seen(t, b, uint64(2+i), (*Log).NextDaily, hashed)); len(by) > 0 {
			t.Errorf("%s is told from nothing by %q", b.name, by)
		}
	}
}

func ranksOf(days []Daily, name string) []float64 {
	return distinguishers[slices.IndexFunc(distinguishers, func(d distinguisher) bool { return d.name == name })].numbers(days)
}

// The same eyes catch makers that are wrong.
func TestADocketThatShowsHowBusyItsAgencyIsIsCaught(t *testing.T) {
	t.Parallel()
	inOrder := (*Log).NextDailyInOrder
	for _, b := range []busyness{unused, spread, loads[0]} {
		by := told(t, "dummies in order, "+b.name, seen(t, idle, 11, inOrder, hashed), seen(t, b, 12, inOrder, hashed))
		if len(by) == 0 {
			t.Errorf("a maker that takes the first dummies is not caught by %s", b.name)
		}
	}
	numbered := func(r *rand.Rand) grant.Commitment { return "0" + hashed(r)[1:] }
	if by := told(t, "commitments that are no hashes", seen(t, idle, 13, (*Log).NextDaily, numbered), seen(t, loads[0], 14, (*Log).NextDaily, numbered)); !slices.Contains(by, "first digits of new commitments") {
		t.Errorf("commitments that are no hashes are caught by %q only", by)
	}
	// A maker that puts real ones first is refused by every reader.
	d := seen(t, idle, 15, (*Log).NextDaily, hashed)[0]
	d.Commitments[0].Of[0], d.Commitments[0].Of[1] = d.Commitments[0].Of[1], d.Commitments[0].Of[0]
	if consent.ClassOf(d.Check()) != consent.BadValue {
		t.Error("commitments may stand in an order of the agency's choice")
	}
}
