package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/node/tiles"
	"github.com/porchlight-mesh/porchlight/node/tiles/tilestest"
)

// It would prove nothing about the format if it read it with the code that wrote it.
func TestItSharesNoCode(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(p, "/")
			if strings.Contains(first, ".") && p != "golang.org/x/mod/sumdb/note" && p != "golang.org/x/mod/sumdb/tlog" {
				t.Errorf("%s imports %s", name, p)
			}
		}
	}
}

// tilecheck runs the command.
func tilecheck(args ...string) (code int, out, problem string) {
	var o, p bytes.Buffer
	code = run(args, &o, &p)
	return code, o.String(), p.String()
}

// refuses runs it and wants to hear why not.
func refuses(t *testing.T, what, why string, args ...string) {
	t.Helper()
	code, out, problem := tilecheck(args...)
	if code != 1 || !regexp.MustCompile(why).MatchString(problem) || strings.Contains(out, "in order") {
		t.Errorf("%s: exit code %d, %q, %q; want %q", what, code, out, problem, why)
	}
}

func passes(t *testing.T, args ...string) (out string) {
	t.Helper()
	code, out, problem := tilecheck(args...)
	if code != 0 || problem != "" || !strings.HasSuffix(out, "in order: every entry leads to the root that the docket key signed\n") {
		t.Fatalf("exit code %d, %q, %q", code, out, problem)
	}
	return out
}

// A docket of 700 entries grows from one of 300, and a monitor who looks in on both finds them in order.
func TestADocketIsInOrder(t *testing.T) {
	o := tilestest.New(t)
	s := httptest.NewServer(tiles.Handler(o.Peer))
	defer s.Close()
	prefix, seen := s.URL+"/"+string(o.ID()), filepath.Join(t.TempDir(), "seen")
	refuses(t, "an empty docket", "404 .*no checkpoint", prefix, o.Key())
	for _, size := range []int{1, 255, 256, 257, 300, 512, 700} {
		o.Grow(size)
		args := []string{prefix + "/", o.Key(), "-new", seen}
		if size > 1 {
			args = append(args, "-old", seen)
		}
		out := passes(t, args...)
		for _, want := range []string{fmt.Sprintf("entries  %d\n", size), fmt.Sprintf("officer +%d\n", (size+2)/3), "origin +porchlight.docket/" + string(o.ID())} {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("of %d entries: %s\nwant %s", size, out, want)
			}
		}
	}
	if out := passes(t, "-old", seen, prefix, o.Key()); !regexp.MustCompile(`officer +234\n +other +233\n +resolve +233\nbefore +700 entries, unchanged\n`).MatchString(out) {
		t.Error(out)
	}
	for _, args := range [][]string{{}, {prefix}, {prefix, o.Key(), "more"}, {prefix, o.Key(), "-odd"}, {prefix, o.Key(), "-old"}} {
		if code, _, problem := tilecheck(args...); code != 2 || !strings.Contains(problem, "usage: tilecheck URL KEY") {
			t.Errorf("%q: exit code %d, %s", args, code, problem)
		}
	}
}

// What was not there under the checkpoint that is being read does not get in the way.
func TestADocketGrowsWhileItIsRead(t *testing.T) {
	o := tilestest.New(t)
	o.Grow(250)
	h, asked := tiles.Handler(o.Peer), 0
	var one sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		h.ServeHTTP(w, r)
		asked++
		o.Grow(250 + 9*asked) // past the end of the first tile
	}))
	defer s.Close()
	if out := passes(t, s.URL+"/"+string(o.ID()), o.Key()); !strings.Contains(out, "entries  250\n") {
		t.Error(out)
	}
}

// A mirror serves copies of what was served, as somebody has changed them.
type mirror struct {
	files map[string][]byte
	*httptest.Server
}

