package agency

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

// The fault table of an agency: every step of taking in a release, and of destroying it × every call
// it makes of the disk × what goes wrong there × what becomes of the machine.

// A bench is a copy of an answer and its agency on a disk of the test's.
type bench struct {
	*answer
	r *durabletest.Run
}

// on makes a bench for a run.
func (a *answer) on(t *testing.T, r *durabletest.Run) *bench {
	t.Helper()
	d, b := *a.desk, *a
	d.T, d.dir, d.disk = t, r.Dir, r.Disk.Disk()
	b.desk = &d
	d.open()
	return &bench{answer: &b, r: r}
}

// folder is a copy of the agency's folder as it is.
func (a *answer) folder() string {
	a.Helper()
	ok(a, a.agency.Close())
	dir := filepath.Join(durabletest.TempDir(a.T), "copy")
	ok(a, os.CopyFS(dir, os.DirFS(a.dir)))
	a.open()
	return dir
}

// again opens the folder after what the row says became of the machine. What is read then stays,
// whatever happens to the power.
func (b *bench) again() {
	b.Helper()
	ok(b, b.agency.Close())
	ok(b, b.r.Restart())
	b.open()
	b.whole()
	row := b.r.Row
	if row == nil || row.End > durabletest.Killed || row.How == durabletest.Gone {
		return
	}
	before := b.state()
	ok(b, b.agency.Close())
	ok(b, b.r.Disk.PowerCut(durabletest.Nothing))
	b.open()
	b.whole()
	if after := b.state(); after != before {
		b.Errorf("read at start: %s, and after a power cut: %s", before, after)
	}
}

// whole holds what must be so at any time: no receipt without the sealed release, no key without one
// that says when it goes.
func (b *bench) whole() {
	b.Helper()
	state := b.state()
	if _, err := os.Stat(b.path(".receipt")); err == nil && state != "deleted" && b.now.Before(b.grant.Terms.RetainUntil.Time) {
		if sealed, err := os.ReadFile(b.path(".sealed")); err != nil || !bytes.Equal(sealed, b.sealed) {
			b.Errorf("a receipt was signed, and of the sealed release there are %d bytes: %v", len(sealed), err)
		}
	}
	if keys := b.keys(); keys > 0 && state != "sealed" && state != "open" && b.now.Before(b.grant.Terms.RetainUntil.Time) {
		b.Errorf("a key is here, and the release is %s", state)
	}
}

// keys counts the files that have the release key in them.
func (b *bench) keys() (n int) {
	ok(b, filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(b.secret)) {
			n++
		}
		return err
	}))
	return n
}

func (b *bench) noted(step string) {
	b.Helper()
	entries, err := b.agency.custody.Entries()
	ok(b, err)
	for _, e := range entries {
		if e.Step == step || step == "release key destroyed" && e.Step == "lost release deleted" {
			return
		}
	}
	b.Errorf("the custody log says nothing of %q", step)
}

func (b *bench) key() error {
	return b.receiver().Key(b.Context(), b.from, b.root, []byte(b.secret))
}

