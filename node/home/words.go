package home

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// A Word is what the owner says about a release that left, signed by the grant key. It goes as the answer went, over a guard and a second
// steward after a random delay, in a session that carries the grant and no release; or straight where the answer went so.
type Word struct {
	Release   string           `json:"release"`
	To        consent.AgencyID `json:"to"` // the holder whom it is said to
	Note      string           `json:"note"`
	Queued    time.Time        `json:"queued"`
	Since     int64            `json:"since,omitempty"` // how many entries the holder's docket had then
	NotBefore time.Time        `json:"not_before"`
	Attempts  int              `json:"attempts"`
	Said      time.Time        `json:"said,omitzero"` // when the requester took it in
	Problem   string           `json:"problem,omitempty"`
	Ended     bool             `json:"ended,omitempty"` // it was refused, or tried for too long
}

// takesBack says whether the word is a withdrawal.
func (w Word) takesBack() bool {
	kind, _ := consent.Peek([]byte(w.Note))
	return kind == "withdrawal"
}

// wordsFor and wordsTries are how long and how often a word is tried at least, and maxWords bounds those of one answer.
const (
	wordsFor   = 30 * 24 * time.Hour
	wordsTries = 100 // of a node that was off meanwhile
	maxWords   = 64
)

// said is a word as a person reads it.
func (w Word) said() Said {
	s := Said{At: w.Queued, By: "owner", ID: consent.HashText([]byte(w.Note))}
	kind, _ := consent.Peek([]byte(w.Note))
	switch kind {
	case "withdrawal":
		s.What = "withdrawn"
	case "extension":
		e, _ := grant.OpenExtension([]byte(w.Note))
		s.What, s.Text = "extended", "until "+e.RetainUntil.String()
	case "statement":
		t, _ := grant.OpenStatement([]byte(w.Note))
		s.What, s.Text = "statement", t.Text
	case "onward":
		o, _ := grant.OpenOnward([]byte(w.Note))
		s.What, s.Text = "may be passed on", "to "+string(o.To)
	}
	switch {
	case w.Ended:
		s.What += " (not taken in: " + w.Problem + ")"
	case w.Said.IsZero() && w.Problem != "":
		s.What += " (on its way)"
		s.Text = strings.TrimPrefix(s.Text+"; not yet: "+w.Problem, "; ")
	case w.Said.IsZero():
		s.What += " (on its way)"
	}
	return s
}

// Say is the arguments of "home.say": what the owner says about a release.
type Say struct {
	Release  string           `json:"release"` // root CID or the beginning of it
	What     string           `json:"what"`    // "withdraw", "extend", "statement" or "pass-on"
	Until    time.Time        `json:"until,omitzero"`
	Text     string           `json:"text,omitempty"`
	Answers  string           `json:"answers,omitempty"` // the id of the message that a statement answers, or its beginning
	To       string           `json:"to,omitempty"`      // of passing on: an agency's name, id, or the beginning of one
	Holder   consent.AgencyID `json:"holder,omitempty"`  // whom it is said to; "" for the agency that it was granted to, of a statement whoever asked, and of a withdrawal everybody who has it
	KeepDays int              `json:"keep_days,omitempty"`
	Order    string           `json:"order,omitempty"` // of a household: one person's signed order (household.go)
	Check    bool             `json:"check,omitempty"` // only say whether it would be refused: nothing is said
}

// Saying is the answer.
type Saying struct {
	Release string    `json:"release"`
	What    string    `json:"what"`
	Agency  string    `json:"agency"`
	To      string    `json:"to,omitempty"` // of passing on: the name of the agency that may have it
	Leaves  time.Time `json:"leaves"`
	Running bool      `json:"running"`
	By      []string  `json:"by,omitempty"`      // of a household: who has signed it
	Missing int       `json:"missing,omitempty"` // how many more have to before it is said
}

// held finds a release whose key left by the beginning of its root. The caller holds h.mu.
func (h *Home) held(name string) (*Answer, int, error) {
	return h.one(name, func(r Release) bool { return r.Key },
		"`porchlight home given` lists what left; what has not left yet is taken back with `porchlight home withdraw REQUEST`", "no release %q whose key has left")
}

