package cliptest_test

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
)

func TestARecordingIsAsLongAsAsked(t *testing.T) {
	for _, seconds := range []int{1, 7, 10, 61} {
		path := cliptest.Recording(t, t.TempDir(), "2026-11-22/19.04.05.mp4", seconds)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := clip.Probe(bytes.NewReader(b), int64(len(b)))
		if err != nil || m.Duration != time.Duration(seconds)*time.Second || !m.Created.IsZero() {
			t.Fatalf("%d seconds: %+v, %v", seconds, m, err)
		}
		start := time.Date(2026, 11, 22, 19, 4, 5, 0, time.UTC)
		res, err := clip.Cut(t.Context(), io.Discard, []clip.Input{{Path: path, Start: start}}, start, start.Add(m.Duration), clip.Options{})
		if err != nil || res.Frames != 5*seconds {
			t.Fatalf("%d seconds: %+v, %v", seconds, res, err)
		}
	}
}

func TestARecordingCarriesItsTime(t *testing.T) {
	path := cliptest.Recording(t, t.TempDir(), "a.mp4", 2)
	want := time.Date(2026, 11, 22, 19, 4, 5, 0, time.UTC)
	cliptest.SetCreated(t, path, want)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := clip.Probe(bytes.NewReader(b), int64(len(b))); err != nil || m.Created != want {
		t.Fatalf("%+v, %v", m, err)
	}
}
