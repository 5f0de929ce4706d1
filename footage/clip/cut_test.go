package clip

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func fixture(name string) string { return filepath.Join("testdata", name) }

// after is noon and so many seconds.
func after(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func cut(t testing.TB, inputs []Input, from, until time.Time, opts Options) (Result, []byte, *Movie) {
	t.Helper()
	var out bytes.Buffer
	res, err := Cut(t.Context(), &out, inputs, from, until, opts)
	if err != nil {
		t.Fatal(err)
	}
	m, err := probe(out.Bytes())
	if err != nil {
		t.Fatalf("the clip cannot be read: %v", err)
	}
	if len(m.samples) != res.Frames || m.Truncated || m.HasAudio || m.Fragmented || !m.Created.IsZero() {
		t.Fatalf("the clip says %+v, Cut said %+v", m, res)
	}
	if keys := keyframes(m); !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
		t.Fatalf("keyframes at %v", keys)
	}
	if res.From.Location() != time.UTC || res.Until.Location() != time.UTC {
		t.Fatal("times are not in UTC")
	}
	return res, out.Bytes(), m
}

// pictures are the frames of a file, as bytes, with their times from the first one shown.
type picture struct {
	at  time.Duration
	sum [32]byte
}

func pictures(b []byte, m *Movie) []picture {
	var list []picture
	for i := range m.samples {
		s := &m.samples[i]
		list = append(list, picture{m.at(s.pts()), sha256.Sum256(b[s.off : s.off+int64(s.size)])})
	}
	return list
}

func TestASpanOfOneRecording(t *testing.T) {
	for _, name := range []string{"progressive.mp4", "simple.mp4", "fragmented.mp4", "sound.mp4", "soundfragments.mp4", "negative.mp4", "h265.mp4"} {
		t.Run(name, func(t *testing.T) {
			res, out, m := cut(t, []Input{{Path: fixture(name), Start: noon}}, after(2.7), after(5), Options{})
			if res.From != after(2) || res.LeadIn != 700*time.Millisecond || res.Until.Before(after(5)) || res.Until.After(after(5.9)) {
				t.Errorf("%v to %v, lead-in %v", res.From, res.Until, res.LeadIn)
			}
			if len(res.Gaps) != 0 || !slices.Equal(res.Inputs, []int{0}) || res.AudioRemoved != strings.HasPrefix(name, "sound") {
				t.Errorf("%+v", res)
			}
			// The frames are the recording's, byte for byte and in place.
			all := read(t, name)
			whole, err := probe(all)
			if err != nil {
				t.Fatal(err)
			}
			want, got := pictures(all, whole), pictures(out, m)
			start := slices.IndexFunc(want, func(p picture) bool { return p.at == 2*time.Second })
			lead := 0
			for i, p := range got {
				for want[start+i+lead].at < 2*time.Second {
					lead++ // shown before the keyframe, and so left out
				}
				if q := want[start+i+lead]; p.sum != q.sum || p.at != q.at-2*time.Second {
					t.Fatalf("frame %d at %v is not the recording's at %v", i, p.at, q.at)
				}
			}
			for _, q := range want {
				if q.at >= 2*time.Second && q.at < 5*time.Second && !slices.ContainsFunc(got, func(p picture) bool { return p.sum == q.sum }) {
					t.Errorf("the frame at %v is missing", q.at)
				}
			}
			if kind := string(out[4:8]); kind != "ftyp" || at(t, out, "moov") > at(t, out, "mdat") {
				t.Error("the index does not come first")
			}
		})
	}
}

func TestNothingOfTheContainerLeaves(t *testing.T) {
	b := read(t, "simple.mp4") // and its sample entry is made to name the camera
	entry := at(t, b, "moov/trak/mdia/minf/stbl/stsd") + 16
	copy(b[entry+8+42:], "\x0bDriveway 12")
	path := filepath.Join(t.TempDir(), "in.mp4")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, _ := cut(t, []Input{{Path: path, Start: noon}}, noon, after(5), Options{})
	head := out[:at(t, out, "mdat")]
	for _, word := range []string{"Driveway", "Lavf", "Lavc", "VideoHandler", "udta"} {
		if bytes.Contains(head, []byte(word)) {
			t.Errorf("the clip's boxes say %q", word)
		}
	}
	again := bytes.Buffer{}
	if _, err := Cut(t.Context(), &again, []Input{{Path: path, Start: noon}}, noon, after(5), Options{}); err != nil || !bytes.Equal(out, again.Bytes()) {
		t.Error("the same cut gave other bytes")
	}
}

