package vectors

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// book collects vectors.
type book struct{ list []Vector }

func (b *book) add(kind, name, why string, expect consent.Class, ctx Context, doc string) {
	v := Vector{Name: kind + "-" + name, Kind: kind, Why: why, Expect: string(expect), Now: at(now), Context: ctx}
	if utf8.ValidString(doc) {
		v.Note = doc
	} else {
		v.Base64 = []byte(doc)
	}
	switch kind {
	case "request", "officer", "supersede", "resolve", "report", "outcome", "hold", "transfer", "daily", "objection":
	default:
		v.Now = consent.Time{}
	}
	b.list = append(b.list, v)
}

// stories makes all vectors.
func stories() []Vector {
	var b book
	b.envelope()
	b.requests()
	b.history()
	b.charters()
	b.officers()
	b.endings()
	b.accounts()
	b.daily()
	b.polygons()
	b.quotas()
	b.answers()
	b.declarations()
	b.words()
	b.checkpoints()
	b.bundles()
	b.witnesses()
	b.misconduct()
	return b.list
}

// inDocket is the context of a docket entry.
func inDocket(entries ...string) Context {
	return Context{Charters: []string{charterNote}, Agency: police().ID(), Entries: entries}
}

// envelope breaks the one envelope in every way, on a request.
func (b *book) envelope() {
	ctx := inDocket(diazEnrolled)
	ok := requestNote
	js := body(theRequest())
	text, lines := signatures(ok)
	add := func(name, why string, class consent.Class, doc string) {
		b.add("request", "envelope-"+name, why, class, ctx, doc)
	}
	resigned := func(js string) string { return forge("request", js, diaz, okafor) }

	b.add("request", "ok", "The officer and the supervisor ask for an hour around the robbery.", OK, ctx, ok)
	add("empty", "Nothing at all.", consent.Malformed, "")
	add("no-header", "The JSON without its header line.", consent.Malformed, forgeText(js+"\n", diaz, okafor))
	add("version-2", "A later version of the format.", consent.WrongVersion, replaced(ok, "/v1\n", "/v2\n"))
	add("other-kind", "A resolve where a request belongs.", consent.WrongKind, sign(theResolve(), diaz))
	add("oversize", "A case reference that makes the note larger than 16 KiB.", consent.Oversize,
		resigned(replaced(js, "MB-26-004417", strings.Repeat("M", 17<<10))))
	add("not-utf8", "A byte in the text that is not UTF-8.", consent.NotUTF8, replaced(ok, "bicycle", "bi\xffycle"))
	add("control-character", "A tab between the JSON and its end.", consent.Malformed, replaced(ok, "}\n\n", "}\t\n\n"))
	add("not-json", "A brace is missing.", consent.Malformed, resigned(js[:len(js)-1]))
	add("two-values", "A second object after the first.", consent.TrailingData, resigned(js+"{}"))
	add("unknown-field", "A member the format does not have.", consent.UnknownField, resigned(replaced(js, `{"agency"`, `{"urgent":true,"agency"`)))
	add("duplicate-field", "The case reference twice, with two values.", consent.DuplicateField, resigned(replaced(js, `,"offence"`, `,"case":"MB-26-009999","offence"`)))
	add("missing-field", "No member contact.", consent.MissingField, resigned(replaced(js, `"contact":"Officer Diaz, +1 412 555 0134",`, ``)))
	add("null", "The recipients are null, not an empty list.", consent.NullValue, resigned(replaced(js, `["county prosecutor"]`, `null`)))
	add("wrong-type", "The case reference is a number.", consent.BadValue, resigned(replaced(js, `"MB-26-004417"`, `4417`)))
	add("deep", "Lists in lists where the area belongs.", consent.TooDeep, resigned(replaced(js, `"area":[`, `"area":[`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+`,`)))
	add("white-space", "A space after a comma.", consent.NotCanonical, resigned(replaced(js, `,"case"`, `, "case"`)))
	add("member-order", "Case and offence changed places.", consent.NotCanonical,
		resigned(replaced(js, `"case":"MB-26-004417","offence":"120"`, `"offence":"120","case":"MB-26-004417"`)))
	add("letter-case", "A member's name in capitals, which some decoders take.", consent.MissingField, resigned(replaced(js, `"contact"`, `"CONTACT"`)))
	add("escaped-letter", "A letter written as an escape.", consent.NotCanonical, resigned(replaced(js, `bicycle`, `bi\u0063ycle`)))
	add("number-spelling", "A number with an exponent it does not need.", consent.BadValue, resigned(replaced(js, `"retention_days":90`, `"retention_days":9e1`)))
	add("coordinate-spelling", "A coordinate with a zero at its end.", consent.NotCanonical, resigned(replaced(js, `-80.006,`, `-80.0060,`)))
	add("altitude", "A position of three numbers.", consent.BadValue, resigned(replaced(js, `"place":[-80.006,40.7128]`, `"place":[-80.006,40.7128,200]`)))
	add("time-zone", "A time that is not in UTC.", consent.BadValue, resigned(replaced(js, `"created":"2026-11-23T08:00:00Z"`, `"created":"2026-11-23T09:00:00+01:00"`)))
	add("fraction-of-a-second", "A time with a fraction of a second.", consent.BadValue, resigned(replaced(js, `"created":"2026-11-23T08:00:00Z"`, `"created":"2026-11-23T08:00:00.5Z"`)))
	add("changed", "One letter of the text was changed after signing.", consent.BadSignature, replaced(ok, "grey van", "gray van"))
	add("not-signed", "No signature line.", consent.MissingSignature, text)
	add("officer-only", "The supervisor's signature is missing.", consent.MissingSignature, text+lines[0])
	add("supervisor-only", "The officer's signature is missing.", consent.MissingSignature, text+lines[1])
	add("third-signature", "Somebody else signed too.", consent.ExtraSignature, forge("request", js, diaz, okafor, nobody))
	add("signature-twice", "The officer's line stands there twice.", consent.ExtraSignature, text+lines[0]+lines[0]+lines[1])
	add("signature-order", "The supervisor's line stands before the officer's.", consent.SignatureOrder, text+lines[1]+lines[0])
	add("signature-swapped", "The officer's name with the supervisor's signature.", consent.BadSignature, text+swapSignature(lines[0], lines[1])+lines[1])
	add("base64-spelling", "Bits beyond the end of the base64 are set.", consent.NotCanonical, text+looseBase64(lines[0])+lines[1])
	add("line-end", "Carriage returns at the ends of lines.", consent.Malformed, strings.ReplaceAll(ok, "\n", "\r\n"))
	add("something-after", "A line after the signatures.", consent.Malformed, ok+"hello\n")
}

