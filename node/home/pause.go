package home

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// fail records why an attempt came to nothing and when the next one is, or that there is none. It
// returns cause, with what could not be recorded.
func (h *Home) fail(id string, cause error) error {
	reason, now := reasonOf(cause), h.peer.Now().UTC()
	if reason == RecordingGone || reason == RecordingChanged {
		h.wake() // the library looks at what is there now
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.answers[id]
	if !a.open() {
		return cause
	}
	next := a.copy()
	next.Attempts++
	next.Problem = strings.ReplaceAll(cause.Error(), "\n", "; ")
	next.NotBefore = now.Add(backOff(next.Attempts))
	if h.pathFailed(&next, reason) {
		reason = PathsUsed
	}
	news := next.Reason != reason
	if news {
		next.Reason, next.Since = reason, now
	}
	if next.State == "sending" {
		next.State = "waiting"
	}
	what := "paused"
	if reason.Over() {
		what = "stopped"
		next.State = "failed"
		if reason == RequestOver {
			next.State = "expired"
		}
		return errors.Join(cause, h.stepLocked(id, a.State, next.State, func(a *Answer) error { *a = next; return nil }), h.noteLocked(a, what, reason))
	}
	// It lets nothing go on, so it counts also where the disk takes no record of it.
	*a = next
	err := h.record(a)
	if news {
		err = errors.Join(err, h.noteLocked(a, what, reason))
	}
	return errors.Join(cause, err)
}

func (h *Home) noteLocked(a *Answer, what string, reason Reason) error {
	return h.ledger.Note("node", what, string(a.Request), fmt.Sprintf("answer %s: %s: %s", a.ID, reason, reason.Words()))
}

// goesOn ends what fail began: the answer got further than it had been. A disk that was full has room
// again for what could not be written down then.
func (h *Home) goesOn(a *Answer) error {
	a.Attempts, a.Problem, a.Fails = 0, "", 0
	reason, since := a.Reason, a.Since
	a.Reason, a.Since = "", time.Time{}
	if reason == "" {
		return nil
	}
	detail := fmt.Sprintf("answer %s, after %s since %s", a.ID, reason, since.Format(time.RFC3339))
	if reason == RecordingGone || reason == RecordingChanged {
		detail += "; the clip is made of the recordings that are there now"
	}
	return h.ledger.Note("node", "goes on", string(a.Request), detail)
}

// backOff is how long to wait after the nth failure in a row: a second, then 5 s doubled each time up
// to 15 minutes, with up to half as much again at random. What gets further begins anew, so that a line
// that breaks often costs a second each time.
func backOff(n int) time.Duration {
	d := time.Second
	if n > 1 {
		d = min(5*time.Second<<min(n-2, 10), 15*time.Minute)
	}
	return d + time.Duration(randomBelow(int64(d/2)))
}
