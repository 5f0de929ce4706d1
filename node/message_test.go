package node

import (
	"bytes"
	"errors"
	"testing"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent/charter"
)

func TestMessages(t *testing.T) {
	id, other := must(age.GenerateX25519Identity()), must(age.GenerateX25519Identity())
	to := id.Recipient().String()
	for _, size := range []int{messageSeal + 4, 1024, charter.MaxMessageBytes} {
		for _, note := range [][]byte{{}, bytes.Repeat([]byte{0}, MaxMessage(size)/2), bytes.Repeat([]byte("n"), MaxMessage(size))} {
			msg, err := SealMessage(to, note, size)
			if err != nil || len(msg) != size {
				t.Fatalf("%d bytes in one of %d: %d, %v", len(note), size, len(msg), err)
			}
			if got, err := OpenMessage(id, msg); err != nil || !bytes.Equal(got, note) {
				t.Errorf("%d bytes in one of %d came back as %d, %v", len(note), size, len(got), err)
			}
			var no *age.NoIdentityMatchError
			if _, err := OpenMessage(other, msg); !errors.As(err, &no) {
				t.Errorf("opened by another: %v", err)
			}
		}
		if _, err := SealMessage(to, make([]byte, MaxMessage(size)+1), size); err == nil {
			t.Errorf("sealed one byte too many into %d", size)
		}
	}
	for _, size := range []int{-1, 0, messageSeal + 3, charter.MaxMessageBytes + 1} {
		if _, err := SealMessage(to, nil, size); err == nil {
			t.Errorf("sealed a message of %d bytes", size)
		}
	}
	if _, err := SealMessage("age1nobody", nil, 1024); err == nil {
		t.Error("sealed to nobody")
	}
}

// FuzzOpenMessage opens what stands in a docket, which an agency may have made of anything. What opens is what was sealed.
func FuzzOpenMessage(f *testing.F) {
	id := must(age.GenerateX25519Identity())
	sealed := func(plain []byte) []byte {
		var b bytes.Buffer
		w := must(age.Encrypt(&b, id.Recipient()))
		must(w.Write(plain))
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	f.Add(must(SealMessage(id.Recipient().String(), []byte("a note"), 1024)), false)
	for _, plain := range []string{"", "\x00\x00", "\x00\x00\x00\x01a\x00\x00", "\x00\x00\x00\x03a", "\xff\xff\xff\xffa", "\x00\x00\x00\x01ab"} {
		f.Add([]byte(plain), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		msg := b
		if seal {
			msg = sealed(b)
		}
		note, err := OpenMessage(id, msg)
		if err != nil || !seal {
			return
		}
		if !bytes.HasPrefix(b[4:], note) || len(bytes.Trim(b[4+len(note):], "\x00")) > 0 {
			t.Errorf("of %q comes %q", b, note)
		}
	})
}
