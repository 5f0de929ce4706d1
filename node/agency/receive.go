package agency

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// receiver takes in what homes deliver. Everything it is handed comes from a stranger who holds
// a fresh key.
type receiver struct{ *Agency }

// Grant judges an offer. The same grant again, after a cut, gives the same acceptance.
func (a receiver) Grant(_ context.Context, from ed25519.PublicKey, note []byte) ([]byte, []string, error) {
	acceptance, roots, err := a.judge(from, note)
	if err != nil {
		err = noRoom(err)
		a.refused(grant.IDOf(note), err)
	}
	return acceptance, roots, err
}

// noRoom gives the error of a full disk the class that the home is told.
func noRoom(err error) error {
	var said *deliver.Error
	if durable.NoRoom(err) && !errors.As(err, &said) {
		return &deliver.Error{Class: deliver.ClassNoRoom, Err: err}
	}
	return err
}

// taken looks at how a step of taking in a release ended: for want of room is remembered with the
// release and shown to the agency's people, since only they can make some.
func (a receiver) taken(h *held, root string, err error) error {
	err = noRoom(err)
	if name := nameOf(err); name != "" {
		a.vault.standsStill(h, root, name)
		a.refused(h.id, err)
	}
	return err
}

func (a receiver) judge(from ed25519.PublicKey, note []byte) ([]byte, []string, error) {
	g, err := grant.OpenGrant(note)
	if err != nil {
		return nil, nil, err
	}
	if pub, err := g.Key.Public(); err != nil || !pub.Equal(from) {
		return nil, nil, errors.New("the session is not the grant key's")
	}
	id := grant.IDOf(note)
	var roots []string
	for _, r := range g.Releases {
		roots = append(roots, string(r.CID))
	}
	a.vault.mu.Lock()
	defer a.vault.mu.Unlock()
	if h := a.vault.grants[id]; h != nil && !h.dropping {
		return h.acceptance, roots, nil
	} else if h != nil {
		if err := a.vault.drop(h, func(*held) error { return nil }); err != nil {
			return nil, nil, err
		}
	}
	if a.vault.byKey[g.Key] != nil {
		return nil, nil, errors.New("this grant key signed another grant before")
	}
	if g.Agency != a.agency {
		return nil, nil, fmt.Errorf("the grant is for the agency %s, this is %s", g.Agency, a.agency)
	}
	r, err := a.peer.Request(string(g.Request))
	if err != nil || r.ID != g.Request || r.Agency != a.agency {
		return nil, nil, errors.New("the grant answers no request of this agency")
	}
	now := a.peer.Now()
	if err := timely(g, r, now); err != nil {
		return nil, nil, err
	}
	if err := g.Answers(r.Body.Terms); err != nil {
		return nil, nil, err
	}
	if err := a.checkPlanned(daysUntil(g.Created.Time, g.Terms.RetainUntil.Time), daysUntil(g.Created.Time, g.Terms.UnusedUntil.Time)); err != nil {
		return nil, nil, err
	}
	limit := a.peer.Config.Agency.MaxReleaseMB << 20
	for _, rel := range g.Releases {
		if _, err := release.ParseRoot(string(rel.CID)); err != nil {
			return nil, nil, err
		}
		if rel.SealedBytes > limit {
			return nil, nil, &deliver.Error{Class: deliver.ClassTooLarge,
				Err: fmt.Errorf("a release of %d bytes; max_release_mb in config.toml allows %d", rel.SealedBytes, limit)}
		}
		// Two promises under one commitment would end on different days.
		for _, h := range a.vault.grants {
			if slices.ContainsFunc(h.grant.Releases, func(had grant.Release) bool { return had.CID == rel.CID && had.Secret == rel.Secret }) {
				return nil, nil, errors.New("another grant has the same release under the same commitment secret")
			}
		}
	}
	act, err := a.decided(id, g, note)
	if err != nil {
		return nil, nil, err
	}
	// Nothing is promised before a receipt. Of many releases some may have a place now and the others on the days to come; where none has, nothing is
	// to be sent in vain.
	if err := a.promise(g.Releases[0].CID, g.Releases[0].Secret, g.Created.Time, g.Terms.RetainUntil.Time); err != nil {
		return nil, nil, err
	}
	if err := a.vault.room(g, now, a.gaveWay); err != nil {
		return nil, nil, err
	}
	key, err := a.receptionKey(r.Body.ReceptionKey)
	if err != nil {
		return nil, nil, err
	}
	acceptance, err := consent.Sign(grant.Acceptance{Grant: id, Terms: g.Terms, Key: key.Verifier(), Created: consent.At(now)}, key)
	if err != nil {
		return nil, nil, err
	}
	if err := a.custody.Note("node", "grant accepted", string(id), fmt.Sprintf("request %s, %d releases", g.Request, len(roots))); err != nil {
		return nil, nil, err
	}
	if err := a.vault.add(id, note, acceptance, act); err != nil {
		return nil, nil, err
	}
	a.accepted(id, g)
	return acceptance, roots, nil
}

