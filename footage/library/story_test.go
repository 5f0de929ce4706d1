package library

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
)

// gop is the time between keyframes of cliptest's recordings.
const gop = 2 * time.Second

// record writes a recording of so many seconds, last written when it ends.
func (h *home) record(rel string, ends time.Time, seconds int) {
	h.Helper()
	path := cliptest.Recording(h.T, h.folder, rel, seconds)
	if err := os.Chtimes(path, ends, ends); err != nil {
		h.Fatal(err)
	}
}

// cut makes the clip of a span, as a home does, and holds it against what is promised of every clip: it has the asked
// span wherever there is footage, at most one GOP before it, and no moment twice or out of order.
func (h *home) cut(from, until time.Time) clip.Result {
	h.Helper()
	recs := h.find(front, from, until)
	var inputs []clip.Input
	for _, r := range recs {
		inputs = append(inputs, r.Input())
	}
	var out bytes.Buffer
	res, err := clip.Cut(h.ctx, &out, inputs, from, until, clip.Options{Slack: time.Second})
	if err != nil {
		h.Fatal(err)
	}
	m, err := clip.Probe(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		h.Fatal(err)
	}
	if (m.Duration - res.Until.Sub(res.From)).Abs() > 10*time.Millisecond {
		h.Errorf("the clip lasts %v, its real span is %v to %v", m.Duration, res.From, res.Until)
	}
	if res.LeadIn < 0 || res.LeadIn >= gop || res.LeadIn > 0 && !res.From.Equal(from.Add(-res.LeadIn)) {
		h.Errorf("from %v, asked from %v, lead-in %v", res.From, from, res.LeadIn)
	}
	for at := from; at.Before(until); at = at.Add(time.Second) {
		covered := slices.ContainsFunc(recs, func(r Recording) bool { return !at.Before(r.Start) && at.Before(r.End()) })
		gap := slices.ContainsFunc(res.Gaps, func(g clip.Gap) bool { return !at.Before(g.From) && at.Before(g.Until) })
		shown := !at.Before(res.From) && at.Before(res.Until) && !gap
		if covered && !shown || !covered && shown {
			h.Errorf("at %v there is footage: %v, and in the clip: %v (gaps %v)", at, covered, shown, res.Gaps)
		}
	}
	h.decode(out.Bytes(), res)
	return res
}

// decode lets ffmpeg show the clip, where there is one: every frame, each later than the one before.
func (h *home) decode(film []byte, res clip.Result) {
	h.Helper()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		h.Log("not decoded: ffprobe is not installed")
		return
	}
	path := filepath.Join(h.TempDir(), "clip.mp4")
	if err := os.WriteFile(path, film, 0o600); err != nil {
		h.Fatal(err)
	}
	out, err := exec.CommandContext(h.ctx, "ffprobe", "-v", "warning", "-threads", "1", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0", path).CombinedOutput()
	if err != nil {
		h.Fatalf("ffprobe: %v %s", err, out)
	}
	last, n := -1.0, 0
	for _, field := range strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' || r == ',' }) {
		at, err := strconv.ParseFloat(field, 64)
		if err != nil || at <= last {
			h.Fatalf("frame %d: %q after %v", n, field, last)
		}
		last, n = at, n+1
	}
	if n != res.Frames {
		h.Errorf("%d of %d frames are shown", n, res.Frames)
	}
}

func at(clock string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", clock)
	if err != nil {
		panic(err)
	}
	return t
}

func TestAClipOverThreeFiles(t *testing.T) {
	h := newHome(t)
	for i, name := range []string{"20261122_190000", "20261122_190010", "20261122_190020", "20261122_190030"} {
		h.record(name+".mp4", start.Add(time.Duration(10*i+10)*time.Second), 10)
	}
	h.settle()
	res := h.cut(at("2026-11-22 19:00:05"), at("2026-11-22 19:00:25"))
	if len(res.Inputs) != 3 || len(res.Gaps) != 0 || len(res.Overlaps) != 0 || res.LeadIn != time.Second {
		t.Errorf("%+v", res)
	}
}

