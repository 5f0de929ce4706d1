package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// Restored says what became of a backup.
type Restored struct {
	Manifest
	Stopped []string         // answers that were under way, by id
	Docket  consent.AgencyID // the docket that signs nothing yet; "" where the node has none of its own
}

// Options are what a program or a test hands to Restore. The zero value works.
type Options struct {
	Now  func() time.Time // the clock; nil is the machine's
	Disk durable.Disk     // what the folder is written through; the zero value is the machine's
}

// Restore makes a node's folder of the backup in file. dir must not exist, or be empty. All of it is
// there afterwards, or nothing: it is made in a folder beside dir, which then takes dir's name.
func Restore(file, dir string, opt Options, who ...age.Identity) (r Restored, err error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	f, err := os.Open(file)
	if err != nil {
		return r, err
	}
	defer f.Close()
	if dir, err = filepath.Abs(dir); err != nil {
		return r, err
	}
	if err := vacant(dir); err != nil {
		return r, err
	}
	opened, err := open(f, who)
	if err != nil {
		return r, err
	}
	making := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".restoring")
	if err := opt.Disk.MkdirAll(making, 0o700); err != nil {
		return r, err
	}
	lock, err := durable.Lock(filepath.Join(making, "lock"))
	if err != nil {
		return r, err
	}
	err = r.fill(making, file, opened, opt)
	// Unlocked before it is renamed or removed, which not every system does to a file in use.
	if err = errors.Join(err, lock.Unlock()); err != nil {
		return r, errors.Join(err, os.RemoveAll(making))
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, node.WithHint(errors.Join(err, os.RemoveAll(making)), "is it a disk of its own? Then restore into a new folder on it")
	}
	if err := opt.Disk.Rename(making, dir); err != nil {
		return r, errors.Join(err, os.RemoveAll(making))
	}
	return r, nil
}

// fill makes the node of what was opened, in an empty folder.
func (r *Restored) fill(making, file string, opened io.Reader, opt Options) (err error) {
	if err := empty(making); err != nil {
		return err
	}
	watched := &watch{r: opened}
	r.Manifest, err = Read(watched, func(f File, content io.Reader) error {
		return put(opt.Disk, filepath.Join(making, filepath.FromSlash(f.Name)), content)
	})
	if watched.err != nil {
		return node.WithHint(fmt.Errorf("%s is damaged or cut short behind byte %d: %w", file, watched.n, watched.err), "use another copy of the backup")
	}
	if err == nil {
		err = r.tame(making, opt)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return syncAll(opt.Disk, making)
}

// vacant refuses a folder that something is in.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if role, err := node.RoleOf(dir); err == nil {
		return node.WithHint(fmt.Errorf("%s already holds a node (%s)", dir, role), "choose another folder with --dir, or move that one away first")
	}
	if len(entries) > 0 {
		return node.WithHint(fmt.Errorf("%s is not empty", dir), "choose a new folder with --dir")
	}
	return nil
}

// empty removes what an interrupted restore left.
func empty(making string) error {
	entries, err := os.ReadDir(making)
	for _, e := range entries {
		if e.Name() != "lock" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(making, e.Name())))
		}
	}
	return err
}

// maxWork bounds the work that a passphrase's header may ask for: 2^20 is 1 GiB of memory.
const maxWork = 20

// open opens the seal.
func open(f *os.File, who []age.Identity) (io.Reader, error) {
	for _, id := range who {
		if s, ok := id.(*age.ScryptIdentity); ok {
			s.SetMaxWorkFactor(maxWork)
		}
	}
	r, err := age.Decrypt(f, who...)
	var none *age.NoIdentityMatchError
	switch {
	case err == nil:
		return r, nil
	case !errors.As(err, &none):
		return nil, node.WithHint(fmt.Errorf("%s is no backup, or its first bytes are damaged: %w", f.Name(), err), "use another copy of the backup")
	}
	_, phrase := who[0].(*age.ScryptIdentity)
	switch sealed := slices.Contains(none.StanzaTypes, "scrypt"); {
	case sealed && phrase:
		return nil, node.WithHint(fmt.Errorf("%s: the passphrase is wrong", f.Name()), "type it as it was when the backup was made; nothing else opens the file")
	case sealed:
		return nil, node.WithHint(fmt.Errorf("%s is sealed with a passphrase, not to an age key", f.Name()), "leave --identity out")
	case phrase:
		return nil, node.WithHint(fmt.Errorf("%s is sealed to an age key, not with a passphrase", f.Name()), "give the key's file with --identity")
	}
	return nil, node.WithHint(fmt.Errorf("%s is sealed to another age key than those given", f.Name()), "give the file with its secret key, as age-keygen made it, with --identity")
}

