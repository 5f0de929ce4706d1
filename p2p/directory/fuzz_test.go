package directory

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// No message is read that says more than it may, and none for which memory is taken before.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("\x05hello and more"))
	f.Add([]byte{0})
	f.Add(binary.AppendUvarint(nil, maxQuestion+1))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readMessage(bytes.NewReader(b), maxQuestion)
		if len(got) > maxQuestion {
			t.Fatalf("%d bytes", len(got))
		}
		if n, w := binary.Uvarint(b); err == nil && (w <= 0 || uint64(len(got)) != n || !bytes.Equal(got, b[w:w+len(got)])) {
			t.Fatalf("%q of %q", got, b)
		}
		_ = sound(got)
	})
}