func TestAClipOverAGapNamesIt(t *testing.T) {
	h := newHome(t)
	h.record("20261122_190000.mp4", at("2026-11-22 19:00:10"), 10)
	h.record("20261122_190047.mp4", at("2026-11-22 19:00:57"), 10)
	h.settle()
	res := h.cut(at("2026-11-22 19:00:04"), at("2026-11-22 19:00:50"))
	if want := []clip.Gap{{From: at("2026-11-22 19:00:10"), Until: at("2026-11-22 19:00:47")}}; !slices.Equal(res.Gaps, want) {
		t.Errorf("gaps %v", res.Gaps)
	}
}

func TestAClipOverMidnight(t *testing.T) {
	h := newHome(t, Camera{ID: front, TimeZone: "Europe/Berlin"})
	h.record("2026-11-22/23.59.50.mp4", at("2026-11-22 23:00:00"), 10)
	h.record("2026-11-23/00.00.00.mp4", at("2026-11-22 23:00:10"), 10)
	h.settle()
	res := h.cut(at("2026-11-22 22:59:53"), at("2026-11-22 23:00:06"))
	if len(res.Inputs) != 2 || len(res.Gaps) != 0 {
		t.Errorf("%+v", res)
	}
}

// When clocks go back the names of one hour come twice; the time at which the files were written tells
// which hour they are of.
func TestAClipInTheHourThatComesTwice(t *testing.T) {
	h := newHome(t, Camera{ID: front, TimeZone: "Europe/Berlin"})
	h.record("a/20261025_025950.mp4", at("2026-10-25 01:00:00"), 10) // summer time, UTC+2
	h.record("b/20261025_020000.mp4", at("2026-10-25 01:00:10"), 10) // an hour back, UTC+1
	h.record("b/20261025_025950.mp4", at("2026-10-25 02:00:00"), 10)
	h.record("b/20261025_030000.mp4", at("2026-10-25 02:00:10"), 10)
	h.record("copied/20261025_023000.mp4", at("2026-11-01 12:00:00"), 10)
	h.settle()
	recs := h.expect(front, "copied/20261025_023000.mp4 2026-10-25T00:30:00Z", "a/20261025_025950.mp4 2026-10-25T00:59:50Z", "b/20261025_020000.mp4 2026-10-25T01:00:00Z",
		"b/20261025_025950.mp4 2026-10-25T01:59:50Z", "b/20261025_030000.mp4 2026-10-25T02:00:00Z")
	for i, ambiguous := range []bool{true, true, true, true, false} {
		if recs[i].Ambiguous != ambiguous {
			t.Errorf("%+v", recs[i])
		}
	}
	for _, hour := range []string{"01", "02"} {
		end := at("2026-10-25 " + hour + ":00:00")
		if res := h.cut(end.Add(-7*time.Second), end.Add(6*time.Second)); len(res.Inputs) != 2 || len(res.Gaps) != 0 || len(res.Overlaps) != 0 {
			t.Errorf("around %v: %+v", end, res)
		}
	}
}

func TestAClipOverTheHourThatNeverComes(t *testing.T) {
	h := newHome(t, Camera{ID: front, TimeZone: "Europe/Berlin"})
	h.record("20260329_015950.mp4", at("2026-03-29 01:00:00"), 10)
	h.record("20260329_030000.mp4", at("2026-03-29 01:00:10"), 10)
	h.settle()
	if res := h.cut(at("2026-03-29 00:59:54"), at("2026-03-29 01:00:04")); len(res.Inputs) != 2 || len(res.Gaps) != 0 {
		t.Errorf("%+v", res)
	}
	t.Log("A recorder that does not know of summer time goes on as before, and its names are marked.")
	h.record("20260329_023000.mp4", at("2026-03-29 01:30:10"), 10)
	h.settle()
	if recs := h.find(front, at("2026-03-29 01:30:00"), at("2026-03-29 01:30:01")); len(recs) != 1 || !recs[0].Ambiguous {
		t.Errorf("%+v", recs)
	}
}

func TestARecorderWhoseClockWasSetForward(t *testing.T) {
	h := newHome(t)
	h.record("20261122_190000.mp4", at("2026-11-22 19:00:10"), 10)
	h.record("20261122_190510.mp4", at("2026-11-22 19:05:20"), 10) // five minutes that never were
	h.settle()
	res := h.cut(at("2026-11-22 19:00:00"), at("2026-11-22 19:05:20"))
	if want := []clip.Gap{{From: at("2026-11-22 19:00:10"), Until: at("2026-11-22 19:05:10")}}; !slices.Equal(res.Gaps, want) || len(res.Overlaps) != 0 {
		t.Errorf("%+v", res)
	}
}

