package node_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// days lets time pass for everybody. The agency's node is off meanwhile, and the others that are named, and when they are back they have run for
// long enough to trust their clocks.
func (n *neighbourhood) days(days int, others ...*running) {
	n.t.Helper()
	all := append([]*running{n.police}, others...)
	for _, a := range all {
		addrs := a.addrs()
		a.stop()
		n.listenAt(a.dir, addrs)
	}
	n.now.add(time.Duration(days) * 24 * time.Hour)
	for _, a := range all {
		n.believed(a.dir)
		*a = *n.run(a.dir, node.Agency)
	}
}

// at has the methods of a neighbourhood mean another agency for a while.
func (n *neighbourhood) at(other *running, do func()) {
	police := n.police
	n.police = other
	do()
	n.police = police
}

// stands waits until the one release that left a home stands so.
func (r *running) stands(want home.Stand) (p home.Promise) {
	r.t.Helper()
	var all []home.Promise
	r.wait("a release that is "+string(want), func() bool {
		r.do("home.promises", home.PromisesArg{}, &all)
		return len(all) == 1 && all[0].State == want
	})
	return all[0]
}

// heard says whether something was said about a release.
func heard(p home.Promise, what string) bool {
	return slices.ContainsFunc(p.Said, func(s home.Said) bool { return strings.HasPrefix(s.What, what) })
}

// A clip is given, promised in the docket, asked about, said to be used, and deleted in time; its owner sees each step in the docket and in sealed
// messages. An officer looks at it with a signed reason. Nobody uses the second clip, and it is gone after thirty days.
func TestPromise09FromGrantToADeletionThatEverybodySees(t *testing.T) {
	n := newNeighbourhood(t, "herald")
	ana := n.home("ana", corner, 0)
	d := n.draft()
	d.RetentionDays, d.UnusedDays = 60, 30
	id := n.policeAsk(d)
	ana.shown(id)
	ana.agrees(id)
	held := n.vault(1, "open")[0]
	if p := ana.stands(home.StandHeld); p.Terms.RetainUntil.IsZero() || p.Due == "" {
		t.Errorf("%+v", p)
	}
	n.police.do("agency.ask", agency.Question{Release: held.Release, Ask: grant.AskStatement, Reason: "Did the van stand there before seven?"}, nil)
	n.days(3)
	p := ana.stands(home.StandPromised)
	ana.wait("the question", func() bool { return heard(ana.stands(home.StandPromised), "asks: statement") })
	ana.do("home.say", home.Say{Release: p.Release, What: "statement", Text: "It stood there since noon."}, nil)
	ana.wait("the statement to be taken in", func() bool {
		p := ana.stands(home.StandPromised)
		return heard(p, "statement") && !heard(p, "statement (on its way)")
	})
	var said []agency.Said
	n.police.do("agency.said", struct{}{}, &said)
	if len(said) != 1 || said[0].Release != held.Release || said[0].What != "statement" || said[0].Text != "It stood there since noon." {
		t.Errorf("an officer reads %+v", said)
	}
	n.days(29)
	n.vault(1, "deleted")
	n.days(2)
	ana.stands(home.StandPromised) // until the docket says so
	n.days(2)
	ana.stands(home.StandDeleted)

	// What a lawyer is given has the documents and no key.
	var out home.Exported
	folder := filepath.Join(n.dir, "for-my-lawyer")
	ana.do("home.ledger.export", home.Export{Out: folder}, &out)
	if out.Releases != 1 || out.Documents < 7 {
		t.Errorf("%+v", out)
	}
	page, err := os.ReadFile(filepath.Join(folder, "index.html"))
	ok(t, err)
	for _, want := range []string{"Elmford Police", "deleted on", "Did the van stand there before seven?", "It stood there since noon."} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	ok(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), "PRIVATE+KEY") || strings.Contains(string(b), "AGE-SECRET-KEY") {
			t.Errorf("%s holds a key", path)
		}
		return err
	}))
	ana.fails("home.ledger.export", home.Export{Out: folder}, "exists")
}

// What its owner takes back is gone at the agency at once, and its docket says so when the day comes.
func TestPromise09AnOwnerTakesBackWhatWasGiven(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", corner, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	ana.agrees(id)
	n.vault(1, "open")
	ana.stands(home.StandHeld)
	var back []home.AnswerStatus
	ana.do("home.withdraw", home.RequestArg{Request: id}, &back)
	if len(back) != 1 {
		t.Errorf("%+v", back)
	}
	n.vault(1, "deleted")
	p := ana.stands(home.StandGone)
	if !heard(p, "withdrawn") || !heard(p, string(grant.Deleted)) {
		t.Errorf("%+v", p.Said)
	}
	ana.fails("home.withdraw", home.RequestArg{Request: id}, "nothing to take back")
	n.days(3)
	ana.stands(home.StandGone)
}

