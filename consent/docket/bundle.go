package docket

import (
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// Bounds of a bundle.
const (
	MaxBundle        = 32 << 10 // bytes
	MaxBundleEntries = 16
	maxProof         = 40 // hashes; enough for MaxSize
)

// A Bundle is an entry as it travels. One that was parsed is well-formed; only Verify says that it is true.
type Bundle struct{ wire bundle }

type bundle struct {
	Agency     consent.AgencyID `json:"agency"`
	Checkpoint string           `json:"checkpoint"`
	Entries    []proven         `json:"entries"`
}

type proven struct {
	Index int64       `json:"index"`
	Note  string      `json:"note"`
	Proof []tlog.Hash `json:"proof"`
}

// Bundle returns a sound entry as a message under a checkpoint of the log, with its cosignatures: nil is the newest.
func (l *Log) Bundle(index int64, checkpoint []byte) ([]byte, error) {
	if checkpoint == nil {
		checkpoint = l.checkpoint
	}
	if checkpoint == nil {
		return nil, consent.Refuse(consent.BadCheckpoint, "", "the docket of %s has no checkpoint yet", l.agency.Name)
	}
	own, _ := plain(checkpoint)
	cp, err := ParseCheckpoint(own, l.agency)
	if err == nil {
		err = l.Consistent(cp)
	}
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= cp.Size {
		return nil, consent.Refuse(consent.BadValue, "index", "entry %d is not under the checkpoint of %d entries", index, cp.Size)
	}
	if class := l.refused[index]; class != "" {
		return nil, consent.Refuse(class, "index", "entry %d breaks the docket's rules and is shown to nobody", index)
	}
	subject, err := l.entry(index)
	if err != nil {
		return nil, err
	}
	e, err := read(subject)
	if err != nil {
		return nil, err
	}
	// Key to enrolment is one to one for the life of a log, so the officers of today say who enrolled
	// whom at any index.
	need, err := l.officers.reliedOn(e)
	if err != nil {
		return nil, err
	}
	w := bundle{Agency: l.agency.ID(), Checkpoint: string(checkpoint)}
	for _, i := range append(need, index) {
		msg, err := l.entry(i)
		if err != nil {
			return nil, err
		}
		proof, err := tlog.ProveRecord(cp.Size, i, l.hashes)
		if err != nil {
			return nil, err
		}
		w.Entries = append(w.Entries, proven{i, string(msg), append([]tlog.Hash{}, proof...)})
	}
	b, err := consent.EncodeStrict(w)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxBundle {
		return nil, consent.Refuse(consent.Oversize, "", "entry %d and what it relies on have %d bytes; the most is %d. "+
			"A charter that names today's supervisors makes it shorter", index, len(b), MaxBundle)
	}
	return b, nil
}

func (l *Log) entry(i int64) ([]byte, error) {
	if l.store == nil {
		return nil, fmt.Errorf("entry %d of the docket of %s: the log has no store", i, l.agency.Name)
	}
	msg, err := l.store.Entry(i)
	if err != nil {
		return nil, fmt.Errorf("entry %d of the docket of %s: %w", i, l.agency.Name, err)
	}
	if at, ok := l.leaves[tlog.RecordHash(msg)]; !ok || at != i {
		return nil, fmt.Errorf("entry %d of the docket of %s: the store holds other bytes than the log was built of; restore it from a peer", i, l.agency.Name)
	}
	return msg, nil
}

// reliedOn lists, in ascending order, the entries by which the entry's signers came to be enrolled.
func (o Officers) reliedOn(e entry) ([]int64, error) {
	var need []int64
	var keys []consent.VerifierKey
	for _, s := range e.signers {
		keys = append(keys, s.key)
	}
	if e.officer != nil && e.officer.Action == Revoke {
		keys = append(keys, e.officer.Key)
	}
	for len(keys) > 0 {
		k := keys[0]
		keys = keys[1:]
		en, ok := o.get(k)
		if !ok {
			return nil, consent.Refuse(consent.UnknownOfficer, "", "no entry enrols %s", k.Name())
		}
		if en.Index < 0 || slices.Contains(need, en.Index) {
			continue
		}
		if need = append(need, en.Index); len(need) >= MaxBundleEntries {
			return nil, consent.Refuse(consent.Oversize, "", "more than %d entries enrol the signers; "+
				"a charter that names today's supervisors makes it fewer", MaxBundleEntries-1)
		}
		keys = append(keys, en.by)
	}
	slices.Sort(need)
	return need, nil
}

// ParseBundle reads the one text of a bundle. Nothing in it is verified.
func ParseBundle(b []byte) (*Bundle, error) {
	var w bundle
	if err := consent.DecodeStrict(b, &w, MaxBundle); err != nil {
		return nil, err
	}
	if _, err := consent.ParseAgencyID(string(w.Agency)); err != nil {
		return nil, err
	}
	if len(w.Entries) == 0 || len(w.Entries) > MaxBundleEntries {
		return nil, consent.Refuse(consent.BadValue, "entries", "%d entries; 1 to %d may be", len(w.Entries), MaxBundleEntries)
	}
	for i, e := range w.Entries {
		if e.Index < 0 || e.Index >= MaxSize || i > 0 && e.Index <= w.Entries[i-1].Index || len(e.Proof) > maxProof {
			return nil, consent.Refuse(consent.BadValue, "entries", "entries stand in the order of the log, each once")
		}
	}
	return &Bundle{w}, nil
}

// Agency returns whose docket the bundle says it is of; look it up in the charter and Verify.
func (b *Bundle) Agency() consent.AgencyID { return b.wire.Agency }

// Subject returns the note that the bundle is about, not verified.
func (b *Bundle) Subject() []byte { return []byte(b.wire.Entries[len(b.wire.Entries)-1].Note) }

// Checkpoint returns the checkpoint's note with its cosignatures, not verified.
func (b *Bundle) Checkpoint() []byte { return []byte(b.wire.Checkpoint) }

// Verify needs no history and no clock: the agency signed the checkpoint (whether enough witnesses cosigned it is for
// [OpenCosigned] and the charter to say), every entry is in the tree
// under it, and the subject's signatures are those of keys that the entries enrol. The officers returned
// are those the bundle shows; a revocation it does not show takes the log to know of.
func (b *Bundle) Verify(a charter.Agency) (subject []byte, index int64, officers Officers, err error) {
	fail := func(err error) ([]byte, int64, Officers, error) { return nil, 0, Officers{}, err }
	if a.ID() == "" || b.wire.Agency != a.ID() {
		return fail(consent.Refuse(consent.UnknownAgency, "agency", "a bundle of %s, not of %s", b.wire.Agency, a.ID()))
	}
	own, _ := plain(b.Checkpoint())
	cp, err := ParseCheckpoint(own, a)
	if err != nil {
		return fail(err)
	}
	officers = firstOfficers(a)
	var last entry
	var shown []int64
	for i, p := range b.wire.Entries {
		if p.Index >= cp.Size {
			return fail(consent.Refuse(consent.BadProof, "index", "entry %d is not under a checkpoint of %d entries", p.Index, cp.Size))
		}
		if err := tlog.CheckRecord(p.Proof, cp.Size, cp.Root, p.Index, tlog.RecordHash([]byte(p.Note))); err != nil {
			return fail(consent.Refuse(consent.BadProof, "proof", "entry %d: %w", p.Index, err))
		}
		e, err := read([]byte(p.Note))
		if err != nil {
			return fail(err)
		}
		if err := officers.admit(a, e); err != nil {
			return fail(err)
		}
		if i == len(b.wire.Entries)-1 {
			last, index = e, p.Index
			break
		}
		if e.officer == nil || e.officer.Action != Enrol {
			return fail(consent.Refuse(consent.BadValue, "entries", "entry %d enrols nobody; the subject does not rely on it", p.Index))
		}
		officers.apply(p.Index, e.officer)
		shown = append(shown, p.Index)
	}
	// A bundle with more than it needs would be a second message of the same entry.
	need, err := officers.reliedOn(last)
	if err != nil {
		return fail(err)
	}
	if !slices.Equal(need, shown) {
		return fail(consent.Refuse(consent.NotCanonical, "entries", "the bundle shows entries %v; the subject relies on %v", shown, need))
	}
	if last.officer != nil {
		officers.apply(index, last.officer)
	}
	return b.Subject(), index, officers, nil
}
