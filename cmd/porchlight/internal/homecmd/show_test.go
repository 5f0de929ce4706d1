package homecmd

import (
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// Whatever an answer stands still for, its owner reads what it is, since when, what comes next and what mends it;
// and no reason lacks its words.
func TestEveryReasonIsExplained(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	a := &app{&cli.App{Now: func() time.Time { return now }}}
	for _, r := range home.Reasons() {
		s := home.AnswerStatus{ID: "c21d694076da5ab6", State: "waiting", Reason: r, Since: now.Add(-3 * time.Hour), NotBefore: now.Add(10 * time.Minute),
			Attempts: 12, Problem: "dial: no route", Releases: []home.ReleaseStatus{{Camera: "door", Blocks: 66, SentBlocks: 30, SealedBytes: 68e6}}}
		if r.Over() {
			s.State = "failed"
		}
		var out strings.Builder
		if err := a.writeAnswers(&out, []home.AnswerStatus{s}); err != nil {
			t.Fatal(err)
		}
		t.Log(out.String())
		want := []string{r.Words(), ": " + string(r), "2026-11-23 05:00:00 UTC", r.WayOut(), "30 of 66", "dial: no route"}
		if !r.Over() {
			want = append(want, "tried again in 10 minutes, after 12 attempts, until the request expires")
		}
		for _, w := range want {
			if w == "" || !strings.Contains(out.String(), w) {
				t.Errorf("%s: no %q in\n%s", r, w, out.String())
			}
		}
		c := home.Card{Item: home.Item{State: "approved"}, Answers: []home.AnswerStatus{s}}
		if got := inboxState(c); got != "approved, "+s.State+": "+string(r) {
			t.Errorf("the inbox says %q", got)
		}
	}
	seen := map[string]bool{}
	for _, r := range home.Reasons() {
		if seen[r.Words()] || (r.Words() == home.Reason("?").Words()) != (r == home.Trouble) {
			t.Errorf("%s has no words of its own: %q", r, r.Words())
		}
		seen[r.Words()] = true
	}
}
