package agency

import (
	"errors"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

func full(err error) bool {
	var said *deliver.Error
	return errors.As(err, &said) && said.Class == deliver.ClassNoRoom && errors.Is(err, errPromises)
}

// More homes answer at once than the docket has places for. What is signed for stands in it in time, whatever its date says; the others are told to
// come again, and find a place on another day.
func TestPromise09NothingIsSignedThatTheDocketSaysTooLate(t *testing.T) {
	d := newDesk(t)
	d.pass(48 * time.Hour)
	waits := d.answer(1, nil)
	waits.send(waits.begin(), 99) // there was room when it came
	signed := map[*answer]docket.Day{}
	// In its turn everybody is dated before those who came earlier.
	start := d.now
	fill := func() (refused *answer) {
		for len(signed) < 100 {
			at := start.Add(-time.Duration(len(signed)) * time.Minute)
			a := d.answer(1, func(g *grant.Grant) { g.Created, g.Terms = consent.At(at), grant.Offered(d.ask.Terms, at) })
			if err := a.offer(); full(err) {
				return a
			} else {
				ok(t, err)
			}
			a.send(a.begin(), 99)
			ok(t, a.complete())
			signed[a] = docket.DayOf(d.now)
		}
		t.Fatal("there is no end of places")
		return nil
	}
	var several []grant.Release
	for range promiseWithin + 2 {
		several = append(several, d.answer(1, nil).grant.Releases[0])
	}
	ok(t, d.answer(1, func(g *grant.Grant) { g.Releases = append(g.Releases, several...) }).offer()) // they come one by one
	refused := fill()
	if n := len(signed); n < promiseWithin-1 || n > promiseWithin+1 {
		t.Errorf("%d have a place in the next %d days", n, promiseWithin)
	}
	if err := waits.complete(); !full(err) {
		t.Errorf("a receipt where there is no place any more: %v", err)
	}
	if got := d.agency.log[len(d.agency.log)-1]; got.Name != "docket-full" {
		t.Errorf("the agency's list ends with %+v", got)
	}
	var first *answer
	for a := range signed {
		first = a
	}
	ok(t, first.receiver().Key(t.Context(), first.from, first.root, []byte(first.secret)))
	d.use(first)
	longer := grant.Extension{Grant: grant.IDOf(first.note), CID: consent.ReleaseID(first.root), Holder: d.agency.agency, Secret: again, Key: first.key.Verifier(),
		Created: consent.At(first.grant.Created.Add(time.Minute)), RetainUntil: consent.At(first.grant.Terms.RetainUntil.Add(time.Minute))}
	if _, err := first.says(longer); !full(err) {
		t.Errorf("an extension where there is no place: %v", err)
	}
	// Another class has places of its own.
	ok(t, d.answer(1, func(g *grant.Grant) {
		g.Terms.RetainUntil = consent.At(d.now.AddDate(0, 0, 20))
		g.Terms.UnusedUntil = g.Terms.RetainUntil
	}).offer())

	for day := range 7 {
		d.pass(24 * time.Hour)
		if day%2 == 0 {
			d.restart()
		}
		if err := waits.complete(); err == nil && signed[waits] == "" {
			signed[waits] = docket.DayOf(d.now)
		} else if err != nil && !full(err) {
			t.Fatal(err)
		}
		fill()
	}
	if signed[waits] == "" || refused.offer() != nil && !full(refused.offer()) {
		t.Errorf("who waited is not let in: signed on %q, %v", signed[waits], refused.offer())
	}
	d.pass((promiseWithin + 2) * 24 * time.Hour)
	l := d.log()
	for a, on := range signed {
		if f, there := l.Follow(a.commitment()); !there || f.Day > on.Add(promiseWithin) {
			t.Errorf("signed for on %s, and the docket holds it %v on %q", on, there, f.Day)
		}
	}
	longer.Created, longer.RetainUntil = consent.At(d.now), consent.At(first.grant.Terms.RetainUntil.Add(time.Hour))
	_, err := first.says(longer)
	ok(t, err)
}

func TestNothingIsTakenOverThatTheDocketSaysTooLate(t *testing.T) {
	d := newDesk(t)
	e, h := d.passed()
	many := &held{id: "many", grant: grant.Grant{Created: consent.At(e.now), Terms: h.grant.Terms}, releases: map[string]*kept{}}
	for range 20 {
		r := d.answer(1, nil).grant.Releases[0]
		many.grant.Releases = append(many.grant.Releases, r)
		many.releases[string(r.CID)] = &kept{Root: string(r.CID), State: "sealed", held: true}
	}
	e.agency.vault.grants["many"] = many
	_, err := h.takes()
	if !full(err) || node.HintOf(err) == "" {
		t.Errorf("taken over where there is no place: %v", err)
	}
	delete(e.agency.vault.grants, "many")
	_, err = h.takes()
	ok(t, err)
}