// A clock that was set back makes two recordings claim the same time. The clip shows the later file there, whose
// clock is the corrected one, and says what it leaves out.
func TestARecorderWhoseClockWasSetBack(t *testing.T) {
	h := newHome(t)
	h.record("20261122_190000.mp4", at("2026-11-22 19:00:20"), 20)
	h.record("20261122_190012.mp4", at("2026-11-22 19:00:32"), 20) // eight seconds back
	h.record("20261122_190032.mp4", at("2026-11-22 19:00:42"), 10)
	h.settle()
	res := h.cut(at("2026-11-22 19:00:03"), at("2026-11-22 19:00:40"))
	want := []clip.Overlap{{From: at("2026-11-22 19:00:12"), Until: at("2026-11-22 19:00:20"), Shown: 1}}
	if !slices.Equal(res.Overlaps, want) || len(res.Gaps) != 0 || !slices.Equal(res.Inputs, []int{0, 1, 2}) {
		t.Errorf("%+v", res)
	}

	t.Log("Set back so far that the new file lies inside the old one.")
	h.record("20261122_190002.mp4", at("2026-11-22 19:00:42"), 4)
	h.settle()
	res = h.cut(at("2026-11-22 19:00:00"), at("2026-11-22 19:00:10"))
	if want := []clip.Overlap{{From: at("2026-11-22 19:00:02"), Until: at("2026-11-22 19:00:06"), Shown: 0}}; !slices.Equal(res.Overlaps, want) || len(res.Inputs) != 1 {
		t.Errorf("%+v", res)
	}

	t.Log("And a clip that begins after the jump shows the later file from its asked start.")
	res = h.cut(at("2026-11-22 19:00:15"), at("2026-11-22 19:00:30"))
	if want := []clip.Overlap{{From: at("2026-11-22 19:00:14"), Until: at("2026-11-22 19:00:20"), Shown: 1}}; !slices.Equal(res.Overlaps, want) {
		t.Errorf("%+v", res)
	}
}

func TestTwoFilesOfTheSameTime(t *testing.T) {
	h := newHome(t)
	h.record("main/20261122_190000.mp4", at("2026-11-22 19:00:10"), 10)
	h.record("sub/20261122_190000.mp4", at("2026-11-22 19:00:10"), 10)
	h.settle()
	res := h.cut(at("2026-11-22 19:00:00"), at("2026-11-22 19:00:10"))
	want := []clip.Overlap{{From: at("2026-11-22 19:00:00"), Until: at("2026-11-22 19:00:10"), Shown: 0}}
	if res.Frames != 50 || len(res.Inputs) != 1 || !slices.Equal(res.Overlaps, want) {
		t.Errorf("%+v", res)
	}
}

func TestZeroByteAndHalfWrittenFilesAreNoFootage(t *testing.T) {
	h := newHome(t)
	h.record("20261122_190000.mp4", at("2026-11-22 19:00:10"), 10)
	h.write("20261122_190010.mp4", nil)
	whole, err := os.ReadFile(cliptest.Recording(t, t.TempDir(), "x.mp4", 10))
	if err != nil {
		t.Fatal(err)
	}
	fragmented, err := os.ReadFile("testdata/fragmented.mp4")
	if err != nil {
		t.Fatal(err)
	}
	h.write("20261122_190020.mp4", whole[:600])                       // no index yet
	h.write("20261122_190030.mp4", fragmented[:len(fragmented)-1500]) // a part of it is usable
	if r := h.settle(); r.Added != 1 || r.Waiting != 3 {
		t.Fatalf("%+v", r)
	}
	if res := h.cut(at("2026-11-22 19:00:00"), at("2026-11-22 19:00:40")); len(res.Inputs) != 1 || !res.Until.Equal(at("2026-11-22 19:00:10")) {
		t.Errorf("%+v", res)
	}
	t.Log("After ten minutes what does not change any more is damaged, or a recording without its end.")
	h.now = h.now.Add(damagedAfter)
	if r := h.poll(); r.Damaged != 3 || r.Added != 1 || r.Waiting != 0 {
		t.Fatalf("%+v", r)
	}
	if bad, err := h.lib.Damaged(h.ctx); err != nil || len(bad) != 2 {
		t.Errorf("%+v, %v", bad, err)
	}
	t.Log("The recorder finishes its file after all.")
	h.write("20261122_190020.mp4", whole)
	h.settle()
	h.cut(at("2026-11-22 19:00:00"), at("2026-11-22 19:00:30"))
}

