package home

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/consent/rules"
	"github.com/porchlight-mesh/porchlight/node"
)

// An Answer is the owner's yes to one request: the decisions, one for each camera and span, and
// how far their delivery is. It is stored before anything is prepared.
type Answer struct {
	ID        string            `json:"id"`
	Request   consent.RequestID `json:"request"`
	Agency    consent.AgencyID  `json:"agency"`
	Created   time.Time         `json:"created"`
	Decisions []grant.Decision  `json:"decisions"`
	Sources   []string          `json:"sources"` // what each decision's camera was: see source
	Retention int               `json:"retention_days"`
	Tighter   Tighter           `json:"tighter,omitzero"`
	Identity  string            `json:"identity"`
	Name      string            `json:"name,omitempty"`
	Direct    bool              `json:"direct"` // straight to the agency, which sees this home's address; else over stewards

	State     string          `json:"state"`             // preparing, waiting, sending, delivered, withdrawn, expired, failed, stopped
	Reason    Reason          `json:"reason,omitempty"`  // why it stands still
	Since     time.Time       `json:"since,omitzero"`    // when it came to stand still for that reason
	Problem   string          `json:"problem,omitempty"` // the last attempt's error
	NotBefore time.Time       `json:"not_before,omitzero"`
	Attempts  int             `json:"attempts"` // that failed, one after the other
	Grant     consent.GrantID `json:"grant,omitempty"`
	Releases  []Release       `json:"releases"`
	route

	// What was said about it since, and the stewards that go for that.
	Words []Word `json:"words,omitempty"`
	Spoke route  `json:"spoke,omitzero"`

	// How far the docket of each of its holders was read for messages to this answer.
	Heard map[consent.AgencyID]int64 `json:"heard,omitempty"`

	unsure bool // the last write of its record failed, so that the disk may have this or the one before
}

// Release is one prepared release of an answer, in files N.sealed, N.nodes, N.manifest and N.key.
type Release struct {
	Camera  string    `json:"camera"`
	Root    string    `json:"root"`
	Sealed  int64     `json:"sealed_bytes"`
	Blocks  int64     `json:"blocks"`
	Sent    int64     `json:"sent_blocks"`
	Have    int64     `json:"have_blocks"` // what the requester said it has verified when it was last asked
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Receipt bool      `json:"receipt"`
	Key     bool      `json:"key_given"`
	Faults  []Fault   `json:"faults,omitempty"` // what the dockets of its holders did not keep, the oldest first
}

// Tighter is what an owner adds to the terms, and no request offers.
type Tighter struct {
	ViewOnly  bool                  `json:"view_only,omitempty"`
	NoSharing bool                  `json:"no_sharing,omitempty"`
	Unused    int                   `json:"unused_days,omitempty"` // 0: as the request offers
	Denied    []charter.AgencyClass `json:"denied_classes,omitempty"`
}

// open says whether there is still something to do for the answer.
func (a *Answer) open() bool {
	return a.State == "preparing" || a.State == "waiting" || a.State == "sending"
}

func (h *Home) file(a *Answer, name string) string {
	return h.peer.State.Path("answers", a.ID, name)
}

// copy shares nothing with a that is ever changed in place.
func (a *Answer) copy() Answer {
	b := *a
	b.Releases, b.Words, b.Heard = slices.Clone(a.Releases), slices.Clone(a.Words), maps.Clone(a.Heard)
	for i := range b.Releases {
		b.Releases[i].Faults = slices.Clone(b.Releases[i].Faults)
	}
	return b
}

// left says how many of the releases had their key given.
func (a *Answer) left() (n int) {
	for _, r := range a.Releases {
		if r.Key {
			n++
		}
	}
	return n
}

// step is the one way in which an answer changes. It fails where the answer is no longer in the
// state from, as when its owner took it back meanwhile. What lets an answer go on, or says that it
// arrived, counts once it is on the disk; what stops it counts at once, and the record that could not
// be written is put aside. Either way the record is written again (settle) before anything is done.
func (h *Home) step(id, from, to string, change func(*Answer) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stepLocked(id, from, to, change)
}

