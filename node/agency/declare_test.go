package agency

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
)

// held brings an answer to where its key is here.
func (d *desk) held(change func(*grant.Grant)) *answer {
	d.Helper()
	a := d.answer(64<<10, change)
	a.send(a.begin(), 99)
	ok(d, a.complete())
	ok(d, a.receiver().Key(d.Context(), a.from, a.root, []byte(a.secret)))
	return a
}

// says is a word of the owner's and what the agency answers.
func (a *answer) says(b consent.Body) (grant.Receipt, error) {
	a.Helper()
	answer, err := a.receiver().Word(a.Context(), a.from, a.sign(b, a.key))
	if err != nil || answer == nil {
		return grant.Receipt{}, err
	}
	r, err := grant.OpenReceipt(answer, a.ask.ReceptionKey)
	ok(a, err)
	h, err := a.agency.vault.grants[grant.IDOf(a.note)].holding(a.agency.vault.grants[grant.IDOf(a.note)].releases[a.root])
	ok(a, err)
	if !h.Signed(r) {
		a.Error("the receipt is about something else")
	}
	return r, nil
}

// again is the secret of the commitment that follows an extension.
var again = grant.Secret(consent.HashText([]byte("new")))

func (a *answer) withdrawal() grant.Withdrawal {
	return grant.Withdrawal{Grant: grant.IDOf(a.note), CID: consent.ReleaseID(a.root), Created: consent.At(a.now), Key: a.key.Verifier()}
}

func (a *answer) keyIsHere() bool {
	_, err := os.Stat(a.agency.vault.keyPath(grant.IDOf(a.note), a.root))
	return err == nil
}

// enters puts a drafted entry into the docket, signed by officer and supervisor.
func (d *desk) enters(text string) []byte {
	d.Helper()
	var body consent.Body
	kind, err := consent.Peek([]byte(text))
	ok(d, err)
	if kind == "hold" {
		body, err = bodyOf[docket.Hold](text)
	} else {
		body, err = bodyOf[docket.Transfer](text)
	}
	ok(d, err)
	note := d.sign(body, d.officer, d.supervisor)
	_, err = d.agency.peer.Docket(d.agency.agency).Append(note, d.agency.key, d.now)
	ok(d, err)
	return note
}

func bodyOf[B consent.Body](text string) (b B, err error) {
	for i := range text {
		if text[i] == '\n' {
			return b, consent.DecodeStrict([]byte(text[i+1:len(text)-1]), &b, consent.MaxNote)
		}
	}
	return b, nil
}

func (d *desk) holds(releases ...string) DraftHold {
	return DraftHold{Releases: releases, Court: "County Court", Number: "26-CV-118", DocumentSHA256: consent.HashText([]byte("order")),
		Officer: d.officer.Verifier(), Supervisor: d.supervisor.Verifier()}
}

// What an owner takes back is gone at once, and the answer says so; it stays so after a restart, and whoever asks again is told the same.
func TestPromise09AWithdrawnReleaseIsDestroyedAtOnce(t *testing.T) {
	d := newDesk(t)
	a, other := d.held(nil), d.held(nil)
	if _, err := other.receiver().Word(t.Context(), other.from, other.sign(a.withdrawal(), a.key)); err == nil {
		t.Error("one owner took back another's release")
	}
	for range 2 {
		r, err := a.says(a.withdrawal())
		ok(t, err)
		if r.State != grant.Deleted || a.keyIsHere() || a.state() != "deleted" {
			t.Errorf("after its owner took it back the release is %s; the answer says %s", a.state(), r.State)
		}
		d.restart()
	}
	if other.state() != "open" || !other.keyIsHere() {
		t.Errorf("the other release is %s", other.state())
	}
}

