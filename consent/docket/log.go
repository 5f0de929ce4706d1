package docket

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// MaxSize is the most entries that a docket may claim to have.
const MaxSize = 1 << 32

// ClockSkew is how far ahead of the docket's clock an officer's may be.
const ClockSkew = 5 * time.Minute

// A Store gives back the notes of a log, by index from 0. Whoever keeps the log writes them: the
// agency's node before it calls [Log.Commit], a peer together with the checkpoint of [Log.Extend].
type Store interface {
	Entry(i int64) ([]byte, error)
}

// RequestState is what became of a request in its docket.
type RequestState string

// The states of a request; "" is one the docket does not hold.
const (
	StateOpen       RequestState = "open"
	StateSuperseded RequestState = "superseded"
	StateResolved   RequestState = "resolved"
)

// A Log is a docket as its agency or any peer keeps it. In memory it holds hashes, keys and the states of
// requests, some 200 bytes an entry; notes stay in the Store. It persists nothing, and is not safe for
// use by several goroutines at once.
type Log struct {
	agency     charter.Agency
	store      Store
	size       int64
	hashes     hashes
	leaves     map[tlog.Hash]int64
	officers   Officers
	requests   map[int64]RequestState // by index, sound requests only
	refused    map[int64]consent.Class
	checkpoint []byte
}

// hashes are the stored hashes of a tree, in tlog's order.
type hashes []tlog.Hash

// ReadHashes gives tlog the hashes it asks for.
func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(h)) {
			return nil, fmt.Errorf("no stored hash %d of %d", x, len(h))
		}
		out[i] = h[x]
	}
	return out, nil
}

// Open rebuilds a log from the first size entries of store, as [Log.Extend] would have taken them. The
// caller holds the result against the newest checkpoint it kept, by [Log.Resume]. The agency is that of
// charter.Chain.DocketAgency.
func Open(a charter.Agency, store Store, size int64) (*Log, error) {
	if _, err := a.Key.Public(); err != nil {
		return nil, err
	}
	if size < 0 || size > MaxSize || store == nil && size > 0 {
		return nil, consent.Refuse(consent.BadValue, "size", "a docket of %d entries", size)
	}
	l := &Log{agency: a, store: store, leaves: map[tlog.Hash]int64{}, officers: firstOfficers(a),
		requests: map[int64]RequestState{}, refused: map[int64]consent.Class{}}
	for i := int64(0); i < size; i += ahead {
		var msgs [][]byte
		for k := i; k < min(i+ahead, size); k++ {
			msg, err := store.Entry(k)
			if err != nil {
				return nil, fmt.Errorf("reading entry %d of the docket of %s: %w", k, a.Name, err)
			}
			msgs = append(msgs, msg)
		}
		for k, r := range readAll(msgs) {
			if _, err := l.takeRead(msgs[k], r); err != nil {
				return nil, fmt.Errorf("entry %d of the docket of %s: %w", i+int64(k), a.Name, err)
			}
		}
	}
	return l, nil
}

// ahead is how many entries are read before they are taken in one after the other.
const ahead = 256

// readAll reads entries on all cores: verifying signatures is nearly all the work, and needs nothing of the log.
func readAll(msgs [][]byte) []reading {
	all := make([]reading, len(msgs))
	var next atomic.Int64
	var g sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(msgs)) {
		g.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(msgs)); i = next.Add(1) - 1 {
				all[i].entry, all[i].err = read(msgs[i])
			}
		})
	}
	g.Wait()
	return all
}

// Resume holds the log against a checkpoint of its size that was kept from before, and goes on with it.
func (l *Log) Resume(checkpoint []byte) error {
	cp, err := ParseCheckpoint(checkpoint, l.agency)
	if err != nil {
		return err
	}
	if cp.Size != l.size {
		return consent.Refuse(consent.BadCheckpoint, "size", "a checkpoint of %d entries; the log has %d", cp.Size, l.size)
	}
	if err := l.Consistent(cp); err != nil {
		return err
	}
	l.checkpoint = bytes.Clone(checkpoint)
	return nil
}

// Agency returns what the charter says of whose docket this is.
func (l *Log) Agency() charter.Agency { return l.agency }

// Size returns the number of entries.
func (l *Log) Size() int64 { return l.size }

// Root returns the root of the tree over all entries.
func (l *Log) Root() tlog.Hash { h, _ := l.rootAt(l.size); return h }

func (l *Log) rootAt(size int64) (tlog.Hash, error) { return tlog.TreeHash(size, l.hashes) }

// Checkpoint returns the newest checkpoint that this log made or took in, nil before the first. It may
// be of a smaller size than the log, between Commit and SignCheckpoint.
func (l *Log) Checkpoint() []byte { return bytes.Clone(l.checkpoint) }

// Officers returns the keys as they are after the last entry.
func (l *Log) Officers() Officers { return l.officers.clone() }

// Refused returns the class of the rule that entry i breaks, "" for a sound one.
func (l *Log) Refused(i int64) consent.Class { return l.refused[i] }

// Find returns the index of a note in the log.
func (l *Log) Find(msg []byte) (index int64, ok bool) {
	index, ok = l.leaves[tlog.RecordHash(msg)]
	return index, ok
}