func (h *Home) stepLocked(id, from, to string, change func(*Answer) error) error {
	a := h.answers[id]
	if a.State != from {
		return fmt.Errorf("answer %s is %s, no longer %s", id, a.State, from)
	}
	next := a.copy()
	next.State = to
	if change != nil {
		if err := change(&next); err != nil {
			return err
		}
	}
	if next.open() || to == "delivered" {
		if err := h.record(&next); err != nil {
			a.unsure = true
			return err
		}
		*a = next
		return nil
	}
	*a = next
	err := h.record(a)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("answer %s is %s, and its record could not be written: %w", id, to, err)
	// Read again after a restart, the old record would be sent.
	record := h.file(a, "answer.json")
	if aside := h.disk().Rename(record, record+".old"); aside != nil {
		err = errors.Join(err, aside, errors.New("if the node is restarted before there is room or a working disk, it goes on with this answer: withdraw it again after that"))
	}
	return err
}

// record writes an answer's record.
func (h *Home) record(a *Answer) error {
	err := node.WriteJSON(h.disk(), h.file(a, "answer.json"), a)
	a.unsure = err != nil
	return err
}

// settle writes the records again that could not be written, so that the disk has what counts here.
// The caller holds h.mu.
func (h *Home) settle() error {
	var errs []error
	for _, a := range h.answers {
		if a.unsure {
			errs = append(errs, h.record(a))
		}
	}
	return errors.Join(errs...)
}

// snapshot is an answer as it is now.
func (h *Home) snapshot(id string) Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.answers[id].copy()
}

// mayAnswer says why a request takes no answer from this home now, or nil. Everything that leaves
// asks it first, and again before the key.
func (h *Home) mayAnswer(r node.Request) error {
	if !r.Live(h.peer.Now()) {
		return errors.New("the request is over; it takes no more answers")
	}
	if err := h.barred(r.Agency); err != nil {
		return err
	}
	if why := h.hides(r); why != "" {
		return errors.New(why)
	}
	return nil
}

// barred says why nothing is sent to an agency, whatever it asks.
func (h *Home) barred(id consent.AgencyID) error {
	if _, ok := h.peer.Agency(id); !ok {
		return errors.New("the charter does not admit the agency")
	}
	if d := h.peer.Docket(id); d == nil || d.Forked() {
		return errors.New("the agency signed two versions of its docket; nothing is sent to it")
	}
	return nil
}

func (h *Home) loadAnswers() error {
	names, err := h.peer.State.Glob("answers/*/answer.json")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := h.peer.State.Settle(filepath.Dir(name)); err != nil {
			return err
		}
		a := &Answer{}
		if err := node.ReadJSON(name, a); err != nil {
			return node.WithHint(err, "restore it from a backup, or move the folder away: what it approved is then not sent")
		}
		if a.ID != filepath.Base(filepath.Dir(name)) {
			return node.WithHint(fmt.Errorf("%s is the record of answer %q", name, a.ID), "move the folder away: what it approved is then not sent")
		}
		if a.State == "sending" {
			a.State = "waiting"
		}
		h.load(a)
	}
	aside, err := h.peer.State.Glob("answers/*/answer.json.old")
	if err != nil {
		return err
	}
	for _, name := range aside {
		if err := h.peer.State.Settle(filepath.Dir(name)); err != nil {
			return err
		}
		a := &Answer{}
		if err := node.ReadJSON(name, a); err != nil || a.ID != filepath.Base(filepath.Dir(name)) {
			h.peer.Log.Error("record of an answer that was stopped is unreadable", "file", name, "err", err)
			continue
		}
		if h.answers[a.ID] != nil {
			continue // it could be written after all
		}
		if a.open() {
			a.State, a.Problem = "failed", "it was stopped, and the disk took no record of why"
		}
		h.load(a)
	}
	return nil
}

func (h *Home) load(a *Answer) {
	h.answers[a.ID] = a
	if h.inbox[a.Request] == nil { // its file was damaged; the answer can be seen and taken back all the same
		h.inbox[a.Request] = &Item{Request: a.Request, Arrived: a.Created, Action: rules.Tell, Cameras: []Matched{}, State: "new"}
	}
}

