package agency

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// Deadlines are kept by a time of the node's own, which never goes back (file clock). It follows the machine's clock as long as that
// moves in steps of two hours at most. Where the clock goes further at once, also while the node was off, nobody can tell a night from a
// wrong clock, by which keys would be destroyed before their time. The ratchet goes on behind it by as much, until
//
//   - as many of the charter's witnesses as have to cosign the docket say on a cosignature that the time has come, or
//   - the clock has moved on for 24 hours, while the node ran, without being set back or contradicted by witnesses.
//
// A clock that is set back takes back what was not confirmed of its jumps; for the rest the ratchet stands still until the clock, or
// the witnesses, have come to it. The witnesses raise the ratchet whatever the clock says.
//
// What is past its deadline by the ratchet is destroyed. What is past it by the ratchet or the clock is shown to nobody.

const (
	smallStep  = 2 * time.Hour    // what the clock may go forward at once
	grace      = 24 * time.Hour   // how long it has to move on steadily after more
	clockSaved = 10 * time.Minute // how much of the ratchet's way a crash may take back
	askEvery   = 15 * time.Minute // how often witnesses say the time while the clock is not trusted
)

// A ratchet is the state of the clock.
type ratchet struct {
	Time  time.Time `json:"time"`  // never goes back
	Local time.Time `json:"local"` // the machine's clock when it was last looked at
	Jumps []jump    `json:"jumps"` // that nothing has confirmed so far, the oldest first
}

// A jump is how far the machine's clock went beyond the ratchet at once.
type jump struct {
	By     time.Duration `json:"by"`     // nanoseconds
	Steady time.Duration `json:"steady"` // for how long it has moved on since
}

// behind is what the ratchet follows: the clock without what is not confirmed.
func (r *ratchet) behind() time.Time {
	t := r.Local
	for _, j := range r.Jumps {
		t = t.Add(-j.By)
	}
	return t
}

func (r *ratchet) raise(t time.Time) {
	if t.After(r.Time) {
		r.Time = t
	}
}

// tick looks at the machine's clock.
func (r *ratchet) tick(local time.Time) {
	local = local.UTC().Round(0)
	if r.Local.IsZero() {
		*r = ratchet{Time: local, Local: local}
		return
	}
	step := local.Sub(r.Local)
	r.Local = local
	switch {
	case step < 0:
		for back := -step; back > 0 && len(r.Jumps) > 0; {
			last := &r.Jumps[len(r.Jumps)-1]
			d := min(back, last.By)
			last.By, last.Steady, back = last.By-d, 0, back-d
			if last.By == 0 {
				r.Jumps = r.Jumps[:len(r.Jumps)-1]
			}
		}
	case step <= smallStep:
		for i := range r.Jumps {
			r.Jumps[i].Steady += step
		}
		if n := len(r.Jumps); n > 0 {
			if r.Jumps = slices.DeleteFunc(r.Jumps, func(j jump) bool { return j.Steady >= grace }); len(r.Jumps) < n {
				r.raise(r.behind())
			}
		}
	}
	if ahead := r.behind().Sub(r.Time); ahead > smallStep {
		r.Jumps = append(r.Jumps, jump{By: ahead})
	}
	r.raise(r.behind())
}

// confirm takes in a time of which enough witnesses say that it has come; now says that they said so just now.
func (r *ratchet) confirm(t time.Time, now bool) {
	t = t.UTC()
	if t.IsZero() || r.Local.IsZero() {
		return
	}
	if r.Local.Sub(t) <= smallStep {
		r.Jumps = nil
	}
	// What is not confirmed is no more than what the clock is ahead of that time.
	for known := t.Sub(r.behind()); known > 0 && len(r.Jumps) > 0; {
		d := min(known, r.Jumps[0].By)
		r.Jumps[0].By, known = r.Jumps[0].By-d, known-d
		if r.Jumps[0].By == 0 {
			r.Jumps = r.Jumps[1:]
		}
	}
	// And what witnesses deny is no less.
	if now && r.Local.Sub(t) > smallStep {
		denied := jump{By: max(r.behind().Sub(t), 0)}
		for _, j := range r.Jumps {
			denied.By += j.By
		}
		r.Jumps = []jump{denied}
	}
	r.raise(r.behind())
	r.raise(t)
}

