package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// Restored marks an agency's own docket that came back from a backup. Its agency may have signed more
// since, and whoever signs at an old size again has signed two versions. It signs nothing until the
// network was asked for its newest checkpoint, which is when
//
//   - every steward of config.toml has told what it holds of the docket, and all of that is in the
//     docket as it is here by then; or
//   - more than half of them have, and [restoredPatience] has passed since the restore, so that a
//     steward that is gone for good does not silence an agency; or
//   - a person says that nobody is left to be asked (Peer.ResumeDocket, alone).
//
// A steward that holds nothing of a docket that has entries here has not answered: it fetches them
// from this node first. Where what it tells contradicts the docket, that is a fork, and nothing is
// signed any more. What was signed and reached no steward is not found out in this way, nor what all
// stewards that answer keep back: name several.
type Restored struct {
	Backup time.Time `json:"backup"` // when it was made
	At     time.Time `json:"at"`     // when it was restored
}

// restoredPatience is how long a restored docket waits for all stewards, and not just for most.
const restoredPatience = 24 * time.Hour

// MarkRestored marks an agency's docket in a folder that is being restored.
func MarkRestored(disk durable.Disk, dir string, id consent.AgencyID, backup, now time.Time) error {
	folder := filepath.Join(dir, "dockets", string(id))
	if err := disk.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return WriteJSON(disk, filepath.Join(folder, "restored"), Restored{Backup: backup, At: now.UTC()})
}

// readRestored is nil where there is no mark.
func readRestored(path string) (*Restored, error) {
	var r Restored
	switch err := ReadJSON(path, &r); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, WithHint(err, "`porchlight agency docket resume` needs it; restore the backup again")
	}
	return &r, nil
}

// MaySign says why the docket takes no new entry, nil if it does.
func (d *Docket) MaySign() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.maySign()
}

func (d *Docket) maySign() error {
	switch {
	case d.proof != nil:
		return WithHint(fmt.Errorf("docket of %s: %w, and takes no more entries", d.agency.Name, errForked),
			"the charter's signers can admit the agency anew, with another docket key")
	case d.restored != nil:
		return WithHint(fmt.Errorf("the docket of %s is from the backup of %s, and the network has not been asked yet whether it is the newest", d.agency.Name, d.restored.Backup.Format(time.RFC3339)),
			"keep the node running; `porchlight agency docket resume` says which stewards have answered")
	}
	return nil
}

// Stewards are the peer ids of those that config.toml names.
func (p *Peer) Stewards() (ids []string) {
	for _, addr := range p.Config.Stewards {
		ids = append(ids, addr[strings.LastIndexByte(addr, '/')+1:]) // …/p2p/ID
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// told takes note of what a steward holds of restored dockets.
func (p *Peer) told(remote []p2psync.Head) {
	if len(remote) == 0 || !slices.Contains(p.Stewards(), remote[0].Peer) {
		return
	}
	p.mu.Lock()
	dockets := slices.Collect(maps.Values(p.dockets))
	p.mu.Unlock()
	for _, d := range dockets {
		var note []byte
		for _, h := range remote {
			if h.Log == string(d.ID()) {
				note = h.Note
			}
		}
		d.heard(remote[0].Peer, note)
		p.settle(d)
	}
}

// heard remembers a steward's checkpoint; note is nil where it holds nothing of the docket.
func (d *Docket) heard(steward string, note []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.restored == nil {
		return
	}
	cp, err := docket.Cosigned{}, error(nil)
	if note != nil {
		cp, err = docket.OpenCosigned(note, d.agency, d.witnesses)
	}
	if err != nil || note == nil && d.log.Size() > 0 {
		return
	}
	if d.heads == nil {
		d.heads = map[string]docket.Checkpoint{}
	}
	d.heads[steward] = cp.Checkpoint
}

// settle lets a restored docket sign again once enough stewards have answered.
func (p *Peer) settle(d *Docket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.restored == nil || d.proof != nil || d.broken != nil {
		return
	}
	all := p.Stewards()
	n := len(d.answered(all))
	if n == 0 || n < len(all) && (2*n <= len(all) || p.Now().Sub(d.restored.At) < restoredPatience) {
		return
	}
	if err := d.lift(); err != nil {
		p.Log.Error("restored docket not resumed", "agency", d.agency.Name, "err", err)
		return
	}
	p.Log.Info("the network has confirmed the restored docket", "agency", d.agency.Name, "entries", d.log.Size(), "stewards", n)
}

// answered are those stewards all of whose entries are here. The caller holds d.mu.
func (d *Docket) answered(stewards []string) (done []string) {
	for _, id := range stewards {
		if cp, ok := d.heads[id]; ok && (cp.Size == 0 || d.log.Consistent(cp) == nil) {
			done = append(done, id)
		}
	}
	return done
}

// lift ends the mark. The caller holds d.mu.
func (d *Docket) lift() error {
	if err := d.disk.Remove(d.path("restored")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.restored, d.heads = nil, nil
	return nil
}

// DocketState says whether this node's own docket may sign, and if not, what it waits for.
type DocketState struct {
	Entries  int64     `json:"entries"`
	Signs    bool      `json:"signs"`
	Forked   bool      `json:"forked"`
	Restored *Restored `json:"restored,omitempty"`
	Stewards []string  `json:"stewards"` // to be asked
	Answered []string  `json:"answered"` // those whose entries are all here
	Ahead    []string  `json:"ahead"`    // those with entries that are not here yet, or do not fit
}

// ResumeDocket tells the state of a docket. With alone it signs again although not enough stewards
// have answered: a person says that no other copy of it has more.
func (p *Peer) ResumeDocket(id consent.AgencyID, alone bool) (s DocketState, err error) {
	d := p.Docket(id)
	if d == nil {
		return s, errNotAdmitted
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if alone && d.restored != nil && d.proof == nil {
		if err := d.lift(); err != nil {
			return s, err
		}
	}
	all, ahead := p.Stewards(), []string{}
	for _, id := range all {
		if d.heads[id].Size > d.log.Size() {
			ahead = append(ahead, id)
		}
	}
	return DocketState{Entries: d.log.Size(), Signs: d.maySign() == nil, Forked: d.proof != nil, Restored: d.restored,
		Stewards: append([]string{}, all...), Answered: append([]string{}, d.answered(all)...), Ahead: ahead}, nil
}