// watch keeps the error of what it reads, to tell a damaged seal from a damaged archive.
type watch struct {
	r   io.Reader
	n   int64
	err error
}

func (w *watch) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// Read reads an archive after its seal was opened, and hands each file to put, which reads all of it.
// What put was handed counts only when Read returns no error.
func Read(r io.Reader, put func(f File, content io.Reader) error) (m Manifest, err error) {
	t := tar.NewReader(r)
	next := func(name string, most int64) (int64, error) {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return 0, fmt.Errorf("the archive ends before %s", name)
		case err != nil:
			return 0, err
		case h.Typeflag != tar.TypeReg || h.Name != name || h.Size > most || sparse(h):
			return 0, fmt.Errorf("the archive has %q (type %q, %d bytes) where %s is due", h.Name, h.Typeflag, h.Size, name)
		}
		return h.Size, nil
	}
	size, err := next(node.BackupManifest, maxManifest)
	if err != nil {
		return m, fmt.Errorf("not a backup of a node: %w", err)
	}
	// Read as it comes, lest a header alone take the memory.
	text, err := io.ReadAll(io.LimitReader(t, size))
	if err != nil {
		return m, err
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return m, fmt.Errorf("the backup's manifest: %w", err)
	}
	if version.Format != Format {
		return m, node.WithHint(fmt.Errorf("the backup has format %d, this program reads format %d", version.Format, Format), "use the version of porchlight that made it, or a newer one")
	}
	if err := consent.DecodeStrict(text, &m, maxManifest); err != nil {
		return m, fmt.Errorf("the backup's manifest: %w", err)
	}
	if err := m.check(); err != nil {
		return m, fmt.Errorf("the backup's manifest: %w", err)
	}
	for _, f := range m.Files {
		size, err := next(f.Name, f.Size)
		if err != nil {
			return m, err
		}
		if size != f.Size {
			return m, fmt.Errorf("%s has %d bytes, the manifest says %d", f.Name, size, f.Size)
		}
		sum := sha256.New()
		if err := put(f, io.TeeReader(t, sum)); err != nil {
			return m, err
		}
		if err := f.matches(sum); err != nil {
			return m, err
		}
	}
	if h, err := t.Next(); err == nil {
		return m, fmt.Errorf("the archive has %q, which its manifest does not name", h.Name)
	} else if err != io.EOF {
		return m, err
	}
	// To the very end, so that a seal that was cut short is noticed.
	if n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20)); err != nil || n == 1<<20 {
		return m, errors.Join(errors.New("something follows the archive"), err)
	}
	return m, nil
}

// sparse says whether an entry is made of holes, so that a small file may claim to hold a great deal.
func sparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// put writes one file of the folder that is being made.
func put(disk durable.Disk, to string, content io.Reader) error {
	if _, err := os.Stat(filepath.Dir(to)); err != nil {
		if err := disk.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
	}
	f, err := disk.Open(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(f, 0), content)
	return errors.Join(err, f.Sync(), f.Close())
}

// tame makes of the node of some days ago one that may be started today.
func (r *Restored) tame(dir string, opt Options) error {
	role, err := node.RoleOf(dir)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(dir, "keys", "peer.key"))
	if err != nil {
		return err
	}
	if id, err := peerID(key); err != nil || id != r.Peer || role != r.Role {
		return errors.Join(fmt.Errorf("the manifest is of another node than the files: %s %s, not %s", r.Role, r.Peer, role), err)
	}
	logName := ""
	switch role {
	case node.Home:
		logName = "ledger"
		if r.Stopped, err = home.Halt(opt.Disk, dir, r.Made, opt.Now()); err != nil {
			return err
		}
	case node.Agency:
		logName = "custody"
		docketKey, err := node.ReadKey(filepath.Join(dir, "keys", "docket.key"))
		if err != nil {
			return err
		}
		pub, err := docketKey.Verifier().Public()
		if err != nil {
			return err
		}
		r.Docket = consent.AgencyIDOf(pub)
		if err := node.MarkRestored(opt.Disk, dir, r.Docket, r.Made, opt.Now()); err != nil {
			return err
		}
	default:
		return nil
	}
	log, err := node.OpenCustody(opt.Disk, filepath.Join(dir, logName), opt.Now)
	if err != nil {
		return err
	}
	detail := "backup of " + r.Made.Format(time.RFC3339)
	if len(r.Stopped) > 0 {
		detail += ", stopped: " + strings.Join(r.Stopped, " ")
	}
	return errors.Join(log.Note("node", "restored", r.Peer, detail[:min(len(detail), 500)]), log.Close())
}

// syncAll makes every name in the folder durable.
func syncAll(disk durable.Disk, dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return disk.SyncDir(name)
	})
}