// Only its owner lets a release be kept for longer, and only a release that is used.
func TestAnOwnerExtendsTheTerms(t *testing.T) {
	d := newDesk(t)
	a := d.held(nil)
	e := grant.Extension{Grant: grant.IDOf(a.note), CID: consent.ReleaseID(a.root), Holder: d.agency.agency, RetainUntil: consent.At(a.grant.Terms.RetainUntil.AddDate(0, 0, 30)), Secret: again, Created: consent.At(d.now), Key: a.key.Verifier()}
	long := e
	long.RetainUntil = consent.At(d.now.AddDate(2, 0, 0))
	if _, err := a.says(long); consent.ClassOf(err) != consent.RetentionTooLong {
		t.Errorf("two years: %v", err)
	}
	r, err := a.says(e)
	ok(t, err)
	if r.State != grant.Held || r.Commitment != (grant.Release{CID: e.CID, Secret: again}).Commitment() {
		t.Errorf("the answer is %+v", r)
	}
	if _, err := a.says(e); err != nil {
		t.Errorf("said again: %v", err)
	}
	h := a.agency.vault.grants[grant.IDOf(a.note)]
	k := h.releases[a.root]
	if got := h.deadline(k); !got.Equal(a.grant.Terms.UnusedUntil.Time) {
		t.Errorf("unused, it may be kept until %s", got)
	}
	k.Used = true
	if got := h.deadline(k); !got.Equal(e.RetainUntil.Time) {
		t.Errorf("used, it may be kept until %s", got)
	}
	d.restart()
	load, _, _ := a.agency.vault.load(charter.Daily{})
	next := grant.Release{CID: consent.ReleaseID(a.root), Secret: e.Secret}.Commitment()
	before, _ := load.Real(a.grant.Releases[0].Commitment())
	after, is := load.Real(next)
	if len(load.Waiting) != 2 || !before.Deleted || !is || after.Deleted {
		t.Errorf("the docket is told %+v of the commitment before and %+v of the new one", before, after)
	}
	if k := a.agency.vault.grants[grant.IDOf(a.note)].releases[a.root]; len(k.Extended) != 1 || !k.Extended[0].Until.Equal(e.RetainUntil.Time) || len(k.Said) != 1 {
		t.Errorf("after a restart: %+v", k)
	}
}

// A hold that the docket declares stands in the way of a deletion and of a withdrawal, for as long as it is renewed; the owner is told
// under which entry. Nothing but the docket says so.
func TestAHoldStandsInTheWayUntilItIsOver(t *testing.T) {
	d := newDesk(t)
	a, free := d.held(nil), d.held(nil)
	_, err := d.agency.draftHold(t.Context(), d.holds())
	wants(t, err, "no release named")
	drafted, err := d.agency.draftHold(t.Context(), d.holds(a.root))
	ok(t, err)
	d.restart() // the salt was kept before the draft was shown
	ok(t, d.agency.expire())
	if a.agency.vault.grants[grant.IDOf(a.note)].releases[a.root].law != nil {
		t.Error("a draft holds")
	}
	note := d.enters(drafted.Text)
	ok(t, d.agency.expire())
	r, err := a.says(a.withdrawal())
	ok(t, err)
	entry := string(request.IDOf(note))
	if r.State != grant.KeptByLaw || r.Entry != entry || !a.keyIsHere() {
		t.Fatalf("under a hold, taken back: %+v", r)
	}
	for _, h := range d.agency.vault.list() {
		if want := map[string]string{a.root: r.Detail}[h.Release]; h.Hold != want {
			t.Errorf("the vault lists %s under the hold %q, want %q", h.Release, h.Hold, want)
		}
	}
	own := d.agency.peer.Docket(d.agency.agency)
	if live, sure := own.LiveHolds(d.now); !sure || len(live) != 1 || !live[0].Covers[0].Opens(r.Salt, []byte(r.Commitment)) {
		t.Errorf("the docket has the holds %+v", live)
	}
	if n := len(d.agency.vault.messages); n != 1 {
		t.Errorf("%d messages wait for the owner", n)
	}
	d.skip(a.grant.Terms.RetainUntil.Add(-time.Hour).Sub(d.now)) // an hour before the hold ends
	d.restart()
	ok(t, d.agency.expire())
	if a.state() != "open" || free.state() != "deleted" {
		t.Errorf("past its deadline the release on hold is %s, the other one %s", a.state(), free.state())
	}
	list, err := d.agency.holds(t.Context(), struct{}{})
	ok(t, err)
	if len(list) != 1 || len(list[0].Releases) != 1 || list[0].Releases[0] != a.root {
		t.Errorf("%+v", list)
	}
	// The court attests it again, and 90 days after that no more.
	renewal := d.holds()
	renewal.Renews = entry[:12]
	drafted, err = d.agency.draftHold(t.Context(), renewal)
	ok(t, err)
	d.enters(drafted.Text)
	d.skip(90 * 24 * time.Hour)
	ok(t, d.agency.expire())
	if a.state() != "open" {
		t.Errorf("under the renewed hold it is %s", a.state())
	}
	d.skip(time.Second)
	ok(t, d.agency.expire())
	if a.state() != "deleted" || a.keyIsHere() {
		t.Errorf("once the hold is over it is %s", a.state())
	}
	_, err = d.agency.draftHold(t.Context(), renewal)
	wants(t, err, "no live hold")
	if node.HintOf(err) == "" {
		t.Error("no way out is shown")
	}
}

