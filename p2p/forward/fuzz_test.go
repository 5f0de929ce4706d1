package forward

import (
	"bytes"
	"testing"
)

// What a stranger writes as a header is read within its bounds, and what is read is what was written.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("\x00\x04post"))
	f.Add([]byte("\x00\x3a/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"))
	f.Add([]byte("\xff\xff"))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := readHeader(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeHeader(&again, nil, text); err != nil || !bytes.HasPrefix(b, again.Bytes()) {
			t.Fatalf("%q is read as %q and written as %q: %v", b, text, again.Bytes(), err)
		}
		_, _ = destination(text)
		_ = clean(text)
	})
}
