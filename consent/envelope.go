package consent

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

const (
	// MaxNote is the most bytes a signed document may have.
	MaxNote = 16 << 10
	// MaxSignatures is the most signature lines a signed document may have.
	MaxSignatures = 32

	headerPrefix = "porchlight/"
	headerSuffix = "/v1"
)

// A Body is the typed content of a document: a struct that encoding/json writes, with its members in
// the order of the format.
type Body interface {
	// Kind names the format: "request" has the header line porchlight/request/v1. It is a constant of
	// the type.
	Kind() string
	// Check refuses what is wrong whatever the context, zero values of required members among it.
	Check() error
}

// Text returns what is signed: the header line and the JSON line. A body that a reader would refuse has
// no text.
func Text(b Body) ([]byte, error) {
	if err := checkKind(b.Kind()); err != nil {
		return nil, err
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	js, err := EncodeStrict(b)
	if err != nil {
		return nil, err
	}
	text := slices.Concat([]byte(headerPrefix+b.Kind()+headerSuffix+"\n"), js, []byte("\n"))
	if len(text) > MaxNote {
		return nil, Refuse(Oversize, "", "a %s of %d bytes; the most is %d", b.Kind(), len(text), MaxNote)
	}
	return text, nil
}

// Sign returns the document with one signature line for each key, in their order.
func Sign(b Body, keys ...Key) ([]byte, error) {
	text, err := Text(b)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, Refuse(MissingSignature, "", "a %s needs at least one key to be signed", b.Kind())
	}
	msg := append(text, '\n')
	for _, k := range keys {
		if msg, err = addLine(msg, text, k); err != nil {
			return nil, err
		}
	}
	return msg, nil
}

// AddSignature appends k's line to a document that others signed first, on other machines, or to a
// text (see [Text]) that nobody has signed yet. It checks the shape of msg, and neither its content nor
// its signatures: read a document before signing it.
func AddSignature(msg []byte, k Key) ([]byte, error) {
	if _, err := Peek(msg); err == nil && bytes.Count(msg, []byte("\n")) == 2 && msg[len(msg)-1] == '\n' {
		return addLine(append(bytes.Clone(msg), '\n'), msg, k)
	}
	p, err := parse(msg)
	if err != nil {
		return nil, err
	}
	return addLine(bytes.Clone(msg), p.text, k)
}

func addLine(msg, text []byte, k Key) ([]byte, error) {
	s, err := k.signer()
	if err != nil {
		return nil, err
	}
	sig, err := s.Sign(text)
	if err != nil {
		return nil, err
	}
	l := line{KeyID{s.Name(), s.KeyHash()}, sig}
	if have := msg[len(text)+1:]; len(have) > 0 {
		lines, err := parseLines(have)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(lines, func(h line) bool { return h.KeyID == l.KeyID }) {
			return nil, Refuse(ExtraSignature, "", "%s has signed already", l.Name)
		}
	}
	msg = append(msg, l.String()...)
	if len(msg) > MaxNote {
		return nil, Refuse(Oversize, "", "the document would have %d bytes; the most is %d", len(msg), MaxNote)
	}
	return msg, nil
}

// A KeyID is what a signature line says of its key: its name, and the first 4 bytes of
// SHA-256(name, newline, 0x01, key). It proves nothing.
type KeyID struct {
	Name string
	Hash uint32
}

// ID returns the key id of a verifier key.
func (k VerifierKey) ID() (KeyID, error) {
	v, err := k.Verifier()
	if err != nil {
		return KeyID{}, err
	}
	return KeyID{v.Name(), v.KeyHash()}, nil
}

// SignerIDs lists the signature lines of msg in order, none of them verified. A format that takes any k
// of n signatures picks its keys by them and hands those to [Open].
func SignerIDs(msg []byte) ([]KeyID, error) {
	p, err := parse(msg)
	if err != nil {
		return nil, err
	}
	ids := make([]KeyID, len(p.lines))
	for i, l := range p.lines {
		ids[i] = l.KeyID
	}
	return ids, nil
}

