package vectors

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// accounts are report, outcome and objection: what is said of a request after it asked.
func (b *book) accounts() {
	asked := []string{diazEnrolled, exigentNote}
	report := func(name, why string, class consent.Class, change func(*docket.Report), keys ...consent.Key) {
		r := theReport()
		change(&r)
		b.add("report", name, why, class, inDocket(asked...), forge("report", body(r), keys...))
	}
	both := []consent.Key{diaz, okafor}
	same := func(*docket.Report) {}
	report("ok", "What the emergency was, within the three days.", OK, same, both...)
	report("officer-only", "The supervisor has not signed.", consent.MissingSignature, same, diaz)
	report("signature-order", "The supervisor's line stands before the officer's.", consent.SignatureOrder, same, okafor, diaz)
	report("same-signer", "Officer and supervisor are one person.", consent.SameSigner, func(r *docket.Report) { r.Supervisor = r.Officer }, diaz)
	report("short", "Nineteen characters.", consent.BadText, func(r *docket.Report) { r.Text = strings.Repeat("x", 19) }, both...)
	report("invisible", "The text holds a character that turns its direction.", consent.BadText, func(r *docket.Report) { r.Text += "\u202e" }, both...)
	report("request-id", "On something that is no id of a request.", consent.BadValue, func(r *docket.Report) { r.Request = "1" }, both...)
	report("unknown-request", "On a request that the docket does not hold.", consent.UnknownRequest, func(r *docket.Report) { r.Request = request.IDOf([]byte(requestNote)) }, both...)
	report("not-yet-valid", "Dated a day ahead.", consent.NotYetValid, func(r *docket.Report) { r.Created = at("2026-11-24T09:00:00Z") }, both...)
	again := theReport()
	again.Text = "The account was not complete; this one is."
	b.add("report", "twice", "A second report on one request.", consent.DuplicateEntry, inDocket(append(asked, sign(theReport(), both...))...), sign(again, both...))

	outcome := func(name, why string, class consent.Class, change func(*docket.Outcome), k consent.Key) {
		o := theOutcome()
		change(&o)
		b.add("outcome", name, why, class, inDocket(asked...), forge("outcome", body(o), k))
	}
	outcome("ok", "Cleared without a charge.", OK, func(*docket.Outcome) {}, diaz)
	outcome("off-the-list", "Whether footage was used is nobody's to know.", consent.BadValue, func(o *docket.Outcome) { o.Outcome = "used" }, diaz)
	outcome("unknown-request", "Of a request that the docket does not hold.", consent.UnknownRequest, func(o *docket.Outcome) { o.Request = request.IDOf([]byte(requestNote)) }, diaz)
	outcome("by-nobody", "Signed by a key that no entry enrols.", consent.UnknownOfficer, func(o *docket.Outcome) { o.Officer = nobody.Verifier() }, nobody)
	outcome("by-supervisor", "Signed by a supervisor, who is no officer.", consent.WrongRole, func(o *docket.Outcome) { o.Officer = okafor.Verifier() }, okafor)
	outcome("other-signer", "Signed by somebody else than it says.", consent.MissingSignature, func(*docket.Outcome) {}, okafor)
	later := theOutcome()
	later.Outcome = docket.FindingCharged
	b.add("outcome", "replaced-accepted", "A later outcome takes the place of the first.", OK, inDocket(append(asked, sign(theOutcome(), diaz))...), sign(later, diaz))

	witnessed := Context{Charters: []string{witnessedCharter}}
	objection := func(name, why string, class consent.Class, change func(*request.Objection), k consent.Key) {
		o := theObjection()
		change(&o)
		b.add("objection", name, why, class, witnessed, forge("objection", body(o), k))
	}
	objection("ok", "A signer of the charter objects.", OK, func(*request.Objection) {}, alice)
	objection("witness-accepted", "A witness objects.", OK, func(o *request.Objection) { o.By = herald.Verifier() }, herald)
	objection("by-nobody", "Neither a signer nor a witness.", consent.WrongRole, func(o *request.Objection) { o.By = nobody.Verifier() }, nobody)
	objection("by-officer", "An officer objects.", consent.WrongRole, func(o *request.Objection) { o.By = diaz.Verifier() }, diaz)
	objection("other-signer", "Signed by somebody else than it says.", consent.MissingSignature, func(*request.Objection) {}, bob)
	objection("no-reason", "Nine characters.", consent.BadText, func(o *request.Objection) { o.Reason = "No reason" }, alice)
	objection("two-lines", "A reason of two lines.", consent.BadText, func(o *request.Objection) { o.Reason = "It names the victim.\nTwice." }, alice)
	objection("request-id", "To something that is no id of a request.", consent.BadValue, func(o *request.Objection) { o.Request = "1" }, alice)
	objection("agency-id", "Of something that is no id of an agency.", consent.BadValue, func(o *request.Objection) { o.Agency = "millbrook" }, alice)
	objection("not-yet-valid", "Dated six minutes ahead.", consent.NotYetValid, func(o *request.Objection) { o.Created = at("2026-11-23T09:06:00Z") }, alice)
}

