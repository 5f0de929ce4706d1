// Package library makes a library of the folders that recorders write to, without copying a byte.
//
// # Recordings
//
// A recording is an ordinary file (*.mp4, *.m4v, *.mov in any case) somewhere under a camera's
// folder. Folders are polled: that works on network shares, and a test owns the clock. A file
// becomes a recording when its size and modification time are the same at two polls at least
// Config.Settle apart and it can be read as a movie. A file that stays as it is for ten minutes and still
// cannot be read is listed as damaged, with the reason; one whose end is missing becomes a recording
// that says so. Either is looked at again when it changes. Symbolic links are not followed, save the
// camera's folder itself: what they lead to inside the folder is found anyway, and what is outside
// is not ours. `.porchlight` folders, devices and pipes are passed over.
//
// A directory in which nothing changes is listed ever more rarely: again after half the time that it has been
// quiet, an hour at most. In it a new or removed file shows at once (the directory's own time changes), and
// one that is rewritten in its place then.
//
// # When a recording starts
//
// In this order of trust, and Recording.StartFrom says which it was, because a court will ask:
//
//   - "path": Frigate's `YYYY-MM-DD/HH/<camera>/MM.SS.mp4`, which is in UTC
//   - "name": a date and time in the file's name, or in its name and folders, in the camera's time
//     zone unless the name says which: by the camera's pattern if it has one, else by the forms that
//     package stamp knows
//   - "mvhd": the movie's creation time (ISO/IEC 14496-12, 8.2.2)
//   - "mtime": the file's modification time less its length
//
// A start that local clocks showed twice or never is marked Ambiguous: it may be off by the change
// of the clocks. Of two moments it is the later when the file was written last within half an hour of the end
// that it would then have, as by a recorder that is not copied; else the earlier.
//
// What a recorder's clock says is taken as it is. A clock that was set shows as a gap between recordings
// when it was set forward, and as recordings that overlap when it was set back: package clip says what a
// clip then shows, and names both.
//
// # The index
//
// The index is a SQLite file and a cache. Deleted, corrupt or of another version, it is made anew from
// the folders by the next polls; a corrupt one is moved aside to `<index>.corrupt`. Every
// recording has a duration class, which bounds its length, so that one bounded range of
// (camera, class, start) for each class finds every overlap. A class spans a factor of eight: there are few
// ranges to look into, and few rows in them that are too early.
//
// # Folders that are not there
//
// At its first poll a folder gets an identity, `.porchlight/folder.id`:
//
//	porchlight folder 1
//	<32 hex digits>
//
// When that file is missing or differs from what the index remembers, the disk is unmounted or swapped: the
// folder is reported as not there and its recordings stay in the index. [Library.Adopt] accepts
// a folder as it is now. A folder that cannot be written to has no identity; it is then taken for
// unmounted when it is empty. A folder or file that cannot be read is an error in the report, and
// never a removal.
//
// # Holds
//
// [Library.Protect] keeps recordings from the recorder's roll-off by hard links:
//
//	<folder>/.porchlight/hold/<name>/hold.json         {"version":1,"until":"2026-12-06T00:00:00Z"}
//	<folder>/.porchlight/hold/<name>/<n>/<path in the folder>
//
// where n is 1, or more when the recorder has put another file in the place of one held before.
// These files are all the state there is. A recorder that deletes or replaces its files cannot
// touch what is held; one that overwrites the bytes of a file in place can, and no link helps
// against that. A held file is a recording as long as the link stands, whatever became of the original.
package library

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip"
	"github.com/porchlight-mesh/porchlight/footage/library/stamp"
)

// CameraID names a camera within one home.
type CameraID string

// Layouts of a camera's folder.
const (
	LayoutAuto    = "auto"    // Frigate's paths for the camera of that name, everything else plain
	LayoutPlain   = "plain"   // the folder is this camera's own, however it is arranged inside
	LayoutFrigate = "frigate" // the folder is Frigate's, with the recordings of several cameras
)

// Camera is one source of recordings.
type Camera struct {
	ID     CameraID
	Folder string // absolute; several cameras may share one if their recordings can be told apart
	Layout string // LayoutAuto if empty
	// FrigateName is the camera's name in Frigate's paths; the ID if empty.
	FrigateName string
	// TimeZone is the IANA name of the zone that names of files and folders are in; UTC if empty.
	TimeZone string
	// Pattern says how files are named, if not in a form that package stamp knows (see [stamp.Pattern]). With
	// one, no other form is tried. It is not for Frigate's paths.
	Pattern string
}