// A node that was off keeps deadlines by a time that is behind the officers'. What they declare or renew meanwhile stands all the same.
func TestAHoldThatIsNewerThanTheDeadlinesTime(t *testing.T) {
	d := newDesk(t)
	late, renewed := d.held(nil), d.held(func(g *grant.Grant) {
		g.Terms.RetainUntil = consent.At(g.Created.AddDate(0, 0, 7))
		g.Terms.UnusedUntil = g.Terms.RetainUntil
	})
	first, err := d.agency.draftHold(t.Context(), d.holds(renewed.root))
	ok(t, err)
	entry := string(request.IDOf(d.enters(first.Text)))
	d.skip(late.grant.Terms.UnusedUntil.Add(-10 * time.Hour).Sub(d.now))
	ok(t, d.agency.tick())
	d.now = d.now.Add(12 * time.Hour)
	ok(t, d.agency.tick())
	drafted, err := d.agency.draftHold(t.Context(), d.holds(late.root))
	ok(t, err)
	d.enters(drafted.Text)
	renewal := d.holds()
	renewal.Renews = entry
	drafted, err = d.agency.draftHold(t.Context(), renewal)
	ok(t, err)
	d.enters(drafted.Text)
	for range 30 {
		ok(t, d.agency.tick())
		if late.state() != "open" || renewed.state() != "open" {
			t.Fatalf("at %s by the clock of deadlines, %s by this machine's: declared anew %s, renewed %s", d.agency.now(), d.now, late.state(), renewed.state())
		}
		d.now = d.now.Add(time.Hour)
	}
}

// What only a hold keeps is opened for the court, up to the hold's end by whichever time is later, and nothing else is made of it, whenever that was
// ordered.
func TestPromise09WhatOnlyAHoldKeeps(t *testing.T) {
	d := newDesk(t)
	a := d.held(nil)
	drafted, err := d.agency.draftHold(t.Context(), d.holds(a.root))
	ok(t, err)
	d.enters(drafted.Text)
	ok(t, d.agency.expire())
	var ordered []opens
	for _, kind := range []grant.ActKind{grant.ActUse, grant.ActPassOn} {
		o, err := d.agency.admit(a.act(kind, "while the terms ran"), kind)
		ok(t, err)
		ordered = append(ordered, o)
	}
	until := d.now.Add(docket.HoldLives)
	d.skip(a.grant.Terms.UnusedUntil.Sub(d.now))
	ok(t, d.agency.expire())
	for _, o := range ordered {
		_, err := d.agency.mark(o, func(k *kept) { k.PassedOn = true })
		wants(t, err, "keeps it")
	}
	v := d.agency.vault
	record := func() *kept { return v.grants[grant.IDOf(a.note)].releases[a.root] }
	if k := record(); k.Used || k.PassedOn {
		t.Errorf("past its deadline: %+v", k)
	}
	ok(t, a.exported(filepath.Join(t.TempDir(), "clip")))

	// Another release of its grant is taken over.
	v.mu.Lock()
	err = v.read(grant.IDOf(a.note))
	v.mu.Unlock()
	ok(t, err)
	if record().law == nil {
		t.Error("read again, it is under no hold")
	}
	ok(t, a.exported(filepath.Join(t.TempDir(), "clip")))

	d.skip(until.Add(-10 * time.Hour).Sub(d.now))
	ok(t, d.agency.tick())
	ok(t, a.exported(filepath.Join(t.TempDir(), "clip")))
	d.now = d.now.Add(12 * time.Hour) // further than the time of deadlines goes at once
	ok(t, d.agency.tick())
	if a.state() != "open" || record().law == nil {
		t.Fatalf("it is %s", a.state())
	}
	wants(t, a.exported(filepath.Join(t.TempDir(), "clip")), "past its deadline")
}

