package home

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

func openHome(t *testing.T) (*Home, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := node.Create(dir, node.Home); err != nil {
		t.Fatal(err)
	}
	return reopen(t, dir), dir
}

func reopen(t *testing.T, dir string) *Home {
	t.Helper()
	h, err := Open(t.Context(), dir, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// put gives a home an answer in some state.
func (h *Home) put(t *testing.T, id, state string) {
	t.Helper()
	a := &Answer{ID: id, Request: consent.RequestID(strings.Repeat("ab", 32)), State: state, Releases: []Release{{Key: true}, {}}}
	if err := os.MkdirAll(h.file(a, ""), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := node.WriteJSON(durable.Disk{}, h.file(a, "answer.json"), a); err != nil {
		t.Fatal(err)
	}
	h.answers[id] = a
	if h.inbox[a.Request] == nil {
		h.inbox[a.Request] = &Item{Request: a.Request, State: "new"}
	}
}

// A folder may have any name, and what was decided in it is found again.
func TestFolderWithAnyName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home [a-c]*?")
	if err := node.Create(dir, node.Home); err != nil {
		t.Fatal(err)
	}
	h := reopen(t, dir)
	h.put(t, "1", "waiting")
	item := &Item{Request: consent.RequestID(strings.Repeat("cd", 32)), State: "declined"}
	if err := h.saveItem(item); err != nil {
		t.Fatal(err)
	}
	h.Close()
	again := reopen(t, dir)
	if again.answers["1"] == nil || again.inbox[item.Request] == nil || again.inbox[item.Request].State != "declined" {
		t.Errorf("answers %v, inbox %v", again.answers, again.inbox)
	}
}

// Whatever the node was at when its owner took an answer back, its next step fails: a clip that is
// ready does not wait, one that waits is not sent, and the key of one that arrived is not given.
func TestWithdrawnStopsEveryStep(t *testing.T) {
	for _, tt := range []struct{ from, to string }{{"preparing", "waiting"}, {"waiting", "sending"}, {"sending", "sending"}, {"sending", "delivered"}} {
		h, dir := openHome(t)
		h.put(t, "1", tt.from)
		back, err := h.withdraw(t.Context(), RequestArg{Request: "abababab"})
		if err != nil || len(back) != 1 || back[0].State != "withdrawn" || !strings.Contains(back[0].Problem, "1 of 2 releases had left") {
			t.Fatalf("withdraw = %+v, %v", back, err)
		}
		changed := false
		if err := h.step("1", tt.from, tt.to, func(*Answer) error { changed = true; return nil }); err == nil || changed {
			t.Errorf("from %s to %s after it was taken back: %v, changed %v", tt.from, tt.to, err, changed)
		}
		h.Close()
		if a := reopen(t, dir).snapshot("1"); a.State != "withdrawn" {
			t.Errorf("after a restart the answer is %s", a.State)
		}
	}
}

// The disk takes no record. Nothing goes on that is not recorded, and what was taken back stops
// all the same, also for the next run of the node.
func TestAnswerThatCannotBeRecorded(t *testing.T) {
	h, dir := openHome(t)
	h.put(t, "1", "waiting")
	blocked := h.file(h.answers["1"], "answer.json")
	if err := errors.Join(os.Remove(blocked), os.MkdirAll(filepath.Join(blocked, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := h.step("1", "waiting", "sending", nil); err == nil || h.snapshot("1").State != "waiting" {
		t.Errorf("unrecorded, the answer is %s: %v", h.snapshot("1").State, err)
	}
	if _, err := h.withdraw(t.Context(), RequestArg{Request: "abababab"}); err == nil || h.snapshot("1").State != "withdrawn" {
		t.Errorf("taken back, the answer is %s: %v", h.snapshot("1").State, err)
	}
	h.Close()
	if h = reopen(t, dir); len(h.due()) != 0 {
		t.Errorf("the next run finds %d answers to send", len(h.due()))
	}
}

// A damaged inbox item does not keep its owner from taking an answer back.
func TestWithdrawWithoutInboxItem(t *testing.T) {
	h, dir := openHome(t)
	h.put(t, "1", "waiting")
	h.Close()
	h = reopen(t, dir)
	if _, err := h.decline(t.Context(), RequestArg{Request: "abababab"}); err == nil {
		t.Error("declined although an answer waits")
	}
	if _, err := h.withdraw(t.Context(), RequestArg{Request: "abababab"}); err != nil {
		t.Error(err)
	}
	if item, _ := h.itemOf(h.answers["1"].Request); item.State != "declined" {
		t.Errorf("the request is %s", item.State)
	}
}

// An anonymous grant says no more of its making than the hour in which it may leave; no grant is
// dated before its request or at its end.
func TestDates(t *testing.T) {
	made := time.Date(2026, 11, 23, 9, 41, 7, 0, time.UTC)
	r := request.Request{Created: consent.At(made), Expires: consent.At(made.Add(24 * time.Hour))}
	for _, tt := range []struct {
		leaves   time.Duration
		identity grant.Identity
		want     string
	}{
		{5*time.Hour + 11*time.Second, grant.Anonymous, "2026-11-23T14:00:00Z"},
		{time.Minute, grant.Anonymous, "2026-11-23T09:41:07Z"},
		{5*time.Hour + 11*time.Second, grant.Named, "2026-11-23T14:41:18Z"},
	} {
		if got := dated(made.Add(tt.leaves), tt.identity, r).String(); got != tt.want {
			t.Errorf("%s later, %s: %s, want %s", tt.leaves, tt.identity, got, tt.want)
		}
	}
	h, _ := openHome(t)
	h.peer.Now = func() time.Time { return made }
	h.peer.Config.Home.AnswerDelay = node.Duration(1000 * time.Hour)
	for range 100 {
		if at := h.leaves(r); at.Before(made) || at.After(made.Add(12*time.Hour)) {
			t.Fatalf("an answer leaves at %s, its request lives until %s", at, r.Expires)
		}
	}
}

// What is to be said about an answer waits while a session of it goes on, and is not forgotten when that ends.
func TestWordsWaitForTheSessionThatGoesOn(t *testing.T) {
	h := newHouse(t)
	defer h.Close()
	_, done := h.Home.begin(t.Context(), "answer")
	select {
	case <-h.speaking:
		t.Fatal("woken before the session ended")
	default:
	}
	done()
	select {
	case <-h.speaking:
	default:
		t.Error("nobody looks for words when the session has ended")
	}
}

// A requester that refuses one word has not heard those after it; what takes a clip back is said before them all; and what is put off holds up
// nothing else.
func TestARefusedWordHoldsUpNoOther(t *testing.T) {
	h := newHouse(t)
	defer h.Close()
	key := mustKey(grant.KeyName)
	word := func(body consent.Body) Word {
		note, err := consent.Sign(body, key)
		ok(t, err)
		return Word{Release: string(cidOf(0)), To: "police", Note: string(note), Queued: faultNow, NotBefore: faultNow}
	}
	id := consent.GrantID(consent.HashText(nil))
	statement := word(grant.Statement{Grant: id, CID: cidOf(0), Text: "It was there.", Created: consent.At(faultNow), Key: key.Verifier()})
	withdrawal := word(grant.Withdrawal{Grant: id, CID: cidOf(0), Created: consent.At(faultNow), Key: key.Verifier()})
	a := &Answer{ID: "answer", State: "delivered", Words: []Word{statement, statement, withdrawal}}
	ok(t, h.disk().MkdirAll(h.file(a, ""), 0o700))
	h.answers[a.ID] = a
	next := func(now time.Time, want ...int) []int {
		t.Helper()
		to, at := a.nextWords(now)
		if to != "police" || !slices.Equal(at, want) {
			t.Fatalf("next is %v for %q, want %v", at, to, want)
		}
		return at
	}
	refused := &deliver.Error{Class: "no", Remote: true}
	at := next(faultNow, 2, 0, 1)
	ok(t, h.answeredOne(a.ID, 2, given{}, nil))
	for n := 1; n <= 3; n++ {
		if err := h.spoke(a.ID, at, true, refused); err == nil {
			t.Error("refused without an error")
		}
		if first, second := a.Words[0], a.Words[1]; first.Attempts != n || first.Ended != (n == 3) || second.Attempts != 0 || second.Ended {
			t.Errorf("after %d refusals: %+v %+v", n, first, second)
		}
		next(faultNow, 1)
	}
	// Whoever is busy has refused nothing, and no refusal ends what takes a clip back.
	a.Words = append(a.Words, statement, withdrawal)
	for _, why := range []*deliver.Error{{Class: deliver.ClassBusy, Remote: true}, {Class: deliver.ClassInternal, Remote: true}, refused} {
		for range 5 {
			_ = h.spoke(a.ID, []int{4}, true, why)
			if why != refused {
				_ = h.spoke(a.ID, []int{3}, true, why)
			}
		}
	}
	if a.Words[3].Ended || a.Words[4].Ended {
		t.Errorf("%+v", a.Words[3:])
	}
	a.Words = a.Words[:3]
	// A session that never came as far as the words puts all of them off.
	_ = h.spoke(a.ID, []int{1}, false, errors.New("the line was cut"))
	if a.Words[1].Attempts != 1 || a.Words[1].Ended || !a.Words[1].NotBefore.After(faultNow) {
		t.Errorf("%+v", a.Words[1])
	}
	// The clock is set back, and what is said later still counts as later.
	ok(t, h.answeredOne(a.ID, 1, given{}, nil))
	if !a.Words[1].Said.After(a.Words[2].Said) {
		t.Error("said in another order")
	}
}

// An extension that the agency did not answer, or that was said twice, changes nothing that it signed for before; what it signs under the new
// commitment counts from then on.
func TestAnUnansweredExtensionHidesNothing(t *testing.T) {
	h := newHouse(t)
	defer h.Close()
	key, reception := mustKey(grant.KeyName), mustKey(grant.ReceptionName)
	police := consent.AgencyID(strings.Repeat("ab", 16))
	in := func(days int) consent.Time { return consent.At(faultNow.AddDate(0, 0, days)) }
	g := given{id: consent.GrantID(consent.HashText(nil)), grant: grant.Grant{Agency: police, Key: key.Verifier(), Terms: grant.Terms{RetainUntil: in(30), UnusedUntil: in(30)},
		Releases: []grant.Release{{CID: cidOf(0), Secret: grant.Secret(consent.HashText([]byte("first")))}}}}
	g.request.Body.ReceptionKey = reception.Verifier()
	a := &Answer{ID: "answer", State: "delivered", Agency: police, Releases: []Release{{Root: string(cidOf(0)), Sent: 1, Blocks: 1, Receipt: true, Key: true}}}
	for i := range 2 {
		note, err := consent.Sign(grant.Extension{Grant: g.id, CID: cidOf(0), Holder: police, RetainUntil: in(60), Secret: grant.Secret(consent.HashText(fmt.Append(nil, i))), Created: in(0), Key: key.Verifier()}, key)
		ok(t, err)
		a.Words = append(a.Words, Word{Release: string(cidOf(0)), To: police, Note: string(note), Said: faultNow.Add(time.Duration(i))})
	}
	receipt := func(c grant.Commitment) []byte {
		note, err := consent.Sign(grant.Receipt{Grant: g.id, GrantKey: key.Verifier(), CID: cidOf(0), Commitment: c, State: grant.Held, SealedSHA256: consent.HashText(nil), DeleteBy: in(30), At: in(0), Key: reception.Verifier()}, reception)
		ok(t, err)
		return note
	}
	stands := func(notes ...[]byte) Promise {
		t.Helper()
		all, err := h.promisesAbout(a, 0, g, notes)
		ok(t, err)
		if len(all) != 1 || !all[0].Terms.RetainUntil.Equal(in(60).Time) {
			t.Fatalf("%+v", all)
		}
		return all[0]
	}
	held, err := grant.HoldingOf(g.id, g.grant, cidOf(0))
	ok(t, err)
	first := receipt(held.Commitment())
	if p := stands(first); p.State != StandHeld {
		t.Errorf("it is %s: %s", p.State, p.Words)
	}
	held.Secrets = []grant.Secret{grant.Secret(consent.HashText([]byte("0")))}
	if p := stands(first, receipt(held.Commitment())); p.State != StandHeld {
		t.Errorf("it is %s: %s", p.State, p.Words)
	}
	if p := stands(); p.State != StandUnsigned {
		t.Errorf("it is %s: %s", p.State, p.Words)
	}
}

// Whatever would be refused is refused before the owner is asked, and to ask decides nothing.
func TestWhatIsCheckedIsNotApproved(t *testing.T) {
	h := newHouse(t)
	defer h.Close()
	good := Approve{Request: string(h.asked()), Cameras: []string{"door"}, FacesVisible: true, AddressShown: true, Check: true}
	for want, change := range map[string]func(*Approve){
		"":                    func(*Approve) {},
		"nothing for this":    func(a *Approve) { a.Cameras = []string{"garden"} },
		"offers at most 90":   func(a *Approve) { a.RetentionDays = 91 },
		"offers at most 30":   func(a *Approve) { a.UnusedDays = 31 },
		"is no identity mode": func(a *Approve) { a.Identity = "known" },
		"carries a name":      func(a *Approve) { a.Identity = "named" },
		"carries no name":     func(a *Approve) { a.Name = "Ana" },
		"not inside":          func(a *Approve) { a.From = faultNow.AddDate(0, 0, -1) },
		"names 0 stewards":    func(a *Approve) { a.AddressShown = false },
	} {
		a := good
		change(&a)
		if _, err := h.approve(t.Context(), a); (err == nil) != (want == "") || want != "" && !says(err, want) {
			t.Errorf("%q: %v", want, err)
		}
		a.Check = false
		if _, err := h.approve(t.Context(), a); want != "" && !says(err, want) {
			t.Errorf("unchecked, %q: %v", want, err)
		} else if want == "" {
			ok(t, h.takeBack())
			clear(h.answers)
		}
		if len(h.answers) != 0 {
			t.Fatalf("%q: %s", want, h.states())
		}
	}
	if _, err := h.approve(t.Context(), good); err != nil || len(h.answers) != 0 {
		t.Errorf("%v, %s", err, h.states())
	}
	h.peer.Now = func() time.Time { return faultNow.AddDate(0, 0, 11) }
	if _, err := h.approve(t.Context(), good); !says(err, "is over") {
		t.Error(err)
	}
}

// Why a word was not taken in is one sentence for its owner, whatever the errors are made of.
func TestWhyAWordWasNotTakenIn(t *testing.T) {
	for want, err := range map[string]error{
		"the requester's node refused it: not-forward":                                    &deliver.Error{Class: "not-forward", Remote: true},
		"the requester takes in as many others as it can":                                 &deliver.Error{Class: deliver.ClassBusy, Remote: true},
		"the requester cannot be reached":                                                 errors.Join(deliver.ErrUnreachable, errors.New("dial /ip4/203.0.113.1: no route"), errors.New("and so on")),
		"the stewards that hide this home's address do not carry it on":                   errors.Join(deliver.ErrPath, errors.New("forward: refused")),
		"the receipt is for another release":                                              &deliver.Error{Class: deliver.ClassReceipt, Err: errors.New("the receipt is for another release")},
		"Elmford Police has asked nothing in this mesh, so nobody knows where it listens": errors.Join(errors.New("Elmford Police has asked nothing in this mesh, so nobody knows where it listens"), errors.New("more")),
	} {
		if got := inWords(fmt.Errorf("%w", err)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
