package grant

import (
	"bytes"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent"
)

func act() Act {
	return Act{Agency: consent.AgencyID(hash("agency")[:32]), Grant: consent.GrantID(hash("grant")), CID: cid, Act: ActView,
		Reason: "identify the vehicle", At: at("2026-11-24T10:00:00Z"), Officer: reception.Verifier()}
}

func TestActs(t *testing.T) {
	note, err := consent.Sign(act(), reception)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenAct(note); err != nil || got != act() {
		t.Errorf("%+v, %v", got, err)
	}
	forged, err := consent.Sign(act(), owner)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAct(forged); consent.ClassOf(err) == "" {
		t.Errorf("signed by another: %v", err)
	}
	for name, tt := range map[string]struct {
		class  consent.Class
		change func(*Act)
	}{
		"agency":       {consent.BadValue, func(a *Act) { a.Agency = "x" }},
		"grant":        {consent.BadValue, func(a *Act) { a.Grant = "" }},
		"cid":          {consent.BadValue, func(a *Act) { a.CID = "baf" }},
		"act":          {UnknownAct, func(a *Act) { a.Act = "copy" }},
		"no reason":    {consent.BadText, func(a *Act) { a.Reason = "" }},
		"two letters":  {consent.BadText, func(a *Act) { a.Reason = "ok" }},
		"two lines":    {consent.BadText, func(a *Act) { a.Reason = "a\nreason" }},
		"long reason":  {consent.BadText, func(a *Act) { a.Reason = string(bytes.Repeat([]byte("a"), maxText+1)) }},
		"when":         {consent.MissingField, func(a *Act) { a.At = consent.Time{} }},
		"whose key":    {consent.BadKey, func(a *Act) { a.Officer = "" }},
		"zero reason ": {consent.BadText, func(a *Act) { a.Reason = "   " }},
	} {
		a := act()
		tt.change(&a)
		if err := a.Check(); consent.ClassOf(err) != tt.class {
			t.Errorf("%s: %v, want class %s", name, err, tt.class)
		}
	}
	if (Act{}).Check() == nil {
		t.Error("the zero act opens something")
	}
}

// FuzzAct reads what comes over an agency's control socket. What is accepted has that very text.
func FuzzAct(f *testing.F) {
	note, err := consent.Sign(act(), reception)
	if err != nil {
		f.Fatal(err)
	}
	_, js, _ := bytes.Cut(note, []byte("\n"))
	js, _, _ = bytes.Cut(js, []byte("\n"))
	f.Add(js)
	f.Fuzz(func(t *testing.T, js []byte) {
		var a Act
		if consent.DecodeStrict(js, &a, consent.MaxNote) != nil || a.Check() != nil {
			return
		}
		if text, err := consent.EncodeStrict(a); err != nil || !bytes.Equal(text, js) {
			t.Errorf("accepted, and has another text: %v\n%s\n%s", err, js, text)
		}
		_, _ = OpenAct(js)
	})
}
