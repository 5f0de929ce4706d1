package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// A Docket is an agency's log on this node's disk:
//
//	entries      records (package durable), one note each, in order
//	checkpoint   the newest checkpoint whose entries are all here
//	fork         a checkpoint that contradicts the docket as it is here, once seen
//	restored     the docket is from a backup and signs nothing yet ([Restored])
//
// Entries reach the disk before the checkpoint that covers them is signed or taken in, and the
// checkpoint before anybody is shown it. What is found behind a checkpoint was never shown, or never
// completed, and is cut off, damaged or not.
type Docket struct {
	disk   durable.Disk
	dir    string
	agency charter.Agency

	mu       sync.Mutex
	log      *docket.Log
	offsets  []int64 // where each entry's record begins, and where the next one will
	file     *durable.AppendFile
	forked   bool
	restored *Restored                    // nil where it may sign
	heads    map[string]docket.Checkpoint // what stewards hold of a restored docket
	broken   error                        // the disk refused: nothing is taken in or shown until it can be read back
	proof    []byte                       // what shows the fork, while the disk does not take it
	read     int64                        // entries that fresh has handed out

	staged map[string]*stage // by the peer they come from
	later  [][]byte          // checkpoints of larger sizes than this, to be compared once it has grown
}

// A stage holds entries of batches that wait for the rest of their checkpoint.
type stage struct {
	first   int64
	entries [][]byte
	bytes   int
}

const (
	recordHead = 12 // bytes before a record's payload
	// maxStaged bounds what one docket being fetched may hold in memory, in bytes, and maxStages from how many peers.
	maxStaged = 64 << 20
	maxStages = 4
	// maxLater bounds the checkpoints remembered for comparison.
	maxLater = 16
)

// openDockets opens the dockets of all agencies that some version of the charter has admitted:
// what an agency asked stays on record after it was removed. The caller holds p.mu or is alone.
func (p *Peer) openDockets() error {
	for _, link := range p.chain {
		for _, a := range link.Charter.Agencies {
			id := a.ID()
			if now, ok := p.chain.DocketAgency(id); ok {
				a = now
			}
			d := p.dockets[id]
			if d == nil {
				d = &Docket{disk: p.State.disk, dir: p.State.Path("dockets", string(id)), agency: a}
				if err := d.open(); err != nil {
					return fmt.Errorf("docket of %s: %w", a.Name, err)
				}
				p.dockets[id] = d
			} else if err := d.judgeBy(a); err != nil {
				return fmt.Errorf("docket of %s: %w", a.Name, err)
			}
		}
	}
	return nil
}

// judgeBy reads the docket again where a new charter changed what it is judged by.
func (d *Docket) judgeBy(a charter.Agency) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if reflect.DeepEqual(a, d.agency) {
		return nil
	}
	d.agency = a
	return d.reopen()
}

// Docket is this node's copy of an agency's docket, or nil.
func (p *Peer) Docket(id consent.AgencyID) *Docket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dockets[id]
}

// ID is the agency's id.
func (d *Docket) ID() consent.AgencyID { return d.agency.ID() }

// open reads the folder. The caller holds d.mu or is alone.
func (d *Docket) open() error {
	if err := d.disk.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	// A checkpoint that was signed and not shown must not lie about: another may be signed in its place.
	if err := d.disk.RemoveTemporary(d.dir); err != nil {
		return err
	}
	checkpoint, err := os.ReadFile(d.path("checkpoint"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var size int64
	if checkpoint != nil {
		cp, err := docket.ParseCheckpoint(checkpoint, d.agency)
		if err != nil {
			return fmt.Errorf("%s: %w", d.path("checkpoint"), err)
		}
		size = cp.Size
	}
	d.offsets = []int64{0}
	recs, err := d.disk.ReadRecords(d.path("entries"), func(b []byte) error {
		d.offsets = append(d.offsets, d.offsets[len(d.offsets)-1]+recordHead+int64(len(b)))
		return nil
	})
	// Of several entries that were written at once a crash may leave the later ones and not the first.
	var damaged *durable.DamagedError
	if errors.As(err, &damaged) && int64(recs.Count) >= size {
		err = nil
	}
	if err != nil {
		return err
	}
	if int64(recs.Count) < size {
		return WithHint(fmt.Errorf("%s has %d entries, its checkpoint stands for %d", d.path("entries"), recs.Count, size),
			"restore the folder from a backup; on a node that does not own this docket, move it away and it is fetched again")
	}
	d.offsets = d.offsets[:size+1]
	if int64(recs.Count) > size || damaged != nil {
		if err := d.disk.Truncate(d.path("entries"), d.offsets[size]); err != nil {
			return err
		}
	}
	log, err := docket.Open(d.agency, d, size)
	if err != nil {
		return err
	}
	if size > 0 {
		if err := log.Resume(checkpoint); err != nil {
			return fmt.Errorf("%s: %w", d.dir, err)
		}
	}
	if _, err := os.Stat(d.path("fork")); err == nil {
		d.forked = true
	}
	if d.restored, err = readRestored(d.path("restored")); err != nil {
		return err
	}
	file, err := d.disk.OpenAppend(d.path("entries"), 0o600)
	if err != nil {
		return err
	}
	d.log, d.file, d.read, d.staged = log, file, 0, map[string]*stage{}
	return nil
}

// reopen goes back to what the disk has. The caller holds d.mu.
func (d *Docket) reopen() error {
	if d.broken == nil {
		_ = d.file.Close() // nothing is left to flush
	}
	d.broken = d.open()
	if d.broken != nil {
		d.broken = fmt.Errorf("docket of %s cannot be read back: %w", d.agency.Name, d.broken)
	}
	return d.broken
}

// usable tries once more to read back a docket that could not be. The caller holds d.mu.
func (d *Docket) usable() error {
	if d.broken == nil {
		return nil
	}
	return d.reopen()
}

func (d *Docket) path(name string) string { return filepath.Join(d.dir, name) }

// Close closes the files.
func (d *Docket) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil
	}
	return d.file.Close()
}