// Recording is one file.
type Recording struct {
	Camera    CameraID
	Path      string    // where to read it: in its hold, if it is held, else where the recorder wrote it
	Start     time.Time // UTC
	StartFrom string    // "path", "name", "mvhd" or "mtime", see the package comment
	Ambiguous bool      // Start is a local time that occurs twice or never
	Duration  time.Duration
	Size      int64 // bytes
	ModTime   time.Time
	Codec     string
	Width     int    // pixels
	Height    int    // pixels
	Damaged   string // what is wrong with the file, "" if nothing is
	Hold      string // the hold that Path is in, "" if the recording is not held
}

// End is the instant after the recording.
func (r Recording) End() time.Time { return r.Start.Add(r.Duration) }

// Input is the recording for [clip.Cut], with what the index knows of its file, so that a file that is
// gone or was written to since gives [clip.ErrGone] or [clip.ErrChanged].
func (r Recording) Input() clip.Input {
	return clip.Input{Path: r.Path, Start: r.Start, Size: r.Size, ModTime: r.ModTime}
}

// ClockOf is what says when recordings were made: the least trusted of the sources of their starts, and
// whether any start is Ambiguous.
func ClockOf(recs []Recording) (source string, ambiguous bool) {
	least := 0
	for _, r := range recs {
		least = max(least, slices.Index(origins[:], r.StartFrom))
		ambiguous = ambiguous || r.Ambiguous
	}
	return origins[least], ambiguous
}

// Config is what a library needs. Only Index must be set.
type Config struct {
	Index   string // path of the SQLite file; its directory must exist and be on a local disk
	Cameras []Camera
	Now     func() time.Time // time.Now if nil
	// Settle is the least time a file must stay unchanged, besides two polls, before it is read.
	Settle time.Duration
	Rand   io.Reader    // for folder identities; crypto/rand if nil
	Log    *slog.Logger // nowhere if nil
}

// Report is what one poll found.
type Report struct {
	Added   int // recordings that are new in the index, or were read again after a change
	Removed int // recordings whose file is gone
	Waiting int // files that are not whole yet
	Damaged int // files that were found damaged by this poll
	Folders []FolderReport
}

// Folder states.
const (
	FolderOK       = "ok"
	FolderReadOnly = "read-only" // usable; it has no identity and nothing in it can be protected
	FolderAbsent   = "not there" // unmounted, or another disk in its place; its index is kept
	FolderFailing  = "failing"   // there, but some of it could not be read
)

// FolderReport is the state of one folder.
type FolderReport struct {
	Folder string
	State  string
	Reason string // for a person, "" when all is well
}

// ErrRebuilding is the error of a question that the index could not answer because it was found
// corrupt just then. It is being made anew; ask again after some polls.
var ErrRebuilding = errors.New("the index of recordings was damaged and is being made anew: try again in some minutes")

// Library finds recordings and keeps them. Its methods may be called by several goroutines.
type Library struct {
	cfg   Config
	probe func(io.ReaderAt, int64) (*clip.Movie, error) // clip.Probe

	polling  sync.Mutex   // held by whoever changes the index or the holds
	changing atomic.Int32 // how many wait for polling to change the cameras

	mu      sync.RWMutex // guards what follows
	index   *index
	folders []*folder // replaced as a whole, never changed in place
	cameras []Camera  // that folders were made of
	cut     func()    // ends the poll under way
}

