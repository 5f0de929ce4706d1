package docket

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

// A Load is what an agency has to say in its daily entries, and what it has to hide there. The zero Load is nothing.
type Load struct {
	Waiting  []Waiting // real commitments, first come first; those that the docket holds already are passed over
	Messages [][]byte  // sealed, each of the size that the charter fixes, first come first
	// Real says what truly became of a release, by its commitment, and whether there is one: of a dummy there is not. Nil: there are none.
	Real func(grant.Commitment) (Status, bool)
	// Dummy makes a message to nobody that looks like a real one, whose format is not this package's. Nil: random bytes.
	Dummy func() ([]byte, error)
}

// Waiting is the commitment of a release that the docket does not hold yet.
type Waiting struct {
	Commitment grant.Commitment
	KeepDays   int // of its terms
	// From is the first day whose entry may hold it: the day after the one on which its terms began to run. Then what the docket says on
	// a day is never ahead of what the terms ask for. "" is any day.
	From Day
}

// Status is what became of a release. One that was passed on was exported, and one that was exported was used.
type Status struct {
	Used, Exported, PassedOn bool
	Deleted                  bool // its key is destroyed. Of what is on hold it is not
}

// NextDaily makes the entry of the first day that has none, which is created's day at the latest (else it is of class not-yet-valid), and
// returns what still waits. Sign it with the docket key and append it, then ask again: an agency whose node was off makes up for every day that it missed.
//
// Call it at a moment that has nothing to do with the load. random is crypto/rand.Reader but in tests.
func (l *Log) NextDaily(load Load, created consent.Time, random io.Reader) (Daily, Load, error) {
	return l.nextDaily(load, created, random, choose)
}

// choose picks k of the pool, each k of them as likely as any other.
func choose(random io.Reader, pool []hash, k int) ([]hash, error) {
	pool = slices.Clone(pool)
	for i := range k {
		j, err := below(random, len(pool)-i)
		if err != nil {
			return nil, err
		}
		pool[i], pool[i+j] = pool[i+j], pool[i]
	}
	return pool[:k], nil
}

// below is uniform in [0, n), for n of at least 1.
func below(random io.Reader, n int) (int, error) {
	for {
		var b [8]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, fmt.Errorf("making a daily entry: no randomness: %w", err)
		}
		// What is over the last whole multiple of n would make some likelier.
		if x := binary.BigEndian.Uint64(b[:]) >> 1; x < (1<<63)/uint64(n)*uint64(n) {
			return int(x % uint64(n)), nil
		}
	}
}

// A maker makes one entry.
type maker struct {
	*follows
	load   Load
	random io.Reader
	choose func(io.Reader, []hash, int) ([]hash, error)
	day    int
	used   map[hash]bool // by this entry
}

func (l *Log) nextDaily(load Load, created consent.Time, random io.Reader, choose func(io.Reader, []hash, int) ([]hash, error)) (Daily, Load, error) {
	fail := func(err error) (Daily, Load, error) { return Daily{}, load, err }
	today := DayOf(created.Time)
	day := today
	if l.follows.last != "" {
		day = l.follows.last.Add(1)
	}
	plan, ok := l.follows.plan(day)
	if !ok {
		return fail(consent.Refuse(consent.NotYetValid, "day", "the charter has no daily entries on %s", day))
	}
	if day > today {
		return fail(consent.Refuse(consent.NotYetValid, "day", "the entry of %s is there; the next is tomorrow's", today))
	}
	m := &maker{follows: &l.follows, load: load, random: random, choose: choose, day: day.number(), used: map[hash]bool{}}
	d := Daily{Day: day, Created: created, Key: l.agency.Key}
	fresh := map[hash]bool{}
	for i, class := range plan.Classes() {
		of, rest, err := l.follows.place(m.load.Waiting, plan, i, day, fresh)
		if err != nil {
			return fail(err)
		}
		m.load.Waiting = rest
		for len(of) < class.Slots {
			var h hash
			if _, err := io.ReadFull(random, h[:]); err != nil {
				return fail(fmt.Errorf("making a daily entry: no randomness: %w", err))
			}
			if _, known := l.follows.fates[h]; !known && !fresh[h] {
				fresh[h] = true
				of = append(of, h)
			}
		}
		d.Commitments = append(d.Commitments, Term{class.KeepDays, list(of)})
	}
	if err := m.changes(&d); err != nil {
		return fail(err)
	}
	if err := m.messages(&d, plan.Daily.Messages, plan.Daily.MessageBytes); err != nil {
		return fail(err)
	}
	if err := m.backlog(&d); err != nil {
		return fail(err)
	}
	// What the log would refuse is not worth signing.
	if err := d.Check(); err != nil {
		return fail(err)
	}
	if err := l.follows.admit(&d); err != nil {
		return fail(err)
	}
	return d, m.load, nil
}

// place finds those of what waits that have a place in class i of a day's entry, and what still waits then. What stands in the docket already, or
// is in fresh, is passed over; what has a place is in fresh afterwards.
func (f *follows) place(waiting []Waiting, plan charter.Plan, i int, day Day, fresh map[hash]bool) (of []hash, rest []Waiting, err error) {
	class := plan.Daily.Class(i, plan.UnusedDays)
	for _, w := range waiting {
		h, err := consent.ParseHash(string(w.Commitment))
		if err != nil {
			return nil, nil, err
		}
		if _, known := f.fates[h]; known || fresh[h] {
			continue
		}
		fits := w.KeepDays <= class.KeepDays && (i == 0 || w.KeepDays > plan.Daily.RetentionDays[i-1])
		if !fits || w.From > day || len(of) == class.Real {
			rest = append(rest, w)
			continue
		}
		fresh[h] = true
		of = append(of, h)
	}
	return of, rest, nil
}

