package consent

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// MaxKeyName is the longest name of a key, in bytes. A name is graphic ASCII without '+', so that no two
// names look alike on a signature line.
const MaxKeyName = 128

// A VerifierKey is a C2SP signed-note verifier key for Ed25519: name, key hash and key in one text,
// "<name>+<8 hex digits>+<base64>". Only the canonical text is one.
type VerifierKey string

// NewVerifierKey gives a public key a name to sign under.
func NewVerifierKey(name string, pub ed25519.PublicKey) (VerifierKey, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	s, err := note.NewEd25519VerifierKey(name, pub)
	if err != nil {
		return "", Refuse(BadKey, "", "key %q: %w", name, err)
	}
	return VerifierKey(s), checkPoint(pub)
}

// Public returns the key without its name, or an error of class bad-key when k is not the canonical
// text of an Ed25519 verifier key.
func (k VerifierKey) Public() (ed25519.PublicKey, error) {
	bad := func(why string) (ed25519.PublicKey, error) {
		return nil, Refuse(BadKey, "", "verifier key %.80q %s; expected <name>+<hash>+<base64>", string(k), why)
	}
	parts := strings.Split(string(k), "+")
	if len(parts) < 3 {
		return bad("has too few parts")
	}
	// Base64 may itself hold a '+'.
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.Join(parts[2:], "+"))
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != 1 {
		return bad("holds no Ed25519 key")
	}
	pub := ed25519.PublicKey(raw[1:])
	again, err := NewVerifierKey(parts[0], pub)
	if err != nil {
		return nil, err
	}
	if again != k {
		return bad("has another hash or spelling than its key")
	}
	return pub, nil
}

// Verifier returns what checks the key's signatures.
func (k VerifierKey) Verifier() (note.Verifier, error) {
	if _, err := k.Public(); err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(string(k))
	if err != nil {
		return nil, Refuse(BadKey, "", "verifier key %.80q: %w", string(k), err)
	}
	return v, nil
}

// Name returns the part before the first '+', checked or not.
func (k VerifierKey) Name() string {
	name, _, _ := strings.Cut(string(k), "+")
	return name
}

// Same reports whether two verifier keys hold the same public key, whatever their names. It is false
// when either is unusable.
func (k VerifierKey) Same(o VerifierKey) bool {
	if k.encoded() != o.encoded() {
		return false // one key has one spelling
	}
	_, err1 := k.Public()
	_, err2 := o.Public()
	return err1 == nil && err2 == nil
}

// encoded is the part after the name and the hash.
func (k VerifierKey) encoded() string {
	_, rest, _ := strings.Cut(string(k), "+")
	_, rest, _ = strings.Cut(rest, "+")
	return rest
}

// A Key is a private Ed25519 key and the name it signs under. The zero Key signs nothing. Printing or
// logging a Key shows its name only.
type Key struct {
	// A pointer, because fmt prints an unexported field of somebody's struct without asking its
	// methods; of a pointer it prints the address.
	s *secret
}

type secret struct {
	name string
	priv ed25519.PrivateKey
}

// GenerateKey makes a key out of 32 bytes of rand, which in production is crypto/rand.Reader.
func GenerateKey(rand io.Reader, name string) (Key, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return Key{}, fmt.Errorf("making the key %q: no randomness: %w", name, err)
	}
	return KeyFromSeed(name, seed)
}

// KeyFromSeed makes the key of a 32-byte Ed25519 seed (RFC 8032, section 5.1.5).
func KeyFromSeed(name string, seed []byte) (Key, error) {
	if err := checkName(name); err != nil {
		return Key{}, err
	}
	if len(seed) != ed25519.SeedSize {
		return Key{}, Refuse(BadKey, "", "key %q: a seed is %d bytes, not %d", name, ed25519.SeedSize, len(seed))
	}
	return Key{&secret{name, ed25519.NewKeyFromSeed(seed)}}, nil
}

