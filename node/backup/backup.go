// Package backup puts what a node cannot get again into one sealed file, and makes a node of such a
// file again.
//
// # The file
//
// A backup is a tar archive inside the age format, so that `age -d FILE | tar t` lists it without
// this program. Its first entry, porchlight-backup.json, is a [Manifest]: the version of this format,
// whose backup it is and of when, and every other entry in order with its size and SHA-256. The
// entries are regular files with the names they have in the node's folder; only names of a closed
// list are written or accepted.
//
// In it are the keys, the charter, the dockets as the node saw them, the owner's decisions, inbox and
// cameras, what the agency signed and was signed for, the custody logs and the settings. Dockets can
// be fetched again, but what a node saw of them is its evidence against an agency that rewrites its
// own. Not in it, by design: recordings, clips and sealed releases, and every release key, on either
// side. An agency destroys a release key at its deadline, and a copy of it in a drawer would undo that. Nor is a witness's
// key: one that forgot what it cosigned last could be led to cosign another history. A restored witness makes a new key, which
// the charter has to name.
//
// Whoever has the file and what opens it can be the node.
//
// # Taken while the node runs
//
// No lock is needed. A node replaces files as a whole or appends to them, and makes what a file names
// before the file that names it: manifest and grant before the answer that waits, entries before
// checkpoint, key before request, a line of the ledger before the record that a key left. Reading goes the other way round, and each folder is listed
// when its turn comes, so that whatever a file in the backup names is in the backup too, or was
// removed by the node since. Files of up to 1 MiB are kept as they were first read; a larger one is a
// log, of which the part seen first does not change, and that is checked while it is written.
//
// # What a restored node must not do
//
// It is a node of some days ago. Its owner may have taken back or finished an answer since, so every
// answer that was under way comes back stopped ([home.Halt]). Its docket may be behind what its agency
// signed since, and to sign at an old size again is provable misconduct, so that the docket signs
// nothing before the network was asked ([node.MarkRestored]). A backup that was unpacked by hand still
// has its manifest in it, and a folder with a manifest does not open as a node.
package backup

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// Format is the version of the archive that this program writes, and the only one it reads.
const Format = 1

// Limits of an archive; one that claims more is refused before it takes room.
const (
	maxFiles    = 200_000
	maxBytes    = 64 << 30 // of all files together
	maxManifest = 64 << 20 // of the manifest
	maxKept     = 1 << 20  // of a file that is kept in memory while the archive is made
)

// A Manifest says what is in a backup.
type Manifest struct {
	Format int       `json:"format"`
	Role   node.Role `json:"role"`
	Peer   string    `json:"peer"` // the node's peer id
	Made   time.Time `json:"made"`
	Files  []File    `json:"files"` // in the order they were read
}

// A File is one entry.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`

	kept []byte // nil where the file is read again
}

