package clip

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAnotherPlayerAgrees lets ffmpeg decode clips to the end: it must not complain, must show every
// frame, and must agree about the length.
func TestAnotherPlayerAgrees(t *testing.T) {
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: %v", tool, err)
		}
	}
	seconds := map[string]float64{"progressive.mp4": 10, "simple.mp4": 10, "fragmented.mp4": 10, "sound.mp4": 6, "soundfragments.mp4": 6, "negative.mp4": 6, "h265.mp4": 6, "othersets.mp4": 4}
	check := func(t *testing.T, inputs []Input, from, until time.Time) {
		res, b, _ := cut(t, inputs, from, until, Options{})
		path := filepath.Join(t.TempDir(), "clip.mp4")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "warning", "-threads", "1", "-i", path, "-f", "null", "-").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("ffmpeg says: %s (%v)", out, err)
		}
		out, err = exec.CommandContext(t.Context(), "ffprobe", "-v", "warning", "-count_frames", "-show_entries", "stream=nb_read_frames:format=duration", "-of", "default=nw=1:nk=1", path).CombinedOutput()
		if err != nil {
			t.Fatalf("ffprobe: %s (%v)", out, err)
		}
		lines := strings.Fields(string(out))
		if len(lines) != 2 || lines[0] != strconv.Itoa(res.Frames) {
			t.Fatalf("ffprobe shows %q, the clip has %d frames", lines, res.Frames)
		}
		if d, err := strconv.ParseFloat(lines[1], 64); err != nil || d-res.Until.Sub(res.From).Seconds() > 0.01 || d-res.Until.Sub(res.From).Seconds() < -0.01 {
			t.Errorf("ffprobe says %s s, Cut says %v", lines[1], res.Until.Sub(res.From))
		}
	}
	for name, s := range seconds {
		p := fixture(name)
		t.Run(name, func(t *testing.T) { check(t, []Input{{Path: p, Start: noon}}, after(2.5), after(s-0.9)) })
		t.Run(name+" consecutive", func(t *testing.T) {
			check(t, []Input{{Path: p, Start: noon}, {Path: p, Start: after(s)}, {Path: p, Start: after(2 * s)}}, after(2.5), after(2*s+2.3))
		})
		t.Run(name+" with a hole", func(t *testing.T) {
			check(t, []Input{{Path: p, Start: noon}, {Path: p, Start: after(s + 60)}}, after(2.5), after(s+63))
		})
		t.Run(name+" overlapping", func(t *testing.T) {
			check(t, []Input{{Path: p, Start: noon}, {Path: p, Start: after(s - 2.1)}}, noon, after(2*s))
		})
	}
	t.Run("B-frames after none", func(t *testing.T) {
		check(t, []Input{{Path: fixture("negative.mp4"), Start: noon}, {Path: fixture("progressive.mp4"), Start: after(6)}, {Path: fixture("fragmented.mp4"), Start: after(16)}}, noon, after(26))
	})
	// ffmpeg's parser, which only labels frames, complains about second parameter sets that share a number
	// with the first; its decoder shows every frame as it was recorded, and that is what counts.
	t.Run("other parameter sets", func(t *testing.T) {
		names := []string{"simple.mp4", "othersets.mp4", "sound.mp4"}
		var inputs []Input
		var want []string
		start := noon
		for _, name := range names {
			inputs = append(inputs, Input{Path: fixture(name), Start: start})
			start = start.Add(time.Duration(seconds[name]) * time.Second)
			want = append(want, decoded(t, fixture(name))...)
		}
		_, b, _ := cut(t, inputs, noon, start, Options{})
		path := filepath.Join(t.TempDir(), "clip.mp4")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := decoded(t, path); len(got) != 100 || !slices.Equal(got, want) {
			t.Errorf("%d pictures, not the %d recorded ones", len(got), len(want))
		}
	})
}

// decoded gives the hash of each picture as ffmpeg shows it.
func decoded(t *testing.T, path string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "quiet", "-threads", "1", "-i", path, "-map", "0:v", "-f", "framemd5", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	var sums []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			sums = append(sums, strings.TrimSpace(line[strings.LastIndex(line, ",")+1:]))
		}
	}
	return sums
}
