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
	"slices"
	"strings"
	"sync"
	"time"

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

// Join fetches the charter that an invitation names from every peer the invitation lists, by a
// throwaway identity, and checks it: the chain must begin with the mesh's version 1 and contain
// the version whose hash the invitation carries. reached lists the peers that answered. Nothing
// is stored; the person looks at the charter first.
func Join(ctx context.Context, inv charter.Invitation, log *slog.Logger) (chain charter.Chain, reached []string, err error) {
	if len(inv.Peers) == 0 {
		return nil, nil, WithHint(errors.New("the invitation names no peer"), "ask for one made with `porchlight charter invite --peer ADDRESS`")
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	h, err := host.New(host.Config{Key: key, Role: host.Observer, Log: log})
	if err != nil {
		return nil, nil, err
	}
	defer h.Close()
	f := &fetcher{inv: inv}
	s, err := p2psync.Serve(h, nil, f)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	var errs []error
	for _, addr := range inv.Peers {
		one, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := h.Connect(one, addr)
		if err == nil {
			err = s.Pull(one, addr[strings.LastIndexByte(addr, '/')+1:]) // …/p2p/ID
		}
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
			continue
		}
		reached = append(reached, addr)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(reached) == 0 {
		return nil, nil, WithHint(fmt.Errorf("no peer of the invitation answered: %w", errors.Join(errs...)), "is the steward running, and is this machine online? A new invitation may name others")
	}
	if len(f.chain) == 0 || !slices.ContainsFunc(f.chain, func(l charter.Link) bool { return l.Hash == inv.Charter }) {
		return nil, nil, WithHint(errors.New("the peers do not have the charter version that the invitation names"), "ask who invited you for a new link")
	}
	return f.chain, reached, nil
}

// fetcher takes in the charter of one mesh and nothing else.
type fetcher struct {
	inv   charter.Invitation
	mu    sync.Mutex
	chain charter.Chain
}

func (f *fetcher) Want(remote []p2psync.Head) []p2psync.Range {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range remote {
		if h.Log == charterLog && h.Size > int64(len(f.chain.Notes())) {
			return []p2psync.Range{{Log: charterLog, From: int64(len(f.chain.Notes())), To: h.Size}}
		}
	}
	return nil
}

func (f *fetcher) Take(_ string, _ int64, entries [][]byte, _ p2psync.Head) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, note := range entries {
		chain, err := ExtendCharter(f.chain, note)
		if err != nil {
			return err
		}
		if chain.Mesh() != f.inv.Mesh {
			return fmt.Errorf("a charter of another mesh (%s)", chain.Mesh())
		}
		f.chain = chain
	}
	return nil
}
