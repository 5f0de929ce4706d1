package docket

import (
	"bytes"
	"encoding/hex"
	"slices"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

// DeletionGrace is how many days after it was due a deletion still counts as said in time: an agency's node may be off for a night.
const DeletionGrace = 1

// A Follow is what a docket says of one commitment.
type Follow struct {
	Day      Day `json:"day"`   // of the entry that makes it
	Shown    Day `json:"shown"` // on which the docket showed that entry at the earliest, whatever day it is of
	KeepDays int `json:"keep_days"`
	Due      Day `json:"due"`            // of its deletion, by what the docket says so far
	Used     Day `json:"used,omitempty"` // each the day of the entry that says so; "" where none does
	Exported Day `json:"exported,omitempty"`
	PassedOn Day `json:"passed_on,omitempty"`
	Deleted  Day `json:"deleted,omitempty"` // as Shown
}

// A Tally counts the commitments of a docket, real ones and dummies alike.
type Tally struct {
	Committed int `json:"committed"`
	OnTime    int `json:"on_time"` // deleted in time
	Late      int `json:"late"`    // deleted later
	Overdue   int `json:"overdue"` // neither
}

// hash is a commitment, in half the bytes of its text.
type hash [32]byte

func hashOf(c grant.Commitment) hash {
	h, _ := consent.ParseHash(string(c)) // Check has read it
	return h
}

func (h hash) commitment() grant.Commitment { return grant.Commitment(hex.EncodeToString(h[:])) }

// A cohort is the commitments of one day and class.
type cohort struct {
	day     int
	shown   int
	class   charter.Class
	members []hash // until the last of them was deleted
	left    int    // not deleted
}

// split is the day on which its used commitments are told from the rest, and end the one on which they are deleted.
func (c *cohort) split() int { return c.day + c.class.Split }
func (c *cohort) end() int   { return c.day + c.class.KeepDays }

// A fate is what became of a commitment. It is kept when the commitment was deleted, so that none comes again; some 150 bytes each.
type fate struct {
	cohort                   *cohort
	used, exported, passedOn bool
	deleted                  int32 // 0: it is not
}

func (f fate) due() int {
	if f.used {
		return f.cohort.end()
	}
	return f.cohort.split()
}

// follows is what a log holds of its daily entries.
type follows struct {
	plans   []charter.Plan
	last    Day
	cohorts []*cohort // some commitment of which is not deleted, by day
	fates   map[hash]fate
	tally   Tally
}

// plan returns the plan of a day's entry.
func (f *follows) plan(d Day) (p charter.Plan, ok bool) {
	for _, next := range f.plans {
		if DayOf(next.From.Time) <= d {
			p, ok = next, true
		}
	}
	return p, ok
}

// admit holds a daily entry against those before it.
func (f *follows) admit(d *Daily) error {
	plan, ok := f.plan(d.Day)
	switch {
	case !ok:
		return consent.Refuse(consent.BadDay, "day", "the charter has no daily entries on %s yet", d.Day)
	case f.last != "" && d.Day <= f.last:
		return consent.Refuse(consent.DuplicateEntry, "day", "the entry of %s stands there already", d.Day)
	case f.last != "" && d.Day != f.last.Add(1):
		return consent.Refuse(consent.BadDay, "day", "after the entry of %s comes that of %s, not of %s", f.last, f.last.Add(1), d.Day)
	}
	if err := f.admitSlots(d, plan); err != nil {
		return err
	}
	return f.admitChanges(d)
}

func (f *follows) admitSlots(d *Daily, plan charter.Plan) error {
	classes := plan.Classes()
	if len(d.Commitments) != len(classes) {
		return consent.Refuse(consent.OffSchedule, "commitments", "%d classes of retention; the charter has %d", len(d.Commitments), len(classes))
	}
	fresh := map[hash]bool{}
	for i, t := range d.Commitments {
		if t.KeepDays != classes[i].KeepDays || len(t.Of) != classes[i].Slots {
			return consent.Refuse(consent.OffSchedule, "commitments", "%d commitments for %d days; the charter has %d for %d", len(t.Of), t.KeepDays, classes[i].Slots, classes[i].KeepDays)
		}
		for _, c := range t.Of {
			h := hashOf(c)
			if _, known := f.fates[h]; known || fresh[h] {
				return consent.Refuse(consent.DuplicateEntry, "commitments", "the commitment %.16s… stands there already", string(c))
			}
			fresh[h] = true
		}
	}
	if len(d.Messages) != plan.Daily.Messages {
		return consent.Refuse(consent.OffSchedule, "messages", "%d messages; the charter has %d", len(d.Messages), plan.Daily.Messages)
	}
	for _, m := range d.Messages {
		if len(m) != plan.Daily.MessageBytes {
			return consent.Refuse(consent.OffSchedule, "messages", "a message of %d bytes; the charter has %d", len(m), plan.Daily.MessageBytes)
		}
	}
	return nil
}

// admitChanges wants exactly the changes that fall on the day, each from a state in which it may come.
func (f *follows) admitChanges(d *Daily) error {
	day := d.Day.number()
	now := map[hash]fate{} // where it differs from f.fates
	look := func(field string, c grant.Commitment) (hash, fate, error) {
		h := hashOf(c)
		if x, ok := now[h]; ok {
			return h, x, nil
		}
		x, ok := f.fates[h]
		if !ok {
			return h, x, consent.Refuse(consent.UnknownCommitment, field, "the docket holds no commitment %.16s…", string(c))
		}
		return h, x, nil
	}
	for _, s := range []struct {
		field string
		of    []grant.Commitment
		falls func(*cohort) int // on the day
		many  func(charter.Class) int
		from  func(fate) bool
		to    func(*fate)
	}{
		{"used", d.Used, (*cohort).split, func(c charter.Class) int { return c.Used }, func(x fate) bool { return true }, func(x *fate) { x.used = true }},
		{"exported", d.Exported, (*cohort).end, func(c charter.Class) int { return c.Exported }, func(x fate) bool { return x.used }, func(x *fate) { x.exported = true }},
		{"passed_on", d.PassedOn, (*cohort).end, func(c charter.Class) int { return c.PassedOn }, func(x fate) bool { return x.exported }, func(x *fate) { x.passedOn = true }},
	} {
		count := map[*cohort]int{}
		for _, c := range s.of {
			h, x, err := look(s.field, c)
			switch {
			case err != nil:
				return err
			case s.falls(x.cohort) != day:
				return consent.Refuse(consent.OffSchedule, s.field, "%.16s… of %s has its change on %s", string(c), dayOf(x.cohort.day), dayOf(s.falls(x.cohort)))
			case !s.from(x):
				return consent.Refuse(consent.WrongState, s.field, "%.16s… has not come so far", string(c))
			}
			s.to(&x)
			now[h] = x
			count[x.cohort]++
		}
		for _, c := range f.cohorts {
			if s.falls(c) == day && count[c] != s.many(c.class) {
				return consent.Refuse(consent.OffSchedule, s.field, "%d of the commitments of %s kept %d days; the schedule has %d",
					count[c], dayOf(c.day), c.class.KeepDays, s.many(c.class))
			}
		}
	}
	for _, c := range d.Deleted {
		_, x, err := look("deleted", c)
		switch {
		case err != nil:
			return err
		case x.deleted != 0:
			return consent.Refuse(consent.WrongState, "deleted", "%.16s… is deleted already", string(c))
		case x.due() > day:
			return consent.Refuse(consent.WrongState, "deleted", "%.16s… is due on %s", string(c), dayOf(x.due()))
		}
	}
	return nil
}

// apply takes in an entry that was admitted, shown on a day by the docket's own clock.
func (f *follows) apply(d *Daily, shown Day) {
	f.last = d.Day
	set := func(of []grant.Commitment, change func(*fate)) {
		for _, c := range of {
			h := hashOf(c)
			x := f.fates[h]
			change(&x)
			f.fates[h] = x
		}
	}
	set(d.Used, func(x *fate) { x.used = true })
	set(d.Exported, func(x *fate) { x.exported = true })
	set(d.PassedOn, func(x *fate) { x.passedOn = true })
	at := max(shown, d.Day).number()
	set(d.Deleted, func(x *fate) {
		x.deleted = int32(at)
		if x.cohort.left--; x.cohort.left == 0 {
			x.cohort.members = nil
		}
		if at <= x.due()+DeletionGrace {
			f.tally.OnTime++
		} else {
			f.tally.Late++
		}
	})
	f.cohorts = slices.DeleteFunc(f.cohorts, func(c *cohort) bool { return c.left == 0 })
	plan, _ := f.plan(d.Day)
	for i, class := range plan.Classes() {
		c := &cohort{day: d.Day.number(), shown: at, class: class, left: class.Slots}
		for _, of := range d.Commitments[i].Of {
			h := hashOf(of)
			c.members = append(c.members, h)
			f.fates[h] = fate{cohort: c}
		}
		f.cohorts = append(f.cohorts, c)
		f.tally.Committed += class.Slots
	}
}

// LastDaily returns the day of the newest daily entry, "" where there is none.
func (l *Log) LastDaily() Day { return l.follows.last }

// HasDaily says whether the charter has a daily entry on a day.
func (l *Log) HasDaily(on Day) bool { _, ok := l.follows.plan(on); return ok }

// Silent returns the first day whose daily entry is overdue on a day, "" where none is. The first of all is that of the day after the one on which the
// docket began and the charter had daily entries.
func (l *Log) Silent(on Day) Day {
	if l.began == "" || !l.HasDaily(on) {
		return ""
	}
	last := l.follows.last
	if last == "" {
		last = max(l.began, DayOf(l.follows.plans[0].From.Time))
	}
	if on <= last.Add(1+DeletionGrace) {
		return ""
	}
	return last.Add(1)
}

// Follow returns what the docket says of a commitment, and whether it holds it.
func (l *Log) Follow(c grant.Commitment) (f Follow, ok bool) {
	h, err := consent.ParseHash(string(c))
	if err != nil {
		return Follow{}, false
	}
	x, ok := l.follows.fates[h]
	if !ok {
		return Follow{}, false
	}
	f = Follow{Day: dayOf(x.cohort.day), Shown: dayOf(x.cohort.shown), KeepDays: x.cohort.class.KeepDays, Due: dayOf(x.due())}
	split, end := dayOf(x.cohort.split()), dayOf(x.cohort.end())
	if x.used {
		f.Used = split
	}
	if x.exported {
		f.Exported = end
	}
	if x.passedOn {
		f.PassedOn = end
	}
	if x.deleted != 0 {
		f.Deleted = dayOf(int(x.deleted))
	}
	return f, true
}

// Overdue returns the commitments that were due more than [DeletionGrace] days before the end of a day and are not deleted, the
// oldest first. A commitment on which nothing was said on its day, because the agency fell silent, is one of them.
func (l *Log) Overdue(on Day) []grant.Commitment {
	var all []grant.Commitment
	for _, c := range l.follows.cohorts {
		for _, h := range c.members {
			if x := l.follows.fates[h]; x.deleted == 0 && x.due()+DeletionGrace < on.number() {
				all = append(all, h.commitment())
			}
		}
	}
	return all
}

// Tally counts the docket's commitments as they are on a day.
func (l *Log) Tally(on Day) Tally {
	t := l.follows.tally
	t.Overdue = len(l.Overdue(on))
	return t
}

func (h hash) compare(o hash) int { return bytes.Compare(h[:], o[:]) }
