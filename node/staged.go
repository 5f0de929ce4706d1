package node

import (
	"fmt"
	"maps"
	"time"

	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// A stage holds entries of batches that wait for the rest of their checkpoint.
type stage struct {
	first   int64
	entries [][]byte
	bytes   int
	at      time.Time // when the last of them came
}

const (
	// maxStaged bounds what one docket being fetched may hold in memory, in bytes, and maxStages from how many peers.
	maxStaged = 64 << 20
	maxStages = 4
	// stagedFor is how long they are kept for the next: longer than a pull waits for it. A pull that ended early begins anew.
	stagedFor = time.Minute
)

// unstage lets go of what pulls that ended early left. The caller holds d.mu.
func (d *Docket) unstage() {
	now := d.now()
	maps.DeleteFunc(d.staged, func(_ string, s *stage) bool { return now.Sub(s.at) > stagedFor })
}

// Stage takes a batch of entries on the way to a peer's head. done is true once the head is
// reached and all of them were taken in. What one peer sends never mixes with another's.
func (d *Docket) Stage(from int64, entries [][]byte, head p2psync.Head) (done bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cp, err := d.witnessed(head.Note)
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
	s.at = d.now()
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