// timely holds a grant's dates against its request's and the clock: terms count from the day the
// grant was made, so that a wrong date would stretch them.
func timely(g grant.Grant, r node.Request, now time.Time) error {
	switch {
	case !r.Live(now):
		return errors.New("the request is over")
	case g.Created.Before(r.Body.Created.Add(-request.ClockSkew)):
		return errors.New("the grant is dated before its request")
	case g.Created.After(now.Add(request.ClockSkew)):
		return errors.New("the grant is dated in the future: is the clock right?")
	case !now.Before(g.Expires.Time):
		return errors.New("the grant has expired")
	case g.Expires.After(r.Body.Expires.Time):
		return errors.New("the grant stands longer than its request")
	}
	return nil
}

// Manifest stores the signed description of a release before any of its blocks.
func (a receiver) Manifest(_ context.Context, from ed25519.PublicKey, root string, note []byte) error {
	h, _, r, err := a.vault.release(from, root, a.late())
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(note); hex.EncodeToString(sum[:]) != r.ManifestSHA256 {
		return errors.New("the manifest is not the one that the grant names")
	}
	m, err := grant.OpenManifest(note, h.grant.Key)
	if err != nil {
		return err
	}
	if m.CID != r.CID || m.SealedBytes != r.SealedBytes || m.Request != h.grant.Request {
		return errors.New("manifest and grant describe different releases")
	}
	return a.taken(h, root, a.vault.change(h, root, a.late(), func(k *kept) error {
		k.manifest = &m
		return a.vault.disk.WriteFile(a.vault.path(h.id, root+".manifest"), note, 0o600)
	}))
}

// Begin opens the place where verified blocks go.
func (a receiver) Begin(_ context.Context, from ed25519.PublicKey, root string) (deliver.Sink, error) {
	h, k, r, err := a.vault.release(from, root, a.late())
	if err != nil {
		return nil, err
	}
	if k.manifest == nil {
		return nil, errors.New("no manifest")
	}
	if err := a.vault.begin(h, r, a.peer.Now(), a.gaveWay); err != nil {
		return nil, a.taken(h, root, err)
	}
	p, err := openPart(a.vault.disk, a.vault.path(h.id, root), r.SealedBytes)
	if err != nil {
		return nil, a.taken(h, root, errors.Join(err, a.vault.end(h, root, false, false, a.peer.Now())))
	}
	// Where the disk was full the last time, a block of nothing shows whether it still is before the home
	// sends one in vain.
	if k.reason == "disk-full" {
		if err := p.try(); err != nil {
			return nil, a.taken(h, root, errors.Join(err, p.Close(), a.vault.end(h, root, false, p.unsure, a.peer.Now())))
		}
	}
	a.vault.standsStill(h, root, "")
	p.failed = func(err error) error { return a.taken(h, root, err) }
	p.closed = func(wrote bool) error { return a.vault.end(h, root, wrote, p.unsure, a.peer.Now()) }
	return p, nil
}

// Complete checks the whole sealed file once more and signs that it is held.
func (a receiver) Complete(ctx context.Context, from ed25519.PublicKey, root string) ([]byte, error) {
	h, k, r, err := a.vault.release(from, root, a.late())
	if err != nil {
		return nil, err
	}
	if k.unsure {
		return nil, errors.New("the disk did not confirm the blocks of this release; send them again")
	}
	base := a.vault.path(h.id, root)
	if !k.incomplete() {
		if receipt, err := os.ReadFile(base + ".receipt"); err == nil {
			return receipt, nil
		}
	}
	if k.incomplete() {
		if err := a.check(ctx, h, k, r); err != nil {
			return nil, a.taken(h, root, err)
		}
	}
	var receipt []byte
	err = a.vault.change(h, root, a.late(), func(k *kept) error {
		if !k.held {
			if err := a.promise(r.CID, r.Secret, h.grant.Created.Time, h.grant.Terms.RetainUntil.Time); err != nil {
				return err
			}
			k.Signed = a.peer.Now().UTC()
		}
		if k.incomplete() {
			if err := rename(a.vault.disk, base+".part", base+".sealed"); err != nil {
				return err
			}
			k.State = "sealed"
		}
		var err error
		if receipt, err = a.receipt(h, k); err != nil {
			return err
		}
		if err := a.custody.Note("node", "sealed release held", root, "grant "+string(h.id)); err != nil {
			return err
		}
		k.held = true
		return a.vault.disk.WriteFile(base+".receipt", receipt, 0o600)
	})
	return receipt, a.taken(h, root, err)
}

