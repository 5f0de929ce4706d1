package node_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// footage is every file of recordings of a home, by its path, those on hold included.
func (n *neighbourhood) footage(name string) map[string][]byte {
	n.t.Helper()
	files := map[string][]byte{}
	ok(n.t, filepath.WalkDir(filepath.Join(n.dir, "recordings-"+name), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".mp4") {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	}))
	return files
}

// A recorder writes to a recording after the owner approved it. The clip is not made of a mixture: it is made anew
// of what is there then, and the ledger says so. Nothing had left.
func TestARecordingChanges(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	for name := range n.footage("ana") {
		if !strings.Contains(name, ".porchlight") {
			cliptest.SetCreated(t, name, recAt)
		}
	}
	ana.agrees(id)
	ana.answer(id, "the end", is("delivered"))
	if ana.noted("node: paused", "recording-changed") != 1 || ana.noted("node: goes on", "of the recordings that are there now") != 1 {
		var ledger []home.LedgerEntry
		ana.do("home.ledger", struct{}{}, &ledger)
		t.Errorf("the ledger does not tell of the change: %+v", ledger)
	}
	n.vault(1, "open")
}

// The disk with the recordings is gone when the clip is to be made, and comes back.
func TestRecordingsVanish(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	files := n.footage("ana")
	for name := range files {
		ok(t, os.Remove(name))
	}
	ana.agrees(id)
	a := ana.answer(id, "a missing recording", because(home.RecordingGone))
	if a.State != "preparing" || ana.noted("node: paused", "recording-gone") != 1 {
		t.Errorf("the answer is %+v", a)
	}
	for name, b := range files {
		ok(t, os.MkdirAll(filepath.Dir(name), 0o700))
		ok(t, os.WriteFile(name, b, 0o600))
	}
	ana.answer(id, "the end", is("delivered"))
	n.vault(1, "open")
}

// What a recorder rolls off while its owner thinks is on hold, and what it puts in its place is another recording.
func TestHeldRecordingsRollOff(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.wait("the hold", func() bool { return ana.shown(id).Held })
	for name, b := range n.footage("ana") {
		if !strings.Contains(name, ".porchlight") {
			ok(t, os.Remove(name))
			ok(t, os.WriteFile(name+".new", b[:len(b)/2], 0o600))
			ok(t, os.Rename(name+".new", name))
		}
	}
	ana.agrees(id)
	a := ana.answer(id, "the end", is("delivered"))
	if r := a.Releases[0]; r.Until.Sub(r.From) < 40*time.Second {
		t.Errorf("the clip is %v long", r.Until.Sub(r.From))
	}
}

// The sealed copy that waits to be sent is cut short, loses a bit or vanishes. It cannot be made again under the
// same grant, so the answer ends, says why, and a new decision sends the clip.
func TestAPreparedClipIsDamaged(t *testing.T) {
	n := newNeighbourhood(t)
	line := n.lines(1)[0]
	line.Shut()
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	spoil := []func(string) error{
		func(name string) error { return os.Truncate(name, 1000) },
		os.Remove,
		func(name string) error {
			b, err := os.ReadFile(name)
			ok(t, err)
			b[len(b)/2] ^= 4
			return os.WriteFile(name, b, 0o600)
		},
	}
	for range spoil {
		ana.agrees(id)
	}
	for i, a := range ana.answers(id, "waiting").Answers {
		ok(t, spoil[i](filepath.Join(ana.dir, "answers", a.ID, "0.sealed")))
	}
	line.Open()
	for _, a := range ana.answers(id, "failed").Answers {
		if a.Reason != home.CopyDamaged {
			t.Errorf("the answer is %+v", a)
		}
	}
	if count := ana.noted("node: stopped", "copy-damaged"); count != len(spoil) {
		t.Errorf("the ledger tells of %d damaged copies", count)
	}
	if n.opened() != 0 {
		t.Error("a damaged clip can be opened")
	}
	ana.agrees(id)
	ana.answer(id, "the end of a new answer", is("delivered"))
	n.vault(1, "open")
}

// More is asked about than may be kept from roll-off: the inbox and the ledger name it, until there is room.
func TestHoldQuota(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", near, 0)
	ana.stop()
	ana.edit("[home]", "[home]\nhold_quota_mb = 0")
	ana = n.run(ana.dir, node.Home)
	id := n.policeAsk(n.draft())
	if c := ana.shown(id); c.Reason != "hold-quota" || !strings.Contains(c.Problem, "3 of 3 recordings are not kept") {
		t.Errorf("the card says %q: %s", c.Reason, c.Problem)
	}
	if ana.noted("node: not all kept from roll-off", "hold-quota") != 1 {
		t.Error("the ledger does not tell of it")
	}
	ana.stop()
	ana.edit("hold_quota_mb = 0", "hold_quota_mb = 100")
	ana = n.run(ana.dir, node.Home)
	ana.wait("the hold", func() bool { c := ana.shown(id); return c.Held && c.Reason == "" && c.Problem == "" })
	if ana.noted("node: all kept from roll-off", "after hold-quota") != 1 {
		t.Error("the ledger does not tell that they are kept")
	}
}
