package docket

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
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
// requests, some 200 bytes an entry, and what became of commitments, some 150 bytes each; notes stay in the Store. It persists nothing, and is not safe for
// use by several goroutines at once.
type Log struct {
	agency     charter.Agency
	quotas     charter.Quotas
	store      Store
	size       int64
	hashes     hashes
	leaves     map[tlog.Hash]int64
	officers   Officers
	requests   map[int64]RequestState // by index, sound requests only
	accounts   map[int64]Account      // by the index of a request
	refused    map[int64]consent.Class
	asked      []Asked
	follows    follows
	declared   declared
	day        day
	began      Day // the first on which an entry says it was created, "" where there is none
	checkpoint []byte
	readAll    func([][]byte) []reading
}

// An Asked is a sound request and where it stands.
type Asked struct {
	Index   int64
	Request *request.Request
}

// A day is the log's own, in UTC: the latest on which an entry of it says it was created. An entry cannot be dated back into one
// that has room.
type day struct {
	clock   consent.Time // the latest created
	entries int
	bytes   int
}

// An Account is what the docket says of a request besides whether it asks. Entries are given by their index; all come after the
// request, so 0 is none.
type Account struct {
	Reported  consent.Time // when the report of an exigent request was made; zero: there is none
	Report    int64        // the entry
	Outcome   Finding      // the newest; "" where there is none
	OutcomeAt consent.Time
	Told      consent.Time // when the first outcome was given
	Ending    int64        // the entry that resolved or superseded it
}

// Leaf is how a log takes in an entry of which only the hash is known: a zero byte and the hash, in place of the note. No entry
// that counts looks like one.
func Leaf(h tlog.Hash) []byte { return append([]byte{0}, h[:]...) }