func TestFaults(t *testing.T) {
	d := newDesk(t)
	a := d.answer(9<<10, nil)
	rows := 0
	table := func(name string, every int, try func(b *bench)) {
		folder := a.folder()
		t.Run(name, func(t *testing.T) {
			rows += durabletest.Table(t, folder, every, func(t *testing.T, r *durabletest.Run) {
				b := a.on(t, r)
				defer func() { b.agency.Close() }()
				try(b)
			})
		})
	}

	// An acceptance that was handed out is the one that is given again.
	table("grant", 2, func(b *bench) {
		b.r.Begin()
		given, _, err := b.receiver().Grant(b.Context(), b.from, b.note)
		heard := b.r.Done(err)
		if b.r.Lives() && err != nil {
			given, _, err = b.receiver().Grant(b.Context(), b.from, b.note)
			ok(b, err)
		}
		b.again()
		got, _, again := b.receiver().Grant(b.Context(), b.from, b.note)
		ok(b, again)
		if heard && err == nil && !bytes.Equal(got, given) {
			b.Error("another acceptance than before")
		}
		b.again()
		b.noted("grant accepted")
		ok(b, b.agency.custody.Note("test", "still open", "", ""))
	})
	ok(t, a.offer())

	table("manifest", 2, func(b *bench) {
		put := func() error { return b.receiver().Manifest(b.Context(), b.from, b.root, b.manifest) }
		b.r.Begin()
		err := put()
		heard := b.r.Done(err)
		if b.r.Lives() {
			ok(b, put())
			err = nil
		}
		b.again()
		if heard && err == nil && b.agency.vault.grants[grant.IDOf(b.note)].releases[b.root].manifest == nil {
			b.Error("the manifest is gone")
		}
		b.send(b.begin(), 99)
		ok(b, b.complete())
	})

	a.send(a.begin(), 99)

	table("complete", 2, func(b *bench) {
		b.r.Begin()
		err := b.complete()
		heard := b.r.Done(err)
		b.whole()
		if b.r.Lives() {
			ok(b, b.complete())
			err = nil
		}
		b.again()
		if s := b.state(); heard && err == nil && s != "sealed" {
			b.Errorf("a receipt was given, and the release is %s", s)
		}
		b.send(b.begin(), 99)
		ok(b, b.complete())
		b.again()
		if b.state() != "sealed" {
			b.Errorf("done again, and the release is %s", b.state())
		}
		b.noted("sealed release held")
	})
	ok(t, a.complete())

	table("key", 2, func(b *bench) {
		b.r.Begin()
		err := b.key()
		heard := b.r.Done(err)
		if b.r.Lives() {
			ok(b, b.key())
			err = nil
			// Whatever a write that failed left behind goes with the key.
			b.skip(b.grant.Terms.RetainUntil.Sub(b.now))
			ok(b, b.agency.expire())
			if n := b.keys(); n != 0 {
				b.Errorf("the key was destroyed, and is in %d files", n)
			}
			return
		}
		b.again()
		if s := b.state(); heard && err == nil && s != "open" {
			b.Errorf("the key was taken, and the release is %s", s)
		}
		ok(b, b.key())
		b.again()
		b.noted("release key received")
		ok(b, b.exported(filepath.Join(b.r.Dir, "clip")))
	})
	ok(t, a.receiver().Key(t.Context(), a.from, a.root, []byte(a.secret)))

	// What a person has of a clip is on record before.
	table("export", 2, func(b *bench) {
		out := filepath.Join(b.r.Dir, "clip")
		b.r.Begin()
		err := b.exported(out)
		heard := b.r.Done(err)
		_, there := os.Stat(out)
		b.again()
		h := b.agency.vault.grants[grant.IDOf(b.note)]
		if k := h.releases[b.root]; there == nil || heard && err == nil {
			b.noted("release exported")
			if !k.Exported || !k.Used || !k.Deleted.IsZero() {
				b.Errorf("it was exported, and the record says %+v", k)
			}
			if n, _ := filepath.Glob(b.path(".acts")); len(n) != 1 {
				b.Error("no act is on record")
			}
		}
		if k := h.releases[b.root]; k.Used {
			note, err := os.ReadFile(b.path(".used.receipt"))
			ok(b, err)
			_, err = grant.OpenReceipt(note, b.ask.ReceptionKey)
			ok(b, err)
		}
		ok(b, b.exported(out))
	})

	// After destroy said so no byte of the key is left; what a crash interrupted is finished.
	a.skip(91 * 24 * time.Hour)
	table("destroy", 2, func(b *bench) {
		gone := func(when string) {
			b.Helper()
			left, _ := filepath.Glob(b.path(".[psn][aeo]*")) // .part, .sealed, .nodes
			if n := b.keys(); n != 0 || len(left) != 0 || b.state() != "deleted" {
				b.Errorf("%s: the key is in %d files, the release is %s; %v", when, n, b.state(), left)
			}
			b.noted("release key destroyed")
		}
		b.r.Begin()
		err := b.agency.expire()
		heard := b.r.Done(err)
		if b.r.Lives() {
			ok(b, b.agency.expire())
			gone("the next minute")
			err = nil
		}
		b.again()
		if heard && err == nil {
			gone("after a restart")
		}
		ok(b, b.agency.expire())
		gone("done again")
		b.again()
		gone("done again, after a restart")
	})
	a.skip(-91 * 24 * time.Hour)

	half := a.desk.answer(3<<20, nil)
	half.send(half.begin(), 3)
	a = half
	a.skip(11 * 24 * time.Hour)
	table("drop what came to nothing", 2, func(b *bench) {
		b.r.Begin()
		err := b.agency.expire()
		heard := b.r.Done(err)
		if b.r.Lives() {
			ok(b, b.agency.expire())
			err = nil
		}
		b.again()
		if heard && err == nil && b.state() != "unknown" {
			b.Errorf("dropped, and the release is %s", b.state())
		}
		ok(b, b.agency.expire())
		b.again()
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(b.path("")), "*")); b.state() != "unknown" || len(left) != 0 {
			b.Errorf("dropped again, and the release is %s; %v", b.state(), left)
		}
		b.noted("incomplete grant dropped")
	})
	a = newDesk(t).answer(3<<20, nil)
	ok(t, a.offer())
	// What was verified and written is there, but for what was not synced; what is there is what was verified.
	table("blocks", 6, func(b *bench) {
		session := func() (leaves int64, err error) {
			if err := b.receiver().Manifest(b.Context(), b.from, b.root, b.manifest); err != nil {
				return 0, err
			}
			s, err := b.receiver().Begin(b.Context(), b.from, b.root)
			if err != nil {
				return 0, err
			}
			for i := s.Have(); i < b.dag.Blocks() && err == nil; i++ {
				place, _ := b.dag.Layout().Place(i)
				block, berr := b.dag.Block(i, bytes.NewReader(b.sealed), make([]byte, release.ChunkSize))
				ok(b, berr)
				if err = s.Write(i, place.Leaf, block); err == nil && place.Leaf {
					leaves = place.Offset + place.Length
				}
			}
			return leaves, errors.Join(err, s.Close())
		}
		b.r.Begin()
		leaves, err := session()
		heard := b.r.Done(err)
		if b.r.Lives() {
			_, err = session()
			ok(b, err)
			ok(b, b.complete()) // no receipt for what a power cut takes away
			b.r.Row.End = durabletest.Nothing
			b.again()
			return
		}
		b.again()
		p, perr := openPart(b.r.Disk.Disk(), b.path(""), int64(len(b.sealed)))
		if perr == nil {
			got, _ := os.ReadFile(b.path(".part"))
			if p.at > int64(len(got)) || !bytes.Equal(got[:p.at], b.sealed[:p.at]) {
				b.Error("what counts as there is not what was sent")
			}
			if sure := b.r.Row == nil || b.r.Row.How == durabletest.Crashed; sure && leaves-p.at > syncEvery {
				b.Errorf("%d bytes are gone", leaves-p.at)
			}
			if heard && err == nil && p.have != b.dag.Blocks() {
				b.Errorf("%d of %d blocks are there", p.have, b.dag.Blocks())
			}
			ok(b, p.Close())
		} else if _, err := os.Stat(filepath.Dir(b.path(""))); err == nil {
			b.Error(perr)
		}
		_, err = session()
		ok(b, err)
		ok(b, b.complete())
		ok(b, b.r.Disk.PowerCut(durabletest.Nothing))
		b.whole()
	})
	t.Logf("%d rows", rows)
}