// polygons are areas and jurisdictions on which readers would disagree.
func (b *book) polygons() {
	area := func(name, why string, p geo.Polygon) {
		r := theRequest()
		r.Area = p
		b.add("request", "area-"+name, why, consent.AreaInvalid, inDocket(diazEnrolled), forge("request", body(r), diaz, okafor))
	}
	a := box(0.0027, 0.0035)
	mid := geo.Point{Lat: 40.7128, Lon: -80.006}
	area("empty", "A ring of no vertices.", geo.Polygon{})
	area("of-one-vertex", "A point.", geo.Polygon{mid})
	area("a-line", "Three vertices on one meridian enclose nothing.", geo.Polygon{{Lat: 40.71, Lon: -80.006}, mid, {Lat: 40.715, Lon: -80.006}})
	area("vertex-twice", "The ring passes one vertex twice.", slices.Concat(a, geo.Polygon{a[1]}))
	area("closed-twice", "The first vertex stands at the end again.", slices.Concat(a, geo.Polygon{a[0]}))
	area("figure-eight", "Two fields that the ring goes around in turn, with a crossing between them.",
		geo.Polygon{{Lat: 40.710, Lon: -80.010}, {Lat: 40.716, Lon: -80.006}, {Lat: 40.710, Lon: -80.002}, {Lat: 40.716, Lon: -80.002}, {Lat: 40.710, Lon: -80.006}, {Lat: 40.716, Lon: -80.010}})
	area("at-south-pole", "The ring encloses the south pole.", geo.Polygon{{Lat: -80, Lon: 0}, {Lat: -80, Lon: 120}, {Lat: -80, Lon: -120}})
	area("touches-pole", "A vertex is the north pole.", geo.Polygon{{Lat: 90, Lon: 0}, {Lat: 40, Lon: -81}, {Lat: 40, Lon: -79}})
	area("across-antimeridian", "A small ring that the antimeridian cuts in two.",
		geo.Polygon{{Lat: 40, Lon: 179.99}, {Lat: 40, Lon: -179.99}, {Lat: 40.01, Lon: -179.99}, {Lat: 40.01, Lon: 179.99}})
	area("touches-antimeridian", "A vertex on the antimeridian.", geo.Polygon{{Lat: 40, Lon: 179.99}, {Lat: 40, Lon: 180}, {Lat: 40.01, Lon: 180}})

	jurisdiction := func(name, why string, p geo.Polygon) {
		c := charter1()
		c.Agencies[0].Jurisdiction = p
		b.add("charter", "jurisdiction-"+name, why, consent.AreaInvalid, Context{}, forge("charter", body(c), alice, bob))
	}
	jurisdiction("empty", "A jurisdiction of no vertices.", geo.Polygon{})
	jurisdiction("at-pole", "A jurisdiction that encloses the north pole.", geo.Polygon{{Lat: 80, Lon: 0}, {Lat: 80, Lon: 120}, {Lat: 80, Lon: -120}})
	jurisdiction("across-antimeridian", "A jurisdiction that the antimeridian cuts in two.",
		geo.Polygon{{Lat: 40, Lon: 179}, {Lat: 40, Lon: -179}, {Lat: 41, Lon: -179}, {Lat: 41, Lon: 179}})
}