// leafOf is the hash of an entry, and whether that is all there is of it.
func leafOf(msg []byte) (h tlog.Hash, bare bool) {
	if len(msg) == 1+tlog.HashSize && msg[0] == 0 {
		return tlog.Hash(msg[1:]), true
	}
	return tlog.RecordHash(msg), false
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
// charter.Chain.DocketAgency, and the quotas are the largest that a version of the charter gave it; zero ones are none.
// The plans are those of charter.Chain.Plans; without one a daily entry is of a kind that the docket does not have.
func Open(a charter.Agency, q charter.Quotas, store Store, size int64, plans ...charter.Plan) (*Log, error) {
	return open(a, q, store, size, readAll, plans...)
}

// open is Open with another way to read entries, for tests that read the same ones many times.
func open(a charter.Agency, q charter.Quotas, store Store, size int64, readAll func([][]byte) []reading, plans ...charter.Plan) (*Log, error) {
	if _, err := a.Key.Public(); err != nil {
		return nil, err
	}
	if size < 0 || size > MaxSize || store == nil && size > 0 {
		return nil, consent.Refuse(consent.BadValue, "size", "a docket of %d entries", size)
	}
	l := &Log{agency: a, quotas: q, store: store, leaves: map[tlog.Hash]int64{}, officers: firstOfficers(a),
		requests: map[int64]RequestState{}, accounts: map[int64]Account{}, refused: map[int64]consent.Class{},
		follows: follows{plans: plans, fates: map[hash]fate{}}, declared: declared{holds: map[tlog.Hash]*held{}, renewed: map[tlog.Hash]tlog.Hash{}, transfers: map[Transfers]int{}, passed: map[grant.Commitment]passing{}}, readAll: readAll}
	return l, l.takeAll(size, func(i int64) ([]byte, error) {
		msg, err := store.Entry(i)
		if err != nil {
			err = fmt.Errorf("reading entry %d of the docket of %s: %w", i, a.Name, err)
		}
		return msg, err
	})
}

// Resume holds the log against a checkpoint of its size that was kept from before, and goes on with it. The checkpoint may carry
// cosignatures, here and in Extend and Bundle; whose they are is for [OpenCosigned] to say.
func (l *Log) Resume(checkpoint []byte) error {
	own, _ := plain(checkpoint)
	cp, err := ParseCheckpoint(own, l.agency)
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

// Officer returns what the log says of a key.
func (l *Log) Officer(k consent.VerifierKey) (e Enrolment, known bool) { return l.officers.get(k) }

// Refused returns the class of the rule that entry i breaks, "" for a sound one.
func (l *Log) Refused(i int64) consent.Class { return l.refused[i] }

// Find returns the index of a note in the log.
func (l *Log) Find(msg []byte) (index int64, ok bool) {
	index, ok = l.leaves[tlog.RecordHash(msg)]
	return index, ok
}

// Check refuses a key that may not sign in this role now what was created at that time: one that was revoked since, too.
func (l *Log) Check(k consent.VerifierKey, role Role, created consent.Time) error {
	return l.officers.Check(k, role, created)
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

// Fresh hands out the sound requests that were taken in since it was last called, in order, and lets go of them.
func (l *Log) Fresh() []Asked {
	fresh := l.asked
	l.asked = nil
	return fresh
}

// Account returns what the docket says became of a request.
func (l *Log) Account(id consent.RequestID) Account {
	i, _ := l.Request(id)
	return l.accounts[i]
}

// Leaf returns the hash of entry i.
func (l *Log) Leaf(i int64) (tlog.Hash, error) {
	h, err := l.hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
	if err != nil {
		return tlog.Hash{}, err
	}
	return h[0], nil
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
	e, err := l.judge(l.readAll([][]byte{msg})[0])
	if err != nil {
		return Pending{}, err
	}
	today := l.day
	if err := today.take(e.created, len(msg), l.quotas); err != nil {
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
//
// An entry may be a [Leaf]. It has no effect until the log is opened anew with its text, and is of class unread.
func (l *Log) Extend(entries [][]byte, checkpoint []byte) error {
	own, _ := plain(checkpoint)
	cp, err := ParseCheckpoint(own, l.agency)
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
		h, _ := leafOf(msg)
		more, err := tlog.StoredHashesForRecordHash(l.size+int64(i), h, grown)
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
	// Only hashing can fail here, and it has just been done with the same input.
	if err := l.takeAll(int64(len(entries)), func(i int64) ([]byte, error) { return entries[i], nil }); err != nil {
		return err
	}
	l.checkpoint = bytes.Clone(checkpoint)
	return nil
}

// take adds a leaf, with its effect if it is sound.
func (l *Log) take(msg []byte) (int64, error) { return l.takeRead(msg, l.readAll([][]byte{msg})[0]) }

func (l *Log) takeRead(msg []byte, r reading) (int64, error) {
	if len(msg) > consent.MaxNote {
		return 0, consent.Refuse(consent.Oversize, "", "%d bytes; the most is %d", len(msg), consent.MaxNote)
	}
	more, err := tlog.StoredHashesForRecordHash(l.size, r.hash, l.hashes)
	if err != nil {
		return 0, err
	}
	r = l.known(r)
	e, err := l.judge(r)
	index := l.size
	// What cannot be read counts as an entry of the day, and its bytes as none: not everybody has them.
	length := len(msg)
	if r.err != nil {
		length = 0
	}
	if over := l.day.take(r.entry.created, length, l.quotas); err == nil {
		err = over
	}
	if c := r.entry.created; !c.IsZero() && (l.began == "" || DayOf(c.Time) < l.began) {
		l.began = DayOf(c.Time)
	}
	if err != nil {
		l.refused[index] = consent.ClassOf(err)
	} else {
		l.apply(index, e)
	}
	l.hashes = append(l.hashes, more...)
	if _, have := l.leaves[r.hash]; !have {
		l.leaves[r.hash] = index
	}
	l.size++
	return index, nil
}

// take counts an entry into the day it belongs to, and refuses one that is over what the charter grants a day.
func (d *day) take(created consent.Time, length int, q charter.Quotas) error {
	if created.After(d.clock.Time) {
		if created.Format(time.DateOnly) != d.clock.Format(time.DateOnly) {
			*d = day{}
		}
		d.clock = created
	}
	d.entries++
	d.bytes += length
	if q.EntriesPerDay > 0 && d.entries > q.EntriesPerDay || q.BytesPerDay > 0 && d.bytes > q.BytesPerDay {
		return consent.Refuse(consent.OverQuota, "", "entry %d of %s; the charter grants %d entries and %d bytes a day, and a new day begins at 00:00 UTC",
			d.entries, d.clock.Format(time.DateOnly), q.EntriesPerDay, q.BytesPerDay)
	}
	return nil
}

// An entry is one sound entry taken apart.
type entry struct {
	created consent.Time
	signers []signer
	officer *Officer
	asks    *request.Request
	open    []consent.RequestID // requests that have to be open; the first is ended
	state   RequestState        // that it comes to
	about   consent.RequestID   // a request that the docket has to hold
	report  bool                // about it
	outcome Finding             // of it
	daily   *Daily
	hold    *Hold
	passes  *Transfer
	id      tlog.Hash // of a hold or transfer
}

type signer struct {
	key  consent.VerifierKey
	role Role
}

// read opens an entry and verifies its signatures; what the log says of it is left to judge.
func read(msg []byte) (entry, error) {
	if _, bare := leafOf(msg); bare {
		return entry{}, consent.Refuse(consent.Unread, "", "only the hash of the entry is known")
	}
	kind, err := consent.Peek(msg)
	if err != nil {
		return entry{}, err
	}
	switch kind {
	case "officer":
		o, err := OpenOfficer(msg)
		return entry{created: o.Created, signers: []signer{{o.By, RoleSupervisor}}, officer: &o}, err
	case "request":
		r, err := request.Open(msg)
		if err == nil {
			err = r.CheckText()
		}
		if err != nil {
			return entry{}, err
		}
		return entry{created: r.Created, signers: []signer{{r.Officer, RoleOfficer}, {r.Supervisor, RoleSupervisor}}, asks: &r}, nil
	case "supersede":
		s, err := OpenSupersede(msg)
		return entry{created: s.Created, signers: []signer{{s.Officer, RoleOfficer}, {s.Supervisor, RoleSupervisor}},
			open: []consent.RequestID{s.Request, s.Replacement}, state: StateSuperseded}, err
	case "resolve":
		r, err := OpenResolve(msg)
		return entry{created: r.Created, signers: []signer{{r.Officer, RoleOfficer}}, open: []consent.RequestID{r.Request}, state: StateResolved}, err
	case "report":
		r, err := OpenReport(msg)
		return entry{created: r.Created, signers: []signer{{r.Officer, RoleOfficer}, {r.Supervisor, RoleSupervisor}}, about: r.Request, report: true}, err
	case "outcome":
		o, err := OpenOutcome(msg)
		return entry{created: o.Created, signers: []signer{{o.Officer, RoleOfficer}}, about: o.Request, outcome: o.Outcome}, err
	case "hold":
		h, err := OpenHold(msg)
		return entry{created: h.Created, signers: []signer{{h.Officer, RoleOfficer}, {h.Supervisor, RoleSupervisor}}, hold: &h, id: tlog.RecordHash(msg)}, err
	case "transfer":
		t, err := OpenTransfer(msg)
		return entry{created: t.Created, signers: []signer{{t.Officer, RoleOfficer}, {t.Supervisor, RoleSupervisor}}, passes: &t, id: tlog.RecordHash(msg)}, err
	case "daily":
		d, err := OpenDaily(msg)
		return entry{created: d.Created, daily: &d}, err
	}
	return entry{}, consent.Refuse(consent.WrongKind, "", "a %s is no entry of a docket", kind)
}

// known makes a daily entry one of no known kind where the charter has none, so that its day counts the same as before charters could.
func (l *Log) known(r reading) reading {
	if r.kind == "daily" && len(l.follows.plans) == 0 {
		return reading{hash: r.hash, kind: r.kind, err: consent.Refuse(consent.WrongKind, "", "the charter has no daily entries")}
	}
	return r
}

// judge holds the next entry, as it was read, against the log as it is.
func (l *Log) judge(r reading) (entry, error) {
	if i, ok := l.leaves[r.hash]; ok {
		return entry{}, consent.Refuse(consent.DuplicateEntry, "", "the same bytes are entry %d", i)
	}
	if r = l.known(r); r.err != nil {
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
	if e.about != "" {
		switch i, state := l.Request(e.about); {
		case state == "":
			return entry{}, consent.Refuse(consent.UnknownRequest, "request", "the docket holds no request %.16s…", string(e.about))
		case e.report && !l.accounts[i].Reported.IsZero():
			return entry{}, consent.Refuse(consent.DuplicateEntry, "request", "request %.16s… was reported on already", string(e.about))
		}
	}
	if e.daily != nil {
		if err := l.follows.admit(e.daily); err != nil {
			return entry{}, err
		}
	}
	if e.hold != nil {
		if err := l.declared.admit(e.hold, l.day.clock.Time); err != nil {
			return entry{}, err
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
	if e.daily != nil && !e.daily.Key.Same(a.Key) {
		return consent.Refuse(consent.WrongRole, "key", "the docket key signs daily entries, not %s", e.daily.Key.Name())
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
	e.Revoked, e.RevokedAt = true, index
	o.set(e)
}

func (l *Log) apply(index int64, e entry) {
	switch {
	case e.officer != nil:
		l.officers.apply(index, e.officer)
	case e.asks != nil:
		l.requests[index] = StateOpen
		l.asked = append(l.asked, Asked{index, e.asks})
	case len(e.open) > 0:
		i, _ := l.Request(e.open[0])
		l.requests[i] = e.state
		a := l.accounts[i]
		a.Ending = index
		l.accounts[i] = a
	case e.about != "":
		i, _ := l.Request(e.about)
		a := l.accounts[i]
		// Dated back, it would count for the day on which the docket shows it to have been made at the earliest.
		shown := e.created
		if l.day.clock.After(shown.Time) {
			shown = l.day.clock
		}
		if e.report {
			a.Reported, a.Report = shown, index
		} else {
			a.Outcome, a.OutcomeAt = e.outcome, e.created
			if a.Told.IsZero() {
				a.Told = shown
			}
		}
		l.accounts[i] = a
	case e.hold != nil:
		l.declared.hold(e.id, e.hold)
	case e.passes != nil:
		l.declared.transfers[Transfers{To: e.passes.To, Ground: e.passes.Ground}]++
		for _, c := range e.passes.Covers {
			l.declared.passed[c] = passing{e.id, Transfers{To: e.passes.To, Ground: e.passes.Ground}}
		}
	case e.daily != nil:
		// As of a report: dated back, it counts for the day on which the docket shows it.
		l.follows.apply(e.daily, DayOf(l.day.clock.Time))
	}
}
