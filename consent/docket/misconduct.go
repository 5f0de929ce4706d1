package docket

import (
	"bytes"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// MaxMisconduct is the most bytes of a proof of misconduct.
const MaxMisconduct = 16 << 10

// misconductHeader is the first line of a proof.
const misconductHeader = "porchlight/misconduct/v1\n"

// IsMisconduct tells a proof of misconduct from other messages by its first line.
func IsMisconduct(msg []byte) bool { return bytes.HasPrefix(msg, []byte(misconductHeader)) }

// Misconduct proves that an agency signed two versions of its docket. It needs nobody's signature but the agency's: the
// two checkpoints. That they contradict each other is shown in one of two ways.
//
// Roots: the tree under Other, of at least as many entries as One, begins with another tree than the one that One names. Root is
// that of the first One.Size entries under Other, and Proof the consistency proof from it to Other (RFC 6962, section 2.1.2). Where
// the two are of one size, Root is Other's and there is no proof.
//
// Entries: both trees have an entry Index, and not the same one.
type Misconduct struct {
	Agency  consent.AgencyID `json:"agency"`
	One     string           `json:"one"`
	Other   string           `json:"other"`
	Roots   *TwoRoots        `json:"roots,omitempty"`
	Entries *TwoEntries      `json:"entries,omitempty"`
}

// TwoRoots shows that One is no prefix of Other.
type TwoRoots struct {
	Root  tlog.Hash   `json:"root"`
	Proof []tlog.Hash `json:"proof"`
}

// TwoEntries shows two leaves at one place, by their hashes and inclusion proofs (RFC 6962, section 2.1.1).
type TwoEntries struct {
	Index      int64       `json:"index"`
	OneLeaf    tlog.Hash   `json:"one_leaf"`
	OneProof   []tlog.Hash `json:"one_proof"`
	OtherLeaf  tlog.Hash   `json:"other_leaf"`
	OtherProof []tlog.Hash `json:"other_proof"`
}

// Encode writes the proof in its one text.
func (m Misconduct) Encode() ([]byte, error) {
	js, err := consent.EncodeStrict(m)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(misconductHeader), js, []byte("\n")), nil
}

// ParseMisconduct reads a proof. Nothing in it is verified.
func ParseMisconduct(msg []byte) (Misconduct, error) {
	var m Misconduct
	if len(msg) > MaxMisconduct {
		return m, consent.Refuse(consent.Oversize, "", "a proof of %d bytes; the most is %d", len(msg), MaxMisconduct)
	}
	js, ok := bytes.CutPrefix(msg, []byte(misconductHeader))
	js, ended := bytes.CutSuffix(js, []byte("\n"))
	if !ok || !ended {
		return m, consent.Refuse(consent.Malformed, "", "no header line %q, or no end of line", misconductHeader)
	}
	if err := consent.DecodeStrict(js, &m, MaxMisconduct); err != nil {
		return m, err
	}
	if (m.Roots == nil) == (m.Entries == nil) {
		return m, consent.Refuse(consent.BadValue, "", "a proof shows either two roots or two entries")
	}
	_, err := consent.ParseAgencyID(string(m.Agency))
	return m, err
}