// Request returns where a sound request stands in the log and what became of it; "" when there is none.
func (l *Log) Request(id consent.RequestID) (index int64, state RequestState) {
	h, err := consent.ParseHash(string(id))
	if err != nil {
		return 0, ""
	}
	index, ok := l.leaves[tlog.Hash(h)]
	if !ok {
		return 0, ""
	}
	return index, l.requests[index]
}

// A Pending is an entry that was checked and not yet taken in. The zero Pending is refused by Commit.
type Pending struct {
	Index int64
	Note  []byte
	log   *Log
}

// Prepare checks the next entry of the agency's own docket: that it may be appended now, at this place.
// The log is unchanged. Persist the note at its Index, then call Commit, then SignCheckpoint: what was
// signed before it was safe would be a fork after a crash.
func (l *Log) Prepare(msg []byte, now time.Time) (Pending, error) {
	if l.size >= MaxSize {
		return Pending{}, consent.Refuse(consent.Oversize, "", "the docket is full")
	}
	e, err := l.judge(msg, readAll([][]byte{msg})[0])
	if err != nil {
		return Pending{}, err
	}
	if e.created.After(now.Add(ClockSkew)) {
		return Pending{}, consent.Refuse(consent.NotYetValid, "created", "%s is ahead of this clock, %s", e.created, consent.At(now))
	}
	// An enrolment that is over today cannot be stretched by dating an entry back.
	for _, s := range e.signers {
		if err := l.officers.Check(s.key, s.role, consent.At(now)); err != nil {
			return Pending{}, err
		}
	}
	return Pending{Index: l.size, Note: bytes.Clone(msg), log: l}, nil
}

// Commit takes in an entry that Prepare checked. It fails only when the log has changed since.
func (l *Log) Commit(p Pending) error {
	if p.log != l || p.Index != l.size {
		return consent.Refuse(consent.BadValue, "", "entry %d was prepared for another state of the docket than one of %d entries", p.Index, l.size)
	}
	_, err := l.take(p.Note)
	return err
}

// Append is Prepare and Commit in one, for a log whose store needs no care.
func (l *Log) Append(msg []byte, now time.Time) (index int64, err error) {
	p, err := l.Prepare(msg, now)
	if err != nil {
		return 0, err
	}
	return p.Index, l.Commit(p)
}

// Extend takes in the entries that follow the log's last under a checkpoint of exactly the size they
// lead to, all of them or none. Entries that break the rules become opaque leaves. A checkpoint whose
// root the entries do not reproduce is of class bad-checkpoint; who sent them may have changed them, so it
// proves nothing about the agency.
func (l *Log) Extend(entries [][]byte, checkpoint []byte) error {
	cp, err := ParseCheckpoint(checkpoint, l.agency)
	if err != nil {
		return err
	}
	if cp.Size != l.size+int64(len(entries)) {
		return consent.Refuse(consent.BadCheckpoint, "size", "a checkpoint of %d entries; %d and %d more do not lead to it", cp.Size, l.size, len(entries))
	}
	if len(entries) == 0 {
		if err := l.Consistent(cp); err != nil {
			return err
		}
		l.checkpoint = bytes.Clone(checkpoint)
		return nil
	}
	// The root is computed before anything is taken in: hashing is cheap, and it settles whether the
	// rest is worth it.
	grown := l.hashes[:len(l.hashes):len(l.hashes)]
	for i, msg := range entries {
		if len(msg) > consent.MaxNote {
			return consent.Refuse(consent.Oversize, "", "entry %d has %d bytes; the most is %d", l.size+int64(i), len(msg), consent.MaxNote)
		}
		more, err := tlog.StoredHashes(l.size+int64(i), msg, grown)
		if err != nil {
			return err
		}
		grown = append(grown, more...)
	}
	root, err := tlog.TreeHash(cp.Size, grown)
	if err != nil {
		return err
	}
	if root != cp.Root {
		return consent.Refuse(consent.BadCheckpoint, "root", "the entries lead to another root than the checkpoint of %d entries names", cp.Size)
	}
	for from := range slices.Chunk(entries, ahead) {
		for i, r := range readAll(from) {
			if _, err := l.takeRead(from[i], r); err != nil {
				// Only hashing can fail here, and it has just been done with the same input.
				return fmt.Errorf("entry %d: %w", l.size, err)
			}
		}
	}
	l.checkpoint = bytes.Clone(checkpoint)
	return nil
}

// take adds a leaf, with its effect if it is sound.
func (l *Log) take(msg []byte) (int64, error) { return l.takeRead(msg, readAll([][]byte{msg})[0]) }

func (l *Log) takeRead(msg []byte, r reading) (int64, error) {
	if len(msg) > consent.MaxNote {
		return 0, consent.Refuse(consent.Oversize, "", "%d bytes; the most is %d", len(msg), consent.MaxNote)
	}
	more, err := tlog.StoredHashes(l.size, msg, l.hashes)
	if err != nil {
		return 0, err
	}
	e, err := l.judge(msg, r)
	index := l.size
	if err != nil {
		l.refused[index] = consent.ClassOf(err)
	} else {
		l.apply(index, e)
	}
	l.hashes = append(l.hashes, more...)
	h := tlog.RecordHash(msg)
	if _, have := l.leaves[h]; !have {
		l.leaves[h] = index
	}
	l.size++
	return index, nil
}

