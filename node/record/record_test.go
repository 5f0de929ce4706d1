package record

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A town has two agencies and one observer, whose copies of their dockets are the dockets.
type town struct {
	t                  *testing.T
	now                time.Time
	ana, ruiz, stone   consent.Key
	police, sheriff    charter.Agency
	policeKey, shires  consent.Key
	watch              *node.Peer
	reply              string
	policeID, shiresID consent.AgencyID
	note               []byte // the newest charter's
}

const day = 24 * time.Hour

var spring = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func newTown(t *testing.T) *town {
	key := func(name string) consent.Key { return must(consent.GenerateKey(rand.Reader, name)) }
	w := &town{t: t, now: spring, ana: key("Ana"), ruiz: key("Det.Ruiz"), stone: key("Sgt.Stone"),
		policeKey: must(docket.NewKey(rand.Reader)), shires: must(docket.NewKey(rand.Reader))}
	describe := func(name string, class charter.AgencyClass, key consent.Key) charter.Agency {
		return charter.Agency{Name: name, Class: class, Key: key.Verifier(), Supervisors: []consent.VerifierKey{w.stone.Verifier()},
			Jurisdiction: geo.Circle(geo.Point{Lat: 44, Lon: -40}, 5000, 32), PolicyURL: "https://example.org/policy?a=1&b=2"}
	}
	w.police, w.sheriff = describe("Elmford Police", charter.LocalPolice, w.policeKey), describe("Shire <Sheriff> & Sons", charter.CountySheriff, w.shires)
	w.policeID, w.shiresID = w.police.ID(), w.sheriff.ID()
	w.note = must(consent.Sign(charter.Charter{Mesh: "Elm Street", Version: 1, Created: consent.At(w.now), Ends: consent.At(w.now.AddDate(2, 0, 0)),
		Signers: []charter.Signer{{Name: "Ana Silva", Key: w.ana.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{w.police, w.sheriff},
		Limits: charter.DefaultLimits(), Daily: charter.DefaultDaily(charter.DefaultLimits()),
		Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff()}, w.ana))
	chain := must(charter.Start(w.note))
	dir := filepath.Join(t.TempDir(), "watch")
	if err := errors.Join(node.Create(dir, node.Observe), node.WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), chain)); err != nil {
		t.Fatal(err)
	}
	w.watch = must(node.OpenPeer(dir, node.Options{Now: func() time.Time { return w.now }}))
	t.Cleanup(func() { w.watch.Close() })
	_, pub, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.reply = "/ip4/8.8.8.8/tcp/4001/p2p/" + must(peer.IDFromPublicKey(pub)).String()
	for id, name := range map[consent.AgencyID]string{w.policeID: `Ruiz "<img src=x>"`, w.shiresID: "Ruiz"} {
		w.enter(id, docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: name, Key: w.ruiz.Verifier(),
			Expires: consent.At(w.now.AddDate(1, 0, 0)), Created: consent.At(w.now), By: w.stone.Verifier()}, w.stone)
	}
	return w
}

// enter signs an entry and puts it into an agency's docket.
func (w *town) enter(id consent.AgencyID, body consent.Body, keys ...consent.Key) consent.RequestID {
	w.t.Helper()
	note := must(consent.Sign(body, keys...))
	key := w.policeKey
	if id == w.shiresID {
		key = w.shires
	}
	if _, err := w.watch.Docket(id).Append(note, key, w.now); err != nil {
		w.t.Fatal(err)
	}
	return request.IDOf(note)
}

