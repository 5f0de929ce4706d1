// Package keyfile is the format of the file that holds a person's signing key: a charter's signer, an
// officer, a supervisor.
//
// # The file
//
// In the clear it is one line, what [consent.Key.Encode] gives:
//
//	PRIVATE+KEY+<name>+<hash>+<base64>
//
// Sealed, it is the same line in the age format (https://age-encryption.org/v1) with one scrypt
// recipient, the passphrase, and in age's armor, so that `age -d ruiz.key` shows it without this program.
// A file of either kind has at most [Max] bytes. The public half lies beside it in a .pub file, in the clear.
//
// # What the seal is for
//
// It protects a file that was copied: off a lost laptop, out of a backup, from a shared folder. It does not
// protect a key on a machine that somebody else controls, who reads the passphrase as it is typed.
//
// A node's own keys (peer, docket, reception, grant) are not kept this way. A node starts after a power cut
// with nobody there to type, so they lie in the clear in a folder that only the node's user can read,
// and package node reads them.
package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/porchlight-mesh/porchlight/consent"
)

// Max bounds a key file, in bytes. A sealed key with the longest name has under 900.
const Max = 4096

// maxWork bounds the work that a file may ask of who opens it, as the power of two of scrypt's N: 2^20 takes
// 1 GiB of memory and some seconds. This program, like age, seals with 2^18.
const maxWork = 20

// ErrPhrase says that a passphrase is not the one that a key was sealed with.
var ErrPhrase = errors.New("the passphrase is wrong")

// Sealed reports whether a file is one that takes a passphrase to open.
func Sealed(file []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(file), []byte(armor.Header))
}

// Encode writes a key in the clear.
func Encode(k consent.Key) []byte { return []byte(k.Encode() + "\n") }

// Parse reads a key in the clear. Its errors do not repeat the text.
func Parse(file []byte) (consent.Key, error) {
	if len(file) > Max {
		return consent.Key{}, consent.Refuse(consent.Oversize, "", "a key file of %d bytes; the most is %d", len(file), Max)
	}
	return consent.ParseKey(strings.TrimSpace(string(file)))
}

// Seal writes a key that only the passphrase opens. It takes about a second and 256 MiB.
func Seal(k consent.Key, phrase string) ([]byte, error) {
	to, err := age.NewScryptRecipient(phrase)
	if err != nil {
		return nil, err
	}
	return seal(k, to)
}

func seal(k consent.Key, to age.Recipient) ([]byte, error) {
	var file bytes.Buffer
	armored := armor.NewWriter(&file)
	w, err := age.Encrypt(armored, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(Encode(k)); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), armored.Close()); err != nil {
		return nil, err
	}
	return file.Bytes(), nil
}

// Open reads a sealed key. The error is [ErrPhrase] for another passphrase than that of the seal, and says
// else what is wrong with the file.
func Open(file []byte, phrase string) (consent.Key, error) { return open(file, phrase, maxWork) }

func open(file []byte, phrase string, work int) (consent.Key, error) {
	who, err := age.NewScryptIdentity(phrase)
	if err != nil {
		return consent.Key{}, err
	}
	who.SetMaxWorkFactor(work)
	var none *age.NoIdentityMatchError
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(bytes.TrimSpace(file))), who)
	if errors.As(err, &none) && len(none.StanzaTypes) == 1 && none.StanzaTypes[0] == "scrypt" {
		return consent.Key{}, ErrPhrase
	}
	if err != nil {
		return consent.Key{}, fmt.Errorf("no key sealed with a passphrase, or damaged: %w", err)
	}
	line, err := io.ReadAll(io.LimitReader(r, Max+1))
	if err != nil {
		return consent.Key{}, fmt.Errorf("the sealed key is damaged: %w", err)
	}
	return Parse(line)
}