// swapSignature gives a line the signature of another and keeps its name and key hash.
func swapSignature(line, other string) string {
	raw := func(s string) []byte {
		f := strings.Fields(s)
		return must(base64.StdEncoding.DecodeString(f[len(f)-1]))
	}
	a, o := raw(line), raw(other)
	name := strings.Fields(line)[1]
	return "— " + name + " " + base64.StdEncoding.EncodeToString(slices.Concat(a[:4], o[4:])) + "\n"
}

// looseBase64 sets a bit that base64 decoders ignore: 68 bytes leave four of them.
func looseBase64(line string) string {
	i := strings.LastIndex(line, "=\n") - 1
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	d := strings.IndexByte(digits, line[i])
	return line[:i] + string(digits[d^1]) + line[i+1:]
}

// requests breaks each rule of a request.
func (b *book) requests() {
	ctx := inDocket(diazEnrolled)
	add := func(name, why string, class consent.Class, change func(*request.Request)) {
		r := theRequest()
		r.Area = slices.Clone(r.Area)
		change(&r)
		b.add("request", name, why, class, ctx, forge("request", body(r), diaz, okafor))
	}
	say := func(s string) func(*request.Request) { return func(r *request.Request) { r.Text = s } }
	reply := func(list ...string) func(*request.Request) { return func(r *request.Request) { r.Reply = list } }

	add("warrant-accepted", "A warrant is named by the hash of its document.", OK, func(r *request.Request) { r.Basis, r.OrderHash = request.Warrant, hash("order") })
	add("agency-id", "The agency's id is no id.", consent.BadValue, func(r *request.Request) { r.Agency = "millbrook" })
	add("wrong-agency", "Signed for another agency's docket.", request.WrongAgency, func(r *request.Request) { r.Agency = consent.AgencyID(hash("x")[:32]) })
	add("no-case", "No case reference.", consent.BadText, func(r *request.Request) { r.Case = "" })
	add("unknown-offence", "An offence that is not on the list.", request.UnknownOffence, func(r *request.Request) { r.Offence = "999" })
	add("unknown-basis", "A basis that is not on the list.", request.UnknownBasis, func(r *request.Request) { r.Basis = "hunch" })
	add("order-missing", "A warrant without the hash of its document.", request.OrderMissing, func(r *request.Request) { r.Basis = request.Warrant })
	add("order-unexpected", "The hash of an order without a warrant.", request.OrderUnexpected, func(r *request.Request) { r.OrderHash = hash("order") })
	add("window-invalid", "The window ends before it begins.", consent.WindowInvalid, func(r *request.Request) { r.From, r.Until = r.Until, r.From })
	add("window-too-short", "Fourteen minutes.", consent.WindowTooShort, func(r *request.Request) { r.Until = consent.At(r.From.Add(14 * time.Minute)) })
	add("window-shortest-accepted", "Fifteen minutes.", OK, func(r *request.Request) { r.Until = consent.At(r.From.Add(15 * time.Minute)) })
	add("window-too-long", "Twelve hours and a second.", consent.WindowTooLong, func(r *request.Request) { r.From = consent.At(r.Until.Add(-12*time.Hour - time.Second)) })
	add("window-in-future", "Footage that is not recorded yet.", request.WindowInFuture, func(r *request.Request) { r.Until = consent.At(r.Created.Add(time.Hour)) })
	add("incident-in-future", "An incident that has not happened yet.", request.IncidentInFuture, func(r *request.Request) { r.Incident.At = consent.At(r.Created.Add(time.Hour)) })
	add("expiry-invalid", "Over when it begins.", request.ExpiryInvalid, func(r *request.Request) { r.Expires = r.Created })
	add("expiry-too-long", "Open for fourteen days and a second.", consent.ExpiryTooLong, func(r *request.Request) { r.Expires = consent.At(r.Created.AddDate(0, 0, 14).Add(time.Second)) })
	add("area-crosses-itself", "The ring of the area crosses itself.", consent.AreaInvalid, func(r *request.Request) { r.Area[0], r.Area[1] = r.Area[1], r.Area[0] })
	add("area-of-two-vertices", "Two vertices enclose nothing.", consent.AreaInvalid, func(r *request.Request) { r.Area = r.Area[:2] })
	add("area-of-101-vertices", "More vertices than a ring may have.", consent.AreaInvalid, func(r *request.Request) { r.Area = rounded(geo.Circle(r.Incident.Place, 300, 101)) })
	add("area-at-antimeridian", "The ring crosses the antimeridian.", consent.AreaInvalid, func(r *request.Request) { r.Area[0].Lon = 179.9 })
	add("area-at-pole", "The ring encloses the north pole.", consent.AreaInvalid, func(r *request.Request) {
		r.Area = geo.Polygon{{Lat: 80, Lon: 0}, {Lat: 80, Lon: 120}, {Lat: 80, Lon: -120}}
	})
	add("area-off-the-map", "A latitude of 91 degrees.", consent.AreaInvalid, func(r *request.Request) { r.Area[2].Lat = 91 })
	add("place-outside-area", "The incident happened elsewhere.", request.PlaceOutsideArea, func(r *request.Request) { r.Incident.Place.Lat = 40.72 })
	add("area-too-large", "About two square kilometres.", consent.AreaTooLarge, func(r *request.Request) { r.Area = box(0.0065, 0.0085) })
	add("area-too-small", "One house.", consent.AreaTooSmall, func(r *request.Request) { r.Area = box(0.0002, 0.0002) })
	add("outside-jurisdiction", "The next town.", consent.OutsideJurisdiction, func(r *request.Request) {
		r.Incident.Place.Lat += 1
		for i := range r.Area {
			r.Area[i].Lat += 1
		}
	})
	add("across-jurisdiction", "Half of the area lies in the next town.", consent.OutsideJurisdiction, func(r *request.Request) {
		for i := range r.Area {
			r.Area[i].Lon += 0.039
		}
		r.Incident.Place.Lon += 0.039
	})
	add("no-contact", "Nobody to ask.", consent.BadText, func(r *request.Request) { r.Contact = "" })
	add("terms-invalid", "Unused clips would be kept longer than used ones.", request.TermsInvalid, func(r *request.Request) { r.Terms.RetentionDays = 7 })
	add("retention-too-long", "A year and a day.", consent.RetentionTooLong, func(r *request.Request) { r.Terms.RetentionDays = 366 })
	add("unused-too-long", "Unused clips for 31 days.", consent.UnusedTooLong, func(r *request.Request) { r.Terms.UnusedDays = 31 })
	add("no-reply", "No address to answer to.", request.NoReply, reply([]string{}...))
	add("too-many-replies", "Five addresses.", request.TooManyReplies, func(r *request.Request) {
		for _, port := range []string{"1", "2", "3", "4"} {
			r.Reply = append(r.Reply, "/ip4/9.9.9.9/tcp/"+port+"/p2p/"+peer)
		}
	})
	add("reply-name", "A host name, which would have to be looked up.", consent.BadReply, reply("/dns4/police.millbrook.example/tcp/4001/p2p/"+peer))
	add("reply-no-peer", "An address without a peer id.", consent.BadReply, reply("/ip4/9.9.9.9/tcp/4001"))
	add("reply-websocket", "A transport that is not on the list.", consent.BadReply, reply("/ip4/9.9.9.9/tcp/4001/ws/p2p/"+peer))
	add("reply-not-public", "A private address in a mesh that is not LAN-only.", request.ReplyNotPublic, reply("/ip4/192.168.1.4/tcp/4001/p2p/"+peer))
	add("reply-mapped", "An IPv4 address in the dress of IPv6.", consent.BadReply, reply("/ip6/::ffff:9.9.9.9/tcp/4001/p2p/"+peer))
	add("reply-circuit-accepted", "A circuit address through a steward.", OK, reply("/ip4/9.9.9.9/udp/4001/quic-v1/p2p/"+peer+"/p2p-circuit/p2p/"+peer))
	add("same-signer", "Officer and supervisor are one person.", consent.SameSigner, func(r *request.Request) { r.Supervisor = r.Officer })
	add("reception-key-name", "A reception key with a telling name.", consent.BadKey, func(r *request.Request) { r.ReceptionKey = nobody.Verifier() })
	add("text-invisible", "The text holds a character that turns its direction.", consent.BadText, say("We look for a grey van. \u202eelzzup"))
	add("text-pressure", "The text presses.", request.TextPressure, say("We look for a grey van. You must share what you have."))
	add("text-personal-data", "The text names the victim.", request.TextPersonal, say("The victim, Jane Doe, was hurt by the driver of a grey van."))
	add("text-race-only", "The text describes a person by race alone.", request.TextRaceOnly, say("We look for pictures of a Black male."))
	add("text-assembly", "The text asks about a protest.", request.TextAssembly, say("We look for pictures of the protest on Mill Street."))
}