func (w *town) asks(id consent.AgencyID, name string, basis request.Basis, change func(*request.Request)) consent.RequestID {
	w.t.Helper()
	at := w.now.Add(-3 * time.Hour)
	r := request.Request{Agency: id, Case: name, Offence: "220", Basis: basis,
		Incident: request.Incident{At: consent.At(at), Place: geo.Point{Lat: 44, Lon: -40}}, Area: geo.Circle(geo.Point{Lat: 44, Lon: -40}, 250, 8),
		From: consent.At(at.Add(-time.Hour)), Until: consent.At(at.Add(time.Hour)), Text: "The corner shop was broken into. We look for a person with a red jacket.",
		Contact: "front desk", Terms: request.Terms{RetentionDays: 90, UnusedDays: 30, Recipients: []string{}},
		ReceptionKey: must(consent.GenerateKey(rand.Reader, request.ReceptionKeyName)).Verifier(), Reply: []string{w.reply},
		Officer: w.ruiz.Verifier(), Supervisor: w.stone.Verifier(), Created: consent.At(w.now), Expires: consent.At(w.now.Add(7 * day))}
	if change != nil {
		change(&r)
	}
	rid := w.enter(id, r, w.ruiz, w.stone)
	w.now = w.now.Add(time.Minute)
	return rid
}

func (w *town) requests(a node.AgencyRecord) iter.Seq2[node.RequestRecord, error] {
	return func(yield func(node.RequestRecord, error) bool) {
		for before := a.Entries; before > 0; {
			page, next, err := w.watch.RecordRequests(a.ID, before)
			if err != nil {
				yield(node.RequestRecord{}, err)
				return
			}
			for _, q := range page {
				if !yield(q, nil) {
					return
				}
			}
			before = next
		}
	}
}

func (w *town) written(format string) []byte {
	w.t.Helper()
	var b bytes.Buffer
	if err := Write(&b, format, must(w.watch.Record("")), w.requests); err != nil {
		w.t.Fatal(err)
	}
	if dir := os.Getenv("PORCHLIGHT_RECORD_OUT"); dir != "" {
		os.WriteFile(filepath.Join(dir, "record."+format), b.Bytes(), 0o644)
	}
	return b.Bytes()
}

