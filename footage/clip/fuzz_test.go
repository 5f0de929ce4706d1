package clip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzProbe feeds Probe hostile files, and Cut what Probe accepts: nothing may panic, an index may not be
// larger than the file, and the clip must be readable again with the frames that Cut says it has.
func FuzzProbe(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.mp4")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, path := range seeds {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 6000)], uint16(900), uint16(4000))
		f.Add(skipMedia(b), uint16(2500), uint16(6000))
	}
	f.Add([]byte{}, uint16(0), uint16(1))
	f.Add([]byte("RIFF....AVI LIST"), uint16(0), uint16(1))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, from, length uint16) {
		m, err := Probe(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, ErrNotMP4) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCodec) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if len(m.samples) == 0 || len(m.samples) > len(b) || m.Duration < 0 || m.Duration > maxSpan {
			t.Fatalf("%d frames, %v long, in %d bytes", len(m.samples), m.Duration, len(b))
		}
		path := filepath.Join(dir, "in.mp4")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		inputs := []Input{{Path: path, Start: noon}, {Path: path, Start: noon.Add(m.Duration)}, {Path: path, Start: noon.Add(m.Duration * 5 / 2)}}
		start := noon.Add(time.Duration(from) * time.Millisecond)
		var out bytes.Buffer
		res, err := Cut(context.Background(), &out, inputs, start, start.Add(time.Duration(length)*time.Millisecond), Options{})
		if err != nil {
			return
		}
		if res.Frames > 3*len(m.samples) || out.Len() > 3*len(b)+200*res.Frames+64<<10 {
			t.Fatalf("%d frames and %d bytes from %d frames and %d bytes", res.Frames, out.Len(), len(m.samples), len(b))
		}
		again, err := Probe(bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			t.Fatalf("the clip cannot be read: %v", err)
		}
		if len(again.samples) != res.Frames || again.Truncated {
			t.Fatalf("the clip has %d frames, truncated %v; Cut said %d", len(again.samples), again.Truncated, res.Frames)
		}
		var twice bytes.Buffer
		if _, err := Cut(context.Background(), io.Writer(&twice), inputs, start, start.Add(time.Duration(length)*time.Millisecond), Options{}); err != nil || !bytes.Equal(out.Bytes(), twice.Bytes()) {
			t.Fatalf("the same cut twice gave other bytes (%v)", err)
		}
	})
}

// skipMedia empties the media of a progressive file, so that a mutation is likely to hit a box.
func skipMedia(b []byte) []byte {
	b = bytes.Clone(b)
	w := window{r: bytes.NewReader(b), size: int64(len(b))}
	for off := int64(0); off < int64(len(b)); {
		x, err := w.header(off, int64(len(b)))
		if err != nil {
			break
		}
		if x.kind == "mdat" {
			clear(b[x.body:min(x.end, int64(len(b)))])
		}
		off = x.end
	}
	return b
}