// rename gives a file its final name, which it has already where a crash came before the record of it.
func rename(disk durable.Disk, from, to string) error {
	if _, err := os.Stat(to); err == nil {
		return disk.SyncDir(filepath.Dir(to))
	}
	return disk.Rename(from, to)
}

// check measures a release of which all blocks came. Every block was verified before it was
// written, so where the whole is wrong the disk lost some of them, or the owner signed for other
// bytes. What is here is then worth nothing; the home sends it again.
func (a receiver) check(ctx context.Context, h *held, k kept, r grant.Release) error {
	base := a.vault.path(h.id, k.Root)
	sum, size, err := measure(ctx, base+".sealed")
	if errors.Is(err, fs.ErrNotExist) {
		sum, size, err = measure(ctx, base+".part")
	}
	if err != nil {
		return err
	}
	if sum == k.manifest.SealedSHA256 && size == r.SealedBytes {
		return nil
	}
	err = a.vault.change(h, k.Root, a.late(), func(k *kept) error { return a.vault.removeBlocks(h, k) })
	return errors.Join(fmt.Errorf("the sealed release has SHA-256 %s, the manifest says %s", sum, k.manifest.SealedSHA256), err)
}

// Key stores the release key apart from the release, after a look whether it fits.
func (a receiver) Key(_ context.Context, from ed25519.PublicKey, root string, key []byte) error {
	h, k, _, err := a.vault.release(from, root, a.late())
	if err != nil {
		return err
	}
	if k.incomplete() {
		return errors.New("a key for a release that is arriving")
	}
	sealed, err := os.Open(a.vault.path(h.id, root+".sealed"))
	if err != nil {
		return err
	}
	defer sealed.Close()
	if err := release.CheckKey(sealed, release.ReleaseKey(key)); err != nil {
		return err
	}
	if k.State == "open" {
		return nil // the home did not hear the confirmation
	}
	return a.taken(h, root, a.vault.change(h, root, a.late(), func(k *kept) error {
		if err := a.custody.Note("node", "release key received", root, "grant "+string(h.id)); err != nil {
			return err
		}
		text := append(bytes.Clone(key), '\n')
		defer clear(text)
		if err := a.vault.disk.WriteFile(a.vault.keyPath(h.id, root), text, 0o600); err != nil {
			return err
		}
		k.State, k.KeyFrom = "open", a.peer.Now().UTC()
		a.peer.Log.Info("a clip arrived", "release", root, "request", string(h.grant.Request))
		return nil
	}))
}

func measure(ctx context.Context, path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return release.Measure(ctx, f)
}

// part is a release on its way: leaves in one file in their place, internal nodes as records in
// another. What counts as there is what both files hold together.
type part struct {
	size  int64
	have  int64
	nodes [][]byte

	leaves durable.File
	at     int64 // bytes of leaves
	synced int64 // of which the disk confirmed
	unsure bool  // the disk may have lost leaves that are here to be read
	log    *durable.AppendFile
	dirty  int64 // bytes written since the last sync
	wrote  bool
	failed func(error) error      // when set, what an error becomes
	closed func(wrote bool) error // when set, told of the end
}

// syncEvery bounds, in bytes, what a crash can make a home send again.
const syncEvery = 2 << 20