// quotas are what a charter grants a docket in a day, told on requests; and leaves are what a peer that follows the docket makes of any
// entry it finds there.
func (b *book) quotas() {
	c := charter1()
	c.Quotas.EntriesPerDay = 2
	few := inDocket(diazEnrolled, requestNote)
	few.Charters = []string{sign(c, alice, bob)}
	enrolledToday := enrol(diaz, "Ana Diaz")
	enrolledToday.Created = at("2026-11-23T07:00:00Z")
	few.Entries = []string{sign(enrolledToday, okafor), requestNote}
	another := func(created string) string {
		r := theRequest()
		r.Case, r.Offence, r.Created = "MB-26-009999", "220", at(created)
		return sign(r, diaz, okafor)
	}
	b.add("request", "over-quota", "The third entry of a day that has two.", consent.OverQuota, few, another("2026-11-23T08:30:00Z"))
	b.add("request", "over-quota-dated-back", "Dated into the day before, which had room.", consent.OverQuota, few, another("2026-11-22T23:59:59Z"))
	b.add("request", "next-day-accepted", "The first entry of the next day.", OK, few, another("2026-11-24T00:00:00Z"))
	b.list[len(b.list)-1].Now = at("2026-11-24T00:01:00Z")
	more := few
	more.Charters = append(slices.Clone(few.Charters), sign(roomier(c, few.Charters[0]), alice, bob))
	b.add("request", "largest-quota-accepted", "A later version of the charter grants three.", OK, more, another("2026-11-23T08:30:00Z"))

	c = charter1()
	c.Quotas.BytesPerDay = consent.MaxNote
	long := inDocket(diazEnrolled)
	long.Charters = []string{sign(c, alice, bob)}
	wordy := func(i int) string {
		r := theRequest()
		r.Case, r.Offence, r.From = fmt.Sprintf("MB-26-00%d", i), request.Offence([]string{"120", "220", "240", "13A", "200", "100"}[i]), at("2026-11-22T19:00:00Z")
		r.Text = strings.Repeat("We look for a grey van that left towards the river. ", 38) + "Thank you."
		r.Contact = strings.Repeat("Front desk, or ", 12) + "Officer Diaz"
		return sign(r, diaz, okafor)
	}
	for i := range 5 {
		long.Entries = append(long.Entries, wordy(i))
	}
	b.add("request", "over-quota-bytes", "Six requests of one day have more than 16 KiB.", consent.OverQuota, long, wordy(5))

	in := inDocket(diazEnrolled, requestNote)
	leaf := func(name, why string, class consent.Class, ctx Context, doc string) {
		b.add("leaf", name, why, class, ctx, doc)
	}
	leaf("ok", "A sound entry.", OK, in, sign(theResolve(), diaz))
	leaf("ahead-accepted", "What an entry says of its time is not held against a clock.", OK, in, sign(aheadResolve(), diaz))
	leaf("hash", "A zero byte and the hash of an entry, which is all that is known of it.", consent.Unread, in, bare(sign(theResolve(), diaz)))
	leaf("short-hash", "A hash with a byte missing is no hash.", consent.Malformed, in, bare(sign(theResolve(), diaz))[:32])
	leaf("no-note", "Something that is no document.", consent.Malformed, in, "hello\n")
	leaf("empty", "Nothing at all.", consent.Malformed, in, "")
	leaf("unknown-kind", "A kind of entry that no format has.", consent.WrongKind, in, forge("daily", `{"slots":3}`, docketKey))
	leaf("not-an-entry", "An objection, which is a document and no entry.", consent.WrongKind, in, sign(theObjection(), alice))
	leaf("duplicate", "The same bytes as an earlier entry.", consent.DuplicateEntry, in, requestNote)
	leaf("text", "A request whose text presses is nobody's to show.", request.TextPressure, in, badText())
	leaf("signature", "A request that was changed after signing.", consent.BadSignature, in, replaced(requestNote, "grey van", "gray van"))
	leaf("stranger", "Signed by a key that no entry enrols.", consent.UnknownOfficer, inDocket(diazEnrolled, requestNote), func() string {
		r := theResolve()
		r.Officer = nobody.Verifier()
		return sign(r, nobody)
	}())
	leaf("over-quota", "The third entry of a day that has two.", consent.OverQuota, few, another("2026-11-23T08:30:00Z"))
	leaf("oversize", "More than 16 KiB.", consent.Oversize, in, strings.Repeat("x", consent.MaxNote+1))
}

