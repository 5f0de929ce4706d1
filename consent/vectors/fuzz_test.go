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
	case "request":
		return opened(request.Open(msg))
	case "grant":
		return opened(grant.OpenGrant(msg))
	case "manifest":
		return opened(grant.OpenManifest(msg, grantKey.Verifier()))
	case "acceptance":
		return opened(grant.OpenAcceptance(msg, reception.Verifier()))
	case "receipt":
		return opened(grant.OpenReceipt(msg, reception.Verifier()))
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
	case "request":
		return again[request.Request](js)
	case "grant":
		return again[grant.Grant](js)
	case "manifest":
		return again[grant.Manifest](js)
	case "acceptance":
		return again[grant.Acceptance](js)
	case "receipt":
		return again[grant.Receipt](js)
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

// TestEverySingleBitFlipIsRefused flips each bit of one document of each kind.
func TestEverySingleBitFlipIsRefused(t *testing.T) {
	list, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	a := police()
	documents := 0
	for _, v := range list {
		if v.Name != v.Kind+"-ok" || testing.Short() && v.Kind != "receipt" {
			continue
		}
		documents++
		accepts := func(msg []byte) bool { _, err := open(v.Kind, msg); return err == nil }
		bits := 8
		switch v.Kind {
		case "checkpoint":
			accepts = func(msg []byte) bool { _, err := docket.ParseCheckpoint(msg, a); return err == nil }
		case "bundle":
			bits = 1 // a bundle is long; one bit of each byte
			accepts = func(msg []byte) bool {
				b, err := docket.ParseBundle(msg)
				if err == nil {
					_, _, _, err = b.Verify(a)
				}
				return err == nil
			}
		}
		msg := v.Document()
		if !accepts(msg) {
			t.Errorf("%s is refused before anything is flipped", v.Name)
		}
		for i := range msg {
			for n := range bits {
				bit := byte(1) << ((i + n) % 8)
				msg[i] ^= bit
				if accepts(msg) {
					t.Errorf("%s: accepted with bit %#x of byte %d flipped: %q", v.Name, bit, i, msg[max(0, i-20):min(len(msg), i+20)])
				}
				msg[i] ^= bit
			}
		}
	}
	if documents == 0 {
		t.Error("no document was flipped")
	}
}
