package home

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/footage/library"
)

func TestACameraKeepsItsPattern(t *testing.T) {
	h, dir := openHome(t)
	folder := t.TempDir()
	path := cliptest.Recording(t, folder, "22.11.2026/clip 7-04-05 PM.mp4", 3)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	want := time.Date(2026, 11, 22, 18, 4, 5, 0, time.UTC)
	add := CamerasAdd{Name: "front-door", Folder: folder, Zone: "Europe/Berlin", Pattern: "%d.%m.%Y/clip %-I-%M-%S %p", Lat: 44, Lon: -40, Angle: 90, Range: 30}

	t.Log("Its owner tries it first.")
	tried, err := TryCamera(t.Context(), CamerasTry{Folder: folder, Zone: add.Zone, Files: 10})
	if err != nil || len(tried) != 1 || tried[0].StartFrom != "mtime" || tried[0].Seconds != 3 || tried[0].Path != "22.11.2026/clip 7-04-05 PM.mp4" {
		t.Fatalf("without the pattern: %+v, %v", tried, err)
	}
	tried, err = TryCamera(t.Context(), CamerasTry{Folder: folder, Zone: add.Zone, Pattern: add.Pattern, Files: 10})
	if err != nil || len(tried) != 1 || tried[0].StartFrom != "name" || !tried[0].Start.Equal(want) {
		t.Fatalf("with it: %+v, %v", tried, err)
	}

	t.Log("What cannot be right is refused, and is not found again after a restart.")
	for _, wrong := range []struct{ layout, pattern, says string }{
		{"", "%Y-%q", `position 4: %q is no field`}, {"zoneminder", "", "none of auto, plain, frigate"}, {"frigate", add.Pattern, "no pattern"},
	} {
		a := add
		a.Layout, a.Pattern = wrong.layout, wrong.pattern
		if _, err := h.cameraAdd(t.Context(), a); err == nil || !strings.Contains(err.Error(), wrong.says) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = reopen(t, dir)
	if list, err := h.cameraList(t.Context(), struct{}{}); err != nil || len(list) != 0 {
		t.Fatalf("%+v, %v", list, err)
	}

	if _, err := h.cameraAdd(t.Context(), add); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = reopen(t, dir)
	for range 2 {
		if _, err := h.library.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	list, err := h.cameraList(t.Context(), struct{}{})
	if err != nil || len(list) != 1 || list[0].Pattern != add.Pattern || list[0].Recordings != 1 || !list[0].First.Equal(want) || list[0].StartFrom != "name" {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := os.Stat(filepath.Join(folder, ".porchlight")); err != nil {
		t.Error("the folder has no identity:", err)
	}
}

// A folder whose disk is away is named, with the way out where another disk took its place.
func TestAnotherDisk(t *testing.T) {
	h, _ := openHome(t)
	folder := filepath.Join(t.TempDir(), "door")
	cliptest.Recording(t, folder, "2026-11-22/19.03.00.mp4", 20)
	_, err := h.cameraAdd(t.Context(), CamerasAdd{Name: "door", Folder: folder, Lat: 44, Lon: -40, Facing: 180, Angle: 120, Range: 50})
	ok(t, err)
	look := func() CameraStatus {
		t.Helper()
		r, err := h.library.Poll(t.Context())
		ok(t, err)
		h.found(r)
		list, err := h.cameraList(t.Context(), struct{}{})
		ok(t, err)
		return list[0]
	}
	look()
	if c := look(); c.Recordings != 1 || c.Problem != "" {
		t.Fatalf("%+v", c)
	}
	ok(t, os.Rename(folder, folder+".unplugged"))
	if c := look(); c.Recordings != 1 || !strings.Contains(c.Problem, "does not exist") {
		t.Errorf("unplugged: %+v", c)
	}
	cliptest.Recording(t, folder, "2026-11-23/08.00.00.mp4", 20)
	cliptest.Recording(t, folder, "2026-11-23/08.00.20.mp4", 20)
	if c := look(); c.Recordings != 1 || !strings.Contains(c.Problem, "`porchlight home cameras adopt door`") {
		t.Errorf("another disk: %+v", c)
	}
	if _, err := h.cameraAdopt(t.Context(), CameraName{"garden"}); err == nil {
		t.Error("a camera that is none was adopted")
	}
	_, err = h.cameraAdopt(t.Context(), CameraName{"door"})
	ok(t, err)
	look()
	if c := look(); c.Recordings != 2 || c.Problem != "" {
		t.Errorf("adopted: %+v", c)
	}
}

func TestTheClockOfAManifest(t *testing.T) {
	h, _ := openHome(t)
	own := time.Duration(h.peer.Config.Home.ClockUncertainty).Seconds()
	name, made := library.Recording{StartFrom: "name"}, library.Recording{StartFrom: "mvhd"}
	twice := library.Recording{StartFrom: "path", Ambiguous: true}
	for _, c := range []struct {
		recs      []library.Recording
		anonymous bool
		want      grant.Clock
	}{
		{[]library.Recording{name}, false, grant.Clock{Source: "name", UncertaintySeconds: own}},
		{[]library.Recording{name, made, name}, false, grant.Clock{Source: "mvhd", UncertaintySeconds: own}},
		{[]library.Recording{name, twice}, false, grant.Clock{Source: "name", UncertaintySeconds: own + 3600}},
		{[]library.Recording{name}, true, grant.Clock{Source: "name", UncertaintySeconds: math.Ceil(own/60) * 60}},
	} {
		if got := h.clockOf(c.recs, c.anonymous); got != c.want {
			t.Errorf("%+v, anonymous %v: %+v, want %+v", c.recs, c.anonymous, got, c.want)
		}
	}
}