// one finds the one release that begins with a name and is like that.
func (h *Home) one(name string, like func(Release) bool, hint, none string) (found *Answer, at int, err error) {
	for _, a := range h.sorted() {
		for i, r := range a.Releases {
			if name == "" || !strings.HasPrefix(r.Root, name) || !like(r) {
				continue
			}
			if found != nil {
				return nil, 0, node.WithHint(fmt.Errorf("several releases begin with %q", name), "give more of it")
			}
			found, at = a, i
		}
	}
	if found == nil {
		return nil, 0, node.WithHint(fmt.Errorf(none, name), hint)
	}
	return found, at, nil
}

// say signs what the owner says and queues it.
func (h *Home) say(_ context.Context, s Say) (Saying, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, i, err := h.held(s.Release)
	if err != nil {
		return Saying{}, err
	}
	s.Release = a.Releases[i].Root
	if s.Check {
		g, err := h.given(a)
		if err != nil {
			return Saying{}, err
		}
		o, _, err := h.body(a, i, g, s)
		said := Saying{Release: s.Release, What: s.What, Agency: o.name}
		if s.What == "pass-on" {
			said.To = h.nameOf(consent.AgencyID(s.To))
		}
		return said, err
	}
	if s.What != "extend" && s.What != "pass-on" {
		if err := h.anyone(s.Order, "approve", a.Request, s.Digest()); err != nil {
			return Saying{}, err
		}
		if s.What == "withdraw" && s.Holder == "" {
			all, err := h.withdrawOf(a, i)
			if err != nil {
				return Saying{}, err
			}
			if len(all) == 0 {
				return Saying{}, node.WithHint(errors.New("it was taken back already"), "`porchlight home given` shows what the agency answers")
			}
			for _, other := range all[1:] {
				all[0].Agency += " and " + other.Agency
			}
			return all[0], nil
		}
		return h.sayOf(a, i, s)
	}
	// What lets the requester do more takes as many as let it have the clip.
	done, by, missing, err := h.approves(s.Order, "approve", a.Request, s.Digest())
	if err != nil || !done {
		return Saying{Release: s.Release, What: s.What, By: by, Missing: missing}, err
	}
	said, err := h.sayOf(a, i, s)
	if err == nil {
		err = h.settled(a.Request)
	}
	return said, err
}

func (h *Home) sayOf(a *Answer, i int, s Say) (Saying, error) {
	g, err := h.given(a)
	if err != nil {
		return Saying{}, err
	}
	key, err := node.ReadKey(h.file(a, "grant.key"))
	if err != nil {
		return Saying{}, node.WithHint(err, "nothing can be said without the grant's key; it is in every backup")
	}
	o, body, err := h.body(a, i, g, s)
	if err != nil {
		return Saying{}, err
	}
	note, err := consent.Sign(body, key)
	if err != nil {
		return Saying{}, err
	}
	if len(a.Words) >= maxWords && s.What != "withdraw" {
		return Saying{}, fmt.Errorf("%d things were said about this answer already", len(a.Words))
	}
	if err := h.settle(); err != nil {
		return Saying{}, err
	}
	now := h.peer.Now().UTC()
	w := Word{Release: a.Releases[i].Root, To: o.Holder, Note: string(note), Queued: now, NotBefore: now.Add(time.Duration(randomBelow(int64(h.peer.Config.Home.AnswerDelay))))}
	if d := h.peer.Docket(o.Holder); d != nil {
		w.Since, _ = d.Head()
	}
	said := w.said()
	if err := h.ledger.Note("owner", strings.TrimSuffix(said.What, " (on its way)"), w.Release, strings.TrimSpace(said.Text+" ("+o.name+")")); err != nil {
		return Saying{}, err
	}
	next := a.copy()
	next.Words = append(next.Words, w)
	if err := h.record(&next); err != nil {
		a.unsure = true
		return Saying{}, err
	}
	*a = next
	h.speakUp()
	return Saying{Release: w.Release, What: s.What, Agency: o.name, Leaves: w.NotBefore, Running: h.peer.Host() != nil}, nil
}

