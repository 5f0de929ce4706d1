package node

import (
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
	"github.com/porchlight-mesh/porchlight/footage/durable"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// A Docket is an agency's log on this node's disk:
//
//	entries      records (package durable), one note each, in order; a byte and the hash of those that are kept by it ([Docket.keep])
//	texts        notes of such entries that were had later, by their place (records)
//	checkpoint   the newest checkpoint whose entries are all here, with its cosignatures
//	cosigned     of a docket of this node's own, the newest one that enough witnesses cosigned
//	misconduct   the proof that the agency signed two versions of it, once had
//	objections   against its requests (records, one note each)
//	breaches     breach records about it (records, one note each)
//	restored     the docket is from a backup and signs nothing yet ([Restored])
//
// Entries reach the disk before the checkpoint that covers them is signed or taken in, and the
// checkpoint before anybody is shown it. What is found behind a checkpoint was never shown, or never
// completed, and is cut off, damaged or not.
type Docket struct {
	id    consent.AgencyID
	disk  durable.Disk
	dir   string
	now   func() time.Time
	whole bool // this node keeps the text of every entry it was given

	mu sync.Mutex
	standard
	log      *docket.Log
	anew     bool    // it was opened and nobody was told: what is known of its requests no longer counts
	offsets  []int64 // where each entry's record begins, and where the next one will
	file     *durable.AppendFile
	reading  *os.File                     // the same, opened when the first entry is read
	shown    docket.Cosigned              // the newest checkpoint that enough witnesses cosigned
	texts    map[int64][]byte             // of entries whose record is only a hash
	unread   map[int64]map[string]bool    // entries of which only the hash is here, and who says to have no more
	restored *Restored                    // nil where it may sign
	heads    map[string]docket.Checkpoint // what stewards hold of a restored docket
	broken   error                        // the disk refused: nothing is taken in or shown until it can be read back
	proof    []byte                       // of misconduct; not nil: the agency is suspended
	unsaved  bool                         // the disk does not take the proof
	accused  bool                         // the proof was spread from here, or came as one that was spread

	cosignedBy map[string]int64 // how many entries a witness cosigned last, by its peer

	objections map[consent.RequestID][]string
	breaches   map[string]keptBreach // by what each is about
	torn       map[string]bool       // by log: the last write of such papers failed

	staged  map[string]*stage // by the peer they come from
	later   [][]byte          // checkpoints of larger sizes than this, to be compared once it has grown
	lead    lead
	current time.Time // when a peer was last asked and had no more
}

// A standard is what the charter judges a docket by.
type standard struct {
	agency    charter.Agency
	quotas    charter.Quotas // the largest that any version gave
	plans     []charter.Plan // of the mesh's daily entries
	witnesses []charter.Witness
	quorum    int
	since     time.Time // when the agency was first admitted
	until     time.Time // when a version of the charter ceased to list it; zero while it does
}

// standards are those of all agencies that some version of the charter has admitted.
func standards(chain charter.Chain) map[consent.AgencyID]standard {
	all := map[consent.AgencyID]standard{}
	for i, link := range chain {
		// Of two successors neither counts, whichever came here first.
		if len(link.Rivals) > 0 || i+1 < len(chain) && len(chain[i+1].Charter.Also) > 0 {
			continue
		}
		for _, a := range link.Charter.Agencies {
			s, known := all[a.ID()]
			if !known {
				s.since = link.Charter.Created.Time
			}
			s.agency = a
			s.quotas.EntriesPerDay = max(s.quotas.EntriesPerDay, link.Charter.Quotas.EntriesPerDay)
			s.quotas.BytesPerDay = max(s.quotas.BytesPerDay, link.Charter.Quotas.BytesPerDay)
			s.until = time.Time{}
			all[a.ID()] = s
		}
		for id, s := range all {
			if _, lists := link.Charter.Agency(id); !lists && s.until.IsZero() {
				s.until = link.Charter.Created.Time
				all[id] = s
			}
		}
	}
	plans := chain.Plans()
	for id, s := range all {
		s.plans = plans
		if now, ok := chain.DocketAgency(id); ok {
			s.agency = now
		}
		s.witnesses, s.quorum = chain.Current().Witnesses, chain.Current().Quorum
		all[id] = s
	}
	return all
}

// judged is the time by which a docket is judged: an agency that the charter lists no more can make no entry, so that what falls due then is no fault
// of its own.
func (s standard) judged(at time.Time) time.Time {
	if !s.until.IsZero() && s.until.Before(at) {
		return s.until
	}
	return at
}

const (
	recordHead = 12 // bytes before a record's payload
	// maxLater bounds the checkpoints remembered for comparison.
	maxLater = 16
)

// openDockets opens the dockets of all agencies that some version of the charter has admitted:
// what an agency asked stays on record after it was removed. The caller holds p.mu or is alone.
func (p *Peer) openDockets() error {
	for id, s := range standards(p.chain) {
		d := p.dockets[id]
		if d == nil {
			d = &Docket{id: id, disk: p.State.disk, dir: p.State.Path("dockets", string(id)), now: p.Now, whole: p.State.Role() == Observe, standard: s}
			if err := d.open(); err != nil {
				return fmt.Errorf("docket of %s: %w", s.agency.Name, err)
			}
			p.dockets[id] = d
		} else if err := d.judgeBy(s); err != nil {
			return fmt.Errorf("docket of %s: %w", s.agency.Name, err)
		}
	}
	return nil
}

// judgeBy reads the docket again where a new charter changed what it is judged by.
func (d *Docket) judgeBy(s standard) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if reflect.DeepEqual(s, d.standard) {
		return nil
	}
	d.standard = s
	return d.reopen()
}