// Bytes is how much the files have together.
func (m Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// contents are the names that a backup may hold, in the order in which they are read: what names
// others before what it names. Release keys are none of them: they lie in keys/release, and in an
// answer's folder under a number. The role comes last, since a folder without one is not yet a node.
func contents() []string {
	return []string{
		"answers/*/answer.json", "answers/*/answer.json.old", "answers/*/grant.note", "answers/*/acceptance.note", "answers/*/*.receipt", "answers/*/*.manifest", "answers/*/said",
		"answers/*/secrets.json", "answers/*/reach.key", "answers/*/grant.key", "inbox/*.json", "outbox/*.json", "guards.json", "household.json",
		"vault/*/*.json", "vault/*/*.receipt", "vault/*/*.acts", "vault/*/*.words", "vault/*/*.manifest", "vault/*/grant.note", "vault/*/acceptance.note", "vault/*/accept.note", "vault/messages",
		"dockets/*/cosigned", "dockets/*/checkpoint", "dockets/*/entries", "dockets/*/texts", "dockets/*/misconduct", "dockets/*/objections", "dockets/*/breaches", "charter/*.note",
		"keys/reception/*.key", "keys/*.key", "ledger", "custody", "received", "daily", "clock",
		"agency.card", "cameras.json", "peers.json", "invited.json", "config.toml", "role",
	}
}

var plain = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,255}$`)

// belongs says whether a backup may hold a file of that name.
func belongs(name string) bool {
	if !plain.MatchString(name) || !fs.ValidPath(name) || !filepath.IsLocal(filepath.FromSlash(name)) {
		return false
	}
	if name == "keys/witness.key" {
		return false
	}
	for _, pattern := range contents() {
		if ok, _ := path.Match(pattern, name); ok { // the patterns are well formed
			return true
		}
	}
	return false
}

// Save writes a backup of the node in dir to a new file, or with force over an old one. Nothing is
// left of it after an error.
func Save(dir, out string, force bool, now time.Time, to ...age.Recipient) (m Manifest, err error) {
	if _, err := os.Lstat(out); err == nil && !force {
		return m, node.WithHint(fmt.Errorf("%s exists already", out), "choose another name, or give --force to replace it")
	}
	if m, err = collect(dir, now); err != nil {
		return m, err
	}
	f, err := os.CreateTemp(filepath.Dir(out), ".porchlight-backup-*")
	if err != nil {
		return m, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sealed, err := age.Encrypt(f, to...)
	if err != nil {
		return m, err
	}
	if err := m.write(dir, sealed); err != nil {
		return m, err
	}
	if err := errors.Join(sealed.Close(), f.Sync(), f.Close()); err != nil {
		return m, fmt.Errorf("write %s: %w", out, err)
	}
	if err := os.Rename(f.Name(), out); err != nil {
		return m, err
	}
	return m, durable.SyncDir(filepath.Dir(out))
}

// collect reads what goes into the backup.
func collect(dir string, now time.Time) (m Manifest, err error) {
	role, err := node.RoleOf(dir)
	if err != nil {
		return m, err
	}
	key, err := os.ReadFile(filepath.Join(dir, "keys", "peer.key"))
	if err != nil {
		return m, err
	}
	m = Manifest{Format: Format, Role: role, Made: now.UTC().Truncate(time.Second)}
	if m.Peer, err = peerID(key); err != nil {
		return m, err
	}
	for _, pattern := range contents() {
		names, err := glob(dir, pattern)
		if err != nil {
			return m, err
		}
		for _, name := range names {
			if !belongs(name) {
				continue
			}
			f, err := look(dir, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed by the node since it was listed
			}
			if err != nil {
				return m, err
			}
			m.Files = append(m.Files, f)
		}
	}
	return m, m.check()
}

// glob is fs.Glob, but a folder that cannot be read is an error: what is missing from a backup is
// found out on the day it is needed.
func glob(dir, pattern string) ([]string, error) {
	names := []string{""}
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		var next []string
		for _, in := range names {
			if !strings.Contains(part, "*") {
				next = append(next, path.Join(in, part))
				continue
			}
			entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(in)))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			for _, e := range entries {
				if i < len(parts)-1 && e.Type().IsRegular() {
					continue // vault/messages is beside the folders of the grants
				}
				if ok, _ := path.Match(part, e.Name()); ok {
					next = append(next, path.Join(in, e.Name()))
				}
			}
		}
		names = next
	}
	return slices.DeleteFunc(names, func(name string) bool { return !belongs(name) }), nil
}

// look reads one file.
func look(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s is no regular file", f.Name())
	}
	out, sum := File{Name: name, Size: info.Size()}, sha256.New()
	if out.Size <= maxKept {
		out.kept = make([]byte, out.Size)
		_, err = io.ReadFull(f, out.kept)
		sum.Write(out.kept)
	} else {
		_, err = io.CopyN(sum, f, out.Size)
	}
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	out.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return out, nil
}

// write writes the archive.
func (m Manifest) write(dir string, w io.Writer) error {
	t := tar.NewWriter(w)
	text, err := consent.EncodeStrict(m)
	if err != nil {
		return err
	}
	if err := m.entry(t, node.BackupManifest, int64(len(text)), bytes.NewReader(text)); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := f.copy(dir, func(r io.Reader) error { return m.entry(t, f.Name, f.Size, r) }); err != nil {
			return err
		}
	}
	return t.Close()
}

func (m Manifest) entry(t *tar.Writer, name string, size int64, r io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: m.Made}); err != nil {
		return err
	}
	_, err := io.Copy(t, r)
	return err
}

// copy hands what look saw of the file to write, and says if it is another now.
func (f File) copy(dir string, write func(io.Reader) error) error {
	if f.kept != nil {
		return write(bytes.NewReader(f.kept))
	}
	again, err := os.Open(filepath.Join(dir, filepath.FromSlash(f.Name)))
	if err != nil {
		return err
	}
	defer again.Close()
	sum := sha256.New()
	err = write(io.TeeReader(io.LimitReader(again, f.Size), sum))
	if err == nil || errors.Is(err, tar.ErrWriteTooLong) {
		err = f.matches(sum)
	}
	if err != nil {
		return node.WithHint(fmt.Errorf("%s changed while it was read: %w", again.Name(), err), "run the backup again")
	}
	return nil
}

func (f File) matches(sum hash.Hash) error {
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%s has the SHA-256 %s, not %s", f.Name, got, f.SHA256)
	}
	return nil
}

// check refuses a manifest that this program would not have written.
func (m Manifest) check() error {
	if _, err := node.ParseRole(string(m.Role)); err != nil {
		return err
	}
	seen, total := map[string]bool{}, int64(0)
	for _, f := range m.Files {
		switch sum, err := hex.DecodeString(f.SHA256); {
		case !belongs(f.Name):
			return fmt.Errorf("a file %q, which belongs in no backup", f.Name)
		case seen[f.Name]:
			return fmt.Errorf("two files %s", f.Name)
		case f.Size < 0 || f.Size > maxBytes:
			return fmt.Errorf("%s has %d bytes", f.Name, f.Size)
		case err != nil || len(sum) != sha256.Size:
			return fmt.Errorf("%s has no SHA-256", f.Name)
		}
		seen[f.Name] = true
		total += f.Size
		if total > maxBytes {
			return fmt.Errorf("more than %d bytes", int64(maxBytes))
		}
	}
	for _, name := range []string{"keys/peer.key", "role"} {
		if !seen[name] {
			return fmt.Errorf("no file %s", name)
		}
	}
	if len(m.Files) > maxFiles {
		return fmt.Errorf("%d files, the most is %d", len(m.Files), maxFiles)
	}
	return nil
}

// peerID names the node with that peer.key.
func peerID(file []byte) (string, error) {
	seed, err := hex.DecodeString(strings.TrimSpace(string(file)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return "", errors.New("keys/peer.key: not a 32-byte seed in hexadecimal")
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return "", err
	}
	id, err := peer.IDFromPrivateKey(key)
	return id.String(), err
}
