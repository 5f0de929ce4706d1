// Package durabletest is a disk that goes wrong on purpose, for tests of packages that keep state in
// real folders: a fault table runs an operation once for each call it makes of the file system and
// each thing that can go wrong there, and looks at what is left.
//
// A [Disk] passes what it is asked on to the operating system's files, which the code under test may
// read by other means; syncs it only notes down. [Disk.PowerCut] then takes back what was not synced.
// What is written past the Disk is not seen and not taken back.
package durabletest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// Failure is what goes wrong at a call.
type Failure int

// The failures.
const (
	Lost    Failure = iota // it fails and does nothing; what a file's sync was to write never reaches the disk
	Kept                   // it fails although it is done
	Half                   // a write fails half-way
	Gone                   // it and every later call fail and do nothing
	Crashed                // it is done, and the process gets no further
)

func (f Failure) String() string {
	return [...]string{"fails and is not done", "fails but is done", "fails half-way", "and all later ones fail", "then the process dies"}[f]
}

// Ending is what becomes of the machine afterwards.
type Ending int

// The endings.
const (
	Lives   Ending = iota // the process goes on, on a disk that works again
	Killed                // the process is started anew, and everything is as it last saw it
	Nothing               // the power is cut, and nothing survives that was not synced
	Names                 // the power is cut, and unsynced names survive, of unsynced content nothing
	Halves                // the power is cut in the middle of each file's last change
	Holes                 // the power is cut when the later half of each file's last change was on the disk, the earlier not
)

func (e Ending) String() string {
	return [...]string{"goes on", "started anew", "power cut keeps nothing unsynced", "power cut keeps names", "power cut keeps first halves", "power cut keeps second halves"}[e]
}

// A Row is one line of a fault table.
type Row struct {
	At   int    // which call
	Kind string // what it asks
	How  Failure
	End  Ending
}

func (r Row) String() string { return fmt.Sprintf("call %d, %s, %s, %s", r.At+1, r.Kind, r.How, r.End) }

// Rows makes the table of an operation from the calls it makes when all goes well.
func Rows(calls []string) []Row {
	var rows []Row
	for at, kind := range calls {
		for how := Lost; how <= Crashed; how++ {
			for end := Lives; end <= Holes; end++ {
				switch {
				case how == Crashed && end == Lives:
				case how == Half && kind != "Write":
				case end >= Names && how != Crashed: // as after a crash
				case end >= Halves && kind != "Write":
				default:
					rows = append(rows, Row{at, kind, how, end})
				}
			}
		}
	}
	return rows
}

// A Run is one row being tried, or none: the first run of a table only counts calls.
type Run struct {
	Row  *Row // nil in the first run, when all goes well
	Dir  string
	Disk *Disk

	calls []string
}

// Begin is called when the operation begins, on a good disk.
func (r *Run) Begin() {
	r.Disk.Heal()
	if r.Row != nil {
		r.Disk.Fail(*r.Row)
	}
}

// Done is called when it has returned. It says whether what it returned counts: nobody hears the
// answer of a process that died, but for one that died after all was done.
func (r *Run) Done(err error) bool {
	if r.Row == nil {
		r.calls = r.Disk.Calls()
	}
	crashed := r.Disk.Dead()
	r.Disk.Heal()
	return err == nil || !crashed
}

// Lives says whether the process goes on.
func (r *Run) Lives() bool { return r.Row != nil && r.Row.End == Lives }

// Restart is called between two lives of the process, when nothing is in use.
func (r *Run) Restart() error {
	if r.Row == nil {
		return r.Disk.PowerCut(Nothing)
	}
	return r.Disk.PowerCut(r.Row.End)
}

// Table tries one in every so many rows of an operation, the same ones each time, on copies of a folder,
// and returns how many it tried. Under -short they are a fifth of that.
func Table(t *testing.T, folder string, every int, try func(t *testing.T, r *Run)) int {
	t.Helper()
	dir := TempDir(t)
	one := func(name string, row *Row) *Run {
		r := &Run{Row: row, Dir: filepath.Join(dir, "copy"), Disk: &Disk{}}
		if err := os.CopyFS(r.Dir, os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { try(t, r) })
		if err := os.RemoveAll(r.Dir); err != nil {
			t.Error(err)
		}
		return r
	}
	calls := one("good disk", nil).calls
	if t.Failed() {
		t.FailNow()
	}
	if len(calls) == 0 {
		t.Fatal("the operation made no call that could fail")
	}
	if testing.Short() {
		every *= 5
	}
	n := 0
	pick := rand.New(rand.NewPCG(13, 9))
	for _, row := range Rows(calls) {
		if pick.IntN(every) != 0 {
			continue
		}
		n++
		one(row.String(), &row)
	}
	return n
}

