package agency

import (
	"crypto/ed25519"
	"crypto/rand"
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
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// The vault keeps what homes delivered. It holds ciphertext; the keys that open it are apart, in
// keys/release, which belongs in no backup.
//
//	vault/GRANT/grant.note, acceptance.note
//	vault/GRANT/accept.note          the officer's act by which it was accepted, where one had to (accept.go)
//	vault/GRANT/ROOT.json            what is known of one release
//	vault/GRANT/ROOT.manifest        as the owner signed it
//	vault/GRANT/ROOT.part            leaves verified so far, one after the other
//	vault/GRANT/ROOT.nodes           internal nodes verified so far (records)
//	vault/GRANT/ROOT.sealed          the complete sealed release
//	vault/GRANT/ROOT.receipt         signed by the reception key: it is held
//	vault/GRANT/ROOT.used.receipt    likewise: it is part of the case
//	vault/GRANT/ROOT.acts            who opened it and why, signed by them (records)
//	vault/GRANT/ROOT.words           what the owner signed about it since (records)
//	vault/GRANT/ROOT.taken.json      how it came here, where it was passed on to this agency (takeover.go)
//	vault/messages                   what owners are to be told in daily entries (records)
//	vault/exporting/HASH             where a clip is being written outside this folder, until it is whole (passon.go)
//	keys/release/GRANT-ROOT.key      the release key, until its deadline
//	vault/id, keys/release/id        the same random value, made once; in no backup
//
// Each may be a disk of its own, and one that is not mounted looks like an empty folder: by the ids the node sees that, and does not
// start. Without its vault every key would be one that no deadline knows of.
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

	messages []message // that wait for a daily entry
}

// idle is how long an incomplete release waits for its home before it gives way to another.
const idle = 48 * time.Hour

// maxGrants bounds the grants kept for one request.
const maxGrants = 10000

// maxEmpty bounds, of all requests, the grants of which nothing came, and emptyFor how long each is kept: they cost a
// stranger a signature each, and this node up to 50 KiB of memory.
const (
	maxEmpty = 200
	emptyFor = time.Hour
)

// held is one grant and its releases. All but what the releases point to stays as it is.
type held struct {
	id         consent.GrantID
	grant      grant.Grant
	note       []byte
	acceptance []byte
	accepted   time.Time
	reception  consent.VerifierKey // that signed the acceptance, and signs receipts; of what was passed on, its card's does
	dropping   bool                // it is being forgotten, perhaps not for the first time: nothing more is taken in under it
	releases   map[string]*kept    // by root; read and changed under vault.mu
}

// kept is the stored state of one release.
type kept struct {
	Root    string    `json:"root"`
	State   string    `json:"state"`            // "arriving", "sealed", "open", "lost", "deleted"
	Touched time.Time `json:"touched,omitzero"` // end of the last session that brought something
	Signed  time.Time `json:"signed,omitzero"`  // when the first receipt was: the docket holds what was signed for first before the rest
	KeyFrom time.Time `json:"key_from,omitzero"`
	Deleted time.Time `json:"deleted,omitzero"`
	// What the owner said since: SHA-256 hashes of the notes, and what they come to.
	Said      []string    `json:"said,omitempty"`
	Extended  []extension `json:"extended,omitempty"` // oldest first
	Withdrawn time.Time   `json:"withdrawn,omitzero"`
	// Under which salts holds and transfers may cover it, and the hold that its owner was told of (declare.go).
	Blinds []blind `json:"blinds,omitempty"`
	Told   string  `json:"told,omitempty"`
	// Of one that was passed on to this agency: its owner was told who has it.
	Introduced bool `json:"introduced,omitempty"`
	// What people did with it. One that was passed on was exported, and one that was exported was used, unless only a hold kept it by then.
	Used     bool `json:"used,omitempty"`
	Untold   bool `json:"untold,omitempty"` // that it is used, to its owner
	Exported bool `json:"exported,omitempty"`
	PassedOn bool `json:"passed_on,omitempty"`

	manifest *grant.Manifest
	taken    *taken // where it was passed on to this agency
	law      *law   // the hold that stands in the way of its deletion
	held     bool   // a receipt was signed that it is; then the docket follows it
	arrived  int64  // bytes of the release on disk
	session  bool   // one is sending it
	unsure   bool   // the disk did not confirm its blocks, and could not cut them off
	reason   string // why the last session could not go on here: "disk-full", "vault-full", "docket-full", or ""
}

// extension is one of the owner's that was taken in.
type extension struct {
	Made   time.Time    `json:"made"`
	Signed time.Time    `json:"signed,omitzero"` // by this agency
	Until  time.Time    `json:"until"`
	Secret grant.Secret `json:"secret"` // of the commitment by which the docket follows the release from then on
}