// Docket is this node's copy of an agency's docket, or nil.
func (p *Peer) Docket(id consent.AgencyID) *Docket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dockets[id]
}

// ID is the agency's id.
func (d *Docket) ID() consent.AgencyID { return d.id }

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
		cp, err := docket.OpenCosigned(checkpoint, d.agency, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", d.path("checkpoint"), err)
		}
		size = cp.Size
	}
	d.offsets = []int64{0}
	d.unread = map[int64]map[string]bool{}
	recs, err := d.disk.ReadRecords(d.path("entries"), func(b []byte) error {
		if _, bare := bareEntry(b); bare && b[0] == unreadEntry {
			d.unread[int64(len(d.offsets)-1)] = map[string]bool{}
		}
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
	if err := d.readTexts(size); err != nil {
		return err
	}
	log, err := docket.Open(d.agency, d.quotas, d, size, d.plans...)
	if err != nil {
		return err
	}
	if size > 0 {
		if err := log.Resume(checkpoint); err != nil {
			return fmt.Errorf("%s: %w", d.dir, err)
		}
	}
	if err := d.readPapers(); err != nil {
		return err
	}
	if d.restored, err = readRestored(d.path("restored")); err != nil {
		return err
	}
	file, err := d.disk.OpenAppend(d.path("entries"), 0o600)
	if err != nil {
		return err
	}
	d.log, d.anew, d.file, d.staged, d.shown, d.cosignedBy = log, true, file, map[string]*stage{}, docket.Cosigned{}, map[string]int64{}
	d.see(checkpoint)
	if cosigned, err := os.ReadFile(d.path("cosigned")); err == nil {
		d.see(cosigned)
	}
	return nil
}

// reopen goes back to what the disk has. The caller holds d.mu.
func (d *Docket) reopen() error {
	if d.broken == nil {
		_ = d.file.Close() // nothing is left to flush
	}
	d.stopReading()
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
	d.stopReading()
	if d.broken != nil {
		return nil
	}
	return d.file.Close()
}

func (d *Docket) stopReading() {
	if d.reading != nil {
		_ = d.reading.Close() // nothing was written to it
		d.reading = nil
	}
}

// Entry is the note with that index, for the log, which is only used under d.mu.
func (d *Docket) Entry(i int64) ([]byte, error) {
	if i < 0 || i+1 >= int64(len(d.offsets)) {
		return nil, fmt.Errorf("no entry %d", i)
	}
	if note, ok := d.texts[i]; ok {
		return note, nil
	}
	if d.reading == nil {
		f, err := os.Open(d.path("entries"))
		if err != nil {
			return nil, err
		}
		d.reading = f
	}
	note := make([]byte, d.offsets[i+1]-d.offsets[i]-recordHead)
	if _, err := d.reading.ReadAt(note, d.offsets[i]+recordHead); err != nil {
		return nil, err
	}
	if h, bare := bareEntry(note); bare {
		return docket.Leaf(h), nil
	}
	return note, nil
}

// Read is Entry for everybody else.
func (d *Docket) Read(i int64) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Entry(i)
}