// Left returns what of all that waits has no place in the entries up to a day, if the next is of today at the latest and each day has one.
func (l *Log) Left(waiting []Waiting, today, by Day) ([]Waiting, error) {
	day := today
	if l.follows.last != "" {
		day = l.follows.last.Add(1)
	}
	fresh := map[hash]bool{}
	for ; day <= by && len(waiting) > 0; day = day.Add(1) {
		plan, _ := l.follows.plan(day)
		for i := range plan.Classes() {
			var err error
			if _, waiting, err = l.follows.place(waiting, plan, i, day, fresh); err != nil {
				return nil, err
			}
		}
	}
	return waiting, nil
}

// list is hashes as an entry has them.
func list(of []hash) []grant.Commitment {
	slices.SortFunc(of, hash.compare)
	out := make([]grant.Commitment, len(of))
	for i, h := range of {
		out[i] = h.commitment()
	}
	return out
}

// status is what became of a real release; of a dummy there is none.
func (m *maker) status(h hash) (s Status, real bool) {
	if m.load.Real != nil {
		s, real = m.load.Real(h.commitment())
	}
	s.Exported = s.Exported || s.PassedOn
	s.Used = s.Used || s.Exported
	return s, real
}

// settle returns k of the pool: those real ones of which it is true, and as many dummies as are missing.
func (m *maker) settle(what string, c *cohort, pool []hash, k int, is func(Status) bool) ([]hash, error) {
	var out, dummies []hash
	for _, h := range pool {
		switch s, real := m.status(h); {
		case !real:
			dummies = append(dummies, h)
		case is(s):
			out = append(out, h)
		}
	}
	missing := k - len(out)
	if missing < 0 || missing > len(dummies) {
		return nil, consent.Refuse(consent.OffSchedule, what, "of the commitments of %s kept %d days %d are to be %s; %d real ones are, and %d are dummies",
			dayOf(c.day), c.class.KeepDays, k, what, len(out), len(dummies))
	}
	chosen, err := m.choose(m.random, dummies, missing)
	return append(out, chosen...), err
}

// changes states what falls on the day.
func (m *maker) changes(d *Daily) error {
	var used, exported, passed, deleted []hash
	for _, c := range m.cohorts {
		if c.split() == m.day {
			u, err := m.settle("used", c, c.members, c.class.Used, func(s Status) bool { return s.Used })
			if err != nil {
				return err
			}
			for _, h := range u {
				m.used[h] = true
			}
			used = append(used, u...)
		}
		if c.end() == m.day {
			pool := slices.DeleteFunc(slices.Clone(c.members), func(h hash) bool { return !m.fates[h].used && !m.used[h] })
			x, err := m.settle("exported", c, pool, c.class.Exported, func(s Status) bool { return s.Exported })
			if err != nil {
				return err
			}
			p, err := m.settle("passed_on", c, x, c.class.PassedOn, func(s Status) bool { return s.PassedOn })
			if err != nil {
				return err
			}
			exported, passed = append(exported, x...), append(passed, p...)
		}
		if c.split() == m.day || c.end() == m.day {
			deleted = append(deleted, m.deletions(c, func(due int) bool { return due == m.day })...)
		}
	}
	d.Used, d.Exported, d.PassedOn, d.Deleted = list(used), list(exported), list(passed), list(deleted)
	return nil
}

// deletions are those of a cohort that were due when due says, and have come to pass.
func (m *maker) deletions(c *cohort, due func(int) bool) (all []hash) {
	for _, h := range c.members {
		x := m.fates[h]
		x.used = x.used || m.used[h]
		if x.deleted != 0 || !due(x.due()) {
			continue
		}
		if s, real := m.status(h); !real || s.Deleted {
			all = append(all, h)
		}
	}
	return all
}

// backlog states deletions that could not be stated when they were due, as many as there is room for.
func (m *maker) backlog(d *Daily) error {
	var late []hash
	for _, c := range m.cohorts {
		if c.split() < m.day && (c.left > c.class.Used || c.end() < m.day) {
			late = append(late, m.deletions(c, func(due int) bool { return due < m.day })...)
		}
	}
	if len(late) == 0 {
		return nil
	}
	text, err := consent.Text(*d)
	if err != nil {
		return err
	}
	const hashText, signature = 64 + len(`"",`), len("\n— ") + 1 + 92 + len("\n")
	room := (consent.MaxNote - len(text) - signature - len(d.Key.Name())) / hashText
	d.Deleted = append(d.Deleted, list(late[:min(max(room, 0), len(late))])...)
	slices.Sort(d.Deleted)
	return nil
}

func (m *maker) messages(d *Daily, count, size int) error {
	d.Messages = [][]byte{}
	for len(d.Messages) < count {
		var msg []byte
		switch {
		case len(m.load.Messages) > 0:
			msg, m.load.Messages = m.load.Messages[0], m.load.Messages[1:]
		case m.load.Dummy != nil:
			var err error
			if msg, err = m.load.Dummy(); err != nil {
				return fmt.Errorf("making a daily entry: a dummy message: %w", err)
			}
		default:
			msg = make([]byte, size)
			if _, err := io.ReadFull(m.random, msg); err != nil {
				return fmt.Errorf("making a daily entry: no randomness: %w", err)
			}
		}
		if len(msg) != size {
			return consent.Refuse(consent.BadValue, "messages", "a message of %d bytes; the charter has %d", len(msg), size)
		}
		d.Messages = append(d.Messages, msg)
	}
	slices.SortFunc(d.Messages, slices.Compare)
	return nil
}