func rounded(p geo.Polygon) geo.Polygon {
	for i, v := range p {
		p[i] = geo.Point{Lat: float64(int(v.Lat*1e6)) / 1e6, Lon: float64(int(v.Lon*1e6)) / 1e6}
	}
	return p
}

// history is what depends on the clock, the charter and the docket so far.
func (b *book) history() {
	ctx := inDocket(diazEnrolled)
	other := ctx
	other.Agency = otherDocketID()
	b.add("request", "unknown-agency", "The charter admits no such agency.", consent.UnknownAgency, other, requestNote)
	late := func(name, why, when string, class consent.Class) {
		b.add("request", name, why, class, ctx, requestNote)
		b.list[len(b.list)-1].Now = at(when)
	}
	late("expired", "Six minutes after its end.", "2026-11-30T08:06:00Z", consent.Expired)
	late("not-yet-valid", "Dated six minutes ahead.", "2026-11-23T07:54:00Z", consent.NotYetValid)
	late("clock-skew-accepted", "Dated four minutes ahead, which clocks may differ.", "2026-11-23T07:56:00Z", OK)

	b.add("request", "unknown-officer", "No entry enrols the officer.", consent.UnknownOfficer, inDocket(), requestNote)
	by := func(k consent.Key) string {
		r := theRequest()
		r.Officer = k.Verifier()
		return sign(r, k, okafor)
	}
	b.add("request", "revoked-officer", "The officer's key was revoked.", consent.RevokedOfficer, inDocket(lundEnrolled, lundRevoked()), by(lund))
	b.add("request", "wrong-role", "The officer's key is enrolled as a supervisor's.", consent.WrongRole, inDocket(boss(lund)), by(lund))
	soon := enrol(mori, "Kei Mori")
	soon.Expires = at("2026-11-23T07:00:00Z")
	expired := inDocket()
	expired.Entries = []string{sign(soon, okafor)}
	b.add("request", "expired-officer", "The officer's enrolment ran out an hour before.", consent.ExpiredOfficer, expired, by(mori))

	again := theRequest()
	again.Case = "MB-26-009999"
	second := sign(again, diaz, okafor)
	b.add("request", "second-post-accepted", "A second post of the case.", OK, inDocket(diazEnrolled, requestNote), second)
	third := theRequest()
	third.Case, third.Area = "MB-26-010000", box(0.0026, 0.0036)
	b.add("request", "too-many-posts", "A third post under a third reference, over ground that the others cover.", consent.TooManyPosts,
		inDocket(diazEnrolled, requestNote, second), sign(third, diaz, okafor))
	b.add("request", "duplicate-entry", "The same bytes are in the docket.", consent.DuplicateEntry, inDocket(diazEnrolled, requestNote), requestNote)
	large := func(n string, offence request.Offence) string {
		r := theRequest()
		r.Case, r.Offence, r.Area = n, offence, box(0.005, 0.0065)
		r.From, r.Until = at("2026-11-22T08:00:00Z"), at("2026-11-22T20:00:00Z")
		return sign(r, diaz, okafor)
	}
	b.add("request", "daily-area", "The fifth request of one day for twelve hours and more than a square kilometre.", consent.DailyArea,
		inDocket(diazEnrolled, large("1", "120"), large("2", "220"), large("3", "240"), large("4", "13A")), large("5", "200"))
}