// The police claim two emergencies, and account for one of them, late; close a case; ask a third time about another, which no owner is
// shown; and try what a docket refuses. A resident objects. The sheriff signs two dockets.
func newStory(t *testing.T) (w *town, ids map[string]consent.RequestID) {
	w = newTown(t)
	ids = map[string]consent.RequestID{}
	ids["silent"] = w.asks(w.policeID, "EP-1", request.Exigent, nil)
	ids["late"] = w.asks(w.policeID, `=HYPERLINK("https://evil.example","x")`, request.Exigent, func(r *request.Request) {
		r.Offence, r.Text = "11A", "-1+1 <script>alert('a red jacket')</script> & more\n=cmd() was written on the wall"
		r.Contact, r.Terms.Recipients = "@desk, 'the' \"front\"", []string{"<b>County</b> Prosecutor"}
	})
	note := must(consent.Sign(request.Objection{Agency: w.policeID, Request: ids["silent"], Reason: "It asks about <i>a lawful gathering</i>.",
		Created: consent.At(w.now), By: w.ana.Verifier()}, w.ana))
	must(w.watch.Asked(w.policeID))
	if err := w.watch.AdmitPaper(note); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(80 * time.Hour)
	w.enter(w.policeID, docket.Report{Request: ids["late"], Text: "The child was found <safe> at her aunt's.", Created: consent.At(w.now),
		Officer: w.ruiz.Verifier(), Supervisor: w.stone.Verifier()}, w.ruiz, w.stone)
	w.now = w.now.Add(2 * day)
	ids["closed"] = w.asks(w.policeID, "EP-3", request.ProbableCause, nil)
	w.enter(w.policeID, docket.Outcome{Request: ids["closed"], Outcome: docket.FindingCharged, Created: consent.At(w.now), Officer: w.ruiz.Verifier()}, w.ruiz)
	w.enter(w.policeID, docket.Resolve{Request: ids["closed"], Reason: "somebody was <charged>", Created: consent.At(w.now), Officer: w.ruiz.Verifier()}, w.ruiz)
	w.now = spring.Add(100 * day)
	for _, name := range []string{"first", "second", "third"} {
		ids[name] = w.asks(w.policeID, "EP-4", request.VoluntaryInformation, nil)
	}
	w.enter(w.policeID, docket.Supersede{Request: ids["first"], Replacement: ids["second"], Reason: "another hour", Created: consent.At(w.now),
		Officer: w.ruiz.Verifier(), Supervisor: w.stone.Verifier()}, w.ruiz, w.stone)
	w.enter(w.policeID, docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Kim", Key: w.ana.Verifier(),
		Expires: consent.At(w.now.AddDate(0, 1, 0)), Created: consent.At(w.now), By: w.stone.Verifier()}, w.stone)
	w.enter(w.policeID, docket.Officer{Action: docket.Revoke, Role: docket.RoleOfficer, Name: "Kim", Key: w.ana.Verifier(), Reason: "left the force",
		Created: consent.At(w.now), By: w.stone.Verifier()}, w.stone)
	w.smuggle(must(consent.Sign(docket.Outcome{Request: consent.RequestID(consent.HashText(nil)), Outcome: docket.FindingClosed, Created: consent.At(w.now),
		Officer: w.ruiz.Verifier()}, w.ruiz)))

	ids["sheriff"] = w.asks(w.shiresID, "S-1", request.ReasonableSuspicion, nil)
	fork := func(names ...string) []byte {
		var all notes
		for _, name := range names {
			all = append(all, must(consent.Sign(docket.Outcome{Request: consent.RequestID(consent.HashText([]byte(name))), Outcome: docket.FindingOpen, Created: consent.At(w.now), Officer: w.ruiz.Verifier()}, w.ruiz)))
		}
		return must(must(docket.Open(w.sheriff, charter.Quotas{}, all, int64(len(all)))).SignCheckpoint(w.shires))
	}
	proof := must(must(docket.Contradicting(w.sheriff, fork("one", "way"), fork("the", "other"))).Encode())
	if err := w.watch.AdmitPaper(proof); err != nil {
		t.Fatal(err)
	}
	return w, ids
}

type notes [][]byte

func (n notes) Entry(i int64) ([]byte, error) { return n[i], nil }

// smuggle puts an entry into the police's docket that no honest program would.
func (w *town) smuggle(note []byte) {
	d := w.watch.Docket(w.policeID)
	size := d.Size()
	all := notes(must(d.Entries(0, int(size))))
	checkpoint := must(must(docket.Open(w.police, charter.Quotas{}, append(all, note), size+1)).SignCheckpoint(w.policeKey))
	if err := d.Extend(size, [][]byte{note}, checkpoint); err != nil {
		w.t.Fatal(err)
	}
}

