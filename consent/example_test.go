package consent_test

import (
	"bytes"
	"fmt"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
)

// receipt is a document of two members, signed by the key it names.
type receipt struct {
	Says string              `json:"says"`
	At   consent.Time        `json:"at"`
	Key  consent.VerifierKey `json:"key"`
}

func (receipt) Kind() string { return "example" }

func (r receipt) Check() error {
	if r.Says == "" {
		return consent.Refuse(consent.BadValue, "says", "says nothing")
	}
	return nil
}

func Example() {
	key, err := consent.KeyFromSeed("front-desk", make([]byte, 32)) // a real one: consent.GenerateKey(rand.Reader, name)
	if err != nil {
		fmt.Println(err)
		return
	}
	at := consent.At(time.Date(2026, 11, 22, 19, 4, 5, 0, time.UTC))
	msg, err := consent.Sign(receipt{"held", at, key.Verifier()}, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", msg)

	by := func(r receipt) ([]consent.VerifierKey, error) { return []consent.VerifierKey{r.Key}, nil }
	got, err := consent.Open(msg, by)
	fmt.Println(got.Says, got.At, err)

	_, err = consent.Open(bytes.Replace(msg, []byte("held"), []byte("lost"), 1), by)
	fmt.Println(consent.ClassOf(err))
	// Output:
	// porchlight/example/v1
	// {"says":"held","at":"2026-11-22T19:04:05Z","key":"front-desk+ab1a85b0+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"}
	//
	// — front-desk qxqFsImBWMX2x7mKGhMN3U+CzYOw9OTPRYMLM5O/8B4Zxrn7D7NgDQZ4SBZKZGy3ADpO09o9pZWfdRLGFjQVk5pkZQc=
	// held 2026-11-22T19:04:05Z <nil>
	// bad-signature
}