// takeBack queues a withdrawal of every release of an answer whose key left. The caller holds h.mu.
func (h *Home) takeBack(a *Answer) (said []Saying, err error) {
	for i, r := range a.Releases {
		if !r.Key || a.Grant == "" {
			continue
		}
		of, err := h.withdrawOf(a, i)
		said = append(said, of...)
		if err != nil {
			return said, err
		}
	}
	return said, nil
}

// withdrawOf queues a withdrawal of a release to each agency that has it and was not sent one.
func (h *Home) withdrawOf(a *Answer, i int) (said []Saying, err error) {
	g, err := h.given(a)
	if err != nil {
		return nil, err
	}
	notes, err := h.notes(a)
	if err != nil {
		return nil, err
	}
	all, err := h.holders(a, i, g, notes)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if o.From != "" && !o.has(notes) || slices.ContainsFunc(a.Words, func(w Word) bool {
			_, err := grant.OpenWithdrawal([]byte(w.Note))
			return err == nil && w.Release == a.Releases[i].Root && w.To == o.Holder && !w.Ended
		}) {
			continue
		}
		s, err := h.sayOf(a, i, Say{What: "withdraw", Holder: o.Holder})
		if err != nil {
			return said, err
		}
		said = append(said, s)
	}
	return said, nil
}

// body is the document of what the owner says, held against what binds the holder whom it is said to.
func (h *Home) body(a *Answer, i int, g given, s Say) (o holder, _ consent.Body, err error) {
	cid, now := consent.ReleaseID(a.Releases[i].Root), consent.At(h.peer.Now())
	notes, err := h.notes(a)
	if err != nil {
		return o, nil, err
	}
	all, err := h.holders(a, i, g, notes)
	if err != nil {
		return o, nil, err
	}
	if o, err = oneHolder(all, s.Holder); err != nil {
		return o, nil, err
	}
	if s.What != "pass-on" && s.Holder != "" && o.From != "" && !o.has(notes) {
		return o, nil, fmt.Errorf("%s has signed nothing for this release yet", o.name)
	}
	switch s.What {
	case "withdraw":
		return o, grant.Withdrawal{Grant: g.id, CID: cid, Created: now, Key: g.grant.Key}, nil
	case "extend":
		_, secret, err := grant.Commit(rand.Reader, nil)
		if err != nil {
			return o, nil, err
		}
		e := grant.Extension{Grant: g.id, CID: cid, Holder: o.Holder, RetainUntil: consent.At(s.Until), Secret: secret, Created: now, Key: g.grant.Key}
		_, err = o.Extend(e, h.peer.Charter().Limits)
		return o, e, err
	case "statement":
		t := grant.Statement{Grant: g.id, CID: cid, Text: s.Text, Created: now, Key: g.grant.Key}
		if s.Answers != "" {
			if o, t.Answers, err = whoAsked(all, notes, s); err != nil {
				return o, nil, err
			}
		}
		return o, t, t.Check()
	case "pass-on":
		to, err := h.peer.AgencyCalled(s.To)
		if err != nil {
			return o, nil, err
		}
		if slices.ContainsFunc(a.Words, func(w Word) bool {
			x, err := grant.OpenOnward([]byte(w.Note))
			return err == nil && x.CID == cid && x.To == to.ID() && !w.Ended
		}) || to.ID() == a.Agency {
			return o, nil, fmt.Errorf("%s may have this release already", to.Name)
		}
		terms := o.Terms
		terms.Recipients, terms.Resharing = []string{}, false
		if s.KeepDays > 0 {
			if t := consent.At(now.AddDate(0, 0, s.KeepDays)); t.Before(terms.RetainUntil.Time) {
				terms.RetainUntil = t
			}
		}
		if terms.UnusedUntil.After(terms.RetainUntil.Time) {
			terms.UnusedUntil = terms.RetainUntil
		}
		on := grant.Onward{Grant: g.id, CID: cid, From: o.Holder, To: to.ID(), Terms: terms, Created: now, Key: g.grant.Key}
		_, err = o.PassOn(on, to.Class)
		return o, on, err
	}
	return o, nil, fmt.Errorf("nothing called %q can be said", s.What)
}