// roomier is the version after c, whose quota has room for an entry more.
func roomier(c charter.Charter, note string) charter.Charter {
	c.Version, c.Previous, c.Created = 2, hash(note), at("2026-09-01T00:00:00Z")
	c.Quotas.EntriesPerDay++
	return c
}

func aheadResolve() docket.Resolve {
	r := theResolve()
	r.Created = at("2027-01-01T00:00:00Z")
	return r
}

func badText() string {
	r := theRequest()
	r.Case, r.Text = "MB-26-009999", "We look for a grey van. You must share what you have."
	return sign(r, diaz, okafor)
}

// bare is an entry of which only the hash is known.
func bare(entry string) string {
	return string(docket.Leaf(must(must(docket.Open(police(), charter.Quotas{}, memory{[]byte(entry)}, 1)).Leaf(0))))
}

// misconduct are proofs that the agency signed two versions of its docket, and what looks like one.
func (b *book) misconduct() {
	ctx := inDocket()
	shown := aDocket(diazEnrolled, requestNote, sign(theResolve(), diaz))
	hidden := aDocket(diazEnrolled, sign(theRequestAgain(), diaz, okafor))
	one := must(shown.Contradiction(hidden.Checkpoint()))
	same := must(docket.Contradicting(police(), aDocket(diazEnrolled, requestNote).Checkpoint(), hidden.Checkpoint()))
	bundle := must(docket.ParseBundle(must(shown.Bundle(1, nil))))
	entries, _, err := bundle.Contradiction(hidden)
	if err != nil {
		panic(err)
	}
	text := func(m docket.Misconduct, change func(*docket.Misconduct)) string {
		if m.Roots != nil {
			r := *m.Roots
			m.Roots = &r
		}
		if m.Entries != nil {
			e := *m.Entries
			m.Entries = &e
		}
		change(&m)
		return string(must(m.Encode()))
	}
	none := func(*docket.Misconduct) {}
	add := func(name, why string, class consent.Class, doc string) {
		b.add("misconduct", name, why, class, ctx, doc)
	}
	add("ok", "The tree of three entries begins with other two than were signed before.", OK, text(one, none))
	add("one-size-accepted", "Two roots of one size.", OK, text(same, none))
	add("entries-accepted", "Two entries at one place.", OK, text(entries, none))
	add("other-agency", "Of another agency than the judge asks about.", consent.UnknownAgency, text(one, func(m *docket.Misconduct) { m.Agency = otherDocketID() }))
	add("agency-id", "Of something that is no id of an agency.", consent.BadValue, text(one, func(m *docket.Misconduct) { m.Agency = "x" }))
	add("not-signed", "A checkpoint that the docket key did not sign.", consent.MissingSignature, text(one, func(m *docket.Misconduct) {
		plain, _, _ := strings.Cut(m.Other, "\n\n")
		m.Other = forgeText(plain+"\n", nobody)
	}))
	add("changed", "Another size than was signed.", consent.BadSignature, text(one, func(m *docket.Misconduct) { m.Other = replaced(m.Other, "\n3\n", "\n4\n") }))
	add("honest-growth", "A docket that grew.", consent.BadProof, text(one, func(m *docket.Misconduct) {
		m.One = string(aDocket(diazEnrolled, requestNote).Checkpoint())
		m.Roots.Root = aDocket(diazEnrolled, requestNote).Root()
	}))
	add("one-twice", "One checkpoint twice.", consent.BadProof, text(same, func(m *docket.Misconduct) { m.One = m.Other }))
	add("proof", "A consistency proof that does not hold.", consent.BadProof, text(one, func(m *docket.Misconduct) { m.Roots.Root[0] ^= 1 }))
	add("entry-proof", "An inclusion proof that does not hold.", consent.BadProof, text(entries, func(m *docket.Misconduct) { m.Entries.OtherLeaf[0] ^= 1 }))
	add("entry-index", "A place that one of the trees does not have.", consent.BadProof, text(entries, func(m *docket.Misconduct) { m.Entries.Index = 2 }))
	add("larger-first", "The larger tree first.", consent.BadProof, text(one, func(m *docket.Misconduct) { m.One, m.Other = m.Other, m.One }))
	add("nothing", "Neither roots nor entries.", consent.BadValue, text(one, func(m *docket.Misconduct) { m.Roots = nil }))
	add("both", "Roots and entries.", consent.BadValue, text(one, func(m *docket.Misconduct) { m.Entries = entries.Entries }))
	add("not-json", "No JSON.", consent.Malformed, replaced(text(one, none), "}\n", "\n"))
	add("no-header", "Without its first line.", consent.Malformed, strings.SplitAfterN(text(one, none), "\n", 2)[1])
	add("white-space", "A space after a comma.", consent.NotCanonical, replaced(text(one, none), `,"one"`, `, "one"`))
	add("oversize", "More than 16 KiB.", consent.Oversize, text(one, none)+strings.Repeat(" ", docket.MaxMisconduct))
}