func otherDocketID() consent.AgencyID {
	return consent.AgencyIDOf(must(otherDocket.Verifier().Public()))
}

func lundRevoked() string {
	o := enrol(lund, "Per Lund")
	o.Action, o.Reason, o.Created, o.Expires = docket.Revoke, "left the service", at("2026-08-01T00:00:00Z"), consent.Time{}
	return sign(o, okafor)
}

func boss(k consent.Key) string {
	o := enrol(k, "A Supervisor")
	o.Role = docket.RoleSupervisor
	return sign(o, okafor)
}

func (b *book) charters() {
	one := Context{}
	add := func(name, why string, class consent.Class, change func(*charter.Charter)) {
		c := charter1()
		change(&c)
		b.add("charter", name, why, class, one, forge("charter", body(c), alice, bob))
	}
	b.add("charter", "ok", "Two of three signers sign version 1.", OK, one, charterNote)
	b.add("charter", "all-signers-accepted", "All three sign.", OK, one, sign(charter1(), alice, bob, carol))
	b.add("charter", "below-quorum", "One of three.", consent.BelowQuorum, one, sign(charter1(), bob))
	b.add("charter", "extra-signature", "Dave signs, who is no signer.", consent.ExtraSignature, one, sign(charter1(), alice, bob, dave))
	b.add("charter", "signature-order", "Bob's line before Alice's.", consent.SignatureOrder, one, sign(charter1(), bob, alice))
	add("bad-threshold", "A threshold of one in three.", consent.BadThreshold, func(c *charter.Charter) { c.Threshold = 1 })
	add("no-signers", "Nobody.", consent.BadValue, func(c *charter.Charter) { c.Signers = []charter.Signer{} })
	add("signer-twice", "One key under two names would count twice.", consent.BadValue, func(c *charter.Charter) { c.Signers[2].Key = must(alice.Renamed("carol")).Verifier() })
	add("ends-before-it-begins", "Over before it was made.", consent.BadValue, func(c *charter.Charter) { c.Ends = c.Created })
	add("quorum-without-witnesses", "A quorum of witnesses that are not there.", consent.BadValue, func(c *charter.Charter) { c.Quorum = 1 })
	add("limits", "Windows from twelve hours to fifteen minutes.", consent.BadValue, func(c *charter.Charter) {
		c.Limits.MinWindowMinutes, c.Limits.MaxWindowMinutes = c.Limits.MaxWindowMinutes, c.Limits.MinWindowMinutes
	})
	add("agency-class", "A class that is not on the list.", consent.BadValue, func(c *charter.Charter) { c.Agencies[0].Class = "private" })
	add("jurisdiction", "A jurisdiction that crosses itself.", consent.AreaInvalid, func(c *charter.Charter) {
		j := c.Agencies[0].Jurisdiction
		j[0], j[1] = j[1], j[0]
	})
	add("starts-at-2", "A mesh cannot start with version 2.", consent.WrongPrevious, func(c *charter.Charter) { c.Version, c.Previous = 2, hash("x") })

	next := Context{Charters: []string{charterNote}}
	b.add("charter", "successor-accepted", "Alice and Bob let Dave in for Carol; Dave signs too.", OK, next, charterNote2)
	b.add("charter", "successor-new-below-quorum", "Only Alice of the new signers; Carol, who leaves, is the second of the old.", consent.BelowQuorum, next, sign(charter2(), alice, carol))
	b.add("charter", "successor-old-below-quorum", "Alice and Dave are enough of the new signers, not of the old.", consent.BelowQuorum, next, sign(charter2(), alice, dave))
	astray := charter2()
	astray.Previous = hash("another version")
	b.add("charter", "wrong-previous", "Version 2 of something else.", consent.WrongPrevious, next, sign(astray, alice, bob, dave))
	skip := charter2()
	skip.Version = 3
	b.add("charter", "skipped-version", "Version 3 after version 1.", consent.WrongPrevious, next, sign(skip, alice, bob, dave))
	rival := charter2()
	rival.Ends = at("2029-06-01T00:00:00Z")
	frozen := Context{Charters: []string{charterNote, charterNote2, sign(rival, alice, bob, dave)}}
	third := charter2()
	third.Version, third.Previous, third.Created = 3, hash(charterNote2), at("2026-10-01T00:00:00Z")
	b.add("charter", "frozen", "Version 2 has a rival that version 3 does not name.", consent.Frozen, frozen, sign(third, alice, bob, dave))

	b.add("charter", "copy-accepted", "Version 2 again, as other signers signed it at the same time.", OK,
		Context{Charters: []string{charterNote, charterNote2}}, sign(charter2(), alice, bob, carol, dave))
	b.add("charter", "other-copy-followed-accepted", "Version 3 names a copy of version 2 that came second.", OK,
		Context{Charters: []string{charterNote, sign(charter2(), alice, bob, carol, dave), charterNote2}}, sign(third, alice, bob, dave))
	healed := third
	healed.Also = []string{hash(frozen.Charters[2])}
	if healed.Previous > healed.Also[0] {
		healed.Previous, healed.Also[0] = healed.Also[0], healed.Previous
	}
	b.add("charter", "healed-accepted", "Version 3 names both and is signed by signers of version 1 and its own.", OK, frozen, sign(healed, alice, bob))
	b.add("charter", "healed-below-quorum", "Of the signers of version 1, whom a version that heals needs, only Alice signed.", consent.BelowQuorum, frozen, sign(healed, alice, dave))
	b.charterAgencies()

	card := func(name, why string, class consent.Class, doc string) {
		b.add("agency-card", name, why, class, Context{}, doc)
	}
	changed := func(change func(*charter.Agency)) string {
		a := police()
		change(&a)
		return forge("agency-card", body(charter.Card(a)), docketKey)
	}
	card("ok", "The police introduce themselves.", OK, sign(charter.Card(police()), docketKey))
	card("other-key", "Signed by somebody else.", consent.MissingSignature, forge("agency-card", body(charter.Card(police())), okafor))
	card("jurisdiction", "A jurisdiction of two vertices.", consent.AreaInvalid, changed(func(a *charter.Agency) { a.Jurisdiction = a.Jurisdiction[:2] }))
	card("policy-url", "A policy that is not fetched over https.", consent.BadValue, changed(func(a *charter.Agency) { a.PolicyURL = "http://police.millbrook.example/" }))
	card("suspended", "An agency says of itself that it is suspended.", consent.BadValue, changed(func(a *charter.Agency) { a.Suspended = "no outcomes" }))
	card("succeeds", "An agency says of itself which docket it succeeds.", consent.BadValue, changed(func(a *charter.Agency) { a.Succeeds = theSuccession() }))
	card("no-supervisor", "Nobody to enrol officers.", consent.BadValue, changed(func(a *charter.Agency) { a.Supervisors = []consent.VerifierKey{} }))
}

