package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func probe(b []byte) (*Movie, error) { return Probe(bytes.NewReader(b), int64(len(b))) }

func TestARecordingSaysWhatItIs(t *testing.T) {
	s := time.Second
	for _, c := range []struct {
		name, codec       string
		fragmented, sound bool
		length            time.Duration
		frames            int
		keys              []time.Duration
	}{
		{"progressive.mp4", "h264", false, false, 10 * s, 50, []time.Duration{0, 2 * s, 4 * s, 6 * s, 8 * s}},
		{"simple.mp4", "h264", false, false, 10 * s, 50, []time.Duration{0, 2 * s, 4 * s, 6 * s, 8 * s}},
		{"fragmented.mp4", "h264", true, false, 10 * s, 50, []time.Duration{0, 2 * s, 4 * s, 6 * s, 8 * s}},
		{"sound.mp4", "h264", false, true, 6 * s, 30, []time.Duration{0, 2 * s, 4 * s}},
		{"soundfragments.mp4", "h264", true, true, 6 * s, 30, []time.Duration{0, 2 * s, 4 * s}},
		{"negative.mp4", "h264", false, false, 6 * s, 30, []time.Duration{0, 2 * s, 4 * s}},
		{"h265.mp4", "h265", false, false, 6 * s, 30, []time.Duration{0, 2 * s, 4 * s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := probe(read(t, c.name))
			if err != nil {
				t.Fatal(err)
			}
			if m.Codec != c.codec || m.Width != 160 || m.Height != 90 || m.Fragmented != c.fragmented ||
				m.HasAudio != c.sound || m.Truncated || m.Duration != c.length || len(m.samples) != c.frames {
				t.Errorf("got %+v", m)
			}
			if want := time.Date(2026, 11, 22, 19, 4, 5, 0, time.UTC); m.Created != want {
				t.Errorf("created %v, want %v", m.Created, want)
			}
			if got := keyframes(m); !slices.Equal(got, c.keys) {
				t.Errorf("keyframes at %v, want %v", got, c.keys)
			}
		})
	}
}

// keyframes lists the times of the keyframes, in stored order, counted from time zero.
func keyframes(m *Movie) (times []time.Duration) {
	for i := range m.samples {
		if m.samples[i].sync {
			times = append(times, m.at(m.samples[i].pts()))
		}
	}
	return times
}

// at finds a box by the path of its ancestors and returns the offset of its header.
func at(t testing.TB, b []byte, path string) int {
	t.Helper()
	off, end := 0, len(b)
	for _, kind := range strings.Split(path, "/") {
		found := false
		for off+8 <= end {
			size := int(binary.BigEndian.Uint32(b[off:]))
			if string(b[off+4:off+8]) == kind {
				end, found = off+size, true
				break
			}
			off += size
		}
		if !found {
			t.Fatalf("no box %s", path)
		}
		off += 8
	}
	return off - 8
}

func TestATornRecordingGivesWhatIsWhole(t *testing.T) {
	t.Run("a fragment half written", func(t *testing.T) {
		b := read(t, "fragmented.mp4")
		m, err := probe(b[:len(b)*3/4])
		if err != nil || !m.Truncated || len(m.samples) < 25 || len(m.samples) >= 50 {
			t.Fatalf("%+v, %v", m, err)
		}
	})
	t.Run("blocks the disk never wrote", func(t *testing.T) {
		b := read(t, "fragmented.mp4")
		clear(b[at(t, b, "mfra"):])
		if m, err := probe(append(b, make([]byte, 4096)...)); err != nil || len(m.samples) != 50 {
			t.Fatalf("%+v, %v", m, err)
		}
	})
	t.Run("every length of a fragmented file", func(t *testing.T) {
		b, last := read(t, "soundfragments.mp4"), 0
		for n := range len(b) {
			m, err := probe(b[:n])
			if err != nil {
				if !errors.Is(err, ErrTruncated) && !(n < 8 && errors.Is(err, ErrNotMP4)) || last > 0 {
					t.Fatalf("%d bytes: %v", n, err)
				}
				continue
			}
			if len(m.samples) < last {
				t.Fatalf("%d bytes give %d frames, fewer bytes gave %d", n, len(m.samples), last)
			}
			last = len(m.samples)
		}
		if last != 30 {
			t.Fatalf("%d frames at the end", last)
		}
	})
	t.Run("index in front, media cut", func(t *testing.T) {
		b := read(t, "sound.mp4")
		m, err := probe(b[:len(b)*2/3])
		if err != nil || !m.Truncated || len(m.samples) == 0 || len(m.samples) >= 30 {
			t.Fatalf("%+v, %v", m, err)
		}
	})
	t.Run("index behind, gone", func(t *testing.T) {
		b := read(t, "progressive.mp4")
		for _, n := range []int{at(t, b, "moov") - 100, at(t, b, "moov"), at(t, b, "moov") + 300} {
			if _, err := probe(b[:n]); !errors.Is(err, ErrTruncated) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	})
}

func TestNoRecordingAtAll(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		kind error
		says string
	}{
		{"nothing", nil, ErrTruncated, "the file is empty"},
		{"one byte", []byte{0}, ErrNotMP4, "does not start with a box"},
		{"zeros", make([]byte, 5000), ErrNotMP4, "does not start with a box"},
		{"text", []byte(strings.Repeat("not a film ", 50)), ErrNotMP4, "first box is"},
		{"an AVI", []byte("RIFF\x00\x10\x00\x00AVI LIST"), ErrNotMP4, ""},
		{"only a start", read(t, "simple.mp4")[:32], ErrTruncated, "no moov box"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := probe(c.b)
			var flaw *IndexError
			if !errors.Is(err, c.kind) || !errors.As(err, &flaw) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v", err)
			}
		})
	}
}