func TestRecordTellsWhatTheAgenciesDid(t *testing.T) {
	w, ids := newStory(t)
	var r node.Record
	d := json.NewDecoder(bytes.NewReader(w.written("json")))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.Version != node.RecordVersion || r.Mesh != "Elm Street" || r.Charter != 1 || len(r.Agencies) != 2 {
		t.Fatalf("%+v", r)
	}
	police, sheriff := r.Agencies[0], r.Agencies[1]
	if police.Standing.State != node.NotKept || police.Exigent || police.Refused[consent.UnknownRequest] != 1 || len(police.Refused) != 1 || police.NotShown != 1 || police.Proof != nil ||
		len(police.Charter) != 1 || police.Charter[0].What != "admitted" || !police.Charter[0].At.Equal(spring) {
		t.Errorf("police: %+v", police)
	}
	want := node.Tally{Requests: 6, Live: 2, ReportsLate: 1, ReportsMissing: 1, OutcomesMissing: 2, Objections: 1,
		Basis: map[request.Basis]int{request.Exigent: 2, request.ProbableCause: 1, request.VoluntaryInformation: 3}}
	if a, b := string(must(json.Marshal(police.Tally))), string(must(json.Marshal(want))); a != b {
		t.Errorf("police: %s, want %s", a, b)
	}
	if o := police.Officers; len(o) != 3 || o[0].Name != "" || o[0].Key != w.stone.Verifier() || !o[0].Enrolled.IsZero() || !strings.HasPrefix(o[1].Name, "Ruiz") ||
		!o[1].Enrolled.Equal(spring) || !o[1].Revoked.IsZero() || o[2].Name != "Kim" || o[2].Revoked.Sub(spring).Truncate(day) != 100*day || o[2].Reason != "left the force" {
		t.Errorf("officers: %+v", o)
	}
	if sheriff.Standing.State != node.Misconduct || sheriff.Proof == nil || !strings.Contains(sheriff.Proof.Shows, "signed two dockets of 2 entries") ||
		!docket.IsMisconduct([]byte(sheriff.Proof.Text)) || sheriff.NotShown != 1 || sheriff.Tally.Live != 1 {
		t.Errorf("sheriff: %+v", sheriff)
	}
	all := map[consent.RequestID]node.RequestRecord{}
	for _, a := range r.Agencies {
		for i, q := range a.Requests {
			all[q.ID] = q
			if i > 0 && q.Index >= a.Requests[i-1].Index {
				t.Error("requests are not newest first")
			}
		}
	}
	for name, tc := range map[string]struct{ state, report, outcome, bar string }{
		"silent":  {"expired", node.Missing, node.Missing, ""},
		"late":    {"expired", node.Late, node.Missing, ""},
		"closed":  {"resolved", "", node.Given, ""},
		"first":   {"superseded", "", node.Due, ""},
		"second":  {"live", "", node.Due, ""},
		"third":   {"live", "", node.Due, string(consent.TooManyPosts)},
		"sheriff": {"live", "", node.Due, string(consent.Suspended)},
	} {
		q := all[ids[name]]
		got := tc
		got.state, got.outcome, got.report, got.bar = q.State, q.Outcome.State, "", ""
		if q.Report != nil {
			got.report = q.Report.State
		}
		if q.NotShown != nil {
			got.bar = string(q.NotShown.Class)
		}
		if got != tc {
			t.Errorf("%s: %+v, want %+v", name, got, tc)
		}
	}
	if q := all[ids["silent"]]; len(q.Objections) != 1 || q.Objections[0].By != "Ana Silva" {
		t.Errorf("objections: %+v", q.Objections)
	}
	if q := all[ids["late"]]; q.Report.Text != "The child was found <safe> at her aunt's." || q.Officer.Name != `Ruiz "<img src=x>"` || q.Supervisor.String() != "Sgt.Stone" {
		t.Errorf("late: %+v", q)
	}
	if q := all[ids["first"]]; q.Ending == nil || q.Ending.Replacement != ids["second"] || q.Ending.Reason != "another hour" {
		t.Errorf("ending: %+v", q.Ending)
	}
	if q := all[ids["closed"]]; q.Outcome.Text != docket.FindingCharged.Title() {
		t.Errorf("outcome: %+v", q.Outcome)
	}

	one := must(w.watch.Record(w.shiresID))
	if len(one.Agencies) != 1 || one.Agencies[0].ID != w.shiresID {
		t.Errorf("one agency: %+v", one)
	}
	if _, err := w.watch.Record("ffff"); err == nil {
		t.Error("a record of nobody")
	}
}

