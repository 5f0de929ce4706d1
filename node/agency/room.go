package agency

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// arrived is how many bytes of a release are on disk.
func (v *vault) arrived(id consent.GrantID, root string) int64 {
	for _, ext := range []string{".sealed", ".part"} {
		if info, err := os.Stat(v.path(id, root+ext)); err == nil {
			return info.Size()
		}
	}
	return 0
}

// bytes is what the vault holds and what open sessions are bringing. The caller holds v.mu.
func (v *vault) bytes() (n int64) {
	for _, h := range v.grants {
		n += int64(len(h.note) + len(h.acceptance))
		for _, r := range h.grant.Releases {
			switch k := h.releases[string(r.CID)]; {
			case k.session:
				n += r.SealedBytes
			default:
				n += k.arrived
			}
		}
	}
	return n
}

// makeRoom lets go of incomplete releases until need more bytes fit, and refuses where that does not
// help; then it lets go of nothing. The caller holds v.mu.
func (v *vault) makeRoom(need int64, now time.Time, dropped func(*held, *kept) error) error {
	type waiting struct {
		h    *held
		k    *kept
		last time.Time
	}
	total := v.bytes() + need
	if total <= v.limit {
		return nil
	}
	var halves []waiting
	could := int64(0)
	for _, h := range v.grants {
		for _, k := range h.releases {
			if last := h.last(k); k.incomplete() && !k.session && k.arrived > 0 && now.Sub(last) >= idle {
				halves = append(halves, waiting{h, k, last})
				could += k.arrived
			}
		}
	}
	if total-could > v.limit {
		return errFull
	}
	slices.SortFunc(halves, func(a, b waiting) int { return a.last.Compare(b.last) })
	for _, w := range halves {
		if total <= v.limit {
			break
		}
		total -= w.k.arrived
		if err := errors.Join(v.removeBlocks(w.h, w.k), dropped(w.h, w.k)); err != nil {
			return err
		}
	}
	return nil
}

// last is when something came of a release.
func (h *held) last(k *kept) time.Time {
	if k.Touched.After(h.accepted) {
		return k.Touched
	}
	return h.accepted
}

// room refuses a grant that there is no place for. The caller holds v.mu.
func (v *vault) room(g grant.Grant, now time.Time, dropped func(*held, *kept) error) error {
	need, same, empties := int64(0), 0, 0
	var empty, oldest *held // the longest-standing ones of which nothing came, of this request and of all
	for _, h := range v.grants {
		nothing := h.waits(func(k *kept) bool { return k.arrived == 0 })
		if nothing {
			empties++
			if oldest == nil || h.accepted.Before(oldest.accepted) {
				oldest = h
			}
		}
		if h.grant.Request != g.Request {
			continue
		}
		same++
		if nothing && (empty == nil || h.accepted.Before(empty.accepted)) {
			empty = h
		}
	}
	for _, r := range g.Releases {
		need += r.SealedBytes
	}
	if same >= maxGrants && empty == nil {
		return fmt.Errorf("this request has %d answers, which is the most that are kept", same)
	}
	if err := v.makeRoom(need, now, dropped); err != nil {
		return err
	}
	switch {
	case same >= maxGrants:
		return v.drop(empty, func(*held) error { return nil })
	case empties >= maxEmpty:
		return v.drop(oldest, func(*held) error { return nil })
	}
	return nil
}

// waits says whether no release of a grant is complete or has a session, and all are as said.
func (h *held) waits(all func(*kept) bool) bool {
	for _, k := range h.releases {
		if k.State != "arriving" || k.session || !all(k) {
			return false
		}
	}
	return true
}

// begin takes room for a whole release while a session sends it.
func (v *vault) begin(h *held, r grant.Release, now time.Time, dropped func(*held, *kept) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := h.releases[string(r.CID)]
	switch {
	case v.grants[h.id] != h || h.dropping:
		return errors.New("the grant was dropped meanwhile; send it again")
	case k.session:
		return &deliver.Error{Class: deliver.ClassBusy}
	case k.unsure:
		if err := v.removeBlocks(h, k); err != nil {
			return err
		}
		k.unsure = false
	}
	k.session = true // it does not give way to itself, and counts as a whole from here on
	if err := v.makeRoom(0, now, dropped); err != nil {
		k.session = false
		return err
	}
	return nil
}

// end gives back the room of what did not arrive.
func (v *vault) end(h *held, root string, wrote, unsure bool, now time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := h.releases[root]
	k.session, k.unsure = false, k.unsure || unsure
	if k.State == "deleted" { // while the session ran
		return v.removeBlocks(h, k)
	}
	k.arrived = v.arrived(h.id, root)
	if !wrote {
		return nil
	}
	k.Touched = now.UTC()
	return v.save(h, k)
}

// dropExpired drops the incomplete releases of grants that stand no more, and such grants of which
// nothing else is left. Of one whose home was here and sent nothing for an hour there is nothing to go on
// with, and it comes back as it came.
func (v *vault) dropExpired(now time.Time, dropped func(*held) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, h := range v.grants {
		if now.Before(h.grant.Expires.Time) {
			if now.Sub(h.accepted) > emptyFor && h.waits(func(k *kept) bool { return k.arrived == 0 }) {
				errs = append(errs, v.drop(h, dropped))
			}
			continue
		}
		if h.waits(func(*kept) bool { return true }) {
			if err := v.drop(h, dropped); err != nil {
				errs = append(errs, fmt.Errorf("incomplete grant %s: %w", h.id, err))
			}
			continue
		}
		for _, k := range h.releases {
			if k.incomplete() && !k.session && k.arrived > 0 {
				errs = append(errs, v.removeBlocks(h, k))
			}
		}
	}
	return errors.Join(errs...)
}

// drop forgets a grant of which no release is complete. The grant's note goes after the blocks and
// after dropped was told, so that what a crash leaves is dropped later. The caller holds v.mu.
func (v *vault) drop(h *held, dropped func(*held) error) error {
	// Where the disk fails half-way its notes may be gone, and what came under it would have a key that no deadline knows of.
	h.dropping = true
	for _, k := range h.releases {
		if err := v.removeBlocks(h, k); err != nil {
			return err
		}
		for _, ext := range []string{".manifest", ".receipt", ".json"} {
			if err := v.remove(v.path(h.id, k.Root+ext)); err != nil {
				return err
			}
		}
	}
	if err := dropped(h); err != nil {
		return err
	}
	if err := v.removeGrant(h.id); err != nil {
		return err
	}
	delete(v.grants, h.id)
	delete(v.byKey, h.grant.Key)
	return nil
}
