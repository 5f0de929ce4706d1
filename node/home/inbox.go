package home

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/rules"
	"github.com/porchlight-mesh/porchlight/footage/library"
	"github.com/porchlight-mesh/porchlight/node"
)

// An Item is a request in the owner's inbox.
type Item struct {
	Request consent.RequestID `json:"request"`
	Arrived time.Time         `json:"arrived"`
	Cameras []Matched         `json:"cameras"`
	Action  rules.Action      `json:"action"`           // how far the owner's switches let it come: one that is only held is not told
	Drafts  []Draft           `json:"drafts,omitempty"` // what was prepared for approval
	State   string            `json:"state"`            // "new" or "declined"; shown as "approved" where an answer says so
	Held    bool              `json:"held"`             // recordings are kept from roll-off until the request expires
	Reason  string            `json:"reason,omitempty"` // why some recordings are not held: "hold-quota" or "hold-failed"
	Problem string            `json:"problem,omitempty"`

	unsure bool // not all of a withdrawal could be recorded
}

// Matched is a camera whose view touches the request's area and that has recordings of its window.
type Matched struct {
	Camera     library.CameraID `json:"camera"`
	Recordings int              `json:"recordings"`
	From       time.Time        `json:"from"` // of what is recorded, inside the window
	Until      time.Time        `json:"until"`
}

// Card is what the owner reads before deciding.
type Card struct {
	Item
	Agency      string         `json:"agency"`
	Class       string         `json:"class"`
	PolicyURL   string         `json:"policy_url"`
	Case        string         `json:"case"`
	Offence     string         `json:"offence"`
	Basis       string         `json:"basis"`
	Text        string         `json:"text"`
	Contact     string         `json:"contact"`
	From        time.Time      `json:"from"`
	Until       time.Time      `json:"until"`
	Expires     time.Time      `json:"expires"`
	Retention   int            `json:"retention_days"`
	Unused      int            `json:"unused_days"`
	Recipients  []string       `json:"recipients"`
	Resharing   bool           `json:"resharing"`
	AreaM2      float64        `json:"area_m2"`
	Officer     string         `json:"officer"`
	Supervisor  string         `json:"supervisor"`
	Witnessed   bool           `json:"witnessed"`
	EarlierAsks int            `json:"earlier_requests"` // of this agency, known to this node
	Answers     []AnswerStatus `json:"answers"`
	Pending     []Pending      `json:"pending,omitempty"`   // of a household: what too few have approved
	Approvals   int            `json:"approvals,omitempty"` // how many have to
	Ended       string         `json:"ended,omitempty"`

	Objections    []node.Objection    `json:"objections"`
	ReportMissing bool                `json:"report_missing"`   // the agency gave no report in time, so that its emergencies count no more
	Report        *node.Owed          `json:"report,omitempty"` // of a request that claims an emergency
	Outcome       node.Owed           `json:"outcome"`
	Record        node.Tally          `json:"record"` // the agency's
	Standing      node.AgencyStanding `json:"standing"`
	Promises      node.Promises       `json:"promises"` // the agency's, to delete what it was given
	Breaches      []node.Breach       `json:"breaches"` // that owners showed of clips that answered this request
}

// match looks at every live request. What does not match leaves no trace on this node and none
// on the network.
func (h *Home) match(ctx context.Context) {
	now := h.peer.Now()
	for _, r := range h.peer.Requests() {
		if !r.Live(now) {
			h.release(ctx, r)
			continue
		}
		if err := h.matchOne(ctx, r); err != nil && ctx.Err() == nil {
			h.peer.Log.Error("request not matched", "request", string(r.ID), "err", err)
		}
	}
	if _, err := h.library.ExpireHolds(ctx, now); err != nil && ctx.Err() == nil {
		h.peer.Log.Error("expired holds not let go", "err", err)
	}
}

