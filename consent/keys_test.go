package consent_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	. "github.com/porchlight-mesh/porchlight/consent"
)

func TestKeysAreThoseOfSignedNotes(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "grant")
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey(skey)
	if err != nil || k.Encode() != skey || string(k.Verifier()) != vkey || k.Name() != "grant" {
		t.Fatalf("a key of the note package came back otherwise (%v)", err)
	}
	pub, err := k.Verifier().Public()
	if err != nil || !pub.Equal(k.Private().Public()) {
		t.Errorf("public half: %v", err)
	}
	if again, err := NewVerifierKey("grant", pub); err != nil || again != k.Verifier() {
		t.Errorf("NewVerifierKey: %v", err)
	}
	r, err := k.Renamed("other")
	if err != nil || !r.Verifier().Same(k.Verifier()) || r.Verifier() == k.Verifier() || r.Verifier().Name() != "other" {
		t.Errorf("renamed: %v", err)
	}
	if _, err := GenerateKey(bytes.NewReader(make([]byte, 31)), "a"); err == nil {
		t.Error("a key out of too little randomness")
	}
}

func TestUnusableKeysAreRefused(t *testing.T) {
	good := string(officer.Verifier())
	parts := strings.SplitN(good, "+", 3)
	for _, s := range []string{"", "+", "officer", "officer+1234", parts[0] + "+00000000+" + parts[2],
		parts[0] + "+" + strings.ToUpper(parts[1]) + "+" + parts[2] + "x", good + "\n", " " + good, good[:len(good)-4],
		parts[0] + "+" + parts[1] + "+\n" + parts[2], "officer+" + parts[1] + "+AQ=="} {
		if _, err := VerifierKey(s).Verifier(); ClassOf(err) != BadKey {
			t.Errorf("verifier key %q: %v", s, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "naïve", "a\u202eb", "a\x00", strings.Repeat("a", MaxKeyName+1)} {
		if _, err := KeyFromSeed(name, make([]byte, 32)); ClassOf(err) != BadKey {
			t.Errorf("name %q: %v", name, err)
		}
	}
	enc := officer.Encode()
	for _, s := range []string{"", enc[1:], enc + " ", enc[:len(enc)-5], strings.Replace(enc, "officer", "0fficer", 1), good} {
		if _, err := ParseKey(s); ClassOf(err) != BadKey || strings.Contains(fmt.Sprint(err), enc[30:]) {
			t.Errorf("signer key: %v", err)
		}
	}
	var none Key
	if !none.Zero() || none.Encode() != "" || none.Verifier() != "" || none.Private() != nil {
		t.Error("the zero key is more than nothing")
	}
	if _, err := none.Renamed("a"); ClassOf(err) != BadKey {
		t.Errorf("the zero key renamed: %v", err)
	}
}

// Under a point of small order the empty signature (R the neutral point, S zero) fits about one text in
// eight or more. The test finds the listed points to be such, and an ordinary key not.
func TestKeysOfSmallOrderAreRefused(t *testing.T) {
	forgeable := func(pub ed25519.PublicKey) bool {
		sig := make([]byte, 64)
		sig[0] = 1
		for i := range uint64(300) {
			if ed25519.Verify(pub, binary.BigEndian.AppendUint64(nil, i), sig) {
				return true
			}
		}
		return false
	}
	found := 0
	for _, text := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		pub, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if forgeable(pub) {
				found++
			}
			if _, err := NewVerifierKey("weak", pub); ClassOf(err) != BadKey {
				t.Errorf("%x taken as a key: %v", pub, err)
			}
			pub[31] |= 0x80
		}
	}
	if found < 8 {
		t.Errorf("only %d of the refused points let anybody sign; the list is wrong", found)
	}
	if pub, _ := officer.Verifier().Public(); forgeable(pub) {
		t.Error("an ordinary key lets anybody sign")
	}
}