// TempDir is t.TempDir, in memory where the machine has a file system there: what a table models needs
// no disk, and what is not written through the model (an index) would be synced thousands of times.
func TempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "porchlight-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Disk is a [durable.FS] over one folder. The zero Disk works, and nothing goes wrong on it.
type Disk struct {
	mu    sync.Mutex
	calls []string
	armed bool
	at    int
	how   Failure
	dead  bool
	names map[string]*name // of what was touched, by path
}

// name is what a path stands for: now, and on the disk. nil is nothing.
type name struct{ now, kept *inode }

type inode struct {
	dir      bool
	kept     []byte                     // the content on the disk
	unsynced []func([]byte, int) []byte // changes it lacks; the int is one of the parts below
}

const (
	whole = iota
	firstHalf
	secondHalf
)

// Disk is what the code under test writes through.
func (d *Disk) Disk() durable.Disk { return durable.Disk{FS: d} }

// Fail makes the call of a row go wrong, counted from now.
func (d *Disk) Fail(r Row) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls, d.armed, d.at, d.how = nil, true, r.At, r.How
}

// Heal makes everything go well from now on, and forgets the calls.
func (d *Disk) Heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls, d.armed, d.dead = nil, false, false
}

// Calls lists the calls since the last Fail or Heal that change something or sync.
func (d *Disk) Calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

// Dead says whether the process has crashed.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// PowerCut leaves on the disk what the ending says, and heals it. No file may be in use.
func (d *Disk) PowerCut(end Ending) error {
	d.Heal()
	d.mu.Lock()
	defer d.mu.Unlock()
	if end <= Killed {
		return nil
	}
	var paths []string
	for p := range d.names {
		paths = append(paths, p)
	}
	slices.Sort(paths) // a folder before what is in it
	var errs []error
	for _, p := range paths {
		n := d.names[p].kept
		if end != Nothing {
			n = d.names[p].now
		}
		if _, err := os.Stat(filepath.Dir(p)); err != nil {
			continue
		}
		switch {
		case n == nil:
			errs = append(errs, os.RemoveAll(p))
		case n.dir:
			if err := os.Mkdir(p, 0o700); !errors.Is(err, fs.ErrExist) {
				errs = append(errs, err)
			}
		default:
			errs = append(errs, os.RemoveAll(p), os.WriteFile(p, n.after(end), 0o600))
		}
	}
	d.names = nil
	return errors.Join(errs...)
}

func (n *inode) after(end Ending) []byte {
	b := slices.Clone(n.kept)
	last := len(n.unsynced) - 1
	if end < Halves || last < 0 {
		return b
	}
	for _, c := range n.unsynced[:last] {
		b = c(b, whole)
	}
	return n.unsynced[last](b, map[Ending]int{Halves: firstHalf, Holes: secondHalf}[end])
}

func (n *inode) sync() {
	for _, c := range n.unsynced {
		n.kept = c(n.kept, whole)
	}
	n.unsynced = nil
}

var (
	errDisk = errors.New("the disk is broken")
	errDead = errors.New("the process is dead")
)

// call counts a call and does its work, or what is left of it when it goes wrong.
func (d *Disk) call(kind string, work func(how Failure) error) error {
	if d.dead {
		return errDead
	}
	d.calls = append(d.calls, kind)
	now := len(d.calls) - 1
	switch {
	case !d.armed || now < d.at || now > d.at && d.how != Gone:
		return work(Kept)
	case d.how == Crashed:
		err := work(Kept)
		d.dead = true
		return err
	case d.how == Lost || d.how == Gone:
		_ = work(Lost)
	default:
		_ = work(d.how)
	}
	return fmt.Errorf("%s: %w", strings.ToLower(kind), errDisk)
}

// touch begins to keep track of a path: what it stands for before the first touch is on the disk.
func (d *Disk) touch(path string) *name {
	path = filepath.Clean(path)
	if n := d.names[path]; n != nil {
		return n
	}
	if d.names == nil {
		d.names = map[string]*name{}
	}
	n := &name{}
	if info, err := os.Lstat(path); err == nil {
		n.now = &inode{dir: info.IsDir()}
		if !n.now.dir {
			n.now.kept, _ = os.ReadFile(path)
		}
		n.kept = n.now
	}
	d.names[path] = n
	return n
}

