package library

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// home is a household in a test: a folder that a recorder writes to, a clock, a library.
type home struct {
	*testing.T
	ctx    context.Context
	folder string
	index  string
	now    time.Time
	lib    *Library
	movie  []byte // ten seconds, created at 2026-11-22T18:00:00Z
}

const front = CameraID("front")

var start = time.Date(2026, 11, 22, 19, 0, 0, 0, time.UTC)

func newHome(t *testing.T, cameras ...Camera) *home {
	t.Helper()
	movie, err := os.ReadFile("testdata/ten.mp4")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h := &home{T: t, ctx: t.Context(), folder: filepath.Join(dir, "footage"), index: filepath.Join(dir, "index.db"), now: start, movie: movie}
	if err := os.Mkdir(h.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if len(cameras) == 0 {
		cameras = []Camera{{ID: front}}
	}
	for i := range cameras {
		if cameras[i].Folder == "" {
			cameras[i].Folder = h.folder
		}
	}
	h.open(cameras)
	t.Cleanup(func() { h.lib.Close() })
	return h
}

func (h *home) open(cameras []Camera) {
	h.Helper()
	lib, err := Open(h.ctx, Config{
		Index: h.index, Cameras: cameras, Now: func() time.Time { return h.now },
		Rand: rand.NewChaCha8([32]byte{1}), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		h.Fatal(err)
	}
	h.lib = lib
}

// restart closes the library and opens it again, after something was done to the index.
func (h *home) restart(between func()) {
	h.Helper()
	var cameras []Camera
	for _, f := range h.lib.folders {
		for _, c := range f.cameras() {
			cameras = append(cameras, c.Camera)
		}
	}
	if err := h.lib.Close(); err != nil {
		h.Fatal(err)
	}
	between()
	h.open(cameras)
}

func (h *home) path(rel string) string { return filepath.Join(h.folder, filepath.FromSlash(rel)) }

func (h *home) write(rel string, data []byte) {
	h.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(rel)), 0o755); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(h.path(rel), data, 0o644); err != nil {
		h.Fatal(err)
	}
}

func (h *home) remove(rel string) {
	h.Helper()
	if err := os.RemoveAll(h.path(rel)); err != nil {
		h.Fatal(err)
	}
}

// poll lets ten seconds pass and polls.
func (h *home) poll() Report {
	h.Helper()
	h.now = h.now.Add(10 * time.Second)
	r, err := h.lib.Poll(h.ctx)
	if err != nil {
		h.Fatal(err)
	}
	return r
}

// settle polls as often as a new file needs.
func (h *home) settle() Report {
	h.Helper()
	h.poll()
	return h.poll()
}

func (h *home) find(camera CameraID, from, until time.Time) []Recording {
	h.Helper()
	recs, err := h.lib.Overlapping(h.ctx, camera, from, until)
	if err != nil {
		h.Fatal(err)
	}
	return recs
}

