package consent

import (
	"bytes"
	"encoding/json"
	"errors"
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

// scan looks at the tokens before anything is decoded: nesting, names and nulls, and that one value is all
// there is. It is written out because encoding/json hands out tokens as slowly as signatures are verified.
func scan(b []byte) error {
	if !json.Valid(b) {
		var first json.RawMessage
		if err := json.NewDecoder(bytes.NewReader(b)).Decode(&first); err != nil {
			return Refuse(Malformed, "", "not JSON: %w", err)
		}
		return Refuse(TrailingData, "", "something follows the JSON value")
	}
	type level struct {
		name string          // the member whose value this is or comes next
		open bool            // a value comes next
		seen map[string]bool // of an object
	}
	stack := make([]level, 1, MaxDepth+1) // above all objects and lists
	for i := 0; i < len(b); i++ {
		top, from := &stack[len(stack)-1], i
		switch c := b[i]; c {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if top.seen == nil || top.open {
				top.open = false
				continue
			}
			name := string(b[from+1 : i])
			if strings.Contains(name, `\`) {
				if err := json.Unmarshal(b[from:i+1], &name); err != nil {
					return Refuse(Malformed, "", "not JSON: %w", err)
				}
			}
			if top.seen[name] {
				return Refuse(DuplicateField, name, "the member stands there twice")
			}
			top.seen[name], top.name, top.open = true, name, true
		case '{', '[':
			if len(stack) > MaxDepth {
				return Refuse(TooDeep, top.name, "JSON nests deeper than %d", MaxDepth)
			}
			top.open = false
			stack = append(stack, level{name: top.name})
			if c == '{' {
				stack[len(stack)-1].seen = map[string]bool{}
			}
		case '}', ']':
			stack = stack[:len(stack)-1]
		case ',':
			top.open = false // after a number or a word
		case 'n':
			return Refuse(NullValue, top.name, "null stands for nothing here; an empty list is [], an absent member is left out")
		}
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
