package docket_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	asks "github.com/porchlight-mesh/porchlight/consent/request"
)

// declares is a docket with an officer and a supervisor who sign what it declares, on days after noon's.
func declares(t testing.TB, plans ...charter.Plan) precinct {
	p := openWith(t, plans...)
	p.add(t, kimForAYear())
	return p
}

func kimForAYear() []byte {
	o := enrol(kim, RoleOfficer, moss, 0)
	o.Expires = consent.At(o.Created.Add(MaxEnrolment))
	return mustSign(o, moss)
}

func hold(day int, renews string, covers ...grant.Commitment) Hold {
	slices.Sort(covers)
	return Hold{Court: "County Court", Number: "26-CV-118", DocumentSHA256: consent.HashText([]byte("order")), Covers: append([]grant.Commitment{}, covers...),
		Renews: renews, Created: noonOn(day), Officer: kim.Verifier(), Supervisor: moss.Verifier()}
}

// append takes an entry in as of its day, if the docket may hold it.
func (p precinct) append(msg []byte, day int) error {
	pending, err := p.Prepare(msg, noonOn(day).Time)
	if err != nil {
		return err
	}
	*p.notes = append(*p.notes, msg)
	return p.Commit(pending)
}

// Whatever is declared, renewed and lifted, rightly or wrongly: the docket says as many holds and releases as a plain list does, no
// renewal covers what its hold did not, and nothing holds for more than 90 days without being renewed.
func TestPropertyNoHoldGrows(t *testing.T) {
	t.Parallel()
	type plain struct {
		id     string
		day    int
		covers []grant.Commitment
	}
	took, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		l, err := Open(police(), charter.Quotas{}, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(kimForAYear(), noon); err != nil {
			t.Fatal(err)
		}
		var ends []plain // that were not renewed
		all := []grant.Commitment{"a", "b", "c", "d"}
		for i := range all {
			all[i] = grant.Commitment(consent.HashText([]byte(all[i])))
		}
		day, clock := 0, 0 // the docket's is the latest day that an entry of it names
		for step := range rapid.IntRange(1, 6).Draw(t, "steps") {
			if day += rapid.SampledFrom([]int{0, 1, 40, 89, 90, 91}).Draw(t, "days"); day > 365 {
				break
			}
			covers := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 3, rapid.ID[grant.Commitment]).Draw(t, "covers")
			made := max(0, day-rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "dated back"))
			h := hold(made, "", covers...)
			h.DocumentSHA256 = consent.HashText(fmt.Append(nil, step)) // no two entries alike
			var old *plain
			if len(ends) > 0 && rapid.Bool().Draw(t, "renews") {
				old = &ends[rapid.IntRange(0, len(ends)-1).Draw(t, "which")]
				h.Renews = old.id
			}
			lawful := len(covers) > 0
			if old != nil {
				lawful = made >= old.day && max(made, clock)-old.day <= 90 && !slices.ContainsFunc(covers, func(c grant.Commitment) bool { return !slices.Contains(old.covers, c) })
			}
			note, err := consent.Sign(h, kim, moss)
			if err == nil {
				_, err = l.Append(note, noonOn(day).Time)
			}
			if (err == nil) != lawful {
				t.Fatalf("day %d, after an entry of day %d, %+v: %v, lawful %v", day, clock, h, err, lawful)
			}
			if err != nil {
				refused++
				continue
			}
			took++
			clock = max(clock, made)
			if old != nil {
				*old = plain{string(asks.IDOf(note)), made, covers}
			} else {
				ends = append(ends, plain{string(asks.IDOf(note)), made, covers})
			}
			at := day + rapid.SampledFrom([]int{0, 90, 91}).Draw(t, "later")
			holds, covered := 0, 0
			for _, e := range ends {
				if at-e.day <= 90 && len(e.covers) > 0 {
					holds, covered = holds+1, covered+len(e.covers)
				}
			}
			if h, c := l.Holds(noonOn(at).Time); h != holds || c != covered {
				t.Fatalf("on day %d the docket has %d holds over %d releases; there are %d over %d", at, h, c, holds, covered)
			}
		}
	})
	t.Logf("%d holds were taken in and %d refused", took, refused)
}

