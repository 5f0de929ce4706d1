package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
)

// A lead is how far ahead of this docket the agency, or enough witnesses, have signed it.
type lead struct {
	size  int64
	since time.Time
}

// withheldAfter is how long a docket may be known to be longer than what anybody gives before it counts as withheld: a few rounds of
// catching up.
const withheldAfter = 15 * time.Minute

// witnessed verifies a checkpoint and that enough witnesses cosigned it. The caller holds d.mu.
func (d *Docket) witnessed(note []byte) (docket.Cosigned, error) {
	c, err := docket.OpenCosigned(note, d.agency, d.witnesses)
	if err == nil && len(c.By) < d.quorum {
		err = fmt.Errorf("%w: %w", errHere, consent.Refuse(consent.Unwitnessed, "", "%d of the charter's witnesses cosigned the docket of %s at %d entries; %d have to",
			len(c.By), d.agency.Name, c.Size, d.quorum))
	}
	return c, err
}

// see takes note of a checkpoint of entries that are all here, where enough witnesses cosigned it and more than the one
// before. The caller holds d.mu or is alone.
func (d *Docket) see(note []byte) (better bool) {
	c, err := d.witnessed(note)
	if err != nil || d.log.Consistent(c.Checkpoint) != nil || c.Size < d.shown.Size || c.Size == d.shown.Size && len(c.By) <= len(d.shown.By) {
		return false
	}
	d.shown = c
	return true
}

// Cosigned keeps a checkpoint of this docket with the cosignatures that were gathered for it, of a docket of this node's own beside the
// newest checkpoint.
func (d *Docket) Cosigned(note []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	c, err := d.witnessed(note)
	if err != nil {
		return err
	}
	if !d.see(c.Note) {
		return nil
	}
	return d.disk.WriteFile(d.path("cosigned"), c.Note, 0o600)
}

// Waiting is the docket's newest checkpoint, as long as too few witnesses have cosigned it; nil when enough have.
func (d *Docket) Waiting() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil || d.log.Size() == d.shown.Size {
		return nil
	}
	return d.log.Checkpoint()
}

// newest is the docket's newest checkpoint as its agency signed it, nil before the first.
func (d *Docket) newest() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	note := d.log.Checkpoint()
	if d.broken != nil || note == nil {
		return nil
	}
	c, err := docket.OpenCosigned(note, d.agency, nil)
	if err != nil {
		return nil
	}
	return c.Note
}

// Reached is the latest time of which as many witnesses as have to cosign say, on what is shown of the docket, that it has come; zero
// where none have to.
func (d *Docket) Reached() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shown.Reached(d.quorum)
}

// Ask is the question to a witness that cosigned old entries last.
func (d *Docket) Ask(old int64, checkpoint []byte) (docket.Add, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := docket.Add{Old: old, Checkpoint: checkpoint}
	cp, err := docket.ParseCheckpoint(checkpoint, d.agency)
	if err == nil && old > 0 && old < cp.Size {
		q.Proof, err = d.log.Prove(old, cp.Size)
	}
	return q, err
}

// Witnesses are those of the charter, and how many of them have to cosign.
func (d *Docket) Witnesses() ([]charter.Witness, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.witnesses, d.quorum
}

// Withheld says since when the docket has been known to be longer than what anybody gives, and how long: its size and the zero
// time where it has not been for long.
func (d *Docket) Withheld() (size int64, since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil || d.lead.size <= d.log.Size() || d.now().Sub(d.lead.since) < withheldAfter {
		return d.shown.Size, time.Time{}
	}
	return d.lead.size, d.lead.since
}

// CompareNote holds a checkpoint from elsewhere against this docket. One that contradicts it proves that the agency signed
// two versions, and from then on its requests are not shown. One of a larger size is compared again once the docket has grown.
func (d *Docket) CompareNote(note []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	cp, err := docket.OpenCosigned(note, d.agency, d.witnesses)
	if err != nil {
		return err
	}
	return d.compare(cp)
}