// whoAsked finds the message that a statement answers, and who asked.
func whoAsked(all []holder, notes [][]byte, s Say) (holder, string, error) {
	for _, n := range notes {
		id := consent.HashText(n)
		for _, o := range all {
			if _, ok := o.message(n); ok && strings.HasPrefix(id, s.Answers) && (s.Holder == "" || s.Holder == o.Holder) {
				return o, id, nil
			}
		}
	}
	return holder{}, "", fmt.Errorf("no message %q about this release", s.Answers)
}

func (h *Home) speakUp() {
	select {
	case h.speaking <- struct{}{}:
	default:
	}
}

// speak says what waits to be said until ctx ends.
func (h *Home) speak(ctx context.Context) error {
	for {
		wait := time.Hour
		h.mu.Lock()
		var due []string
		now := h.peer.Now()
		for id, a := range h.answers {
			if next, ok := a.speaks(); ok && h.sending[id] == nil { // the requester takes one session of a grant key at a time
				if now.Before(next) {
					wait = min(wait, max(next.Sub(now), time.Second))
				} else {
					due = append(due, id)
				}
			}
		}
		h.mu.Unlock()
		for _, id := range due {
			if err := h.speakOne(ctx, id); err != nil && ctx.Err() == nil {
				h.peer.Log.Info("not said yet", "answer", id, "err", err)
			}
			wait = time.Second
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.speaking:
		case <-time.After(wait):
		}
	}
}

// speaks is when an answer's next word is due, and whether there is one.
func (a *Answer) speaks() (next time.Time, ok bool) {
	for _, w := range a.Words {
		if w.Said.IsZero() && !w.Ended && (!ok || w.NotBefore.Before(next)) {
			next, ok = w.NotBefore, true
		}
	}
	return next, ok
}

// speakOne says what an answer's owner has to say, in one session.
func (h *Home) speakOne(ctx context.Context, id string) error {
	h.mu.Lock()
	a := h.answers[id]
	g, err := h.given(a)
	var key consent.Key
	var offer deliver.Offer
	if err == nil {
		key, err = node.ReadKey(h.file(a, "grant.key"))
	}
	if err == nil {
		offer.Grant, err = os.ReadFile(h.file(a, "grant.note"))
	}
	to, at := a.nextWords(h.peer.Now())
	if why := h.barred(to); why != nil {
		// From such an agency a clip can only be taken back.
		back := slices.DeleteFunc(slices.Clone(at), func(i int) bool { return !a.Words[i].takesBack() })
		if len(back) > 0 {
			at = back
		} else {
			err = errors.Join(err, why)
		}
	}
	for _, i := range at {
		offer.Words = append(offer.Words, []byte(a.Words[i].Note))
	}
	addrs := h.replies(g.request, to)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%s has asked nothing in this mesh, so nobody knows where it takes what is said to it", h.nameOf(to))
	}
	var over *deliver.Path
	if err == nil {
		over, err = h.wordsOver(a, to)
	}
	h.mu.Unlock()
	accepted := false
	if err == nil {
		err = deliver.Send(ctx, deliver.SendConfig{Key: key.Private(), Addrs: addrs, Log: h.peer.Log, Network: h.peer.Network(), Over: over}, offer, deliver.Hooks{
			Accepted: func([]byte) error { accepted = true; return nil }, // that of the delivery counts
			Received: func(string, []byte) error { return errors.New("nothing was sent") },
			Answered: func(i int, answer []byte) error { return h.answeredOne(id, at[i], g, answer) },
		})
	}
	return h.spoke(id, at, accepted, err)
}

