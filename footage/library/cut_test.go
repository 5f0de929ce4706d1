package library

import (
	"fmt"
	"testing"
	"time"
)

// Looking through a great many files takes minutes. An owner who adds a camera meanwhile does not wait for it,
// and what was read until then is kept.
func TestNewCamerasCutAPollShort(t *testing.T) {
	h := newHome(t)
	for i := range 3 * batch {
		h.write(fmt.Sprintf("%d/20261122_19%02d%02d.mp4", i/batch, i/60%60, i%60), h.movie)
	}
	h.poll()
	h.now = h.now.Add(10 * time.Second)
	polled := make(chan Report, 1)
	go func() {
		r, err := h.lib.Poll(h.ctx)
		if err != nil {
			t.Error(err)
		}
		polled <- r
	}()
	for {
		if sums, err := h.lib.Summaries(h.ctx); err != nil {
			t.Fatal(err)
		} else if sums[front].Recordings > 0 {
			break // the poll is amid the folder
		}
	}
	cameras := []Camera{{ID: front, Folder: h.folder}, {ID: "yard", Folder: t.TempDir()}}
	if err := h.lib.SetCameras(h.ctx, cameras); err != nil {
		t.Fatal(err)
	}
	cut := <-polled
	if cut.Added == 0 || cut.Added >= 3*batch {
		t.Logf("the poll came to its end, with %d recordings", cut.Added)
	}
	if sums, err := h.lib.Summaries(h.ctx); err != nil || sums[front].Recordings < min(cut.Added, batch) {
		t.Errorf("after %d were read the index has %+v, %v", cut.Added, sums, err)
	}
	h.settle()
	if sums, err := h.lib.Summaries(h.ctx); err != nil || sums[front].Recordings != 3*batch {
		t.Errorf("in the end the index has %+v, %v", sums, err)
	}
}
