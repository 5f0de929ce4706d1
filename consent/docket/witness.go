package docket

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// MaxAdd is the most bytes of a question to a witness.
const MaxAdd = 8 << 10

// An Add asks a witness to cosign a checkpoint: the body of C2SP tlog-witness's add-checkpoint
// (https://c2sp.org/tlog-witness),
//
//	old <size that the witness cosigned last>
//	<base64 of a hash of the consistency proof>
//	…
//
//	<checkpoint>
type Add struct {
	Old        int64
	Proof      tlog.TreeProof
	Checkpoint []byte // the agency's, without cosignatures
}

// Encode writes the question.
func (q Add) Encode() []byte {
	var b bytes.Buffer
	b.WriteString("old " + strconv.FormatInt(q.Old, 10) + "\n")
	for _, h := range q.Proof {
		b.WriteString(h.String() + "\n")
	}
	b.WriteByte('\n')
	b.Write(q.Checkpoint)
	return b.Bytes()
}

// ParseAdd reads a question. Nothing in it is verified.
func ParseAdd(b []byte) (Add, error) {
	bad := func(what string) (Add, error) {
		return Add{}, consent.Refuse(consent.Malformed, "", "a question to a witness %s", what)
	}
	if len(b) > MaxAdd {
		return Add{}, consent.Refuse(consent.Oversize, "", "a question of %d bytes; the most is %d", len(b), MaxAdd)
	}
	head, checkpoint, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		return bad("has no empty line before its checkpoint")
	}
	lines := strings.Split(string(head), "\n")
	size, ok := strings.CutPrefix(lines[0], "old ")
	old, err := strconv.ParseInt(size, 10, 64)
	if !ok || err != nil || old < 0 || old > MaxSize || strconv.FormatInt(old, 10) != size {
		return bad("does not begin with the size that was cosigned last")
	}
	if len(lines)-1 > maxProof*2 {
		return bad("has too long a proof")
	}
	q := Add{Old: old, Checkpoint: bytes.Clone(checkpoint)}
	for _, l := range lines[1:] {
		h, err := tlog.ParseHash(l)
		if err != nil || base64.StdEncoding.EncodeToString(h[:]) != l {
			return bad("has a proof that is not made of hashes")
		}
		q.Proof = append(q.Proof, h)
	}
	return q, nil
}

// A Witness is what a witness remembers of one docket: the last checkpoint it cosigned. The zero Witness has cosigned
// nothing. It is on the disk before a cosignature of it leaves, so that no crash makes a witness contradict itself.
type Witness struct {
	Size int64     `json:"size"`
	Root tlog.Hash `json:"root"`
	Note string    `json:"checkpoint"`
}

// Admit says what the witness remembers after cosigning the checkpoint of a question; the caller persists that and
// then calls [Cosign]. An error of class behind says that Old is not what the witness cosigned last. One of class
// fork says that the agency signed two versions of its docket: a proof of it comes with [TwoRoots].
func (w Witness) Admit(q Add, a charter.Agency) (Witness, error) {
	cp, err := ParseCheckpoint(q.Checkpoint, a)
	if err != nil {
		return w, err
	}
	next := Witness{cp.Size, cp.Root, string(q.Checkpoint)}
	switch {
	case cp.Size == w.Size && w.Size > 0:
		return next, sameRoot(Checkpoint{cp.Agency, w.Size, w.Root}, cp)
	case q.Old != w.Size:
		return w, consent.Refuse(consent.Behind, "old", "%d; this witness cosigned %d entries last", q.Old, w.Size)
	case cp.Size < w.Size:
		return w, consent.Refuse(consent.BadProof, "", "a checkpoint of %d entries, after one of %d was cosigned", cp.Size, w.Size)
	case w.Size == 0 && len(q.Proof) > 0:
		return w, consent.Refuse(consent.BadProof, "", "the empty docket is a part of every other; there is nothing to prove")
	case w.Size == 0:
		return next, nil
	}
	return next, CheckConsistency(Checkpoint{cp.Agency, w.Size, w.Root}, cp, q.Proof)
}