// approve stores the owner's decision. From here on the node prepares and sends by itself.
func (h *Home) approve(_ context.Context, a Approve) (AnswerStatus, error) {
	r, item, err := h.item(a.Request)
	if err != nil {
		return AnswerStatus{}, err
	}
	a.Request = string(r.ID)
	of := a.Digest() // of what the owner said, before anything is filled in
	if err := h.mayAnswer(r); err != nil {
		return AnswerStatus{}, err
	}
	if len(a.Cameras) == 0 {
		return AnswerStatus{}, node.WithHint(errors.New("no camera chosen"), "name one with --camera")
	}
	if !a.FacesVisible {
		return AnswerStatus{}, node.WithHint(errors.New("this version removes audio and does not hide faces: everybody in the clip can be seen"),
			"look at it with `porchlight home preview`, then approve with --faces-visible, or decline")
	}
	if !a.AddressShown {
		if err := h.hidden(); err != nil {
			return AnswerStatus{}, err
		}
	}
	if a.RetentionDays < 0 || a.RetentionDays > r.Body.Terms.RetentionDays {
		return AnswerStatus{}, fmt.Errorf("retention of %d days: the request offers at most %d", a.RetentionDays, r.Body.Terms.RetentionDays)
	}
	if a.UnusedDays < 0 || a.UnusedDays > r.Body.Terms.UnusedDays {
		return AnswerStatus{}, fmt.Errorf("unused clips kept %d days: the request offers at most %d", a.UnusedDays, r.Body.Terms.UnusedDays)
	}
	if a.Identity == "" {
		a.Identity = string(grant.Anonymous)
	}
	if err := (grant.Grant{Identity: grant.Identity(a.Identity), Name: a.Name}).CheckIdentity(); err != nil {
		return AnswerStatus{}, node.WithHint(err, "--identity is anonymous, or pseudonym or named together with --name")
	}
	from, until, err := span(r.Body, a.From, a.Until)
	if err != nil {
		return AnswerStatus{}, err
	}
	ans := &Answer{ID: randomID(), Request: r.ID, Agency: r.Agency, Created: h.peer.Now().UTC(), Retention: a.RetentionDays, Identity: a.Identity, Name: a.Name, Direct: a.AddressShown, State: "preparing",
		Tighter: Tighter{ViewOnly: a.ViewOnly, NoSharing: a.NoSharing, Unused: a.UnusedDays, Denied: rules.Off(h.peer.Charter(), h.peer.Config.Home.Strictness())}}
	for _, c := range a.Cameras {
		if !slices.ContainsFunc(item.Cameras, func(m Matched) bool { return string(m.Camera) == c }) {
			return AnswerStatus{}, node.WithHint(fmt.Errorf("camera %s has nothing for this request", c), "`porchlight home show "+short(r.ID)+"` lists those that do")
		}
		source, err := h.source(c, r.Body)
		if err != nil {
			return AnswerStatus{}, err
		}
		ans.Sources = append(ans.Sources, source)
		ans.Decisions = append(ans.Decisions, grant.Decision{Request: r.ID, Camera: c, Span: grant.Span{From: consent.At(from), Until: consent.At(until)},
			Release: true, FacesVisible: true, At: consent.At(h.peer.Now())})
	}
	if a.Check {
		return AnswerStatus{Request: string(r.ID), Created: ans.Created, State: "unapproved", Releases: []ReleaseStatus{}}, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.settle(); err != nil {
		return AnswerStatus{}, err
	}
	done, by, missing, err := h.approves(a.Order, "approve", r.ID, of)
	if err != nil || !done {
		return AnswerStatus{Request: string(r.ID), Created: ans.Created, State: "pending", Releases: []ReleaseStatus{}, By: by, Missing: missing}, err
	}
	if err := h.disk().MkdirAll(h.peer.State.Path("answers", ans.ID), 0o700); err != nil {
		return AnswerStatus{}, err
	}
	for _, d := range ans.Decisions {
		if err := h.ledger.Note("owner", "approved", string(r.ID), fmt.Sprintf("camera %s, %s to %s, faces visible", d.Camera,
			d.Span.From, d.Span.Until)); err != nil {
			return AnswerStatus{}, err
		}
	}
	if err := h.record(ans); err != nil {
		// The owner is told that nothing was approved, so nothing of it may be found later.
		if undo := h.disk().Remove(h.file(ans, "answer.json")); undo != nil && !errors.Is(undo, fs.ErrNotExist) {
			ans.State, ans.Problem = "failed", "the disk took no record of the approval"
			h.answers[ans.ID] = ans
			err = node.WithHint(errors.Join(fmt.Errorf("not approved, but the disk may have recorded that it was: %w", err), undo),
				"mend the disk; if the node was restarted before, `porchlight home show "+short(r.ID)+"` says whether it is approved")
		}
		return AnswerStatus{}, err
	}
	h.answers[ans.ID] = ans
	if err := h.settled(r.ID); err != nil {
		h.peer.Log.Error("approvals not forgotten", "request", string(r.ID), "err", err)
	}
	if in := h.inbox[r.ID]; len(in.Drafts) > 0 && h.dropDrafts(in) != nil {
		h.peer.Log.Error("drafts of an answered request not deleted yet", "request", string(r.ID))
	}
	h.poke()
	return ans.status(), nil
}

// withdraw takes back an answer. What has not left is stopped; of what left with its key the agency is told that it is to delete it, or
// to say which order stands in the way.
func (h *Home) withdraw(_ context.Context, a RequestArg) ([]AnswerStatus, error) {
	req, err := h.find(a.Request)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refuses(a.Order, "withdraw", req); err != nil {
		return nil, err
	}
	var errs []error
	out := []AnswerStatus{}
	item := h.inbox[req]
	for id, ans := range h.answers {
		switch {
		case ans.Request != req:
			continue
		case !ans.open():
			if item.unsure && ans.State == "withdrawn" {
				errs = append(errs, h.record(ans), h.ledger.Note("owner", "withdrawn", string(req), "answer "+id))
				out = append(out, ans.status())
			}
			said, err := h.takeBack(ans)
			errs = append(errs, err)
			if len(said) > 0 {
				out = append(out, ans.status())
				out[len(out)-1].Told = said
			}
			continue
		}
		if cancel := h.sending[id]; cancel != nil {
			cancel()
		}
		detail := "answer " + id
		errs = append(errs, h.stepLocked(id, ans.State, "withdrawn", func(next *Answer) error {
			next.Problem, next.Reason, next.Since = "", "", time.Time{}
			if n := next.left(); n > 0 {
				next.Problem = fmt.Sprintf("%d of %d releases had left with their key before", n, len(next.Releases))
				detail += ", " + next.Problem
			}
			return nil
		}), h.ledger.Note("owner", "withdrawn", string(req), detail))
		said, err := h.takeBack(ans)
		errs = append(errs, err)
		out = append(out, ans.status())
		out[len(out)-1].Stopped, out[len(out)-1].Told = true, said
	}
	if len(out) == 0 {
		return nil, errors.New("nothing to take back: no answer to this request is on its way or with the agency")
	}
	item.State = "declined"
	err = errors.Join(append(errs, h.saveItem(item))...)
	item.unsure = err != nil
	if err != nil {
		return nil, node.WithHint(fmt.Errorf("taken back, but not all of it could be recorded: %w", err), "make room on the disk, then give this command again; `porchlight home show "+short(req)+"` lists the answers")
	}
	return out, nil
}

// atOnce is how many answers are prepared or sent at a time, so that one slow requester does not
// hold up answers to the others.
const atOnce = 4

// answer prepares and sends what was approved until ctx ends.
func (h *Home) answer(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	defer g.Wait()
	for {
		h.mu.Lock()
		unsettled := h.settle()
		h.mu.Unlock()
		for _, a := range h.due() {
			work, done := h.begin(ctx, a.ID)
			if !g.TryGo(func() error {
				defer h.poke()
				defer done()
				if err := h.advance(work, a.ID); err != nil && ctx.Err() == nil {
					h.peer.Log.Warn("answer not delivered yet", "answer", a.ID, "err", err)
				}
				return nil
			}) {
				done()
				break // whichever ends first wakes this loop
			}
		}
		wait := time.Hour
		if unsettled != nil {
			wait = time.Minute
		}
		h.mu.Lock()
		for _, a := range h.answers {
			if a.open() && h.sending[a.ID] == nil {
				wait = min(wait, max(a.NotBefore.Sub(h.peer.Now()), 100*time.Millisecond))
			}
		}
		h.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-h.approved:
		case <-time.After(wait):
		}
	}
}