// Peek returns the kind of a document by its header line. Nothing else of msg is looked at but its size.
func Peek(msg []byte) (kind string, err error) {
	if len(msg) > MaxNote {
		return "", Refuse(Oversize, "", "a document of %d bytes; the most is %d", len(msg), MaxNote)
	}
	first, _, ok := bytes.Cut(msg, []byte("\n"))
	rest, ok2 := strings.CutPrefix(string(first), headerPrefix)
	if !ok || !ok2 {
		return "", Refuse(Malformed, "", "no header line %s<kind>%s", headerPrefix, headerSuffix)
	}
	kind, version, ok := strings.Cut(rest, "/")
	if !ok || checkKind(kind) != nil {
		return "", Refuse(Malformed, "", "no header line %s<kind>%s", headerPrefix, headerSuffix)
	}
	if "/"+version != headerSuffix {
		return "", Refuse(WrongVersion, "", "version %.20q of %s; this program knows v1", version, kind)
	}
	return kind, nil
}

// Open is the one way from bytes to a typed document: it decodes strictly, has the body check itself, and
// verifies that exactly the signatures of by(body) are there, in that order, in canonical base64. T is a
// struct type or a pointer to one; by may refuse the body too.
func Open[T Body](msg []byte, by func(T) ([]VerifierKey, error)) (T, error) {
	var none T
	body := fresh[T]()
	p, err := parse(msg)
	if err != nil {
		return none, err
	}
	if p.kind != body.Kind() {
		return none, Refuse(WrongKind, "", "a %s where a %s belongs", p.kind, body.Kind())
	}
	if err := DecodeStrict(p.json, &body, MaxNote); err != nil {
		return none, err
	}
	if err := body.Check(); err != nil {
		return none, err
	}
	keys, err := by(body)
	if err != nil {
		return none, err
	}
	if err := p.verify(msg, keys); err != nil {
		return none, err
	}
	return body, nil
}

// fresh makes a T whose methods may be called also when T is a pointer type.
func fresh[T Body]() (v T) {
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem()).Interface().(T)
	}
	return v
}

// A line is one signature line.
type line struct {
	KeyID
	sig []byte // without the key hash
}

func (l line) prefix() string { return "— " + l.Name }

