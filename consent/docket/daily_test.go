package docket_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

func thePlan() charter.Plan {
	return charter.Plan{From: consent.At(noon.AddDate(0, 0, -30)), Daily: charter.DefaultDaily(charter.DefaultLimits()), UnusedDays: 30}
}

// smallPlan lets a docket go through everything in two months: on each day four commitments kept 5 days and four kept 40, which are told
// apart after 9.
func smallPlan() charter.Plan {
	return charter.Plan{From: consent.At(noon.AddDate(0, 0, -30)), Daily: charter.Daily{Commitments: 8, RetentionDays: []int{5, 40}, Messages: 1, MessageBytes: 32}, UnusedDays: 9}
}

func openWith(t testing.TB, plans ...charter.Plan) precinct {
	t.Helper()
	s := &shelf{}
	l, err := Open(police(), charter.Quotas{}, s, 0, plans...)
	if err != nil {
		t.Fatal(err)
	}
	return precinct{l, s}
}

// chance is a reader of a stream that a seed fixes.
func chance(seed uint64) *rand.ChaCha8 {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1})
}

func noonOn(day int) consent.Time { return consent.At(noon.AddDate(0, 0, day)) }

func today(day int) Day { return DayOf(noonOn(day).Time) }

// appendNext makes the next entry, signs it and appends it.
func (p precinct) appendNext(t testing.TB, load Load, day int, random *rand.ChaCha8) (Daily, Load) {
	t.Helper()
	d, rest, err := p.NextDaily(load, noonOn(day), random)
	if err != nil {
		t.Fatal(err)
	}
	msg := mustSign(d, docketKey())
	pending, err := p.Prepare(msg, noonOn(day).Time)
	if err != nil {
		t.Fatal(err)
	}
	*p.notes = append(*p.notes, msg)
	if err := p.Commit(pending); err != nil {
		t.Fatal(err)
	}
	return d, rest
}

// released is the commitment of a made-up release.
func released(n int) grant.Commitment {
	return grant.Release{CID: consent.ReleaseID(fmt.Sprint("release ", n)), Secret: grant.Secret(consent.HashText(fmt.Appendf(nil, "secret %d", n)))}.Commitment()
}