// wordsOver is the way that words to an agency take; nil for straight. To show the address to one agency is not to show it to those that it passes on
// to. The caller holds h.mu.
func (h *Home) wordsOver(a *Answer, to consent.AgencyID) (*deliver.Path, error) {
	if a.Direct && to == a.Agency {
		return nil, nil
	}
	r, err := h.next(a.Spoke)
	if err != nil {
		return nil, err
	}
	a.Spoke = r
	return &deliver.Path{Host: h.peer.Host(), Stewards: r.stewards()}, nil
}

// nextWords are the places of what is to be said next, all to one agency: what takes back before the rest, and nothing that was put off.
func (a *Answer) nextWords(now time.Time) (to consent.AgencyID, at []int) {
	next := -1
	for i, w := range a.Words {
		if w.Said.IsZero() && !w.Ended && (next < 0 || w.NotBefore.Before(a.Words[next].NotBefore)) {
			next = i
		}
	}
	if next < 0 {
		return "", nil
	}
	to = a.Words[next].To
	for i, w := range a.Words {
		if w.To == to && w.Said.IsZero() && !w.Ended && (w.Attempts == 0 || !now.Before(w.NotBefore)) {
			at = append(at, i)
		}
	}
	slices.SortStableFunc(at, func(i, j int) int {
		switch x, y := a.Words[i].takesBack(), a.Words[j].takesBack(); {
		case x && !y:
			return -1
		case y && !x:
			return 1
		}
		return 0
	})
	return to, at[:min(len(at), deliver.MaxWords)]
}

// replies are where an agency takes answers now: the addresses of the request where that is its own, then those of its newest one.
func (h *Home) replies(r node.Request, to consent.AgencyID) (addrs []string) {
	if r.Agency == to {
		addrs = slices.Clone(r.Body.Reply)
	}
	var newest node.Request
	for _, q := range h.peer.Requests() {
		if q.Agency == to && (newest.ID == "" || q.Index > newest.Index) {
			newest = q
		}
	}
	for _, x := range newest.Body.Reply {
		if !slices.Contains(addrs, x) {
			addrs = append(addrs, x)
		}
	}
	return addrs
}

// answeredOne takes in what the requester answers to one word.
func (h *Home) answeredOne(id string, i int, g given, answer []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.answers[id]
	next := a.copy()
	said := h.peer.Now().UTC()
	for _, w := range a.Words {
		if !said.After(w.Said) { // the clock was set back; the order counts (holders)
			said = w.Said.Add(time.Nanosecond)
		}
	}
	w := &next.Words[i]
	w.Said, w.Problem = said, ""
	if next.Heard[w.To] > w.Since {
		next.Heard[w.To] = w.Since // what was signed under it since could not be understood
	}
	if len(answer) > 0 {
		// It may be signed under what the word brought about: a commitment, say.
		if err := h.heard(&next, g, answer); err != nil {
			return err
		}
	}
	if err := h.record(&next); err != nil {
		return err
	}
	*a = next
	delete(h.watched, id)
	return nil
}

// spoke puts off what could not be said, and gives up what was refused or tried for too long; what takes a clip back no refusal ends. accepted says
// that the session came as far as the words; a refusal then is of the first of them that was not taken in, and those after it were not heard. Whoever
// is busy, or in trouble, has refused nothing.
func (h *Home) spoke(id string, at []int, accepted bool, failed error) error {
	if failed == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.answers[id]
	now := h.peer.Now().UTC()
	next := a.copy()
	refused := accepted && reasonOf(failed) == RequesterRefuses
	for _, i := range at {
		w := &next.Words[i]
		if !w.Said.IsZero() {
			continue
		}
		w.Attempts++
		w.Problem, w.NotBefore = inWords(failed), now.Add(backOff(w.Attempts))
		if refused && w.Attempts >= 3 && !w.takesBack() || now.Sub(w.Queued) > wordsFor && w.Attempts >= wordsTries {
			w.Ended = true
			failed = errors.Join(failed, h.ledger.Note("node", "not taken in by the requester", w.Release, w.Problem))
		}
		if refused {
			break
		}
	}
	if a.Spoke.Guard != "" {
		next.Spoke.Fails++
	}
	if err := h.record(&next); err != nil {
		return errors.Join(failed, err)
	}
	*a = next
	return failed
}
