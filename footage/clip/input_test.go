package clip

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// meddler is a writer in the middle of whose work somebody does something to a recording.
type meddler struct {
	after  int // writes that pass before
	meddle func()
}

func (m *meddler) Write(p []byte) (int, error) {
	if m.after == 0 {
		m.meddle()
	}
	m.after--
	return len(p), nil
}

// TestARecordingThatVanishesOrChanges does to the second of two recordings what recorders and owners do, at
// each moment between its choice and the end of the cut.
func TestARecordingThatVanishesOrChanges(t *testing.T) {
	written := time.Date(2026, 11, 22, 12, 0, 10, 123456789, time.UTC)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		kind   error
		meddle func(path string)
	}{
		"removed":        {ErrGone, func(p string) { must(os.Remove(p)) }},
		"its folder too": {ErrGone, func(p string) { must(os.RemoveAll(filepath.Dir(p))) }},
		"a file in place of its folder": {ErrGone, func(p string) {
			must(os.RemoveAll(filepath.Dir(p)))
			must(os.WriteFile(filepath.Dir(p), nil, 0o600))
		}},
		"written to, same size": {ErrChanged, func(p string) {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			must(err)
			defer f.Close()
			_, err = f.WriteAt([]byte{1}, 5000)
			must(err)
			must(os.Chtimes(p, time.Time{}, written.Add(time.Microsecond)))
		}},
		"longer, same time": {ErrChanged, func(p string) {
			must(os.WriteFile(p, append(read(t, "simple.mp4"), 0, 0, 0, 8, 'f', 'r', 'e', 'e'), 0o600))
			must(os.Chtimes(p, time.Time{}, written))
		}},
		"cut short, same time": {ErrChanged, func(p string) {
			must(os.Truncate(p, 4000))
			must(os.Chtimes(p, time.Time{}, written))
		}},
		"another in its place": {ErrChanged, func(p string) {
			must(os.WriteFile(p+".new", read(t, "progressive.mp4"), 0o600))
			must(os.Rename(p+".new", p))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, when := range []string{"before the cut", "after the plan", "while it is copied"} {
				path := filepath.Join(t.TempDir(), "day", "b.mp4")
				must(os.Mkdir(filepath.Dir(path), 0o700))
				must(os.WriteFile(path, read(t, "simple.mp4"), 0o600))
				must(os.Chtimes(path, time.Time{}, written))
				info, err := os.Stat(path)
				must(err)
				in := []Input{{Path: fixture("simple.mp4"), Start: noon},
					{Path: path, Start: after(10), Size: info.Size(), ModTime: info.ModTime().Truncate(time.Microsecond)}}
				var out io.Writer = io.Discard
				switch when {
				case "before the cut":
					c.meddle(path)
				case "after the plan":
					out = &meddler{0, func() { c.meddle(path) }}
				case "while it is copied":
					if c.kind == ErrGone || strings.HasPrefix(name, "another") {
						continue // the open file stays whole, and so does the clip
					}
					out = &meddler{2, func() { c.meddle(path) }}
				}
				_, err = Cut(t.Context(), out, in, noon, after(20), Options{})
				var which *InputError
				if !errors.Is(err, c.kind) || !errors.As(err, &which) || which.Path != path || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: %v", when, err)
				}
			}
		})
	}
}

func TestAnUnchangedRecordingIsCut(t *testing.T) {
	info, err := os.Stat(fixture("simple.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Path: fixture("simple.mp4"), Start: noon, Size: info.Size(), ModTime: info.ModTime()}
	if res, _, _ := cut(t, []Input{in}, noon, after(5), Options{}); res.Frames != 25 {
		t.Errorf("%+v", res)
	}
}
