package agency

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
)

// pass lets time go by, in steps that the clock is trusted over, and does what is done every minute.
func (d *desk) pass(t time.Duration) {
	d.Helper()
	for end := d.now.Add(t); d.now.Before(end); {
		d.now = d.now.Add(min(time.Hour, end.Sub(d.now)))
		ok(d, d.agency.tick())
		_, err := d.agency.daily()
		ok(d, err)
	}
}

// log is the docket as anybody reads it.
func (d *desk) log() *docket.Log {
	d.Helper()
	dk := d.agency.peer.Docket(d.agency.agency)
	notes, err := dk.Entries(0, int(dk.Size()))
	ok(d, err)
	chain, err := node.ReadCharter(filepath.Join(d.dir, "charter"))
	ok(d, err)
	l, err := docket.Open(dk.Agency(), d.agency.peer.Charter().Quotas, memory(notes), int64(len(notes)), chain.Plans()...)
	ok(d, err)
	return l
}

type memory [][]byte

func (m memory) Entry(i int64) ([]byte, error) { return m[i], nil }

// open is an answer whose key is here.
func (d *desk) opened(change func(*grant.Grant)) *answer {
	d.Helper()
	a := d.answer(1, change)
	a.send(a.begin(), 99)
	ok(d, a.complete())
	ok(d, a.receiver().Key(a.Context(), a.from, a.root, []byte(a.secret)))
	return a
}

func (a *answer) commitment() grant.Commitment { return a.grant.Releases[0].Commitment() }

// What became of a release stands in the docket, over restarts and days on which the node was off, and once a day something does.
func TestTheDocketFollowsTheVault(t *testing.T) {
	d := newDesk(t)
	unused, used := d.opened(nil), d.opened(nil)
	half := d.answer(3<<20, nil)
	half.send(half.begin(), 1)
	day := func(n int) docket.Day { return docket.DayOf(time.Date(2026, 11, 23+n, 0, 0, 0, 0, time.UTC)) }
	d.pass(36 * time.Hour)
	d.restart()
	d.pass(12 * time.Hour)
	l := d.log()
	if l.LastDaily() < day(1) {
		t.Fatalf("after two days the last entry is that of %q", l.LastDaily())
	}
	d.use(used)
	d.pass(24 * 100 * time.Hour)
	l = d.log()
	if l.LastDaily() < day(101) || l.LastDaily() > day(102) {
		t.Errorf("after 102 days the last entry is that of %q", l.LastDaily())
	}
	for i := range l.Size() {
		if c := l.Refused(i); c != "" {
			t.Errorf("entry %d: %s", i, c)
		}
	}
	for _, row := range []struct {
		a    *answer
		used bool
	}{{unused, false}, {used, true}} {
		f, there := l.Follow(row.a.commitment())
		if !there || (f.Used != "") != row.used || f.Exported != "" || f.Deleted == "" || f.Deleted > f.Due || f.Day < day(1) {
			t.Errorf("used %v: the docket holds it %v: %+v", row.used, there, f)
		}
	}
	if _, there := l.Follow(half.commitment()); there {
		t.Error("the docket follows what no receipt was signed for")
	}
	if late := l.Overdue(day(102)); len(late) > 0 {
		t.Errorf("%d are overdue", len(late))
	}
}

// A docket says its days after a long time off without filling one day of the charter's.
func TestMissedDaysAreMadeUpFor(t *testing.T) {
	d := newDesk(t)
	d.pass(48 * time.Hour)
	first := d.log().LastDaily()
	d.now = d.now.AddDate(0, 0, 70)
	d.restart()
	d.pass(time.Hour)
	d.restart()
	d.pass(26 * time.Hour)
	before := d.log().LastDaily()
	if before > docket.DayOf(d.now.AddDate(0, 0, -5)) {
		t.Errorf("from %s it came to %s at once", first, before)
	}
	d.pass(5 * 24 * time.Hour)
	if last := d.log().LastDaily(); last < docket.DayOf(d.now).Add(-1) {
		t.Errorf("%s: the last entry is that of %s", d.now, last)
	}
}

// Messages come to their owners, and no ciphertext stands in two entries, also where the queue was not written after one, or is that of a backup.
func TestNoCiphertextStandsInTwoEntries(t *testing.T) {
	d := newDesk(t)
	owner, err := age.GenerateX25519Identity()
	ok(t, err)
	to := owner.Recipient().String()
	odd := message{to, strings.Repeat("x", node.MaxMessage(d.agency.peer.Charter().Daily.MessageBytes)+1)}
	all := []message{odd}
	for i := range 6 {
		all = append(all, message{to, fmt.Sprint("note ", i)})
	}
	for _, m := range all {
		ok(t, d.agency.vault.queue(m))
	}
	d.restart()
	for len(d.agency.vault.messages) == len(all) {
		d.pass(time.Hour)
	}
	ok(t, d.agency.vault.saveMessages(all)) // as if the disk had failed, and the node had gone on
	for len(d.agency.vault.messages) > 1 {
		d.pass(time.Hour)
	}
	ok(t, d.agency.vault.saveMessages(all)) // as after a restore
	d.restart()
	d.pass(72 * time.Hour)
	stands, told := map[string]bool{}, map[string]int{}
	dk := d.agency.peer.Docket(d.agency.agency)
	for i := range dk.Size() {
		note, err := dk.Read(i)
		ok(t, err)
		daily, err := docket.OpenDaily(note)
		if err != nil {
			continue
		}
		for _, m := range daily.Messages {
			if stands[string(m)] {
				t.Errorf("the entry of %s has a message that another has", daily.Day)
			}
			stands[string(m)] = true
			if note, err := node.OpenMessage(owner, m); err == nil {
				told[string(note)]++
			}
		}
	}
	for _, m := range all[1:] {
		if told[m.Note] < 2 {
			t.Errorf("%s was told %d times", m.Note, told[m.Note])
		}
	}
	if left := d.agency.vault.messages; !slices.Equal(left, []message{odd}) {
		t.Errorf("%d messages wait", len(left))
	}
}

// The moment does not depend on when the node was started, and is another each day.
func TestTheMomentIsDrawn(t *testing.T) {
	d := newDesk(t)
	days, offsets := map[docket.Day]time.Time{}, map[time.Duration]bool{}
	for range 12 * 24 {
		d.pass(time.Hour) // two moments may lie no further apart
		m := d.agency.moment
		d.restart()
		if at, known := days[m.Day]; known && at != m.At {
			t.Fatal("another moment was drawn for a day")
		}
		days[m.Day] = m.At
		offsets[m.At.Sub(m.At.Truncate(24*time.Hour))] = true
	}
	if len(days) < 12 || len(offsets) < len(days)-1 {
		t.Errorf("of %d days there are %d moments", len(days), len(offsets))
	}
}

// use marks a release as part of its case.
func (d *desk) use(a *answer) {
	d.Helper()
	_, err := d.agency.use(d.Context(), Act{Note: a.act(grant.ActUse, "it shows the car")})
	ok(d, err)
}