// An entry is one sound entry taken apart.
type entry struct {
	created consent.Time
	signers []signer
	officer *Officer
	asks    bool
	open    []consent.RequestID // requests that have to be open; the first is ended
	state   RequestState        // that it comes to
}

type signer struct {
	key  consent.VerifierKey
	role Role
}

// read opens an entry and verifies its signatures; what the log says of it is left to judge.
func read(msg []byte) (entry, error) {
	kind, err := consent.Peek(msg)
	if err != nil {
		return entry{}, err
	}
	switch kind {
	case "officer":
		o, err := OpenOfficer(msg)
		return entry{created: o.Created, signers: []signer{{o.By, RoleSupervisor}}, officer: &o}, err
	case "request":
		a, err := consent.Open(msg, func(a asking) ([]consent.VerifierKey, error) {
			return []consent.VerifierKey{a.Officer, a.Supervisor}, nil
		})
		return entry{created: a.Created, signers: []signer{{a.Officer, RoleOfficer}, {a.Supervisor, RoleSupervisor}}, asks: true}, err
	case "supersede":
		s, err := OpenSupersede(msg)
		return entry{created: s.Created, signers: []signer{{s.Officer, RoleOfficer}, {s.Supervisor, RoleSupervisor}},
			open: []consent.RequestID{s.Request, s.Replacement}, state: StateSuperseded}, err
	case "resolve":
		r, err := OpenResolve(msg)
		return entry{created: r.Created, signers: []signer{{r.Officer, RoleOfficer}}, open: []consent.RequestID{r.Request}, state: StateResolved}, err
	}
	return entry{}, consent.Refuse(consent.WrongKind, "", "a %s is no entry of a docket", kind)
}

// reading is what read returned for an entry.
type reading struct {
	entry entry
	err   error
}

// judge holds the next entry, as it was read, against the log as it is.
func (l *Log) judge(msg []byte, r reading) (entry, error) {
	if i, ok := l.leaves[tlog.RecordHash(msg)]; ok {
		return entry{}, consent.Refuse(consent.DuplicateEntry, "", "the same bytes are entry %d", i)
	}
	if r.err != nil {
		return entry{}, r.err
	}
	e := r.entry
	if err := l.officers.admit(l.agency, e); err != nil {
		return entry{}, err
	}
	for _, id := range e.open {
		switch _, state := l.Request(id); state {
		case StateOpen:
		case "":
			return entry{}, consent.Refuse(consent.UnknownRequest, "request", "the docket holds no request %.16s…", string(id))
		default:
			return entry{}, consent.Refuse(consent.ClosedRequest, "request", "request %.16s… is %s already", string(id), state)
		}
	}
	return e, nil
}

// admit holds an entry's signers, and the key it enrols or revokes, against the officers before it.
func (o Officers) admit(a charter.Agency, e entry) error {
	for _, s := range e.signers {
		if err := o.Check(s.key, s.role, e.created); err != nil {
			return err
		}
	}
	if e.officer == nil {
		return nil
	}
	have, known := o.get(e.officer.Key)
	switch {
	case e.officer.Key.Same(a.Key):
		return consent.Refuse(consent.WrongRole, "key", "the docket key is no officer's")
	case e.officer.Action == Enrol && known && have.Revoked:
		return consent.Refuse(consent.RevokedOfficer, "key", "the key of %s was revoked and is not enrolled again", have.Key.Name())
	case e.officer.Action == Enrol && known:
		return consent.Refuse(consent.DuplicateEntry, "key", "the key of %s is enrolled already", have.Key.Name())
	case e.officer.Action == Revoke && (!known || have.Key != e.officer.Key):
		return consent.Refuse(consent.UnknownOfficer, "key", "no entry enrols %s", e.officer.Key.Name())
	case e.officer.Action == Revoke && have.Revoked:
		return consent.Refuse(consent.RevokedOfficer, "key", "the key of %s was revoked before", have.Key.Name())
	case e.officer.Action == Revoke && have.Role != e.officer.Role:
		return consent.Refuse(consent.WrongRole, "role", "%s is enrolled as %s", have.Key.Name(), have.Role)
	}
	return nil
}

func (o Officers) apply(index int64, f *Officer) {
	if f.Action == Enrol {
		o.set(Enrolment{Role: f.Role, Name: f.Name, Key: f.Key, Expires: f.Expires, Index: index, by: f.By})
		return
	}
	e, _ := o.get(f.Key)
	e.Revoked = true
	o.set(e)
}

func (l *Log) apply(index int64, e entry) {
	switch {
	case e.officer != nil:
		l.officers.apply(index, e.officer)
	case e.asks:
		l.requests[index] = StateOpen
	case len(e.open) > 0:
		i, _ := l.Request(e.open[0])
		l.requests[i] = e.state
	}
}