// The card that a person was shown has the key that the node signs with; a folder whose making was
// interrupted is none, and is made anew.
func TestFaultsOfInit(t *testing.T) {
	args := InitArgs{Name: "Elmford Police", Class: charter.LocalPolice, Supervisors: []consent.VerifierKey{newKey(t, "Sgt.Stone").Verifier()},
		Jurisdiction: geo.Circle(geo.Point{Lat: 44, Lon: -40}, 5000, 32), PolicyURL: "https://example.org/policy"}
	rows := durabletest.Table(t, t.TempDir(), 1, func(t *testing.T, r *durabletest.Run) {
		dir, args := filepath.Join(r.Dir, "police"), args
		args.Disk = r.Disk.Disk()
		r.Begin()
		card, err := Init(dir, args)
		shown := r.Done(err) && err == nil
		ok(t, r.Restart())
		switch _, rerr := node.RoleOf(dir); {
		case shown && rerr != nil:
			t.Fatal("the agency that was made is gone:", rerr)
		case rerr != nil:
			card, err = Init(dir, args)
			ok(t, err)
			ok(t, r.Disk.PowerCut(durabletest.Nothing))
			shown = true
		}
		a, err := Open(t.Context(), dir, node.Options{Disk: args.Disk})
		ok(t, err)
		defer a.Close()
		text, err := os.ReadFile(filepath.Join(dir, "agency.card"))
		ok(t, err)
		kept, err := charter.OpenCard(text)
		ok(t, err)
		if kept.Key != a.key.Verifier() || shown && kept.Key != card.Key {
			t.Errorf("the card has the key %s, the one shown %s, the node %s", kept.Key, card.Key, a.key.Verifier())
		}
	})
	t.Logf("%d rows", rows)
}