// A file that is written to after it was indexed is neither cut nor taken for what it was.
func TestRewrittenInPlaceAfterIndexing(t *testing.T) {
	written := at("2026-11-22 19:00:10")
	for name, c := range map[string]struct {
		seconds int
		mtime   time.Time
	}{
		"same size, another time": {10, written.Add(time.Hour)},
		"another size, same time": {12, written},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			h.record("20261122_190000.mp4", written, 10)
			h.settle()
			rec := h.expect(front, "20261122_190000.mp4 2026-11-22T19:00:00Z")[0]
			h.record("20261122_190000.mp4", c.mtime, c.seconds)
			_, err := clip.Cut(h.ctx, io.Discard, []clip.Input{rec.Input()}, rec.Start, rec.End(), clip.Options{})
			if !errors.Is(err, clip.ErrChanged) || !strings.Contains(err.Error(), rec.Path) {
				t.Errorf("cut before it was looked at again: %v", err)
			}
			if r := h.settle(); r.Added != 1 {
				t.Errorf("not indexed anew: %+v", r)
			}
			if again := h.expect(front, "20261122_190000.mp4 2026-11-22T19:00:00Z")[0]; again.Duration != time.Duration(c.seconds)*time.Second {
				t.Errorf("%+v", again)
			}
			h.cut(rec.Start, rec.End())
		})
	}
}

func TestAFileThatVanishesBetweenPlanningAndCutting(t *testing.T) {
	h := newHome(t)
	h.record("20261122_190000.mp4", at("2026-11-22 19:00:10"), 10)
	h.settle()
	rec := h.expect(front, "20261122_190000.mp4 2026-11-22T19:00:00Z")[0]
	t.Log("The recorder rolls it off.")
	h.remove("20261122_190000.mp4")
	_, err := clip.Cut(h.ctx, io.Discard, []clip.Input{rec.Input()}, rec.Start, rec.End(), clip.Options{})
	var which *clip.InputError
	if !errors.Is(err, clip.ErrGone) || !errors.As(err, &which) || which.Path != rec.Path {
		t.Errorf("%v", err)
	}
}

