package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/p2p/directory"
)

// Stewards, agencies and observers tell each other the newest checkpoint of every docket through the directory too, so that a
// docket which those around a node keep back, or show in another version, is found out from further away. Agencies and
// stewards put a checkpoint there when they have a new one, and all three now and then, for what nobody puts again is
// forgotten. Each looks the newest of every docket up every few minutes. What it finds is only a checkpoint: entries still come
// by catch-up. Homes take no part, and hear what comes of it from their stewards.
//
// In a simulated network there is no directory: it asks and refreshes all the time, which would be most of what a scenario
// counts, and nothing in the mesh may depend on it.

const (
	lookEvery = 5 * time.Minute // half to one and a half of it
	putEvery  = 2 * time.Hour   // half to one and a half of it
	// settleFor is how long a docket that changes is left to change, so that witnesses' cosignatures go out with it.
	settleFor = 3 * time.Second
)

// A listing is a node's part in the directory. Only Run's goroutine uses what is in it.
type listing struct {
	*directory.Directory
	put  map[consent.AgencyID][]byte // the checkpoint that was last put
	due  map[consent.AgencyID]time.Time
	self time.Time // when this steward says again where it is
}

// openDirectory takes part, where a node of this role in this network does.
func (p *Peer) openDirectory() error {
	if p.State.Role() == Home || p.network.Simulated() {
		return nil
	}
	d, err := directory.Open(p.host, directory.Config{Check: p.rank, LAN: p.Charter().LANOnly})
	if err != nil {
		return err
	}
	p.directory = &listing{Directory: d, put: map[consent.AgencyID][]byte{}, due: map[consent.AgencyID]time.Time{}}
	return nil
}

// rank verifies what the directory holds, or is given, for a docket. Whoever sends it has this node look at it: a checkpoint that
// contradicts the docket here is a proof of misconduct, whichever way it came.
func (p *Peer) rank(log string, note []byte) (int64, error) {
	d := p.Docket(consent.AgencyID(log))
	if d == nil {
		return 0, errNotAdmitted
	}
	rank, err := d.rank(note)
	return rank, p.accuse(d, err)
}

// rank holds a checkpoint from elsewhere against this docket, as CompareNote does, and says how new it is: by its entries, and
// of the same entries by its cosignatures. One that too few witnesses cosigned, or that is not in its one spelling, has no rank.
func (d *Docket) rank(note []byte) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := docket.OpenCosigned(note, d.agency, d.witnesses)
	if err == nil {
		err = d.compare(c)
	}
	switch {
	case err != nil:
		return 0, err
	case !bytes.Equal(c.Note, note):
		return 0, fmt.Errorf("a checkpoint of %s with signatures that this charter does not ask for", d.agency.Name)
	case len(c.By) < d.quorum:
		return 0, fmt.Errorf("a checkpoint of %s that %d witnesses cosigned; %d have to", d.agency.Name, len(c.By), d.quorum)
	}
	return c.Size*(charter.MaxWitnesses+1) + int64(len(c.By)), nil
}

// runDirectory puts and looks until ctx ends.
func (p *Peer) runDirectory(ctx context.Context) error {
	if p.directory == nil {
		return nil
	}
	tick := time.NewTimer(settleFor + rand.N(settleFor)) // until there are peers
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(settleFor/2 + rand.N(settleFor)):
			}
			p.list(ctx, false)
		case <-tick.C:
			p.list(ctx, true)
			wait := lookEvery
			if p.directory.Servers() == 0 {
				wait /= 10
			}
			tick.Reset(wait/2 + rand.N(wait))
		}
	}
}