// trouble says what is wrong with the machine's clock, and what helps; "" where nothing is.
func (r *ratchet) trouble(quorum int) (text, hint string) {
	const day = "2006-01-02 15:04 UTC"
	if lag := r.Local.Sub(r.Time); len(r.Jumps) > 0 && lag > smallStep {
		// The newest jump is the last to be believed.
		left := grace - r.Jumps[len(r.Jumps)-1].Steady
		text = fmt.Sprintf("this machine's clock, %s, is %s ahead of the time that deadlines are kept by: it was set forward, or the node was off, "+
			"and nothing is destroyed by it yet", r.Local.Format(day), lag.Round(time.Minute))
		hint = fmt.Sprintf("set the clock right if it is wrong; otherwise keep the node running: the clock is believed after %s more", left.Round(time.Minute))
		if quorum > 0 {
			hint += ", or when the charter's witnesses cosign"
		}
		return text, hint
	}
	if ahead := r.Time.Sub(r.Local); ahead > smallStep {
		return fmt.Sprintf("this machine's clock, %s, is %s behind the time that deadlines are kept by, which never goes back",
				r.Local.Format(day), ahead.Round(time.Minute)),
			"set the clock right; if it was wrong before and is right now, deadlines stand still until it has come there"
	}
	return "", ""
}

// clock is the ratchet on the disk.
type clock struct {
	disk durable.Disk
	path string

	mu    sync.Mutex
	at    ratchet
	saved ratchet
}

// openClock reads the ratchet; where there is none, as in a new folder, the first tick begins one.
func openClock(disk durable.Disk, path string) (*clock, error) {
	c := &clock{disk: disk, path: path}
	err := node.ReadJSON(path, &c.at)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, node.WithHint(err, "restore it from a backup; without the file deadlines are kept by this machine's clock alone from now on, so look at that before")
	}
	c.saved = c.at.clone()
	return c, nil
}

func (r ratchet) clone() ratchet {
	r.Jumps = slices.Clone(r.Jumps)
	return r
}

// change lets f change the ratchet, and stores it where it went on for long enough, or in another way than the clock's.
func (c *clock) change(f func(*ratchet)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.at)
	same := len(c.at.Jumps) == len(c.saved.Jumps)
	for i := 0; same && i < len(c.at.Jumps); i++ {
		same = c.at.Jumps[i].By == c.saved.Jumps[i].By && c.at.Jumps[i].Steady >= c.saved.Jumps[i].Steady
	}
	if same && c.at.Time.Sub(c.saved.Time) < clockSaved && c.at.Local.Sub(c.saved.Local).Abs() < clockSaved {
		return nil
	}
	if err := node.WriteJSON(c.disk, c.path, c.at); err != nil {
		return err
	}
	c.saved = c.at.clone()
	return nil
}

// now is the ratchet's time.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.Time
}

// waits says that the machine's clock is not trusted.
func (c *clock) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at.Jumps) > 0 || c.at.Time.Sub(c.at.Local) > smallStep
}

func (c *clock) trouble(quorum int) (text, hint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.trouble(quorum)
}

// now is the time that keys are destroyed and days are counted by.
func (a *Agency) now() time.Time { return a.clock.now() }

// late is the time that access is refused by: the ratchet's or the machine's, whichever is later.
func (a *Agency) late() time.Time {
	t := a.peer.Now()
	if r := a.clock.now(); r.After(t) {
		return r
	}
	return t
}

// tick looks at the clock, and does what is done every minute whether or not there is a network.
func (a *Agency) tick() error {
	var reached time.Time
	if d := a.peer.Docket(a.agency); d != nil {
		reached = d.Reached()
	}
	return errors.Join(a.clock.change(func(r *ratchet) {
		r.tick(a.peer.Now())
		r.confirm(reached, false)
	}), a.expire())
}

// witnessed takes in a time that enough witnesses have just said.
func (a *Agency) witnessed(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return a.clock.change(func(r *ratchet) {
		r.tick(a.peer.Now())
		r.confirm(t, true)
	})
}

// askTime asks the witnesses for the time while the clock is not trusted.
func (a *Agency) askTime(ctx context.Context) error {
	now := a.peer.Now()
	_, d, err := a.self()
	if err != nil || !a.clock.waits() || now.Sub(a.asked).Abs() < askEvery {
		return nil // Run has said why there is no docket
	}
	ctx, cancel := context.WithTimeout(ctx, gatherFor)
	defer cancel()
	t, missing := a.peer.WitnessedTime(ctx, d)
	if t.IsZero() {
		a.peer.Log.Debug("too few witnesses said the time", "err", missing)
		return nil
	}
	a.asked = now
	err = errors.Join(a.witnessed(t), a.expire())
	select {
	case a.dated <- struct{}{}:
	default:
	}
	return err
}

// ClockStatus is the answer to "agency.clock": what is wrong with this machine's clock.
type ClockStatus struct {
	Time    time.Time `json:"time"` // that deadlines are kept by
	Problem string    `json:"problem,omitempty"`
	Hint    string    `json:"hint,omitempty"`
}

func (a *Agency) clockStatus(context.Context, struct{}) (ClockStatus, error) {
	s := ClockStatus{Time: a.now()}
	quorum := 0
	if _, d, err := a.self(); err == nil {
		_, quorum = d.Witnesses()
	}
	s.Problem, s.Hint = a.clock.trouble(quorum)
	return s, nil
}