// What was given to an agency that is suspended, or admitted no more, is still followed and can be taken back; nothing else goes to one that is not
// admitted.
func TestPromise09WhatWasGivenStaysBoundWhenItsHolderMayAskNoMore(t *testing.T) {
	n := newNeighbourhoodWith(t, []charter.AgencyClass{charter.Prosecutor})
	n.more = n.start("second", node.Steward).addrs()
	ana, ben := n.home("ana", corner, 0), n.home("ben", corner, 0)
	id := n.policeAsk(n.draft())
	for _, h := range []*running{ana, ben} {
		h.shown(id)
		h.agrees(id)
		h.stands(home.StandHeld)
	}
	takesBack := func(h *running) home.Promise {
		h.unseen()
		h.stands(home.StandHeld)
		h.do("home.withdraw", home.RequestArg{Request: id}, nil)
		return h.stands(home.StandGone)
	}
	n.change(func(c *charter.Charter) { c.Agencies[0].Suspended = "no report of 3 May" }, ana, ben, n.police, n.steward)
	takesBack(ana)
	n.vault(1, "deleted")
	n.change(func(c *charter.Charter) {
		c.Removed = []charter.Removal{{Agency: c.Agencies[0].ID(), Name: c.Agencies[0].Name, Reason: "no report of 3 May"}}
		c.Agencies = c.Agencies[1:]
	}, ana, ben, n.police, n.steward)
	given := ben.stands(home.StandHeld)
	if !strings.Contains(given.Words, "the charter has not listed the agency since ") {
		t.Errorf("its owner is told: %s", given.Words)
	}
	ben.do("home.say", home.Say{Release: given.Release, What: "statement", Text: "The car stood there since noon."}, nil)
	if p := takesBack(ben); !heard(p, "withdrawn") || !heard(p, "statement (on its way)") {
		t.Errorf("%+v", p.Said)
	}
	n.vault(2, "deleted")
}

// What an owner lets be kept for longer is promised anew in the docket, and its key outlives the terms it came with; a hold does the same to
// a clip beyond what its owner extended it to, as long as the docket declares it, and its owner is told by which court.
func TestPromise09OnlyItsOwnerOrACourtKeepsAClip(t *testing.T) {
	n := newNeighbourhood(t)
	ana, ben := n.home("ana", corner, 0), n.home("ben", corner, 0)
	d := n.draft()
	d.RetentionDays = 30
	id := n.policeAsk(d)
	for _, h := range []*running{ana, ben} {
		h.shown(id)
		h.agrees(id)
		h.stands(home.StandHeld)
	}
	held := n.vault(2, "open")
	extended, kept := ana.stands(home.StandHeld).Release, ben.stands(home.StandHeld).Release
	if len(held) != 2 || extended == kept {
		t.Fatalf("%+v", held)
	}
	n.police.do("agency.use", n.act(grant.ActUse, extended, "it shows the car"), nil)
	ana.do("home.say", home.Say{Release: extended, What: "extend", Until: n.now.now().AddDate(0, 0, 100)}, nil)
	ana.wait("the extension to be taken in", func() bool {
		return heard(ana.stands(home.StandHeld), "extended") && heard(ana.stands(home.StandHeld), "used")
	})
	ana.fails("home.say", home.Say{Release: extended, What: "extend", Until: n.now.now().AddDate(2, 0, 0)}, "retention-too-long")
	var draft agency.Drafted
	n.police.do("agency.hold", agency.DraftHold{Releases: []string{kept}, Court: "County Court", Number: "26-CV-118", DocumentSHA256: strings.Repeat("ab", 32),
		Officer: n.officer.Verifier(), Supervisor: n.supervisor.Verifier()}, &draft)
	// The hold covers it under a commitment that the docket soon follows no more.
	ben.do("home.say", home.Say{Release: kept, What: "extend", Until: n.now.now().AddDate(0, 0, 33)}, nil)
	ben.wait("the extension to be taken in", func() bool { return heard(ben.stands(home.StandHeld), "extended") })
	note := []byte(draft.Text)
	for _, k := range []consent.Key{n.officer, n.supervisor} {
		var err error
		note, err = consent.AddSignature(note, k)
		ok(t, err)
	}
	n.publish(note)
	n.days(3)
	if p := ana.stands(home.StandPromised); p.Docket.KeepDays < 100 {
		t.Errorf("the docket promises %+v", p.Docket)
	}
	ben.wait("word of the hold", func() bool {
		var all []home.Promise
		ben.do("home.promises", home.PromisesArg{}, &all)
		return len(all) == 1 && heard(all[0], string(grant.KeptByLaw))
	})
	n.days(35) // past the terms of both
	n.vault(2, "open")
	if p := ben.stands(home.StandKeptByLaw); !strings.Contains(p.Words, "County Court, 26-CV-118") {
		t.Errorf("%+v", p)
	}
}