// Entry is the note with that index, for the log, which is only used under d.mu.
func (d *Docket) Entry(i int64) ([]byte, error) {
	if i < 0 || i+1 >= int64(len(d.offsets)) {
		return nil, fmt.Errorf("no entry %d", i)
	}
	f, err := os.Open(d.path("entries"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	note := make([]byte, d.offsets[i+1]-d.offsets[i]-recordHead)
	_, err = f.ReadAt(note, d.offsets[i]+recordHead)
	return note, err
}

// Read is Entry for everybody else.
func (d *Docket) Read(i int64) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Entry(i)
}

// maxFresh bounds the requests that are in hand while a long docket is read.
const maxFresh = 256

// fresh returns the next sound requests, at most maxFresh, among the entries it has not handed out before, by index.
func (d *Docket) fresh() (map[int64][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := map[int64][]byte{}
	if d.broken != nil {
		return found, d.broken
	}
	for ; d.read < d.log.Size() && len(found) < maxFresh; d.read++ {
		if d.log.Refused(d.read) != "" {
			continue
		}
		note, err := d.Entry(d.read)
		if err != nil {
			return found, err
		}
		if kind, err := consent.Peek(note); err == nil && kind == request.Kind {
			found[d.read] = note
		}
	}
	return found, nil
}

// ended is what became of a request: "superseded", "resolved" or "".
func (d *Docket) ended(id consent.RequestID) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, state := d.log.Request(id); state != docket.StateOpen {
		return string(state)
	}
	return ""
}

// Entries reads at most that many notes from index from on.
func (d *Docket) Entries(from int64, most int) (notes [][]byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil, d.broken
	}
	for i := max(from, 0); i < d.log.Size() && len(notes) < most; i++ {
		note, err := d.Entry(i)
		if err != nil {
			return nil, err
		}
		notes = append(notes, note)
	}
	return notes, nil
}

// Size is the number of entries.
func (d *Docket) Size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Size()
}

// Root is the root hash over all entries, base64.
func (d *Docket) Root() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Root().String()
}

// Head is the size and the newest checkpoint; 0 for a docket that cannot be shown.
func (d *Docket) Head() (int64, []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return 0, nil
	}
	return d.log.Size(), d.log.Checkpoint()
}

// Forked says whether the agency was seen to sign two versions of its docket.
func (d *Docket) Forked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.forked
}

// Refused is why an entry does not count although it stands in the docket, "" if it counts.
func (d *Docket) Refused(i int64) consent.Class {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Refused(i)
}

// Bundle is the self-contained message for an entry.
func (d *Docket) Bundle(i int64) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil, d.broken
	}
	return d.log.Bundle(i)
}

// Find is the index of an entry that stands in the docket.
func (d *Docket) Find(note []byte) (index int64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Find(note)
}

// Append adds an entry to this node's own docket. Entry and checkpoint are on the disk when it
// returns; after an error the docket is as it was.
func (d *Docket) Append(note []byte, key consent.Key, now time.Time) (index int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return 0, err
	}
	if err := d.maySign(); err != nil {
		return 0, err
	}
	pending, err := d.log.Prepare(note, now)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err == nil {
			return
		}
		// Only what the disk has counts: that may be the new checkpoint, although writing it failed.
		err = errors.Join(err, d.reopen())
		if i, ok := d.log.Find(note); ok && d.broken == nil {
			index, err = i, nil
		}
	}()
	if err := d.store(note); err != nil {
		return 0, err
	}
	if err := d.log.Commit(pending); err != nil {
		return 0, err
	}
	checkpoint, err := d.log.SignCheckpoint(key)
	if err != nil {
		return 0, err
	}
	return pending.Index, d.disk.WriteFile(d.path("checkpoint"), checkpoint, 0o600)
}

