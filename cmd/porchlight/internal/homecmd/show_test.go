package homecmd

import (
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/node"
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
		if got := inboxState(c, time.Now()); got != "approved, "+s.State+": "+string(r) {
			t.Errorf("the inbox says %q", got)
		}
	}
	old := home.Card{Item: home.Item{State: "new"}, Expires: time.Now()}
	if got := inboxState(old, old.Expires); !strings.HasPrefix(got, "not answered") || !strings.HasPrefix(inboxState(old, old.Expires.Add(-1)), "new") {
		t.Errorf("of a request that is over the inbox says %q", got)
	}
	seen := map[string]bool{}
	for _, r := range home.Reasons() {
		if seen[r.Words()] || (r.Words() == home.Reason("?").Words()) != (r == home.Trouble) {
			t.Errorf("%s has no words of its own: %q", r, r.Words())
		}
		seen[r.Words()] = true
	}
}

// What the docket does not keep stands on the card, and where all is well how punctual it is.
func TestTheCardShowsWhatIsNotKept(t *testing.T) {
	a := &app{&cli.App{Now: time.Now}}
	good := node.Promises{Tally: docket.Tally{Committed: 32, OnTime: 20}, LastDaily: "2026-11-22"}
	bad := good
	bad.Overdue, bad.Unaccounted, bad.Holds, bad.Covered, bad.BreachesStand = 5, 3, 1, 2, 3
	for want, p := range map[string]node.Promises{
		"their deletions   32 promised; 20 said in time, 0 late, 0 overdue\n": good,
		"their deletions   owners showed 3 times that the docket does not keep what was signed about a clip's deletion; 3 of 32 deletions overdue and under no hold\n" +
			"their holds       1 live, over 2 releases; renewed 0 times so far\n": bad,
	} {
		var out strings.Builder
		if err := a.writeCard(&out, home.Card{Promises: p}); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// Before an owner is asked whether a clip may leave they see how it goes, and what is held against those that get it.
func TestWhatApprovingMeansIsShown(t *testing.T) {
	for want, show := range map[string]struct {
		c  home.Card
		ap home.Approve
	}{
		"goes              over two stewards, neither of whom sees both ends":         {},
		"goes              straight: they will see this home's internet (IP) address": {ap: home.Approve{AddressShown: true}},
		"HELD AGAINST THEM  owners showed once that the docket does not keep":         {c: home.Card{Promises: node.Promises{BreachesStand: 1}}},
	} {
		var out strings.Builder
		a := &app{&cli.App{Now: time.Now, Err: &out}}
		a.writeConsequences(show.c, show.ap)
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	// The card says what owners showed of this request itself.
	var out strings.Builder
	a := &app{&cli.App{Now: time.Now}}
	if err := a.writeCard(&out, home.Card{Breaches: []node.Breach{{Fault: "missing", Due: "2026-12-06", Stands: true}}}); err != nil ||
		!strings.Contains(out.String(), "breach shown by an owner") {
		t.Error(out.String())
	}
}

// Who lets an agency do more with a clip is warned where it is overdue or gone; what was broken before stands beside how it stands now.
func TestAnOwnerIsWarnedBeforeTheyLetMore(t *testing.T) {
	for _, tc := range []struct {
		p    home.Promise
		want string
	}{
		{home.Promise{State: home.StandPromised}, ""},
		{home.Promise{State: home.StandOverdue}, "`porchlight home breach` comes first"},
		{home.Promise{State: home.StandOverdue, Breach: "public"}, "do not keep what they signed"},
		{home.Promise{State: home.StandDeleted}, "said to be deleted"},
		{home.Promise{State: home.StandGone}, "said to be deleted"},
	} {
		if got := warning(tc.p); !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
			t.Errorf("%s: %q", tc.p.State, got)
		}
	}
	f := home.Fault{Kind: "overdue", Found: "2026-12-27", Over: "2026-12-30", Breach: "public"}
	if got := standing(home.Promise{State: home.StandPromised, Words: "in the docket", Faults: []home.Fault{f}}); got !=
		"in the docket; BROKEN BEFORE: overdue, found on 2026-12-27, until 2026-12-30; its breach record is public" {
		t.Error(got)
	}
}
