package vectors

import (
	"fmt"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// county is admitted too, so that there is somebody to pass a release on to.
func county() charter.Agency {
	a := police()
	a.Name, a.Class, a.Key = "Allegheny County Sheriff", charter.CountySheriff, otherDocket.Verifier()
	return a
}

func charterTwoAgencies() charter.Charter {
	c := charter1()
	c.Agencies = append(c.Agencies, county())
	return c
}

var twoAgencies = sign(charterTwoAgencies(), alice, bob)

func theHold() docket.Hold {
	return docket.Hold{Court: "County Court", Number: "26-CV-118", DocumentSHA256: hash("order"), Covers: []grant.Commitment{grant.Commitment(hash("covered"))},
		Created: at("2026-11-23T08:30:00Z"), Officer: diaz.Verifier(), Supervisor: okafor.Verifier()}
}

func theTransfer() docket.Transfer {
	return docket.Transfer{To: charter.Prosecutor, Ground: docket.GroundOwner, Covers: []grant.Commitment{grant.Commitment(hash("covered"))},
		Created: at("2026-11-23T08:30:00Z"), Officer: diaz.Verifier(), Supervisor: okafor.Verifier()}
}

// declarations are holds and transfers.
func (b *book) declarations() {
	enrolled := inDocket(diazEnrolled)
	first := sign(theHold(), diaz, okafor)
	held := inDocket(diazEnrolled, first)
	h := func(name, why string, class consent.Class, ctx Context, change func(*docket.Hold)) {
		v := theHold()
		change(&v)
		b.add("hold", name, why, class, ctx, forge("hold", body(v), diaz, okafor))
	}
	renews := func(change func(*docket.Hold)) func(*docket.Hold) {
		return func(v *docket.Hold) {
			v.Renews, v.Created = string(request.IDOf([]byte(first))), at("2026-11-23T08:50:00Z")
			change(v)
		}
	}
	h("ok", "A court's order about one release.", OK, enrolled, func(*docket.Hold) {})
	h("renewed-accepted", "The court attests it again.", OK, held, renews(func(*docket.Hold) {}))
	h("lifted-accepted", "It goes on over nothing, which ends it.", OK, held, renews(func(v *docket.Hold) { v.Covers = []grant.Commitment{} }))
	h("covers-nothing", "A hold that holds nothing.", consent.BadValue, enrolled, func(v *docket.Hold) { v.Covers = []grant.Commitment{} })
	h("covers-order", "What it covers, out of order.", consent.BadValue, enrolled, func(v *docket.Hold) {
		v.Covers = []grant.Commitment{grant.Commitment(hash("b")), grant.Commitment(hash("a"))}
		if v.Covers[0] < v.Covers[1] {
			v.Covers[0], v.Covers[1] = v.Covers[1], v.Covers[0]
		}
	})
	h("covers-too-many", "More releases than one hold covers.", consent.BadValue, enrolled, func(v *docket.Hold) {
		v.Covers = nil
		for i := range 65 {
			v.Covers = append(v.Covers, grant.Commitment(fmt.Sprintf("%064x", i)))
		}
	})
	h("order", "No hash of the order.", consent.BadValue, enrolled, func(v *docket.Hold) { v.DocumentSHA256 = "26-CV-118" })
	h("no-court", "Of no court.", consent.BadValue, enrolled, func(v *docket.Hold) { v.Court = "" })
	h("renews-wider", "Renewed over a release that it did not cover.", consent.TermsWider, held, renews(func(v *docket.Hold) { v.Covers[0] = grant.Commitment(hash("another")) }))
	h("renews-other-court", "Renewed by another court.", consent.WrongSubject, held, renews(func(v *docket.Hold) { v.Court = "Supreme Court" }))
	h("renews-nothing", "Renews a hold that the docket does not have.", consent.UnknownHold, enrolled, renews(func(*docket.Hold) {}))
	h("not-yet-valid", "Dated a day ahead.", consent.NotYetValid, enrolled, func(v *docket.Hold) { v.Created = at("2026-11-24T09:00:00Z") })
	old := theHold()
	old.Created = at("2026-08-25T08:49:59Z")
	late := theHold()
	late.Renews, late.Created = string(request.IDOf([]byte(sign(old, diaz, okafor)))), at("2026-11-23T08:50:00Z")
	b.add("hold", "renews-too-late", "Renewed a second after its 90 days.", consent.Expired, inDocket(diazEnrolled, sign(old, diaz, okafor)), sign(late, diaz, okafor))
	b.add("hold", "officer-only", "The supervisor has not signed.", consent.MissingSignature, enrolled, forge("hold", body(theHold()), diaz))

	t := func(name, why string, class consent.Class, change func(*docket.Transfer)) {
		v := theTransfer()
		change(&v)
		b.add("transfer", name, why, class, enrolled, forge("transfer", body(v), diaz, okafor))
	}
	t("ok", "One release was passed on with its owner's consent.", OK, func(*docket.Transfer) {})
	t("order-accepted", "By a court's order, to the defence.", OK, func(v *docket.Transfer) {
		v.To, v.Ground, v.DocumentSHA256 = docket.ToDefence, docket.GroundOrder, hash("order")
	})
	t("to", "To a class that is not on the list.", consent.BadValue, func(v *docket.Transfer) { v.To = "press" })
	t("ground", "On a ground that is not on the list.", consent.BadValue, func(v *docket.Transfer) { v.Ground = "convenience" })
	t("order-without-hash", "By an order, without its hash.", consent.BadValue, func(v *docket.Transfer) { v.Ground = docket.GroundOrder })
	t("owner-with-hash", "With its owner's consent, and the hash of an order.", consent.BadValue, func(v *docket.Transfer) { v.DocumentSHA256 = hash("order") })
	t("covers-nothing", "Of nothing.", consent.BadValue, func(v *docket.Transfer) { v.Covers = []grant.Commitment{} })
	b.add("transfer", "unknown-officer", "By an officer whom no entry enrols.", consent.UnknownOfficer, inDocket(), sign(theTransfer(), diaz, okafor))
}

// words are what owner and requester say after a release was given, and breach what the owner says to everybody.
func (b *book) words() {
	id, made := grant.IDOf([]byte(grantNote)), at("2026-12-01T09:00:00Z")
	other := key("another grant", grant.KeyName)
	granted := Context{Charters: []string{twoAgencies}, Grant: grantNote}

	w := grant.Withdrawal{Grant: id, CID: release, Created: made, Key: grantKey.Verifier()}
	b.add("withdrawal", "ok", "The owner takes the release back.", OK, granted, sign(w, grantKey))
	b.add("withdrawal", "other-signer", "Signed by another grant's key than it names.", consent.MissingSignature, granted, forge("withdrawal", body(w), other))
	bad := w
	bad.CID = "bafy"
	b.add("withdrawal", "release-id", "Of no release.", consent.BadValue, granted, forge("withdrawal", body(bad), grantKey))

	e := func(name, why string, class consent.Class, change func(*grant.Extension)) {
		v := grant.Extension{Grant: id, CID: release, Holder: police().ID(), RetainUntil: at("2027-06-01T00:00:00Z"), Secret: grant.Secret(hash("new commitment")), Created: made, Key: grantKey.Verifier()}
		change(&v)
		signer := grantKey
		if v.Key == other.Verifier() {
			signer = other
		}
		b.add("extension", name, why, class, granted, forge("extension", body(v), signer))
	}
	e("ok", "Kept for some months longer.", OK, func(*grant.Extension) {})
	e("other-holder", "Of an agency that does not hold it.", consent.WrongSubject, func(v *grant.Extension) { v.Holder = county().ID() })
	e("no-holder", "Of nobody's.", consent.BadValue, func(v *grant.Extension) { v.Holder = "" })
	e("over", "It ends before it is made.", grant.NotForward, func(v *grant.Extension) { v.RetainUntil = at("2026-11-30T00:00:00Z") })
	e("shorter", "It ends before the terms do.", grant.NotForward, func(v *grant.Extension) { v.RetainUntil = at("2026-12-24T00:00:00Z") })
	e("too-long", "A second longer than the charter lets anybody keep a release from that day.", consent.RetentionTooLong, func(v *grant.Extension) { v.RetainUntil = at("2027-12-01T09:00:01Z") })
	e("other-release", "Of another release.", consent.WrongSubject, func(v *grant.Extension) { v.CID = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e" })
	e("no-commitment", "Without a commitment that the docket could follow.", consent.BadValue, func(v *grant.Extension) { v.Secret = "" })
	e("not-the-owner", "Signed by another owner.", consent.WrongSubject, func(v *grant.Extension) { v.Key = other.Verifier() })

	s := grant.Statement{Grant: id, CID: release, Answers: hash("message"), Text: "The car stood there since noon.", Created: made, Key: grantKey.Verifier()}
	b.add("statement", "ok", "The owner says what they saw.", OK, granted, sign(s, grantKey))
	empty := s
	empty.Text = ""
	b.add("statement", "no-text", "The owner says nothing.", consent.BadText, granted, forge("statement", body(empty), grantKey))
	unclear := s
	unclear.Answers = "the message"
	b.add("statement", "answers", "It answers no message.", consent.BadValue, granted, forge("statement", body(unclear), grantKey))

	o := func(name, why string, class consent.Class, ctx Context, change func(*grant.Onward)) {
		terms := theGrant().Terms
		terms.Recipients = []string{}
		v := grant.Onward{Grant: id, CID: release, From: police().ID(), To: county().ID(), Terms: terms, Created: made, Key: grantKey.Verifier()}
		change(&v)
		b.add("onward", name, why, class, ctx, forge("onward", body(v), grantKey))
	}
	o("ok", "The sheriff may have it, and nobody else.", OK, granted, func(*grant.Onward) {})
	o("terms-wider", "The sheriff may keep it for longer than the police.", consent.TermsWider, granted, func(v *grant.Onward) { v.Terms.RetainUntil = at("2027-06-01T00:00:00Z") })
	o("not-from-holder", "From an agency that does not hold it.", consent.WrongSubject, granted, func(v *grant.Onward) { v.From = consent.AgencyID(hash("x")[:32]) })
	o("to-itself", "From the police to the police.", consent.BadValue, granted, func(v *grant.Onward) { v.To = v.From })
	denying := theGrant()
	denying.Terms.DeniedClasses = []charter.AgencyClass{charter.CountySheriff}
	denied := Context{Charters: []string{twoAgencies}, Grant: sign(denying, grantKey)}
	o("denied-class", "To a sheriff, whom the owner's terms deny it.", grant.DeniedClass, denied, func(v *grant.Onward) {
		v.Grant, v.Terms.DeniedClasses = grant.IDOf([]byte(denied.Grant)), denying.Terms.DeniedClasses
	})

	m := func(name, why string, class consent.Class, change func(*grant.Message)) {
		v := grant.Message{Grant: id, CID: release, Ask: grant.AskStatement, Reason: "Did the van stand there before seven?", Created: made, Key: reception.Verifier()}
		change(&v)
		b.add("message", name, why, class, Context{ReceptionKey: reception.Verifier()}, forge("message", body(v), reception))
	}
	m("ok", "The officer asks for a statement.", OK, func(*grant.Message) {})
	m("extension-accepted", "The officer asks to keep it for longer.", OK, func(v *grant.Message) { v.Ask, v.RetainUntil = grant.AskExtension, at("2027-06-01T00:00:00Z") })
	m("pass-on-accepted", "The officer asks to pass it on.", OK, func(v *grant.Message) { v.Ask, v.To = grant.AskPassOn, county().ID() })
	m("ask", "Something that is not on the list.", consent.BadValue, func(v *grant.Message) { v.Ask = "name" })
	m("extension-without-end", "An extension without an end.", consent.BadValue, func(v *grant.Message) { v.Ask = grant.AskExtension })
	m("pass-on-to-nobody", "Passing on to nobody.", consent.BadValue, func(v *grant.Message) { v.Ask = grant.AskPassOn })
	m("no-reason", "Without a reason.", consent.BadText, func(v *grant.Message) { v.Reason = "" })
	m("reason-too-long", "More than fits a slot.", consent.BadText, func(v *grant.Message) { v.Reason = strings.Repeat("please ", 60) + "please" })
	b.add("message", "other-request", "Signed by the reception key of another request.", consent.MissingSignature, Context{ReceptionKey: reception.Verifier()},
		forge("message", body(grant.Message{Grant: id, CID: release, Ask: grant.AskOriginal, Reason: "The plate.", Created: made, Key: reception.Verifier()}),
			key("another request", request.ReceptionKeyName)))

	ta := func(name, why string, class consent.Class, change func(*grant.Taking)) {
		v := grant.Taking{Agency: county().ID(), Recipient: theGrant().Reach, Reception: reception.Verifier(), Created: made, Expires: at("2026-12-15T09:00:00Z"), Key: otherDocket.Verifier()}
		change(&v)
		b.add("taking", name, why, class, Context{}, forge("taking", body(v), otherDocket))
	}
	ta("ok", "The sheriff takes a release over.", OK, func(*grant.Taking) {})
	ta("recipient", "No age recipient.", consent.BadValue, func(v *grant.Taking) { v.Recipient = "sheriff@example.org" })
	ta("expired-at-birth", "It ends when it is made.", consent.BadValue, func(v *grant.Taking) { v.Expires = v.Created })
	ta("other-agency", "Signed by the docket key of another agency than it names.", consent.WrongSubject, func(v *grant.Taking) { v.Agency = police().ID() })
	ta("key-name", "A reception key with a telling name.", consent.BadKey, func(v *grant.Taking) { v.Reception = nobody.Verifier() })

	br := func(name, why string, class consent.Class, change func(*grant.Breach)) {
		v := grant.Breach{Agency: police().ID(), Request: request.IDOf([]byte(requestNote)), Fault: grant.FaultMissing, Receipt: sign(theReceipt(), reception), Created: made, Key: grantKey.Verifier()}
		change(&v)
		signer := grantKey
		if v.Key == other.Verifier() {
			signer = other
		}
		b.add("breach", name, why, class, Context{ReceptionKey: reception.Verifier()}, forge("breach", body(v), signer))
	}
	br("ok", "What the police said that they hold is in no daily entry.", OK, func(*grant.Breach) {})
	br("fault", "A fault that is not on the list.", consent.BadValue, func(v *grant.Breach) { v.Fault = "rude" })
	br("not-the-owner", "Somebody else shows the receipt.", consent.WrongSubject, func(v *grant.Breach) { v.Key = other.Verifier() })
	card := grant.Taking{Agency: county().ID(), Recipient: theGrant().Reach, Reception: reception.Verifier(), Created: made, Expires: at("2026-12-15T09:00:00Z"), Key: otherDocket.Verifier()}
	br("card-accepted", "What was passed on to the sheriff, who signed for it, is in no daily entry of theirs.", OK, func(v *grant.Breach) {
		v.Agency, v.Card = county().ID(), sign(card, otherDocket)
	})
	br("card-of-another", "With the card of another agency.", consent.WrongSubject, func(v *grant.Breach) { v.Card = sign(card, otherDocket) })
	br("card", "With a card that is none.", consent.Malformed, func(v *grant.Breach) { v.Card = "card" })
	br("receipt", "A receipt that is none.", consent.Malformed, func(v *grant.Breach) { v.Receipt = "held" })
	br("receipt-not-signed", "A receipt that the reception key did not sign.", consent.MissingSignature, func(v *grant.Breach) {
		r := theReceipt()
		r.Key = key("another request", request.ReceptionKeyName).Verifier()
		v.Receipt = sign(r, key("another request", request.ReceptionKeyName))
	})
	br("receipt-of-deletion", "A receipt that says that it is gone.", consent.WrongSubject, func(v *grant.Breach) {
		r := theReceipt()
		r.State = grant.Deleted
		v.Receipt = sign(r, reception)
	})
}

// judgeWord opens what an owner says, and holds what changes the terms against those of the grant.
func judgeWord(kind string, msg []byte, ctx Context) error {
	g, err := grant.OpenGrant([]byte(ctx.Grant))
	if err != nil {
		return fmt.Errorf("context: %v", err)
	}
	holding, err := grant.HoldingOf(grant.IDOf([]byte(ctx.Grant)), g, g.Releases[0].CID)
	if err != nil {
		return fmt.Errorf("context: %v", err)
	}
	c, err := chain(ctx.Charters)
	if err != nil {
		return fmt.Errorf("context: %v", err)
	}
	switch kind {
	case "withdrawal":
		_, err = grant.OpenWithdrawal(msg)
	case "statement":
		_, err = grant.OpenStatement(msg)
	case "extension":
		var e grant.Extension
		if e, err = grant.OpenExtension(msg); err == nil {
			_, err = holding.Extend(e, c.Current().Limits)
		}
	case "onward":
		var o grant.Onward
		if o, err = grant.OpenOnward(msg); err == nil {
			to, _ := c.Agency(o.To)
			_, err = holding.PassOn(o, to.Class)
		}
	}
	return err
}