// release ends the silent hold of a request that no longer asks, unless an answer still needs it.
func (h *Home) release(ctx context.Context, r node.Request) {
	h.mu.Lock()
	item := h.inbox[r.ID]
	held := item != nil && item.Held && !h.answered(r.ID, (*Answer).open)
	h.mu.Unlock()
	if !held {
		return
	}
	if err := h.library.Unprotect(ctx, holdName(r.ID)); err != nil {
		h.peer.Log.Error("hold not let go", "request", string(r.ID), "err", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	item.Held = false
	if err := h.saveItem(item); err != nil {
		h.peer.Log.Error("inbox not saved", "err", err)
	}
}

func (h *Home) matchOne(ctx context.Context, r node.Request) error {
	if why := h.hides(r); why != "" {
		return nil
	}
	action := h.action(r)
	if action == rules.Ignore {
		return h.forget(ctx, r)
	}
	recordings, found, err := h.footage(ctx, h.seeing(r), r)
	if err != nil {
		return err
	}
	h.mu.Lock()
	item := h.inbox[r.ID]
	switch {
	case len(found) == 0 && item == nil, item != nil && item.Action == action && slices.Equal(item.Cameras, found) && (item.Held && item.Problem == "" || len(found) == 0):
		h.mu.Unlock()
		return nil
	case len(found) == 0:
		// What is held stays held until the request ends; nothing of it can be approved.
		defer h.mu.Unlock()
		item.Cameras, item.Action = found, action
		return h.saveItem(item)
	}
	h.mu.Unlock()
	kept, err := h.library.Protect(ctx, holdName(r.ID), r.Body.Expires.Time, recordings, h.peer.Config.Home.HoldQuotaMB<<20)
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := item == nil
	if fresh {
		item = &Item{Request: r.ID, Arrived: h.peer.Now().UTC(), State: "new"}
	}
	before := *item
	item.Action, item.Cameras, item.Held, item.Reason, item.Problem = action, found, err == nil, "", ""
	if err != nil {
		item.Reason, item.Problem = "hold-failed", "not kept from roll-off: "+err.Error()
	} else if n := len(kept.Unprotected); n > 0 {
		item.Reason = "hold-failed"
		if kept.Unprotected[0].OverQuota {
			item.Reason = "hold-quota"
		}
		item.Problem = fmt.Sprintf("%d of %d recordings are not kept from roll-off: %s", n, len(recordings), kept.Unprotected[0].Reason)
	}
	h.inbox[r.ID] = item
	if before.Action < rules.Tell && action >= rules.Tell {
		h.peer.Log.Info("a request asks for footage of this home", "request", string(r.ID), "agency", r.Name)
	}
	if !fresh && before.Action == action && slices.Equal(before.Cameras, found) && before.Held == item.Held && before.Problem == item.Problem {
		return nil // no better than before
	}
	err = h.saveItem(item)
	if before.Reason != item.Reason {
		step, detail := "not all kept from roll-off", item.Reason
		if item.Reason == "" {
			step, detail = "all kept from roll-off", "after "+before.Reason
		}
		err = errors.Join(err, h.ledger.Note("node", step, string(r.ID), detail))
	}
	return err
}

// seeing lists the offered cameras that see what a request asks about.
func (h *Home) seeing(r node.Request) (cameras []library.CameraID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.cameras {
		if c.matches(r.Body) {
			cameras = append(cameras, c.Name)
		}
	}
	return cameras
}

// footage is what those cameras have of a request's window, widened by how far their clocks may be off.
func (h *Home) footage(ctx context.Context, cameras []library.CameraID, r node.Request) ([]library.Recording, []Matched, error) {
	slack := time.Duration(h.peer.Config.Home.ClockUncertainty)
	recordings, err := h.library.OverlappingAny(ctx, cameras, r.Body.From.Add(-slack), r.Body.Until.Add(slack))
	found := []Matched{}
	for _, rec := range recordings {
		if n := len(found); n == 0 || found[n-1].Camera != rec.Camera {
			found = append(found, Matched{Camera: rec.Camera, From: later(rec.Start, r.Body.From.Time)})
		}
		m := &found[len(found)-1]
		m.Recordings++
		m.Until = later(m.Until, earlier(rec.End(), r.Body.Until.Time))
	}
	return recordings, found, err
}

// hides says why this home does not show a request, or "".
func (h *Home) hides(r node.Request) string { return h.hidesBy(h.peer.Config.Home, r) }

// holdName is the name of a request's hold on disk.
func holdName(id consent.RequestID) string { return "request-" + string(id) }

func (h *Home) saveItem(i *Item) error {
	return node.WriteJSON(h.disk(), h.peer.State.Path("inbox", string(i.Request)+".json"), i)
}

func (h *Home) loadInbox() error {
	names, err := h.peer.State.Glob("inbox/*.json")
	if err != nil {
		return err
	}
	if err := h.peer.State.Settle(h.peer.State.Path("inbox")); err != nil {
		return err
	}
	for _, name := range names {
		i, err := readItem(name)
		if err != nil {
			// What matches is found again; a decision is kept with its answer.
			h.peer.Log.Error("inbox item unreadable, set aside", "file", name, "err", err)
			if err := h.disk().Rename(name, name+".damaged"); err != nil {
				return err
			}
			continue
		}
		h.inbox[i.Request] = i
	}
	return nil
}

// readItem reads an item. One of a time before there were switches was told.
func readItem(path string) (*Item, error) {
	i := &Item{Action: rules.Tell}
	return i, node.ReadJSON(path, i)
}

// List is the arguments of "home.inbox".
type List struct {
	All bool `json:"all"` // also what is over, and what the owner's switches did not let come to notice
}

func (h *Home) list(_ context.Context, a List) ([]Card, error) {
	cards := []Card{}
	for _, r := range h.peer.Requests() {
		item, ok := h.itemOf(r.ID)
		if !ok || !a.All && (h.mayAnswer(r) != nil || item.Action < rules.Tell && item.State != "approved") {
			continue
		}
		cards = append(cards, h.card(r, item))
	}
	return cards, nil
}

// RequestArg names one request by its id or the beginning of it.
type RequestArg struct {
	Order   string `json:"order,omitempty"` // of a household: one person's signed order, to decline or take back (household.go)
	Request string `json:"request"`
}

func (h *Home) show(_ context.Context, a RequestArg) (Card, error) {
	r, item, err := h.item(a.Request)
	if err != nil {
		return Card{}, err
	}
	return h.card(r, item), nil
}

func (h *Home) item(id string) (node.Request, Item, error) {
	r, err := h.peer.Request(id)
	if err != nil {
		if known, notHere := h.find(id); notHere == nil {
			err = node.WithHint(fmt.Errorf("request %s may not ask any more: the charter or the agency's docket changed", short(known)),
				"`porchlight home withdraw "+short(known)+"` stops what was approved and has not left")
		}
		return node.Request{}, Item{}, err
	}
	item, ok := h.itemOf(r.ID)
	if !ok {
		return node.Request{}, Item{}, node.WithHint(fmt.Errorf("request %s is not in this inbox", short(r.ID)),
			"it asks for no footage of a camera you offered; `porchlight home inbox` lists what does")
	}
	return r, item, nil
}

// find is the request in the inbox of that id or beginning, also where it may not ask any more.
func (h *Home) find(id string) (consent.RequestID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []consent.RequestID
	for known := range h.inbox {
		if len(id) >= 6 && strings.HasPrefix(string(known), id) {
			found = append(found, known)
		}
	}
	if len(found) != 1 {
		return "", node.WithHint(fmt.Errorf("%d requests in this inbox begin with %q", len(found), id), "`porchlight home inbox --all` lists them; give at least 6 digits")
	}
	return found[0], nil
}

// itemOf is a request in the inbox as the owner is shown it.
func (h *Home) itemOf(id consent.RequestID) (Item, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	item := h.inbox[id]
	if item == nil {
		return Item{}, false
	}
	return h.shown(*item), true
}

// shown has the state that the answers say: their records are the decisions. The caller holds h.mu.
func (h *Home) shown(item Item) Item {
	switch {
	case h.answered(item.Request, func(a *Answer) bool { return a.State != "withdrawn" && a.State != "stopped" }):
		item.State = "approved"
	case item.State == "approved": // of a time when the inbox kept that, too
		item.State = "new"
	}
	item.Drafts = h.there(item)
	return item
}

// answered says whether some answer to a request is like that. The caller holds h.mu.
func (h *Home) answered(id consent.RequestID, like func(*Answer) bool) bool {
	for _, a := range h.answers {
		if a.Request == id && like(a) {
			return true
		}
	}
	return false
}

func (h *Home) card(r node.Request, item Item) Card {
	b := r.Body
	c := Card{Item: item, Agency: r.Name, Case: b.Case, Offence: b.Offence.Title(), Basis: string(b.Basis), Text: b.Text, Contact: b.Contact,
		From: b.From.Time, Until: b.Until.Time, Expires: b.Expires.Time, Retention: b.Terms.RetentionDays, Unused: b.Terms.UnusedDays,
		Recipients: b.Terms.Recipients, Resharing: b.Terms.Resharing, AreaM2: b.Area.AreaM2(),
		Officer: b.Officer.Name(), Supervisor: b.Supervisor.Name(), Ended: r.Ended}
	if a, ok := h.peer.Agency(r.Agency); ok {
		c.Class, c.PolicyURL = string(a.Class), a.PolicyURL
	}
	if d := h.peer.Docket(r.Agency); d != nil {
		size, _ := d.Head()
		_, quorum := d.Witnesses()
		c.Witnessed = quorum > 0 && r.Index < size
	}
	for _, e := range h.peer.Requests() {
		if e.Agency == r.Agency && e.Index < r.Index {
			c.EarlierAsks++
		}
	}
	c.Answers = h.answersTo(r.ID)
	h.mu.Lock()
	c.Pending, c.Approvals = h.waitsFor(r.ID)
	h.mu.Unlock()
	c.Objections, c.ReportMissing = h.peer.Objections(r), !h.peer.ExigentCounts(r.Agency)
	c.Report, c.Outcome = h.peer.Owes(r)
	c.Record, c.Standing = h.peer.Tally(r.Agency), h.peer.Standing(r.Agency)
	c.Promises, c.Breaches = h.peer.Promises(r.Agency), h.peer.BreachesOf(r)
	return c
}

// decline records a refusal. Nothing is sent, now or later.
func (h *Home) decline(_ context.Context, a RequestArg) (Item, error) {
	id, err := h.find(a.Request)
	if err != nil {
		return Item{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	item := h.inbox[id]
	if err := h.refuses(a.Order, "decline", id); err != nil {
		return Item{}, err
	}
	if h.shown(*item).State == "approved" {
		return Item{}, node.WithHint(errors.New("footage was already approved for this request"), "`porchlight home withdraw "+short(id)+"` stops what has not left yet")
	}
	item.State = "declined"
	return *item, h.dropDrafts(item)
}

func short(id consent.RequestID) string { return string(id[:min(len(id), 12)]) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (h *Home) cameraList(ctx context.Context, _ struct{}) ([]CameraStatus, error) {
	h.mu.Lock()
	cameras := slices.Clone(h.cameras)
	problems := map[library.CameraID]string{}
	for _, c := range cameras {
		problems[c.Name] = h.problemOf(c)
	}
	h.mu.Unlock()
	damaged, err := h.library.Damaged(ctx)
	if err != nil {
		return nil, err
	}
	sums, err := h.library.Summaries(ctx)
	if err != nil {
		return nil, err
	}
	out := []CameraStatus{}
	for _, c := range cameras {
		has := sums[c.Name]
		s := CameraStatus{Camera: c, Recordings: has.Recordings, First: has.First, Last: has.Last, StartFrom: has.From, Problem: problems[c.Name]}
		bad := slices.DeleteFunc(slices.Clone(damaged), func(r library.Recording) bool { return r.Camera != c.Name })
		if n := len(bad); n > 0 && s.Problem == "" {
			s.Problem = fmt.Sprintf("%d files cannot be read, such as %s: %s", n, filepath.Base(bad[0].Path), bad[0].Damaged)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b CameraStatus) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return out, nil
}