// witnesses are cosigned checkpoints and the questions that lead to them.
func (b *book) witnesses() {
	ctx := inDocket()
	ctx.Charters = []string{witnessedCharter}
	log := aDocket(diazEnrolled, requestNote)
	plain := string(log.Checkpoint())
	when := at(now)
	line := func(k consent.Key) string { return string(must(docket.Cosign([]byte(plain), k, when.Time))) }
	add := func(name, why string, class consent.Class, doc string) { b.add("cosigned", name, why, class, ctx, doc) }
	add("ok", "The Herald cosigned, which is the quorum.", OK, plain+line(herald))
	add("both-accepted", "The library did, too.", OK, plain+line(herald)+line(library))
	add("unwitnessed", "Nobody cosigned.", consent.Unwitnessed, plain)
	add("stranger", "Only somebody whom the charter does not name.", consent.Unwitnessed, plain+line(nobody))
	add("extra", "A stranger besides.", consent.ExtraSignature, plain+line(herald)+line(nobody))
	add("order", "The library's line before the Herald's.", consent.ExtraSignature, plain+line(library)+line(herald))
	add("twice", "One line twice.", consent.Malformed, plain+line(herald)+line(herald))
	add("moved", "The cosignature of a smaller checkpoint.", consent.BadSignature,
		plain+string(must(docket.Cosign(aDocket(diazEnrolled).Checkpoint(), herald, when.Time))))
	add("time", "Another time than was signed.", consent.BadSignature, plain+retimed(line(herald)))
	add("plain-signature", "An ordinary signature of the witness, not a cosignature.", consent.Malformed,
		plain+strings.TrimPrefix(forgeText(strings.SplitAfter(plain, "\n\n")[0][:strings.Index(plain, "\n\n")+1], herald), strings.SplitAfter(plain, "\n\n")[0]))
	add("base64-spelling", "Bits beyond the end of the base64 are set.", consent.Malformed, plain+strings.TrimSuffix(line(herald), "\n")+"=\n")
	add("agency-unsigned", "The witness alone signed.", consent.MissingSignature, strings.SplitAfter(plain, "\n\n")[0]+line(herald))

	bundle := string(must(log.Bundle(1, nil)))
	with := func(lines string) string { return withCheckpoint(bundle, plain+lines) }
	b.add("bundle", "witnessed-accepted", "Under a checkpoint that the Herald cosigned, which is the quorum.", OK, ctx, with(line(herald)))
	b.add("bundle", "unwitnessed", "Under a checkpoint that nobody cosigned.", consent.Unwitnessed, ctx, bundle)
	b.add("bundle", "extra-cosignature", "Under a checkpoint with a stranger's line besides.", consent.ExtraSignature, ctx, with(line(herald)+line(nobody)))
	b.add("bundle", "junk-line", "Under a checkpoint with a line that is no cosignature.", consent.Malformed, ctx, with(line(herald)+"hello\n"))

	next := aDocket(diazEnrolled, requestNote, sign(theResolve(), diaz))
	fork := aDocket(diazEnrolled, sign(theRequestAgain(), diaz, okafor))
	other := aDocket(diazEnrolled, sign(theRequestAgain(), diaz, okafor), requestNote)
	last := inDocket()
	last.Checkpoint = plain
	question := func(old int64, l *docket.Log) string {
		q := docket.Add{Old: old, Checkpoint: l.Checkpoint()}
		if old > 0 && old < l.Size() {
			q.Proof = must(l.Prove(old, l.Size()))
		}
		return string(q.Encode())
	}
	asked := func(name, why string, class consent.Class, ctx Context, doc string) {
		b.add("add", name, why, class, ctx, doc)
	}
	asked("ok", "The docket grew by an entry since.", OK, last, question(2, next))
	asked("first-accepted", "The witness has cosigned nothing of it before.", OK, inDocket(), question(0, next))
	asked("again-accepted", "The checkpoint that was cosigned last, again.", OK, last, question(2, log))
	asked("behind", "It starts from another size than was cosigned last.", consent.Behind, last, question(1, next))
	asked("fork", "Another root of the size that was cosigned last.", consent.Fork, last, question(2, fork))
	asked("other-history", "A larger tree that does not begin with what was cosigned.", consent.BadProof, last, question(2, other))
	asked("no-proof", "The proof is missing.", consent.BadProof, last, string(docket.Add{Old: 2, Checkpoint: next.Checkpoint()}.Encode()))
	asked("back", "A smaller size than was cosigned last.", consent.BadProof, last, string(docket.Add{Old: 2, Checkpoint: aDocket(diazEnrolled).Checkpoint()}.Encode()))
	asked("proof-of-nothing", "The empty docket is a part of every other.", consent.BadProof, inDocket(), string(docket.Add{Proof: must(next.Prove(1, 3)), Checkpoint: next.Checkpoint()}.Encode()))
	asked("no-size", "Without the size.", consent.Malformed, last, replaced(question(2, next), "old 2\n", ""))
	asked("size-spelling", "A size with a zero before it.", consent.Malformed, last, replaced(question(2, next), "old 2\n", "old 02\n"))
	asked("proof-spelling", "A hash in base64 that is not the one spelling.", consent.Malformed, last, replaced(question(2, next), "=\n\n", "\n\n"))
	asked("cosigned", "The checkpoint carries a cosignature.", consent.ExtraSignature, last,
		question(2, next)+string(must(docket.Cosign(next.Checkpoint(), herald, when.Time))))
	asked("other-signer", "A checkpoint that the docket key did not sign.", consent.MissingSignature, last, func() string {
		text, _, _ := strings.Cut(question(2, next), "\n\n")
		cp, _, _ := strings.Cut(string(next.Checkpoint()), "\n\n")
		return text + "\n\n" + forgeText(cp+"\n", nobody)
	}())
	asked("oversize", "More than 8 KiB.", consent.Oversize, last, question(2, next)+strings.Repeat("x", docket.MaxAdd))
}

