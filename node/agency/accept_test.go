package agency

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// Terms that the config leaves to officers wait for one, whatever the home tries, also over a restart; those that were offered do not.
func TestAnOfficerDecidesAboutTighterTerms(t *testing.T) {
	d := newDesk(t)
	ask := func() { d.agency.peer.Config.Agency.AskViewOnly, d.agency.peer.Config.Agency.AskBelowDays = true, 10 }
	ask()
	plain := d.answer(1, nil)
	ok(t, plain.offer())
	looked := d.answer(1, func(g *grant.Grant) { g.Terms.ViewOnly = true })
	waits := func() {
		t.Helper()
		var said *deliver.Error
		if err := looked.offer(); !errors.As(err, &said) || said.Class != deliver.ClassOfficer {
			t.Errorf("the home is told %v", err)
		}
	}
	waits()
	d.restart()
	ask()
	waits()
	all, err := d.agency.undecidedGrants()
	ok(t, err)
	if len(all) != 1 || all[0].Grant != grant.IDOf(looked.note) || all[0].Why == "" || all[0].Accepted {
		t.Fatalf("%+v", all)
	}
	found, err := d.agency.findGrant(t.Context(), FindArgs{Release: string(all[0].Grant[:12])})
	ok(t, err)
	viewed, err := found.Sign(grant.ActView, "a look is enough", d.now, d.officer)
	ok(t, err)
	nobodys, err := found.Sign(grant.ActAccept, "a look is enough", d.now, newKey(t, "Nobody"))
	ok(t, err)
	for what, note := range map[string][]byte{"another act": viewed, "nobody the docket enrols": nobodys} {
		if _, err := d.agency.accept(t.Context(), Act{Note: string(note)}); err == nil {
			t.Errorf("%s accepts it", what)
		}
	}
	waits()
	note, err := found.Sign(grant.ActAccept, "a look is enough", d.now, d.officer)
	ok(t, err)
	_, err = d.agency.accept(t.Context(), Act{Note: string(note)})
	ok(t, err)
	d.restart()
	ask()
	ok(t, looked.offer())
	if all, err := d.agency.undecidedGrants(); err != nil || len(all) != 0 {
		t.Errorf("%+v still waits, %v", all, err)
	}
	if kept, err := os.ReadFile(d.agency.vault.path(grant.IDOf(looked.note), "accept.note")); err != nil || !bytes.Equal(kept, note) {
		t.Errorf("the officer's act is not with the grant: %v", err)
	}
	briefly := d.answer(1, func(g *grant.Grant) { g.Terms.RetainUntil, g.Terms.UnusedUntil = d.ask.Expires, d.ask.Expires })
	if briefly.offer() != nil {
		t.Error("ten days are fewer than ten")
	}
}

// A stranger who makes ever more grants for the officers keeps nobody out: what an officer accepted stays, and who was pushed out comes back.
func TestNobodyFillsTheOfficersList(t *testing.T) {
	d := newDesk(t)
	d.agency.peer.Config.Agency.AskViewOnly = true
	only := func(g *grant.Grant) { g.Terms.ViewOnly = true }
	one, two := d.answer(1, only), d.answer(1, only)
	waits := func(a *answer) {
		t.Helper()
		var said *deliver.Error
		if err := a.offer(); !errors.As(err, &said) || said.Class != deliver.ClassOfficer {
			t.Fatalf("the home is told %v", err)
		}
	}
	waits(one)
	waits(two)
	note, err := Found{Agency: d.agency.agency, Grant: grant.IDOf(one.note), Release: consent.ReleaseID(one.root)}.Sign(grant.ActAccept, "a look is enough", d.now, d.officer)
	ok(t, err)
	_, err = d.agency.accept(t.Context(), Act{Note: string(note)})
	ok(t, err)
	old := time.Now().Add(-time.Hour)
	ok(t, os.Chtimes(d.agency.vault.waitingPath(grant.IDOf(one.note), ".note"), old, old))
	ok(t, os.Chtimes(d.agency.vault.waitingPath(grant.IDOf(two.note), ".note"), old, old))
	stranger := d.answer(1, only)
	for i := range maxWaiting { // of which the last brings the list over its bound
		stranger.grant.Expires = consent.At(d.now.Add(time.Hour + time.Duration(i)*time.Second))
		stranger.note = d.sign(stranger.grant, stranger.key)
		if i < maxWaiting-1 {
			ok(t, os.WriteFile(d.agency.vault.waitingPath(grant.IDOf(stranger.note), ".note"), stranger.note, 0o600))
		}
	}
	list := func() (all []consent.GrantID) {
		t.Helper()
		waiting, err := d.agency.undecidedGrants()
		ok(t, err)
		for _, w := range waiting {
			all = append(all, w.Grant)
		}
		return all
	}
	waits(stranger)
	if all := list(); len(all) != maxWaiting+1 || slices.Contains(all, grant.IDOf(two.note)) || !slices.Contains(all, grant.IDOf(stranger.note)) {
		t.Errorf("%d grants wait", len(all))
	}
	waits(two)
	waits(two)
	if all := list(); len(all) != maxWaiting+1 || !slices.Contains(all, grant.IDOf(two.note)) {
		t.Errorf("who came back is not among the %d that wait", len(all))
	}
	ok(t, one.offer())
}