func TestConsecutiveRecordings(t *testing.T) {
	p, h, f := fixture("progressive.mp4"), fixture("h265.mp4"), fixture("fragmented.mp4")
	gap := func(a, b float64) []Gap { return []Gap{{after(a), after(b)}} }
	for _, c := range []struct {
		name        string
		inputs      []Input
		from, until float64
		slack       time.Duration
		first, end  float64
		frames      int
		gaps        []Gap
		used        []int
	}{
		{"end to end", []Input{{Path: p, Start: noon}, {Path: f, Start: after(10)}}, 5, 15, 0, 4, 15.2, 56, nil, []int{0, 1}},
		{"in any order", []Input{{Path: f, Start: after(10)}, {Path: p, Start: noon}}, 5, 15, 0, 4, 15.2, 56, nil, []int{1, 0}},
		{"a hole of seven seconds", []Input{{Path: p, Start: noon}, {Path: p, Start: after(17)}}, 8, 19, 0, 8, 19.2, 21, gap(10, 17), []int{0, 1}},
		{"a hole of less than 1.5 frames", []Input{{Path: p, Start: noon}, {Path: p, Start: after(10.25)}}, 8, 12.25, 0, 8, 12.25, 20, nil, []int{0, 1}},
		{"a hole of two frames", []Input{{Path: p, Start: noon}, {Path: p, Start: after(10.4)}}, 8, 12.4, 0, 8, 12.4, 20, gap(10, 10.4), []int{0, 1}},
		{"names in whole seconds, early", []Input{{Path: p, Start: noon}, {Path: p, Start: after(9)}}, 8, 12, time.Second, 8, 12, 20, nil, []int{0, 1}},
		{"names in whole seconds, late", []Input{{Path: p, Start: noon}, {Path: p, Start: after(11)}}, 8, 12, time.Second, 8, 12, 20, nil, []int{0, 1}},
		{"an overlap of four seconds", []Input{{Path: h, Start: noon}, {Path: h, Start: after(2)}}, 0, 8, 0, 0, 8, 40, nil, []int{0, 1}},
		{"the same recording twice", []Input{{Path: p, Start: noon}, {Path: p, Start: noon}}, 0, 10, 0, 0, 10, 50, nil, []int{0}},
		{"one inside another", []Input{{Path: p, Start: noon}, {Path: h, Start: after(2)}}, 0, 10, 0, 0, 10, 50, nil, []int{0}},
		{"the later one covers the start", []Input{{Path: p, Start: noon}, {Path: p, Start: after(5)}}, 7.5, 9, 0, 7, 9.2, 11, nil, []int{1}},
		{"asked before the first", []Input{{Path: p, Start: noon}}, -60, 2, 0, 0, 2, 10, nil, []int{0}},
		{"asked beyond the last", []Input{{Path: p, Start: noon}}, 8, 99, 0, 8, 10, 10, nil, []int{0}},
		{"others far away", []Input{{Path: "testdata/absent.mp4", Start: after(30)}, {Path: p, Start: noon}}, 8, 30, 0, 8, 10, 10, nil, []int{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, _, m := cut(t, c.inputs, after(c.from), after(c.until), Options{Slack: c.slack})
			if res.From != after(c.first) || res.Until.Sub(after(c.end)).Abs() > 500*time.Millisecond && res.Until != after(c.end) {
				t.Errorf("from %v to %v, want %v to %v", res.From, res.Until, after(c.first), after(c.end))
			}
			if res.Frames < c.frames-1 || res.Frames > c.frames+2 || !slices.Equal(res.Gaps, c.gaps) || !slices.Equal(res.Inputs, c.used) {
				t.Errorf("%d frames, gaps %v, inputs %v; want %d, %v, %v", res.Frames, res.Gaps, res.Inputs, c.frames, c.gaps, c.used)
			}
			if want := res.Until.Sub(res.From); (m.Duration - want).Abs() > time.Millisecond {
				t.Errorf("the clip lasts %v, its real span is %v", m.Duration, want)
			}
			// No moment twice, and none out of order: showing times are all different.
			var shown []time.Duration
			for i := range m.samples {
				shown = append(shown, m.at(m.samples[i].pts()))
			}
			slices.Sort(shown)
			for i := 1; i < len(shown); i++ {
				if shown[i]-shown[i-1] < 100*time.Millisecond {
					t.Errorf("frames at %v and %v", shown[i-1], shown[i])
				}
			}
		})
	}
}

func TestParameterSetsMayChange(t *testing.T) {
	_, _, m := cut(t, []Input{{Path: fixture("simple.mp4"), Start: noon}, {Path: fixture("othersets.mp4"), Start: after(10)}, {Path: fixture("simple.mp4"), Start: after(14)}}, noon, after(24), Options{})
	if len(m.entries) != 2 || len(m.samples) != 120 {
		t.Fatalf("%d sample entries, %d frames", len(m.entries), len(m.samples))
	}
	if m.samples[49].desc != 0 || m.samples[50].desc != 1 || m.samples[69].desc != 1 || m.samples[70].desc != 0 {
		t.Error("frames point at the wrong parameter sets")
	}
}