// theSuccession is what the charter says when the police lost the docket that they had first.
func theSuccession() *charter.Succession {
	return &charter.Succession{Agency: police().ID(), Size: 12, Root: tlog.RecordHash([]byte("the last checkpoint's root"))}
}

// charterAgencies is how agencies are suspended, removed and succeeded.
func (b *book) charterAgencies() {
	heir := police()
	heir.Key, heir.Succeeds = otherDocket.Verifier(), theSuccession()
	// next is version 2 by the signers of version 1.
	next := func(change func(*charter.Charter)) charter.Charter {
		c := charter1()
		c.Version, c.Previous, c.Created = 2, hash(charterNote), at("2026-09-01T00:00:00Z")
		change(&c)
		return c
	}
	then := func(prior charter.Charter, change func(*charter.Charter)) (Context, charter.Charter) {
		note := sign(prior, alice, bob)
		c := prior
		c.Version, c.Previous, c.Created, c.Removed = 3, hash(note), at("2026-10-01T00:00:00Z"), nil
		c.Agencies = slices.Clone(c.Agencies)
		change(&c)
		return Context{Charters: []string{charterNote, note}}, c
	}
	add := func(name, why string, class consent.Class, change func(*charter.Charter)) {
		b.add("charter", name, why, class, Context{Charters: []string{charterNote}}, forge("charter", body(next(change)), alice, bob))
	}
	remove := func(c *charter.Charter) {
		c.Agencies = nil
		c.Removed = []charter.Removal{{Agency: police().ID(), Name: police().Name, Reason: "No outcome was ever told."}}
	}
	succeed := func(c *charter.Charter) { c.Agencies[0] = heir }

	add("suspended-accepted", "An agency is suspended with a reason.", OK, func(c *charter.Charter) { c.Agencies[0].Suspended = "No report of an exigent request." })
	add("suspended-two-lines", "A reason of two lines.", consent.BadValue, func(c *charter.Charter) { c.Agencies[0].Suspended = "a\nb" })
	add("suspended-at-length", "A reason of 301 bytes.", consent.BadValue, func(c *charter.Charter) { c.Agencies[0].Suspended = strings.Repeat("x", 301) })
	add("removed-accepted", "An agency is removed with a reason.", OK, remove)
	add("removed-in-silence", "An agency is gone, and nobody says why.", consent.Unaccounted, func(c *charter.Charter) { c.Agencies = nil })
	add("removed-no-reason", "An agency is removed without a reason.", consent.BadValue, func(c *charter.Charter) { remove(c); c.Removed[0].Reason = "" })
	add("removed-other-name", "The name of the removed agency is not what version 1 says.", consent.Unaccounted, func(c *charter.Charter) { remove(c); c.Removed[0].Name = "Police" })
	add("removed-no-id", "What is removed has no agency's id.", consent.BadValue, func(c *charter.Charter) { remove(c); c.Removed[0].Agency = "police" })
	add("removed-and-listed", "An agency is removed and listed.", consent.BadValue, func(c *charter.Charter) { a := c.Agencies; remove(c); c.Agencies = a })
	add("removed-twice", "An agency is removed twice.", consent.BadValue, func(c *charter.Charter) { remove(c); c.Removed = append(c.Removed, c.Removed[0]) })
	add("removed-stranger", "An agency is removed that version 1 does not list.", consent.Unaccounted, func(c *charter.Charter) {
		c.Removed = []charter.Removal{{Agency: otherDocketID(), Name: "Fire Brigade", Reason: "It never came."}}
	})
	add("succeeded-accepted", "The police lost their docket and go on with another.", OK, succeed)
	add("succeeds-itself", "A docket succeeds itself.", consent.BadValue, func(c *charter.Charter) { c.Agencies[0].Succeeds = theSuccession() })
	add("succeeds-and-listed", "The lost docket is listed beside the one that succeeds it.", consent.BadValue, func(c *charter.Charter) {
		h := heir
		h.Name = "New Police"
		c.Agencies = append(c.Agencies, h)
	})
	add("succeeds-and-removed", "The lost docket is succeeded and removed.", consent.BadValue, func(c *charter.Charter) { remove(c); c.Agencies = []charter.Agency{heir} })
	add("succeeds-twice", "One lost docket has two successors.", consent.BadValue, func(c *charter.Charter) {
		h := heir
		h.Name, h.Key = "Other Police", key("third docket", "docket").Verifier()
		c.Agencies = []charter.Agency{heir, h}
	})
	add("succeeds-empty", "The lost docket had no entries.", consent.BadValue, func(c *charter.Charter) {
		s := theSuccession()
		s.Size = 0
		succeed(c)
		c.Agencies[0].Succeeds = s
	})
	add("succeeds-stranger", "The docket that is succeeded was never listed.", consent.Unaccounted, func(c *charter.Charter) {
		s := theSuccession()
		s.Agency = consent.AgencyIDOf(must(nobody.Verifier().Public()))
		h := heir
		h.Name, h.Succeeds = "New Police", s
		c.Agencies = append(c.Agencies, h)
	})

	later := func(name, why string, class consent.Class, first, second func(*charter.Charter)) {
		ctx, c := then(next(first), second)
		b.add("charter", name, why, class, ctx, forge("charter", body(c), alice, bob))
	}
	later("succession-stays-accepted", "What the police succeed stands there in the next version too.", OK, succeed, func(*charter.Charter) {})
	later("succession-forgotten", "The next version no longer says which docket the police lost.", consent.Unaccounted, succeed, func(c *charter.Charter) { c.Agencies[0].Succeeds = nil })
	later("succession-changed", "The next version says that the lost docket was longer.", consent.Unaccounted, succeed, func(c *charter.Charter) {
		s := theSuccession()
		s.Size = 13
		c.Agencies[0].Succeeds = s
	})
	later("succession-afterwards", "An agency that is listed already succeeds another.", consent.Unaccounted, func(c *charter.Charter) {
		h := heir
		h.Name, h.Succeeds = "Fire Brigade", nil
		c.Agencies = append(c.Agencies, h)
	}, func(c *charter.Charter) {
		c.Agencies = c.Agencies[1:]
		c.Agencies[0].Succeeds = theSuccession()
	})
	later("readmitted-accepted", "An agency that was removed is admitted again.", OK, remove, func(c *charter.Charter) { c.Agencies = []charter.Agency{police()} })
	later("lost-docket-back", "The docket that was lost comes back in the place of the one that succeeded it.", consent.Unaccounted, succeed, func(c *charter.Charter) {
		c.Agencies = []charter.Agency{police()}
		c.Removed = []charter.Removal{{Agency: heir.ID(), Name: heir.Name, Reason: "The old docket was found."}}
	})
}
