package agency

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// A machine has a true time, and a clock that is wrong by some amount.
type machine struct {
	ratchet
	now   time.Time
	wrong time.Duration
}

func newMachine() *machine {
	m := &machine{now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	m.look()
	return m
}

func (m *machine) look() { m.tick(m.now.Add(m.wrong)) }

// runs lets the node run for so long, looking at the clock every ten minutes.
func (m *machine) runs(t time.Duration) {
	for end := m.now.Add(t); m.now.Before(end); {
		m.now = m.now.Add(10 * time.Minute)
		m.look()
	}
}

// off lets time go by without the node.
func (m *machine) off(t time.Duration) {
	m.now = m.now.Add(t)
	m.look()
}

// lags is how far the ratchet is behind the true time.
func (m *machine) lags() time.Duration { return m.now.Sub(m.Time) }

func (m *machine) wants(t *testing.T, when string, lag time.Duration, trouble string) {
	t.Helper()
	text, hint := m.trouble(2)
	if m.lags() != lag || !strings.Contains(text, trouble) || (text == "") != (trouble == "") || (hint == "") != (text == "") {
		t.Errorf("%s: it lags by %s, want %s: %q", when, m.lags(), lag, text)
	}
}

func TestTheClockIsBelievedInSmallSteps(t *testing.T) {
	m := newMachine()
	m.runs(50 * time.Hour)
	m.wants(t, "running", 0, "")
	m.off(2 * time.Hour)
	m.wants(t, "two hours off", 0, "")
	m.off(12 * time.Hour)
	m.wants(t, "a night off", 12*time.Hour, "ahead of the time")
	m.runs(23 * time.Hour)
	m.wants(t, "a day on", 12*time.Hour, "ahead of the time")
	m.runs(time.Hour)
	m.wants(t, "a whole day on", 0, "")
	for range 10 {
		m.off(12 * time.Hour)
		m.runs(12 * time.Hour)
	}
	m.wants(t, "off every night", 12*time.Hour, "ahead of the time")
	m.runs(24 * time.Hour)
	m.wants(t, "and then on", 0, "")
}

func TestAWrongClockIsNotBelieved(t *testing.T) {
	m := newMachine()
	m.runs(5 * time.Hour)
	m.wrong = 24 * time.Hour
	m.runs(23 * time.Hour)
	m.wants(t, "set forward", 10*time.Minute, "ahead of the time") // the step itself is not told from the jump
	m.wrong = 0
	m.runs(time.Hour)
	if m.lags() < 0 || m.lags() > 20*time.Minute {
		t.Errorf("set right again, it lags by %s", m.lags())
	}
	m.runs(24 * time.Hour)
	m.wants(t, "a day later", 0, "")
	m.wrong = -24 * time.Hour
	m.runs(3 * time.Hour)
	m.wants(t, "set back", 3*time.Hour, "behind the time")
	m.wrong = 0
	m.runs(3 * time.Hour)
	if m.lags() < 0 || m.lags() > 3*time.Hour+10*time.Minute {
		t.Errorf("set right again, it lags by %s", m.lags())
	}
	m.runs(25 * time.Hour)
	m.wants(t, "a day later", 0, "")
	// Nobody says that it is wrong.
	m.wrong = 24 * time.Hour
	m.runs(25 * time.Hour)
	m.wants(t, "set forward for longer than the grace", -24*time.Hour, "")
}

func TestWitnessesSettleIt(t *testing.T) {
	m := newMachine()
	m.off(40 * 24 * time.Hour)
	m.confirm(m.now.Add(-5*time.Second), true)
	m.wants(t, "confirmed", 0, "")
	m.wrong = 24 * time.Hour
	for range 10 {
		m.runs(20 * time.Hour)
		m.confirm(m.now, true)
	}
	m.wants(t, "contradicted again and again", 0, "ahead of the time")
	m.wrong = 0
	m.runs(10 * time.Minute)
	m.wants(t, "set right", 10*time.Minute, "")
	m.runs(24 * time.Hour)
	m.wants(t, "a day later", 0, "")
	m.wrong = -24 * time.Hour
	m.runs(20 * time.Hour)
	m.confirm(m.now.Add(-time.Second), true)
	m.wants(t, "set back, and witnesses say the time", time.Second, "behind the time")
	m.wrong = 0
	m.runs(time.Hour)
	m.wants(t, "set right", 0, "")
	// What they said long ago proves that the time has come, and nothing against the clock.
	m.off(5 * time.Hour)
	m.confirm(m.now.Add(-4*time.Hour), false)
	m.wants(t, "an old cosignature", 4*time.Hour, "ahead of the time")
	m.runs(24 * time.Hour)
	m.wants(t, "a day later", 0, "")
}

// Whatever the clock does, the ratchet never goes back; and with jumps of over two hours that are set right within the grace it is never
// ahead of the true time.
func TestTheRatchet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		for range rapid.IntRange(1, 12).Draw(t, "events") {
			last := m.Time
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				m.runs(time.Duration(rapid.IntRange(1, 60).Draw(t, "hours")) * time.Hour)
			case 1:
				m.off(time.Duration(rapid.IntRange(1, 100).Draw(t, "off")) * time.Hour)
			case 2:
				m.wrong = time.Duration(rapid.SampledFrom([]int{-24, -3, 3, 24}).Draw(t, "wrong")) * time.Hour
				m.runs(time.Duration(rapid.IntRange(1, 23).Draw(t, "for")) * time.Hour)
				m.wrong = 0
				m.look()
			case 3:
				m.confirm(m.now.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "said"))*time.Hour), rapid.Bool().Draw(t, "now"))
			}
			if m.Time.Before(last) {
				t.Fatalf("it went back from %s to %s", last, m.Time)
			}
			if m.lags() < 0 {
				t.Fatalf("it is %s ahead", -m.lags())
			}
		}
		m.runs(200 * time.Hour)
		if m.lags() != 0 || len(m.Jumps) > 0 {
			t.Fatalf("in the end it lags by %s", m.lags())
		}
	})
}

func TestTheRatchetIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	open := func() *clock {
		c, err := openClock(durable.Disk{}, path)
		ok(t, err)
		return c
	}
	c := open()
	look := func(d time.Duration) {
		now = now.Add(d)
		ok(t, c.change(func(r *ratchet) { r.tick(now) }))
	}
	look(0)
	look(12 * time.Hour)
	for range 26 * 6 { // restarted every ten minutes, it comes through the grace all the same
		look(10 * time.Minute)
		c = open()
	}
	if c.now() != now || c.waits() {
		t.Errorf("it lags by %s", now.Sub(c.now()))
	}
	look(time.Minute)
	if again := open(); now.Sub(again.now()) > clockSaved {
		t.Errorf("a crash took back %s", now.Sub(again.now()))
	}
	ok(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err := openClock(durable.Disk{}, path)
	wants(t, err, "is damaged")
}
