package library

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/porchlight-mesh/porchlight/footage/durable"
)

const (
	ours       = ".porchlight"
	identified = ours + "/folder.id"
	// noIdentity is what the index remembers of a folder that could not be given an identity.
	noIdentity = "read-only"
)

var identityForm = regexp.MustCompile(`^porchlight folder 1\n([0-9a-f]{32})\n$`)

// attend decides whether a folder is the one that the index knows. It gives a new one its identity.
// The error is one of the index; whatever the folder does wrong is in the report.
func (l *Library) attend(ctx context.Context, f *folder) (FolderReport, error) {
	report := FolderReport{Folder: f.path, State: FolderOK}
	absent := func(reason string) (FolderReport, error) {
		report.State, report.Reason = FolderAbsent, reason
		return report, nil
	}
	entries, err := firstEntries(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return absent("the folder does not exist: check that its disk is mounted")
	}
	if err != nil {
		return absent("the folder cannot be read: " + err.Error())
	}
	found, err := readIdentity(f.path)
	if err != nil {
		return absent(err.Error())
	}
	remembered, err := l.index.identity(ctx, f.path)
	if err != nil {
		return report, err
	}
	bare, err := l.index.empty(ctx, f.path)
	if err != nil {
		return report, err
	}
	switch {
	case found != "" && found == remembered:
		return report, nil
	case remembered == noIdentity && !bare:
		if entries == 0 {
			return absent("the folder is empty and was not: check that its disk is mounted")
		}
		if found == "" {
			report.State, report.Reason = FolderReadOnly, "the folder cannot be written to: its recordings can be found, but not protected from roll-off"
			return report, nil
		}
	case remembered != "" && !bare && found == "":
		return absent("the folder has lost its identity file " + identified + ": check that its disk is mounted")
	case remembered != "" && !bare:
		return absent("the folder's identity file " + identified + " is another's: check that the right disk is mounted")
	}
	// The index has nothing of this folder that could be lost, or knew it as read-only and now
	// finds an identity that somebody gave it.
	if found == "" {
		found, err = l.identify(f.path)
		if err != nil {
			report.State, report.Reason = FolderReadOnly, "the folder cannot be written to: its recordings can be found, but not protected from roll-off: "+err.Error()
			if remembered != noIdentity {
				l.cfg.Log.Warn("folder of recordings is read-only", "err", err)
			}
			found = noIdentity
		}
	}
	if found == remembered {
		return report, nil
	}
	return report, l.index.setIdentity(ctx, f.path, found)
}

// firstEntries tells how many names a directory has, up to two, without reading it all.
func firstEntries(dir string) (int, error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(2)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return len(names), err
}

// readIdentity returns "" when the folder has none.
func readIdentity(folder string) (string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "", err
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(identified))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("the folder's identity file cannot be read: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 200))
	if err != nil {
		return "", fmt.Errorf("the folder's identity file cannot be read: %w", err)
	}
	m := identityForm.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("the folder's identity file %s is not what was written: remove it and adopt the folder anew", identified)
	}
	return string(m[1]), nil
}

// identify writes a new identity.
func (l *Library) identify(folder string) (string, error) {
	var raw [16]byte
	if _, err := io.ReadFull(l.cfg.Rand, raw[:]); err != nil {
		return "", err
	}
	if err := durable.MkdirAll(filepath.Join(folder, ours), 0o755); err != nil {
		return "", err
	}
	id := hex.EncodeToString(raw[:])
	path := filepath.Join(folder, filepath.FromSlash(identified))
	return id, durable.WriteFile(path, []byte("porchlight folder 1\n"+id+"\n"), 0o644)
}

// Adopt accepts a folder as it is now, after its owner put another disk in its place or lost its
// identity file: what the index has of it is forgotten, and the next polls find what is there.
func (l *Library) Adopt(ctx context.Context, path string) error {
	l.polling.Lock()
	defer l.polling.Unlock()
	path = filepath.Clean(path)
	for _, f := range l.folders {
		if f.path != path {
			continue
		}
		if _, err := readIdentity(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		dirs, err := l.index.dirs(ctx, path)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if _, err := l.index.dropDir(ctx, path, dir); err != nil {
				return err
			}
		}
		f.forget()
		return l.index.setIdentity(ctx, path, "")
	}
	return fmt.Errorf("adopt %s: no camera records to this folder", path)
}

// inHold takes a path within a folder apart that leads into a hold. rel has forward slashes; rest is the
// path that the file had before it was held.
func inHold(rel string) (name, rest string, ok bool) {
	tail, ok := strings.CutPrefix(rel, holds+"/")
	if !ok {
		return "", "", false
	}
	name, tail, _ = strings.Cut(tail, "/")
	turn, rest, _ := strings.Cut(tail, "/")
	if checkHoldName(name) != nil || turn == "" || strings.Trim(turn, "0123456789") != "" {
		return "", "", false
	}
	return name, rest, true
}

// original is the path a file had before it was held, or the path itself.
func original(path string) string {
	slashed := filepath.ToSlash(path)
	at := strings.LastIndex(slashed, "/"+holds+"/")
	if at < 0 {
		return path
	}
	_, rest, ok := inHold(slashed[at+1:])
	if !ok {
		return path
	}
	return filepath.FromSlash(slashed[:at+1] + rest)
}
