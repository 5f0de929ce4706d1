package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The fault table: every operation × every call it makes of the file system × what goes wrong
// there × what becomes of the machine. After each, the files must be in a state that the promises
// of the package comment allow; then the operation is done again on a disk that works, and
// survives a power cut that takes everything which was not synced.

// tried is one thing an operation was asked to do, and whether it said that it is done.
type tried struct {
	what string
	done bool
}

type operation struct {
	name  string
	start func(m *model) // the files before it; synced afterwards
	late  func(m *model) // more of them, not synced
	calls string         // what it asks of the file system when all goes well
	do    func(d Disk, try func(what string, err error))
	state func(d Disk) (string, error)
	// unproven is a sync that proves nothing when it is done again after it failed: what it was
	// to write was there before, and cannot be written anew.
	unproven string
	// holds lists the states that are allowed when the state was before and that was tried.
	holds func(before string, all []tried) []string
}

func operations() []operation {
	const file, log = "/d/f", "/d/log"
	const writes = "OpenFile Write Sync Rename OpenFile SyncDir"
	const open, add = "OpenFile Datasync OpenFile SyncDir", " Write Datasync"
	write := func(d Disk, try func(string, error)) { try("new", d.WriteFile(file, []byte("new"), 0o600)) }
	appends := func(records ...string) func(Disk, func(string, error)) {
		return func(d Disk, try func(string, error)) {
			a, err := d.OpenAppend(log, 0o600)
			if err != nil {
				return
			}
			defer a.Close()
			for _, r := range records {
				try(r, a.Append([]byte(frames(strings.Split(r, "|")...))))
			}
		}
	}
	return []operation{
		{name: "WriteFile, new", calls: writes,
			do: write, state: content(file), holds: ends("absent", "new")},
		{name: "WriteFile, replacing", calls: writes, start: put(file, "old"),
			do: write, state: content(file), holds: ends("old", "new")},
		{name: "Append, first", calls: open + add,
			do: appends("one"), state: records(log), holds: keepsRecords},
		{name: "Append, later", calls: open + add, start: put(log, frames("one", "two")),
			do: appends("three"), state: records(log), holds: keepsRecords},
		{name: "Append, after a failed one", calls: open + add + add + add, start: put(log, frames("one")),
			do: appends("two|three|four", "six", "seven"), state: records(log), holds: keepsRecords},
		{name: "Append, behind a torn tail", calls: "OpenFile Truncate Sync " + open + add, start: put(log, frames("one", "two")+frames("lost")[:14]),
			do: func(d Disk, try func(string, error)) {
				if _, err := d.ReadRecords(log, func([]byte) error { return nil }); err == nil {
					appends("three")(d, try)
				}
			}, state: records(log), holds: keepsRecords},
		{name: "OpenAppend, of what a killed run wrote", calls: open, unproven: "Datasync", start: put(log, frames("one")), late: put(log, frames("one", "two")),
			do: func(d Disk, try func(string, error)) {
				a, err := d.OpenAppend(log, 0o600)
				try("open", err)
				if err == nil {
					a.Close()
				}
			}, state: records(log), holds: func(before string, all []tried) []string {
				if all[0].done {
					return []string{before}
				}
				return []string{before, "one|"}
			}},
		{name: "MkdirAll", calls: "OpenFile SyncDir" + strings.Repeat(" Mkdir OpenFile SyncDir", 3),
			do:    func(d Disk, try func(string, error)) { try("a/b/c", d.MkdirAll("/d/a/b/c", 0o700)) },
			state: folders, holds: ends("", "/d/a", "/d/a/b", "/d/a/b/c")},
		{name: "Remove", calls: "Remove OpenFile SyncDir", start: put(file, "old"),
			do: func(d Disk, try func(string, error)) {
				err := d.Remove(file)
				if errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
				try("remove", err)
			}, state: content(file), holds: ends("old", "absent")},
		{name: "ReadRecords, cutting a torn tail", calls: "OpenFile Truncate Sync", start: put(log, frames("one", "two")+frames("lost")[:14]),
			do: func(d Disk, try func(string, error)) {
				_, err := d.ReadRecords(log, func([]byte) error { return nil })
				try("cut", err)
			}, state: records(log), holds: ends("one|two|")},
	}
}

