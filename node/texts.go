package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// An entry that no charter could make lawful is nobody's to spread: it may hold a victim's address, or worse. A node keeps its hash,
// which the tree needs, and lets the text go; only observers keep the text of everything they were given. Whoever fetches a docket
// is therefore handed the hash of some entries. It may be that the giver hides a lawful one, so the text is asked for from others
// too, and what comes after it in the docket is shown once two peers, or the only one there is, say that they have no more of it.

// How a record begins that holds the hash of an entry: of one that came without its text, and of one whose text this node has judged.
// No note begins like this.
const (
	unreadEntry = 0
	judgedEntry = 1
)

// bareEntry is the hash that a record holds in place of a note.
func bareEntry(b []byte) (h tlog.Hash, ok bool) {
	if len(b) != 1+tlog.HashSize || b[0] > judgedEntry {
		return h, false
	}
	return tlog.Hash(b[1:]), true
}

// keep says what the disk is to have of entries that the log has just taken in, the first of them at that place.
func (d *Docket) keep(first int64, entries [][]byte) [][]byte {
	kept := make([][]byte, len(entries))
	for i, e := range entries {
		kept[i] = e
		if _, bare := bareEntry(e); bare {
			d.unread[first+int64(i)] = map[string]bool{}
			continue
		}
		if d.whole || !neverLawful(d.log.Refused(first+int64(i))) {
			continue
		}
		h := tlog.RecordHash(e)
		kept[i] = append([]byte{judgedEntry}, h[:]...)
	}
	return kept
}

// neverLawful says whether an entry breaks a rule that holds under every charter: a document that is none, a signature that does not
// verify, a request that nobody may make or whose text is not to be shown. A kind or a version that this program does not
// know may count for the next one, and who may sign what is for the docket's other entries to say.
func neverLawful(class consent.Class) bool {
	return class != consent.WrongKind && class != consent.WrongVersion && class != consent.WrongRole && request.Timeless(class)
}

// readTexts reads the notes that were had later than their hash. The caller holds d.mu or is alone.
func (d *Docket) readTexts(size int64) error {
	d.texts = map[int64][]byte{}
	_, err := d.disk.ReadRecords(d.path("texts"), func(b []byte) error {
		if len(b) < 8 {
			return errors.New("a text without its place")
		}
		if i := int64(binary.BigEndian.Uint64(b)); i >= 0 && i < size {
			d.texts[i] = append([]byte{}, b[8:]...)
			delete(d.unread, i)
		}
		return nil
	})
	var damaged *durable.DamagedError
	if errors.As(err, &damaged) {
		err = d.disk.Remove(d.path("texts")) // they are asked for again
		d.texts = map[int64][]byte{}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for i := range d.unread {
		if i >= size {
			delete(d.unread, i)
		}
	}
	return nil
}

// maxTexts bounds how many texts are asked for in one pull.
const maxTexts = 16

// maxAsked bounds the peers of which it is remembered that they have no more than the hash of an entry.
const maxAsked = 256

// missing are entries whose text this node lacks and has not asked that peer for.
func (d *Docket) missing(peer string) (all []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, asked := range d.unread {
		if !asked[peer] && len(all) < maxTexts {
			all = append(all, i)
		}
	}
	return all
}

// fill takes the text of entries that stand in the docket by their hash, or a peer's word that it has no more either. changed says that the
// log has to be read anew.
func (d *Docket) fill(from int64, entries [][]byte, peer string) (changed bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return false, err
	}
	var records []byte
	for k, e := range entries {
		i := from + int64(k)
		asked, unread := d.unread[i]
		if !unread {
			continue
		}
		leaf, err := d.log.Leaf(i)
		if err != nil {
			return false, err
		}
		if h, bare := bareEntry(e); bare && h == leaf {
			if len(asked) < maxAsked { // one more is asked again
				asked[peer] = true
			}
			continue
		}
		if len(e) > consent.MaxNote || tlog.RecordHash(e) != leaf {
			return false, fmt.Errorf("not the text of entry %d", i)
		}
		records = durable.AppendRecord(records, append(binary.BigEndian.AppendUint64(nil, uint64(i)), e...))
	}
	if records == nil {
		return false, nil
	}
	f, err := d.disk.OpenAppend(d.path("texts"), 0o600)
	if err == nil {
		err = errors.Join(f.Append(records), f.Close())
	}
	// Either way only what the disk has counts, and what peers said of other entries stands.
	said := d.unread
	err = errors.Join(err, d.reopen())
	for i := range d.unread {
		if said[i] != nil {
			d.unread[i] = said[i]
		}
	}
	return true, err
}

func (d *Docket) leaf(i int64) (tlog.Hash, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Leaf(i)
}

// clear is how far the docket can be read: up to the first entry that too few witnesses cosigned, or whose text somebody may be
// hiding. peers says how many this node is connected to.
func (d *Docket) clear(peers func() int) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := d.shown.Size
	if len(d.unread) == 0 {
		return end
	}
	enough := min(2, max(1, peers()))
	for i, asked := range d.unread {
		if len(asked) < enough {
			end = min(end, i)
		}
	}
	return end
}

// lawfulKeys refuses a request whose officer's or supervisor's key was revoked since.
func (d *Docket) lawfulKeys(r request.Request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range []struct {
		key  consent.VerifierKey
		role docket.Role
	}{{r.Officer, docket.RoleOfficer}, {r.Supervisor, docket.RoleSupervisor}} {
		if err := d.log.Check(s.key, s.role, r.Created); err != nil {
			return err
		}
	}
	return nil
}
