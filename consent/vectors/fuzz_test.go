package vectors

import (
	"bytes"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// open is the way from bytes to a document of each kind, its signatures checked and no context but keys.
func open(kind string, msg []byte) (consent.Body, error) {
	switch kind {
	case "charter":
		c, err := charter.Start(msg)
		if err != nil {
			return nil, err
		}
		return c.Current(), nil
	case "agency-card":
		return opened(charter.OpenCard(msg))
	case "officer":
		return opened(docket.OpenOfficer(msg))
	case "supersede":
		return opened(docket.OpenSupersede(msg))
	case "resolve":
		return opened(docket.OpenResolve(msg))
	case "report":
		return opened(docket.OpenReport(msg))
	case "outcome":
		return opened(docket.OpenOutcome(msg))
	case "daily":
		return opened(docket.OpenDaily(msg))
	case "request":
		return opened(request.Open(msg))
	case "objection":
		return opened(request.OpenObjection(msg))
	case "grant":
		return opened(grant.OpenGrant(msg))
	case "manifest":
		return opened(grant.OpenManifest(msg, grantKey.Verifier()))
	case "acceptance":
		return opened(grant.OpenAcceptance(msg, reception.Verifier()))
	case "receipt":
		return opened(grant.OpenReceipt(msg, reception.Verifier()))
	case "hold":
		return opened(docket.OpenHold(msg))
	case "transfer":
		return opened(docket.OpenTransfer(msg))
	case "withdrawal":
		return opened(grant.OpenWithdrawal(msg))
	case "extension":
		return opened(grant.OpenExtension(msg))
	case "statement":
		return opened(grant.OpenStatement(msg))
	case "onward":
		return opened(grant.OpenOnward(msg))
	case "message":
		return opened(grant.OpenMessage(msg, reception.Verifier()))
	case "taking":
		return opened(grant.OpenTaking(msg))
	case "breach":
		return opened(grant.OpenBreach(msg))
	}
	return nil, consent.Refuse(consent.WrongKind, "", "no kind of document: %q", kind)
}

func opened[T consent.Body](b T, err error) (consent.Body, error) { return b, err }

// loose decodes a document's JSON and checks it, whoever signed it, so that a fuzzer gets past the
// signatures. It returns the text the value has.
func loose(kind string, js []byte) ([]byte, error) {
	switch kind {
	case "charter":
		return again[charter.Charter](js)
	case "agency-card":
		return again[charter.Card](js)
	case "officer":
		return again[docket.Officer](js)
	case "supersede":
		return again[docket.Supersede](js)
	case "resolve":
		return again[docket.Resolve](js)
	case "report":
		return again[docket.Report](js)
	case "outcome":
		return again[docket.Outcome](js)
	case "daily":
		return again[docket.Daily](js)
	case "request":
		return again[request.Request](js)
	case "objection":
		return again[request.Objection](js)
	case "grant":
		return again[grant.Grant](js)
	case "manifest":
		return again[grant.Manifest](js)
	case "acceptance":
		return again[grant.Acceptance](js)
	case "receipt":
		return again[grant.Receipt](js)
	case "hold":
		return again[docket.Hold](js)
	case "transfer":
		return again[docket.Transfer](js)
	case "withdrawal":
		return again[grant.Withdrawal](js)
	case "extension":
		return again[grant.Extension](js)
	case "statement":
		return again[grant.Statement](js)
	case "onward":
		return again[grant.Onward](js)
	case "message":
		return again[grant.Message](js)
	case "taking":
		return again[grant.Taking](js)
	case "breach":
		return again[grant.Breach](js)
	}
	return nil, consent.Refuse(consent.WrongKind, "", "no kind of document: %q", kind)
}

func again[T consent.Body](js []byte) ([]byte, error) {
	var v T
	if err := consent.DecodeStrict(js, &v, consent.MaxNote); err != nil {
		return nil, err
	}
	if err := v.Check(); err != nil {
		return nil, err
	}
	return consent.EncodeStrict(v)
}

// FuzzDecode feeds bytes to every decoder of signed formats: none panics, and what one accepts has the
// very text that was accepted.
func FuzzDecode(f *testing.F) {
	list, err := Load()
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range list {
		f.Add(v.Document())
	}
	a := police()
	f.Fuzz(func(t *testing.T, msg []byte) {
		if _, err := docket.ParseCheckpoint(msg, a); err == nil && len(msg) > docket.MaxCheckpoint {
			t.Error("a checkpoint over its limit was accepted")
		}
		if b, err := docket.ParseBundle(msg); err == nil {
			b.Verify(a)
		}
		if m, err := docket.ParseMisconduct(msg); err == nil {
			m.Verify(a)
		}
		if q, err := docket.ParseAdd(msg); err == nil {
			docket.Witness{}.Admit(q, a)
		}
		kind, err := consent.Peek(msg)
		if err != nil {
			return
		}
		if b, err := open(kind, msg); err == nil {
			text, err := consent.Text(b)
			if err != nil || !bytes.HasPrefix(msg, append(text, '\n')) {
				t.Errorf("accepted, and has another text: %v\n%s\n%s", err, msg, text)
			}
		}
		_, js, _ := bytes.Cut(msg, []byte("\n"))
		js, _, _ = bytes.Cut(js, []byte("\n"))
		if text, err := loose(kind, js); err == nil && !bytes.Equal(text, js) {
			t.Errorf("accepted, and has another text:\n%s\n%s", js, text)
		}
	})
}

// Each body is fuzzed on its own, without its signatures, which no fuzzer gets past.

func FuzzCharter(f *testing.F)    { fuzzBody(f, "charter") }
func FuzzAgencyCard(f *testing.F) { fuzzBody(f, "agency-card") }
func FuzzOfficer(f *testing.F)    { fuzzBody(f, "officer") }
func FuzzSupersede(f *testing.F)  { fuzzBody(f, "supersede") }
func FuzzResolve(f *testing.F)    { fuzzBody(f, "resolve") }
func FuzzReport(f *testing.F)     { fuzzBody(f, "report") }
func FuzzOutcome(f *testing.F)    { fuzzBody(f, "outcome") }
func FuzzRequest(f *testing.F)    { fuzzBody(f, "request") }
func FuzzDaily(f *testing.F)      { fuzzBody(f, "daily") }
func FuzzObjection(f *testing.F)  { fuzzBody(f, "objection") }
func FuzzGrant(f *testing.F)      { fuzzBody(f, "grant") }
func FuzzManifest(f *testing.F)   { fuzzBody(f, "manifest") }
func FuzzAcceptance(f *testing.F) { fuzzBody(f, "acceptance") }
func FuzzReceipt(f *testing.F)    { fuzzBody(f, "receipt") }
func FuzzHold(f *testing.F)       { fuzzBody(f, "hold") }
func FuzzTransfer(f *testing.F)   { fuzzBody(f, "transfer") }
func FuzzWithdrawal(f *testing.F) { fuzzBody(f, "withdrawal") }
func FuzzExtension(f *testing.F)  { fuzzBody(f, "extension") }
func FuzzStatement(f *testing.F)  { fuzzBody(f, "statement") }
func FuzzOnward(f *testing.F)     { fuzzBody(f, "onward") }
func FuzzMessage(f *testing.F)    { fuzzBody(f, "message") }
func FuzzTaking(f *testing.F)     { fuzzBody(f, "taking") }
func FuzzBreach(f *testing.F)     { fuzzBody(f, "breach") }

// fuzzBody feeds JSON to the decoder of one kind: what it accepts has that very text, and can be judged further without harm.
func fuzzBody(f *testing.F, kind string) {
	list, err := Load()
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range list {
		_, js, _ := bytes.Cut(v.Document(), []byte("\n"))
		js, _, ok := bytes.Cut(js, []byte("\n"))
		if v.Kind == kind && ok {
			f.Add(js)
		}
	}
	next := docketOfDays(f)
	c, earlier := charter1(), request.Seen{ID: request.IDOf([]byte(requestNote)), Request: theRequest()}
	f.Fuzz(func(t *testing.T, js []byte) {
		text, err := loose(kind, js)
		switch {
		case err != nil && consent.ClassOf(err) == "":
			t.Errorf("a refusal without a class: %v", err)
		case err == nil && !bytes.Equal(text, js):
			t.Errorf("accepted, and has another text:\n%s\n%s", js, text)
		case err == nil && kind == "daily":
			// Signed by the docket key, it comes before the log.
			if _, err := next.Prepare([]byte(forge(kind, string(js), docketKey)), at(now).Time); err != nil && consent.ClassOf(err) == "" {
				t.Errorf("a refusal without a class: %v", err)
			}
			return
		case err != nil || kind != request.Kind:
			return
		}
		var r request.Request
		if err := consent.DecodeStrict(js, &r, consent.MaxNote); err != nil {
			t.Error(err)
		}
		for _, err := range []error{r.CheckCharter(&c, police()), r.CheckNow(at(now).Time), request.CheckHistory([]request.Seen{earlier}, request.Seen{Request: r}, c.Limits)} {
			if err != nil && consent.ClassOf(err) == "" {
				t.Errorf("a refusal without a class: %v", err)
			}
		}
	})
}

// docketOfDays is a docket that waits for its fourth daily entry.
func docketOfDays(f *testing.F) *docket.Log {
	ctx := Context{Charters: []string{dailyCharter}, Agency: police().ID()}
	for _, d := range days(3) {
		ctx.Entries = append(ctx.Entries, sign(d, docketKey))
	}
	l, err := log(ctx, at(now))
	if err != nil {
		f.Fatal(err)
	}
	return l
}
