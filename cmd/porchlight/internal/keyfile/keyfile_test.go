package keyfile

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/porchlight-mesh/porchlight/consent"
)

const phrase = "five words drawn at random"

func ruiz(t testing.TB) consent.Key {
	k, err := consent.GenerateKey(rand.Reader, "Det.Ruiz")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// lightly seals with little work, so that tests are quick.
func lightly(t testing.TB, k consent.Key, work int) []byte {
	to, err := age.NewScryptRecipient(phrase)
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(work)
	file, err := seal(k, to)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Ruiz seals a key and finds it again with this program, and with age alone should this program be gone.
func TestASealedKeyIsAnOrdinaryAgeFile(t *testing.T) {
	k := ruiz(t)
	file, err := Seal(k, phrase)
	if err != nil {
		t.Fatal(err)
	}
	if !Sealed(file) || Sealed(Encode(k)) || bytes.Contains(file, []byte("Ruiz")) {
		t.Errorf("sealed:\n%s", file)
	}
	if got, err := Open(lightly(t, k, 10), phrase); err != nil || got.Encode() != k.Encode() {
		t.Errorf("opened: %v, %v", got, err)
	}
	who, err := age.NewScryptIdentity(phrase)
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(file)), who)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := io.ReadAll(r); err != nil || string(line) != k.Encode()+"\n" {
		t.Errorf("age reads %d bytes: %v", len(line), err)
	}
}

func TestWhatIsWrongWithAFileIsNamed(t *testing.T) {
	k := ruiz(t)
	file := lightly(t, k, 10)
	to, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal(k, to.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(file)
	flipped[len(flipped)-60] ^= 1
	for name, c := range map[string]struct {
		file   []byte
		phrase string
		says   string
	}{
		"another passphrase":  {file, phrase + " ", "the passphrase is wrong"},
		"no passphrase":       {file, "", "can't be empty"},
		"cut short":           {file[:len(file)/2], phrase, "damaged"},
		"a flipped bit":       {flipped, phrase, "damaged"},
		"sealed to a key":     {other, phrase, "no key sealed with a passphrase"},
		"not sealed":          {Encode(k), phrase, "no key sealed with a passphrase"},
		"nothing":             {nil, phrase, "no key sealed with a passphrase"},
		"something behind it": {append(bytes.Clone(file), "x"...), phrase, "damaged"},
	} {
		got, err := Open(c.file, c.phrase)
		if err == nil || !got.Zero() || !strings.Contains(err.Error(), c.says) || errors.Is(err, ErrPhrase) != (c.says == ErrPhrase.Error()) {
			t.Errorf("%s: %v, %v; want an error that says %q", name, got, err, c.says)
		}
	}
	if _, err := Parse(file); consent.ClassOf(err) != consent.BadKey {
		t.Errorf("a sealed key read as one in the clear: %v", err)
	}
	if _, err := Parse(append(Encode(k), make([]byte, Max)...)); consent.ClassOf(err) != consent.Oversize {
		t.Errorf("a file of any length: %v", err)
	}
}

// Mallory's file asks for more work than a machine has memory for.
func TestAFileCannotAskForAnyWork(t *testing.T) {
	if _, err := open(lightly(t, ruiz(t), 12), phrase, 11); err == nil || !strings.Contains(err.Error(), "work factor too large") {
		t.Errorf("more work than allowed: %v", err)
	}
}

func TestTheLongestKeyFits(t *testing.T) {
	k, err := ruiz(t).Renamed(strings.Repeat("n", consent.MaxKeyName))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(lightly(t, k, 10)); n > 900 {
		t.Errorf("a sealed key of %d bytes", n)
	}
}

func FuzzRead(f *testing.F) {
	k := ruiz(f)
	f.Add(Encode(k))
	f.Add(lightly(f, k, 1))
	f.Add([]byte(armor.Header + "\n" + armor.Footer))
	f.Add([]byte("PRIVATE+KEY+Det.Ruiz+00000000+AQ=="))
	f.Fuzz(func(t *testing.T, file []byte) {
		if got, err := Parse(file); (err == nil) == got.Zero() || err == nil && got.Encode() != strings.TrimSpace(string(file)) {
			t.Errorf("read %v, %v", got, err)
		}
		got, err := open(file, phrase, 8)
		if (err == nil) == got.Zero() || err == nil && !Sealed(file) {
			t.Errorf("opened %v, %v", got, err)
		}
	})
}