// An outcome that came late stays late, whatever is told later, and one that was in time stays so. Dated back it counts for when the docket shows it.
func TestALateOutcomeStaysLate(t *testing.T) {
	w := newTown(t)
	tells := func(id consent.RequestID, f docket.Finding, created time.Time) {
		w.enter(w.policeID, docket.Outcome{Request: id, Outcome: f, Created: consent.At(created), Officer: w.ruiz.Verifier()}, w.ruiz)
	}
	inTime, late, dated := w.asks(w.policeID, "EP-1", request.ProbableCause, nil), w.asks(w.policeID, "EP-2", request.ProbableCause, nil), w.asks(w.policeID, "EP-3", request.ProbableCause, nil)
	w.now = w.now.Add(80 * day)
	tells(inTime, docket.FindingOpen, w.now)
	w.now = w.now.Add(20 * day)
	for _, id := range []consent.RequestID{inTime, late} {
		tells(id, docket.FindingOpen, w.now)
	}
	tells(dated, docket.FindingCleared, w.now.Add(-20*day))
	w.now = w.now.Add(time.Hour)
	tells(late, docket.FindingCharged, w.now)
	must(w.watch.Asked(w.policeID))
	a := must(w.watch.Record(w.policeID)).Agencies[0]
	if a.Tally.OutcomesLate != 2 || a.Tally.OutcomesMissing != 0 {
		t.Errorf("%+v", a.Tally)
	}
	for q, err := range w.requests(a) {
		want := map[consent.RequestID]string{inTime: node.Given, late: node.Late, dated: node.Late}[q.ID]
		if err != nil || q.Outcome.State != want {
			t.Errorf("%s: %+v, %v", q.Body.Case, q.Outcome, err)
		}
		if q.ID == late && (q.Outcome.Text != docket.FindingCharged.Title() || !q.Outcome.Given.Before(w.now)) {
			t.Errorf("%+v", q.Outcome)
		}
	}
	if page := string(w.written("html")); !strings.Contains(page, `after more than 90 days</th><td class="n">2<`) || !strings.Contains(page, "given late, ") {
		t.Error("the page does not show what was late")
	}
	if csv := string(w.written("csv")); strings.Count(csv, ",late,") != 2 {
		t.Errorf("%s", csv)
	}
}

// What the charter did with an agency is told with its reasons, also of one that it lists no more; a docket that was lost goes on
// in its successor, and so do its posts.
func TestRecordTellsWhatTheCharterDid(t *testing.T) {
	w := newTown(t)
	for range 2 {
		w.asks(w.shiresID, "S-1", request.ReasonableSuspicion, nil)
	}
	must(w.watch.Asked(w.shiresID))
	_, head := w.watch.Docket(w.shiresID).Head()
	last := must(docket.ParseCheckpoint(head, w.sheriff))
	next := *w.watch.Charter()
	version := func(change func(*charter.Charter)) {
		t.Helper()
		w.now = w.now.Add(time.Hour)
		next.Version, next.Created, next.Removed = next.Version+1, consent.At(w.now), nil
		next.Agencies = append([]charter.Agency{}, next.Agencies...)
		next.Previous = consent.HashText(w.note)
		change(&next)
		w.note = must(consent.Sign(next, w.ana))
		if err := w.watch.AdmitCharter(w.note); err != nil {
			t.Fatal(err)
		}
	}
	record := func(id consent.AgencyID) node.AgencyRecord { return must(w.watch.Record(id)).Agencies[0] }
	version(func(c *charter.Charter) { c.Agencies[0].Suspended = "it keeps no policy" })
	if s := record(w.policeID).Standing; s.State != node.Suspended || s.Words() != "suspended by the charter since 2026-03-01 10:02 UTC: it keeps no policy" {
		t.Errorf("%+v: %s", s, s.Words())
	}
	w.shires = must(docket.NewKey(rand.Reader))
	again := w.sheriff
	again.Name, again.Key, again.Succeeds = "Shire Sheriff", w.shires.Verifier(), &charter.Succession{Agency: w.shiresID, Size: last.Size, Root: last.Root}
	version(func(c *charter.Charter) { c.Agencies[0].Suspended = ""; c.Agencies[1] = again })
	lostID := w.shiresID
	w.shiresID = again.ID()
	w.enter(w.shiresID, docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Ruiz", Key: w.ruiz.Verifier(),
		Expires: consent.At(w.now.AddDate(0, 6, 0)), Created: consent.At(w.now), By: w.stone.Verifier()}, w.stone)
	w.asks(w.shiresID, "S-1", request.ReasonableSuspicion, nil)
	if a := record(w.shiresID); a.NotShown != 1 || len(a.Succeeds) != 1 || a.Succeeds[0] != lostID || !strings.HasPrefix(a.Charter[0].Reason, "it goes on from the docket "+string(lostID)) {
		t.Errorf("successor: %+v", a)
	}
	if a := record(lostID); a.Standing.State != node.Removed || a.Tally.Requests != 2 || a.Charter[1].What != "succeeded" || !strings.Contains(a.Charter[1].Reason, string(w.shiresID)) {
		t.Errorf("lost: %+v", a)
	}
	version(func(c *charter.Charter) {
		c.Agencies, c.Removed = c.Agencies[1:], []charter.Removal{{Agency: w.policeID, Name: w.police.Name, Reason: "it asked <too> often"}}
	})
	police := record(w.policeID)
	var did []string
	for _, e := range police.Charter {
		did = append(did, e.What)
	}
	if strings.Join(did, ", ") != "admitted, suspended, suspension lifted, removed" || police.Standing.Reason != "it asked <too> often" || police.Standing.State != node.Removed {
		t.Errorf("police: %v, %+v", did, police.Standing)
	}
	if page := string(w.written("html")); !strings.Contains(page, "not in the charter since 2026-03-01 12:03 UTC: it asked &lt;too&gt; often") || !strings.Contains(page, "it keeps no policy") {
		t.Error("the page does not say why the charter lets the police go")
	}
	w.now = next.Ends.Time
	if s := record(w.shiresID).Standing; s.State != node.CharterOver {
		t.Errorf("under a charter that is over: %+v", s)
	}
}