// OpenFile is [os.OpenFile].
func (d *Disk) OpenFile(path string, flag int, perm fs.FileMode) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, errDead
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		f, err := os.OpenFile(path, flag, perm)
		return &file{d: d, f: f, path: path, dir: true}, err
	}
	n := d.touch(path)
	var f *os.File
	open := func(how Failure) (err error) {
		if how == Lost {
			return nil
		}
		f, err = os.OpenFile(path, flag, perm)
		if err == nil && n.now == nil {
			n.now = &inode{}
		} else if err == nil && flag&os.O_TRUNC != 0 {
			n.now.unsynced = append(n.now.unsynced, resize(0))
		}
		return err
	}
	makes := err != nil && flag&os.O_CREATE != 0
	if makes && dirMissing(path) || flag&os.O_EXCL != 0 && err == nil {
		return nil, open(Kept)
	}
	if makes || flag&os.O_TRUNC != 0 && err == nil {
		err = d.call("Create", open)
	} else {
		err = open(Kept)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, err
	}
	return &file{d: d, f: f, path: path, n: n.now}, nil
}

func dirMissing(path string) bool {
	_, err := os.Stat(filepath.Dir(path))
	return err != nil
}

// Mkdir is [os.Mkdir].
func (d *Disk) Mkdir(path string, perm fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.touch(path)
	if n.now != nil || dirMissing(path) {
		return os.Mkdir(path, perm)
	}
	return d.call("Mkdir", func(how Failure) error {
		if how == Lost {
			return nil
		}
		n.now = &inode{dir: true}
		return os.Mkdir(path, perm)
	})
}

// Rename is [os.Rename] of a file.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, b := d.touch(from), d.touch(to)
	return d.call("Rename", func(how Failure) error {
		if how == Lost {
			return nil
		}
		err := os.Rename(from, to)
		if err == nil && a != b {
			a.now, b.now = nil, a.now
		}
		return err
	})
}

// Remove is [os.Remove].
func (d *Disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.touch(path)
	if n.now == nil && !d.dead {
		return os.Remove(path)
	}
	return d.call("Remove", func(how Failure) error {
		if how == Lost {
			return nil
		}
		err := os.Remove(path)
		if err == nil {
			n.now = nil
		}
		return err
	})
}

// Stat is [os.Stat].
func (d *Disk) Stat(path string) (fs.FileInfo, error) { return os.Stat(path) }

// ReadDir is [os.ReadDir].
func (d *Disk) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

type file struct {
	d    *Disk
	f    *os.File
	path string
	dir  bool
	n    *inode
}

func (f *file) ReadAt(p []byte, at int64) (int, error) { return f.f.ReadAt(p, at) }
func (f *file) Stat() (fs.FileInfo, error)             { return f.f.Stat() }
func (f *file) Close() error                           { return f.f.Close() }

func (f *file) WriteAt(p []byte, at int64) (n int, err error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	p = slices.Clone(p)
	err = f.d.call("Write", func(how Failure) error {
		switch how {
		case Lost:
			return nil
		case Half:
			p = p[:len(p)/2]
		}
		f.n.unsynced = append(f.n.unsynced, write(p, int(at)))
		n, err = f.f.WriteAt(p, at)
		return err
	})
	return n, err
}

// write is a change that puts p in its place. Where only its second half reaches the disk, zeros
// stand before it.
func write(p []byte, at int) func([]byte, int) []byte {
	return func(b []byte, part int) []byte {
		from, to := 0, len(p)
		switch part {
		case firstHalf:
			to /= 2
		case secondHalf:
			from = to / 2
		}
		if lacks := at + to - len(b); lacks > 0 {
			b = append(b, make([]byte, lacks)...)
		}
		copy(b[at+from:], p[from:to])
		return b
	}
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.d.call("Truncate", func(how Failure) error {
		if how == Lost {
			return nil
		}
		f.n.unsynced = append(f.n.unsynced, resize(int(size)))
		return f.f.Truncate(size)
	})
}

func resize(size int) func([]byte, int) []byte {
	return func(b []byte, part int) []byte {
		switch {
		case part != whole:
			return b
		case size > len(b):
			return append(b, make([]byte, size-len(b))...)
		}
		return b[:size]
	}
}

func (f *file) Sync() error {
	if f.dir {
		return f.syncDir()
	}
	return f.sync("Sync")
}

func (f *file) Datasync() error { return f.sync("Datasync") }

// sync that fails leaves a file's pages marked clean, so that no later sync writes them. Names are
// in the file system's journal, which later syncs write.
func (f *file) sync(kind string) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.d.call(kind, func(how Failure) error {
		if how == Lost {
			f.n.unsynced = nil
			return nil
		}
		f.n.sync()
		return nil
	})
}

func (f *file) syncDir() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.d.call("SyncDir", func(how Failure) error {
		if how == Lost {
			return nil
		}
		for p, n := range f.d.names {
			if filepath.Dir(p) == filepath.Clean(f.path) {
				n.kept = n.now
			}
		}
		return nil
	})
}