// A release is kept a while, used, exported and passed on; the docket says so of it, and of dummies besides, on the days that are fixed.
func TestAReleaseIsFollowedToItsDeletion(t *testing.T) {
	p := openWith(t, thePlan())
	random := chance(1)
	used, unused := released(1), released(2)
	truth := map[grant.Commitment]Status{used: {PassedOn: true, Deleted: true}, unused: {Deleted: true}}
	load := Load{Waiting: []Waiting{{used, 60, today(1)}, {unused, 90, today(1)}},
		Real: func(c grant.Commitment) (Status, bool) { s, ok := truth[c]; return s, ok }}
	size := 0
	for day := range 100 {
		var d Daily
		d, load = p.appendNext(t, load, day, random)
		if size = max(size, len((*p.notes)[len(*p.notes)-1])); day == 0 && len(load.Waiting) != 2 || day == 1 && len(load.Waiting) != 1 || day == 2 && len(load.Waiting) != 0 {
			t.Errorf("day %d: %d wait", day, len(load.Waiting))
		}
		if late := p.Overdue(d.Day); len(late) != 0 {
			t.Fatalf("day %d: %d overdue", day, len(late))
		}
	}
	t.Logf("an entry has %d bytes at most", size)
	if f, ok := p.Follow(used); !ok || f != (Follow{Day: today(1), Shown: today(1), KeepDays: 90, Due: today(91), Used: today(31), Exported: today(91), PassedOn: today(91), Deleted: today(91)}) {
		t.Errorf("of the used one: %+v, %v", f, ok)
	}
	if f, ok := p.Follow(unused); !ok || f != (Follow{Day: today(2), Shown: today(2), KeepDays: 90, Due: today(32), Deleted: today(32)}) {
		t.Errorf("of the unused one: %+v, %v", f, ok)
	}
	if _, ok := p.Follow(released(3)); ok {
		t.Error("the docket follows what it does not hold")
	}
	tally := p.Tally(today(99))
	if tally.Committed != 1600 || tally.Late != 0 || tally.Overdue != 0 || tally.OnTime != 70*4+70*3+3*10 {
		t.Errorf("%+v", tally)
	}
	// A peer that takes the entries in is told the same.
	peer, err := Open(police(), charter.Quotas{}, p.notes, p.Size(), thePlan())
	if err != nil || peer.Tally(today(99)) != tally || peer.LastDaily() != today(99) {
		t.Errorf("a peer: %+v, %v", peer.Tally(today(99)), err)
	}
	f, _ := peer.Follow(used)
	if g, _ := p.Follow(used); f != g {
		t.Errorf("a peer: %+v", f)
	}
	// An entry of which only the hash is known leaves those after it without effect, until its text comes.
	missing := slices.Clone(*p.notes)
	leaf, err := p.Leaf(40)
	if err != nil {
		t.Fatal(err)
	}
	missing[40] = Leaf(leaf)
	if gap, err := Open(police(), charter.Quotas{}, &missing, p.Size(), thePlan()); err != nil || gap.LastDaily() != today(39) || gap.Refused(40) != consent.Unread || gap.Refused(41) != consent.BadDay {
		t.Errorf("with a gap: up to %s, then %q and %q, %v", gap.LastDaily(), gap.Refused(40), gap.Refused(41), err)
	}
	// It travels like other entries, and relies on none.
	p.sign(t)
	msg, err := p.Bundle(99, nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := ParseBundle(msg)
	if err == nil {
		_, _, _, err = bundle.Verify(police())
	}
	if err != nil {
		t.Errorf("a bundle: %v", err)
	}
	// Without the plan the entries are of a kind that the docket does not have.
	old, err := Open(police(), charter.Quotas{}, p.notes, p.Size())
	if err != nil || old.Refused(0) != consent.WrongKind || old.LastDaily() != "" {
		t.Errorf("without a plan: %q, %v", old.Refused(0), err)
	}
}

// Each broken rule, on an entry that is right otherwise.
func TestADailyEntryKeepsToTheSchedule(t *testing.T) {
	p := openWith(t, smallPlan())
	random := chance(2)
	for day := range 45 {
		p.appendNext(t, Load{}, day, random)
	}
	next, _, err := p.NextDaily(Load{}, noonOn(45), random)
	if err != nil {
		t.Fatal(err)
	}
	read := func(i int) Daily {
		d, err := OpenDaily((*p.notes)[i])
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	strange := grant.Commitment(consent.HashText([]byte("nowhere")))
	less := func(l []grant.Commitment) []grant.Commitment { return slices.Clone(l)[1:] }
	more := func(l []grant.Commitment, c grant.Commitment) []grant.Commitment {
		l = append(slices.Clone(l), c)
		slices.Sort(l)
		return l
	}
	// in puts one commitment in the place of one of a list.
	in := func(l []grant.Commitment, c grant.Commitment) []grant.Commitment { return more(less(l), c) }
	classes := func(d *Daily) { d.Commitments = slices.Clone(d.Commitments) }
	not := func(all, some []grant.Commitment) grant.Commitment {
		return all[slices.IndexFunc(all, func(c grant.Commitment) bool { return !slices.Contains(some, c) })]
	}
	ended := read(5).Commitments[1].Of // kept 40 days until now
	for _, tc := range []struct {
		name   string
		want   consent.Class
		change func(*Daily)
	}{
		{"of the day of the last", consent.DuplicateEntry, func(d *Daily) { d.Day = today(44) }},
		{"of a day after the next", consent.BadDay, func(d *Daily) { d.Day, d.Created = today(46), noonOn(46) }},
		{"of a day before daily entries", consent.BadDay, func(d *Daily) { d.Day = today(-31) }},
		{"made before its day", consent.BadValue, func(d *Daily) { d.Created = noonOn(44) }},
		{"a class less", consent.OffSchedule, func(d *Daily) { d.Commitments = d.Commitments[:1] }},
		{"a commitment less", consent.OffSchedule, func(d *Daily) { classes(d); d.Commitments[0].Of = less(d.Commitments[0].Of) }},
		{"a commitment more", consent.OffSchedule, func(d *Daily) { classes(d); d.Commitments[0].Of = more(d.Commitments[0].Of, strange) }},
		{"another retention", consent.OffSchedule, func(d *Daily) { classes(d); d.Commitments[0].KeepDays = 6 }},
		{"a commitment again", consent.DuplicateEntry, func(d *Daily) { classes(d); d.Commitments[0].Of = in(d.Commitments[0].Of, ended[0]) }},
		{"a commitment in two classes", consent.DuplicateEntry, func(d *Daily) { classes(d); d.Commitments[0].Of = in(d.Commitments[0].Of, d.Commitments[1].Of[0]) }},
		{"a message less", consent.OffSchedule, func(d *Daily) { d.Messages = [][]byte{} }},
		{"a longer message", consent.OffSchedule, func(d *Daily) { d.Messages = [][]byte{make([]byte, 33)} }},
		{"used one less", consent.OffSchedule, func(d *Daily) { d.Used = less(d.Used) }},
		{"used one more", consent.OffSchedule, func(d *Daily) { d.Used = more(d.Used, not(read(36).Commitments[1].Of, d.Used)) }},
		{"used on another day", consent.OffSchedule, func(d *Daily) { d.Used = in(d.Used, read(44).Commitments[1].Of[0]) }},
		{"used and not held", consent.UnknownCommitment, func(d *Daily) { d.Used = in(d.Used, strange) }},
		{"used and new", consent.UnknownCommitment, func(d *Daily) { d.Used = in(d.Used, d.Commitments[0].Of[0]) }},
		{"exported one less", consent.OffSchedule, func(d *Daily) { d.Exported = less(d.Exported) }},
		{"exported and not used", consent.WrongState, func(d *Daily) { d.Exported = in(d.Exported, not(ended, read(14).Used)) }},
		{"passed on and not exported", consent.WrongState, func(d *Daily) {
			five := read(40).Commitments[0].Of
			d.PassedOn = in(d.PassedOn, d.PassedOn[0])
			for i, c := range d.PassedOn {
				if slices.Contains(five, c) {
					d.PassedOn = append(slices.Clone(d.PassedOn[:i]), d.PassedOn[i+1:]...)
					d.PassedOn = more(d.PassedOn, not(five, d.Exported))
					return
				}
			}
		}},
		{"deleted and not held", consent.UnknownCommitment, func(d *Daily) { d.Deleted = more(d.Deleted, strange) }},
		{"deleted before it is due", consent.WrongState, func(d *Daily) { d.Deleted = more(d.Deleted, read(44).Commitments[0].Of[0]) }},
		{"used and deleted at once", consent.WrongState, func(d *Daily) { d.Deleted = more(d.Deleted, not(d.Used, read(40).Commitments[0].Of)) }},
		{"deleted twice", consent.WrongState, func(d *Daily) { d.Deleted = more(d.Deleted, read(44).Deleted[0]) }},
		{"out of order", consent.BadValue, func(d *Daily) { d.Used = slices.Clone(d.Used); slices.Reverse(d.Used) }},
		{"twice in a list", consent.BadValue, func(d *Daily) { d.Used = more(d.Used, d.Used[0]) }},
		{"no hash", consent.BadValue, func(d *Daily) { d.Deleted = more(d.Deleted, "f") }},
		{"no list", consent.NullValue, func(d *Daily) { d.Deleted = nil }},
		{"no day", consent.BadValue, func(d *Daily) { d.Day = "2026-1-1" }},
		{"signed by somebody", consent.WrongRole, func(d *Daily) { d.Key = moss.Verifier() }},
	} {
		d := next
		tc.change(&d)
		err := d.Check()
		if err == nil {
			signer := docketKey()
			if d.Key == moss.Verifier() {
				signer = moss
			}
			_, err = p.Prepare(mustSign(d, signer), noonOn(50).Time)
		}
		if consent.ClassOf(err) != tc.want {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
	}
	// Nothing is required of deletions but that they are due, and what is missing shows.
	d := next
	d.Deleted = less(d.Deleted)
	p.add2(t, mustSign(d, docketKey()), noonOn(45).Time)
	if late := p.Overdue(today(46)); len(late) != 0 {
		t.Errorf("overdue on the day of grace: %v", late)
	}
	if late := p.Overdue(today(47)); len(late) != 1 || late[0] != next.Deleted[0] {
		t.Errorf("overdue: %v", late)
	}
	p.appendNext(t, Load{}, 50, random) // of day 46, and late
	if f, _ := p.Follow(next.Deleted[0]); f.Deleted != today(50) || p.Tally(today(47)).Late == 0 {
		t.Errorf("deleted late: %+v, %+v", f, p.Tally(today(47)))
	}
	// Dated back, it is as late.
	d, _, err = p.NextDaily(Load{}, noonOn(47), random)
	if err != nil {
		t.Fatal(err)
	}
	p.add2(t, mustSign(d, docketKey()), noonOn(51).Time)
	if f, _ := p.Follow(d.Deleted[0]); f.Deleted != today(50) {
		t.Errorf("dated back: %+v", f)
	}
}

// An agency whose node was off makes up for each day, and no release is promised to be gone before its terms allow.
func TestMissedDaysAreMadeUpFor(t *testing.T) {
	p := openWith(t, smallPlan())
	random := chance(3)
	load := Load{Waiting: []Waiting{{released(1), 40, today(11)}}}
	p.appendNext(t, load, 0, random)
	made := 0
	for {
		d, rest, err := p.NextDaily(load, noonOn(11), random)
		if consent.ClassOf(err) == consent.NotYetValid {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		load, made = rest, made+1
		p.add2(t, mustSign(d, docketKey()), noonOn(11).Time.Add(time.Minute))
	}
	if f, ok := p.Follow(released(1)); made != 11 || !ok || f.Day != today(11) || len(load.Waiting) != 0 {
		t.Errorf("%d entries; %+v", made, f)
	}
	if tally := p.Tally(today(11)); tally.Late != 5*4+1 || tally.OnTime != 2*4+2 {
		t.Errorf("%+v", tally) // those due on day 10 are within the day of grace
	}
}

// The largest entries that a charter may ask for can be signed, also while one plan takes the place of another, and while releases that a
// hold kept are deleted all at once, as far as there is room.
func TestTheLargestEntriesFitIntoADocument(t *testing.T) {
	limits := charter.DefaultLimits()
	limits.MaxRetentionDays = 20
	largest := func(classes ...int) charter.Daily {
		d := charter.Daily{Commitments: charter.MaxCommitments, RetentionDays: classes, Messages: 1, MessageBytes: charter.MinMessageBytes}
		for d.Check(limits) != nil {
			d.Commitments--
		}
		return d
	}
	from := func(day, unused int, classes ...int) charter.Plan {
		return charter.Plan{From: consent.At(today(day).Time()), Daily: largest(classes...), UnusedDays: unused}
	}
	p := openWith(t, from(0, 10, 12, 20), from(30, 5, 8, 20)) // days 35 to 39 tell two cohorts of the longest class apart
	random := chance(4)
	truth := map[grant.Commitment]bool{}
	hold := true
	load := Load{Real: func(c grant.Commitment) (Status, bool) { return Status{Used: true, Deleted: !hold}, truth[c] }}
	most, released, day := 0, 0, 0
	for ; day < 120; day++ {
		hold = day < 80
		for range 20 {
			c := grant.Release{CID: consent.ReleaseID(fmt.Sprint("release ", released)), Secret: grant.Secret(consent.HashText(fmt.Append(nil, released)))}.Commitment()
			released, truth[c] = released+1, true
			load.Waiting = append(load.Waiting, Waiting{c, []int{6, 12, 20}[released%3], today(day + 1)})
		}
		_, load = p.appendNext(t, load, day, random)
		most = max(most, len((*p.notes)[day]))
		if late := len(p.Overdue(today(day))); day == 79 && late < 300 {
			t.Errorf("only %d are on hold", late)
		}
	}
	if late := p.Overdue(today(day - 1)); len(late) > 0 {
		t.Errorf("%d are overdue although no hold stands", len(late))
	}
	if t.Logf("%d bytes at most", most); most < consent.MaxNote-100 || p.Tally(today(day)).Late < 300 {
		t.Errorf("an entry has %d bytes at most; there was no want of room; %+v", most, p.Tally(today(day)))
	}
}
