package record

import (
	"cmp"
	"crypto/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
)

// The police delete what they were given for forty days, but for one release, and then fall silent for ten. Its owner shows it; a court's hold
// covers two releases, and one is passed on by its order. All of it is in the record, and what they say at last.
func TestRecordTellsWhatBecomesOfPromises(t *testing.T) {
	w, o := newBrokenPromise(t)
	due := docket.DayOf(spring).Add(31)
	page, a := string(w.written("html")), must(w.watch.Record(w.policeID)).Agencies[0]
	p := a.Promises
	if p.Committed != 40*16 || p.OnTime == 0 || p.Late != 0 || p.Overdue < 3 || p.Unaccounted != p.Overdue-2 || p.Holds != 1 || p.Covered != 2 || p.HoldsRenewed != 0 ||
		p.LastDaily != docket.DayOf(spring).Add(39) || p.Silent != p.LastDaily.Add(1) || len(p.Transfers) != 1 ||
		p.Transfers[0] != (docket.Transfers{To: docket.ToCourt, Ground: docket.GroundOrder, Count: 1}) || p.BreachesStand != 1 || p.BreachesAnswered != 0 {
		t.Errorf("%+v", p)
	}
	if a.Standing.State != node.NotKept || !strings.Contains(page, "Elmford Police</a>: promises not kept; ") || strings.Contains(page, "in order") {
		t.Errorf("beside that it stands as %+v: %s", a.Standing, a.Standing.Words())
	}
	var overdue []node.AgencyOverdue
	if err := w.watch.Commands().Call(t.Context(), "overdue", node.RecordArg{Agency: "Elmford Police"}, &overdue); err != nil {
		t.Fatal(err)
	}
	if len(overdue) != 1 || overdue[0].On != docket.DayOf(w.now) || len(overdue[0].Overdue) != p.Overdue || overdue[0].Overdue[0] != (node.Overdue{Commitment: o.commitment, Made: due.Add(-30), Due: due}) ||
		!slices.IsSortedFunc(overdue[0].Overdue, func(a, b node.Overdue) int { return cmp.Compare(a.Due, b.Due) }) {
		t.Errorf("%+v", overdue)
	}
	if err := w.watch.Commands().Call(t.Context(), "overdue", node.RecordArg{}, &overdue); err != nil || len(overdue) != 2 || len(overdue[1].Overdue) != 0 {
		t.Errorf("of all: %+v, %v", overdue, err)
	}
	for _, want := range []string{"Broken promises.</strong> owners showed once that the docket does not keep", "Passed on to: court (a court&#39;s order)",
		"the deletion of a clip was due on " + string(due) + ", and the docket does not say it.", "2026-04-09; silent since 2026-04-10"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	csv := string(w.written("csv"))
	if !strings.Contains(csv, ",breaches_stand,breaches_answered\r\n") || !strings.HasSuffix(csv, ",1,0\r\n") {
		t.Errorf("%s", csv)
	}
	o.deleted = true
	for range 10 {
		w.daily(o)
	}
	a = must(w.watch.Record(w.policeID)).Agencies[0]
	p = a.Promises
	if a.Standing.State != node.NotWitnessed || p.Overdue != 0 || p.Unaccounted != 0 || p.Late == 0 || p.Silent != "" || p.BreachesStand != 0 || p.BreachesAnswered != 1 {
		t.Errorf("after they spoke: %+v", p)
	}
	if page := string(w.written("html")); strings.Contains(page, "Broken promise</strong>") || !strings.Contains(page, "; answered since, on "+string(docket.DayOf(w.now))+".") {
		t.Error("the page does not say that it was answered")
	}
}

// An owed is a release that the police hold, and whether they deleted it.
type owed struct {
	commitment grant.Commitment
	deleted    bool
}

// daily adds the next day's entry to the police's docket.
func (w *town) daily(o *owed) {
	w.t.Helper()
	load := docket.Load{Real: func(c grant.Commitment) (docket.Status, bool) {
		return docket.Status{Deleted: o.deleted}, c == o.commitment
	}}
	d := w.watch.Docket(w.policeID)
	if day, _, _, _ := d.NextDaily(w.now); day == docket.DayOf(spring).Add(1) {
		load.Waiting = []docket.Waiting{{Commitment: o.commitment, KeepDays: 30, From: day}}
	}
	must(d.AppendDaily(load, w.policeKey, w.now))
}

func newBrokenPromise(t *testing.T) (*town, *owed) {
	w := newTown(t)
	reception, key := must(consent.GenerateKey(rand.Reader, request.ReceptionKeyName)), must(consent.GenerateKey(rand.Reader, grant.KeyName))
	id := w.asks(w.policeID, "EP-1", request.ProbableCause, func(r *request.Request) { r.ReceptionKey = reception.Verifier() })
	release := grant.Release{CID: "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", Secret: grant.Secret(consent.HashText([]byte("secret")))}
	o := &owed{commitment: release.Commitment()}
	receipt := grant.Receipt{Grant: consent.GrantID(consent.HashText([]byte("grant"))), GrantKey: key.Verifier(), CID: release.CID, Commitment: o.commitment,
		State: grant.Held, SealedSHA256: consent.HashText([]byte("sealed")), DeleteBy: consent.At(w.now.AddDate(0, 0, 30)), At: consent.At(w.now), Key: reception.Verifier()}
	for i := range 40 {
		w.now = spring.Add(time.Duration(i) * day)
		w.daily(o)
	}
	w.now = w.now.Add(10 * day)
	order := consent.HashText([]byte("order"))
	blind := func(s string) grant.Commitment { return grant.Commitment(consent.HashText([]byte(s))) }
	two := []grant.Commitment{blind("one"), blind("other")}
	slices.Sort(two)
	w.enter(w.policeID, docket.Hold{Court: "County Court", Number: "26-CV-118", DocumentSHA256: order, Covers: two, Created: consent.At(w.now),
		Officer: w.ruiz.Verifier(), Supervisor: w.stone.Verifier()}, w.ruiz, w.stone)
	w.enter(w.policeID, docket.Transfer{To: docket.ToCourt, Ground: docket.GroundOrder, DocumentSHA256: order, Covers: two[:1], Created: consent.At(w.now),
		Officer: w.ruiz.Verifier(), Supervisor: w.stone.Verifier()}, w.ruiz, w.stone)
	must(w.watch.Asked(w.policeID))
	if err := w.watch.AdmitPaper(must(consent.Sign(grant.Breach{Agency: w.policeID, Request: id, Fault: grant.FaultOverdue,
		Receipt: string(must(consent.Sign(receipt, reception))), Created: consent.At(w.now), Key: key.Verifier()}, key))); err != nil {
		t.Fatal(err)
	}
	return w, o
}

// An agency that was removed from the charter can say nothing any more: what it owed on that day stands, and what falls due later is no fault of its own.
func TestAnAgencyThatWasRemovedOwesNoMore(t *testing.T) {
	w, o := newBrokenPromise(t)
	before := must(w.watch.Record(w.policeID)).Agencies[0].Promises
	if sheriff := must(w.watch.Record(w.shiresID)).Agencies[0].Promises; sheriff.Silent != docket.DayOf(spring).Add(1) || !strings.Contains(sheriff.Words(), "from 2026-03-02 on") {
		t.Errorf("one that never said anything: %+v: %s", sheriff, sheriff.Words())
	}
	next := *w.watch.Charter()
	next.Version, next.Created, next.Previous, next.Agencies = 2, consent.At(w.now), consent.HashText(w.note), nil
	for _, a := range []charter.Agency{w.police, w.sheriff} {
		next.Removed = append(next.Removed, charter.Removal{Agency: a.ID(), Name: a.Name, Reason: "the council voted so"})
	}
	if err := w.watch.AdmitCharter(must(consent.Sign(next, w.ana))); err != nil {
		t.Fatal(err)
	}
	on := docket.DayOf(w.now)
	w.now = w.now.AddDate(0, 6, 0)
	before.Removed = on
	after := must(w.watch.Record(w.policeID)).Agencies[0].Promises
	if !reflect.DeepEqual(before, after) || after.BreachesStand != 1 {
		t.Errorf("on the day of its removal %+v, half a year later %+v", before, after)
	}
	if !strings.HasSuffix(after.LastWord(), "; not in the charter since "+string(on)+", and says no more") {
		t.Error(after.LastWord())
	}
	if day, all := w.watch.OverdueOf(w.policeID); day != on || len(all) != before.Overdue {
		t.Errorf("%d are listed of %s, %d were overdue on %s", len(all), day, before.Overdue, on)
	}
	// What it signed for on the day before was due later.
	r := grant.Receipt{Commitment: grant.Commitment(consent.HashText([]byte("late"))), State: grant.Held, At: consent.At(on.Time().Add(-day))}
	if got := w.watch.Docket(w.policeID).Fails(r, w.now); len(got) > 0 {
		t.Errorf("its docket fails what it had no time to tell: %v", got)
	}
	r.Commitment = o.commitment
	if got := w.watch.Docket(w.policeID).Fails(r, w.now); len(got) != 1 || got[0] != grant.FaultOverdue {
		t.Errorf("what was overdue is none: %v", got)
	}
}