// ends allows any of the states on the way, and only the last once the operation is done.
func ends(states ...string) func(string, []tried) []string {
	return func(_ string, all []tried) []string {
		if slices.ContainsFunc(all, done) {
			return states[len(states)-1:]
		}
		return states
	}
}

// keepsRecords allows every log that has, in order, what was there and what was acknowledged; of
// an append that failed, none, the first few or all of the records may be in their place.
func keepsRecords(before string, all []tried) []string {
	logs := []string{before}
	for _, a := range all {
		var longer []string
		for _, l := range logs {
			if a.done {
				longer = append(longer, l+a.what+"|")
				continue
			}
			longer = append(longer, l)
			for _, record := range strings.Split(a.what, "|") {
				l += record + "|"
				longer = append(longer, l)
			}
		}
		logs = longer
	}
	return logs
}

func TestFaults(t *testing.T) {
	rows := 0
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			calls := strings.Fields(op.calls)
			m := begin(op)
			op.do(Disk{m}, func(what string, err error) {
				if err != nil {
					t.Errorf("%s on a good disk: %v", what, err)
				}
			})
			if !slices.Equal(m.calls, calls) {
				t.Fatalf("calls made:\n%s\nin the table:\n%s", m.calls, calls)
			}
			for at, kind := range calls {
				for how := lost; how <= crashed; how++ {
					if how == half && kind != "Write" {
						continue
					}
					for end := killed; end <= everything; end++ {
						rows++
						t.Run(fmt.Sprintf("call %d, %s, %s, %s", at+1, kind, how, end), func(t *testing.T) {
							fault(t, op, at, how, end)
						})
					}
				}
			}
		})
	}
	t.Logf("%d rows", rows)
}

func fault(t *testing.T, op operation, at int, how failure, end ending) {
	m := begin(op)
	d := Disk{m}
	read := func(when string, allowed []string) string {
		t.Helper()
		got, err := op.state(d)
		if err != nil || !slices.Contains(allowed, got) {
			t.Fatalf("%s: %q, %v; allowed: %q", when, got, err, allowed)
		}
		if again, err := op.state(d); err != nil || again != got {
			t.Fatalf("%s: %q at first, then %q, %v", when, got, again, err)
		}
		return got
	}
	attempt := func() (all []tried) {
		op.do(d, func(what string, err error) { all = append(all, tried{what, err == nil}) })
		return all
	}

	before, err := op.state(Disk{begin(op)})
	if err != nil {
		t.Fatal(err)
	}
	m.fail(at, how)
	all := attempt()
	m.heal()
	if end != killed {
		m.powerCut(end)
	}
	seen := read("afterwards", op.holds(before, all))
	if op.unproven == m.calls[at] && how == lost && end == killed {
		return
	}
	if all = attempt(); len(all) == 0 || slices.ContainsFunc(all, undone) {
		t.Fatalf("again, on a good disk: %+v", all)
	}
	m.powerCut(nothing)
	read("done again", op.holds(seen, all))
}

func done(a tried) bool   { return a.done }
func undone(a tried) bool { return !a.done }

// begin is a model with the files of an operation, and no calls counted yet.
func begin(op operation) *model {
	m := &model{root: folder(), at: -1}
	d := folder()
	m.root.now.names["d"], m.root.kept.names["d"] = d, d
	if op.start != nil {
		op.start(m)
		m.powerCut(everything)
	}
	if op.late != nil {
		op.late(m)
	}
	m.calls = nil
	return m
}

func put(path, text string) func(*model) {
	return func(m *model) {
		f, err := m.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			_, err = f.WriteAt([]byte(text), 0)
		}
		if err != nil {
			panic(err)
		}
	}
}

func frames(records ...string) string {
	var buf []byte
	for _, r := range records {
		buf = AppendRecord(buf, []byte(r))
	}
	return string(buf)
}

func content(path string) func(Disk) (string, error) {
	return func(d Disk) (string, error) {
		f, err := d.FS.OpenFile(path, os.O_RDONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return "absent", nil
		}
		if err != nil {
			return "", err
		}
		info, _ := f.Stat()
		text := make([]byte, info.Size())
		_, err = f.ReadAt(text, 0)
		return string(text), err
	}
}

