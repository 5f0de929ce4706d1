package library

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func (h *home) removeIndex() {
	for _, s := range []string{"", "-wal", "-shm"} {
		os.Remove(h.index + s)
	}
}

func TestIndexDeletedLosesNothing(t *testing.T) {
	h := newHome(t)
	h.write("20261122_190405.mp4", h.movie)
	h.settle()
	want := "20261122_190405.mp4 2026-11-22T19:04:05Z"
	h.restart(h.removeIndex)
	h.expect(front)
	h.settle()
	h.expect(front, want)
	state(t, h.poll(), FolderOK)

	t.Log("And while the library is open.")
	h.removeIndex()
	h.settle()
	h.expect(front, want)
	if !h.lib.index.there() {
		t.Error("there is no index")
	}
}

func TestIndexCorrupted(t *testing.T) {
	damage := map[string]func(h *home){
		"not a database": func(h *home) { os.WriteFile(h.index, bytes.Repeat([]byte("porch"), 4000), 0o600) },
		"header gone":    func(h *home) { overwrite(h, 0, make([]byte, 100)) },
		"schema page":    func(h *home) { overwrite(h, 100, bytes.Repeat([]byte{0xa5}, 3000)) },
		"truncated":      func(h *home) { os.Truncate(h.index, 5000) },
		"other pages": func(h *home) {
			info, _ := os.Stat(h.index)
			overwrite(h, 4096, bytes.Repeat([]byte{0xa5}, int(info.Size()-4096)))
		},
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			h.write("20261122_190405.mp4", h.movie)
			h.settle()
			h.restart(func() { harm(h) })
			h.settle()
			h.poll()
			h.expect(front, "20261122_190405.mp4 2026-11-22T19:04:05Z")
			if _, err := os.Stat(h.index + ".corrupt"); err != nil {
				t.Error("the corrupt index was not moved aside:", err)
			}
		})
	}
}

func overwrite(h *home, at int64, data []byte) {
	f, err := os.OpenFile(h.index, os.O_WRONLY, 0)
	if err != nil {
		h.Fatal(err)
	}
	defer f.Close()
	f.WriteAt(data, at)
}

func TestCorruptionFoundByAQuestionIsNotSilence(t *testing.T) {
	h := newHome(t)
	h.write("20261122_190405.mp4", h.movie)
	h.settle()
	h.restart(func() {
		info, err := os.Stat(h.index)
		if err != nil {
			t.Fatal(err)
		}
		// The index on (camera, class, start) alone, found by what only its pages hold.
		overwrite(h, info.Size()-4096, bytes.Repeat([]byte{0xa5}, 4096))
	})
	_, err := h.lib.Overlapping(h.ctx, front, start, start.Add(time.Hour))
	if err != nil && !errors.Is(err, ErrRebuilding) {
		t.Fatalf("error %v", err)
	}
	h.settle()
	h.expect(front, "20261122_190405.mp4 2026-11-22T19:04:05Z")
}

