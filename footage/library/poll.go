package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// damagedAfter is how long a file may stay unreadable and unchanged before it is called damaged.
	damagedAfter = 10 * time.Minute
	// listEvery is how often a directory is listed however quiet it is.
	listEvery = time.Hour
	// batch is how many files are read before the index is written: what a crash can cost.
	batch = 500
	// wroteWithin is how close to its end a file must have been written last for that to tell which of two
	// hours of one name it is of.
	wroteWithin = 30 * time.Minute
	// listing is how many names of a directory are in hand at once.
	listing = 1000
	// longest is the most that one recording can last; a file that claims more is damaged, as it would
	// be found for every span after it.
	longest = 7 * 24 * time.Hour
	// maxDepth is how deep under a camera's folder recordings are looked for.
	maxDepth = 16
)

// dirState is what polls remember of a directory, of which there can be tens of thousands. Times are in
// nanoseconds since 1970.
type dirState struct {
	mtime   int64 // of the directory when it was listed
	newest  int64 // modification of it or of a file in it
	listed  int64 // by the library's clock
	subdirs []string
	waiting map[string]*waiting // nil while nothing waits
	seen    int                 // number of the poll that last found it there
}

func (d *dirState) wait(name string, w *waiting) {
	if d.waiting == nil {
		d.waiting = map[string]*waiting{}
	}
	d.waiting[name] = w
}

// waiting is a file that is not a recording yet.
type waiting struct {
	size, mtime int64
	since       time.Time // first seen like this
	tried       bool      // read once since then, in vain
}

// walk is one poll of one folder.
type walk struct {
	l      *Library
	f      *folder
	root   *os.Root
	now    time.Time
	report *Report
	number int    // of this poll of the folder
	reason string // the first thing that could not be read
}

// Poll looks through all folders once. A folder that is not there or fails is in the report; the
// error is the context's or the index's. A poll that SetCameras cut short reports what it came to.
func (l *Library) Poll(asked context.Context) (Report, error) {
	l.polling.Lock()
	defer l.polling.Unlock()
	ctx, cut := context.WithCancel(asked)
	defer cut()
	l.mu.Lock()
	l.cut = cut
	l.mu.Unlock()
	if l.changing.Load() > 0 { // whoever waits looked for cut before it was there
		cut()
	}
	if !l.index.there() {
		l.cfg.Log.Warn("index of recordings was removed, making it anew", "index", l.cfg.Index)
		if err := l.replaceIndex(asked, false); err != nil {
			return Report{}, err
		}
	}
	report, err := l.pollAll(ctx)
	if l.recover(asked, l.index, err) {
		report, err = l.pollAll(ctx)
	}
	if ctx.Err() != nil && asked.Err() == nil {
		return report, nil
	}
	return report, err
}

func (l *Library) pollAll(ctx context.Context) (Report, error) {
	var report Report
	for _, f := range l.folders {
		state, err := l.pollFolder(ctx, f, &report)
		if err != nil {
			return report, err
		}
		report.Folders = append(report.Folders, state)
	}
	return report, nil
}

func (l *Library) pollFolder(ctx context.Context, f *folder, report *Report) (FolderReport, error) {
	state, err := l.attend(ctx, f)
	if err != nil || state.State == FolderAbsent {
		return state, err
	}
	root, err := os.OpenRoot(f.path)
	if err != nil {
		state.State, state.Reason = FolderAbsent, err.Error()
		return state, nil
	}
	defer root.Close()
	f.polls++
	w := &walk{l: l, f: f, root: root, now: l.cfg.Now(), report: report, number: f.polls}
	if err := w.dir(ctx, root, ".", ".", 0); err != nil {
		return state, err
	}
	if err := w.holds(ctx); err != nil {
		return state, err
	}
	if err := w.forgetGone(ctx); err != nil {
		return state, err
	}
	for _, d := range f.dirs {
		report.Waiting += len(d.waiting)
	}
	if w.reason != "" {
		state.State, state.Reason = FolderFailing, w.reason
	}
	return state, nil
}