// due lists the answers that wait for nothing but a free hand, oldest first.
func (h *Home) due() (due []Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.answers {
		if a.open() && h.sending[a.ID] == nil && !h.peer.Now().Before(a.NotBefore) {
			due = append(due, a.copy())
		}
	}
	slices.SortFunc(due, func(a, b Answer) int { return a.Created.Compare(b.Created) })
	return due
}

// begin marks an answer as being worked on. Withdrawing it ends the context; done ends the mark.
func (h *Home) begin(ctx context.Context, id string) (work context.Context, done func()) {
	work, cancel := context.WithCancel(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sending[id] = cancel
	return work, func() {
		cancel()
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.sending, id)
		h.speakUp() // what the owner said meanwhile waited for this session to end
	}
}

// advance does the next thing for an answer.
func (h *Home) advance(ctx context.Context, id string) error {
	a := h.snapshot(id)
	r, err := h.peer.Request(string(a.Request))
	if err == nil && !r.Live(h.peer.Now()) {
		return h.fail(id, because(RequestOver, errors.New(RequestOver.Words())))
	}
	why := h.barred(a.Agency)
	if why == nil && err == nil {
		why = h.mayAnswer(r)
	}
	if why != nil {
		err = because(NotAllowed, why)
	}
	switch {
	case err != nil:
	case a.State == "preparing":
		err = h.prepare(ctx, a, r)
	case a.State == "waiting":
		err = h.send(ctx, a, r)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return h.fail(id, err)
}

// terms are those the request offers to an answer of that date, or tighter where the owner chose so.
func (a *Answer) terms(r request.Request, made time.Time) grant.Terms {
	t := r.Terms
	if a.Retention > 0 {
		t.RetentionDays = min(t.RetentionDays, a.Retention)
	}
	if a.Tighter.Unused > 0 {
		t.UnusedDays = min(t.UnusedDays, a.Tighter.Unused)
	}
	terms := grant.Offered(t, made)
	terms.ViewOnly, terms.DeniedClasses = a.Tighter.ViewOnly, a.Tighter.Denied
	if a.Tighter.NoSharing || a.Tighter.ViewOnly {
		terms.Recipients, terms.Resharing = []string{}, false
	}
	return terms
}

func (a *Answer) status() AnswerStatus {
	s := AnswerStatus{ID: a.ID, Direct: a.Direct, Paths: len(a.Over), Request: string(a.Request), Created: a.Created, State: a.State, Reason: a.Reason, Since: a.Since, Problem: a.Problem, NotBefore: a.NotBefore,
		Attempts: a.Attempts, Grant: string(a.Grant), Releases: []ReleaseStatus{}}
	for _, r := range a.Releases {
		s.Releases = append(s.Releases, ReleaseStatus{Camera: r.Camera, From: r.From, Until: r.Until, Root: r.Root, SealedBytes: r.Sealed,
			Blocks: r.Blocks, SentBlocks: r.Sent, Receipt: r.Receipt, KeyGiven: r.Key})
	}
	return s
}

func (h *Home) answersTo(id consent.RequestID) []AnswerStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []AnswerStatus{}
	for _, a := range h.answers {
		if a.Request == id {
			out = append(out, a.status())
		}
	}
	slices.SortFunc(out, func(a, b AnswerStatus) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (h *Home) readLedger(context.Context, struct{}) ([]LedgerEntry, error) {
	entries, err := h.ledger.Entries()
	if err != nil {
		return nil, err
	}
	out := []LedgerEntry{}
	for _, e := range entries {
		out = append(out, LedgerEntry{At: e.At.Time, Step: e.Actor + ": " + e.Step, Subject: e.Subject, Detail: e.Detail})
	}
	return out, nil
}

// poke wakes the sender.
func (h *Home) poke() {
	select {
	case h.approved <- struct{}{}:
	default:
	}
}

func randomID() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// randomBelow is uniform in [0, n); 0 for n below 1.
func randomBelow(n int64) int64 {
	if n < 1 {
		return 0
	}
	v, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return v.Int64()
}