// retimed moves the time in a cosignature by a second.
func retimed(line string) string {
	f := strings.Fields(line)
	raw := must(base64.StdEncoding.DecodeString(f[2]))
	raw[11]++
	return "— " + f[1] + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

func theReport() docket.Report {
	return docket.Report{Request: request.IDOf([]byte(exigentNote)), Text: "A child was taken from the shop and was found in the van.",
		Created: at("2026-11-23T08:50:00Z"), Officer: diaz.Verifier(), Supervisor: okafor.Verifier()}
}

func theOutcome() docket.Outcome {
	return docket.Outcome{Request: request.IDOf([]byte(exigentNote)), Outcome: docket.FindingCleared, Created: at("2026-11-23T08:55:00Z"), Officer: diaz.Verifier()}
}

func theObjection() request.Objection {
	return request.Objection{Agency: police().ID(), Request: request.IDOf([]byte(requestNote)), Reason: "The shop asked for no search.",
		Created: at("2026-11-23T08:59:00Z"), By: alice.Verifier()}
}

// The exigent request, and a charter whose dockets the Herald or the library has to cosign.
var (
	exigentNote = func() string {
		r := theRequest()
		r.Case, r.Basis, r.Expires = "MB-26-004418", request.Exigent, consent.At(r.Created.Add(24*time.Hour))
		return sign(r, diaz, okafor)
	}()
	witnessedCharter = func() string {
		c := charter1()
		c.Witnesses = []charter.Witness{{Name: "Millbrook Herald", Key: herald.Verifier()}, {Name: "Town Library", Key: library.Verifier()}}
		c.Quorum = 1
		return sign(c, alice, bob)
	}()
)