// TestIndexingResumes stops the reading of some thousand files half-way, and counts what the next run reads.
func TestIndexingResumes(t *testing.T) {
	const files, stop = 3000, 1700
	h := newHome(t)
	for i := range files {
		name := start.Add(time.Duration(i)*10*time.Second).Format("20060102_150405") + ".mp4"
		if i == 0 {
			h.write("many/"+name, h.movie)
		} else if err := os.Link(h.path("many/20261122_190000.mp4"), h.path("many/"+name)); err != nil {
			t.Skip("no hard links here:", err)
		}
	}
	read := 0
	counting := func(after int, do func()) {
		h.lib.probe = func(r io.ReaderAt, size int64) (*clip.Movie, error) {
			if read++; read == after {
				do()
			}
			return clip.Probe(r, size)
		}
	}
	h.poll()
	ctx, cancel := context.WithCancel(h.ctx)
	counting(stop, cancel)
	h.now = h.now.Add(10 * time.Second)
	if _, err := h.lib.Poll(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := len(h.find(front, start, start.Add(files*10*time.Second))); read != stop || n != stop {
		t.Fatalf("%d files were read until the stop, %d are in the index", read, n)
	}

	t.Log("The node starts anew.")
	h.restart(func() {})
	read = 0
	counting(0, nil)
	h.poll()
	if r := h.poll(); r.Added != files-stop || read != files-stop {
		t.Errorf("%d files were read again, and %+v", read, r)
	}
	read = 0
	h.poll()
	if n := len(h.find(front, start, start.Add(files*10*time.Second))); read != 0 || n != files {
		t.Errorf("%d files were read that had not changed; %d are in the index", read, n)
	}
}

func TestACameraWithAPatternOfItsOwn(t *testing.T) {
	h := newHome(t, Camera{ID: front, TimeZone: "Europe/Berlin", Pattern: "%d.%m.%Y/clip %-I-%M-%S %p *"})
	h.write("22.11.2026/clip 7-04-05 PM a.mp4", h.movie)
	h.write("22.11.2026/20261122_190505.mp4", h.movie) // not of the pattern: what the movie says
	h.settle()
	recs := h.expect(front, "22.11.2026/20261122_190505.mp4 2026-11-22T18:00:00Z", "22.11.2026/clip 7-04-05 PM a.mp4 2026-11-22T18:04:05Z")
	if recs[0].StartFrom != "mvhd" || recs[1].StartFrom != "name" {
		t.Errorf("%+v", recs)
	}

	t.Log("Before a camera is added, its owner looks what would be made of the folder.")
	tried, err := Try(h.ctx, Camera{ID: "new", Folder: h.folder, TimeZone: "Europe/Berlin"}, 10)
	if err != nil || len(tried) != 2 || tried[0].Path != "22.11.2026/20261122_190505.mp4" || !tried[0].Start.Equal(at("2026-11-22 18:05:05")) || tried[1].StartFrom != "mvhd" {
		t.Errorf("%+v, %v", tried, err)
	}
	if tried, err = Try(h.ctx, Camera{ID: "new", Folder: h.folder}, 1); err != nil || len(tried) != 1 {
		t.Errorf("%+v, %v", tried, err)
	}
	if _, err := Try(h.ctx, Camera{ID: "new", Folder: h.folder, Pattern: "%Q%Q%"}, 1); err == nil || !strings.Contains(err.Error(), "position 5") {
		t.Error(err)
	}

	t.Log("Another pattern is another camera.")
	if err := h.lib.SetCameras(h.ctx, []Camera{{ID: front, Folder: h.folder}}); err != nil {
		t.Fatal(err)
	}
	h.settle()
	h.expect(front, "22.11.2026/clip 7-04-05 PM a.mp4 2026-11-22T18:00:00Z", "22.11.2026/20261122_190505.mp4 2026-11-22T19:05:05Z")
}

func TestSummariesAndSeveralCameras(t *testing.T) {
	h := newHome(t, Camera{ID: front, Layout: LayoutFrigate}, Camera{ID: "yard", Layout: LayoutFrigate}, Camera{ID: "side", Layout: LayoutPlain, TimeZone: "Europe/Berlin"})
	h.write("2026-11-22/19/front/04.05.mp4", h.movie)
	h.write("2026-11-22/19/yard/04.05.mp4", h.movie)
	h.write("2026-11-22/19/yard/04.15.mp4", h.movie)
	h.write("20261025_023000.mp4", h.movie)
	h.write("made.mp4", h.movie)
	h.settle()
	if _, err := h.lib.Protect(h.ctx, "req-1", start, h.find("yard", start, start.Add(time.Hour))[:1], 1<<30); err != nil {
		t.Fatal(err)
	}
	sums, err := h.lib.Summaries(h.ctx)
	if err != nil || len(sums) != 3 || sums["yard"].From != "path" || sums["yard"].Recordings != 2 || sums["side"].From != "mvhd" {
		t.Fatal(sums, err)
	}
	recs, err := h.lib.OverlappingAny(h.ctx, []CameraID{"yard", front, "yard"}, start, start.Add(time.Hour))
	if err != nil || len(recs) != 3 || recs[0].Camera != "yard" || recs[0].Hold != "req-1" || recs[1].Camera != "yard" || recs[2].Camera != front {
		t.Errorf("%+v, %v", recs, err)
	}
	if recs, err := h.lib.OverlappingAny(h.ctx, nil, start, start.Add(time.Hour)); err != nil || len(recs) != 0 {
		t.Errorf("%+v, %v", recs, err)
	}
	if _, err := h.lib.OverlappingAny(h.ctx, []CameraID{front, "cellar"}, start, start); err == nil {
		t.Error("a camera that nobody configured has recordings")
	}
}