func (l line) String() string {
	raw := append(binary.BigEndian.AppendUint32(nil, l.Hash), l.sig...)
	return l.prefix() + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

// parts is a document taken apart and not yet believed.
type parts struct {
	kind       string
	text, json []byte
	lines      []line
}

// parse checks the shape of a document: size, UTF-8, header, one JSON line, signature lines that have
// the one spelling of what they say.
func parse(msg []byte) (*parts, error) {
	if len(msg) > MaxNote {
		return nil, Refuse(Oversize, "", "a document of %d bytes; the most is %d", len(msg), MaxNote)
	}
	if !utf8.Valid(msg) {
		return nil, Refuse(NotUTF8, "", "the document is not UTF-8")
	}
	for _, c := range msg {
		if c < 0x20 && c != '\n' {
			return nil, Refuse(Malformed, "", "the document holds the control character %#02x", c)
		}
	}
	kind, err := Peek(msg)
	if err != nil {
		return nil, err
	}
	split := bytes.LastIndex(msg, []byte("\n\n"))
	if split < 0 {
		return nil, Refuse(Malformed, "", "no empty line before the signatures")
	}
	p := &parts{kind: kind, text: msg[:split+1]}
	p.json = bytes.TrimSuffix(p.text[len(headerPrefix+kind+headerSuffix+"\n"):], []byte("\n"))
	if p.lines, err = parseLines(msg[split+2:]); err != nil {
		return nil, err
	}
	return p, nil
}

func parseLines(b []byte) ([]line, error) {
	if len(b) == 0 {
		return nil, Refuse(MissingSignature, "", "the document is not signed")
	}
	if b[len(b)-1] != '\n' {
		return nil, Refuse(Malformed, "", "the last signature line has no end")
	}
	var lines []line
	for s := range strings.Lines(string(b)) {
		if len(lines) == MaxSignatures {
			return nil, Refuse(ExtraSignature, "", "more than %d signature lines", MaxSignatures)
		}
		rest, ok := strings.CutPrefix(strings.TrimSuffix(s, "\n"), "— ")
		name, b64, ok2 := strings.Cut(rest, " ")
		if !ok || !ok2 || checkName(name) != nil {
			return nil, Refuse(Malformed, "", "%.60q is no signature line", s)
		}
		raw, err := base64.StdEncoding.DecodeString(b64)
		if err != nil || len(raw) < 5 {
			return nil, Refuse(Malformed, "", "the signature line of %s holds no base64", name)
		}
		l := line{KeyID{name, binary.BigEndian.Uint32(raw)}, raw[4:]}
		if l.String() != s {
			return nil, Refuse(NotCanonical, "", "the signature line of %s has another spelling than its one", name)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// verify holds the lines against the keys: the same set, the same order, each signature good.
func (p *parts) verify(msg []byte, keys []VerifierKey) error {
	if len(keys) == 0 {
		return Refuse(MissingSignature, "", "the %s names nobody who signs it", p.kind)
	}
	want := make([]KeyID, len(keys))
	verifiers := make([]note.Verifier, len(keys))
	for i, k := range keys {
		v, err := k.Verifier()
		if err != nil {
			return err
		}
		want[i], verifiers[i] = KeyID{v.Name(), v.KeyHash()}, v
		if slices.Contains(want[:i], want[i]) {
			return Refuse(SameSigner, "", "%s is to sign twice", v.Name())
		}
	}
	have := make([]KeyID, len(p.lines))
	for i, l := range p.lines {
		have[i] = l.KeyID
	}
	for _, id := range want {
		if !slices.Contains(have, id) {
			return Refuse(MissingSignature, "", "%s+%08x has not signed", id.Name, id.Hash)
		}
	}
	for i, id := range have {
		if !slices.Contains(want, id) || slices.Contains(have[:i], id) {
			return Refuse(ExtraSignature, "", "the signature line of %s+%08x does not belong there", id.Name, id.Hash)
		}
	}
	if !slices.Equal(have, want) {
		return Refuse(SignatureOrder, "", "the signatures stand in another order than %s's format lists", p.kind)
	}
	n, err := note.Open(msg, note.VerifierList(verifiers...))
	if bad, ok := errors.AsType[*note.InvalidSignatureError](err); ok {
		return Refuse(BadSignature, "", "the signature of %s+%08x does not verify", bad.Name, bad.Hash)
	}
	if err != nil {
		return Refuse(Malformed, "", "not a signed note: %w", err)
	}
	// What note.Open believed, written again: nothing but these bytes was in the message.
	again := append([]byte(n.Text), '\n')
	for i, s := range n.Sigs {
		if s.Name != have[i].Name || s.Hash != have[i].Hash {
			return Refuse(SignatureOrder, "", "the signatures stand in another order than %s's format lists", p.kind)
		}
		again = append(again, p.lines[i].String()...)
	}
	if len(n.UnverifiedSigs) != 0 || len(n.Sigs) != len(want) || !bytes.Equal(again, msg) {
		return Refuse(NotCanonical, "", "the document is not the one spelling of its content")
	}
	return nil
}

func checkKind(kind string) error {
	ok := kind != "" && len(kind) <= 32 && kind[0] >= 'a'
	for i := 0; i < len(kind) && ok; i++ {
		c := kind[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
	}
	if !ok {
		return Refuse(Malformed, "", "%.40q is no kind of document", kind)
	}
	return nil
}