// openPart goes on behind what an earlier session, or an earlier run, left.
func openPart(disk durable.Disk, base string, size int64) (_ *part, err error) {
	p := &part{size: size}
	ends := []int64{0} // of the first n records
	_, err = disk.ReadRecords(base+".nodes", func(b []byte) error {
		p.nodes = append(p.nodes, bytes.Clone(b))
		ends = append(ends, ends[len(ends)-1]+int64(len(durable.AppendRecord(nil, b))))
		return nil
	})
	var damaged *durable.DamagedError
	if err != nil && !errors.As(err, &damaged) { // what is damaged comes again
		return nil, err
	}
	layout, err := release.LayoutOf(size)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(base + ".sealed"); err == nil {
		p.have = layout.Blocks()
		return p, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p.leaves, err = disk.Open(base+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := p.leaves.Stat()
	if err != nil {
		return nil, errors.Join(err, p.leaves.Close())
	}
	// The prefix of the pre-order that both files cover. A leaf cut short by a crash is dropped.
	nodes := 0
	for {
		place, ok := layout.Place(p.have)
		if !ok {
			break
		}
		if place.Leaf {
			if end := place.Offset + place.Length; end > info.Size() ||
				end > info.Size()-2*syncEvery && !p.good(base, place) {
				break
			}
			p.at = place.Offset + place.Length
		} else {
			if nodes == len(p.nodes) {
				break
			}
			nodes++
		}
		p.have++
	}
	p.nodes = p.nodes[:nodes]
	// Both files end with the prefix, or what is appended now would stand behind other blocks.
	if err = disk.Truncate(base+".nodes", ends[nodes]); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = p.leaves.Truncate(p.at)
	}
	if err == nil {
		err = p.sync()
	}
	if err == nil {
		p.log, err = disk.OpenAppend(base+".nodes", 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, p.leaves.Close())
	}
	return p, nil
}

// good says whether a leaf on the disk is the one that was verified. After a power cut the last ones
// may be partly there: the node above them has their hashes. A good one is written once more, since an
// earlier run may have ended with a sync that failed, and no later one would write it then.
func (p *part) good(base string, at release.Place) bool {
	leaf := make([]byte, at.Length)
	if _, err := p.leaves.ReadAt(leaf, at.Offset); err != nil && err != io.EOF {
		return false
	}
	sum := sha256.Sum256(leaf)
	if at.Parent >= 0 {
		if !bytes.Contains(p.nodes[at.Parent], sum[:]) {
			return false
		}
	} else if root, err := release.ParseRoot(filepath.Base(base)); err != nil || !bytes.HasSuffix(root.Hash(), sum[:]) {
		return false
	}
	_, err := p.leaves.WriteAt(leaf, at.Offset)
	return err == nil
}

// sync confirms the leaves that are there. After a sync that failed the kernel may show what never
// reaches the disk, and call it written: it is cut off, and comes again.
func (p *part) sync() error {
	err := p.leaves.Sync()
	if err == nil {
		p.synced, p.dirty = p.at, 0
		return nil
	}
	cut := p.leaves.Truncate(p.synced)
	p.unsure = cut != nil
	return errors.Join(err, cut)
}

func (p *part) Size() int64     { return p.size }
func (p *part) Have() int64     { return p.have }
func (p *part) Nodes() [][]byte { return p.nodes }

// try writes as much as the next leaf may take and takes it back.
func (p *part) try() error {
	if p.leaves == nil {
		return nil
	}
	_, err := p.leaves.WriteAt(make([]byte, min(release.ChunkSize, p.size-p.at)), p.at)
	return errors.Join(err, p.leaves.Truncate(p.at))
}

func (p *part) Write(i int64, leaf bool, data []byte) error {
	err := p.write(i, leaf, data)
	if err != nil && p.failed != nil {
		err = p.failed(err)
	}
	return err
}

func (p *part) write(i int64, leaf bool, data []byte) error {
	if i != p.have {
		return fmt.Errorf("block %d, want %d", i, p.have)
	}
	if p.leaves == nil {
		return errors.New("the release is complete")
	}
	if leaf {
		if p.at+int64(len(data)) > p.size {
			return errors.New("more bytes than the grant says")
		}
		if _, err := p.leaves.WriteAt(data, p.at); err != nil {
			return err
		}
		p.at += int64(len(data))
		if p.dirty += int64(len(data)); p.dirty >= syncEvery {
			if err := p.sync(); err != nil {
				return err
			}
		}
	} else if err := p.log.Append(durable.AppendRecord(nil, data)); err != nil {
		return err
	}
	p.have++
	p.wrote = true
	return nil
}

func (p *part) Close() error {
	var err error
	if p.leaves != nil {
		err = errors.Join(p.sync(), p.leaves.Close(), p.log.Close())
	}
	if p.closed != nil {
		err = errors.Join(err, p.closed(p.wrote))
	}
	if err != nil && p.failed != nil {
		err = p.failed(err)
	}
	return err
}

var _ io.Closer = (*part)(nil)

// receptionKey finds the private half of a request's reception key.
func (a *Agency) receptionKey(v consent.VerifierKey) (consent.Key, error) {
	pub, err := v.Public()
	if err != nil {
		return consent.Key{}, err
	}
	path := a.peer.State.Path("keys", "reception", hex.EncodeToString(pub)+".key")
	k, err := node.ReadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return consent.Key{}, fmt.Errorf("the reception key of this request is not on this node: %w", err)
	}
	return k, err
}
