package library

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/durable"
)

const (
	holds    = ours + "/hold"
	holdFile = "hold.json"
	// ending marks a hold whose files are being removed; no hold name starts with a dot.
	ending = ".ending-"
	// maxTurns is how many files that stood in one place, one after the other, a hold can have.
	maxTurns = 100
)

var holdNameForm = regexp.MustCompile(`^[a-z0-9-]{1,80}$`)

// checkHoldName refuses a name that could not be a folder's on every disk.
func checkHoldName(name string) error {
	if !holdNameForm.MatchString(name) {
		return fmt.Errorf("hold name %.100q: use 1 to 80 of a-z, 0-9 and -", name)
	}
	return nil
}

// Protected is what [Library.Protect] did.
type Protected struct {
	Held        []Recording // with Path and Hold in the hold; also what was held before under the name
	Unprotected []Unprotected
	Bytes       int64 // in all holds of the library, each file once
}

// Unprotected is a recording that can still roll off, and why.
type Unprotected struct {
	Recording Recording
	Reason    string
	OverQuota bool // there was no room for it within the quota
}

var errQuota = errors.New("the bytes that may be on hold are used up")

// Hold is what stands under one name.
type Hold struct {
	Name  string
	Until time.Time // the latest of its folders; zero if none of them can be read
	Files int
	Bytes int64
}

// holdNote is hold.json.
type holdNote struct {
	Version int       `json:"version"`
	Until   time.Time `json:"until"`
}

// Protect keeps recordings, in the order given, until Unprotect or until the hold has run out and
// ExpireHolds is called. quota is the bytes that all holds of this library may have together, each file
// counted once, whether the recorder still has it or not; a recording that does not fit is left out and later,
// shorter ones are still tried. Asking again for what is held changes nothing but a later until,
// and a name can be given more recordings; an earlier until is not taken.
//
// The error is one of the name, the context or the index; in the last case what could be linked is held
// nevertheless, and asking again completes the rest.
func (l *Library) Protect(ctx context.Context, name string, until time.Time, recs []Recording, quota int64) (Protected, error) {
	var done Protected
	if err := checkHoldName(name); err != nil {
		return done, err
	}
	l.polling.Lock()
	defer l.polling.Unlock()
	used, err := l.heldFiles(ctx)
	if err != nil {
		return done, err
	}
	for _, size := range used {
		done.Bytes += size
	}
	ready := map[*folder]*holder{}
	defer func() {
		for _, h := range ready {
			h.close()
		}
	}()
	for _, rec := range recs {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		refuse := func(err error) {
			done.Unprotected = append(done.Unprotected, Unprotected{rec, err.Error(), errors.Is(err, errQuota)})
		}
		f, rel, ok := l.locate(rec.Path)
		if !ok {
			refuse(fmt.Errorf("%s is in no camera's folder", rec.Path))
			continue
		}
		h := ready[f]
		if h == nil {
			h = l.holder(ctx, f, name, until)
			ready[f] = h
		}
		if h.err != nil {
			refuse(h.err)
			continue
		}
		held, err := h.link(rel, func(key heldFile) error {
			if _, ok := used[key]; ok {
				return nil
			}
			if key.size > quota-done.Bytes {
				return fmt.Errorf("%w: of %d bytes %d are held, this one has %d", errQuota, quota, done.Bytes, key.size)
			}
			used[key] = key.size
			done.Bytes += key.size
			return nil
		}, func(key heldFile) {
			delete(used, key)
			done.Bytes -= key.size
		})
		if err != nil {
			refuse(err)
			continue
		}
		rec.Path, rec.Hold = filepath.Join(f.path, filepath.FromSlash(held)), name
		done.Held = append(done.Held, rec)
	}
	// Links that are not known to survive a power cut protect nothing.
	lost := map[*folder]error{}
	for f, h := range ready {
		for dir := range h.dirty {
			if err := durable.SyncDir(filepath.Join(f.path, filepath.FromSlash(dir))); err != nil && lost[f] == nil {
				lost[f] = err
			}
		}
	}
	if len(lost) > 0 {
		kept := done.Held[:0]
		for _, rec := range done.Held {
			if f, _, _ := l.locate(rec.Path); lost[f] != nil {
				done.Unprotected = append(done.Unprotected, Unprotected{Recording: rec, Reason: "held, but not known to survive a power cut: " + lost[f].Error()})
				continue
			}
			kept = append(kept, rec)
		}
		done.Held = kept
	}
	for f, h := range ready {
		err := l.index.copyHeld(ctx, f.path, name, h.linked)
		if err != nil && !l.recover(ctx, l.index, err) {
			return done, err
		}
	}
	return done, nil
}