// What its owner lets be kept for longer the docket follows by another commitment, and says that the one before is deleted. A hold that covers that
// one keeps the release all the same, and what is signed then is nothing that the docket contradicts.
func TestAReceiptUnderAHoldNamesWhatTheDocketFollows(t *testing.T) {
	d := newDesk(t)
	a := d.held(nil)
	drafted, err := d.agency.draftHold(t.Context(), d.holds(a.root))
	ok(t, err)
	hold := d.enters(drafted.Text)
	d.use(a)
	ok(t, d.agency.expire())
	before := a.commitment()
	r, err := a.says(grant.Extension{Grant: grant.IDOf(a.note), CID: consent.ReleaseID(a.root), Holder: d.agency.agency, RetainUntil: consent.At(a.grant.Terms.RetainUntil.AddDate(0, 0, 10)),
		Secret: again, Created: consent.At(d.now), Key: a.key.Verifier()})
	ok(t, err)
	after := grant.Release{CID: consent.ReleaseID(a.root), Secret: again}.Commitment()
	if r.State != grant.KeptByLaw || r.Commitment != after {
		t.Errorf("the extension is answered by %+v", r)
	}
	d.pass(88 * 24 * time.Hour)
	renewal := d.holds()
	renewal.Renews = string(request.IDOf(hold))
	drafted, err = d.agency.draftHold(t.Context(), renewal)
	ok(t, err)
	d.enters(drafted.Text)
	d.pass(8 * 24 * time.Hour)
	if f, known := d.log().Follow(before); !known || f.Deleted == "" {
		t.Fatalf("the docket says %+v of the commitment before", f)
	}
	r, err = a.says(a.withdrawal())
	ok(t, err)
	l := d.log()
	if r.State != grant.KeptByLaw || !a.keyIsHere() || !l.Covers(r.Entry, r.Salt, before, d.now) {
		t.Errorf("taken back under a hold: %+v", r)
	}
	d.pass(3 * 24 * time.Hour)
	for _, f := range grant.Faults() {
		if l.Fails(r, f, d.now) {
			t.Errorf("the docket fails it: %s", f)
		}
	}
	// Once all terms are over one release is overdue, and one is covered.
	d.pass(90 * 24 * time.Hour)
	l = d.log()
	if _, covered := l.Holds(d.now.AddDate(0, 0, -20)); len(l.Overdue(docket.DayOf(d.now.AddDate(0, 0, -20)))) > covered {
		t.Error("more is overdue than the hold covers")
	}
}

// A renewal without a release lets it go.
func TestAHoldIsLifted(t *testing.T) {
	d := newDesk(t)
	a, b := d.held(nil), d.held(nil)
	drafted, err := d.agency.draftHold(t.Context(), d.holds(a.root, b.root))
	ok(t, err)
	note := d.enters(drafted.Text)
	d.skip(a.grant.Terms.UnusedUntil.Sub(d.now))
	lift := d.holds(a.root)
	lift.Renews = string(request.IDOf(note))
	drafted, err = d.agency.draftHold(t.Context(), lift)
	ok(t, err)
	d.enters(drafted.Text)
	ok(t, d.agency.expire())
	if a.state() != "deleted" || b.state() != "open" {
		t.Errorf("the release that the hold lets go is %s, the other one %s", a.state(), b.state())
	}
	if _, err := d.agency.draftHold(t.Context(), lift); err == nil {
		t.Error("a hold that was renewed is renewed again")
	}
}

