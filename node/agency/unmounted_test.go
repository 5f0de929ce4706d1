package agency

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
	"github.com/porchlight-mesh/porchlight/node"
)

// unmounts takes a disk away from a folder of the agency, or puts it back.
func (d *desk) unmounts(folder string) {
	d.Helper()
	at, away := filepath.Join(d.dir, folder), filepath.Join(d.dir, "away")
	if _, err := os.Stat(away); err == nil {
		ok(d, os.RemoveAll(at))
		ok(d, os.Rename(away, at))
		return
	}
	ok(d, os.Rename(at, away))
	ok(d, os.Mkdir(at, 0o700))
}

// refuses holds that the agency does not start, and says a way out.
func (d *desk) refuses(why string) {
	d.Helper()
	a, err := Open(d.Context(), d.dir, node.Options{Now: d.agency.peer.Now})
	if err == nil {
		a.Close()
	}
	if wants(d, err, why); node.HintOf(err) == "" {
		d.Error("no way out is shown")
	}
}

// A disk that is not mounted costs no release: with vault or keys away the agency does not start, and afterwards all is as it was.
func TestPromise09NothingIsDestroyedForWantOfADisk(t *testing.T) {
	d := newDesk(t)
	a := d.held(nil)
	for folder, why := range map[string]string{"vault": "is not the one that the release keys", "keys/release": "are not in"} {
		ok(t, d.agency.Close())
		d.unmounts(folder)
		d.refuses(why)
		d.refuses(why)
		d.unmounts(folder)
		d.open()
		if a.state() != "open" || !a.keyIsHere() {
			t.Fatalf("%s was away, and the release is %s", folder, a.state())
		}
	}

	// Of another agency, say.
	ok(t, d.agency.Close())
	id := filepath.Join(d.dir, "vault", "id")
	text, err := os.ReadFile(id)
	ok(t, err)
	ok(t, os.WriteFile(id, []byte("another\n"), 0o600))
	d.refuses("is not the one that the release keys")
	ok(t, os.WriteFile(id, text, 0o600))

	// What an earlier version left has no ids.
	keys := filepath.Join(d.dir, "keys", "release", "id")
	ok(t, os.Remove(id))
	ok(t, os.Remove(keys))
	d.unmounts("vault")
	d.refuses("is not the one that the release keys")
	d.unmounts("vault")
	d.open()
	if a.state() != "open" || !a.keyIsHere() {
		t.Errorf("a folder of an earlier version: the release is %s", a.state())
	}

	// The ways out, where a disk is gone for good.
	ok(t, d.agency.Close())
	ok(t, os.RemoveAll(filepath.Dir(keys)))
	ok(t, os.Remove(id))
	d.open()
	if a.state() != "lost" {
		t.Errorf("the keys are gone, and the release is %s", a.state())
	}
	ok(t, d.agency.Close())
	ok(t, os.RemoveAll(filepath.Dir(id)))
	d.refuses("is not the one that the release keys")
	ok(t, os.RemoveAll(filepath.Dir(keys)))
	d.open()
	if n := len(d.agency.vault.list()); n != 0 {
		t.Errorf("the vault is gone, and %d releases are in it", n)
	}
}

// The fault table of the first start, also of a folder of an earlier version: whatever is cut short, the next start is one.
func TestFaultsOfPairing(t *testing.T) {
	d := newDesk(t)
	a := d.held(nil)
	ok(t, d.agency.Close())
	for _, f := range []string{"vault", "keys/release"} {
		ok(t, os.Remove(filepath.Join(d.dir, f, "id")))
	}
	durabletest.Table(t, d.dir, 1, func(t *testing.T, r *durabletest.Run) {
		x, b := *d, *a
		x.T, x.dir, x.disk = t, r.Dir, r.Disk.Disk()
		b.desk = &x
		r.Begin()
		_, err := openVault(x.disk, filepath.Join(x.dir, "vault"), filepath.Join(x.dir, "keys", "release"), 1<<30)
		r.Done(err)
		ok(t, r.Restart())
		x.open()
		defer func() { x.agency.Close() }()
		if b.state() != "open" || !b.keyIsHere() {
			t.Errorf("the release is %s", b.state())
		}
		x.restart()
	})
}
