package vectors

import (
	"encoding/base64"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

func (b *book) officers() {
	add := func(name, why string, class consent.Class, doc string, before ...string) {
		b.add("officer", name, why, class, inDocket(before...), doc)
	}
	changed := func(change func(*docket.Officer), keys ...consent.Key) string {
		o := enrol(diaz, "Ana Diaz")
		change(&o)
		return forge("officer", body(o), keys...)
	}
	add("ok", "The first supervisor enrols an officer.", OK, diazEnrolled)
	add("revoke-accepted", "And revokes one.", OK, lundRevoked(), lundEnrolled)
	add("action", "An action that is not on the list.", consent.BadValue, changed(func(o *docket.Officer) { o.Action = "promote" }, okafor))
	add("role", "A role that is not on the list.", consent.BadValue, changed(func(o *docket.Officer) { o.Role = "chief" }, okafor))
	add("no-name", "Nobody's key.", consent.BadValue, changed(func(o *docket.Officer) { o.Name = "" }, okafor))
	add("no-expiry", "An enrolment without an end.", consent.BadValue, changed(func(o *docket.Officer) { o.Expires = consent.Time{} }, okafor))
	add("expiry-too-long", "An enrolment of 366 days and a second.", consent.BadValue, changed(func(o *docket.Officer) { o.Expires = at("2027-07-02T00:00:01Z") }, okafor))
	add("longest-expiry-accepted", "An enrolment of 366 days.", OK, changed(func(o *docket.Officer) { o.Expires = at("2027-07-02T00:00:00Z") }, okafor))
	add("own-key", "A supervisor enrols a key of their own.", consent.SameSigner, changed(func(o *docket.Officer) { o.Key = okafor.Verifier() }, okafor))
	add("by-nobody", "Signed by a key that no entry enrols.", consent.UnknownOfficer, changed(func(o *docket.Officer) { o.By = nobody.Verifier() }, nobody))
	lundByDiaz := enrol(lund, "Per Lund")
	lundByDiaz.By = diaz.Verifier()
	add("by-officer", "An officer enrols another.", consent.WrongRole, sign(lundByDiaz, diaz), diazEnrolled)
	add("other-signer", "Signed by somebody else than it says.", consent.MissingSignature, changed(func(*docket.Officer) {}, nobody))
	add("docket-key", "The docket key is made an officer's.", consent.WrongRole, changed(func(o *docket.Officer) { o.Key = docketKey.Verifier() }, okafor))
	add("enrolled-twice", "The key is enrolled already.", consent.DuplicateEntry, changed(func(o *docket.Officer) { o.Name = "Ana D. Diaz" }, okafor), diazEnrolled)
	add("enrolled-after-revocation", "A revoked key comes back.", consent.RevokedOfficer, func() string {
		o := enrol(lund, "Per Lund")
		o.Created = at("2026-09-01T00:00:00Z")
		return sign(o, okafor)
	}(), lundEnrolled, lundRevoked())
	add("revokes-nobody", "Revokes a key that no entry enrols.", consent.UnknownOfficer, lundRevoked())
	add("not-yet-valid", "Dated a day ahead.", consent.NotYetValid, changed(func(o *docket.Officer) { o.Created = at("2026-11-24T09:00:00Z") }, okafor))
}

func theResolve() docket.Resolve {
	return docket.Resolve{Request: request.IDOf([]byte(requestNote)), Reason: "The van was found.", Created: at("2026-11-23T08:30:00Z"), Officer: diaz.Verifier()}
}

// endings are resolve and supersede.
func (b *book) endings() {
	asked := []string{diazEnrolled, requestNote}
	b.add("resolve", "ok", "The officer ends the request.", OK, inDocket(asked...), sign(theResolve(), diaz))
	b.add("resolve", "unknown-request", "The docket holds no such request.", consent.UnknownRequest, inDocket(diazEnrolled), sign(theResolve(), diaz))
	b.add("resolve", "closed-request", "It is resolved already.", consent.ClosedRequest, inDocket(append(asked, sign(theResolve(), diaz))...), func() string {
		r := theResolve()
		r.Reason = "Found again."
		return sign(r, diaz)
	}())
	b.add("resolve", "no-reason", "Without a reason.", consent.BadValue, inDocket(asked...), func() string {
		r := theResolve()
		r.Reason = ""
		return forge("resolve", body(r), diaz)
	}())
	b.add("resolve", "by-supervisor", "Signed by a supervisor, who is no officer.", consent.WrongRole, inDocket(asked...), func() string {
		r := theResolve()
		r.Officer = okafor.Verifier()
		return sign(r, okafor)
	}())

	again := theRequest()
	again.Text = "A bicycle shop on Mill Street was robbed. We look for pictures of a white van that left towards the hill."
	replacement := sign(again, diaz, okafor)
	s := docket.Supersede{
		Request: request.IDOf([]byte(requestNote)), Replacement: request.IDOf([]byte(replacement)), Reason: "The van was white.",
		Created: at("2026-11-23T08:40:00Z"), Officer: diaz.Verifier(), Supervisor: okafor.Verifier(),
	}
	both := inDocket(append(asked, replacement)...)
	b.add("supersede", "ok", "Another request takes the place of the first.", OK, both, sign(s, diaz, okafor))
	b.add("supersede", "unknown-replacement", "By a request that the docket does not hold.", consent.UnknownRequest, inDocket(asked...), sign(s, diaz, okafor))
	b.add("supersede", "officer-only", "The supervisor has not signed.", consent.MissingSignature, both, forge("supersede", body(s), diaz))
	self := s
	self.Replacement = self.Request
	b.add("supersede", "itself", "By itself.", consent.BadValue, both, forge("supersede", body(self), diaz, okafor))
	one := s
	one.Supervisor = one.Officer
	b.add("supersede", "same-signer", "Officer and supervisor are one person.", consent.SameSigner, both, forge("supersede", body(one), diaz))
}

// answers are grant, manifest, acceptance and receipt.
func (b *book) answers() {
	grants := Context{Request: requestNote}
	g := func(name, why string, class consent.Class, change func(*grant.Grant)) {
		v := theGrant()
		change(&v)
		b.add("grant", name, why, class, grants, forge("grant", body(v), grantKey))
	}
	g("ok", "One release on the terms that were offered.", OK, func(*grant.Grant) {})
	g("tighter-accepted", "The owner halves the retention and lets nobody else have it.", OK, func(v *grant.Grant) {
		v.Terms.RetainUntil, v.Terms.UnusedUntil, v.Terms.Recipients = at("2027-01-01T00:00:00Z"), at("2026-12-01T00:00:00Z"), []string{}
	})
	g("terms-wider", "Kept a second longer than was offered.", consent.TermsWider, func(v *grant.Grant) { v.Terms.RetainUntil = consent.At(v.Terms.RetainUntil.Add(time.Second)) })
	g("recipient-added", "Somebody else may have it than was offered.", consent.TermsWider, func(v *grant.Grant) { v.Terms.Recipients = []string{"county prosecutor", "press"} })
	g("resharing-added", "It may be passed on, which was not offered.", consent.TermsWider, func(v *grant.Grant) { v.Terms.Resharing = true })
	g("no-release", "A grant of nothing.", grant.NothingOffered, func(v *grant.Grant) { v.Releases = []grant.Release{} })
	g("terms-over", "Terms that ended before the grant was made.", grant.NothingOffered, func(v *grant.Grant) { v.Terms.UnusedUntil = v.Created })
	g("release-id", "A CID of version 0.", consent.BadValue, func(v *grant.Grant) { v.Releases[0].CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG" })
	g("anonymous-with-name", "An anonymous answer with a name.", grant.IdentityInvalid, func(v *grant.Grant) { v.Name = "Ann" })
	g("named-without-name", "A named answer without one.", grant.IdentityInvalid, func(v *grant.Grant) { v.Identity = grant.Named })
	g("key-name", "A grant key with a telling name.", consent.BadKey, func(v *grant.Grant) { v.Key = nobody.Verifier() })
	g("reach", "No age recipient.", consent.BadValue, func(v *grant.Grant) { v.Reach = "ann@example.org" })
	g("expired-at-birth", "The offer ends when it is made.", request.ExpiryInvalid, func(v *grant.Grant) { v.Expires = v.Created })
	b.add("grant", "other-signer", "Signed by another key than it names.", consent.MissingSignature, grants, forge("grant", body(theGrant()), nobody))

	m := func(name, why string, class consent.Class, change func(*grant.Manifest)) {
		v := theManifest()
		change(&v)
		b.add("manifest", name, why, class, Context{GrantKey: grantKey.Verifier()}, forge("manifest", body(v), grantKey))
	}
	m("ok", "Ten minutes with a gap of ten seconds.", OK, func(*grant.Manifest) {})
	m("span-invalid", "The clip ends before it begins.", grant.SpanInvalid, func(v *grant.Manifest) { v.Clip.From, v.Clip.Until = v.Clip.Until, v.Clip.From })
	m("nothing-asked", "The clip is of another day.", grant.NothingAsked, func(v *grant.Manifest) {
		v.Clip = grant.Span{From: at("2026-11-21T18:30:00Z"), Until: at("2026-11-21T19:30:00Z")}
	})
	m("gap-order", "Gaps out of order.", grant.SpanInvalid, func(v *grant.Manifest) {
		v.Gaps = append(v.Gaps, grant.Span{From: at("2026-11-22T19:00:00Z"), Until: at("2026-11-22T19:01:00Z")})
	})
	m("overlap-order", "Overlaps out of order.", grant.SpanInvalid, func(v *grant.Manifest) {
		v.Overlaps = []grant.Span{{From: at("2026-11-22T19:05:00Z"), Until: at("2026-11-22T19:06:00Z")}, {From: at("2026-11-22T19:00:00Z"), Until: at("2026-11-22T19:01:00Z")}}
	})
	m("no-original", "Cut from nothing.", consent.BadValue, func(v *grant.Manifest) { v.Originals = []grant.Commitment{} })
	m("sealed-size", "A sealed file smaller than the plain one.", consent.BadValue, func(v *grant.Manifest) { v.SealedBytes = 999 })
	m("clock-source", "A source of time that is not on the list.", consent.BadValue, func(v *grant.Manifest) { v.Clock.Source = "guess" })
	b.add("manifest", "other-grant", "Signed by another grant's key.", consent.MissingSignature,
		Context{GrantKey: key("another grant", grant.KeyName).Verifier()}, manifestNote)

	accepts := Context{ReceptionKey: reception.Verifier(), Grant: grantNote}
	a := func(name, why string, class consent.Class, change func(*grant.Acceptance)) {
		v := theAcceptance()
		change(&v)
		b.add("acceptance", name, why, class, accepts, forge("acceptance", body(v), reception))
	}
	a("ok", "The terms as they were offered.", OK, func(*grant.Acceptance) {})
	a("tighter-accepted", "A shorter retention than was granted.", OK, func(v *grant.Acceptance) { v.Terms.RetainUntil = v.Terms.UnusedUntil })
	a("terms-wider", "Passing on, which was not granted.", consent.TermsWider, func(v *grant.Acceptance) { v.Terms.Resharing = true })
	a("other-grant", "Of another grant.", consent.WrongSubject, func(v *grant.Acceptance) { v.Grant = consent.GrantID(hash("x")) })
	a("grant-id", "Of no grant.", consent.BadValue, func(v *grant.Acceptance) { v.Grant = "" })
	a("terms-invalid", "Unused clips would be kept longer than used ones.", request.TermsInvalid, func(v *grant.Acceptance) {
		v.Terms.RetainUntil = consent.At(v.Terms.UnusedUntil.Add(-time.Second))
	})
	b.add("acceptance", "other-request", "Signed by the reception key of another request.", consent.MissingSignature, accepts,
		forge("acceptance", body(theAcceptance()), key("another request", request.ReceptionKeyName)))

	receipts := Context{ReceptionKey: reception.Verifier()}
	r := func(name, why string, class consent.Class, change func(*grant.Receipt)) {
		v := theReceipt()
		change(&v)
		b.add("receipt", name, why, class, receipts, forge("receipt", body(v), reception))
	}
	r("ok", "The sealed release is held.", OK, func(*grant.Receipt) {})
	r("kept-by-law-accepted", "A court's order outranks the terms.", OK, func(v *grant.Receipt) {
		v.State, v.Detail, v.Entry, v.Salt = grant.KeptByLaw, "County Court, 26-CV-118", hash("hold"), grant.Secret(hash("salt"))
	})
	r("entry-missing", "Kept by law, without the docket's entry that says so.", grant.DetailMissing, func(v *grant.Receipt) { v.State, v.Detail = grant.KeptByLaw, "County Court, 26-CV-118" })
	r("commitment", "No commitment that the docket could follow.", consent.BadValue, func(v *grant.Receipt) { v.Commitment = "" })
	r("unknown-state", "A state that is not on the list.", grant.UnknownState, func(v *grant.Receipt) { v.State = "lost" })
	r("detail-missing", "Passed on, without saying to whom.", grant.DetailMissing, func(v *grant.Receipt) {
		v.State, v.Entry, v.Salt = grant.PassedOn, hash("transfer"), grant.Secret(hash("salt"))
	})
	r("hash", "No hash of what was received.", consent.BadValue, func(v *grant.Receipt) { v.SealedSHA256 = "" })
	r("key-name", "A reception key with a telling name.", consent.BadKey, func(v *grant.Receipt) { v.Key = nobody.Verifier() })
	r("names-other-key", "It names another key than the one that signed.", consent.WrongSubject, func(v *grant.Receipt) {
		v.Key = key("another request", request.ReceptionKeyName).Verifier()
	})
	b.add("receipt", "other-request", "Signed by the reception key of another request.", consent.MissingSignature, receipts,
		forge("receipt", body(theReceipt()), key("another request", request.ReceptionKeyName)))
}

func (b *book) checkpoints() {
	ctx := inDocket()
	good := string(aDocket(diazEnrolled, requestNote).Checkpoint())
	add := func(name, why string, class consent.Class, doc string) {
		b.add("checkpoint", name, why, class, ctx, doc)
	}
	text, lines := signatures(good)
	text = strings.TrimSuffix(text, "\n")
	root := strings.Split(text, "\n")[2]

	add("ok", "A docket of two entries.", OK, good)
	add("other-signer", "Signed by another key.", consent.MissingSignature, forgeText(text, nobody))
	add("changed", "Another size than was signed.", consent.BadSignature, replaced(good, "\n2\n", "\n3\n"))
	add("cosigned", "With a line more than the docket key's.", consent.ExtraSignature, forgeText(text, docketKey, nobody))
	add("line-twice", "The signature line stands there twice.", consent.NotCanonical, good+lines[0])
	add("other-docket", "The origin of another docket.", consent.WrongOrigin, forgeText(replaced(text, string(police().ID()), string(otherDocketID())), docketKey))
	add("size", "A size of no number.", consent.BadValue, forgeText(replaced(text, "\n2\n", "\nmany\n"), docketKey))
	add("size-spelling", "A size with a zero before it.", consent.NotCanonical, forgeText(replaced(text, "\n2\n", "\n02\n"), docketKey))
	add("root", "A root that is no hash.", consent.BadValue, forgeText(replaced(text, root, "AAAA"), docketKey))
	add("extension", "A fourth line.", consent.Malformed, forgeText(text+"more\n", docketKey))
	add("empty", "Nothing at all.", consent.Malformed, "")
}

func theRequestAgain() request.Request {
	r := theRequest()
	r.Case = "MB-26-009999"
	return r
}

func (b *book) bundles() {
	ctx := inDocket()
	good := string(must(aDocket(diazEnrolled, lundEnrolled, requestNote).Bundle(2, nil)))
	add := func(name, why string, class consent.Class, doc string) { b.add("bundle", name, why, class, ctx, doc) }
	bare := string(must(aDocket(diazEnrolled, requestNote).Bundle(0, nil)))

	add("ok", "The request with the entry that enrols its officer.", OK, good)
	add("officer-accepted", "An officer entry that only the charter's first supervisor signed.", OK, bare)
	add("not-json", "No JSON.", consent.Malformed, good[:len(good)-1])
	add("unknown-field", "A member the format does not have.", consent.UnknownField, replaced(good, `{"agency"`, `{"urgent":true,"agency"`))
	add("white-space", "A space after a comma.", consent.NotCanonical, replaced(good, `,"checkpoint"`, `, "checkpoint"`))
	add("oversize", "More than 32 KiB.", consent.Oversize, replaced(good, `{"agency"`, `{"x":"`+strings.Repeat("x", 32<<10)+`","agency"`))
	add("no-entries", "Without entries.", consent.BadValue, good[:strings.Index(good, `"entries":`)]+`"entries":[]}`)
	add("entry-order", "An index after a larger one.", consent.BadValue, replaced(good, `"index":0`, `"index":3`))
	add("beyond-checkpoint", "An index that the checkpoint does not cover.", consent.BadProof, replaced(good, `"index":2`, `"index":3`))
	add("wrong-index", "The proof of another index.", consent.BadProof, replaced(good, `"index":2`, `"index":1`))
	add("proof", "A hash of the proof was changed.", consent.BadProof, changeProof(good))
	add("entry-changed", "One letter of the request was changed.", consent.BadProof, replaced(good, "grey van", "gray van"))
	add("unknown-agency", "Of another agency than the judge asks about.", consent.UnknownAgency, replaced(good, string(police().ID()), string(otherDocketID())))
	add("without-officer", "The entry that enrols the officer is missing.", consent.UnknownOfficer, cutEntry(good, 0))
	add("with-more", "An officer entry that the request does not rely on.", consent.NotCanonical, addLund(good))
	other := string(aDocket(diazEnrolled, lundEnrolled, sign(theRequestAgain(), diaz, okafor)).Checkpoint())
	add("other-checkpoint", "A signed checkpoint of another tree.", consent.BadProof, withCheckpoint(good, other))
	forged := string(must(note.Sign(&note.Note{Text: strings.SplitAfter(other, "\n\n")[0][:strings.Index(other, "\n\n")+1]}, must(note.NewSigner(nobody.Encode())))))
	add("checkpoint-not-signed", "A checkpoint that the docket key did not sign.", consent.MissingSignature, withCheckpoint(good, forged))
}

type wire struct {
	Agency     string `json:"agency"`
	Checkpoint string `json:"checkpoint"`
	Entries    []struct {
		Index int64    `json:"index"`
		Note  string   `json:"note"`
		Proof []string `json:"proof"`
	} `json:"entries"`
}

func rewire(s string, change func(*wire)) string {
	var w wire
	if err := consent.DecodeStrict([]byte(s), &w, len(s)); err != nil {
		panic(err)
	}
	change(&w)
	return string(must(consent.EncodeStrict(w)))
}

func changeProof(s string) string {
	return rewire(s, func(w *wire) {
		p := w.Entries[1].Proof
		p[0] = base64.StdEncoding.EncodeToString(make([]byte, 32))
	})
}

func cutEntry(s string, i int) string {
	return rewire(s, func(w *wire) { w.Entries = append(w.Entries[:i:i], w.Entries[i+1:]...) })
}

func withCheckpoint(s, checkpoint string) string {
	return rewire(s, func(w *wire) { w.Checkpoint = checkpoint })
}

// addLund puts Lund's enrolment, which is in the tree, into the bundle of Diaz's request.
func addLund(s string) string {
	lund := rewire(string(must(aDocket(diazEnrolled, lundEnrolled, requestNote).Bundle(1, nil))), func(*wire) {})
	var w wire
	if err := consent.DecodeStrict([]byte(lund), &w, len(lund)); err != nil {
		panic(err)
	}
	return rewire(s, func(g *wire) { g.Entries = append(g.Entries[:1:1], append(w.Entries, g.Entries[1:]...)...) })
}