// Read back, the CSV says the same, and nothing in it is a formula.
func TestCSVIsReadBack(t *testing.T) {
	w, ids := newStory(t)
	b := w.written("csv")
	if bytes.Count(b, []byte("\n")) != bytes.Count(b, []byte("\r\n")) {
		t.Error("lines do not end as RFC 4180 has it")
	}
	rows := must(csv.NewReader(bytes.NewReader(b)).ReadAll())
	if len(rows) != 1+7 {
		t.Fatalf("%d lines for 7 requests", len(rows))
	}
	late := map[string]string{}
	for _, row := range rows[1:] {
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("%s: %q is a formula", rows[0][i], cell)
			}
			if row[2] == string(ids["late"]) {
				late[rows[0][i]] = cell
			}
		}
	}
	for name, want := range map[string]string{"agency": "Elmford Police", "case": `'=HYPERLINK("https://evil.example","x")`, "contact": `'@desk, 'the' "front"`,
		"text": "'-1+1 <script>alert('a red jacket')</script> & more\n=cmd() was written on the wall", "report": node.Late, "state": "expired",
		"recipients": "<b>County</b> Prosecutor", "incident_place_lat_lon": "44.000000, -40.000000", "basis": "exigent", "retention_days": "90"} {
		if late[name] != want {
			t.Errorf("%s: %q, want %q", name, late[name], want)
		}
	}
	for in, want := range map[string]string{"": "", "a=b": "a=b", "+1": "'+1", "\tx": "'\tx", "\rx": "'\rx", "-40": "'-40"} {
		if got := inert(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// The page is well formed, loads and runs nothing, has its headings in order, and shows what agencies wrote as text.
func TestPageIsOnlyText(t *testing.T) {
	w, ids := newStory(t)
	b := w.written("html")
	var text strings.Builder
	seen, named, links := map[string]int{}, map[string]bool{}, []string{}
	level, inStyle, csp, style := 0, false, "", ""
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Entity = xml.HTMLEntity
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			seen[tok.Name.Local]++
			inStyle = tok.Name.Local == "style"
			attr := map[string]string{}
			for _, a := range tok.Attr {
				attr[a.Name.Local] = a.Value
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style" || a.Name.Local == "src" {
					t.Errorf("<%s> has %s", tok.Name.Local, a.Name.Local)
				}
			}
			if id := attr["id"]; id != "" && named[id] {
				t.Errorf("two elements have the id %s", id)
			} else {
				named[id] = true
			}
			if attr["http-equiv"] != "" {
				csp = attr["content"]
			}
			if tok.Name.Local == "a" {
				links = append(links, attr["href"])
			}
			if tok.Name.Local == "th" && attr["scope"] == "" {
				t.Error("a heading of a table without its scope")
			}
			if m := regexp.MustCompile(`^h([1-6])$`).FindStringSubmatch(tok.Name.Local); m != nil {
				next := int(m[1][0] - '0')
				if next > level+1 {
					t.Errorf("h%d follows h%d", next, level)
				}
				level = next
			}
			if tok.Name.Local == "html" && attr["lang"] != "en" {
				t.Error("the page has no language")
			}
		case xml.EndElement:
			inStyle = false
		case xml.CharData:
			if inStyle {
				style += string(tok)
				continue
			}
			text.Write(tok)
		}
	}
	for _, bad := range []string{"script", "img", "iframe", "form", "link", "object", "b", "i"} {
		if seen[bad] > 0 {
			t.Errorf("%d <%s>", seen[bad], bad)
		}
	}
	if seen["h1"] != 1 || seen["h2"] != 2 || seen["article"] != 7 || seen["table"] != seen["caption"] || seen["main"] != 1 {
		t.Errorf("%v", seen)
	}
	sum := sha256.Sum256([]byte(style))
	if csp != "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'; base-uri 'none'; form-action 'none'" {
		t.Errorf("the policy does not fit the style: %s", csp)
	}
	for _, l := range links {
		if id, inside := strings.CutPrefix(l, "#"); inside && !named[id] {
			t.Errorf("a link to %s, which is not there", l)
		} else if !inside && l != "https://example.org/policy?a=1&b=2" {
			t.Errorf("a link to %s", l)
		}
	}
	for _, want := range []string{"Elmford Police: promises not kept; 6 requests", "Shire <Sheriff> & Sons", "suspended: misconduct", "Proven misconduct.", "No report in time.", "Report missing.",
		"<script>alert('a red jacket')</script> & more", `=HYPERLINK("https://evil.example","x")`, "Objection by Ana Silva", "It asks about <i>a lawful gathering</i>.", "given late",
		"The child was found <safe> at her aunt's.", "Somebody was arrested or charged", "somebody was <charged>", "Owners are not shown this request", string(consent.TooManyPosts),
		"left the force", "Emergency claimed", "porchlight/misconduct/v1", string(ids["first"]), "unknown-request"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// An error half way is the writer's and the reader's to know.
func TestErrorsComeThrough(t *testing.T) {
	w := newTown(t)
	w.asks(w.policeID, "EP-1", request.Exigent, nil)
	broken := errors.New("the disk is gone")
	fails := func(node.AgencyRecord) iter.Seq2[node.RequestRecord, error] {
		return func(yield func(node.RequestRecord, error) bool) { yield(node.RequestRecord{}, broken) }
	}
	for _, format := range Formats() {
		if err := Write(io.Discard, format, must(w.watch.Record("")), fails); !errors.Is(err, broken) {
			t.Errorf("%s: %v", format, err)
		}
		if err := Write(full{}, format, must(w.watch.Record("")), w.requests); !errors.Is(err, errFull) {
			t.Errorf("%s to a full disk: %v", format, err)
		}
	}
	if err := Write(io.Discard, "pdf", node.Record{}, nil); err == nil {
		t.Error("a format that there is not")
	}
}

var errFull = errors.New("no room")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
