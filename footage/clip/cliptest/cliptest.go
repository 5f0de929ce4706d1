// Package cliptest makes small, valid recordings for tests of packages that keep or move footage, without
// any external program.
//
// A recording is H.264, 160x90 pixels, 5 frames a second, a keyframe every 2 seconds, about 2.2 kB a second, and
// shows a test picture. The same name, length and time always give the same bytes; to tell recordings of
// the same length apart by content, give them different times with [SetCreated].
package cliptest

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip"
)

//go:embed gop.mp4
var source []byte

// sourceSeconds is the length of the embedded recording.
const sourceSeconds = 10

// Recording writes a progressive MP4 file of the given length in seconds, which must be positive, to
// dir/name and returns its path. name may have folders in it; they are made. The file's mvhd box has no
// creation time.
func Recording(t testing.TB, dir, name string, seconds int) string {
	t.Helper()
	if seconds <= 0 {
		t.Fatalf("cliptest: a recording of %d seconds", seconds)
	}
	from := filepath.Join(t.TempDir(), "source.mp4")
	if err := os.WriteFile(from, source, 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(time.Duration(seconds) * time.Second)
	var inputs []clip.Input
	for at := start; at.Before(end); at = at.Add(sourceSeconds * time.Second) {
		inputs = append(inputs, clip.Input{Path: from, Start: at})
	}
	var out bytes.Buffer
	if _, err := clip.Cut(t.Context(), &out, inputs, start, end, clip.Options{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// SetCreated writes a creation time, of whole seconds, into the mvhd box of a file of [Recording].
func SetCreated(t testing.TB, path string, created time.Time) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("mvhd\x00"))
	if at < 0 || at+12 > len(b) {
		t.Fatalf("cliptest: %s has no mvhd box of version 0", path)
	}
	// Seconds since 1904 (ISO/IEC 14496-12, 8.2.2).
	binary.BigEndian.PutUint32(b[at+8:], uint32(created.Unix()+2082844800))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
