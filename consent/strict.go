package consent

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// MaxDepth bounds how deep the JSON of a document may nest.
const MaxDepth = 16

// EncodeStrict writes v as the one JSON text that [DecodeStrict] reads back, without a final newline.
// It refuses a v that has none, such as one with a nil list that is not optional (class null).
func EncodeStrict(v any) ([]byte, error) {
	b, err := encode(v)
	if err != nil {
		return nil, err
	}
	if err := scan(b); err != nil {
		return nil, err
	}
	return b, nil
}

// DecodeStrict reads the one JSON text of a value of v's type: every member present and known, none
// twice, no null, nothing after it, and canonical, as the package comment says. At most max bytes.
// A v that was refused holds nothing of use.
func DecodeStrict(b []byte, v any, max int) error {
	if len(b) > max {
		return Refuse(Oversize, "", "%d bytes of JSON; the most is %d", len(b), max)
	}
	if !utf8.Valid(b) {
		return Refuse(NotUTF8, "", "the JSON is not UTF-8")
	}
	if err := scan(b); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return decodeError(err)
	}
	again, err := encode(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, b) {
		if name := missing(b, again); name != "" {
			return Refuse(MissingField, name, "the member is required")
		}
		return Refuse(NotCanonical, "", "the value has another text than this: %s", firstDifference(again, b))
	}
	return nil
}

func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		if _, ok := errors.AsType[*Error](err); ok {
			return nil, err
		}
		return nil, Refuse(BadValue, "", "encoding %s: %w", reflect.TypeOf(v), err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// decodeError gives encoding/json's errors their classes. The package has no type for an unknown
// field; its text is held by a test.
func decodeError(err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Refuse(BadValue, t.Field, "a %s does not fit", t.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`); ok {
		return Refuse(UnknownField, strings.TrimSuffix(name, `"`), "the format has no such member")
	}
	// scan found the JSON sound, so it is a value that its type refuses.
	return Refuse(BadValue, "", "%w", err)
}

// scan walks the tokens before anything is decoded: nesting, names and nulls, and that one value is all
// there is.
func scan(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	type level struct {
		object bool
		name   string // the member whose value comes next
		open   bool   // name is set
		seen   map[string]bool
	}
	var stack []level
	for first := true; first || len(stack) > 0; first = false {
		tok, err := d.Token()
		if err != nil {
			return Refuse(Malformed, "", "not JSON: %w", err)
		}
		var top *level
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		if name, ok := tok.(string); ok && top != nil && top.object && !top.open {
			if top.seen[name] {
				return Refuse(DuplicateField, name, "the member stands there twice")
			}
			top.seen[name], top.name, top.open = true, name, true
			continue
		}
		field := ""
		if top != nil {
			field = top.name
			top.open = false
		}
		switch tok {
		case nil:
			return Refuse(NullValue, field, "null stands for nothing here; an empty list is [], an absent member is left out")
		case json.Delim('{'), json.Delim('['):
			if len(stack) == MaxDepth {
				return Refuse(TooDeep, field, "JSON nests deeper than %d", MaxDepth)
			}
			stack = append(stack, level{object: tok == json.Delim('{'), name: field, seen: map[string]bool{}})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
	if _, err := d.Token(); err != io.EOF {
		return Refuse(TrailingData, "", "something follows the JSON value")
	}
	return nil
}

// missing names a top-level member of want that got lacks, so that the commonest mistake has a class of
// its own.
func missing(got, want []byte) string {
	var g, w map[string]json.RawMessage
	if json.Unmarshal(got, &g) != nil || json.Unmarshal(want, &w) != nil {
		return ""
	}
	var lost string
	for name := range w {
		if _, ok := g[name]; !ok && (lost == "" || name < lost) {
			lost = name
		}
	}
	return lost
}

func firstDifference(want, got []byte) string {
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	from := max(0, i-10)
	cut := func(b []byte) string { return strings.ToValidUTF8(string(b[min(from, len(b)):min(i+20, len(b))]), "") }
	return "expected …" + cut(want) + "…, found …" + cut(got) + "…"
}