// newMirror copies all files that make up a docket of that size.
func newMirror(t *testing.T, o *tilestest.Observer, size int) *mirror {
	t.Helper()
	m := &mirror{files: map[string][]byte{}}
	h := tiles.Handler(o.Peer)
	names := []string{"checkpoint"}
	for _, tile := range tlog.NewTiles(8, 0, int64(size)) {
		names = append(names, path(strconv.Itoa(tile.L), tile.N, tile.W))
		if tile.L == 0 {
			names = append(names, path("entries", tile.N, tile.W))
		}
	}
	for _, name := range names {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/"+string(o.ID())+"/"+name, nil))
		if w.Code != 200 {
			t.Fatalf("%s: %s", name, w.Body)
		}
		m.files[name] = w.Body.Bytes()
	}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := m.files[r.URL.Path[1:]]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}))
	t.Cleanup(m.Close)
	return m
}

// with serves other bytes for a while.
func (m *mirror) with(name string, b []byte, do func()) {
	was := m.files[name]
	defer func() { m.files[name] = was }()
	m.files[name] = b
	do()
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func TestWhatWasTamperedWithIsRefused(t *testing.T) {
	o := tilestest.New(t)
	cp300, fork300 := o.Grow(300), o.Fork(300)
	m300 := newMirror(t, o, 300)
	cp700 := o.Grow(700)
	m := newMirror(t, o, 700)
	if len(m.files) != 1+4+3 {
		t.Fatalf("%d files make up the docket", len(m.files))
	}
	passes(t, m.URL, o.Key())
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	other := tilestest.New(t)
	for _, tc := range []struct {
		what, name string
		change     func(b []byte) []byte
		why        string
	}{
		{"a byte of a full hash tile", "tile/0/000", func(b []byte) []byte { return flip(b, 4000) }, "inconsistent tile"},
		{"a byte of a partial one", "tile/0/002.p/188", func(b []byte) []byte { return flip(b, 0) }, "inconsistent tile"},
		{"a byte of a tile above", "tile/1/000.p/2", func(b []byte) []byte { return flip(b, 63) }, "inconsistent tile"},
		{"a short hash tile", "tile/0/001", func(b []byte) []byte { return b[:len(b)-1] }, "bad result"},
		{"a long hash tile", "tile/0/001", func(b []byte) []byte { return append(bytes.Clone(b), 0) }, "more than the 8192 bytes"},
		{"no hash tile", "tile/0/001", func([]byte) []byte { return nil }, "bad result"},
		{"a byte of an entry", "tile/entries/001", func(b []byte) []byte { return flip(b, len(b)/2) }, "entry [0-9]+ is not the one that was logged|ends amid"},
		{"a byte of a length", "tile/entries/000", func(b []byte) []byte { return flip(b, 1) }, "entry 0 is not the one"},
		{"a bundle cut short", "tile/entries/000", func(b []byte) []byte { return b[:len(b)-1] }, "ends amid entry 255"},
		{"a bundle cut between entries", "tile/entries/002.p/188", func(b []byte) []byte { return b[:len(b)-2-len(o.Entries[699])] }, "ends amid entry 699"},
		{"a bundle with more", "tile/entries/000", func(b []byte) []byte { return append(bytes.Clone(b), 0, 0) }, "something follows"},
		{"another bundle", "tile/entries/000", func([]byte) []byte { return m.files["tile/entries/001"] }, "entry 0 is not the one"},
		{"a bundle without end", "tile/entries/000", func([]byte) []byte { return make([]byte, maxBundle+1) }, "more than the"},
		{"a changed checkpoint", "checkpoint", func(b []byte) []byte { return bytes.Replace(b, []byte("\n700\n"), []byte("\n701\n"), 1) }, "checkpoint: .*signature"},
		{"another key's checkpoint", "checkpoint", func([]byte) []byte { return other.Grow(700) }, "checkpoint: .*no verifiable signatures"},
		{"another version's checkpoint", "checkpoint", func([]byte) []byte { return o.Fork(700) }, "inconsistent tile"},
		{"a checkpoint before its entries", "checkpoint", func([]byte) []byte { return o.Fork(800) }, "404 Not Found"},
		{"a checkpoint without end", "checkpoint", func(b []byte) []byte { return append(bytes.Clone(b), make([]byte, maxCheckpoint)...) }, "more than the"},
	} {
		m.with(tc.name, tc.change(m.files[tc.name]), func() { refuses(t, tc.what, tc.why, m.URL, o.Key()) })
	}
	now := file("700", cp700)
	refuses(t, "a log rolled back", "the log has 300 entries and had 700 before", m300.URL, o.Key(), "-old", now)
	refuses(t, "a log changed since", "two versions of one log", m.URL, o.Key(), "-old", file("fork", fork300))
	refuses(t, "one size, two roots", "two versions of one log", m.URL, o.Key(), "-old", file("fork-now", o.Fork(700)))
	refuses(t, "a kept checkpoint that was changed", "before: .*(signature|malformed note)", m.URL, o.Key(), "-old", file("before", flip(cp300, bytes.LastIndexByte(cp300, '=')-10)))
	refuses(t, "another's checkpoint kept", "no verifiable signatures", m.URL, o.Key(), "-old", file("other", other.Grow(701)))
	refuses(t, "no checkpoint kept", "no such file", m.URL, o.Key(), "-old", filepath.Join(dir, "nothing"))
	refuses(t, "another agency's key", "no verifiable signatures", m.URL, other.Key())
	refuses(t, "no key", "key: ", m.URL, "hello")
	refuses(t, "nobody there", "refused|connect", "http://127.0.0.1:1", o.Key())
	refuses(t, "no time", "deadline exceeded", m.URL, o.Key(), "-within", "1ns")
	never := filepath.Join(dir, "never")
	m.with("tile/entries/000", nil, func() { refuses(t, "a bundle of nothing", "ends amid entry 0", m.URL, o.Key(), "-new", never) })
	if _, err := os.Stat(never); err == nil {
		t.Error("the checkpoint of a docket that is not in order was kept")
	}
	passes(t, m.URL, o.Key(), "-old", file("300", cp300))

	moved := httptest.NewServer(http.RedirectHandler(m.URL+"/checkpoint", http.StatusFound))
	defer moved.Close()
	refuses(t, "a server that sends one elsewhere", "302 Found", moved.URL, o.Key())
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	refuses(t, "a server that never stops", "more than the", endless.URL, o.Key())
}

// No byte of what is served can be another without being noticed.
func TestAThousandChangedBytes(t *testing.T) {
	o := tilestest.New(t)
	o.Grow(700)
	m := newMirror(t, o, 700)
	var names []string
	for name := range m.files {
		names = append(names, name)
	}
	slices.Sort(names)
	r := rand.New(rand.NewPCG(7, 2026))
	missed := 0
	for range 1000 {
		name := names[r.IntN(len(names))]
		b := bytes.Clone(m.files[name])
		i, change := r.IntN(len(b)), byte(1+r.IntN(255))
		b[i] ^= change
		m.with(name, b, func() {
			if code := run([]string{m.URL, o.Key()}, io.Discard, io.Discard); code != 1 {
				missed++
				t.Errorf("byte %d of %s became %#x: exit code %d", i, name, b[i], code)
			}
		})
	}
	t.Logf("%d of 1000 changed bytes were noticed", 1000-missed)

	// The checkpoint is short enough for every bit of it.
	checkpoint := m.files["checkpoint"]
	if _, _, err := open(checkpoint, o.Key()); err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(checkpoint) {
		b := bytes.Clone(checkpoint)
		b[i/8] ^= 1 << (i % 8)
		if _, _, err := open(b, o.Key()); err == nil {
			t.Errorf("bit %d of the checkpoint, now %q", i, b)
		}
	}
}
