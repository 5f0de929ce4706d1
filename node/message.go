package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// A sealed message stands in a daily entry, among others that look the same. It is age (https://c2sp.org/age) to one X25519 recipient,
// the grant's, in the binary format, over
//
//	4 bytes  length of the note, big-endian
//	n bytes  the note
//	         zeros, as many as give the whole the size that the charter fixes
//
// A dummy is sealed to a recipient whose identity nobody has kept.

// messageSeal is what age adds, in bytes: its header with one X25519 stanza, a nonce, and the tag of the only chunk.
const messageSeal = 200

// MaxMessage is the most bytes that a note may have in a message of that size; negative where there is no place for one.
func MaxMessage(size int) int { return size - messageSeal - 4 }

// SealMessage seals a note to an age X25519 recipient, as a message of exactly that size in bytes.
func SealMessage(recipient string, note []byte, size int) ([]byte, error) {
	if most := MaxMessage(size); len(note) > most || size > charter.MaxMessageBytes {
		return nil, fmt.Errorf("a message of %d bytes; in one of the charter's size, %d, there is room for %d", len(note), size, max(most, 0))
	}
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, size-messageSeal)
	binary.BigEndian.PutUint32(plain, uint32(len(note)))
	copy(plain[4:], note)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if b.Len() != size {
		return nil, fmt.Errorf("a sealed message has %d bytes, want %d: this version of age adds another number of bytes", b.Len(), size)
	}
	return b.Bytes(), nil
}

// errMessage says that a message opened and is not spelled as SealMessage does.
var errMessage = errors.New("not a sealed message: its padding or its length is wrong")

// OpenMessage returns the note of a message that is sealed to this identity. The error of one that is sealed to another is
// *[age.NoIdentityMatchError].
func OpenMessage(identity age.Identity, msg []byte) ([]byte, error) {
	if len(msg) > charter.MaxMessageBytes {
		return nil, fmt.Errorf("a message of %d bytes; the most is %d", len(msg), charter.MaxMessageBytes)
	}
	r, err := age.Decrypt(bytes.NewReader(msg), identity)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, charter.MaxMessageBytes))
	if err != nil {
		return nil, err
	}
	if len(plain) < 4 {
		return nil, errMessage
	}
	n, rest := binary.BigEndian.Uint32(plain), plain[4:]
	if uint64(n) > uint64(len(rest)) || len(bytes.Trim(rest[n:], "\x00")) > 0 {
		return nil, errMessage
	}
	return rest[:n:n], nil
}
