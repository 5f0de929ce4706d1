package recordings_test

import (
	"bytes"
	"io/fs"
	"path"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/demo/recordings"
)

func TestEveryCameraHasItsMinute(t *testing.T) {
	var total, count int
	for _, camera := range recordings.Cameras() {
		for i := range 3 {
			at := recordings.Start().Add(time.Duration(i) * recordings.Each)
			name := path.Join(camera, at.Format("2006-01-02"), at.Format("15.04.05")+".mp4")
			data, err := fs.ReadFile(recordings.Files(), name)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) > 200_000 {
				t.Errorf("%s has %d bytes, at most 200,000 are wanted", name, len(data))
			}
			if !bytes.Equal(data[4:8], []byte("ftyp")) {
				t.Errorf("%s is no MP4", name)
			}
			if bytes.Contains(data, []byte("moof")) != (camera == "side-street") {
				t.Errorf("%s: only the side street's recordings are fragmented", name)
			}
			if bytes.Contains(data, []byte("mp4a")) != (camera == "front-door") {
				t.Errorf("%s: only the front door's recordings have sound", name)
			}
			total, count = total+len(data), count+1
		}
	}
	if total > 1_200_000 {
		t.Errorf("the recordings have %d bytes, at most 1,200,000 are wanted", total)
	}
	err := fs.WalkDir(recordings.Files(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			count--
		}
		return err
	})
	if err != nil || count != 0 {
		t.Errorf("%d recordings too few or many: %v", count, err)
	}
}
