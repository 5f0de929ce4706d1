package library

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// What the recorder wrote twenty minutes ago is hardly written again, and is not looked at in every poll.
func TestTheLongerAFolderIsQuietTheMoreRarelyItIsListed(t *testing.T) {
	h := newHome(t)
	h.write("hour/20261122_184005.mp4", h.movie)
	quiet := start.Add(-20 * time.Minute)
	for _, p := range []string{"hour/20261122_184005.mp4", "hour", "."} {
		if err := os.Chtimes(h.path(p), quiet, quiet); err != nil {
			t.Fatal(err)
		}
	}
	h.settle()
	h.poll()
	h.write("hour/20261122_184005.mp4", append(bytes.Clone(h.movie), 0, 0, 0, 8, 'f', 'r', 'e', 'e'))
	if r := h.poll(); r.Waiting != 0 {
		t.Fatalf("it was listed again at once: %+v", r)
	}
	h.now = h.now.Add(11 * time.Minute)
	if r := h.settle(); r.Added != 1 {
		t.Fatalf("after half the time it had been quiet: %+v", r)
	}
}