func TestSecretsAreNotPrintedOrLogged(t *testing.T) {
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "key", officer, "in", struct{ K Key }{officer})
	js, _ := json.Marshal(struct{ K any }{officer})
	out := log.String() + string(js) + fmt.Sprintf("%v %+v %#v %s %q %x %d", officer, officer, officer, officer, officer, officer, officer) +
		fmt.Sprintf("%v %+v %#v %x", struct{ K Key }{officer}, []Key{officer}, &officer, []any{officer}) +
		fmt.Sprintf("%v %+v %#v", struct{ k Key }{officer}, struct{ k Key }{officer}, struct{ k Key }{officer})
	secret := officer.Private().Seed()
	for _, s := range []string{officer.Encode()[40:], hex.EncodeToString(secret), fmt.Sprint(secret)[1:20], fmt.Sprintf("%#v", secret)[10:40]} {
		if strings.Contains(out, s) {
			t.Errorf("the secret shows in %s", out)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, s := range []string{"1970-01-01T00:00:00Z", "2026-11-22T19:04:05Z", "9999-12-31T23:59:59Z"} {
		got, err := ParseTime(s)
		if err != nil || got.String() != s || got != At(got.Time) {
			t.Errorf("%s: %v %v", s, got, err)
		}
	}
	for _, s := range []string{"", "2026-11-22", "2026-11-22T19:04:05", "2026-11-22T19:04:05z", "2026-11-22t19:04:05Z",
		"2026-11-22T19:04:05.0Z", "2026-11-22T19:04:05,0Z", "2026-11-22T19:04:60Z", "2026-11-22T19:04:05+00:00",
		"1969-12-31T23:59:59Z", "12026-11-22T19:04:05Z", "2026-11-22 19:04:05Z", "2026-11-22T9:04:05Z"} {
		if _, err := ParseTime(s); ClassOf(err) != BadValue {
			t.Errorf("%q: %v", s, err)
		}
	}
	var got Time
	for _, js := range []string{`5`, `null`, `"2026-11-22T19:04:05Z`, `""`} {
		if json.Unmarshal([]byte(js), &got) == nil {
			t.Errorf("%s taken as a time", js)
		}
	}
	if At(time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))).String() != "2026-01-02T02:04:05Z" {
		t.Error("At")
	}
}

func TestIDs(t *testing.T) {
	h := HashText([]byte("x"))
	for _, bad := range []string{"", h[1:], h + "0", strings.ToUpper(h), strings.Replace(h, h[:1], "g", 1)} {
		_, e1 := ParseMeshID(bad)
		_, e2 := ParseRequestID(bad)
		_, e3 := ParseGrantID(bad)
		_, e4 := ParseAgencyID(bad)
		_, e5 := ParseHash(bad)
		_, e6 := ParseReleaseID(bad)
		for i, err := range []error{e1, e2, e3, e4, e5, e6} {
			if ClassOf(err) != BadValue {
				t.Errorf("%d: %q: %v", i, bad, err)
			}
		}
	}
	if sum, err := ParseHash(h); err != nil || hex.EncodeToString(sum[:]) != h {
		t.Error(err)
	}
	if id, err := ParseAgencyID(h[:32]); err != nil || string(id) != h[:32] {
		t.Error(err)
	}
	const cid = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
	if id, err := ParseReleaseID(cid); err != nil || string(id) != cid {
		t.Error(err)
	}
	for _, bad := range []string{strings.ToUpper(cid), cid[:58] + "1", "Q" + cid[1:], "bafyrei" + cid[7:], cid + "a"} {
		if _, err := ParseReleaseID(bad); ClassOf(err) != BadValue {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestWordList(t *testing.T) {
	b, err := os.ReadFile("words.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != 256 {
		t.Fatalf("%d lines", len(lines))
	}
	last := []string{"", ""}
	for _, l := range lines {
		w := strings.Split(l, " ")
		// The published table has one pair out of order, applicant before Apollo.
		if len(w) != 2 || w[0] <= last[0] || w[1] <= last[1] && w[1] != "apollo" || seen[w[0]] || seen[w[1]] {
			t.Errorf("line %q after %q", l, last)
		}
		seen[w[0]], seen[w[1]], last = true, true, w
	}
}

func TestWordsAreReadBackAndMistakesNoticed(t *testing.T) {
	// The example of the PGP documentation: E582 94F2 E9A2 2748 6E8B 061B.
	var h [32]byte
	if _, err := hex.Decode(h[:], []byte("e58294f2e9a227486e8b061b")); err != nil {
		t.Fatal(err)
	}
	const want = "topmost istanbul pluto vagabond treadmill pacific brackish dictator goldfish medusa afflict bravado"
	if got := Words(h); got != want {
		t.Fatalf("Words = %s", got)
	}
	if got, err := ParseFingerprint("  " + strings.ToUpper(want) + "\n"); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "topmost", strings.Replace(want, "pluto ", "", 1), want + " afflict",
		strings.Replace(want, "topmost istanbul", "istanbul topmost", 1), strings.Replace(want, "goldfish", "goldfisch", 1), strings.Repeat("a ", 400)} {
		if _, err := ParseFingerprint(bad); err == nil {
			t.Errorf("%.60q taken", bad)
		}
	}
}
