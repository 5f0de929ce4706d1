package library

import (
	"testing"
	"time"
)

func TestTheHourThatComesTwiceIsMarked(t *testing.T) {
	if _, err := time.LoadLocation("Europe/Berlin"); err != nil {
		t.Skip("no time zone database here:", err)
	}
	h := newHome(t, Camera{ID: front, TimeZone: "Europe/Berlin"})
	h.write("2026-10-25/02.30.00.mp4", h.movie)
	h.settle()
	if rec := h.expect(front, "2026-10-25/02.30.00.mp4 2026-10-25T00:30:00Z")[0]; !rec.Ambiguous {
		t.Errorf("not marked: %+v", rec)
	}
	t.Log("The owner corrects the time zone.")
	if err := h.lib.SetCameras(h.ctx, []Camera{{ID: front, Folder: h.folder}}); err != nil {
		t.Fatal(err)
	}
	h.settle()
	if rec := h.expect(front, "2026-10-25/02.30.00.mp4 2026-10-25T02:30:00Z")[0]; rec.Ambiguous {
		t.Errorf("marked: %+v", rec)
	}
}

func FuzzInHold(f *testing.F) {
	for _, s := range []string{".porchlight/hold/req-1/1/2026-11-22/19.04.05.mp4", ".porchlight/hold/../1/x", ".porchlight/hold//1", ".porchlight/folder.id"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rel string) {
		name, rest, ok := inHold(rel)
		if ok && (checkHoldName(name) != nil || len(name)+len(rest) > len(rel)) {
			t.Errorf("%q is %q in hold %q", rel, rest, name)
		}
	})
}
