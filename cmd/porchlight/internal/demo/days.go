package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// day lets the story's calendar go on to a day. The agency's node is off meanwhile: what it missed it makes up for, once its witnesses have told
// it that its clock is right.
func (s *story) day(ctx context.Context, n int) error {
	if err := s.level(ctx); err != nil {
		return err
	}
	s.stop("agency")
	if err := os.WriteFile(s.path("calendar"), []byte(strconv.Itoa(n)+"\n"), 0o644); err != nil {
		return err
	}
	time.Sleep(2 * lookEvery) // until all have looked
	return s.run("agency", "agency")
}

// days lets the calendar go on to one day after the other, and on each until the observer has all of the docket's daily entries.
func (s *story) days(ctx context.Context, all ...int) error {
	for _, n := range all {
		if err := s.day(ctx, n); err != nil {
			return err
		}
		if err := s.until(ctx, "the docket's daily entries", func() (bool, error) {
			all, err := s.agencies(ctx, "observer")
			return err == nil && len(all) == 1 && all[0].Promises.Silent == "", err
		}); err != nil {
			return err
		}
	}
	return nil
}

// level waits until all have the whole docket: what is known to be longer than what anybody gives counts as withheld a quarter of an hour
// later, and the calendar turns over weeks at once.
func (s *story) level(ctx context.Context) error {
	return s.until(ctx, "all to have the docket", func() (bool, error) {
		size := int64(-1)
		for _, name := range append([]string{"agency", "observer", "steward", "steward2"}, dirs()...) {
			all, err := s.agencies(ctx, name)
			if err != nil || len(all) != 1 || size >= 0 && all[0].Entries != size {
				return false, err
			}
			size = all[0].Entries
		}
		return true, nil
	})
}

// stands waits until what an owner gave stands so.
func (s *story) stands(ctx context.Context, dir string, want home.Stand) (p home.Promise, err error) {
	err = s.until(ctx, dir+"'s clip to be "+string(want), func() (bool, error) {
		var all []home.Promise
		if err := s.do(ctx, &all, "home", "given", "--dir", dir); err != nil || len(all) != 1 {
			return false, err
		}
		p = all[0]
		return p.State == want, nil
	})
	return p, err
}

// pass lets weeks pass: the deadline comes, the key dies, and the docket says so.
func (s *story) pass(ctx context.Context) error {
	if err := s.day(ctx, 3); err != nil {
		return err
	}
	p, err := s.stands(ctx, "ana", home.StandPromised)
	if err != nil {
		return err
	}
	s.say(Step{Step: "promised", Text: fmt.Sprintf("Three days later. The docket now holds, among dummies, the promise to delete Ana's clip by %s. Nobody but her node and the agency can tell which it is.", p.Due),
		Command: line("home", "given", "--dir", "ana"), Data: p})
	if err := s.days(ctx, 18, 34); err != nil {
		return err
	}
	var held []agency.Held
	if err := s.until(ctx, "the key to die", func() (bool, error) {
		err := s.do(ctx, &held, "agency", "vault", "--dir", "agency")
		return len(held) == 1 && held[0].State == "deleted", err
	}); err != nil {
		return err
	}
	s.say(Step{Step: "deadline", Text: "After thirty days the agency's node destroyed the key and the blocks by itself, once its witnesses had told it that its clock is right. What is left cannot be read.",
		Command: line("agency", "vault", "--dir", "agency"), Data: held})
	if p, err = s.stands(ctx, "ana", home.StandDeleted); err != nil {
		return err
	}
	all, err := s.agencies(ctx, "observer")
	if err != nil {
		return err
	}
	s.say(Step{Step: "deleted", Text: fmt.Sprintf("The docket says so, in the entry of %s. The observer, who knows nothing of Ana, sees that all that is due is said: %s.", p.Docket.Deleted, all[0].Promises.Deletions()),
		Command: line("observe", "overdue", "--dir", "observer"), Data: all[0].Promises})
	return s.cheat(ctx)
}