// lacks says how many entries a peer's head has more than this docket, under a checkpoint that counts here.
func (d *Docket) lacks(note []byte) (from int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unstage()
	cp, err := d.witnessed(note)
	if err != nil {
		return 0, err
	}
	if cp.Size == d.log.Size() && d.see(cp.Note) {
		// The same entries, with more witnesses: after the charter named others.
		return cp.Size, d.disk.WriteFile(d.path("checkpoint"), cp.Note, 0o600)
	}
	return d.log.Size(), nil
}

// compareBundle looks for an entry of a message that stands where this docket has another.
func (d *Docket) compareBundle(b *docket.Bundle) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proof != nil || d.log.Size() == 0 {
		return nil
	}
	m, found, err := b.Contradiction(d.log)
	if err != nil || !found {
		return err
	}
	return d.suspend(m)
}

func (d *Docket) compare(cp docket.Cosigned) error {
	if d.proof != nil {
		if d.unsaved {
			d.keepProof()
		}
		return fmt.Errorf("docket of %s: %w", d.agency.Name, errForked)
	}
	err := d.log.Consistent(cp.Checkpoint)
	switch consent.ClassOf(err) {
	case consent.Behind:
		if len(d.later) >= maxLater {
			d.later = d.later[1:]
		}
		if !slices.ContainsFunc(d.later, func(n []byte) bool { return bytes.Equal(n, cp.Note) }) { // the same one, again and again, pushes out no other
			d.later = append(d.later, bytes.Clone(cp.Note))
		}
		if len(cp.By) < d.quorum {
			return nil // nobody is owed the entries of a checkpoint that does not count
		}
		if d.lead.size <= d.log.Size() {
			d.lead = lead{cp.Size, d.now()}
		}
		d.lead.size = max(d.lead.size, cp.Size)
		return nil // nothing is proven
	case consent.Fork:
		m, err := d.log.Contradiction(cp.Note)
		if err != nil {
			return err
		}
		return d.suspend(m)
	}
	return err
}

// suspend keeps a proof of misconduct, for good.
func (d *Docket) suspend(m docket.Misconduct) error {
	msg, err := m.Encode()
	if err == nil {
		err = m.Verify(d.agency)
	}
	if err != nil {
		return err
	}
	d.proof = msg
	return errors.Join(fmt.Errorf("docket of %s: %w", d.agency.Name, errForked), d.keepProof())
}

// keepProof stores the proof, now or with the next checkpoint that comes.
func (d *Docket) keepProof() error {
	err := d.disk.WriteFile(d.path("misconduct"), d.proof, 0o600)
	d.unsaved = err != nil
	return err
}

var errForked = errors.New("the agency signed two versions of it")

// fork is an error where the agency was seen to sign two versions of its docket.
func (d *Docket) fork() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proof == nil {
		return nil
	}
	return fmt.Errorf("docket of %s: %w", d.agency.Name, errForked)
}

// room refuses entries that are more than the charter grants a docket for all the days since it was first admitted, and two.
func (d *Docket) room(entries [][]byte) error {
	days := int64(d.now().Sub(d.since)/(24*time.Hour)) + 2
	size, bytes := d.log.Size()+int64(len(entries)), d.offsets[len(d.offsets)-1]
	for _, e := range entries {
		bytes += int64(len(e))
	}
	if size > days*int64(d.quotas.EntriesPerDay) || bytes > days*int64(d.quotas.BytesPerDay) {
		return fmt.Errorf("%w: %w", errHere, consent.Refuse(consent.OverQuota, "", "the docket of %s would have %d entries of %d bytes; the charter grants %d entries and %d bytes a day, and it is %d days old",
			d.agency.Name, size, bytes, d.quotas.EntriesPerDay, d.quotas.BytesPerDay, days-2))
	}
	return nil
}
