package forward

import (
	"bytes"
	"errors"
	"net"
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

// What a steward answers is at most one line, and no more of it is read than it says.
func FuzzStatus(f *testing.F) {
	f.Add([]byte("\x00more"))
	f.Add([]byte("\x04busy"))
	f.Add([]byte("\x05\x1b[2Ja"))
	f.Add([]byte("\xffcut"))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, far := net.Pipe()
		defer at.Close()
		go func() { far.Write(b); far.Close() }()
		p := &pending{Conn: at, hop: 1}
		err := p.wait()
		var said *HopError
		switch {
		case len(b) == 0 || len(b) <= int(b[0]):
			if err == nil || errors.As(err, &said) {
				t.Fatalf("%q is a status: %v", b, err)
			}
		case b[0] == 0:
			if err != nil {
				t.Fatalf("%q is refused: %v", b, err)
			}
		case !errors.As(err, &said) || said.Hop != 1 || len(said.Status) > maxStatus || said.Status != clean(said.Status):
			t.Fatalf("%q is read as %v", b, err)
		}
	})
}