func (s *story) agencies(ctx context.Context, dir string) (all []node.AgencyStatus, err error) {
	return all, s.do(ctx, &all, "agencies", "--dir", dir)
}

// cheat tells the same again with an agency whose node was changed.
func (s *story) cheat(ctx context.Context) error {
	asked, err := s.request(ctx, "again.draft")
	if err != nil {
		return err
	}
	id := string(asked.Request)
	if err := s.until(ctx, "Ben's node to match the request", func() (bool, error) {
		var c home.Card
		err := s.do(ctx, &c, "home", "show", id, "--dir", "ben")
		return err == nil && len(c.Cameras) == 1, nil
	}); err != nil {
		return err
	}
	if err := s.do(ctx, nil, "home", "approve", id, "--dir", "ben", "--camera", "driveway", "--from", askFrom, "--until", askUntil, "--retention-days", "30", "--faces-visible", "--yes"); err != nil {
		return err
	}
	if _, err := s.stands(ctx, "ben", home.StandHeld); err != nil {
		return err
	}
	s.say(Step{Step: "again", Text: "The police ask a second time, which is the last for this case. Now Ben agrees. But somebody changed the police's node: it keeps Ben's clip for ever.",
		Command: line("home", "approve", id[:12], "--dir", "ben", "--camera", "driveway", "--retention-days", "30", "--faces-visible")})
	if err := s.day(ctx, 36); err != nil {
		return err
	}
	if _, err := s.stands(ctx, "ben", home.StandPromised); err != nil {
		return err
	}
	if err := s.change(ctx, id); err != nil {
		return err
	}
	if err := s.days(ctx, 54, 72); err != nil {
		return err
	}
	p, err := s.stands(ctx, "ben", home.StandOverdue)
	if err != nil {
		return err
	}
	var late []node.AgencyOverdue
	if err := s.do(ctx, &late, "observe", "overdue", "--dir", "observer"); err != nil {
		return err
	}
	if len(late) != 1 || len(late[0].Overdue) != 1 {
		return fmt.Errorf("the observer sees %+v, one deletion is overdue", late)
	}
	s.say(Step{Step: "overdue", Text: "The day comes and the docket does not say that Ben's clip is gone. The observer sees one promise that is overdue and not whose; Ben's node knows that it is his: " + p.Words + ".",
		Command: line("observe", "overdue", "--dir", "observer"), Data: late})
	if err := s.do(ctx, nil, "home", "breach", p.Release, "--dir", "ben", "--publish", "--yes"); err != nil {
		return err
	}
	for _, name := range append([]string{"observer"}, dirs()...) {
		if err := s.until(ctx, "the breach record to reach "+name, func() (bool, error) {
			all, err := s.agencies(ctx, name)
			return err == nil && len(all) == 1 && all[0].Promises.BreachesStand == 1, err
		}); err != nil {
			return err
		}
	}
	s.say(Step{Step: "breach", Text: "Ben decides to show it. The record goes over both stewards, as his clip did, and opens this one promise. Every home shows it from now on with whatever these police ask, and can refuse on it; nobody learns that it is Ben who was wronged.",
		Command: line("home", "breach", p.Release[:16], "--dir", "ben", "--publish")})
	return nil
}

// change rewrites what the stopped node of the agency has on record of the clip that answers a request, so that it never destroys it.
func (s *story) change(ctx context.Context, request string) error {
	var held []agency.Held
	if err := s.do(ctx, &held, "agency", "vault", "--dir", "agency"); err != nil {
		return err
	}
	if err := s.level(ctx); err != nil {
		return err
	}
	s.stop("agency")
	for _, h := range held {
		if string(h.Request) != request {
			continue
		}
		path := s.path("agency", "vault", string(h.Grant), h.Release+".json")
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var k map[string]any
		if err := json.Unmarshal(b, &k); err != nil {
			return err
		}
		k["used"], k["withdrawn"] = true, h.KeyUntil.AddDate(50, 0, 0)
		if b, err = json.Marshal(k); err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o600)
	}
	return fmt.Errorf("the vault has no clip for request %.12s", request)
}
