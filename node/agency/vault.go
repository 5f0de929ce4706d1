package agency

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// The vault keeps what homes delivered. It holds ciphertext; the keys that open it are apart, in
// keys/release, which belongs in no backup.
//
//	vault/GRANT/grant.note, acceptance.note
//	vault/GRANT/ROOT.json            what is known of one release
//	vault/GRANT/ROOT.manifest        as the owner signed it
//	vault/GRANT/ROOT.part            leaves verified so far, one after the other
//	vault/GRANT/ROOT.nodes           internal nodes verified so far (records)
//	vault/GRANT/ROOT.sealed          the complete sealed release
//	vault/GRANT/ROOT.receipt         signed by the reception key
//	keys/release/GRANT-ROOT.key      the release key, until its deadline
//
// Room is taken by what has arrived, and while a session sends a release by all of it. What is
// incomplete waits for its home as long as the grant stands, which is no longer than the request does.
// Only where room is needed for another does it give way, the one first that waited longest, and none
// before it waited for [idle]: a stranger who fills the vault with halves keeps nobody out for longer
// than that, and pushes nobody out who comes back every day.
type vault struct {
	disk      durable.Disk
	dir, keys string
	limit     int64 // bytes

	mu     sync.Mutex
	grants map[consent.GrantID]*held
	byKey  map[consent.VerifierKey]*held
}

// idle is how long an incomplete release waits for its home before it gives way to another.
const idle = 48 * time.Hour

// maxGrants bounds the grants kept for one request.
const maxGrants = 10000

// maxEmpty bounds, of all requests, the grants of which nothing came: they cost a stranger a signature each, and this node
// up to 50 KiB of memory.
const maxEmpty = 200

// held is one grant and its releases. All but what the releases point to stays as it is.
type held struct {
	id         consent.GrantID
	grant      grant.Grant
	note       []byte
	acceptance []byte
	accepted   time.Time
	releases   map[string]*kept // by root; read and changed under vault.mu
}

// kept is the stored state of one release.
type kept struct {
	Root    string    `json:"root"`
	State   string    `json:"state"`            // "arriving", "sealed", "open", "lost", "deleted"
	Touched time.Time `json:"touched,omitzero"` // end of the last session that brought something
	KeyFrom time.Time `json:"key_from,omitzero"`
	Used    bool      `json:"used,omitempty"`
	Deleted time.Time `json:"deleted,omitzero"`

	manifest *grant.Manifest
	arrived  int64  // bytes of the release on disk
	session  bool   // one is sending it
	unsure   bool   // the disk did not confirm its blocks, and could not cut them off
	reason   string // why the last session could not go on here: "disk-full", "vault-full", or ""
}