func openVault(disk durable.Disk, dir, keys string, limit int64) (*vault, error) {
	v := &vault{disk: disk, dir: dir, keys: keys, limit: limit, grants: map[consent.GrantID]*held{}, byKey: map[consent.VerifierKey]*held{}}
	for _, d := range []string{dir, keys} {
		if err := disk.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	// A write that was cut short may have left a key that no deadline knows of.
	if err := errors.Join(disk.RemoveTemporary(keys), disk.SyncDir(keys), disk.RemoveTemporary(dir), disk.SyncDir(dir)); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var grants []consent.GrantID
	for _, e := range entries {
		// Anything else, from a file manager or a backup, is not this node's.
		if id, err := consent.ParseGrantID(e.Name()); err == nil && e.IsDir() {
			grants = append(grants, id)
		}
	}
	if err := v.pair(len(grants) > 0); err != nil {
		return nil, err
	}
	for _, id := range grants {
		if err := v.read(id); err != nil {
			return nil, err
		}
	}
	return v, errors.Join(v.orphans(), v.readMessages())
}

// pairing stands before the id of the keys until the vault has it, so that a crash in between is not taken for a vault that is away.
const pairing = "new "

// pair refuses a vault and keys that do not belong together. New ones, those of a backup, which has no keys, and those that an earlier version
// left are made to; of these there are keys only where there are grants.
func (v *vault) pair(grants bool) error {
	ofVault, ofKeys := filepath.Join(v.dir, "id"), filepath.Join(v.keys, "id")
	a, erra := readID(ofVault)
	b, errb := readID(ofKeys)
	entries, err := os.ReadDir(v.keys)
	if err := errors.Join(erra, errb, err); err != nil {
		return err
	}
	keys := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".key") })
	id, unfinished := strings.CutPrefix(b, pairing)
	switch {
	case a != "" && a == b:
		return nil
	case a != "" && b == "":
		return node.WithHint(fmt.Errorf("the release keys of the vault in %s are not in %s", v.dir, v.keys),
			"mount the disk that they are on; if they are gone for good, remove "+ofVault+": what the vault holds is listed as lost then")
	case a == "" && (b == "" || unfinished) && (grants || !keys), unfinished && a == id:
	default:
		return node.WithHint(fmt.Errorf("the vault in %s is not the one that the release keys in %s belong to", v.dir, v.keys),
			"mount the disk that the vault is on, with all that was in it; if that is gone for good, remove all that is in "+v.keys+": it opens nothing without the vault")
	}
	if id == "" {
		id = rand.Text()
	}
	for _, w := range [][2]string{{ofKeys, pairing + id}, {ofVault, id}, {ofKeys, id}} {
		if err := v.disk.WriteFile(w[0], []byte(w[1]+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// readID is "" where there is none.
func readID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSuffix(string(b), "\n"), err
}

// orphans destroys keys of which no grant says when they go: a crash came before all of a release that was taken over was here, or the disk with the
// key was away when its deadline came.
func (v *vault) orphans() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	// What a write that failed left behind is a copy of a key; nobody writes keys meanwhile.
	if err := v.disk.RemoveTemporary(v.keys); err != nil {
		return err
	}
	entries, err := os.ReadDir(v.keys)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, root, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".key"), "-")
		if _, err := consent.ParseGrantID(id); err != nil {
			continue
		}
		if h := v.grants[consent.GrantID(id)]; h != nil && h.releases[root] != nil && h.releases[root].State != "deleted" {
			continue
		}
		if err := shred(v.disk, filepath.Join(v.keys, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (v *vault) path(id consent.GrantID, name string) string {
	return filepath.Join(v.dir, string(id), name)
}

// keyPath names the file of a release's key. Two grants may name one release, each with a deadline
// of its own.
func (v *vault) keyPath(id consent.GrantID, root string) string {
	return filepath.Join(v.keys, string(id)+"-"+root+".key")
}

// read reads a grant's folder; one without grant or acceptance was not taken in, or was dropped, and
// its home sends the grant again.
func (v *vault) read(id consent.GrantID) error {
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
	h := &held{id: id, grant: g, note: note, acceptance: acceptance, accepted: a.Created.Time, reception: a.Key, releases: map[string]*kept{}}
	passed, err := v.readTaken(h)
	if err != nil {
		return err
	}
	for _, r := range h.grant.Releases {
		k := &kept{Root: string(r.CID), State: "arriving", taken: passed[string(r.CID)]}
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
		_, noReceipt := os.Stat(v.path(id, k.Root+".receipt"))
		k.held = noReceipt == nil && k.State != "arriving"
		if had := v.grants[id]; had != nil && had.releases[k.Root] != nil {
			k.law = had.releases[k.Root].law // the docket was not asked again
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

// add stores a grant that was accepted, with the officer's act where one had to. The caller holds v.mu.
func (v *vault) add(id consent.GrantID, note, acceptance, act []byte) error {
	if err := v.disk.MkdirAll(v.path(id, ""), 0o700); err != nil {
		return err
	}
	if act != nil {
		if err := v.disk.WriteFile(v.path(id, "accept.note"), act, 0o600); err != nil {
			return err
		}
	}
	if err := v.disk.WriteFile(v.path(id, "acceptance.note"), acceptance, 0o600); err != nil {
		return err
	}
	if err := v.disk.WriteFile(v.path(id, "grant.note"), note, 0o600); err != nil {
		return err
	}
	return v.read(id)
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
	if h == nil || h.dropping {
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
	if v.grants[h.id] != h || h.dropping {
		return errGone
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
	errGone = errors.New("the grant was dropped meanwhile; send it again")
	errFull = &deliver.Error{Class: deliver.ClassNoRoom, Err: errors.New("the vault is full: vault_mb in config.toml allows no more")}
	errOver = &deliver.Error{Class: "this release is past its deadline"}
)

// over refuses whatever is wanted of a release that was or is to be destroyed.
func (h *held) over(k kept, now time.Time) error {
	if k.State == "deleted" || !now.Before(h.ends(&k)) {
		return errOver
	}
	return nil
}

// ends is until when a release may be opened: its deadline, or the end of a hold over it. The hold stands by the time that keys are destroyed by,
// which may be behind the one that access is refused by.
func (h *held) ends(k *kept) time.Time {
	if t := h.deadline(k); k.law == nil || t.After(k.law.Until) {
		return t
	}
	return k.law.Until
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
	for _, name := range []string{"grant.note", "acceptance.note", "accept.note"} {
		if err := v.remove(v.path(id, name)); err != nil {
			return err
		}
	}
	v.disk.Remove(v.path(id, "")) // stays where somebody put a file of theirs
	return nil
}

// deadline is when the release key is to be destroyed: when its owner took it back, else where nobody said that the clip is
// used the earlier of the two times the terms name.
func (h *held) deadline(k *kept) time.Time {
	if !k.Withdrawn.IsZero() {
		return k.Withdrawn
	}
	terms := h.terms(k)
	if u := terms.UnusedUntil.Time; !k.Used && u.Before(terms.RetainUntil.Time) {
		return u
	}
	return terms.RetainUntil.Time
}

// destroy removes the keys and blocks of everything past its deadline: the key first, since
// without it the rest is noise.
func (v *vault) destroy(now time.Time, done func(h *held, k *kept, lost bool) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, h := range v.grants {
		for _, k := range h.releases {
			if k.State == "deleted" || k.law != nil || now.Before(h.deadline(k)) {
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
	// What a write of the key that failed left behind is a copy of it; nobody writes keys meanwhile.
	if err := v.disk.RemoveTemporary(v.keys); err != nil {
		return err
	}
	if err := shred(v.disk, v.keyPath(h.id, k.Root)); err != nil {
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

// shred removes a file after zeros were put in the place of its bytes, which is no promise on flash or journalled disks, and costs nothing. One that
// cannot be written over is removed all the same; one that is gone is removed again, since that it is may not be on the disk yet.
func shred(disk durable.Disk, path string) error {
	if f, err := disk.Open(path, os.O_WRONLY, 0); err == nil {
		if info, err := f.Stat(); err == nil {
			_, _ = f.WriteAt(make([]byte, info.Size()), 0)
		}
		_ = errors.Join(f.Sync(), f.Close())
	}
	if err := disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// terms are those that this agency has a release under, with what its owner said since.
func (h *held) terms(k *kept) grant.Terms {
	t := h.grant.Terms
	if k.taken != nil {
		t = k.taken.Terms
	}
	if n := len(k.Extended); n > 0 {
		t.RetainUntil = consent.At(k.Extended[n-1].Until)
	}
	return t
}

// signer is the key that signs this agency's receipts for a release.
func (h *held) signer(k *kept) consent.VerifierKey {
	if k.taken != nil {
		return k.taken.Reception
	}
	return h.reception
}

func (v *vault) list() []Held {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := []Held{}
	for _, h := range v.grants {
		for _, r := range h.grant.Releases {
			k := h.releases[string(r.CID)]
			l := Held{Release: k.Root, Grant: h.id, Request: h.grant.Request, State: k.State, Reason: k.reason, SealedBytes: r.SealedBytes,
				Redaction: string(h.grant.Redaction), KeyUntil: h.deadline(k), Used: k.Used, Exported: k.Exported, PassedOn: k.PassedOn}
			if info, err := os.Stat(v.path(h.id, k.Root+".part")); err == nil {
				l.Arrived = info.Size()
			}
			switch k.State {
			case "arriving":
			case "lost":
				l.Arrived = k.arrived
			case "open": // an extension may wait, it stands still for nothing
				l.Arrived, l.Reason = r.SealedBytes, ""
			default:
				l.Arrived = r.SealedBytes
			}
			if k.law != nil && k.State != "deleted" {
				l.Hold = strings.Trim(k.law.Court+", "+k.law.Number, ", ")
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