// Verify returns nil where the proof holds: whatever else anybody says, the agency signed two versions. Refusals are the
// same for everybody who knows the agency's key.
func (m Misconduct) Verify(a charter.Agency) error {
	if a.ID() == "" || a.ID() != m.Agency {
		return consent.Refuse(consent.UnknownAgency, "agency", "a proof about %s, not %s", m.Agency, a.ID())
	}
	one, err := ParseCheckpoint([]byte(m.One), a)
	if err != nil {
		return err
	}
	other, err := ParseCheckpoint([]byte(m.Other), a)
	if err != nil {
		return err
	}
	no := func(field, why string) error { return consent.Refuse(consent.BadProof, field, "%s", why) }
	if m.Roots != nil {
		switch r := m.Roots; {
		case one.Size < 1 || one.Size > other.Size:
			return no("one", "the first checkpoint is of at least one entry and at most as many as the other")
		case r.Root == one.Root:
			return no("roots", "both trees begin alike: that is how a docket grows")
		case len(r.Proof) > maxProof*2:
			return no("roots", "the proof is too long")
		case one.Size == other.Size:
			if r.Root != other.Root || len(r.Proof) > 0 {
				return no("roots", "of two trees of one size the root is the other's, and needs no proof")
			}
			return nil
		default:
			return CheckConsistency(Checkpoint{one.Agency, one.Size, r.Root}, other, r.Proof)
		}
	}
	e := m.Entries
	switch {
	case e.Index < 0 || e.Index >= min(one.Size, other.Size):
		return no("entries", "one of the trees has no such entry")
	case one.Size >= other.Size:
		return no("one", "of trees of one size the roots show it; the first is the smaller")
	case e.OneLeaf == e.OtherLeaf:
		return no("entries", "both trees have the same entry there")
	case len(e.OneProof) > maxProof || len(e.OtherProof) > maxProof:
		return no("entries", "a proof is too long")
	}
	if err := tlog.CheckRecord(e.OneProof, one.Size, one.Root, e.Index, e.OneLeaf); err != nil {
		return no("one_proof", err.Error())
	}
	if err := tlog.CheckRecord(e.OtherProof, other.Size, other.Root, e.Index, e.OtherLeaf); err != nil {
		return no("other_proof", err.Error())
	}
	return nil
}

// Contradiction proves that a verified checkpoint of at most as many entries as the log's newest contradicts the log. It is for a
// checkpoint that Consistent found to be a fork.
func (l *Log) Contradiction(note []byte) (Misconduct, error) {
	m, own, err := l.against(note)
	if err != nil {
		return m, err
	}
	cp, err := ParseCheckpoint([]byte(m.One), l.agency)
	if err != nil {
		return m, err
	}
	root, err := l.rootAt(cp.Size)
	if err != nil {
		return m, err
	}
	m.Roots = &TwoRoots{Root: root, Proof: []tlog.Hash{}}
	if cp.Size < own.Size {
		proof, err := tlog.ProveTree(own.Size, cp.Size, l.hashes)
		if err != nil {
			return m, err
		}
		m.Roots.Proof = proof
	}
	return m, m.Verify(l.agency)
}

// Contradicting proves that two checkpoints of one size with two roots contradict each other.
func Contradicting(a charter.Agency, one, other []byte) (Misconduct, error) {
	one, _ = plain(one)
	other, _ = plain(other)
	cp, err := ParseCheckpoint(other, a)
	if err != nil {
		return Misconduct{}, err
	}
	m := Misconduct{Agency: a.ID(), One: string(one), Other: string(other), Roots: &TwoRoots{Root: cp.Root, Proof: []tlog.Hash{}}}
	return m, m.Verify(a)
}

// against begins a proof of the log's own checkpoint and another, smaller one first.
func (l *Log) against(note []byte) (m Misconduct, own Checkpoint, err error) {
	mine, _ := plain(l.checkpoint)
	theirs, _ := plain(note)
	if own, err = ParseCheckpoint(mine, l.agency); err != nil {
		return m, own, err
	}
	return Misconduct{Agency: l.agency.ID(), One: string(theirs), Other: string(mine)}, own, nil
}

// Contradiction proves that a bundle that Verify accepted has another entry at its place than the log, under a checkpoint
// of more entries than the log has. ok is false where it has the log's own, or comes after them.
func (b *Bundle) Contradiction(l *Log) (m Misconduct, ok bool, err error) {
	m, own, err := l.against([]byte(b.wire.Checkpoint))
	if err != nil {
		return m, false, err
	}
	for _, p := range b.wire.Entries {
		if p.Index >= own.Size {
			continue
		}
		leaf, proof, err := l.leaf(p.Index, own.Size)
		theirs := tlog.RecordHash([]byte(p.Note))
		if err != nil || leaf == theirs {
			continue
		}
		m.One, m.Other = m.Other, m.One
		m.Entries = &TwoEntries{Index: p.Index, OneLeaf: leaf, OneProof: proof, OtherLeaf: theirs, OtherProof: p.Proof}
		return m, true, m.Verify(l.agency)
	}
	return m, false, nil
}

func (l *Log) leaf(i, size int64) (tlog.Hash, tlog.RecordProof, error) {
	h, err := l.Leaf(i)
	if err != nil {
		return h, nil, err
	}
	proof, err := tlog.ProveRecord(size, i, l.hashes)
	return h, append(tlog.RecordProof{}, proof...), err
}