func openVault(disk durable.Disk, dir, keys string, limit int64) (*vault, error) {
	v := &vault{disk: disk, dir: dir, keys: keys, limit: limit, grants: map[consent.GrantID]*held{}, byKey: map[consent.VerifierKey]*held{}}
	for _, d := range []string{dir, keys} {
		if err := disk.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	// A write that was cut short may have left a key that no deadline knows of.
	if err := errors.Join(disk.RemoveTemporary(keys), disk.SyncDir(keys)); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		// Anything else, from a file manager or a backup, is not this node's.
		if id, err := consent.ParseGrantID(e.Name()); err == nil && e.IsDir() {
			if err := v.load(id); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func (v *vault) path(id consent.GrantID, name string) string {
	return filepath.Join(v.dir, string(id), name)
}

// keyPath names the file of a release's key. Two grants may name one release, each with a deadline
// of its own.
func (v *vault) keyPath(id consent.GrantID, root string) string {
	return filepath.Join(v.keys, string(id)+"-"+root+".key")
}

// load reads a grant's folder; one without grant or acceptance was not taken in, or was dropped, and
// its home sends the grant again.
func (v *vault) load(id consent.GrantID) error {
	// What a killed run named and did not sync is here to be read, and would be gone after a power cut.
	if err := errors.Join(v.disk.RemoveTemporary(v.path(id, "")), v.disk.SyncDir(v.path(id, ""))); err != nil {
		return err
	}
	note, err := os.ReadFile(v.path(id, "grant.note"))
	if errors.Is(err, fs.ErrNotExist) {
		return v.removeGrant(id)
	}
	if err != nil {
		return err
	}
	acceptance, err := os.ReadFile(v.path(id, "acceptance.note"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	g, err := grant.OpenGrant(note)
	if err != nil {
		return fmt.Errorf("%s: %w", v.path(id, "grant.note"), err)
	}
	a, err := consent.Open(acceptance, func(a grant.Acceptance) ([]consent.VerifierKey, error) { return []consent.VerifierKey{a.Key}, nil })
	if err != nil {
		return fmt.Errorf("%s: %w", v.path(id, "acceptance.note"), err)
	}
	h := &held{id: id, grant: g, note: note, acceptance: acceptance, accepted: a.Created.Time, releases: map[string]*kept{}}
	for _, r := range g.Releases {
		k := &kept{Root: string(r.CID), State: "arriving"}
		if err := node.ReadJSON(v.path(id, k.Root+".json"), k); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if b, err := os.ReadFile(v.path(id, k.Root+".manifest")); err == nil {
			if m, err := grant.OpenManifest(b, g.Key); err == nil {
				k.manifest = &m
			}
		}
		if k.State != "deleted" {
			k.arrived = v.arrived(id, k.Root)
		}
		if v.lost(id, k) {
			k.State = "lost"
		}
		h.releases[k.Root] = k
	}
	v.grants[id] = h
	v.byKey[g.Key] = h
	return nil
}

// lost says whether a release that this node signed for is not here, as after a restore: sealed
// releases and their keys are in no backup. It is to be deleted at its deadline like any other; until
// then its home may send it again.
func (v *vault) lost(id consent.GrantID, k *kept) bool {
	_, noBlocks := os.Stat(v.path(id, k.Root+".sealed"))
	_, noKey := os.Stat(v.keyPath(id, k.Root))
	return k.State == "sealed" && errors.Is(noBlocks, fs.ErrNotExist) ||
		k.State == "open" && (errors.Is(noBlocks, fs.ErrNotExist) || errors.Is(noKey, fs.ErrNotExist))
}

// incomplete says whether blocks of the release are still to come.
func (k *kept) incomplete() bool { return k.State == "arriving" || k.State == "lost" }

// add stores a grant that was accepted. The caller holds v.mu.
func (v *vault) add(id consent.GrantID, note, acceptance []byte) error {
	if err := v.disk.MkdirAll(v.path(id, ""), 0o700); err != nil {
		return err
	}
	if err := v.disk.WriteFile(v.path(id, "acceptance.note"), acceptance, 0o600); err != nil {
		return err
	}
	if err := v.disk.WriteFile(v.path(id, "grant.note"), note, 0o600); err != nil {
		return err
	}
	return v.load(id)
}

// release finds what a session may touch: a release of the grant whose key opened the session,
// before its deadline. The record is a copy.
func (v *vault) release(from ed25519.PublicKey, root string, now time.Time) (*held, kept, grant.Release, error) {
	key, err := consent.NewVerifierKey(grant.KeyName, from)
	if err != nil {
		return nil, kept{}, grant.Release{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	h := v.byKey[key]
	if h == nil {
		return nil, kept{}, grant.Release{}, errors.New("no grant of this session's key")
	}
	i := slices.IndexFunc(h.grant.Releases, func(r grant.Release) bool { return string(r.CID) == root })
	if i < 0 {
		return nil, kept{}, grant.Release{}, fmt.Errorf("the grant names no release %s", root)
	}
	k := *h.releases[root]
	return h, k, h.grant.Releases[i], h.over(k, now)
}

// change lets f change a release's record and what belongs to it, unless it is past its deadline,
// and stores the record. After an error of f the record is as it was.
func (v *vault) change(h *held, root string, now time.Time, f func(k *kept) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.grants[h.id] != h {
		return errors.New("the grant was dropped meanwhile; send it again")
	}
	k := *h.releases[root]
	if err := h.over(k, now); err != nil {
		return err
	}
	if err := f(&k); err != nil {
		return err
	}
	if err := v.save(h, &k); err != nil {
		return err
	}
	*h.releases[root] = k
	return nil
}

func (v *vault) save(h *held, k *kept) error {
	return node.WriteJSON(v.disk, v.path(h.id, k.Root+".json"), k)
}

// Refusals that a home is told.
var (
	errFull = &deliver.Error{Class: deliver.ClassNoRoom, Err: errors.New("the vault is full: vault_mb in config.toml allows no more")}
	errOver = &deliver.Error{Class: "this release is past its deadline"}
)

// over refuses whatever is wanted of a release that was or is to be destroyed.
func (h *held) over(k kept, now time.Time) error {
	if k.State == "deleted" || !now.Before(h.deadline(&k)) {
		return errOver
	}
	return nil
}

// standsStill remembers why a release could not be taken in; "" when it could.
func (v *vault) standsStill(h *held, root, reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	h.releases[root].reason = reason
}

// removeBlocks removes what there is of a release, complete or not. The caller holds v.mu.
func (v *vault) removeBlocks(h *held, k *kept) error {
	for _, ext := range []string{".sealed", ".part", ".nodes"} {
		if err := v.remove(v.path(h.id, k.Root+ext)); err != nil {
			return err
		}
	}
	k.arrived = 0
	return nil
}

func (v *vault) remove(path string) error {
	if err := v.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeGrant removes what says that a grant was taken in, and its folder.
func (v *vault) removeGrant(id consent.GrantID) error {
	for _, name := range []string{"grant.note", "acceptance.note"} {
		if err := v.remove(v.path(id, name)); err != nil {
			return err
		}
	}
	v.disk.Remove(v.path(id, "")) // stays where somebody put a file of theirs
	return nil
}

// deadline is when the release key is to be destroyed: where nobody said that the clip is used,
// the earlier of the two times the terms name.
func (h *held) deadline(k *kept) time.Time {
	t := h.grant.Terms.RetainUntil.Time
	if u := h.grant.Terms.UnusedUntil.Time; !k.Used && !u.IsZero() && u.Before(t) {
		t = u
	}
	return t
}

// destroy removes the keys and blocks of everything past its deadline: the key first, since
// without it the rest is noise.
func (v *vault) destroy(now time.Time, done func(h *held, k *kept, lost bool) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, h := range v.grants {
		for _, k := range h.releases {
			if k.State == "deleted" || now.Before(h.deadline(k)) {
				continue
			}
			if err := v.destroyOne(h, k, now, done); err != nil {
				errs = append(errs, fmt.Errorf("release %s is past its deadline and not destroyed, or not all of it is on record: %w", k.Root, err))
			}
		}
	}
	return errors.Join(errs...)
}

// destroyOne tells done before the record, so that what a crash interrupts is told again rather than
// never; and it keeps the old state until all is recorded, so that it is tried again.
func (v *vault) destroyOne(h *held, k *kept, now time.Time, done func(h *held, k *kept, lost bool) error) error {
	key := v.keyPath(h.id, k.Root)
	// A key that cannot be written over is removed all the same.
	_ = overwrite(v.disk, key)
	// What a write of the key that failed left behind is a copy of it; nobody writes keys meanwhile.
	if err := v.disk.RemoveTemporary(v.keys); err != nil {
		return err
	}
	// Also when it is gone already: that it is may not be on the disk yet.
	if err := v.disk.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := v.removeBlocks(h, k); err != nil {
		return err
	}
	if err := done(h, k, k.State == "lost"); err != nil {
		return err
	}
	next := *k
	next.State, next.Deleted = "deleted", now.UTC()
	if err := v.save(h, &next); err != nil {
		return err
	}
	*k = next
	return nil
}

// overwrite puts zeros in the place of a file's bytes. It is no promise on flash or journalled
// disks, and costs nothing.
func overwrite(disk durable.Disk, path string) error {
	f, err := disk.Open(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

func (v *vault) list() []Held {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := []Held{}
	for _, h := range v.grants {
		for _, r := range h.grant.Releases {
			k := h.releases[string(r.CID)]
			l := Held{Release: k.Root, Grant: h.id, Request: h.grant.Request, State: k.State, Reason: k.reason, SealedBytes: r.SealedBytes,
				Redaction: string(h.grant.Redaction), KeyUntil: h.deadline(k), Used: k.Used}
			if info, err := os.Stat(v.path(h.id, k.Root+".part")); err == nil {
				l.Arrived = info.Size()
			}
			switch k.State {
			case "arriving":
			case "lost":
				l.Arrived = k.arrived
			default:
				l.Arrived = r.SealedBytes
			}
			if m := k.manifest; m != nil {
				l.From, l.Until, l.Camera = m.Clip.From.Time, m.Clip.Until.Time, m.Camera
			}
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b Held) int { return strings.Compare(a.Release, b.Release) })
	return out
}

// open writes the clip of a release to a file, and answers only if it is the one the owner
// signed for. Nothing is left under that name otherwise.
func (v *vault) open(ctx context.Context, a OpenArgs, now time.Time, opened func(*held, *kept) error) (Opened, error) {
	if a.Reason == "" {
		return Opened{}, node.WithHint(errors.New("opening a release needs a reason"), "give --reason; it is logged")
	}
	h, k, err := v.find(a.Release)
	if err != nil {
		return Opened{}, err
	}
	if k.State == "lost" {
		return Opened{}, node.WithHint(fmt.Errorf("release %s cannot be opened: it was lost with the disk it was on", k.Root),
			"sealed releases and their keys are in no backup, by design; while the request is open its owner may be asked to approve again")
	}
	if k.manifest == nil {
		return Opened{}, fmt.Errorf("release %s cannot be opened: what its owner signed, %s, is missing or damaged; restore it from a backup", k.Root, v.path(h.id, k.Root+".manifest"))
	}
	if k.State != "open" {
		return Opened{}, fmt.Errorf("release %s cannot be opened: it is %s", k.Root, k.State)
	}
	if err := h.over(k, now); err != nil {
		return Opened{}, fmt.Errorf("release %s cannot be opened: it is past its deadline", k.Root)
	}
	key, err := os.ReadFile(v.keyPath(h.id, k.Root))
	if err != nil {
		return Opened{}, err
	}
	sealed, err := os.Open(v.path(h.id, k.Root+".sealed"))
	if err != nil {
		return Opened{}, err
	}
	defer sealed.Close()
	tmp, err := os.CreateTemp(filepath.Dir(a.Out), ".porchlight-*")
	if err != nil {
		return Opened{}, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := release.Open(ctx, tmp, sealed, release.ReleaseKey(strings.TrimSpace(string(key)))); err != nil {
		return Opened{}, fmt.Errorf("release %s: %w", k.Root, err)
	}
	if _, err := tmp.Seek(0, 0); err != nil {
		return Opened{}, err
	}
	sum, size, err := release.Measure(ctx, tmp)
	if err != nil {
		return Opened{}, err
	}
	if sum != k.manifest.PlainSHA256 || size != k.manifest.PlainBytes {
		return Opened{}, fmt.Errorf("release %s holds another clip than the owner signed for (SHA-256 %s, signed %s)", k.Root, sum, k.manifest.PlainSHA256)
	}
	// What is in a person's hands is on record before.
	if err := opened(h, &k); err != nil {
		return Opened{}, err
	}
	if err := errors.Join(tmp.Sync(), os.Rename(tmp.Name(), a.Out)); err != nil {
		return Opened{}, err
	}
	m := k.manifest
	return Opened{Out: a.Out, Bytes: size, PlainSHA256: sum, From: m.Clip.From.Time, Until: m.Clip.Until.Time,
		LeadIn: m.LeadInSeconds, Gaps: len(m.Gaps), Overlaps: len(m.Overlaps)}, nil
}

// find finds a release by its root or the beginning of it. Where several grants name it, the one
// that can be opened is meant, or the one in the form GRANT/ROOT. The record is a copy.
func (v *vault) find(name string) (h *held, k kept, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found, openable := 0, 0
	for _, g := range v.grants {
		for root, r := range g.releases {
			if name == "" || !strings.HasPrefix(root, name) && !strings.HasPrefix(string(g.id)+"/"+root, name) {
				continue
			}
			found++
			if r.State == "open" {
				openable++
			}
			if h == nil || r.State == "open" {
				h, k = g, *r
			}
		}
	}
	switch {
	case found == 0:
		return nil, kept{}, node.WithHint(fmt.Errorf("no release %q", name), "`porchlight agency vault` lists them")
	case found > 1 && openable != 1:
		return nil, kept{}, node.WithHint(fmt.Errorf("several releases begin with %q", name), "give more of it, or GRANT/RELEASE")
	}
	return h, k, nil
}
