package library

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/bits"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// indexVersion stands in the file's user_version; any other is a cache to be made anew.
const indexVersion = 1

// A recording is in table file; what cannot be read as a movie has class -1. Times are microseconds
// since 1970. origin is StartFrom; flags has bit 0 for Ambiguous. Table class has every class that a
// camera's recordings have or had.
const schema = `
CREATE TABLE folder (path TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE camera (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, config TEXT NOT NULL);
CREATE TABLE class (camera INTEGER NOT NULL, class INTEGER NOT NULL, PRIMARY KEY (camera, class)) WITHOUT ROWID;
CREATE TABLE dir (id INTEGER PRIMARY KEY, folder TEXT NOT NULL, path TEXT NOT NULL, hold TEXT NOT NULL, UNIQUE (folder, path));
CREATE TABLE file (
	dir INTEGER NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
	camera INTEGER NOT NULL, class INTEGER NOT NULL, start INTEGER NOT NULL, duration INTEGER NOT NULL,
	origin TEXT NOT NULL, flags INTEGER NOT NULL, codec TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
	damaged TEXT NOT NULL,
	PRIMARY KEY (dir, name)) WITHOUT ROWID;
CREATE INDEX span ON file (camera, class, start);
PRAGMA user_version = 1;`

const columns = `c.name, d.folder, d.path, d.hold, f.name, f.size, f.mtime, f.start, f.duration, f.origin, f.flags, f.codec, f.width, f.height, f.damaged `

const joined = columns + ` FROM file f JOIN dir d ON d.id = f.dir JOIN camera c ON c.id = f.camera `

// index is the SQLite file. Reading goes on beside writing (WAL); writes are one at a time.
type index struct {
	path string
	db   *sql.DB
	info os.FileInfo // of the file that was opened

	over *sql.Stmt

	mu      sync.RWMutex
	cameras map[CameraID]int64 // keys in table camera
}

// openIndex opens the index, or makes it anew if it is not there, corrupt or of another version.
func openIndex(ctx context.Context, path string, log *slog.Logger) (*index, error) {
	ix, err := tryIndex(ctx, path)
	if err == nil {
		return ix, nil
	}
	switch {
	case isCorrupt(err):
		log.Error("index of recordings is corrupt, making it anew", "index", path, "err", err)
		err = moveAside(path)
	case errors.Is(err, errVersion):
		log.Info("index of recordings is of another version, making it anew", "index", path)
		err = removeIndex(path)
	}
	if err == nil {
		ix, err = tryIndex(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the index of recordings %s: %w", path, err)
	}
	return ix, nil
}

var errVersion = errors.New("another version")

func tryIndex(ctx context.Context, path string) (_ *index, err error) {
	// A lost last transaction is found again by the next poll, so that synchronous=NORMAL is enough.
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(10000)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	var version, tables int
	if err = db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return nil, err
	}
	if err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return nil, err
	}
	if tables == 0 {
		if _, err = db.ExecContext(ctx, "BEGIN IMMEDIATE;"+schema+"COMMIT;"); err != nil {
			return nil, err
		}
	} else if version != indexVersion {
		return nil, errVersion
	}
	ix := &index{path: path, db: db, cameras: map[CameraID]int64{}}
	if ix.over, err = db.PrepareContext(ctx, `SELECT `+columns+`
		FROM camera c CROSS JOIN class k ON k.camera = c.id
		CROSS JOIN file f ON f.camera = c.id AND f.class = k.class AND f.start > ?2 - (1 << k.class) AND f.start < ?3
		CROSS JOIN dir d ON d.id = f.dir
		WHERE c.name = ?1 AND f.start + f.duration > ?2`); err != nil {
		return nil, err
	}
	if ix.info, err = os.Stat(path); err != nil {
		return nil, err
	}
	if err = ix.loadCameras(ctx); err != nil {
		return nil, err
	}
	return ix, nil
}