// Open opens or makes the index. It reads no folder; the first polls do.
func Open(ctx context.Context, cfg Config) (*Library, error) {
	if cfg.Index == "" {
		return nil, errors.New("library: Config.Index names no file")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ix, err := openIndex(ctx, cfg.Index, cfg.Log)
	if err != nil {
		return nil, err
	}
	l := &Library{cfg: cfg, probe: clip.Probe, index: ix}
	if err := l.SetCameras(ctx, cfg.Cameras); err != nil {
		ix.close()
		return nil, err
	}
	return l, nil
}

// Close closes the index. It waits for a poll that is under way; cancel that one's context first.
func (l *Library) Close() error {
	l.polling.Lock()
	defer l.polling.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index.close()
}

// SetCameras replaces the cameras. Recordings of cameras that are gone, or whose folder, layout or
// time zone changed, leave the index; their files and holds are not touched. A poll that is under way, which
// may take minutes where there is much to read, is cut short; the next one goes on.
func (l *Library) SetCameras(ctx context.Context, cameras []Camera) error {
	l.mu.RLock()
	same, cut := l.folders != nil && slices.Equal(cameras, l.cameras), l.cut
	l.mu.RUnlock()
	if same {
		return nil
	}
	l.changing.Add(1)
	if cut != nil {
		cut()
	}
	l.polling.Lock()
	defer l.polling.Unlock()
	l.changing.Add(-1)
	folders, err := arrange(cameras)
	if err != nil {
		return err
	}
	err = l.index.setCameras(ctx, folders)
	if l.recover(ctx, l.index, err) {
		err = l.index.setCameras(ctx, folders)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.folders, l.cameras = folders, slices.Clone(cameras)
	l.mu.Unlock()
	return nil
}

// Run polls until ctx ends, first at once and then in the given interval, and returns ctx's error.
// A poll that fails is logged, and the next one tries again.
func (l *Library) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if _, err := l.Poll(ctx); err != nil && ctx.Err() == nil {
			l.cfg.Log.Error("poll of the recordings failed", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Overlapping returns the camera's recordings that have any part in [from, until), ordered by
// start. A recording that is held is returned once, with its Path in the hold, so that roll-off
// between the asking and the reading cannot take it away.
func (l *Library) Overlapping(ctx context.Context, camera CameraID, from, until time.Time) ([]Recording, error) {
	return l.OverlappingAny(ctx, []CameraID{camera}, from, until)
}

// OverlappingAny is Overlapping for several cameras in one question, ordered by camera, as they are given,
// and then by start.
func (l *Library) OverlappingAny(ctx context.Context, cameras []CameraID, from, until time.Time) ([]Recording, error) {
	var recs []Recording
	return recs, l.ask(ctx, func(ix *index) (err error) {
		recs, err = ix.overlapping(ctx, cameras, from, until)
		return err
	})
}

// Damaged returns the files that could not be read as movies, of all cameras, ordered by path. Their Start
// is what path or name say, or zero; they have no duration, so Overlapping does not find them.
func (l *Library) Damaged(ctx context.Context) ([]Recording, error) {
	var recs []Recording
	return recs, l.ask(ctx, func(ix *index) (err error) {
		recs, err = ix.damaged(ctx)
		return err
	})
}

// ask reads from the index beside whatever poll is under way.
func (l *Library) ask(ctx context.Context, question func(*index) error) error {
	l.mu.RLock()
	ix := l.index
	err := question(ix)
	l.mu.RUnlock()
	if isCorrupt(err) {
		l.polling.Lock()
		defer l.polling.Unlock()
		l.recover(ctx, ix, err)
		return ErrRebuilding
	}
	return err
}

// recover replaces an index that the error says is corrupt, and reports whether l.index is sound
// now. The caller holds l.polling. Several may come with the same index; the first replaces it.
func (l *Library) recover(ctx context.Context, corrupt *index, cause error) bool {
	if !isCorrupt(cause) {
		return false
	}
	if l.index != corrupt {
		return true
	}
	l.cfg.Log.Error("index of recordings is corrupt, making it anew", "index", l.cfg.Index, "err", cause)
	if err := l.replaceIndex(ctx, true); err != nil {
		l.cfg.Log.Error("index of recordings cannot be made anew", "index", l.cfg.Index, "err", err)
		return false
	}
	return true
}

// replaceIndex starts over with an empty index; the caller holds l.polling.
func (l *Library) replaceIndex(ctx context.Context, aside bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index.close()
	if aside {
		if err := moveAside(l.cfg.Index); err != nil {
			return err
		}
	}
	ix, err := openIndex(ctx, l.cfg.Index, l.cfg.Log)
	if err != nil {
		return err
	}
	if err := ix.setCameras(ctx, l.folders); err != nil {
		ix.close()
		return err
	}
	l.index = ix
	for _, f := range l.folders {
		f.forget()
	}
	return nil
}

// folder is one directory tree with the cameras that record to it.
type folder struct {
	path    string // absolute and clean
	frigate map[string]*camera
	plain   *camera         // whoever owns what is not in Frigate's form, or nil
	inner   map[string]bool // other cameras' folders below this one, relative

	// What polls remember; guarded by Library.polling.
	dirs     map[string]*dirState // by path relative to the folder
	polls    int
	compared time.Time // when the index was last held against dirs, by the library's clock
}

type camera struct {
	Camera
	zone    *time.Location
	pattern *stamp.Pattern // nil if there is none
	row     int64          // its key in the index
}

func (f *folder) forget() { f.dirs, f.compared = map[string]*dirState{}, time.Time{} }

var cameraIDForm = regexp.MustCompile(`^[^\x00-\x1f\x7f]{1,100}$`)

// CheckCameras says why a library could not serve these cameras together.
func CheckCameras(cameras []Camera) error {
	_, err := arrange(cameras)
	return err
}

// arrange groups cameras by folder and refuses what could not be told apart.
func arrange(cameras []Camera) ([]*folder, error) {
	var folders []*folder
	byPath := map[string]*folder{}
	seen := map[CameraID]bool{}
	autos := map[*folder][]*camera{}
	for _, c := range cameras {
		if !cameraIDForm.MatchString(string(c.ID)) {
			return nil, fmt.Errorf("camera %q: the id must have 1 to 100 printable bytes", c.ID)
		}
		if seen[c.ID] {
			return nil, fmt.Errorf("camera %q is configured twice: give one of them another id", c.ID)
		}
		seen[c.ID] = true
		if !filepath.IsAbs(c.Folder) {
			return nil, fmt.Errorf("camera %q: folder %q is not an absolute path", c.ID, c.Folder)
		}
		c.Folder = filepath.Clean(c.Folder)
		zone, err := time.LoadLocation(c.TimeZone)
		if err != nil || c.TimeZone == "Local" {
			return nil, fmt.Errorf("camera %q: time zone %q is not known here: use an IANA name such as Europe/Berlin, or UTC", c.ID, c.TimeZone)
		}
		if c.FrigateName == "" {
			c.FrigateName = string(c.ID)
		}
		f := byPath[c.Folder]
		if f == nil {
			f = &folder{path: c.Folder, frigate: map[string]*camera{}, inner: map[string]bool{}}
			f.forget()
			byPath[c.Folder] = f
			folders = append(folders, f)
		}
		cam := &camera{Camera: c, zone: zone}
		if c.Pattern != "" {
			if c.Layout == LayoutFrigate {
				return nil, fmt.Errorf("camera %q: Frigate's paths need no pattern: leave it out, or make the layout plain", c.ID)
			}
			if cam.pattern, err = stamp.ParsePattern(c.Pattern); err != nil {
				return nil, fmt.Errorf("camera %q: %w", c.ID, err)
			}
		}
		switch c.Layout {
		case LayoutPlain:
			if f.plain != nil {
				return nil, fmt.Errorf("cameras %q and %q are both plain in one folder, %s: give each a folder of its own", f.plain.ID, c.ID, c.Folder)
			}
			f.plain = cam
			continue
		case LayoutAuto, "":
			autos[f] = append(autos[f], cam)
		case LayoutFrigate:
		default:
			return nil, fmt.Errorf("camera %q: layout %q is none of auto, plain, frigate", c.ID, c.Layout)
		}
		if other := f.frigate[c.FrigateName]; other != nil {
			return nil, fmt.Errorf("cameras %q and %q are both %q in Frigate's folder %s", other.ID, c.ID, c.FrigateName, c.Folder)
		}
		f.frigate[c.FrigateName] = cam
	}
	for _, f := range folders {
		// Several cameras that leave the layout open, in one folder, can only be Frigate's.
		if f.plain == nil && len(autos[f]) == 1 && len(f.frigate) == 1 {
			f.plain = autos[f][0]
		}
		for _, g := range folders {
			if rel, err := filepath.Rel(f.path, g.path); err == nil && rel != "." && filepath.IsLocal(rel) {
				f.inner[filepath.ToSlash(rel)] = true
			}
		}
	}
	return folders, nil
}

// cameras are all cameras of the folder.
func (f *folder) cameras() []*camera {
	var all []*camera
	if f.plain != nil {
		all = append(all, f.plain)
	}
	for _, c := range f.frigate {
		if c != f.plain {
			all = append(all, c)
		}
	}
	return all
}
