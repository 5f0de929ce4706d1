package home

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/rules"
	"github.com/porchlight-mesh/porchlight/node"
)

// hidesBy says why a home of those settings does not show a request, or "".
func (h *Home) hidesBy(c node.HomeConfig, r node.Request) string {
	a, ok := h.peer.Agency(r.Agency)
	if !ok {
		return "the charter does not admit the agency"
	}
	_, why := rules.Show(h.peer.Charter(), a, r.Body, c.Strictness())
	return why
}

// decide is what the switches of those settings do with a request at some moment.
func (h *Home) decide(c node.HomeConfig, r node.Request, at time.Time) (rules.Action, string) {
	return rules.Decide(c.Switches, h.asker(r), r.Body, h.local(c, at))
}

// asker is what dockets and papers say of who made a request.
func (h *Home) asker(r node.Request) rules.Asker {
	a, _ := h.peer.Agency(r.Agency) // hidesBy has asked; the zero class is on no list
	return rules.Asker{Class: a.Class, Exigent: h.peer.ExigentCounts(r.Agency), Breaches: h.peer.AnyBreach(r.Agency)}
}

// local is a moment as the owner's clock shows it.
func (h *Home) local(c node.HomeConfig, at time.Time) time.Time {
	return c.Zone.In(at.In(h.peer.Now().Location()))
}

// action is what is done with a live request now. An answer is the owner's own decision and outranks the
// switches.
func (h *Home) action(r node.Request) rules.Action {
	c := h.peer.Config.Home
	now, _ := h.decide(c, r, h.peer.Now())
	item, ok := h.itemOf(r.ID)
	if !ok {
		return now
	}
	if item.State == "approved" {
		return max(now, item.Action, rules.Tell)
	}
	return max(now, rules.Stays(c.Switches, h.asker(r), r.Body, item.Action))
}

// forget undoes what was done for a request before the switches came to ignore it. What its owner decided
// stays on record.
func (h *Home) forget(ctx context.Context, r node.Request) error {
	h.release(ctx, r)
	h.mu.Lock()
	defer h.mu.Unlock()
	item := h.inbox[r.ID]
	if item == nil || item.Held || item.Action == rules.Ignore {
		return nil
	}
	item.Action = rules.Ignore
	if err := h.dropDrafts(item); err != nil || item.State != "new" || h.answered(r.ID, func(*Answer) bool { return true }) {
		return err
	}
	delete(h.inbox, r.ID)
	return h.disk().Remove(h.peer.State.Path("inbox", string(r.ID)+".json"))
}

// Rules is the answer of "home.rules": the owner's settings, as they are when the node starts.
type Rules struct {
	rules.Strictness
	Switches []rules.Switch `json:"switches"`
}

func (h *Home) showRules(context.Context, struct{}) (Rules, error) {
	c := h.peer.Config.Home
	return Rules{c.Strictness(), c.Switches}, nil
}

// RulesTest is the arguments of "home.rules.test".
type RulesTest struct {
	Config string    `json:"config,omitempty"` // another config.toml, absolute; empty: the one this home has
	Since  time.Time `json:"since,omitzero"`   // only requests made at or after it
}

// Replayed is a request of the past or present and what the rules do with it.
type Replayed struct {
	Request consent.RequestID `json:"request"`
	Created time.Time         `json:"created"`
	Expires time.Time         `json:"expires"`
	Live    bool              `json:"live"`
	Agency  string            `json:"agency"`
	Class   string            `json:"class"`
	Case    string            `json:"case"`
	Offence string            `json:"offence"`
	Basis   string            `json:"basis"`
	Outcome
	Before  *Outcome  `json:"before,omitempty"` // with another config: what the present one does
	Cameras []Matched `json:"cameras"`          // those offered that see the place, and what they still have of the window
}

// Outcome is what is done with a request and why. "not shown" is the charter's word, the docket's or this
// home's strictness; "no camera" means that no offered one sees the place. Else it is the word of the
// switches, at the time the request was made and, where hours only put it off, later.
type Outcome struct {
	Done  string    `json:"done"` // not shown, no camera, ignored, held, told, prepared
	Why   string    `json:"why"`
	Then  string    `json:"then,omitempty"`
	After time.Time `json:"after,omitzero"` // when
}

// testRules judges every request in this home's dockets by the rules, on which nothing is changed. Charter,
// breach records, cameras and recordings are those of now, the hour is that at which the request was made.
func (h *Home) testRules(ctx context.Context, a RulesTest) ([]Replayed, error) {
	now := h.peer.Config.Home
	try := now
	if a.Config != "" {
		if _, err := os.Stat(a.Config); err != nil {
			return nil, err // a node without the file has the default settings, a rehearsal has none
		}
		c, err := node.ReadConfig(a.Config, node.Home)
		if err != nil {
			return nil, err
		}
		try = c.Home
	}
	out := []Replayed{}
	for _, w := range h.peer.EveryRequest() {
		r := w.Request
		if r.Body.Created.Before(a.Since) {
			continue
		}
		agency, _ := h.peer.Agency(r.Agency)
		p := Replayed{Request: r.ID, Created: r.Body.Created.Time, Expires: r.Body.Expires.Time, Live: r.Live(h.peer.Now()), Agency: r.Name,
			Class: string(agency.Class), Case: r.Body.Case, Offence: r.Body.Offence.Title(), Basis: string(r.Body.Basis), Cameras: []Matched{}}
		cameras := h.seeing(r)
		_, found, err := h.footage(ctx, cameras, r)
		if err != nil {
			return nil, err
		}
		for _, c := range cameras {
			m := Matched{Camera: c}
			if i := slices.IndexFunc(found, func(f Matched) bool { return f.Camera == c }); i >= 0 {
				m = found[i]
			}
			p.Cameras = append(p.Cameras, m)
		}
		p.Outcome = h.replay(try, w, len(cameras) > 0)
		if a.Config != "" {
			before := h.replay(now, w, len(cameras) > 0)
			p.Before = &before
		}
		out = append(out, p)
	}
	return out, nil
}

var done = [...]string{rules.Ignore: "ignored", rules.Hold: "held", rules.Tell: "told", rules.Prepare: "prepared"}

func (h *Home) replay(c node.HomeConfig, w node.Weighed, seen bool) Outcome {
	if w.Barred != nil {
		return Outcome{Done: "not shown", Why: w.Barred.Error()}
	}
	if why := h.hidesBy(c, w.Request); why != "" {
		return Outcome{Done: "not shown", Why: why}
	}
	if !seen {
		return Outcome{Done: "no camera", Why: "no camera you offered sees the place"}
	}
	made := w.Body.Created.Time
	action, why := h.decide(c, w.Request, made)
	o := Outcome{Done: done[action], Why: why}
	for _, t := range rules.Turns(c.Switches, h.local(c, made)) {
		if later, _ := h.decide(c, w.Request, t); later > action && t.Before(w.Body.Expires.Time) {
			action, o.Then, o.After = later, done[later], t.UTC()
		}
	}
	return o
}
