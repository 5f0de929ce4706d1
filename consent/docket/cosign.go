package docket

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// MaxCosigned is the most bytes of a checkpoint with the cosignatures of as many witnesses as a charter can name.
const MaxCosigned = 12 << 10

// A Cosigned is a checkpoint and the witnesses who cosigned it. Those made by OpenCosigned were verified.
type Cosigned struct {
	Checkpoint
	Note []byte                // the agency's line, then one for each of By
	By   []consent.VerifierKey // in the charter's order
	At   []time.Time           // when, each by its witness's clock
}

// Reached returns the latest time of which as many witnesses say that it has come; zero where fewer cosigned, or none are asked for.
func (c Cosigned) Reached(quorum int) time.Time {
	if quorum < 1 || len(c.At) < quorum {
		return time.Time{}
	}
	at := slices.SortedFunc(slices.Values(c.At), func(a, b time.Time) int { return b.Compare(a) })
	return at[quorum-1]
}

// maxCosignedAt is the last second of the year 9999: what a witness dates later is taken for that.
const maxCosignedAt = 253402300799

// algCosignature is the signature type of a timestamped Ed25519 cosignature (C2SP tlog-cosignature).
const algCosignature = 4

// CosignerKey is the key of a witness as other software of transparency logs writes it: the charter's key with the signature type
// of cosignatures (https://c2sp.org/tlog-cosignature).
func CosignerKey(k consent.VerifierKey) (string, error) {
	id, pub, err := cosigner(k)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s+%08x+%s", id.Name, id.Hash, base64.StdEncoding.EncodeToString(append([]byte{algCosignature}, pub...))), nil
}

func cosigner(k consent.VerifierKey) (consent.KeyID, ed25519.PublicKey, error) {
	pub, err := k.Public()
	if err != nil {
		return consent.KeyID{}, nil, err
	}
	sum := sha256.Sum256(slices.Concat([]byte(k.Name()+"\n"), []byte{algCosignature}, pub))
	return consent.KeyID{Name: k.Name(), Hash: binary.BigEndian.Uint32(sum[:])}, pub, nil
}

// plain is the part of a checkpoint that its agency made: the text and the first signature line.
func plain(msg []byte) (checkpoint, lines []byte) {
	if i := bytes.Index(msg, []byte("\n\n")); i >= 0 {
		if j := bytes.IndexByte(msg[i+2:], '\n'); j >= 0 {
			return msg[:i+2+j+1], msg[i+2+j+1:]
		}
	}
	return msg, nil
}

func cosignedText(checkpoint []byte, at uint64) []byte {
	text, _, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	return slices.Concat([]byte("cosignature/v1\ntime "+strconv.FormatUint(at, 10)+"\n"), text, []byte("\n"))
}

// Cosign makes a witness's signature line for a checkpoint. Whoever calls it has verified that the checkpoint follows from
// the last one of this docket that the key cosigned, and has that on the disk ([Witness]).
func Cosign(checkpoint []byte, k consent.Key, at time.Time) ([]byte, error) {
	id, _, err := cosigner(k.Verifier())
	if err != nil {
		return nil, err
	}
	text, _ := plain(checkpoint)
	raw := binary.BigEndian.AppendUint32(nil, id.Hash)
	raw = binary.BigEndian.AppendUint64(raw, uint64(at.Unix()))
	raw = append(raw, ed25519.Sign(k.Private(), cosignedText(text, uint64(at.Unix())))...)
	return []byte("— " + id.Name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"), nil
}

// OpenCosigned verifies a checkpoint of the agency's docket and the cosignatures on it. Lines of others than the witnesses given, which
// another version of the charter may name, are left out of the result's Note: where that is not msg, the message is not the one
// spelling of what it says under this charter. A witness's line that does not verify refuses the whole.
func OpenCosigned(msg []byte, a charter.Agency, witnesses []charter.Witness) (Cosigned, error) {
	if len(msg) > MaxCosigned {
		return Cosigned{}, consent.Refuse(consent.Oversize, "", "a checkpoint of %d bytes; the most is %d", len(msg), MaxCosigned)
	}
	text, lines := plain(msg)
	cp, err := ParseCheckpoint(text, a)
	if err != nil {
		return Cosigned{}, err
	}
	found := map[consent.KeyID]string{}
	for line := range strings.Lines(string(lines)) {
		id, _, ok := cosignature(line)
		if _, twice := found[id]; twice || !ok {
			return Cosigned{}, consent.Refuse(consent.Malformed, "", "%.60q is no cosignature of a checkpoint, or stands there twice", line)
		}
		if len(found) >= charter.MaxWitnesses {
			return Cosigned{}, consent.Refuse(consent.ExtraSignature, "", "more than %d cosignatures", charter.MaxWitnesses)
		}
		found[id] = line
	}
	c := Cosigned{Checkpoint: cp, Note: bytes.Clone(text)}
	for _, w := range witnesses {
		id, pub, err := cosigner(w.Key)
		if err != nil {
			return Cosigned{}, err
		}
		line, ok := found[id]
		if !ok {
			continue
		}
		_, raw, _ := cosignature(line)
		at := binary.BigEndian.Uint64(raw)
		if !ed25519.Verify(pub, cosignedText(text, at), raw[8:]) {
			return Cosigned{}, consent.Refuse(consent.BadSignature, "", "the cosignature of %s does not verify", w.Name)
		}
		c.At = append(c.At, time.Unix(int64(min(at, maxCosignedAt)), 0).UTC())
		c.Note = append(c.Note, line...)
		c.By = append(c.By, w.Key)
	}
	return c, nil
}

// cosignature takes a line apart: whose it is, and its time and signature.
func cosignature(line string) (id consent.KeyID, raw []byte, ok bool) {
	rest, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "— ")
	name, b64, split := strings.Cut(rest, " ")
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if !found || !split || !strings.HasSuffix(line, "\n") || err != nil || len(raw) != 4+8+ed25519.SignatureSize ||
		base64.StdEncoding.EncodeToString(raw) != b64 || raw[4] >= 0x80 {
		return id, nil, false
	}
	return consent.KeyID{Name: name, Hash: binary.BigEndian.Uint32(raw)}, raw[4:], true
}
