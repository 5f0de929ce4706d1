package library

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// indexVersion stands in the file's user_version; any other is a cache to be made anew.
const indexVersion = 2

// A recording is in table file, which lies in the order in which it is asked for; what cannot be read as a
// movie has class -1. Times are microseconds since 1970. flags has bit 0 for Ambiguous and above it the place of
// StartFrom in origins. format is 0 when there is none. Table class has every class that a camera's
// recordings have or had.
//
// No directory and no format ever gets the key of another, not even of one that is gone, so that readers may
// remember what a key stands for.
const schema = `
CREATE TABLE folder (path TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE camera (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, config TEXT NOT NULL);
CREATE TABLE class (camera INTEGER NOT NULL, class INTEGER NOT NULL, PRIMARY KEY (camera, class)) WITHOUT ROWID;
CREATE TABLE dir (id INTEGER PRIMARY KEY AUTOINCREMENT, folder TEXT NOT NULL, path TEXT NOT NULL, hold TEXT NOT NULL, UNIQUE (folder, path));
CREATE TABLE format (id INTEGER PRIMARY KEY AUTOINCREMENT, codec TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, UNIQUE (codec, width, height));
CREATE TABLE file (
	camera INTEGER NOT NULL, class INTEGER NOT NULL, start INTEGER NOT NULL, dir INTEGER NOT NULL, name TEXT NOT NULL,
	duration INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, flags INTEGER NOT NULL, format INTEGER NOT NULL,
	damaged TEXT NOT NULL,
	PRIMARY KEY (camera, class, start, dir, name)) WITHOUT ROWID;
CREATE INDEX place ON file (dir, name, size, mtime);
PRAGMA user_version = 2;`

const columns = `f.camera, f.dir, f.name, f.size, f.mtime, f.start, f.duration, f.flags, f.format, f.damaged `

// origins are the values of Recording.StartFrom, the most trusted first. Their places are in the index.
var origins = [...]string{"", "path", "name", "mvhd", "mtime"}

// index is the SQLite file. Reading goes on beside writing (WAL); writes are one at a time.
type index struct {
	path string
	db   *sql.DB
	info os.FileInfo // of the file that was opened

	over *sql.Stmt

	mu      sync.RWMutex
	cameras map[CameraID]int64 // keys in table camera
	names   map[int64]CameraID
	places  map[int64]directory // some of table dir
	formats map[int64]Recording // some of table format: codec, width and height
}

// directory is a row of table dir.
type directory struct {
	path string // absolute, with a separator at its end
	hold string
}

// maxDirs is how many directories an index remembers before it starts over.
const maxDirs = 10_000

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
	ix := &index{path: path, db: db}
	if ix.over, err = db.PrepareContext(ctx, `SELECT `+columns+`
		FROM json_each(?1) c CROSS JOIN class k ON k.camera = c.value
		CROSS JOIN file f ON f.camera = k.camera AND f.class = k.class AND f.start > ?2 - (1 << 3 * k.class) AND f.start < ?3
		WHERE f.start + f.duration > ?2`); err != nil {
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

// errTorn is what an index of which a crash took a page looks like where SQLite sees nothing wrong:
// formats are only ever added.
var errTorn = errors.New("a recording in the index has a format that is not in it")

// isCorrupt recognises the errors that say the file is not the database that was written.
func isCorrupt(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return errors.Is(err, errTorn)
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
	cameras, names := map[CameraID]int64{}, map[int64]CameraID{}
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
		cameras[CameraID(name)], names[id] = id, CameraID(name)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.cameras, ix.names = cameras, names
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
			want[string(c.ID)] = strings.Join([]string{c.Folder, c.Layout, c.FrigateName, c.zone.String(), c.Pattern}, "\x00")
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
	drop, err := tx.PrepareContext(ctx, `DELETE FROM file WHERE dir = ? AND name = ?`)
	if err != nil {
		return err
	}
	defer drop.Close()
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO file (camera, class, start, dir, name, duration, size, mtime, flags, format, damaged) VALUES (?,?,?,?,?,?,?,?,?,?,?)`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	last, lastCamera := -1, int64(-1)
	var like Recording // the format that was looked up last
	format := int64(0)
	for _, r := range put {
		duration, start, n := r.rec.Duration.Microseconds(), int64(0), -1
		flags := slices.Index(origins[:], r.rec.StartFrom) << 1
		if flags > 0 {
			start = r.rec.Start.UnixMicro()
		}
		if r.rec.Ambiguous {
			flags |= 1
		}
		if duration > 0 && flags > 1 {
			n = class(duration)
			if n != last || r.camera != lastCamera {
				if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO class VALUES (?, ?)`, r.camera, n); err != nil {
					return err
				}
				last, lastCamera = n, r.camera
			}
		}
		if is := (Recording{Codec: r.rec.Codec, Width: r.rec.Width, Height: r.rec.Height}); is != like {
			if like, format = is, 0; is.Codec != "" {
				if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO format (codec, width, height) VALUES (?, ?, ?)`, is.Codec, is.Width, is.Height); err != nil {
					return err
				}
				if err := tx.QueryRowContext(ctx, `SELECT id FROM format WHERE codec = ? AND width = ? AND height = ?`, is.Codec, is.Width, is.Height).Scan(&format); err != nil {
					return err
				}
			}
		}
		if _, err := drop.ExecContext(ctx, dir, r.name); err != nil {
			return err
		}
		if _, err := stmt.ExecContext(ctx, r.camera, n, start, dir, r.name, duration, r.size, r.mtime, flags, format, r.rec.Damaged); err != nil {
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
	rows, err := ix.db.QueryContext(ctx, `SELECT `+columns+` FROM file f JOIN dir d ON d.id = f.dir
		WHERE d.folder = ? AND d.path = ? AND f.name = ? AND f.size = ? AND f.mtime = ?`, folder, path.Clean(dir), name, info.Size(), info.ModTime().UnixMicro())
	if err != nil {
		return nil, err
	}
	recs, err := ix.scan(ctx, rows)
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
		if _, err := tx.ExecContext(ctx, `DELETE FROM file WHERE dir = ? AND name = ?`, id, name); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO file (camera, class, start, dir, name, duration, size, mtime, flags, format, damaged)
			SELECT camera, class, start, ?, name, duration, size, mtime, flags, format, damaged
			FROM file WHERE dir = (SELECT id FROM dir WHERE folder = ? AND path = ?) AND name = ?`,
			id, folder, path.Clean(from), name); err != nil {
			return err
		}
	}
	return tx.Commit()
}