// TestALyingBox changes one number of a good file. The error must name the box and its place, and come
// without memory having been taken for what the number promised.
func TestALyingBox(t *testing.T) {
	const stbl = "moov/trak/mdia/minf/stbl/"
	for _, c := range []struct {
		file, box string
		at        int // byte in the box, after its header
		value     uint32
		kind      error
	}{
		{"simple.mp4", stbl + "stsz", 8, math.MaxUint32, ErrNotMP4},
		{"simple.mp4", stbl + "stsz", 4, 1 << 30, nil}, // all frames of 1 GiB: none is in the file
		{"simple.mp4", stbl + "stts", 4, math.MaxUint32, ErrNotMP4},
		{"simple.mp4", stbl + "stts", 4, 0, ErrNotMP4},
		{"simple.mp4", stbl + "stts", 12, math.MaxUint32, ErrNotMP4},
		{"simple.mp4", stbl + "stss", 4, 1 << 20, ErrNotMP4},
		{"simple.mp4", stbl + "stss", 8, 51, ErrNotMP4},
		{"simple.mp4", stbl + "stsc", 4, 1 << 31, ErrNotMP4},
		{"simple.mp4", stbl + "stsc", 8, 2, ErrNotMP4},
		{"simple.mp4", stbl + "stsc", 12, 0, ErrNotMP4},
		{"simple.mp4", stbl + "stsc", 16, 9, ErrNotMP4},
		{"simple.mp4", stbl + "stco", 4, math.MaxUint32, ErrNotMP4},
		{"simple.mp4", stbl + "stsd", 4, 9, ErrNotMP4},
		{"simple.mp4", "moov/trak/mdia/mdhd", 12, 0, ErrNotMP4},
		{"progressive.mp4", stbl + "ctts", 4, math.MaxUint32, ErrNotMP4},
		{"progressive.mp4", stbl + "ctts", 4, 1, ErrNotMP4},
		{"progressive.mp4", "moov/trak/edts/elst", 4, 1 << 28, ErrNotMP4},
		{"fragmented.mp4", "moof/traf/trun", 4, math.MaxUint32, ErrNotMP4},
		{"fragmented.mp4", "moof/traf/tfhd", 4, 77, nil}, // another track's fragment: its frames are not ours
	} {
		t.Run(c.box, func(t *testing.T) {
			b := read(t, c.file)
			off := at(t, b, c.box)
			binary.BigEndian.PutUint32(b[off+8+c.at:], c.value)
			var err error
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = probe(b)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
				t.Errorf("%d bytes taken", took)
			}
			if c.kind == nil {
				return
			}
			var flaw *IndexError
			if !errors.Is(err, c.kind) || !errors.As(err, &flaw) {
				t.Fatalf("got %v", err)
			}
			if want := c.box[strings.LastIndex(c.box, "/")+1:]; flaw.Box != want || flaw.Offset != int64(off) {
				t.Errorf("blames the %s box at %d, it was the %s box at %d", flaw.Box, flaw.Offset, want, off)
			}
		})
	}
}

func TestRefusedContents(t *testing.T) {
	change := func(name, old, with string) []byte {
		return bytes.Replace(read(t, name), []byte(old), []byte(with), 1)
	}
	for _, c := range []struct {
		name string
		b    []byte
		kind error
	}{
		{"another codec", change("simple.mp4", "avc1\x00\x00\x00\x00\x00\x00\x00\x01", "av01\x00\x00\x00\x00\x00\x00\x00\x01"), ErrCodec},
		{"no picture", change("simple.mp4", "vide", "soun"), ErrCodec},
		{"no configuration", change("simple.mp4", "avcC", "free"), ErrCodec},
		{"another version of it", change("simple.mp4", "avcC\x01", "avcC\x02"), ErrCodec},
		{"compact sizes", change("simple.mp4", "stsz", "stz2"), ErrNotMP4},
	} {
		if _, err := probe(c.b); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestRescaleIsExact(t *testing.T) {
	for _, c := range []struct{ v, num, den, want int64 }{
		{1, 1, 2, 1}, {-1, 1, 2, -1}, {1, 1, 3, 0}, {7, 90000, 12800, 49}, {math.MaxInt64, 1, 1, math.MaxInt64},
		{math.MaxInt64, 1_000_000_000, 1, math.MaxInt64}, {math.MinInt64, 1000, 1, -math.MaxInt64}, {1 << 50, 1e9, 1e9, 1 << 50},
	} {
		if got := rescale(c.v, c.num, c.den); got != c.want {
			t.Errorf("rescale(%d, %d, %d) = %d, want %d", c.v, c.num, c.den, got, c.want)
		}
	}
}

func BenchmarkProbe(b *testing.B) {
	for _, name := range []string{"progressive.mp4", "fragmented.mp4"} {
		b.Run(name, func(b *testing.B) {
			data := read(b, name)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := probe(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