func records(path string) func(Disk) (string, error) {
	return func(d Disk) (string, error) {
		var all strings.Builder
		_, err := d.ReadRecords(path, func(r []byte) error {
			fmt.Fprintf(&all, "%s|", r)
			return nil
		})
		return all.String(), err
	}
}

func folders(d Disk) (string, error) {
	deepest := ""
	for _, path := range []string{"/d/a", "/d/a/b", "/d/a/b/c"} {
		if info, err := d.FS.Stat(path); err == nil && info.IsDir() {
			deepest = path
		}
	}
	return deepest, nil
}

// model is a file system in memory that tells what is synced from what is not, counts the calls
// that change or open something, and goes wrong at one of them.
type model struct {
	root  *inode
	calls []string
	at    int // the call that goes wrong, from 0; none if negative
	how   failure
	dead  bool
}

// failure is what goes wrong at a call.
type failure int

const (
	lost    failure = iota // it fails and does nothing; of a file's sync, what it was to write never reaches the disk
	kept                   // it fails although it is done
	half                   // a write fails half-way
	gone                   // it and every later call fails and does nothing
	crashed                // it is done, and the process gets no further
)

func (f failure) String() string {
	return [...]string{"fails and is not done", "fails but is done", "fails half-way", "and all later ones fail", "then the process dies"}[f]
}

// ending is what becomes of the machine afterwards.
type ending int

const (
	killed     ending = iota // it runs on, so everything is as the process last saw it
	nothing                  // the power is cut, and nothing survives that was not synced
	names                    // the power is cut, and unsynced names survive, of unsynced content nothing
	halfway                  // the power is cut in the middle of each file's last change
	everything               // the power is cut, and everything happened to be on the disk
)

func (e ending) String() string {
	return [...]string{"no power cut", "power cut keeps nothing unsynced", "power cut keeps names", "power cut keeps halves", "power cut keeps everything"}[e]
}

// inode is a file or a folder, as the processes see it and as it is on the disk.
type inode struct {
	now, kept image
	unsynced  []change // what kept lacks
}

type image struct {
	data  []byte
	names map[string]*inode // nil of a file
}

// change changes a content, or does the first half of it.
type change func(c *image, whole bool)

func folder() *inode {
	return &inode{now: image{names: map[string]*inode{}}, kept: image{names: map[string]*inode{}}}
}

func (n *inode) isDir() bool { return n.now.names != nil }

func (n *inode) do(c change, whole bool) {
	c(&n.now, whole)
	n.unsynced = append(n.unsynced, func(to *image, all bool) { c(to, whole && all) })
}

func (n *inode) sync() {
	for _, c := range n.unsynced {
		c(&n.kept, true)
	}
	n.unsynced = nil
}

func (m *model) fail(at int, how failure) { m.calls, m.at, m.how = nil, at, how }
func (m *model) heal()                    { m.at, m.dead = -1, false }
func (m *model) powerCut(e ending)        { m.root.powerCut(e) }

func (n *inode) powerCut(e ending) {
	last := len(n.unsynced) - 1
	switch {
	case e == everything, n.isDir() && e != nothing:
		n.sync()
	case e == halfway && last >= 0:
		final := n.unsynced[last]
		n.unsynced = n.unsynced[:last]
		n.sync()
		final(&n.kept, false)
	}
	n.unsynced = nil
	n.now = image{slices.Clone(n.kept.data), maps.Clone(n.kept.names)}
	for _, below := range n.now.names {
		below.powerCut(e)
	}
}

var errDead = errors.New("the process is dead")

// call counts a call and does its work, or what is left of it when it goes wrong.
func (m *model) call(kind string, work func(how failure)) error {
	if m.dead {
		return errDead
	}
	m.calls = append(m.calls, kind)
	now := len(m.calls) - 1
	if m.at >= 0 && now >= m.at && m.how == gone {
		return errDisk
	}
	if now != m.at {
		work(kept)
		return nil
	}
	work(m.how)
	if m.how == crashed {
		m.dead = true
		return nil
	}
	return errDisk
}

// find returns the folder of a path, the last name, and what has that name, nil if nothing.
func (m *model) find(path string) (dir *inode, base string, n *inode) {
	n = m.root
	for _, base = range strings.Split(strings.Trim(filepath.ToSlash(path), "/"), "/") {
		if base == "" {
			return nil, "", n
		}
		if dir = n; dir == nil || !dir.isDir() {
			return nil, base, nil
		}
		n = dir.now.names[base]
	}
	return dir, base, n
}