// ParseKey reads what [Key.Encode] wrote. Its errors do not repeat the text.
func ParseKey(s string) (Key, error) {
	rest, ok := strings.CutPrefix(s, "PRIVATE+KEY+")
	parts := strings.SplitN(rest, "+", 3)
	if !ok || len(parts) != 3 {
		return Key{}, Refuse(BadKey, "", "not a signer key; expected PRIVATE+KEY+<name>+<hash>+<base64>")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(raw) != 1+ed25519.SeedSize || raw[0] != 1 {
		return Key{}, Refuse(BadKey, "", "the signer key %.40q holds no Ed25519 seed", parts[0])
	}
	k, err := KeyFromSeed(parts[0], raw[1:])
	if err != nil {
		return Key{}, err
	}
	if k.Encode() != s {
		return Key{}, Refuse(BadKey, "", "the signer key %.40q has another hash or spelling than its seed", parts[0])
	}
	return k, nil
}

// Encode returns the secret text of the key, as note.GenerateKey writes it, for a file that only the
// owner can read. It is "" for the zero Key.
func (k Key) Encode() string {
	if k.Zero() {
		return ""
	}
	hash := strings.SplitN(string(k.Verifier()), "+", 3)[1]
	raw := append([]byte{1}, k.s.priv.Seed()...)
	return "PRIVATE+KEY+" + k.s.name + "+" + hash + "+" + base64.StdEncoding.EncodeToString(raw)
}

// Name returns the name the key signs under, "" for the zero Key.
func (k Key) Name() string {
	if k.Zero() {
		return ""
	}
	return k.s.name
}

// Renamed returns the same key under another name.
func (k Key) Renamed(name string) (Key, error) {
	if k.Zero() {
		return Key{}, Refuse(BadKey, "", "the zero key cannot be named %q", name)
	}
	return KeyFromSeed(name, k.s.priv.Seed())
}

// Verifier returns the public half, "" for the zero Key.
func (k Key) Verifier() VerifierKey {
	if k.Zero() {
		return ""
	}
	// The name and the key were checked when k was made.
	s, err := note.NewEd25519VerifierKey(k.s.name, k.s.priv.Public().(ed25519.PublicKey))
	if err != nil {
		return ""
	}
	return VerifierKey(s)
}

// Private returns the key for protocols that sign with it themselves; nil for the zero Key.
func (k Key) Private() ed25519.PrivateKey {
	if k.Zero() {
		return nil
	}
	return k.s.priv
}

// Zero reports whether k can sign nothing.
func (k Key) Zero() bool { return k.s == nil }

// String, GoString and LogValue show the name and never the secret.
func (k Key) String() string { return "key " + k.Name() + " (secret not shown)" }

// GoString keeps %#v from walking into the secret.
func (k Key) GoString() string { return k.String() }

// LogValue keeps slog from walking into the secret.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Format keeps every verb, %x among them, from walking into the secret.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

func (k Key) signer() (note.Signer, error) {
	if k.Zero() {
		return nil, Refuse(BadKey, "", "the zero key signs nothing")
	}
	return note.NewSigner(k.Encode())
}

func checkName(name string) error {
	ok := name != "" && len(name) <= MaxKeyName
	for i := 0; i < len(name) && ok; i++ {
		ok = name[i] > ' ' && name[i] < 0x7f && name[i] != '+'
	}
	if !ok {
		return Refuse(BadKey, "", "%.80q is no name for a key: 1 to %d graphic ASCII characters without '+'", name, MaxKeyName)
	}
	return nil
}

// smallOrder holds the y coordinates, sign bit cleared, of the points of order 1, 2, 4 and 8 with
// their non-canonical spellings, in the order of libsodium's ge25519_has_small_order. Under such a key
// anybody can make signatures, so a note would have many valid copies.
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func checkPoint(pub ed25519.PublicKey) error {
	y := [32]byte(pub)
	y[31] &= 0x7f
	text := hex.EncodeToString(y[:])
	for _, bad := range smallOrder {
		if text == bad {
			return Refuse(BadKey, "", "public key %x has small order: anybody can sign under it", []byte(pub))
		}
	}
	return nil
}