// holds walks what is held as if it were in its old place.
func (w *walk) holds(ctx context.Context) error {
	names, err := w.list(holds)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		w.fail(holds, err)
		return nil
	}
	for _, name := range names {
		if !name.IsDir() || checkHoldName(name.Name()) != nil {
			continue
		}
		dir := path.Join(holds, name.Name())
		turns, err := w.list(dir)
		if err != nil {
			w.fail(dir, err)
			continue
		}
		for _, turn := range turns {
			inner := path.Join(dir, turn.Name())
			if _, _, ok := inHold(inner); ok && turn.IsDir() {
				if err := w.dir(ctx, w.root, inner, inner, 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// fail notes what could not be read, so that nothing below it is taken for removed.
func (w *walk) fail(rel string, err error) {
	if w.reason == "" {
		w.reason = fmt.Sprintf("%s cannot be read: %v", rel, err)
	}
	for dir, d := range w.f.dirs {
		if below(dir, rel) {
			d.seen = w.number
		}
	}
}

func below(dir, top string) bool {
	return top == "." || dir == top || strings.HasPrefix(dir, top+"/")
}

func (w *walk) list(rel string) ([]fs.DirEntry, error) {
	d, err := w.root.Open(filepath.FromSlash(rel))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// dir visits a directory and those below it. It is called name in the open directory in, so that looking
// at one does not lead through all above it again.
func (w *walk) dir(ctx context.Context, in *os.Root, name, rel string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := in.Lstat(filepath.FromSlash(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		w.fail(rel, err)
		return nil
	}
	state := w.f.dirs[rel]
	if state != nil {
		state.seen = w.number
	}
	if state == nil || !state.quiet(info, w.now) {
		if state, err = w.listed(ctx, rel, info, state); err != nil || state == nil {
			return err
		}
		state.seen = w.number
		w.f.dirs[rel] = state
	}
	if depth == maxDepth || len(state.subdirs) == 0 {
		return nil
	}
	if name != "." {
		if in, err = in.OpenRoot(filepath.FromSlash(name)); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				w.fail(rel, err)
			}
			return nil
		}
		defer in.Close()
	}
	for _, name := range state.subdirs {
		sub := path.Join(rel, name)
		if w.f.inner[sub] {
			continue
		}
		if err := w.dir(ctx, in, name, sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// quiet reports whether a directory need not be listed again: nothing waits in it, its own time is the same, and
// since it was listed less than half of the time went by that it had then been quiet for.
func (d *dirState) quiet(info fs.FileInfo, now time.Time) bool {
	since := now.UnixNano() - d.listed
	return len(d.waiting) == 0 && d.mtime == info.ModTime().UnixNano() &&
		since >= 0 && since < min((d.listed-d.newest)/2, int64(listEvery))
}

// listed lists a directory and brings the index up to it; nil if it could not be read. Of a directory it
// has in hand what the index knows of it, and some names at a time. When ctx ends, what was read until
// then is in the index.
func (w *walk) listed(ctx context.Context, rel string, info fs.FileInfo, before *dirState) (*dirState, error) {
	d, err := w.root.Open(filepath.FromSlash(rel))
	if err != nil {
		w.fail(rel, err)
		return nil, nil
	}
	defer d.Close()
	known, err := w.l.index.known(ctx, w.f.path, rel)
	if err != nil {
		return nil, err
	}
	hold, logical := "", rel
	if name, rest, ok := inHold(rel); ok {
		hold, logical = name, rest
	}
	state := &dirState{mtime: info.ModTime().UnixNano(), newest: info.ModTime().UnixNano(), listed: w.now.UnixNano()}
	var put []row
	flush := func(gone []string) error {
		err := w.l.index.change(context.WithoutCancel(ctx), w.f.path, rel, hold, put, gone)
		put = put[:0]
		return err
	}
	for {
		entries, err := d.ReadDir(listing)
		for _, e := range entries {
			if ctx.Err() != nil {
				return nil, errors.Join(ctx.Err(), flush(nil))
			}
			if e.IsDir() {
				if e.Name() != ours {
					state.subdirs = append(state.subdirs, e.Name())
				}
				continue
			}
			if r, ok := w.entry(e, rel, logical, known, before, state); ok {
				if put = append(put, r); len(put) == batch {
					if err := flush(nil); err != nil {
						return nil, err
					}
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			w.fail(rel, err)
			return nil, flush(nil)
		}
	}
	slices.Sort(state.subdirs)
	var gone []string
	for name := range known {
		gone = append(gone, name)
	}
	w.report.Removed += len(gone)
	return state, flush(gone)
}

// entry looks at one file of a directory: ok when the index is to have it anew. What it is done with leaves
// known, and what is to be looked at again is in state.
func (w *walk) entry(e fs.DirEntry, rel, logical string, known map[string]knownFile, before, state *dirState) (_ row, ok bool) {
	name := e.Name()
	if !e.Type().IsRegular() || !isVideo(name) {
		return row{}, false
	}
	cam, at := w.f.owner(path.Join(logical, name))
	if cam == nil {
		return row{}, false
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return row{}, false // removed since; known still has it
	}
	if err != nil {
		w.fail(path.Join(rel, name), err)
		delete(known, name)
		return row{}, false
	}
	state.newest = max(state.newest, info.ModTime().UnixNano())
	now := knownFile{info.Size(), info.ModTime().UnixMicro()}
	was, indexed := known[name]
	delete(known, name)
	if indexed && was == now {
		return row{}, false
	}
	wait := (*waiting)(nil)
	if before != nil {
		wait = before.waiting[name]
	}
	if wait == nil || wait.size != now.size || wait.mtime != now.mtime {
		state.wait(name, &waiting{size: now.size, mtime: now.mtime, since: w.now})
		return row{}, false
	}
	rec, done := w.examine(path.Join(rel, name), wait)
	if !done {
		state.wait(name, wait)
		return row{}, false
	}
	rec.Camera = cam.ID
	date(&rec, at, info.ModTime())
	if rec.Duration > 0 {
		w.report.Added++
	}
	if rec.Damaged != "" {
		w.report.Damaged++
	}
	return row{name: name, size: now.size, mtime: now.mtime, camera: cam.row, rec: rec}, true
}

// examine reads a file that has not changed since the last poll. done is false while there is hope
// that it will be whole later.
func (w *walk) examine(rel string, wait *waiting) (rec Recording, done bool) {
	if w.now.Before(wait.since) { // the clock was set back
		wait.since = w.now
	}
	age := w.now.Sub(wait.since)
	if age < w.l.cfg.Settle || wait.tried && age < damagedAfter {
		return rec, false
	}
	rec.Size = wait.size
	err := w.probe(rel, wait.size, &rec)
	wait.tried = true
	if err != nil {
		rec.Damaged = err.Error()
	}
	return rec, rec.Damaged == "" || age >= damagedAfter
}

var errEmpty = errors.New("the file is empty")

func (w *walk) probe(rel string, size int64, rec *Recording) error {
	if size == 0 {
		return errEmpty
	}
	f, err := w.root.Open(filepath.FromSlash(rel))
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(errors.New("the file cannot be read"), err)
	}
	m, err := w.l.probe(f, size)
	if err != nil {
		return err
	}
	if m.Duration <= 0 {
		return errors.New("the movie has no length")
	}
	if m.Duration > longest {
		return fmt.Errorf("the movie claims to be %v long", m.Duration)
	}
	rec.Duration, rec.Codec, rec.Width, rec.Height = m.Duration, m.Codec, m.Width, m.Height
	if m.Truncated {
		rec.Damaged = "the end of the file is missing"
	}
	if plausible(m.Created) {
		rec.Start, rec.StartFrom = m.Created.UTC(), "mvhd"
	}
	return nil
}

// plausible leaves out the times that recorders without a clock write.
func plausible(t time.Time) bool { return t.Year() >= 2000 && t.Year() <= 2100 }

// date decides when a recording starts; rec has what the movie says.
func date(rec *Recording, at *told, mtime time.Time) {
	switch {
	case at != nil:
		rec.Start, rec.StartFrom, rec.Ambiguous = at.at, at.from, at.ambiguous
		if wrote := mtime.Add(-rec.Duration).Sub(at.or).Abs(); !at.or.IsZero() && wrote < wroteWithin {
			rec.Start = at.or.UTC()
		}
	case rec.StartFrom == "" && rec.Duration > 0:
		rec.Start, rec.StartFrom = mtime.Add(-rec.Duration).UTC(), "mtime"
	}
	rec.ModTime = mtime
}

// forgetGone drops the directories that are in the index, or were seen before, and are no more. All that
// the index has are compared at the first poll and then once an hour; polls know what they found themselves.
func (w *walk) forgetGone(ctx context.Context) error {
	var gone []string
	for rel, d := range w.f.dirs {
		if d.seen != w.number {
			gone = append(gone, rel)
		}
	}
	if w.f.compared.IsZero() || w.now.Sub(w.f.compared) >= listEvery || w.now.Before(w.f.compared) {
		dirs, err := w.l.index.dirs(ctx, w.f.path)
		if err != nil {
			return err
		}
		for _, rel := range dirs {
			if w.f.dirs[rel] == nil {
				gone = append(gone, rel)
			}
		}
		w.f.compared = w.now
	}
	for _, rel := range gone {
		delete(w.f.dirs, rel)
		// The walk may have stopped above it: only what the disk itself says is gone is gone.
		info, err := w.root.Lstat(filepath.FromSlash(rel))
		if err == nil && info.IsDir() && !w.f.inner[rel] {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			w.fail(rel, err)
			w.f.compared = time.Time{}
			continue
		}
		n, err := w.l.index.dropDir(ctx, w.f.path, rel)
		if err != nil {
			w.f.compared = time.Time{}
			return err
		}
		w.report.Removed += n
	}
	return nil
}