func name(base string, n *inode) change {
	return func(c *image, _ bool) { c.names[base] = n }
}

func (m *model) OpenFile(path string, flag int, _ fs.FileMode) (File, error) {
	dir, base, n := m.find(path)
	if n == nil && (dir == nil || flag&os.O_CREATE == 0) {
		return nil, fs.ErrNotExist
	}
	if n != nil && flag&os.O_EXCL != 0 {
		return nil, fs.ErrExist
	}
	err := m.call("OpenFile", func(how failure) {
		if n == nil && how != lost {
			n = &inode{}
			dir.do(name(base, n), true)
		}
	})
	if err != nil {
		return nil, err
	}
	return modelFile{m, n}, nil
}

func (m *model) Mkdir(path string, _ fs.FileMode) error {
	dir, base, n := m.find(path)
	if n != nil {
		return fs.ErrExist
	}
	return m.call("Mkdir", func(how failure) {
		if how != lost {
			dir.do(name(base, folder()), true)
		}
	})
}

// Rename is for two names in one folder.
func (m *model) Rename(from, to string) error {
	dir, base, n := m.find(from)
	_, end, _ := m.find(to)
	return m.call("Rename", func(how failure) {
		if how != lost {
			dir.do(func(c *image, _ bool) { delete(c.names, base); c.names[end] = n }, true)
		}
	})
}

func (m *model) Remove(path string) error {
	dir, base, n := m.find(path)
	if n == nil {
		return fs.ErrNotExist
	}
	return m.call("Remove", func(how failure) {
		if how != lost {
			dir.do(func(c *image, _ bool) { delete(c.names, base) }, true)
		}
	})
}

func (m *model) Stat(path string) (fs.FileInfo, error) {
	_, _, n := m.find(path)
	if m.dead {
		return nil, errDead
	}
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return modelInfo{n: n}, nil
}

func (m *model) ReadDir(string) ([]fs.DirEntry, error) { return nil, errors.ErrUnsupported }

type modelInfo struct {
	fs.FileInfo
	n *inode
}

func (i modelInfo) Size() int64 { return int64(len(i.n.now.data)) }
func (i modelInfo) IsDir() bool { return i.n.isDir() }

type modelFile struct {
	m *model
	n *inode
}

func (f modelFile) Close() error               { return nil }
func (f modelFile) Stat() (fs.FileInfo, error) { return modelInfo{n: f.n}, nil }

func (f modelFile) ReadAt(p []byte, at int64) (int, error) {
	n := copy(p, f.n.now.data[min(at, int64(len(f.n.now.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f modelFile) WriteAt(p []byte, at int64) (written int, err error) {
	p = slices.Clone(p)
	err = f.m.call("Write", func(how failure) {
		if how == lost {
			return
		}
		f.n.do(func(c *image, whole bool) {
			q := p
			if !whole {
				q = p[:len(p)/2]
			}
			if lacks := int(at) + len(q) - len(c.data); lacks > 0 {
				c.data = append(c.data, make([]byte, lacks)...)
			}
			copy(c.data[at:], q)
		}, how != half)
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f modelFile) Truncate(size int64) error {
	return f.m.call("Truncate", func(how failure) {
		if how == lost {
			return
		}
		f.n.do(func(c *image, whole bool) {
			if lacks := int(size) - len(c.data); whole && lacks > 0 {
				c.data = append(c.data, make([]byte, lacks)...)
			} else if whole {
				c.data = c.data[:size]
			}
		}, true)
	})
}

func (f modelFile) Sync() error {
	if f.n.isDir() {
		return f.sync("SyncDir")
	}
	return f.sync("Sync")
}

func (f modelFile) Datasync() error { return f.sync("Datasync") }

// sync that fails leaves a file's pages marked clean, so that no later sync writes them. Names
// are in the journal, which later syncs write.
func (f modelFile) sync(kind string) error {
	return f.m.call(kind, func(how failure) {
		switch {
		case how != lost:
			f.n.sync()
		case !f.n.isDir():
			f.n.unsynced = nil
		}
	})
}