// What is passed on is declared like a hold: one entry for one passing on, to a body of the class that it names, with its owner's consent.
func TestATransferIsDeclared(t *testing.T) {
	d := newDesk(t)
	a := d.held(nil)
	k := d.agency.vault.grants[grant.IDOf(a.note)].releases[a.root]
	prosecutor, _ := d.agency.peer.Agency(d.agency.agency)
	other := prosecutor
	prosecutor.Class = charter.Prosecutor
	declare := func(change func(*DraftTransfer)) string {
		x := DraftTransfer{Releases: []string{a.root[:20]}, To: charter.Prosecutor, Ground: docket.GroundOwner, Officer: d.officer.Verifier(), Supervisor: d.supervisor.Verifier()}
		change(&x)
		drafted, err := d.agency.draftTransfer(t.Context(), x)
		ok(t, err)
		if i, _ := d.agency.transferred(k, prosecutor); i >= 0 {
			t.Error("a draft declares")
		}
		return string(request.IDOf(d.enters(drafted.Text)))
	}
	declare(func(x *DraftTransfer) { x.To, x.Ground = docket.ToDefence, docket.GroundDisclosure })
	declare(func(x *DraftTransfer) { x.To = docket.ToDefence })
	if i, entry := d.agency.transferred(k, prosecutor); i >= 0 {
		t.Errorf("declared by %s, which is of another class", entry)
	}
	want := declare(func(*DraftTransfer) {})
	i, entry := d.agency.transferred(k, prosecutor)
	if entry != want || i != len(k.Blinds)-1 {
		t.Errorf("declared in %q at %d", entry, i)
	}
	if i, _ := d.agency.transferred(k, other); i >= 0 {
		t.Error("it declares a passing on to another class")
	}
	k.Blinds[i].To = consent.AgencyID(strings.Repeat("0", 32))
	if i, _ := d.agency.transferred(k, prosecutor); i >= 0 {
		t.Error("one entry declares two")
	}
}

// What is asked of an owner waits for a daily entry, in which it is sealed to them.
func TestAnOwnerIsAsked(t *testing.T) {
	d := newDesk(t)
	owner, err := age.GenerateX25519Identity()
	ok(t, err)
	a := d.held(func(g *grant.Grant) { g.Reach = owner.Recipient().String() })
	for name, q := range map[string]Question{"no reason": {Ask: grant.AskStatement}, "no end": {Ask: grant.AskExtension, Reason: "The trial was put off."}, "another thing": {Ask: "name", Reason: "Who are you?"},
		"unknown agency": {Ask: grant.AskPassOn, Reason: "It is theirs.", To: consent.HashText(nil)[:32]}} {
		q.Release = a.root
		if _, err := d.agency.ask(t.Context(), q); err == nil {
			t.Errorf("%s: asked", name)
		}
	}
	got, err := d.agency.ask(t.Context(), Question{Release: a.root, Ask: grant.AskStatement, Reason: "Did the van stand there before seven?"})
	ok(t, err)
	if got.Waiting != 1 || got.PerDay != 3 {
		t.Errorf("%+v", got)
	}
	d.restart()
	load, told, odd := d.agency.vault.load(d.agency.peer.Charter().Daily)
	if len(load.Messages) != 1 || len(told) != 1 || odd != 0 {
		t.Fatalf("%d messages wait, %d without room", len(load.Messages), odd)
	}
	note, err := node.OpenMessage(owner, load.Messages[0])
	ok(t, err)
	m, err := grant.OpenMessage(note, d.ask.ReceptionKey)
	ok(t, err)
	if m.Ask != grant.AskStatement || m.Grant != grant.IDOf(a.note) {
		t.Errorf("%+v", m)
	}
	// An agency is named as the lists show it.
	for i, to := range []string{"Elmford Police", string(d.agency.agency[:12])} {
		_, err := d.agency.ask(t.Context(), Question{Release: a.root, Ask: grant.AskPassOn, Reason: "They go on with the case.", To: to})
		ok(t, err)
		load, _, _ := d.agency.vault.load(d.agency.peer.Charter().Daily)
		note, err := node.OpenMessage(owner, load.Messages[i+1])
		ok(t, err)
		if m, err := grant.OpenMessage(note, d.ask.ReceptionKey); err != nil || m.To != d.agency.agency {
			t.Errorf("%q: %q, %v", to, m.To, err)
		}
	}
}