func TestCodecMayNotChange(t *testing.T) {
	_, err := Cut(t.Context(), io.Discard, []Input{{Path: fixture("simple.mp4"), Start: noon}, {Path: fixture("h265.mp4"), Start: after(10)}}, noon, after(15), Options{})
	var mix *MixError
	if !errors.As(err, &mix) || mix.A != fixture("simple.mp4") || mix.B != fixture("h265.mp4") || !strings.Contains(err.Error(), "codec (avc1 and hvc1)") {
		t.Fatal(err)
	}
}

func TestAHoleInsideAFragmentedRecording(t *testing.T) {
	b := read(t, "fragmented.mp4")
	// Every fragment from the third on comes 30 s later.
	for off, n := 0, 0; off < len(b); n++ {
		i := bytes.Index(b[off:], []byte("tfdt"))
		if i < 0 {
			break
		}
		off += i + 4
		if n >= 2 {
			b[off+9] += 4 // 4 << 16 ticks of a 64-bit time, 25.6 s
		}
	}
	path := filepath.Join(t.TempDir(), "in.mp4")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	res, _, m := cut(t, []Input{{Path: path, Start: noon}}, noon, after(99), Options{})
	if want := []Gap{{after(4), after(29.6)}}; !slices.Equal(res.Gaps, want) || m.Duration != 35600*time.Millisecond {
		t.Fatalf("gaps %v in %v", res.Gaps, m.Duration)
	}
}

func TestARefusedCut(t *testing.T) {
	torn := filepath.Join(t.TempDir(), "torn.mp4")
	if err := os.WriteFile(torn, read(t, "progressive.mp4")[:9000], 0o600); err != nil {
		t.Fatal(err)
	}
	good := Input{Path: fixture("simple.mp4"), Start: noon}
	for _, c := range []struct {
		name        string
		inputs      []Input
		from, until float64
		kind        error
		says        string
	}{
		{"nothing given", nil, 0, 1, ErrNothing, "12:00:00Z to 2026"},
		{"nothing there", []Input{good}, 100, 200, ErrNothing, "1 recordings"},
		{"backwards", []Input{good}, 5, 5, ErrNothing, "before it starts"},
		{"torn", []Input{good, {Path: torn, Start: after(10)}}, 0, 20, ErrTruncated, torn + ": mdat box at byte"},
		{"absent", []Input{{Path: "testdata/absent.mp4", Start: noon}}, 0, 20, ErrGone, "absent.mp4"},
		{"a folder", []Input{{Path: "testdata", Start: noon}}, 0, 20, ErrNotMP4, "no ordinary file"},
	} {
		_, err := Cut(t.Context(), io.Discard, c.inputs, after(c.from), after(c.until), Options{})
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Cut(ctx, io.Discard, []Input{good}, noon, after(5), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if _, err := Cut(t.Context(), full{}, []Input{good}, noon, after(5), Options{}); !errors.Is(err, errFull) {
		t.Errorf("full disk: %v", err)
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestAClipOverFourGiB checks the index only: the media is never in memory, and not in the test either.
func TestAClipOverFourGiB(t *testing.T) {
	m, err := probe(read(t, "simple.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.samples {
		m.samples[i].size = 200 << 20
	}
	r := &run{movie: m, samples: m.samples, end: 10 * time.Second}
	p := &plan{from: noon, until: after(10), runs: []*run{r}, frames: len(m.samples)}
	b, err := p.head()
	if err != nil {
		t.Fatal(err)
	}
	const media = 50 * (200 << 20)
	again, err := Probe(sparse{b}, int64(len(b))+media)
	if err != nil {
		t.Fatal(err)
	}
	at(t, b, "moov/trak/mdia/minf/stbl/co64")
	if last := again.samples[49]; again.Truncated || len(again.samples) != 50 || last.off != int64(len(b))+media-(200<<20) {
		t.Fatalf("%d frames, the last at %d", len(again.samples), last.off)
	}
}

// sparse is a file of zeros after its head.
type sparse struct{ head []byte }

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(s.head)) {
		copy(p, s.head[off:])
	}
	return len(p), nil
}

func TestAHoleOfManyHours(t *testing.T) {
	p := fixture("simple.mp4")
	res, _, m := cut(t, []Input{{Path: p, Start: noon}, {Path: p, Start: after(60 * 3600)}}, noon, after(99*3600), Options{})
	if want := 60*time.Hour + 10*time.Second; m.Duration != want || len(res.Gaps) != 1 {
		t.Fatalf("%v, gaps %v", m.Duration, res.Gaps)
	}
}

func BenchmarkCut(b *testing.B) {
	for _, name := range []string{"progressive.mp4", "fragmented.mp4"} {
		b.Run(name, func(b *testing.B) {
			in := []Input{{Path: fixture(name), Start: noon}, {Path: fixture(name), Start: after(10)}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Cut(b.Context(), io.Discard, in, after(3), after(17), Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