// passedOn has the police pass a release on to another agency, as its owner signs that they may, and returns once it opened there.
func (n *neighbourhood) passedOn(owner *running, release string, to *running, id consent.AgencyID, class charter.AgencyClass, keepDays int) {
	n.t.Helper()
	owner.do("home.say", home.Say{Release: release, What: "pass-on", To: string(id), KeepDays: keepDays}, nil)
	owner.wait("the consent to be taken in", func() bool {
		var all []home.Promise
		owner.do("home.promises", home.PromisesArg{Release: release}, &all)
		return len(all) == 2 && all[1].State == home.StandAllowed
	})
	var card agency.Invited
	to.do("agency.taking", struct{}{}, &card)
	var draft agency.Drafted
	n.police.do("agency.transfer", agency.DraftTransfer{Releases: []string{release}, To: class, Ground: docket.GroundOwner, Officer: n.officer.Verifier(), Supervisor: n.supervisor.Verifier()}, &draft)
	note := []byte(draft.Text)
	for _, k := range []consent.Key{n.officer, n.supervisor} {
		var err error
		note, err = consent.AddSignature(note, k)
		ok(n.t, err)
	}
	n.publish(note)
	file := filepath.Join(n.t.TempDir(), "passed-on")
	n.police.do("agency.passon", agency.PassOn{Note: n.act(grant.ActPassOn, release, "for the prosecutor").Note, Card: card.Card, Out: file}, nil)
	to.wait("the transfer to be known", func() bool {
		return to.call.Call(n.t.Context(), "agency.takeover", agency.TakeOver{File: file}, nil) == nil
	})
}

// promised waits until a release's holders, in order, stand so.
func (r *running) promised(want ...home.Stand) (all []home.Promise) {
	r.t.Helper()
	r.t.Cleanup(func() {
		if r.t.Failed() {
			for _, p := range all {
				r.t.Logf("%s: %s is %s: %s; %+v", filepath.Base(r.dir), p.Agency, p.State, p.Words, p.Said)
			}
		}
	})
	r.wait(fmt.Sprint("holders that stand ", want), func() bool {
		r.do("home.promises", home.PromisesArg{}, &all)
		return slices.EqualFunc(all, want, func(p home.Promise, s home.Stand) bool { return p.State == s })
	})
	return all
}

// A clip that its owner lets be passed on binds whoever has it: the owner's node follows both dockets, is told by whom it is held, takes it back from
// all of them, and shows what the second holder does not keep as it would the first's.
func TestPromise09WhatIsPassedOnBindsItsNewHolder(t *testing.T) {
	n := newNeighbourhoodWith(t, []charter.AgencyClass{charter.Prosecutor})
	n.more = n.start("second", node.Steward).addrs()
	ana, ben := n.home("ana", corner, 0), n.home("ben", corner, 0)
	prosecutor := n.start(string(charter.Prosecutor), node.Agency)
	id := n.chain.Current().Agencies[1].ID()
	n.at(prosecutor, func() {
		n.publish(n.officerEntry())
		d := n.draft()
		d.Case, d.IncidentAt = "PR-26-4", d.IncidentAt.Add(time.Hour)
		d.From, d.Until = d.From.Add(time.Hour), d.Until.Add(time.Hour)
		n.policeAsk(d) // so that there is an address that takes what owners say
	})
	d := n.draft()
	d.RetentionDays = 30
	asked := n.policeAsk(d)
	for _, h := range []*running{ana, ben} {
		h.shown(asked)
		h.agrees(asked)
		n.passedOn(h, h.stands(home.StandHeld).Release, prosecutor, id, charter.Prosecutor, 20)
	}
	n.days(3, prosecutor) // the dockets' first daily entries
	n.days(3, prosecutor) // and those that tell what found no place in them
	for _, h := range []*running{ana, ben} {
		var all []home.Promise
		h.wait("the messages of both", func() bool {
			all = h.promised(home.StandPromised, home.StandPromised)
			return heard(all[1], string(grant.Used)) && heard(all[0], string(grant.PassedOn))
		})
		if all[1].AgencyID != id || all[1].Via != all[0].AgencyID || all[1].Docket == nil {
			t.Errorf("%+v", all)
		}
		if all[1].Terms.RetainUntil.After(all[0].Terms.RetainUntil.Time) {
			t.Error("the new holder may keep it for longer")
		}
	}
	// Ana takes hers back, from both.
	ana.do("home.withdraw", home.RequestArg{Request: asked}, nil)
	ana.promised(home.StandGone, home.StandGone)
	n.vault(1, "deleted")
	n.at(prosecutor, func() { n.vault(1, "deleted") })

	// The prosecutor's node goes dark, and Ben's is never said to be deleted there.
	prosecutor.stop()
	n.days(28)
	n.days(28)
	all := ben.promised(home.StandDeleted, home.StandOverdue)
	var shown home.BreachStatus
	ben.do("home.breach", home.BreachArg{Release: all[0].Release, Publish: true}, &shown)
	b, err := grant.OpenBreach([]byte(shown.Note))
	ok(t, err)
	if b.Agency != id || b.Card == "" || shown.Promise.AgencyID != id {
		t.Errorf("%+v", b)
	}
	ana.wait("the breach record", func() bool {
		var r node.RequestStatus
		ana.do("request", node.RequestArg{Request: asked}, &r)
		return len(r.Breaches) == 1 && r.Breaches[0].Agency == id && r.Breaches[0].Stands && r.Breaches[0].PassedOn
	})
	ben.wait("word that it is public", func() bool { return ben.promised(home.StandDeleted, home.StandOverdue)[1].Breach == "public" })
}
