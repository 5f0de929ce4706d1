package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// WriteCharter stores a chain as 000001.note and on. Versions that are there already stay.
func WriteCharter(disk durable.Disk, dir string, chain charter.Chain) error {
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, note := range chain.Notes() {
		name := filepath.Join(dir, fmt.Sprintf("%06d.note", i+1))
		if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, note) {
			continue
		}
		if err := disk.WriteFile(name, note, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// A Standing says how what a peer shows of the charter stands to the newest version that all peers' versions make.
type Standing string

// The standings of a peer.
const (
	Agrees      Standing = "agrees"
	IsBehind    Standing = "is behind"
	Contradicts Standing = "contradicts" // a history that does not fit, another mesh, or what is no charter
	Silent      Standing = "is silent"   // it could not be asked
)

// Shown is what one peer of an invitation showed.
type Shown struct {
	Peer     string   `json:"peer"` // the peer's id
	Standing Standing `json:"standing"`
	Version  int      `json:"version,omitempty"`
	Why      string   `json:"why,omitempty"`
}

// Joined is what the peers of an invitation have to say.
type Joined struct {
	Chain charter.Chain
	Peers []Shown
	Addrs []string // of the peers that agree or are behind
}

// Join fetches the charter that an invitation names from every peer the invitation lists, by a throwaway identity,
// and compares. The chain is that of all peers' versions; it must begin with the mesh's version 1 and contain the
// version whose hash the invitation carries, which somebody handed over outside the network. A peer that shows another
// mesh, and two histories between which nobody can choose, are refusals; what the peers showed is returned with them.
// Nothing is stored; the person looks at the charter first.
func Join(ctx context.Context, inv charter.Invitation, log *slog.Logger) (Joined, error) {
	if len(inv.Peers) == 0 {
		return Joined{}, WithHint(errors.New("the invitation names no peer"), "ask for one made with `porchlight charter invite --peer ADDRESS`")
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Joined{}, err
	}
	h, err := host.New(host.Config{Key: key, Role: host.Observer, Log: log})
	if err != nil {
		return Joined{}, err
	}
	defer h.Close()
	f := &fetcher{inv: inv, heard: map[string]*heard{}}
	s, err := p2psync.Serve(h, nil, f)
	if err != nil {
		return Joined{}, err
	}
	defer s.Close()
	// A steward has several addresses and is asked once.
	var peers []*heard
	for _, addr := range inv.Peers {
		id := addr[strings.LastIndexByte(addr, '/')+1:] // …/p2p/ID
		p := f.heard[id]
		if p == nil {
			p = &heard{id: id}
			f.heard[id] = p
			peers = append(peers, p)
		}
		p.invited = append(p.invited, addr)
	}
	var asked sync.WaitGroup
	for _, p := range peers {
		asked.Go(func() {
			var errs []error
			for _, addr := range p.invited {
				one, cancel := context.WithTimeout(ctx, 20*time.Second)
				if err := h.Connect(one, addr); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", addr, err))
				} else {
					p.addrs = append(p.addrs, addr)
				}
				cancel()
			}
			if p.err = errors.Join(errs...); len(p.addrs) > 0 {
				one, cancel := context.WithTimeout(ctx, 20*time.Second)
				p.err = s.Pull(one, p.id)
				cancel()
			}
		})
	}
	asked.Wait()
	return compare(inv, peers)
}

// heard is one peer and what it showed.
type heard struct {
	id      string
	invited []string // its addresses in the invitation
	addrs   []string // those that answered
	chain   charter.Chain
	err     error // how asking it ended
	refused error // what it showed that is no part of its chain
	alien   bool  // it shows another mesh
}

// compare makes one chain of what the peers showed, and says how each stands to it.
func compare(inv charter.Invitation, peers []*heard) (Joined, error) {
	var j Joined
	var errs []error
	answered := 0
	// The longest history that has the invitation's version is the one that others are held against.
	for _, p := range peers {
		if len(p.addrs) == 0 || p.err != nil && p.refused == nil {
			errs = append(errs, p.err)
		} else {
			answered++
		}
		if p.chain.Holds(inv.Charter) && len(p.chain) > len(j.Chain) {
			j.Chain = p.chain
		}
	}
	if len(j.Chain) > 0 {
		for _, p := range peers {
			for _, note := range p.chain.Notes() {
				longer, err := j.Chain.Extend(note)
				if err != nil {
					p.refused = errors.Join(p.refused, err)
					break
				}
				j.Chain = longer
			}
		}
	}
	alien, torn := false, j.Chain.Frozen()
	for _, p := range peers {
		shown := p.stands(j.Chain)
		j.Peers = append(j.Peers, shown)
		alien = alien || p.alien
		// A history as long as ours that does not fit is no less true than ours.
		torn = torn || shown.Standing == Contradicts && len(p.chain) > 0 && len(p.chain) >= len(j.Chain)
		if shown.Standing == Agrees || shown.Standing == IsBehind {
			j.Addrs = append(j.Addrs, p.addrs...)
		}
	}
	switch {
	case answered == 0:
		return j, WithHint(fmt.Errorf("no peer of the invitation answered: %w", errors.Join(errs...)), "is the steward running, and is this machine online? A new invitation may name others")
	case alien:
		return j, WithHint(consent.Refuse(consent.WrongPrevious, "mesh", "a peer of the invitation shows another mesh"), "ask who invited you for a new link that does not name that peer")
	case len(j.Chain) == 0:
		return j, WithHint(errors.New("the peers do not have the charter version that the invitation names"), "ask who invited you for a new link")
	case torn:
		return j, WithHint(consent.Refuse(consent.Frozen, "", "the mesh has two histories: its signers signed versions that exclude each other"),
			"join when the signers have made a version that names both; ask who invited you what happened")
	}
	return j, nil
}

// stands says how what the peer showed stands to the chain of all.
func (p *heard) stands(all charter.Chain) Shown {
	s := Shown{Peer: p.id, Standing: Agrees, Version: len(p.chain)}
	switch {
	case p.refused != nil:
		s.Standing, s.Why = Contradicts, p.refused.Error()
	case p.err != nil:
		s.Standing, s.Why = Silent, p.err.Error()
	case len(p.chain) == 0:
		s.Standing, s.Why = IsBehind, "it has no charter"
	case len(p.chain) < len(all):
		s.Standing, s.Why = IsBehind, fmt.Sprintf("it has version %d, the newest is %d", len(p.chain), len(all))
	case all.Frozen() && len(p.chain[len(p.chain)-1].Rivals) < len(all[len(all)-1].Rivals):
		s.Standing, s.Why = Contradicts, fmt.Sprintf("its version %d, %.16s…, has a rival", len(p.chain), p.chain[len(p.chain)-1].Hash)
	}
	return s
}

// fetcher takes in the charter of one mesh and nothing else, each peer's apart.
type fetcher struct {
	inv   charter.Invitation
	heard map[string]*heard // not changed while peers are asked
}

func (f *fetcher) Want(remote []p2psync.Head) []p2psync.Range {
	for _, h := range remote {
		if h.Log == charterLog {
			return []p2psync.Range{{Log: charterLog, From: 0, To: h.Size}}
		}
	}
	return nil
}

// Take judges each note as it comes, so that a peer can make this node keep only what signers of the mesh signed.
func (f *fetcher) Take(_ string, _ int64, entries [][]byte, head p2psync.Head) error {
	p := f.heard[head.Peer]
	if p == nil {
		return fmt.Errorf("nobody asked %s", head.Peer)
	}
	for _, note := range entries {
		chain, err := ExtendCharter(p.chain, note)
		if err == nil && chain.Mesh() != f.inv.Mesh {
			p.alien = true
			err = fmt.Errorf("a charter of another mesh, %s (%s)", chain.Current().Mesh, chain.Mesh())
		}
		if err != nil {
			p.refused = err
			return err
		}
		p.chain = chain
	}
	return nil
}
