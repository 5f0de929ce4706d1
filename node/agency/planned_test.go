package agency

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// A charter raises its limits. They count at once, and the daily entries follow later: until then nothing is asked for, accepted or
// let be kept that they have no place for.
func TestTermsAreNoWiderThanTheDailyEntries(t *testing.T) {
	d := newDesk(t)
	signer := newKey(t, "Bea")
	one := d.agency.peer.Charter()
	one.Signers = []charter.Signer{{Name: "Bea", Key: signer.Verifier()}}
	one.Limits.MaxRetentionDays, one.Limits.MaxUnusedDays = 90, 20
	one.Daily = charter.DefaultDaily(one.Limits)
	chain, err := charter.Start(d.sign(one, signer))
	ok(t, err)
	two := one
	two.Version, two.Previous = 2, chain.CurrentHash()
	two.Limits.MaxRetentionDays, two.Limits.MaxUnusedDays = 365, 30
	two.Daily = charter.DefaultDaily(two.Limits)
	chain, err = chain.Extend(d.sign(two, signer))
	ok(t, err)
	ok(t, d.agency.Close())
	ok(t, os.RemoveAll(filepath.Join(d.dir, "charter")))
	ok(t, node.WriteCharter(durable.Disk{}, filepath.Join(d.dir, "charter"), chain))
	d.open()
	if got := d.agency.peer.Charter().Limits.MaxRetentionDays; got != 365 {
		t.Fatalf("the charter lets clips be kept %d days", got)
	}
	used, unused := d.agency.planned()
	if used != 90 || unused != 20 {
		t.Errorf("a draft would offer %d days, %d unused", used, unused)
	}
	asks := func(kept, unused int) (request.Request, []byte) {
		r := d.ask
		r.Case, r.Terms.RetentionDays, r.Terms.UnusedDays = "EP-2026-2", kept, unused
		return r, d.sign(r, d.officer, d.supervisor)
	}
	for _, wide := range [][2]int{{91, 20}, {90, 21}} {
		_, note := asks(wide[0], wide[1])
		_, err := d.agency.publish(t.Context(), Entry{Note: string(note)})
		wants(t, err, "the docket's daily entries have places for up to 90 and 20 so far")
		if node.HintOf(err) == "" {
			t.Error("no way out is shown")
		}
	}
	_, note := asks(90, 20)
	if _, err := d.agency.publish(t.Context(), Entry{Note: string(note)}); err == nil || node.HintOf(err) != node.HintOf(node.WithHint(node.ErrNotRunning, "start it with `porchlight agency run`")) {
		t.Errorf("terms that fit: %v", err)
	}

	// A request that was published all the same.
	wide, note := asks(200, 30)
	_, err = d.agency.peer.Docket(d.agency.agency).Append(note, d.agency.key, d.now)
	ok(t, err)
	d.restart()
	d.ask, d.id = wide, request.IDOf(note)
	wants(t, d.answer(1, nil).offer(), "so far")
	keeps := func(kept, unused int) func(g *grant.Grant) {
		return func(g *grant.Grant) {
			g.Terms.RetainUntil, g.Terms.UnusedUntil = consent.At(d.now.AddDate(0, 0, kept)), consent.At(d.now.AddDate(0, 0, unused))
		}
	}
	wants(t, d.answer(1, keeps(90, 21)).offer(), "so far")
	a := d.opened(keeps(90, 20))
	d.use(a)
	longer := grant.Extension{Grant: grant.IDOf(a.note), CID: consent.ReleaseID(a.root), Holder: d.agency.agency, Secret: again, Key: a.key.Verifier(),
		Created: consent.At(d.now), RetainUntil: consent.At(d.now.AddDate(0, 0, 91))}
	_, err = a.says(longer)
	wants(t, err, "so far")

	for range 32 { // the entries follow
		d.skip(24 * 60 * 60 * 1e9)
	}
	if used, unused := d.agency.planned(); used != 365 || unused != 30 {
		t.Errorf("a month later: %d days, %d unused", used, unused)
	}
	longer.Created, longer.RetainUntil = consent.At(d.now), consent.At(d.now.AddDate(0, 0, 91))
	_, err = a.says(longer)
	ok(t, err)
}
