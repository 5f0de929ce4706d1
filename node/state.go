package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// A State is a node's folder, held by one process at a time.
//
//	role            home, agency, steward or observe
//	config.toml     settings (ReadConfig)
//	keys/           private keys; what the vault needs is apart, in keys/release
//	charter/        000001.note … the charter's versions
//	dockets/ID/     an agency's docket as this node keeps it
//	peers.json      addresses that worked, to come back to
//	invited.json    addresses of stewards that came with an invitation
//
// A node's own keys are in the clear: it starts after a power cut with nobody there to type a passphrase. The
// folder is open to its user alone. The keys of persons are in no node's folder.
type State struct {
	dir  string
	role Role
	lock *durable.Held
	disk durable.Disk
}

// Create makes a folder for a node of that role, with its peer key and a commented config.toml.
// A folder that already holds a node is an error.
func Create(dir string, role Role) error { return CreateWith(durable.Disk{}, dir, role, nil) }

// CreateWith is Create through a disk, with further files by their names in the folder. The folder
// counts as a node's once all of them are there; until then it is made anew.
func CreateWith(disk durable.Disk, dir string, role Role, files map[string][]byte) error {
	held, err := RoleOf(dir)
	if err == nil {
		return WithHint(fmt.Errorf("%s already holds a node (%s)", dir, held), "choose another folder with --dir")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); err == nil {
		return WithHint(fmt.Errorf("%s has the keys of a node, and its file role is missing", dir),
			"write home, agency, steward or observe into the file role, whichever it was, or choose another folder with --dir")
	}
	if err := disk.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	all := map[string][]byte{"keys/peer.key": []byte(hex.EncodeToString(seed) + "\n"), "config.toml": []byte(DefaultConfig(role))}
	maps.Copy(all, files)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := disk.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), all[name], 0o600); err != nil {
			return err
		}
	}
	// The role comes last: a folder without it is one whose making was interrupted.
	return disk.WriteFile(filepath.Join(dir, "role"), []byte(string(role)+"\n"), 0o600)
}

// noNode is a folder that holds no node.
type noNode string

func (dir noNode) Error() string    { return string(dir) + " holds no node" }
func (noNode) Is(target error) bool { return target == fs.ErrNotExist }

// RoleOf says which role's node a folder holds. errors.Is(err, fs.ErrNotExist) where it holds none.
func RoleOf(dir string) (Role, error) {
	b, err := os.ReadFile(filepath.Join(dir, "role"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", WithHint(noNode(dir), "make one with `porchlight join LINK --dir "+dir+"` or `porchlight ROLE init --dir "+dir+"`")
	}
	if err != nil {
		return "", err
	}
	return ParseRole(strings.TrimSpace(string(b)))
}

// BackupManifest is the first entry of a backup. A folder that has it was unpacked by hand, and its
// answers would be sent and its docket signed as if no time had passed.
const BackupManifest = "porchlight-backup.json"

// OpenState takes hold of a node's folder; Close lets it go.
func OpenState(dir string) (*State, error) {
	role, err := RoleOf(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, BackupManifest)); err == nil {
		return nil, WithHint(fmt.Errorf("%s is a backup that was unpacked by hand, not a node", dir), "make a node of it with `porchlight restore FILE.age --dir FOLDER`")
	}
	lock, err := durable.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	return &State{dir: dir, role: role, lock: lock}, nil
}

// Close lets the folder go.
func (s *State) Close() error { return s.lock.Unlock() }

// Role is the folder's role.
func (s *State) Role() Role { return s.role }

// Disk is what everything in the folder is written through.
func (s *State) Disk() durable.Disk { return s.disk }

// Settle makes a folder of the state fit to be read at start. What a killed run named there and did
// not sync could be read, and would be another after a power cut; what it did not finish, which may be
// a copy of a key, is removed.
func (s *State) Settle(dir string) error {
	return errors.Join(s.disk.RemoveTemporary(dir), s.disk.SyncDir(dir))
}

// Path names a file of the folder.
func (s *State) Path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// Glob names the files of the folder that match a pattern of slashes and stars. The folder's own name
// may hold anything, brackets and stars too.
func (s *State) Glob(pattern string) ([]string, error) {
	names, err := fs.Glob(os.DirFS(s.dir), pattern)
	for i, name := range names {
		names[i] = s.Path(filepath.FromSlash(name))
	}
	return names, err
}

// PeerKey reads the node's network identity.
func (s *State) PeerKey() (ed25519.PrivateKey, error) {
	path := s.Path("keys", "peer.key")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s: not a 32-byte seed in hexadecimal", path)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// WriteJSON stores a value durably; it is there whole after a crash, or not at all.
func WriteJSON(disk durable.Disk, path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return disk.WriteFile(path, append(b, '\n'), 0o600)
}

// ReadJSON reads what WriteJSON stored. A damaged file is an error that names it.
func ReadJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}