// locate finds the folder that a path is in, the innermost if several contain it.
func (l *Library) locate(p string) (best *folder, rel string, ok bool) {
	for _, f := range l.folders {
		r, err := filepath.Rel(f.path, filepath.Clean(p))
		if err == nil && r != "." && filepath.IsLocal(r) && (best == nil || len(f.path) > len(best.path)) {
			best, rel = f, filepath.ToSlash(r)
		}
	}
	return best, rel, best != nil
}

// heldFile tells held files apart; the same file under two holds is one.
type heldFile struct {
	folder, rest string
	size, mtime  int64
}

// heldFiles are all held files of all folders, with their sizes in bytes.
func (l *Library) heldFiles(ctx context.Context) (map[heldFile]int64, error) {
	used := map[heldFile]int64{}
	for _, f := range l.folders {
		err := walkHolds(ctx, f.path, "", func(rel, rest string, info fs.FileInfo) error {
			used[heldFile{f.path, rest, info.Size(), info.ModTime().UnixMicro()}] = info.Size()
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return used, nil
}

// walkHolds visits the files of one hold, or of all if name is empty. A folder that is not there has none.
func walkHolds(ctx context.Context, folder, name string, visit func(rel, rest string, info fs.FileInfo) error) error {
	root, err := os.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), path.Join(holds, name), func(rel string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ending) {
			return fs.SkipDir
		}
		_, rest, ok := inHold(rel)
		if !ok || !d.Type().IsRegular() {
			return ctx.Err()
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return visit(rel, rest, info)
	})
}

// holder links into one hold in one folder.
type holder struct {
	root   *os.Root
	folder string
	name   string
	until  time.Time
	noted  bool            // the note stands
	dirty  map[string]bool // directories to be synced
	linked [][2]string     // from, to; relative
	err    error           // why nothing can be held here
}

func (l *Library) holder(ctx context.Context, f *folder, name string, until time.Time) *holder {
	h := &holder{folder: f.path, name: name, until: until, dirty: map[string]bool{}}
	state, err := l.attend(ctx, f)
	if err == nil && state.State == FolderAbsent {
		err = errors.New(state.Reason)
	}
	if err == nil {
		h.root, err = os.OpenRoot(f.path)
	}
	h.err = err
	return h
}

// note writes down when the hold ends: before its first link, so that no link is ever without an end.
func (h *holder) note() error {
	if h.noted {
		return nil
	}
	dir := path.Join(holds, h.name)
	if note, err := readNote(h.root, dir); err == nil && !h.until.After(note.Until) {
		h.noted = true
		return nil
	}
	full := filepath.Join(h.folder, filepath.FromSlash(dir))
	text, err := json.Marshal(holdNote{Version: 1, Until: h.until.UTC()})
	if err == nil {
		err = durable.MkdirAll(full, 0o755)
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(full, holdFile), append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("nothing can be held in this folder: %w", err)
	}
	h.noted = true
	return nil
}

func (h *holder) close() {
	if h.root != nil {
		h.root.Close()
	}
}

// link holds one file; admit may refuse what is not held yet under any name, and undo takes that back.
func (h *holder) link(rel string, admit func(heldFile) error, undo func(heldFile)) (string, error) {
	rest := rel
	if _, r, ok := inHold(rel); ok {
		rest = r
	} else if below(rel, ours) {
		return "", errors.New("the file is not a recording")
	}
	info, err := h.root.Lstat(filepath.FromSlash(rel))
	if err != nil {
		return "", fmt.Errorf("the file is gone or cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("the file is not an ordinary file")
	}
	key := heldFile{h.folder, rest, info.Size(), info.ModTime().UnixMicro()}
	for turn := 1; turn <= maxTurns; turn++ {
		to := path.Join(holds, h.name, strconv.Itoa(turn), rest)
		there, err := h.root.Lstat(filepath.FromSlash(to))
		if err == nil && os.SameFile(info, there) {
			return to, h.note()
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := admit(key); err != nil {
			return "", err
		}
		dir := path.Dir(to)
		if err := h.note(); err != nil {
			undo(key)
			return "", err
		}
		err = durable.MkdirAll(filepath.Join(h.folder, filepath.FromSlash(dir)), 0o755)
		if err == nil {
			err = h.root.Link(filepath.FromSlash(rel), filepath.FromSlash(to))
		}
		if err != nil {
			undo(key)
			return "", fmt.Errorf("the recording cannot be held here; copy it by hand if it matters: %w", linkReason(err))
		}
		h.dirty[dir] = true
		h.linked = append(h.linked, [2]string{rel, to})
		return to, nil
	}
	return "", fmt.Errorf("%d other files that stood at %s are held already", maxTurns, rest)
}

func linkReason(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("this disk or share has no hard links (or forbids them): %w", err)
	case errors.Is(err, syscall.EXDEV):
		return fmt.Errorf("it is on another disk than the folder: %w", err)
	}
	return err
}

func readNote(root *os.Root, dir string) (holdNote, error) {
	var note holdNote
	f, err := root.Open(filepath.FromSlash(path.Join(dir, holdFile)))
	if err != nil {
		return note, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return note, err
	}
	if err := json.Unmarshal(text, &note); err != nil {
		return note, err
	}
	if note.Version != 1 || note.Until.IsZero() {
		return note, fmt.Errorf("version %d is not known here", note.Version)
	}
	return note, nil
}

// Unprotect ends a hold: its links are removed, and what the recorder has removed meanwhile is
// gone. A name that holds nothing is no error. A folder that is not there is one; its hold ends
// when it runs out.
func (l *Library) Unprotect(ctx context.Context, name string) error {
	if err := checkHoldName(name); err != nil {
		return err
	}
	l.polling.Lock()
	defer l.polling.Unlock()
	var errs []error
	for _, f := range l.folders {
		state, err := l.attend(ctx, f)
		if err == nil && state.State == FolderAbsent {
			err = fmt.Errorf("end hold %s in %s: %s", name, f.path, state.Reason)
		}
		if err == nil {
			err = l.endHold(ctx, f, name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// endHold takes the hold out of sight in one step and then removes it file by file.
func (l *Library) endHold(ctx context.Context, f *folder, name string) error {
	top := filepath.Join(f.path, filepath.FromSlash(holds))
	from, to := filepath.Join(top, name), filepath.Join(top, ending+name)
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := os.RemoveAll(to)
	if err == nil {
		err = os.Rename(from, to)
	}
	if err == nil {
		err = durable.SyncDir(top)
	}
	if err == nil {
		err = os.RemoveAll(to)
	}
	if err != nil {
		return fmt.Errorf("end hold %s: %w", name, err)
	}
	dirs, err := l.index.dirs(ctx, f.path)
	for _, dir := range dirs {
		if below(dir, path.Join(holds, name)) && err == nil {
			_, err = l.index.dropDir(ctx, f.path, dir)
			delete(f.dirs, dir)
		}
	}
	if l.recover(ctx, l.index, err) {
		err = nil
	}
	return err
}

// ExpireHolds ends the holds that have run out and returns their names. A hold whose note cannot be read
// does not run out: it is named in the error, and goes with Unprotect or gets a new note with Protect.
func (l *Library) ExpireHolds(ctx context.Context, now time.Time) ([]string, error) {
	l.polling.Lock()
	defer l.polling.Unlock()
	ended := map[string]bool{}
	var errs []error
	for _, f := range l.folders {
		state, err := l.attend(ctx, f)
		if err != nil {
			return nil, err
		}
		if state.State == FolderAbsent {
			continue
		}
		names, err := l.holdsOf(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for name, note := range names {
			if note.err != nil {
				errs = append(errs, fmt.Errorf("hold %s in %s has a damaged note and will not run out by itself: %w", name, f.path, note.err))
			} else if !now.Before(note.until) {
				err := l.endHold(ctx, f, name)
				errs = append(errs, err)
				ended[name] = ended[name] || err == nil
			}
		}
	}
	var names []string
	for name, ok := range ended {
		if ok {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names, errors.Join(errs...)
}

type noteOf struct {
	until time.Time
	err   error
}

// holdsOf lists the holds in a folder, and finishes the removal of what a crash left of ended ones.
func (l *Library) holdsOf(f *folder) (map[string]noteOf, error) {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), holds)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[string]noteOf{}
	for _, e := range entries {
		name := e.Name()
		switch {
		case e.IsDir() && strings.HasPrefix(name, ending):
			if err := root.RemoveAll(filepath.FromSlash(path.Join(holds, name))); err != nil {
				return nil, err
			}
		case e.IsDir() && checkHoldName(name) == nil:
			note, err := readNote(root, path.Join(holds, name))
			found[name] = noteOf{note.Until, err}
		}
	}
	return found, nil
}

// Holds lists all holds of the folders that are there, by name.
func (l *Library) Holds(ctx context.Context) ([]Hold, error) {
	l.polling.Lock()
	defer l.polling.Unlock()
	byName := map[string]*Hold{}
	for _, f := range l.folders {
		names, err := l.holdsOf(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for name, note := range names {
			if byName[name] == nil {
				byName[name] = &Hold{Name: name}
			}
			h := byName[name]
			if note.err == nil && note.until.After(h.Until) {
				h.Until = note.until
			}
			err := walkHolds(ctx, f.path, name, func(rel, rest string, info fs.FileInfo) error {
				h.Files++
				h.Bytes += info.Size()
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	all := make([]Hold, 0, len(byName))
	for _, h := range byName {
		all = append(all, *h)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, nil
}

// Held returns what is held under a name, ordered by start. It asks the disk and takes from the
// index only what that knows of the files, so that it is right also while the index is made anew.
func (l *Library) Held(ctx context.Context, name string) ([]Recording, error) {
	if err := checkHoldName(name); err != nil {
		return nil, err
	}
	l.polling.Lock()
	defer l.polling.Unlock()
	var recs []Recording
	for _, f := range l.folders {
		root, err := os.OpenRoot(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		w := &walk{l: l, f: f, root: root}
		err = walkHolds(ctx, f.path, name, func(rel, rest string, info fs.FileInfo) error {
			cam, at := f.owner(rest)
			if cam == nil {
				return nil
			}
			rec, err := l.index.file(ctx, f.path, rel, info)
			if err != nil && l.recover(ctx, l.index, err) {
				rec, err = nil, nil
			}
			if err != nil {
				return err
			}
			if rec == nil {
				rec = &Recording{Camera: cam.ID, Size: info.Size(), Path: filepath.Join(f.path, filepath.FromSlash(rel)), Hold: name}
				if err := w.probe(rel, info.Size(), rec); err != nil {
					rec.Damaged = err.Error()
				}
				date(rec, at, info.ModTime().UTC())
			}
			recs = append(recs, *rec)
			return nil
		})
		root.Close()
		if err != nil {
			return nil, err
		}
	}
	return once(recs), nil
}