// fresh hands out the sound requests that it has not handed out before; anew says that they are all, and that those before do not
// count.
func (d *Docket) fresh() (asked []docket.Asked, anew bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil, false
	}
	anew, d.anew = d.anew, false
	return d.log.Fresh(), anew
}

// account is what the docket says of a request.
func (d *Docket) account(id consent.RequestID) docket.Account {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Account(id)
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

// Entries reads at most that many notes from index from on, of those that Head shows.
func (d *Docket) Entries(from int64, most int) (notes [][]byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil, d.broken
	}
	size, _ := d.head()
	for i := max(from, 0); i < size && len(notes) < most; i++ {
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

// Head is the size of what is shown to others and the checkpoint over it, with its cosignatures; 0 for a docket that
// cannot be shown.
func (d *Docket) Head() (int64, []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.head()
}

func (d *Docket) head() (int64, []byte) {
	if d.broken != nil {
		return 0, nil
	}
	return d.shown.Size, d.shown.Note
}

// Forked says whether the agency was seen to sign two versions of its docket.
func (d *Docket) Forked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.proof != nil
}

// Refused is why an entry does not count although it stands in the docket, "" if it counts.
func (d *Docket) Refused(i int64) consent.Class {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Refused(i)
}

// Bundle is the self-contained message for an entry, under the checkpoint of Head.
func (d *Docket) Bundle(i int64) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	size, note := d.head()
	switch {
	case d.broken != nil:
		return nil, d.broken
	case i >= size && i < d.log.Size():
		return nil, consent.Refuse(consent.Unwitnessed, "", "entry %d waits for %d witnesses to cosign the docket", i, d.quorum)
	}
	return d.log.Bundle(i, note)
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
	if err := d.disk.WriteFile(d.path("checkpoint"), checkpoint, 0o600); err != nil {
		return 0, err
	}
	d.see(checkpoint)
	return pending.Index, nil
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
	c, err := d.witnessed(checkpoint)
	if err != nil {
		return err
	}
	if err := d.room(entries); err != nil {
		return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
	}
	first := d.log.Size()
	if err := d.log.Extend(entries, c.Note); err != nil {
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
	if err := d.store(d.keep(first, entries)...); err != nil {
		return err
	}
	if err := d.disk.WriteFile(d.path("checkpoint"), c.Note, 0o600); err != nil {
		return err
	}
	d.see(c.Note)
	later := d.later
	d.later = nil
	for _, note := range later {
		if cp, perr := docket.OpenCosigned(note, d.agency, d.witnesses); perr == nil {
			err = errors.Join(err, d.compare(cp))
		}
	}
	if d.proof != nil {
		return nil // noted; the entries themselves were taken in
	}
	return err
}

// store appends records. The caller holds d.mu.
func (d *Docket) store(notes ...[]byte) error {
	size := 0
	for _, n := range notes {
		size += recordHead + len(n)
	}
	buf := make([]byte, 0, size)
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