// expect compares what there is of a camera, by path and start.
func (h *home) expect(camera CameraID, want ...string) []Recording {
	h.Helper()
	recs := h.find(camera, start.AddDate(-30, 0, 0), start.AddDate(30, 0, 0))
	var got []string
	for _, r := range recs {
		rel, err := filepath.Rel(h.folder, r.Path)
		if err != nil {
			h.Fatal(err)
		}
		got = append(got, filepath.ToSlash(rel)+" "+r.Start.Format(time.RFC3339))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		h.Fatalf("camera %s has\n%s\nwant\n%s", camera, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return recs
}

func state(t *testing.T, r Report, want string) FolderReport {
	t.Helper()
	if len(r.Folders) != 1 || r.Folders[0].State != want {
		t.Fatalf("folders %+v, want one that is %q", r.Folders, want)
	}
	if want != FolderOK && r.Folders[0].Reason == "" {
		t.Fatalf("no reason for %+v", r.Folders[0])
	}
	return r.Folders[0]
}

// created sets the creation time in a copy of the movie, zero for none.
func (h *home) created(at time.Time) []byte {
	h.Helper()
	movie := bytes.Clone(h.movie)
	i := bytes.Index(movie, []byte("mvhd"))
	if i < 0 || movie[i+4] != 0 {
		h.Fatal("the fixture has no mvhd of version 0")
	}
	var seconds uint32
	if !at.IsZero() {
		seconds = uint32(at.Unix() + 2082844800) // ISO 14496-12 counts from 1904
	}
	binary.BigEndian.PutUint32(movie[i+8:], seconds)
	return movie
}

func TestARecorderWritesAndTheFilmIsFound(t *testing.T) {
	h := newHome(t)
	h.write("2026-11-22/19.04.05.mp4", h.movie[:1000])
	if r := h.settle(); r.Added != 0 || r.Waiting != 1 || r.Damaged != 0 {
		t.Fatalf("half a file: %+v", r)
	}
	h.write("2026-11-22/19.04.05.mp4", h.movie)
	if r := h.poll(); r.Added != 0 || r.Waiting != 1 {
		t.Fatalf("it was whole only once: %+v", r)
	}
	if r := h.poll(); r.Added != 1 || r.Waiting != 0 {
		t.Fatalf("whole at two polls: %+v", r)
	}
	rec := h.expect(front, "2026-11-22/19.04.05.mp4 2026-11-22T19:04:05Z")[0]
	if rec.StartFrom != "name" || rec.Duration != 10*time.Second || rec.Codec != "h264" || rec.Width != 160 || rec.Height != 120 ||
		rec.Size != int64(len(h.movie)) || rec.Damaged != "" || rec.Ambiguous || rec.Camera != front {
		t.Errorf("recording %+v", rec)
	}
	if r := h.poll(); r.Added != 0 || r.Removed != 0 {
		t.Errorf("nothing happened, but %+v", r)
	}

	t.Log("The span asked for includes its start, and not its end.")
	from := time.Date(2026, 11, 22, 19, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		from, until time.Duration
		want        int
	}{
		{-10 * time.Second, 0, 0}, {-10 * time.Second, 1e6, 1}, {9 * time.Second, time.Minute, 1}, {10 * time.Second, time.Minute, 0},
		{time.Second, 2 * time.Second, 1}, {-time.Hour, time.Hour, 1}, {5 * time.Second, 5 * time.Second, 1}, {time.Hour, -time.Hour, 0},
	} {
		if got := h.find(front, from.Add(c.from), from.Add(c.until)); len(got) != c.want {
			t.Errorf("from %v until %v: %d recordings", c.from, c.until, len(got))
		}
	}
	if _, err := h.lib.Overlapping(h.ctx, "garage", from, from); err == nil {
		t.Error("a camera that nobody configured has recordings")
	}
}

func TestSettleIsTheLeastWait(t *testing.T) {
	h := newHome(t)
	h.lib.cfg.Settle = 35 * time.Second
	h.write("20261122_190405.mp4", h.movie)
	for i, want := range []int{0, 0, 0, 0, 1} {
		if r := h.poll(); r.Added != want {
			t.Fatalf("poll %d: %+v", i, r)
		}
	}
}

func TestRewrittenAndRemoved(t *testing.T) {
	h := newHome(t)
	h.write("a/20261122_190405.mp4", h.movie)
	h.write("a/20261122_190415.mp4", h.movie)
	h.write("b/20261122_190425.mp4", h.movie)
	h.settle()
	h.expect(front, "a/20261122_190405.mp4 2026-11-22T19:04:05Z", "a/20261122_190415.mp4 2026-11-22T19:04:15Z", "b/20261122_190425.mp4 2026-11-22T19:04:25Z")

	t.Log("One is written again, longer by a box; until that has settled the old entry stands.")
	longer := append(bytes.Clone(h.movie), 0, 0, 0, 8, 'f', 'r', 'e', 'e')
	h.write("a/20261122_190405.mp4", longer)
	if r := h.settle(); r.Added != 1 || r.Removed != 0 {
		t.Fatalf("rewritten: %+v", r)
	}
	if got := h.find(front, start, start.Add(time.Hour)); len(got) != 3 || got[0].Size != int64(len(longer)) {
		t.Fatalf("after rewriting: %+v", got)
	}

	h.remove("a/20261122_190415.mp4")
	h.remove("b")
	if r := h.poll(); r.Removed != 2 {
		t.Fatalf("two are gone: %+v", r)
	}
	h.expect(front, "a/20261122_190405.mp4 2026-11-22T19:04:05Z")

	t.Log("Removed while nobody was looking.")
	h.restart(func() { h.remove("a") })
	if r := h.poll(); r.Removed != 1 {
		t.Fatalf("removed while closed: %+v", r)
	}
	h.expect(front)
}

func TestQuietFoldersAreListedOnceAnHour(t *testing.T) {
	h := newHome(t)
	old := start.Add(-48 * time.Hour)
	h.write("day/20261120_190405.mp4", h.movie)
	age := func() {
		for _, p := range []string{"day/20261120_190405.mp4", "day", "."} {
			if err := os.Chtimes(h.path(p), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	age()
	h.settle()
	h.poll()
	longer := append(bytes.Clone(h.movie), 0, 0, 0, 8, 'f', 'r', 'e', 'e')
	h.write("day/20261120_190405.mp4", longer)
	if r := h.poll(); r.Waiting != 0 {
		t.Fatalf("a quiet folder was listed: %+v", r)
	}
	h.now = h.now.Add(time.Hour)
	if r := h.settle(); r.Added != 1 {
		t.Fatalf("an hour later: %+v", r)
	}
	age()
	h.now = h.now.Add(time.Hour)
	h.settle()
	h.write("day/20261120_190505.mp4", h.movie)
	if r := h.settle(); r.Added != 1 {
		t.Fatalf("a new file in a quiet folder: %+v", r)
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	h := newHome(t)
	garbage := make([]byte, 5000)
	rand.NewChaCha8([32]byte{}).Read(garbage)
	h.write("2026-11-22/19.00.00.mp4", nil)
	h.write("2026-11-22/19.01.00.mp4", garbage)
	h.write("2026-11-22/19.02.00.mp4", h.movie[:len(h.movie)/2])
	h.write("2026-11-22/19.03.00.mp4", h.movie)
	if r := h.settle(); r.Added != 1 || r.Waiting != 3 || r.Damaged != 0 {
		t.Fatalf("at first they may be unfinished: %+v", r)
	}
	h.now = h.now.Add(damagedAfter)
	if r := h.poll(); r.Damaged != 3 || r.Waiting != 0 {
		t.Fatalf("later they are damaged: %+v", r)
	}
	h.expect(front, "2026-11-22/19.03.00.mp4 2026-11-22T19:03:00Z")
	bad, err := h.lib.Damaged(h.ctx)
	if err != nil || len(bad) != 3 {
		t.Fatalf("damaged: %+v, %v", bad, err)
	}
	for _, r := range bad {
		if r.Damaged == "" || r.Start.IsZero() || r.Duration != 0 {
			t.Errorf("damaged recording %+v", r)
		}
	}
	if bad[0].Damaged != errEmpty.Error() {
		t.Errorf("an empty file is %q", bad[0].Damaged)
	}
	if r := h.poll(); r.Damaged != 0 {
		t.Fatalf("reported twice: %+v", r)
	}

	t.Log("The recorder writes one anew.")
	h.write("2026-11-22/19.01.00.mp4", h.movie)
	if r := h.settle(); r.Added != 1 {
		t.Fatalf("looked at again: %+v", r)
	}
	if bad, _ := h.lib.Damaged(h.ctx); len(bad) != 2 {
		t.Fatalf("still damaged: %+v", bad)
	}
}

func TestARecordingWithoutItsEndIsKeptAndSaysSo(t *testing.T) {
	h := newHome(t)
	movie, err := os.ReadFile("testdata/fragmented.mp4")
	if err != nil {
		t.Fatal(err)
	}
	h.write("20261122_190405.mp4", movie[:len(movie)-1500])
	if r := h.settle(); r.Waiting != 1 || r.Added != 0 {
		t.Fatalf("it may go on: %+v", r)
	}
	h.now = h.now.Add(damagedAfter)
	if r := h.poll(); r.Waiting != 0 || r.Added != 1 || r.Damaged != 1 {
		t.Fatalf("it does not go on: %+v", r)
	}
	rec := h.expect(front, "20261122_190405.mp4 2026-11-22T19:04:05Z")[0]
	if rec.Damaged == "" || rec.Duration <= 0 || rec.Duration >= 10*time.Second {
		t.Errorf("recording %+v", rec)
	}
	h.write("20261122_190405.mp4", movie)
	h.settle()
	if rec := h.expect(front, "20261122_190405.mp4 2026-11-22T19:04:05Z")[0]; rec.Damaged != "" || rec.Duration != 10*time.Second {
		t.Errorf("it went on after all: %+v", rec)
	}
}

func TestRunPollsUntilItIsStopped(t *testing.T) {
	h := newHome(t)
	h.lib.cfg.Now = time.Now
	h.write("20261122_190405.mp4", h.movie)
	ctx, stop := context.WithCancel(h.ctx)
	ended := make(chan error)
	go func() { ended <- h.lib.Run(ctx, time.Millisecond) }()
	for len(h.find(front, start, start.Add(time.Hour))) == 0 {
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-ended; err != context.Canceled {
		t.Error(err)
	}
}

func TestWhatIsNotARecordingIsPassedOver(t *testing.T) {
	h := newHome(t)
	outside := filepath.Join(filepath.Dir(h.folder), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "20261122_180000.mp4"), h.movie, 0o644); err != nil {
		t.Fatal(err)
	}
	h.write("20261122_190405.MP4", h.movie)
	h.write("20261122_190415.m4v", h.movie)
	h.write("20261122_190425.MoV", h.movie)
	h.write("20261122_190435.avi", h.movie)
	h.write("20261122_190445.mp4.part", h.movie)
	h.write("._20261122_190455.mp4", h.movie)
	h.write(".porchlight/20261122_190505.mp4", h.movie)
	for name, to := range map[string]string{"link": outside, "20261122_190515.mp4": filepath.Join(outside, "20261122_180000.mp4"), "loop": h.folder} {
		if err := os.Symlink(to, h.path(name)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	h.settle()
	h.expect(front, "20261122_190405.MP4 2026-11-22T19:04:05Z", "20261122_190415.m4v 2026-11-22T19:04:15Z", "20261122_190425.MoV 2026-11-22T19:04:25Z")
}

func TestOrderOfTrustForTheStart(t *testing.T) {
	h := newHome(t, Camera{ID: front})
	mtime := time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC)
	h.write("2026-11-22/19/front/04.05.mp4", h.movie)
	h.write("2026-11-22/19/back/04.05.mp4", h.movie)
	h.write("RingVideo_20261122_190705.mp4", h.movie)
	h.write("made.mp4", h.movie)
	h.write("unknown.mp4", h.created(time.Time{}))
	if err := os.Chtimes(h.path("unknown.mp4"), mtime, mtime); err != nil {
		t.Fatal(err)
	}
	h.settle()
	recs := h.expect(front, "unknown.mp4 2026-11-22T16:59:50Z", "made.mp4 2026-11-22T18:00:00Z",
		"2026-11-22/19/front/04.05.mp4 2026-11-22T19:04:05Z", "RingVideo_20261122_190705.mp4 2026-11-22T19:07:05Z")
	for i, want := range []string{"mtime", "mvhd", "path", "name"} {
		if recs[i].StartFrom != want {
			t.Errorf("%s starts by %q", recs[i].Path, recs[i].StartFrom)
		}
	}
}

func TestFrigateServesSeveralCamerasFromOneFolder(t *testing.T) {
	h := newHome(t, Camera{ID: front, Layout: LayoutFrigate, FrigateName: "front_door", TimeZone: "Europe/Berlin"}, Camera{ID: "yard", Layout: LayoutFrigate})
	h.write("recordings/2026-11-22/19/front_door/04.05.mp4", h.movie)
	h.write("recordings/2026-11-22/19/yard/04.05.mp4", h.movie)
	h.write("recordings/2026-11-22/19/cellar/04.05.mp4", h.movie)
	h.write("clips/front_door-20261122_190405.mp4", h.movie)
	if r := h.settle(); r.Added != 2 {
		t.Fatalf("%+v", r)
	}
	h.expect(front, "recordings/2026-11-22/19/front_door/04.05.mp4 2026-11-22T19:04:05Z")
	h.expect("yard", "recordings/2026-11-22/19/yard/04.05.mp4 2026-11-22T19:04:05Z")

	t.Log("The owner adds a camera and drops another.")
	if err := h.lib.SetCameras(h.ctx, []Camera{{ID: front, Layout: LayoutFrigate, FrigateName: "front_door", TimeZone: "Europe/Berlin", Folder: h.folder}, {ID: "cellar", Folder: h.folder, Layout: LayoutFrigate}}); err != nil {
		t.Fatal(err)
	}
	h.settle()
	h.expect(front, "recordings/2026-11-22/19/front_door/04.05.mp4 2026-11-22T19:04:05Z")
	h.expect("cellar", "recordings/2026-11-22/19/cellar/04.05.mp4 2026-11-22T19:04:05Z")
	if _, err := h.lib.Overlapping(h.ctx, "yard", start, start); err == nil {
		t.Error("the dropped camera still has recordings")
	}
}

func TestOverlappingFilesAndLongOnes(t *testing.T) {
	h := newHome(t)
	h.write("20261122_190405.mp4", h.movie)
	h.write("20261122_190410.mp4", h.movie)
	h.write("copy-20261122_190405.mp4", h.movie)
	h.settle()
	h.expect(front, "20261122_190405.mp4 2026-11-22T19:04:05Z", "copy-20261122_190405.mp4 2026-11-22T19:04:05Z", "20261122_190410.mp4 2026-11-22T19:04:10Z")
	cam := h.lib.folders[0].plain
	long := Recording{Camera: front, Start: start.Add(-24 * time.Hour), StartFrom: "name", Duration: 25 * time.Hour}
	if err := h.lib.index.change(h.ctx, h.folder, "long", "", []row{{name: "day.mp4", camera: cam.row, rec: long}}, nil); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 19, 4, 12, 0, time.UTC)
	if got := h.find(front, at, at.Add(time.Second)); len(got) != 4 || got[0].Duration != 25*time.Hour {
		t.Errorf("found %+v", got)
	}
}

func TestCamerasThatCouldNotBeToldApart(t *testing.T) {
	dir := t.TempDir()
	for name, cams := range map[string][]Camera{
		"same id":         {{ID: "a", Folder: dir}, {ID: "a", Folder: dir + "/x"}},
		"two plain":       {{ID: "a", Folder: dir, Layout: "plain"}, {ID: "b", Folder: dir + "/", Layout: "plain"}},
		"one in frigate":  {{ID: "a", Folder: dir, Layout: "frigate", FrigateName: "x"}, {ID: "b", Folder: dir, Layout: "frigate", FrigateName: "x"}},
		"no id":           {{Folder: dir}},
		"relative folder": {{ID: "a", Folder: "footage"}},
		"zone":            {{ID: "a", Folder: dir, TimeZone: "Mars/Olympus"}},
		"local zone":      {{ID: "a", Folder: dir, TimeZone: "Local"}},
		"layout":          {{ID: "a", Folder: dir, Layout: "zoneminder"}},
	} {
		if _, err := arrange(cams); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	folders, err := arrange([]Camera{{ID: "outer", Folder: dir}, {ID: "inner", Folder: filepath.Join(dir, "in", "ner")}})
	if err != nil || len(folders) != 2 || !folders[0].inner["in/ner"] || len(folders[1].inner) != 0 {
		t.Errorf("nested folders: %+v %v", folders, err)
	}
}