// Only who was told the salt knows what a hold covers, and only while it lives.
func TestAHoldCoversWhatItsSaltOpens(t *testing.T) {
	p := declares(t)
	c := grant.Commitment(consent.HashText([]byte("a release")))
	blind, salt, err := grant.Commit(chance(1), []byte(c))
	if err != nil {
		t.Fatal(err)
	}
	note := mustSign(hold(0, "", blind), kim, moss)
	if err := p.append(note, 0); err != nil {
		t.Fatal(err)
	}
	id := string(asks.IDOf(note))
	for day, want := range map[int]bool{-1: false, 0: true, 90: true, 91: false} {
		if got := p.Covers(id, salt, c, noonOn(day).Time); got != want {
			t.Errorf("day %d: covered %v", day, got)
		}
	}
	other := grant.Commitment(consent.HashText([]byte("another")))
	_, wrong, _ := grant.Commit(chance(2), nil)
	if p.Covers(id, salt, other, noon) || p.Covers(id, wrong, c, noon) || p.Covers(string(asks.IDOf([]byte("x"))), salt, c, noon) || p.Covers("", salt, c, noon) {
		t.Error("a hold covers what it was not made for")
	}
	renewal := mustSign(hold(80, id, blind), kim, moss)
	if err := p.append(renewal, 80); err != nil {
		t.Fatal(err)
	}
	again := string(asks.IDOf(renewal))
	for _, hold := range []string{id, again} { // an owner who was told of the first need not have been told of the other yet
		if !p.Covers(hold, salt, c, noonOn(170).Time) || p.Covers(hold, salt, c, noonOn(171).Time) {
			t.Error("a renewed hold does not go on, or goes on for too long")
		}
	}
	// Seen from a day before the renewal, the hold stands as it did then.
	if holds, covered := p.Holds(noonOn(40).Time); holds != 1 || covered != 1 || !p.Covers(id, salt, c, noonOn(40).Time) || p.Covers(id, salt, c, noonOn(-1).Time) {
		t.Error("a renewal takes back what was before it")
	}
	if err := p.append(mustSign(hold(81, id, blind), kim, moss), 81); consent.ClassOf(err) != consent.UnknownHold {
		t.Errorf("renewed twice: %v", err)
	}
	if err := p.append(mustSign(hold(82, again), kim, moss), 82); err != nil {
		t.Fatal(err)
	}
	if p.Covers(id, salt, c, noonOn(83).Time) {
		t.Error("a hold covers what its renewal let go")
	}
}

// A receipt is failed by a docket that does not hold its commitment in time, does not say its deletion, or says it before the receipt.
func TestADocketFailsAReceipt(t *testing.T) {
	p := declares(t, smallPlan())
	real := grant.Commitment(consent.HashText([]byte("a release")))
	status := Status{}
	load := Load{Waiting: []Waiting{{Commitment: real, KeepDays: 5}}, Real: func(c grant.Commitment) (Status, bool) { return status, c == real }}
	random := chance(3)
	var rest Load
	_, rest = p.appendNext(t, load, 0, random)
	rest.Real = load.Real
	said := func(day int) grant.Receipt { return grant.Receipt{Commitment: real, At: noonOn(day)} }
	fails := func(r grant.Receipt, day int) (out []grant.Fault) {
		for _, f := range grant.Faults() {
			if p.Fails(r, f, noonOn(day).Time) {
				out = append(out, f)
			}
		}
		return out
	}
	want := func(what string, got []grant.Fault, want ...grant.Fault) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	unknown := grant.Receipt{Commitment: grant.Commitment(consent.HashText([]byte("dropped"))), At: noonOn(0)}
	want("dropped, within 14 days", fails(unknown, 14))
	want("dropped, after 14 days and a day's grace", fails(unknown, 16), grant.FaultMissing)
	want("promised", fails(said(0), 5))
	for day := 1; day <= 6; day++ {
		_, rest = p.appendNext(t, rest, day, random)
		rest.Real = load.Real
	}
	want("on the day after it was due", fails(said(0), 6))
	want("two days after", fails(said(0), 7), grant.FaultOverdue)
	status.Deleted = true
	_, rest = p.appendNext(t, rest, 7, random)
	want("deleted late", fails(said(0), 9))
	want("said to be there a day after", fails(said(8), 9))
	want("said to be there two days after", fails(said(9), 9), grant.FaultContradicted)
	gone := said(9)
	gone.State = grant.Deleted
	want("signed to be deleted two days after", fails(gone, 9))
}

// A docket is silent from the first day on that it says nothing of, also where it never said anything; and not where the charter has no daily entries,
// under which nothing is missing either.
func TestADocketIsSilent(t *testing.T) {
	unknown := func(day int) grant.Receipt {
		return grant.Receipt{Commitment: grant.Commitment(consent.HashText([]byte("dropped"))), At: noonOn(day)}
	}
	late := smallPlan()
	late.From = consent.At(today(20).Time())
	for name, row := range map[string]struct {
		docket  precinct
		entries int
		on      int // the first day on which it is silent; 0: it never is
		since   int
		missing int // the first day whose receipt can be failed; -1: none can
	}{
		"never said anything":    {declares(t, smallPlan()), 0, 3, 1, 0},
		"two entries":            {declares(t, smallPlan()), 2, 4, 2, 0},
		"a plan that came later": {declares(t, late), 0, 23, 21, 20},
		"no plan":                {declares(t), 0, 0, 0, -1},
		"empty":                  {openWith(t, smallPlan()), 0, 0, 0, 0},
	} {
		for day := range row.entries {
			row.docket.appendNext(t, Load{}, day, chance(3))
		}
		for day := range 60 {
			want := Day("")
			if row.on > 0 && day >= row.on {
				want = today(row.since)
			}
			if got := row.docket.Silent(today(day)); got != want {
				t.Errorf("%s: on day %d it is silent since %q, want %q", name, day, got, want)
			}
			if got := row.docket.Fails(unknown(day), grant.FaultMissing, noonOn(day+16).Time); got != (row.missing >= 0 && day >= row.missing) {
				t.Errorf("%s: what was signed for on day %d is missing: %v", name, day, got)
			}
		}
	}
}