// list is one round: over all dockets, a few at a time, each for a bounded time.
func (p *Peer) list(ctx context.Context, look bool) {
	p.mu.Lock()
	dockets := slices.Collect(maps.Values(p.dockets))
	p.mu.Unlock()
	rand.Shuffle(len(dockets), func(i, j int) { dockets[i], dockets[j] = dockets[j], dockets[i] })
	var g errgroup.Group
	g.SetLimit(4)
	type done struct {
		id   consent.AgencyID
		note []byte
	}
	put := make(chan done, len(dockets))
	for _, d := range dockets {
		_, note := d.Head()
		if d.Forked() { // nothing of it is to be looked up or handed on; the proof spreads by itself
			continue
		}
		stale := p.Now().After(p.directory.due[d.ID()]) || !bytes.Equal(note, p.directory.put[d.ID()])
		g.Go(func() error {
			if look {
				p.lookUp(ctx, d)
			}
			// There may be many observers: what is new comes from the others, and from them in their own time.
			if note == nil || !stale || !look && p.State.Role() == Observe {
				return nil
			}
			err := p.directory.Put(ctx, string(d.ID()), note)
			if err == nil {
				put <- done{d.ID(), note}
			} else if ctx.Err() == nil && !errors.Is(err, directory.ErrAlone) {
				p.Log.Debug("checkpoint not put into the directory", "agency", d.Agency().Name, "err", err)
			}
			return nil
		})
	}
	_ = g.Wait() // no error is returned above
	close(put)
	for one := range put {
		p.directory.put[one.id] = one.note
		p.directory.due[one.id] = p.Now().Add(putEvery/2 + rand.N(putEvery))
	}
	if look {
		p.listSelf(ctx)
		p.findStewards(ctx)
	}
}

// lookUp holds the newest checkpoint that the directory has against a docket, and catches up where it says that there is more.
func (p *Peer) lookUp(ctx context.Context, d *Docket) {
	note, err := p.directory.Newest(ctx, string(d.ID()))
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, directory.ErrAlone) && !errors.Is(err, directory.ErrNone) {
			p.Log.Debug("checkpoint not looked up", "agency", d.Agency().Name, "err", err)
		}
		return
	}
	err = p.accuse(d, d.CompareNote(note))
	if err == nil {
		_, err = d.lacks(note) // which keeps further cosignatures
	}
	cp, perr := docket.OpenCosigned(note, d.Agency(), nil)
	if err != nil || perr != nil || cp.Size <= d.Size() {
		return
	}
	p.Log.Info("the directory knows of more entries of a docket", "agency", d.Agency().Name, "entries", cp.Size, "here", d.Size())
	// Whoever told the directory is not named there. Of those at hand any may have them; each is asked a few times.
	peers := p.host.Peers()
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	asked := 0
	for _, q := range peers {
		if p.host.Mesh(q.ID) && asked < 3 {
			p.catchUp(pull{peer: q.ID, docket: d, index: cp.Size - 1})
			asked++
		}
	}
}

// listSelf says where a steward is, as far as others confirmed it or its person named it; in a mesh of one local network, where it
// listens.
func (p *Peer) listSelf(ctx context.Context) {
	if p.State.Role() != Steward || p.Now().Before(p.directory.self) {
		return
	}
	addrs := append(slices.Clone(p.Config.Steward.Announce), p.host.Reachable().Yes...)
	if p.Charter().LANOnly {
		addrs = append(addrs, p.host.Addrs()...)
	}
	slices.Sort(addrs)
	if err := p.directory.PutSelf(ctx, slices.Compact(addrs)); err != nil {
		if ctx.Err() == nil && !errors.Is(err, directory.ErrAlone) {
			p.Log.Debug("this steward's addresses not put into the directory", "err", err)
		}
		return
	}
	if len(addrs) > 0 {
		p.directory.self = p.Now().Add(putEvery/2 + rand.N(putEvery))
	}
}

// findStewards looks for those of this node's stewards that do not answer where it knows them to be: they may have moved.
func (p *Peer) findStewards(ctx context.Context) {
	for _, k := range p.host.Kept() {
		if !k.Named || !k.Since.IsZero() || k.Failed == nil || ctx.Err() != nil {
			continue
		}
		addrs, err := p.directory.Steward(ctx, k.ID)
		if err != nil {
			continue // the next round asks again
		}
		if p.host.Moved(addrs) {
			p.Log.Info("the directory knows another address of a steward", "steward", k.ID, "at", addrs)
		}
	}
}