// Extend takes in the entries that lead to a checkpoint, all or none.
func (d *Docket) Extend(from int64, entries [][]byte, checkpoint []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.extend(from, entries, checkpoint)
}

func (d *Docket) extend(from int64, entries [][]byte, checkpoint []byte) (err error) {
	if err := d.usable(); err != nil {
		return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
	}
	if have := d.log.Size(); from < have {
		// Another peer was faster.
		entries = entries[min(have-from, int64(len(entries))):]
	} else if from > have {
		return fmt.Errorf("entries from %d, want %d", from, have)
	}
	if len(entries) == 0 {
		return nil
	}
	if err := d.log.Extend(entries, checkpoint); err != nil {
		return err
	}
	want := d.log.Size()
	defer func() {
		if err == nil {
			return
		}
		err = fmt.Errorf("%w: %w", p2psync.ErrOwn, errors.Join(err, d.reopen()))
		if d.broken == nil && d.log.Size() >= want {
			err = nil // it is on the disk all the same
		}
	}()
	if err := d.store(entries...); err != nil {
		return err
	}
	if err := d.disk.WriteFile(d.path("checkpoint"), checkpoint, 0o600); err != nil {
		return err
	}
	later := d.later
	d.later = nil
	for _, note := range later {
		if cp, perr := docket.ParseCheckpoint(note, d.agency); perr == nil {
			err = errors.Join(err, d.compare(cp, note))
		}
	}
	if d.forked {
		return nil // noted; the entries themselves were taken in
	}
	return err
}

// store appends records. The caller holds d.mu.
func (d *Docket) store(notes ...[]byte) error {
	var buf []byte
	for _, n := range notes {
		buf = durable.AppendRecord(buf, n)
	}
	if err := d.file.Append(buf); err != nil {
		return err
	}
	for _, n := range notes {
		d.offsets = append(d.offsets, d.offsets[len(d.offsets)-1]+recordHead+int64(len(n)))
	}
	return nil
}

// Stage takes a batch of entries on the way to a peer's head. done is true once the head is
// reached and all of them were taken in. What one peer sends never mixes with another's.
func (d *Docket) Stage(from int64, entries [][]byte, head p2psync.Head) (done bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cp, err := docket.ParseCheckpoint(head.Note, d.agency)
	if err != nil {
		return false, err
	}
	if cp.Size != head.Size {
		return false, fmt.Errorf("a head of %d entries under a checkpoint of %d", head.Size, cp.Size)
	}
	s := d.staged[head.Peer]
	if s == nil || from != s.first+int64(len(s.entries)) {
		if from > d.log.Size() {
			return false, fmt.Errorf("%w: entries from %d, want %d", p2psync.ErrOwn, from, d.log.Size())
		}
		if len(d.staged) >= maxStages {
			clear(d.staged)
		}
		s = &stage{first: from}
		d.staged[head.Peer] = s
	}
	total := 0
	for _, e := range entries {
		s.entries = append(s.entries, e)
		s.bytes += len(e)
	}
	for _, other := range d.staged {
		total += other.bytes
	}
	if total > maxStaged {
		clear(d.staged)
		return false, fmt.Errorf("%w: more than %d MB of entries under one checkpoint", p2psync.ErrOwn, maxStaged>>20)
	}
	if s.first+int64(len(s.entries)) < head.Size {
		return false, nil
	}
	delete(d.staged, head.Peer)
	return true, d.extend(s.first, s.entries, head.Note)
}

// CompareNote is Compare for a checkpoint that was not verified yet.
func (d *Docket) CompareNote(note []byte) error {
	cp, err := docket.ParseCheckpoint(note, d.agency)
	if err != nil {
		return err
	}
	return d.Compare(cp, note)
}

// Compare holds a checkpoint from elsewhere against this docket. One that contradicts it is kept:
// with the entries here it shows that the agency signed two versions, and from then on its
// requests are not shown. One of a larger size is compared again once the docket has grown.
func (d *Docket) Compare(cp docket.Checkpoint, note []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compare(cp, note)
}

func (d *Docket) compare(cp docket.Checkpoint, note []byte) error {
	if d.forked {
		if d.proof != nil {
			d.keepProof(d.proof)
		}
		return fmt.Errorf("docket of %s: %w", d.agency.Name, errForked)
	}
	err := d.log.Consistent(cp)
	switch consent.ClassOf(err) {
	case consent.Behind:
		if len(d.later) >= maxLater {
			d.later = d.later[1:]
		}
		d.later = append(d.later, bytes.Clone(note))
		return nil // nothing is proven
	case consent.Fork:
		d.forked = true
		return errors.Join(errForked, d.keepProof(note))
	}
	return err
}

// keepProof stores what shows a fork, now or with the next checkpoint that comes.
func (d *Docket) keepProof(note []byte) error {
	err := d.disk.WriteFile(d.path("fork"), note, 0o600)
	if d.proof = nil; err != nil {
		d.proof = bytes.Clone(note)
	}
	return err
}

var errForked = errors.New("the agency signed two versions of it")