func TestUnmountedDisk(t *testing.T) {
	h := newHome(t)
	h.write("20261122_190405.mp4", h.movie)
	state(t, h.settle(), FolderOK)
	want := "20261122_190405.mp4 2026-11-22T19:04:05Z"
	id, err := readIdentity(h.folder)
	if err != nil || len(id) != 32 {
		t.Fatalf("identity %q, %v", id, err)
	}

	t.Log("The disk is unmounted: its mount point is empty.")
	elsewhere := h.folder + ".elsewhere"
	if err := os.Rename(h.folder, elsewhere); err != nil {
		t.Fatal(err)
	}
	state(t, h.poll(), FolderAbsent)
	h.expect(front, want)
	if err := os.Mkdir(h.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	state(t, h.poll(), FolderAbsent)
	h.expect(front, want)
	if _, err := os.Stat(h.path(".porchlight")); err == nil {
		t.Error("an identity was written to the mount point")
	}

	t.Log("The recorder writes to the mount point; that is not the camera's folder.")
	h.write("20261122_200000.mp4", h.movie)
	state(t, h.settle(), FolderAbsent)
	h.expect(front, want)

	t.Log("Another disk is mounted there.")
	h.write(identified, []byte("porchlight folder 1\n0123456789abcdef0123456789abcdef\n"))
	state(t, h.poll(), FolderAbsent)
	h.write(identified, []byte("something else"))
	state(t, h.poll(), FolderAbsent)
	h.expect(front, want)

	t.Log("The right one comes back.")
	swapped := h.folder + ".swapped"
	if err := errors.Join(os.Rename(h.folder, swapped), os.Rename(elsewhere, h.folder)); err != nil {
		t.Fatal(err)
	}
	state(t, h.poll(), FolderOK)
	h.expect(front, want)

	t.Log("The owner replaces it for good, and says so.")
	if err := errors.Join(os.Rename(h.folder, elsewhere), os.Rename(swapped, h.folder)); err != nil {
		t.Fatal(err)
	}
	h.remove(identified)
	state(t, h.poll(), FolderAbsent)
	if err := h.lib.Adopt(h.ctx, h.folder); err != nil {
		t.Fatal(err)
	}
	state(t, h.settle(), FolderOK)
	h.expect(front, "20261122_200000.mp4 2026-11-22T20:00:00Z")
	if err := h.lib.Adopt(h.ctx, "/nowhere"); err == nil {
		t.Error("adopted a folder of no camera")
	}
}

func TestReadOnlyFolder(t *testing.T) {
	h := newHome(t)
	h.write("20261122_190405.mp4", h.movie)
	// A file where our folder should be, because root may write to a read-only one.
	h.write(".porchlight", nil)
	state(t, h.settle(), FolderReadOnly)
	recs := h.expect(front, "20261122_190405.mp4 2026-11-22T19:04:05Z")
	p, err := h.lib.Protect(h.ctx, "req-1", start.Add(time.Hour), recs, 1<<30)
	if err != nil || len(p.Held) != 0 || len(p.Unprotected) != 1 || p.Unprotected[0].Reason == "" {
		t.Fatalf("protected %+v, %v", p, err)
	}

	t.Log("It is unmounted: empty, with nothing to know it by.")
	h.remove(".")
	if err := os.MkdirAll(h.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	state(t, h.poll(), FolderAbsent)
	h.expect(front, "20261122_190405.mp4 2026-11-22T19:04:05Z")
}

func TestAFolderThatCannotBeReadIsNotEmpty(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	h := newHome(t)
	h.write("day/20261122_190405.mp4", h.movie)
	h.settle()
	if err := os.Chmod(h.path("day"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(h.path("day"), 0o755)
	state(t, h.poll(), FolderFailing)
	h.expect(front, "day/20261122_190405.mp4 2026-11-22T19:04:05Z")
}

func TestHoldBeatsRemoval(t *testing.T) {
	h := newHome(t, Camera{ID: front, TimeZone: "America/New_York"})
	h.write("2026-11-22/19.04.05.mp4", h.movie)
	h.write("2026-11-22/19.04.15.mp4", h.movie)
	h.settle()
	first, second := "2026-11-22/19.04.05.mp4 2026-11-23T00:04:05Z", "2026-11-22/19.04.15.mp4 2026-11-23T00:04:15Z"
	recs := h.expect(front, first, second)

	until := start.Add(24 * time.Hour)
	p, err := h.lib.Protect(h.ctx, "req-1", until, recs[:1], 1<<20)
	if err != nil || len(p.Held) != 1 || len(p.Unprotected) != 0 || p.Bytes != int64(len(h.movie)) {
		t.Fatalf("protect: %+v, %v", p, err)
	}
	held := ".porchlight/hold/req-1/1/" + first
	h.expect(front, held, second)
	again, err := h.lib.Protect(h.ctx, "req-1", until.Add(-time.Hour), p.Held, 1<<20)
	if err != nil || len(again.Held) != 1 || again.Held[0].Path != p.Held[0].Path || again.Bytes != p.Bytes {
		t.Fatalf("a second time: %+v, %v", again, err)
	}
	for range 3 {
		h.poll()
		h.expect(front, held, second)
	}

	t.Log("The recorder rolls off both.")
	h.remove("2026-11-22")
	if r := h.poll(); r.Removed != 2 {
		t.Fatalf("removed: %+v", r)
	}
	rec := h.expect(front, held)[0]
	if data, err := os.ReadFile(rec.Path); err != nil || !bytes.Equal(data, h.movie) || rec.Hold != "req-1" || rec.StartFrom != "name" {
		t.Fatalf("held %+v: %v", rec, err)
	}

	t.Log("It writes another film of that name, and another request wants both.")
	other := append(bytes.Clone(h.movie), 0, 0, 0, 8, 'f', 'r', 'e', 'e')
	h.write("2026-11-22/19.04.05.mp4", other)
	h.settle()
	recs = h.expect(front, held, first)
	p, err = h.lib.Protect(h.ctx, "req-2", until, recs, 1<<20)
	if err != nil || len(p.Held) != 2 || p.Bytes != int64(len(h.movie)+len(other)) {
		t.Fatalf("protect: %+v, %v", p, err)
	}
	p, err = h.lib.Protect(h.ctx, "req-1", until, p.Held, 1<<20)
	if err != nil || len(p.Held) != 2 || len(p.Unprotected) != 0 {
		t.Fatalf("protect: %+v, %v", p, err)
	}

	t.Log("The index is lost.")
	h.remove("2026-11-22")
	h.restart(h.removeIndex)
	now, err := h.lib.Held(h.ctx, "req-1")
	if err != nil || len(now) != 2 || now[0].Duration != 10*time.Second || now[0].Start != time.Date(2026, 11, 23, 0, 4, 5, 0, time.UTC) {
		t.Fatalf("held by the disk: %+v, %v", now, err)
	}
	h.settle()
	if got := h.find(front, start, start.Add(24*time.Hour)); len(got) != 2 {
		t.Fatalf("found %+v", got)
	}
	list, err := h.lib.Holds(h.ctx)
	if err != nil || len(list) != 2 || list[0].Name != "req-1" || !list[0].Until.Equal(until) || list[1].Files != 2 {
		t.Fatalf("holds %+v, %v", list, err)
	}

	t.Log("One is ended by hand, the other runs out.")
	if err := h.lib.Unprotect(h.ctx, "req-2"); err != nil {
		t.Fatal(err)
	}
	if got := h.find(front, start, start.Add(24*time.Hour)); len(got) != 2 {
		t.Fatalf("found %+v", got)
	}
	if names, err := h.lib.ExpireHolds(h.ctx, until.Add(-time.Second)); err != nil || len(names) != 0 {
		t.Fatalf("ended early: %v %v", names, err)
	}
	if names, err := h.lib.ExpireHolds(h.ctx, until); err != nil || len(names) != 1 || names[0] != "req-1" {
		t.Fatalf("ended: %v %v", names, err)
	}
	h.expect(front)
	left, _ := os.ReadDir(h.path(holds))
	if len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	if err := h.lib.Unprotect(h.ctx, "req-2"); err != nil {
		t.Errorf("ending what has ended: %v", err)
	}
}

func TestHoldsHaveAQuota(t *testing.T) {
	h := newHome(t)
	longer := append(bytes.Clone(h.movie), 0, 0, 0, 8, 'f', 'r', 'e', 'e')
	h.write("20261122_190405.mp4", h.movie)
	h.write("20261122_190415.mp4", longer)
	h.write("20261122_190425.mp4", h.movie)
	h.settle()
	recs := h.find(front, start, start.Add(time.Hour))
	until := start.Add(time.Hour)
	p, err := h.lib.Protect(h.ctx, "req-1", until, recs, 2*int64(len(h.movie)))
	if err != nil || len(p.Held) != 2 || len(p.Unprotected) != 1 || p.Unprotected[0].Recording.Path != recs[1].Path || p.Bytes != 2*int64(len(h.movie)) {
		t.Fatalf("%+v, %v", p, err)
	}
	t.Log("What is held under one name costs nothing under another.")
	p, err = h.lib.Protect(h.ctx, "req-2", until, recs, p.Bytes)
	if err != nil || len(p.Held) != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	p, err = h.lib.Protect(h.ctx, "req-3", until, recs[1:2], 0)
	if err != nil || len(p.Held) != 0 || len(p.Unprotected) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if list, err := h.lib.Holds(h.ctx); err != nil || len(list) != 2 {
		t.Fatalf("a hold of nothing was made: %+v, %v", list, err)
	}
}

func TestHoldsAreNotWaysOut(t *testing.T) {
	h := newHome(t)
	secret := filepath.Join(filepath.Dir(h.folder), "secret.mp4")
	if err := os.WriteFile(secret, h.movie, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "..", "../x", "A", "a/b", "a b", "ü", ".ending-x", string(bytes.Repeat([]byte("a"), 81))} {
		if _, err := h.lib.Protect(h.ctx, name, start, nil, 1); err == nil {
			t.Errorf("hold name %q was taken", name)
		}
		if err := h.lib.Unprotect(h.ctx, name); err == nil {
			t.Errorf("hold name %q was taken", name)
		}
		if _, err := h.lib.Held(h.ctx, name); err == nil {
			t.Errorf("hold name %q was taken", name)
		}
	}
	h.settle()
	if err := os.Symlink(secret, h.path("20261122_190405.mp4")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(secret), h.path("up")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{secret, h.path("20261122_190405.mp4"), h.path("up/secret.mp4"), h.path("../secret.mp4"), h.path(identified), h.path("none.mp4"), h.folder, ""} {
		got, err := h.lib.Protect(h.ctx, "req-1", start, []Recording{{Path: p}}, 1<<30)
		if err != nil || len(got.Held) != 0 || len(got.Unprotected) != 1 {
			t.Errorf("%q: %+v, %v", p, got, err)
		}
	}
}

func TestADamagedNoteEndsNoHold(t *testing.T) {
	h := newHome(t)
	h.write("20261122_190405.mp4", h.movie)
	h.settle()
	recs := h.find(front, start, start.Add(time.Hour))
	if _, err := h.lib.Protect(h.ctx, "req-1", start.Add(time.Hour), recs, 1<<30); err != nil {
		t.Fatal(err)
	}
	h.write(".porchlight/hold/req-1/hold.json", []byte("{"))
	if names, err := h.lib.ExpireHolds(h.ctx, start.AddDate(1, 0, 0)); err == nil || len(names) != 0 {
		t.Fatalf("ended %v, %v", names, err)
	}
	if _, err := h.lib.Protect(h.ctx, "req-1", start.Add(2*time.Hour), recs, 1<<30); err != nil {
		t.Fatal(err)
	}
	if names, err := h.lib.ExpireHolds(h.ctx, start.Add(2*time.Hour)); err != nil || len(names) != 1 {
		t.Fatalf("ended %v, %v", names, err)
	}
}

func TestALaterEndCountsAndAnEarlierDoesNot(t *testing.T) {
	h := newHome(t)
	h.write("20261122_190405.mp4", h.movie)
	h.settle()
	recs := h.find(front, start, start.Add(time.Hour))
	for _, c := range []struct{ ask, want int }{{3, 3}, {2, 3}, {5, 5}, {4, 5}} {
		if _, err := h.lib.Protect(h.ctx, "req-1", start.Add(time.Duration(c.ask)*time.Hour), recs, 1<<30); err != nil {
			t.Fatal(err)
		}
		if list, err := h.lib.Holds(h.ctx); err != nil || len(list) != 1 || !list[0].Until.Equal(start.Add(time.Duration(c.want)*time.Hour)) {
			t.Fatalf("until %d: %+v, %v", c.ask, list, err)
		}
	}
}

func TestNoLinkCanBeMade(t *testing.T) {
	h := newHome(t)
	h.write("a/20261122_190405.mp4", h.movie)
	h.write("b/20261122_190415.mp4", h.movie)
	h.settle()
	recs := h.find(front, start, start.Add(time.Hour))
	h.write(".porchlight/hold/req-1/1/a", nil)
	p, err := h.lib.Protect(h.ctx, "req-1", start.Add(time.Hour), recs, 1<<30)
	if err != nil || len(p.Held) != 1 || len(p.Unprotected) != 1 || p.Unprotected[0].Reason == "" || p.Bytes != int64(len(h.movie)) {
		t.Fatalf("%+v, %v", p, err)
	}
}

func TestACrashWhileAHoldEnded(t *testing.T) {
	h := newHome(t)
	h.write("20261122_190405.mp4", h.movie)
	h.settle()
	recs := h.find(front, start, start.Add(time.Hour))
	if _, err := h.lib.Protect(h.ctx, "req-1", start.Add(time.Hour), recs, 1<<30); err != nil {
		t.Fatal(err)
	}
	h.restart(func() {
		if err := os.Rename(h.path(holds+"/req-1"), h.path(holds+"/"+ending+"req-1")); err != nil {
			t.Fatal(err)
		}
	})
	h.settle()
	h.expect(front, "20261122_190405.mp4 2026-11-22T19:04:05Z")
	if p, err := h.lib.Protect(h.ctx, "req-2", start, nil, 1<<30); err != nil || p.Bytes != 0 {
		t.Errorf("what is ending counts as held: %+v %v", p, err)
	}
	if _, err := h.lib.ExpireHolds(h.ctx, start); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(h.path(holds)); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}
