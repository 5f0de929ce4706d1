package agency

import (
	"bytes"
	"errors"
	"os"
	"testing"

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
