package docket

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// MaxCheckpoint is the most bytes of a checkpoint.
const MaxCheckpoint = 1024

// Origin is the first line of an agency's checkpoints.
func Origin(id consent.AgencyID) string { return "porchlight.docket/" + string(id) }

// NewKey makes a docket key that signs under the name of its origin.
func NewKey(rand io.Reader) (consent.Key, error) {
	k, err := consent.GenerateKey(rand, "docket")
	if err != nil {
		return consent.Key{}, err
	}
	pub, err := k.Verifier().Public()
	if err != nil {
		return consent.Key{}, err
	}
	return k.Renamed(Origin(consent.AgencyIDOf(pub)))
}

// A Checkpoint is a docket's signed word on its size and root. Those made by ParseCheckpoint were verified.
type Checkpoint struct {
	Agency consent.AgencyID
	Size   int64
	Root   tlog.Hash
}

func (c Checkpoint) text() string {
	return Origin(c.Agency) + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// SignCheckpoint signs the log as it stands with the docket key and remembers the result. Persist every entry
// first, and the checkpoint before it is shown to anybody.
func (l *Log) SignCheckpoint(key consent.Key) ([]byte, error) {
	if key.Verifier() != l.agency.Key {
		return nil, consent.Refuse(consent.BadKey, "", "%s is not the docket key of %s", key, l.agency.Name)
	}
	s, err := note.NewSigner(key.Encode())
	if err != nil {
		return nil, err
	}
	root, err := l.rootAt(l.size)
	if err != nil {
		return nil, err
	}
	msg, err := note.Sign(&note.Note{Text: Checkpoint{l.agency.ID(), l.size, root}.text()}, s)
	if err != nil {
		return nil, fmt.Errorf("signing the checkpoint of %s: %w", l.agency.Name, err)
	}
	l.checkpoint = msg
	return l.Checkpoint(), nil
}

// ParseCheckpoint reads and verifies a checkpoint of the agency's docket, in its one spelling and with
// the docket key's signature alone.
func ParseCheckpoint(msg []byte, a charter.Agency) (Checkpoint, error) {
	if len(msg) > MaxCheckpoint {
		return Checkpoint{}, consent.Refuse(consent.Oversize, "", "a checkpoint of %d bytes; the most is %d", len(msg), MaxCheckpoint)
	}
	v, err := a.Key.Verifier()
	if err != nil {
		return Checkpoint{}, err
	}
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		class := consent.Malformed
		if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
			class = consent.MissingSignature
		}
		if _, ok := errors.AsType[*note.InvalidSignatureError](err); ok {
			class = consent.BadSignature
		}
		return Checkpoint{}, consent.Refuse(class, "", "checkpoint of %s: %w", a.Name, err)
	}
	if len(n.UnverifiedSigs) > 0 {
		return Checkpoint{}, consent.Refuse(consent.ExtraSignature, "", "the checkpoint carries the signature of %.60s", n.UnverifiedSigs[0].Name)
	}
	cp := Checkpoint{Agency: a.ID()}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 {
		return Checkpoint{}, consent.Refuse(consent.Malformed, "", "a checkpoint has three lines: origin, size, root")
	}
	if lines[0] != Origin(cp.Agency) {
		return Checkpoint{}, consent.Refuse(consent.WrongOrigin, "", "a checkpoint of %.80q, not of %s", lines[0], Origin(cp.Agency))
	}
	if cp.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || cp.Size < 0 || cp.Size > MaxSize {
		return Checkpoint{}, consent.Refuse(consent.BadValue, "size", "%.40q is no size of a docket", lines[1])
	}
	if cp.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return Checkpoint{}, consent.Refuse(consent.BadValue, "root", "%.60q is no root", lines[2])
	}
	// note.Open takes a line twice and loose base64; the one spelling has neither.
	raw, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil || len(raw) < 4 || binary.BigEndian.Uint32(raw) != n.Sigs[0].Hash ||
		cp.text()+"\n— "+n.Sigs[0].Name+" "+base64.StdEncoding.EncodeToString(raw)+"\n" != string(msg) {
		return Checkpoint{}, consent.Refuse(consent.NotCanonical, "", "the checkpoint is not the one spelling of its content")
	}
	return cp, nil
}

// Consistent holds a verified checkpoint of this docket against the log. Nil: the log has it as a
// prefix. Class fork: the same size has another root, which the agency signed, so together with the
// log's own checkpoint it proves misconduct. Class behind: it is longer than the log, and nothing is proven.
func (l *Log) Consistent(cp Checkpoint) error {
	if cp.Agency != l.agency.ID() {
		return consent.Refuse(consent.WrongOrigin, "", "a checkpoint of %s, not of %s", cp.Agency, l.agency.ID())
	}
	if cp.Size > l.size {
		return consent.Refuse(consent.Behind, "", "the checkpoint is of %d entries, the log has %d; fetch the rest", cp.Size, l.size)
	}
	root, err := l.rootAt(cp.Size)
	if err != nil {
		return err
	}
	return sameRoot(Checkpoint{cp.Agency, cp.Size, root}, cp)
}

func sameRoot(a, b Checkpoint) error {
	if a.Root != b.Root {
		return consent.Refuse(consent.Fork, "", "the docket %s has two roots for %d entries, %s and %s", a.Agency, a.Size, a.Root, b.Root)
	}
	return nil
}

// Prove returns the proof that the tree of the first older entries is a prefix of the tree of the first
// newer ones (RFC 6962, section 2.1.2).
func (l *Log) Prove(older, newer int64) (tlog.TreeProof, error) {
	if older < 1 || older > newer || newer > l.size {
		return nil, consent.Refuse(consent.BadValue, "size", "no proof from %d to %d entries in a log of %d", older, newer, l.size)
	}
	return tlog.ProveTree(newer, older, l.hashes)
}

// CheckConsistency verifies that proof against two verified checkpoints, older first.
func CheckConsistency(older, newer Checkpoint, proof tlog.TreeProof) error {
	if older.Agency != newer.Agency {
		return consent.Refuse(consent.WrongOrigin, "", "checkpoints of two dockets, %s and %s", older.Agency, newer.Agency)
	}
	if older.Size == newer.Size {
		return sameRoot(older, newer)
	}
	if older.Size < 1 || older.Size > newer.Size {
		return consent.Refuse(consent.BadProof, "", "no proof leads from %d to %d entries", older.Size, newer.Size)
	}
	if err := tlog.CheckTree(proof, newer.Size, newer.Root, older.Size, older.Root); err != nil {
		return consent.Refuse(consent.BadProof, "", "from %d to %d entries: %w", older.Size, newer.Size, err)
	}
	return nil
}
