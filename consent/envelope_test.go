package consent_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	. "github.com/porchlight-mesh/porchlight/consent"
)

// leaflet is a small document: an officer writes it, a supervisor signs it too.
type leaflet struct {
	Title      string      `json:"title"`
	Count      int         `json:"count"`
	Tags       []string    `json:"tags"`
	Place      []float64   `json:"place,omitempty"`
	At         Time        `json:"at"`
	Until      Time        `json:"until,omitzero"`
	Officer    VerifierKey `json:"officer"`
	Supervisor VerifierKey `json:"supervisor"`
}

func (leaflet) Kind() string { return "leaflet" }
func (l leaflet) Check() error {
	if l.Title == "" {
		return Refuse(BadValue, "title", "empty")
	}
	return nil
}
func signers(l leaflet) ([]VerifierKey, error) { return []VerifierKey{l.Officer, l.Supervisor}, nil }

func testKey(name string) Key {
	seed := sha256.Sum256([]byte(name))
	k, err := KeyFromSeed(name, seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

var (
	officer    = testKey("officer")
	supervisor = testKey("supervisor")
	stranger   = testKey("stranger")
	noon       = At(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
)

func sample() leaflet {
	return leaflet{Title: "Lantern <found> & kept", Count: 2, Tags: []string{"é"}, Place: []float64{-71.06, 42.36},
		At: noon, Officer: officer.Verifier(), Supervisor: supervisor.Verifier()}
}

func signed(t testing.TB) []byte {
	t.Helper()
	msg, err := Sign(sample(), officer)
	if err != nil {
		t.Fatal(err)
	}
	if msg, err = AddSignature(msg, supervisor); err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestOfficerSignsThenSupervisorAndAnybodyReads(t *testing.T) {
	msg := signed(t)
	got, err := Open(msg, signers)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Sign(got, officer, supervisor); err != nil || !bytes.Equal(again, msg) {
		t.Errorf("signing what was read gave another document (%v)", err)
	}
	// The text alone, drafted elsewhere, leads to the same document.
	drafted, err := Text(got)
	for _, k := range []Key{officer, supervisor} {
		if err == nil {
			drafted, err = AddSignature(drafted, k)
		}
	}
	if err != nil || !bytes.Equal(drafted, msg) {
		t.Errorf("signing a drafted text gave another document (%v)", err)
	}
	if kind, err := Peek(msg); kind != "leaflet" || err != nil {
		t.Errorf("Peek = %q, %v", kind, err)
	}
	ids, err := SignerIDs(msg)
	want, _ := officer.Verifier().ID()
	if err != nil || len(ids) != 2 || ids[0] != want {
		t.Errorf("SignerIDs = %v, %v", ids, err)
	}
	// A body read through a pointer type is the same body.
	p, err := Open(msg, func(l *leaflet) ([]VerifierKey, error) { return signers(*l) })
	if err != nil || p.Title != got.Title {
		t.Errorf("through a pointer: %v", err)
	}
}

// The note is ordinary: a reader with nothing but Ed25519 and base64 can check it.
func TestASignedNoteVerifiesWithNothingButEd25519(t *testing.T) {
	text, tail, ok := strings.Cut(string(signed(t)), "\n\n")
	if !ok {
		t.Fatal("no empty line")
	}
	text += "\n"
	lines := strings.Split(strings.TrimSuffix(tail, "\n"), "\n")
	for i, k := range []Key{officer, supervisor} {
		vkey := strings.SplitN(string(k.Verifier()), "+", 3)
		pub, err := base64.StdEncoding.DecodeString(vkey[2])
		if err != nil || pub[0] != 1 {
			t.Fatal("no Ed25519 key", err)
		}
		fields := strings.Split(lines[i], " ")
		sig, err := base64.StdEncoding.DecodeString(fields[2])
		if err != nil || fields[0] != "—" || fields[1] != vkey[0] {
			t.Fatalf("line %q: %v", lines[i], err)
		}
		sum := sha256.Sum256(slices.Concat([]byte(vkey[0]), []byte("\n"), pub))
		if !bytes.Equal(sig[:4], sum[:4]) {
			t.Error("key hash differs")
		}
		if !ed25519.Verify(pub[1:], []byte(text), sig[4:]) {
			t.Error("signature does not verify")
		}
	}
}

// resigned signs any JSON at all as a leaflet by both.
func resigned(t testing.TB, js string, keys ...Key) []byte {
	t.Helper()
	if keys == nil {
		keys = []Key{officer, supervisor}
	}
	var s []note.Signer
	for _, k := range keys {
		one, err := note.NewSigner(k.Encode())
		if err != nil {
			t.Fatal(err)
		}
		s = append(s, one)
	}
	msg, err := note.Sign(&note.Note{Text: "porchlight/leaflet/v1\n" + js + "\n"}, s...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// Every mistake here carries good signatures by the right people; each is refused with its own class.
func TestSignedMistakesAreRefused(t *testing.T) {
	text, err := Text(sample())
	if err != nil {
		t.Fatal(err)
	}
	good := strings.Split(string(text), "\n")[1]
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct {
		name, js string
		want     Class
	}{
		{"as it should be", good, ""},
		{"unknown member", swap(`"count":2`, `"count":2,"extra":1`), UnknownField},
		{"member twice", swap(`"count":2`, `"count":2,"count":2`), DuplicateField},
		{"member twice by an escape", swap(`"count":2`, `"count":2,"\u0063ount":3`), DuplicateField},
		{"member twice in another case", swap(`"count":2`, `"count":2,"Count":2`), NotCanonical},
		{"member in another case only", swap(`"count"`, `"Count"`), MissingField},
		{"null", swap(`["é"]`, `null`), NullValue},
		{"null in a list", swap(`["é"]`, `[null]`), NullValue},
		{"no such member", swap(`"count":2,`, ``), MissingField},
		{"empty optional member", swap(`"place":[-71.06,42.36],`, `"place":[],`), NotCanonical},
		{"wrong type", swap(`"count":2`, `"count":"2"`), BadValue},
		{"number too long", swap(`"count":2`, `"count":20000000000000000000`), BadValue},
		{"fraction for an integer", swap(`"count":2`, `"count":2.0`), BadValue},
		{"another spelling of a number", swap(`-71.06`, `-71.060`), NotCanonical},
		{"another spelling of a letter", swap(`é`, `\u00e9`), NotCanonical},
		{"HTML escaping", swap(`<found>`, `\u003cfound>`), NotCanonical},
		{"half a surrogate", swap(`é`, `\ud800`), NotCanonical},
		{"a space", swap(`"count":2`, `"count": 2`), NotCanonical},
		{"a newline", swap(`"count":2`, "\"count\":\n2"), NotCanonical},
		{"order", swap(`"count":2,"tags":["é"]`, `"tags":["é"],"count":2`), NotCanonical},
		{"trailing value", good + "{}", TrailingData},
		{"trailing line", good + "\n1", TrailingData},
		{"trailing bracket", good + "}", TrailingData},
		{"no JSON", "hello", Malformed},
		{"no value", "", Malformed},
		{"a list", "[]", BadValue},
		{"half", good[:40], Malformed},
		{"time with a fraction", swap(`12:00:00Z`, `12:00:00.5Z`), BadValue},
		{"time in another zone", swap(`12:00:00Z`, `12:00:00+00:00`), BadValue},
		{"time that is none", swap(`11-22T12`, `02-30T12`), BadValue},
		{"zero time", swap(`2026-11-22T12`, `0001-01-01T12`), BadValue},
		{"refused by the body", swap(`Lantern <found> & kept`, ``), BadValue},
		{"key with another hash", swap(`"officer":"officer+`, `"officer":"0fficer+`), BadKey},
		{"too deep", swap(`["é"]`, strings.Repeat("[", MaxDepth)+strings.Repeat("]", MaxDepth)), TooDeep},
		{"just deep enough to be looked at", swap(`["é"]`, strings.Repeat("[", MaxDepth-1)+strings.Repeat("]", MaxDepth-1)), BadValue},
		{"too long", swap(`é`, strings.Repeat("x", MaxNote)), Oversize},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(resigned(t, c.js), signers)
			if ClassOf(err) != c.want || (err == nil) != (c.want == "") {
				t.Errorf("class %q, want %q (%v)", ClassOf(err), c.want, err)
			}
		})
	}
}

func TestForgedLinesAreRefused(t *testing.T) {
	msg := string(signed(t))
	text, tail, _ := strings.Cut(msg, "\n\n")
	text += "\n\n"
	lines := strings.SplitAfter(tail, "\n")[:2]
	foreign, err := Sign(sample(), stranger)
	if err != nil {
		t.Fatal(err)
	}
	_, strange, _ := strings.Cut(string(foreign), "\n\n")
	other := sample()
	other.Count = 3
	otherMsg, err := Sign(other, officer)
	if err != nil {
		t.Fatal(err)
	}
	_, moved, _ := strings.Cut(string(otherMsg), "\n\n")
	for _, c := range []struct {
		name, msg string
		want      Class
	}{
		{"officer missing", text + lines[1], MissingSignature},
		{"supervisor missing", text + lines[0], MissingSignature},
		{"nobody signed", text, MissingSignature},
		{"reordered", text + lines[1] + lines[0], SignatureOrder},
		{"a stranger too", msg + strange, ExtraSignature},
		{"a stranger first", text + strange + tail, ExtraSignature},
		{"a stranger instead", text + lines[0] + strange, MissingSignature},
		{"a line twice", msg + lines[1], ExtraSignature},
		{"a hundred lines", msg + strings.Repeat(strange, 98), ExtraSignature},
		{"a signature of another text", text + moved + lines[1], BadSignature},
		{"last newline missing", strings.TrimSuffix(msg, "\n"), Malformed},
		{"newline too many", msg + "\n", MissingSignature},
		{"text after", msg + "hello\n", Malformed},
		{"hyphen for the dash", strings.Replace(msg, "— ", "- ", 1), Malformed},
		{"two spaces", strings.Replace(msg, "— officer ", "— officer  ", 1), Malformed},
		{"carriage return", strings.ReplaceAll(msg, "\n", "\r\n"), Malformed},
		{"no UTF-8", strings.Replace(msg, "Lantern", "Lant\xffrn", 1), NotUTF8},
		{"empty line in the text", strings.Replace(msg, "v1\n", "v1\n\n", 1), NotCanonical},
		{"another kind", strings.Replace(msg, "leaflet/v1", "leaf/v1", 1), WrongKind},
		{"another version", strings.Replace(msg, "leaflet/v1", "leaflet/v2", 1), WrongVersion},
		{"no header", msg[len("porchlight/leaflet/v1\n"):], Malformed},
		{"nothing", "", Malformed},
		{"padding bits", paddingBits(msg), NotCanonical},
		{"too long", msg + strings.Repeat("\n", MaxNote), Oversize},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open([]byte(c.msg), signers)
			if ClassOf(err) != c.want {
				t.Errorf("class %q, want %q (%v)", ClassOf(err), c.want, err)
			}
		})
	}
}

// paddingBits changes the bits of the last base64 character that carry nothing.
func paddingBits(msg string) string {
	i := strings.LastIndex(msg, "=")
	for msg[i-1] == '=' {
		i--
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	n := strings.IndexByte(alphabet, msg[i-1])
	return msg[:i-1] + string(alphabet[n^1]) + msg[i:]
}

// Tens of thousands of damaged copies of a signed note, none of them believed.
func TestNoFlippedBitIsBelieved(t *testing.T) {
	msg := signed(t)
	for i := range len(msg) * 8 {
		bad := bytes.Clone(msg)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := Open(bad, signers); err == nil || ClassOf(err) == "" {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	tries := 20000
	if testing.Short() {
		tries = 2000
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range tries {
		bad := bytes.Clone(msg)
		for range 1 + rnd.IntN(4) {
			i, j := rnd.IntN(len(bad)), rnd.IntN(len(bad))
			switch rnd.IntN(4) {
			case 0:
				bad[i] = byte(rnd.Uint32())
			case 1:
				bad = slices.Delete(bad, min(i, j), max(i, j))
			case 2:
				bad = slices.Insert(bad, i, bad[min(i, j):max(i, j)]...)
			case 3:
				bad[i], bad[j] = bad[j], bad[i]
			}
			if len(bad) == 0 {
				break
			}
		}
		if bytes.Equal(bad, msg) {
			continue
		}
		if _, err := Open(bad, signers); err == nil || ClassOf(err) == "" {
			t.Fatalf("believed (%v):\n%s", err, bad)
		}
	}
}

// unchecked is a leaflet whose author skips the checks.
type unchecked struct{ leaflet }

func (unchecked) Check() error { return nil }

type badKind struct{ leaflet }

func (badKind) Kind() string { return "Leaf let" }

func TestWhatCannotBeReadCannotBeSigned(t *testing.T) {
	nilList := sample()
	nilList.Tags = nil
	zero := sample()
	zero.At = Time{}
	local := sample()
	local.At = Time{time.Date(2026, 1, 1, 0, 0, 0, 5, time.FixedZone("", 3600))}
	long := sample()
	long.Title = strings.Repeat("x", MaxNote)
	untitled := sample()
	untitled.Title = ""
	for _, c := range []struct {
		name string
		body Body
		keys []Key
		want Class
	}{
		{"nil list", nilList, []Key{officer}, NullValue},
		{"zero time", zero, []Key{officer}, BadValue},
		{"local time", local, []Key{officer}, BadValue},
		{"too long", long, []Key{officer}, Oversize},
		{"body refuses itself", untitled, []Key{officer}, BadValue},
		{"kind that is none", badKind{sample()}, []Key{officer}, Malformed},
		{"no key", sample(), nil, MissingSignature},
		{"zero key", sample(), []Key{{}}, BadKey},
		{"same key twice", sample(), []Key{officer, officer}, ExtraSignature},
	} {
		if _, err := Sign(c.body, c.keys...); ClassOf(err) != c.want {
			t.Errorf("%s: class %q, want %q (%v)", c.name, ClassOf(err), c.want, err)
		}
	}
	if _, err := AddSignature(signed(t), officer); ClassOf(err) != ExtraSignature {
		t.Errorf("signing twice: %v", err)
	}
	if msg, err := Sign(unchecked{untitled}, officer, supervisor); err != nil {
		t.Error(err)
	} else if _, err := Open(msg, signers); ClassOf(err) != BadValue {
		t.Errorf("an unchecked body was read: %v", err)
	}
	if _, err := Open(signed(t), func(leaflet) ([]VerifierKey, error) { return nil, nil }); ClassOf(err) != MissingSignature {
		t.Errorf("a document that nobody has to sign: %v", err)
	}
	twice := func(l leaflet) ([]VerifierKey, error) { return []VerifierKey{l.Officer, l.Officer}, nil }
	if _, err := Open(signed(t), twice); ClassOf(err) != SameSigner {
		t.Errorf("one key in two roles: %v", err)
	}
}

func TestErrorsKeepTheirCauseAndClass(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("reading: %w", Refuse(BadValue, "title", "why: %w", cause))
	if ClassOf(err) != BadValue || !errors.Is(err, cause) || err.Error() != "reading: bad-value (title): why: cause" {
		t.Errorf("%v", err)
	}
	if ClassOf(nil) != "" || ClassOf(cause) != "" {
		t.Error("a class out of nothing")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(signed(f))
	f.Add([]byte("porchlight/leaflet/v1\n{}\n\n— a AAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		l, err := Open(msg, signers)
		if err == nil {
			text, err := Text(l)
			if err != nil || !bytes.HasPrefix(msg, text) {
				t.Fatalf("believed what has another text: %v", err)
			}
		} else if ClassOf(err) == "" {
			t.Fatalf("a refusal without class: %v", err)
		}
	})
}