func (ix *index) close() error {
	ix.over.Close()
	return ix.db.Close()
}

// there reports whether the file that was opened is still the one of that name.
func (ix *index) there() bool {
	info, err := os.Stat(ix.path)
	return err == nil && os.SameFile(info, ix.info)
}

// isCorrupt recognises the errors that say the file is not the database that was written.
func isCorrupt(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return e.Code() == sqlite3.SQLITE_IOERR_SHORT_READ
}

// moveAside keeps one corrupt index for whoever wants to know what happened to it.
func moveAside(path string) error {
	if err := os.Rename(path, path+".corrupt"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return removeIndex(path)
}

func removeIndex(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (ix *index) loadCameras(ctx context.Context) error {
	cameras := map[CameraID]int64{}
	rows, err := ix.db.QueryContext(ctx, `SELECT id, name FROM camera`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			return err
		}
		cameras[CameraID(name)] = id
	}
	if err := rows.Err(); err != nil {
		return err
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.cameras = cameras
	return nil
}

// setCameras gives each camera its row and drops what cameras recorded that are no more, or whose
// files would now be read differently.
func (ix *index) setCameras(ctx context.Context, folders []*folder) error {
	tx, err := ix.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	want := map[string]string{}
	for _, f := range folders {
		for _, c := range f.cameras() {
			want[string(c.ID)] = strings.Join([]string{c.Folder, c.Layout, c.FrigateName, c.zone.String()}, "\x00")
		}
	}
	have := map[string]string{}
	rows, err := tx.QueryContext(ctx, `SELECT name, config FROM camera`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var name, config string
		if err := rows.Scan(&name, &config); err != nil {
			rows.Close()
			return err
		}
		have[name] = config
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for name, config := range have {
		if want[name] == config {
			continue
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM file WHERE camera = (SELECT id FROM camera WHERE name = ?)`, name); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM class WHERE camera = (SELECT id FROM camera WHERE name = ?)`, name); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM camera WHERE name = ?`, name); err != nil {
			return err
		}
	}
	for name, config := range want {
		if have[name] == config {
			continue
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO camera (name, config) VALUES (?, ?)`, name, config); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if err := ix.loadCameras(ctx); err != nil {
		return err
	}
	for _, f := range folders {
		for _, c := range f.cameras() {
			c.row = ix.cameras[c.ID]
		}
	}
	return nil
}

// class is the duration class of a length in microseconds: every length in class n is under 2^n.
func class(duration int64) int { return bits.Len64(uint64(max(duration, 0))) }

func (ix *index) overlapping(ctx context.Context, camera CameraID, from, until time.Time) ([]Recording, error) {
	ix.mu.RLock()
	_, known := ix.cameras[camera]
	ix.mu.RUnlock()
	if !known {
		return nil, fmt.Errorf("no camera %q is configured", camera)
	}
	rows, err := ix.over.QueryContext(ctx, string(camera), from.UnixMicro(), until.UnixMicro())
	if err != nil {
		return nil, err
	}
	recs, err := scan(nil, rows)
	if err != nil {
		return nil, err
	}
	return once(recs), nil
}

func (ix *index) damaged(ctx context.Context) ([]Recording, error) {
	rows, err := ix.db.QueryContext(ctx, `SELECT `+columns+`
		FROM camera c CROSS JOIN file f ON f.camera = c.id AND f.class = -1 CROSS JOIN dir d ON d.id = f.dir WHERE d.hold = ''`)
	if err != nil {
		return nil, err
	}
	recs, err := scan(nil, rows)
	sort.Slice(recs, func(i, j int) bool { return recs[i].Path < recs[j].Path })
	return recs, err
}

// scan appends the recordings of a query for columns.
func scan(recs []Recording, rows *sql.Rows) ([]Recording, error) {
	defer rows.Close()
	for rows.Next() {
		var r Recording
		var folder, dir, name string
		var mtime, start, duration int64
		var flags int
		if err := rows.Scan(&r.Camera, &folder, &dir, &r.Hold, &name, &r.Size, &mtime, &start, &duration, &r.StartFrom, &flags,
			&r.Codec, &r.Width, &r.Height, &r.Damaged); err != nil {
			return nil, err
		}
		r.Path = filepath.Join(folder, filepath.FromSlash(dir), name)
		r.ModTime = time.UnixMicro(mtime).UTC()
		if r.StartFrom != "" {
			r.Start = time.UnixMicro(start).UTC()
		}
		r.Duration = time.Duration(duration) * time.Microsecond
		r.Ambiguous = flags&1 != 0
		recs = append(recs, r)
	}
	return recs, rows.Err()
}

// once orders recordings by start and leaves one of each file, the held one if there is one.
func once(recs []Recording) []Recording {
	sort.Slice(recs, func(i, j int) bool {
		a, b := &recs[i], &recs[j]
		if !a.Start.Equal(b.Start) {
			return a.Start.Before(b.Start)
		}
		return a.Path < b.Path
	})
	held := false
	for i := range recs {
		held = held || recs[i].Hold != ""
	}
	if !held {
		return recs
	}
	type file struct {
		path        string
		size, mtime int64
	}
	first := map[file]int{}
	kept := recs[:0]
	for _, r := range recs {
		key := file{original(r.Path), r.Size, r.ModTime.UnixMicro()}
		at, ok := first[key]
		switch {
		case !ok:
			first[key] = len(kept)
			kept = append(kept, r)
		case kept[at].Hold == "":
			kept[at] = r
		}
	}
	return kept
}

// row is one file as the index has it.
type row struct {
	name        string
	size, mtime int64 // bytes, microseconds
	camera      int64
	rec         Recording
}

// dirRow finds the directory's key, making it if it is to be made; 0 if there is none.
func (ix *index) dirRow(ctx context.Context, tx *sql.Tx, folder, dir, hold string) (int64, error) {
	if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO dir (folder, path, hold) VALUES (?, ?, ?)`, folder, dir, hold); err != nil {
		return 0, err
	}
	var id int64
	err := tx.QueryRowContext(ctx, `SELECT id FROM dir WHERE folder = ? AND path = ?`, folder, dir).Scan(&id)
	return id, err
}

// known is what the index has of a directory, by name.
func (ix *index) known(ctx context.Context, folder, dir string) (map[string]knownFile, error) {
	rows, err := ix.db.QueryContext(ctx, `SELECT name, size, mtime FROM file WHERE dir = (SELECT id FROM dir WHERE folder = ? AND path = ?)`, folder, dir)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	files := map[string]knownFile{}
	for rows.Next() {
		var name string
		var k knownFile
		if err := rows.Scan(&name, &k.size, &k.mtime); err != nil {
			return nil, err
		}
		files[name] = k
	}
	return files, rows.Err()
}

type knownFile struct{ size, mtime int64 }

// change writes what became of a directory, in one transaction.
func (ix *index) change(ctx context.Context, folder, dir, hold string, put []row, gone []string) error {
	if len(put) == 0 && len(gone) == 0 {
		return nil
	}
	tx, err := ix.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	id, err := ix.dirRow(ctx, tx, folder, dir, hold)
	if err != nil {
		return err
	}
	if err := ix.put(ctx, tx, id, put); err != nil {
		return err
	}
	for _, name := range gone {
		if _, err := tx.ExecContext(ctx, `DELETE FROM file WHERE dir = ? AND name = ?`, id, name); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (ix *index) put(ctx context.Context, tx *sql.Tx, dir int64, put []row) error {
	stmt, err := tx.PrepareContext(ctx, `INSERT OR REPLACE INTO file VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	last, lastCamera := -1, int64(-1)
	for _, r := range put {
		duration, start, flags, n := r.rec.Duration.Microseconds(), int64(0), 0, -1
		if r.rec.StartFrom != "" {
			start = r.rec.Start.UnixMicro()
		}
		if r.rec.Ambiguous {
			flags = 1
		}
		if duration > 0 && r.rec.StartFrom != "" {
			n = class(duration)
			if n != last || r.camera != lastCamera {
				if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO class VALUES (?, ?)`, r.camera, n); err != nil {
					return err
				}
				last, lastCamera = n, r.camera
			}
		}
		if _, err := stmt.ExecContext(ctx, dir, r.name, r.size, r.mtime, r.camera, n, start, duration, r.rec.StartFrom, flags,
			r.rec.Codec, r.rec.Width, r.rec.Height, r.rec.Damaged); err != nil {
			return err
		}
	}
	return nil
}

// dropDir forgets a directory and how many files it had.
func (ix *index) dropDir(ctx context.Context, folder, dir string) (files int, err error) {
	res, err := ix.db.ExecContext(ctx, `DELETE FROM file WHERE dir = (SELECT id FROM dir WHERE folder = ? AND path = ?)`, folder, dir)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, err
	}
	_, err = ix.db.ExecContext(ctx, `DELETE FROM dir WHERE folder = ? AND path = ?`, folder, dir)
	return int(n), err
}

// dirs are the directories of a folder that the index has.
func (ix *index) dirs(ctx context.Context, folder string) ([]string, error) {
	rows, err := ix.db.QueryContext(ctx, `SELECT path FROM dir WHERE folder = ?`, folder)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var dirs []string
	for rows.Next() {
		var dir string
		if err := rows.Scan(&dir); err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, rows.Err()
}

// identity is what the index remembers of a folder: "" is nothing, "read-only" that it has none.
func (ix *index) identity(ctx context.Context, folder string) (string, error) {
	var id string
	err := ix.db.QueryRowContext(ctx, `SELECT id FROM folder WHERE path = ?`, folder).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

func (ix *index) setIdentity(ctx context.Context, folder, id string) error {
	_, err := ix.db.ExecContext(ctx, `INSERT OR REPLACE INTO folder VALUES (?, ?)`, folder, id)
	return err
}

// empty reports whether the index has no file of the folder.
func (ix *index) empty(ctx context.Context, folder string) (bool, error) {
	var n int
	err := ix.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM file f JOIN dir d ON d.id = f.dir WHERE d.folder = ?)`, folder).Scan(&n)
	return n == 0, err
}

// file is what the index has of one file, nil if nothing or of another content.
func (ix *index) file(ctx context.Context, folder, rel string, info fs.FileInfo) (*Recording, error) {
	dir, name := path.Split(rel)
	rows, err := ix.db.QueryContext(ctx, `SELECT `+joined+` WHERE d.folder = ? AND d.path = ? AND f.name = ? AND f.size = ? AND f.mtime = ?`,
		folder, path.Clean(dir), name, info.Size(), info.ModTime().UnixMicro())
	if err != nil {
		return nil, err
	}
	recs, err := scan(nil, rows)
	if err != nil || len(recs) == 0 {
		return nil, err
	}
	return &recs[0], nil
}

// copyHeld enters links as what their originals are; what the index does not know yet, polls find.
func (ix *index) copyHeld(ctx context.Context, folder, hold string, linked [][2]string) error {
	if len(linked) == 0 {
		return nil
	}
	tx, err := ix.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, l := range linked {
		from, name := path.Split(l[0])
		id, err := ix.dirRow(ctx, tx, folder, path.Dir(l[1]), hold)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO file
			SELECT ?, name, size, mtime, camera, class, start, duration, origin, flags, codec, width, height, damaged
			FROM file WHERE dir = (SELECT id FROM dir WHERE folder = ? AND path = ?) AND name = ?`,
			id, folder, path.Clean(from), name); err != nil {
			return err
		}
	}
	return tx.Commit()
}
