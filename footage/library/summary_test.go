package library

import (
	"bytes"
	"testing"
	"time"
)

func TestASummaryCountsWhatCouldBeFound(t *testing.T) {
	h := newHome(t, Camera{ID: front}, Camera{ID: "yard", Folder: t.TempDir()})
	same := func(when string, want int) []Recording {
		t.Helper()
		sums, err := h.lib.Summaries(h.ctx)
		if err != nil {
			t.Fatal(err)
		}
		recs := h.find(front, time.Unix(0, 0), start.AddDate(1, 0, 0))
		var last time.Time
		for _, r := range recs {
			if r.End().After(last) {
				last = r.End()
			}
		}
		s, ok := sums[front]
		if len(recs) != want || s.Recordings != want || ok != (want > 0) || want > 0 && (!s.First.Equal(recs[0].Start) || !s.Last.Equal(last)) {
			t.Errorf("%s: %+v; found are %d, the first at %v, the last until %v; want %d", when, sums, len(recs), recs[0].Start, last, want)
		}
		if _, ok := sums["yard"]; ok {
			t.Errorf("%s: a camera without recordings has %+v", when, sums["yard"])
		}
		return recs
	}
	same("nothing is there", 0)
	h.write("20261122_190405.mp4", h.movie)
	h.write("20261122_190415.mp4", h.movie)
	h.write("day/20261122_190425.mp4", h.movie)
	h.write("20261122_190435.mp4", []byte("no movie"))
	h.settle()
	h.now = h.now.Add(damagedAfter)
	h.poll()
	recs := same("three and a damaged one", 3)

	hold := func(name string, recs []Recording) {
		t.Helper()
		if p, err := h.lib.Protect(h.ctx, name, start.AddDate(0, 0, 14), recs, 1<<30); err != nil || len(p.Unprotected) > 0 {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	hold("one", recs[:2])
	same("two are held", 3)
	hold("other", recs[1:])
	same("one of them twice", 3)
	h.remove("20261122_190415.mp4")
	h.poll()
	same("whose original is gone", 3)
	h.remove("20261122_190405.mp4")
	h.write("20261122_190405.mp4", append(bytes.Clone(h.movie), 0, 0, 0, 8, 'f', 'r', 'e', 'e'))
	h.settle()
	same("and another was replaced", 4)
	for _, f := range []string{"20261122_190405.mp4", "day", ".porchlight/hold"} {
		h.remove(f)
	}
	h.poll()
	same("all is gone", 0)
}
