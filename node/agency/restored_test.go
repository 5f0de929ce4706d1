package agency

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/backup"
)

// restored loses the desk's disk and makes its folder anew of a backup.
func (d *desk) restored() {
	d.Helper()
	id, err := age.GenerateX25519Identity()
	ok(d, err)
	file := filepath.Join(d.TempDir(), "police.age")
	_, err = backup.Save(d.dir, file, false, d.now, id.Recipient())
	ok(d, err)
	ok(d, d.agency.Close())
	ok(d, os.RemoveAll(d.dir))
	_, err = backup.Restore(file, d.dir, backup.Options{Now: func() time.Time { return d.now }}, id)
	ok(d, err)
	d.open()
}

// What the agency held is listed as lost, counts to its deadline and is then logged as deleted. What
// had not arrived comes again, and so does what its home did not see confirmed.
func TestPromise09RestoredVaultKeepsItsDeadlines(t *testing.T) {
	d := newDesk(t)
	arriving, sealed, open := d.answer(3<<20, nil), d.answer(2<<20, nil), d.answer(1<<20, nil)
	arriving.send(arriving.begin(), 2)
	for _, a := range []*answer{sealed, open} {
		a.send(a.begin(), 99)
		ok(t, a.complete())
	}
	ok(t, open.receiver().Key(t.Context(), open.from, open.root, []byte(open.secret)))
	receipt, err := os.ReadFile(open.path(".receipt"))
	ok(t, err)
	d.restored()
	for a, want := range map[*answer]string{arriving: "arriving", sealed: "lost", open: "lost"} {
		if got := a.state(); got != want {
			t.Errorf("a release is %s, want %s", got, want)
		}
	}
	if again, err := os.ReadFile(open.path(".receipt")); err != nil || string(again) != string(receipt) {
		t.Errorf("the receipt came back as another: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(d.dir, "keys", "release", "*-*")); err != nil || len(left) > 0 {
		t.Errorf("release keys came back: %v, %v", left, err)
	}
	err = open.exported(filepath.Join(t.TempDir(), "clip"))
	wants(t, err, "lost with the disk it was on")
	if node.HintOf(err) == "" {
		t.Error("no way out is shown")
	}

	// Their homes come back for what they did not see through.
	for _, a := range []*answer{arriving, sealed} {
		wants(t, a.receiver().Key(t.Context(), a.from, a.root, []byte(a.secret)), "key for a release that is arriving")
		s := a.begin()
		if s.Have() != 0 {
			t.Errorf("%d blocks are here", s.Have())
		}
		a.send(s, 99)
		ok(t, a.complete())
		ok(t, a.receiver().Key(t.Context(), a.from, a.root, []byte(a.secret)))
		d.restart()
		if a.state() != "open" {
			t.Errorf("sent again, it is %s", a.state())
		}
	}

	d.skip(11 * 24 * time.Hour) // the request is over
	ok(t, d.agency.expire())
	if open.state() != "lost" {
		t.Errorf("before its deadline it is %s", open.state())
	}
	d.skip(30 * 24 * time.Hour)
	ok(t, d.agency.expire())
	d.restart()
	for _, a := range []*answer{arriving, sealed, open} {
		if a.state() != "deleted" {
			t.Errorf("past its deadline it is %s", a.state())
		}
	}
	steps := map[string]int{}
	entries, err := d.agency.custody.Entries()
	ok(t, err)
	for _, e := range entries {
		steps[e.Step]++
	}
	if steps["restored"] != 1 || steps["lost release deleted"] != 1 || steps["release key destroyed"] != 2 {
		t.Errorf("custody log: %v", steps)
	}
}

// A backup of before the agency was admitted holds no docket, and its node may have signed one since.
func TestRestoredBeforeTheFirstEntry(t *testing.T) {
	d := newDesk(t)
	ok(t, os.RemoveAll(filepath.Join(d.dir, "dockets")))
	d.restored()
	_, err := d.agency.peer.Docket(d.agency.agency).Append(d.sign(d.ask, d.officer, d.supervisor), d.agency.key, d.now)
	wants(t, err, "the network has not been asked yet")
	s, err := d.agency.resume(t.Context(), Resume{})
	if err != nil || s.Signs || s.Entries != 0 || s.Restored == nil {
		t.Errorf("state: %+v, %v", s, err)
	}
	s, err = d.agency.resume(t.Context(), Resume{Alone: true})
	if err != nil || !s.Signs {
		t.Errorf("alone: %+v, %v", s, err)
	}
	entries, err := d.agency.custody.Entries()
	ok(t, err)
	if last := entries[len(entries)-1]; last.Step != "docket resumed alone" || last.Subject != string(d.agency.agency) {
		t.Errorf("custody log: %+v", last)
	}
}

// A request of after the backup can be answered by nobody, and is named.
func TestRestoredWithoutAReceptionKey(t *testing.T) {
	d := newDesk(t)
	ok(t, os.RemoveAll(filepath.Join(d.dir, "keys", "reception")))
	d.restored()
	s, err := d.agency.resume(t.Context(), Resume{})
	if err != nil || len(s.Deaf) != 1 || s.Deaf[0] != consent.RequestID(d.id) {
		t.Errorf("state: %+v, %v", s, err)
	}
}

// A backup made while the docket grows has every entry that its checkpoint stands for.
func TestBackupWhileTheDocketGrows(t *testing.T) {
	d := newDesk(t)
	id, err := age.GenerateX25519Identity()
	ok(t, err)
	done := make(chan error)
	go func() {
		docketOf := d.agency.peer.Docket(d.agency.agency)
		for range 60 {
			key, err := consent.GenerateKey(rand.Reader, "Det.Lane")
			if err != nil {
				done <- err
				return
			}
			note, err := consent.Sign(docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Lane", Key: key.Verifier(),
				Expires: consent.At(d.now.AddDate(1, 0, 0)), Created: consent.At(d.now), By: d.supervisor.Verifier()}, d.supervisor)
			if err == nil {
				_, err = docketOf.Append(note, d.agency.key, d.now)
			}
			if err == nil {
				err = d.agency.custody.Note("cli", "test", "", "")
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	work := t.TempDir()
	for i, last := 0, int64(0); ; i++ {
		file, dir := filepath.Join(work, strconv.Itoa(i)), filepath.Join(work, strconv.Itoa(i)+"-node")
		_, err := backup.Save(d.dir, file, false, d.now, id.Recipient())
		ok(t, err)
		_, err = backup.Restore(file, dir, backup.Options{}, id)
		ok(t, err)
		a, err := Open(t.Context(), dir, node.Options{})
		ok(t, err)
		size := a.peer.Docket(a.agency).Size()
		ok(t, a.Close())
		if size < last {
			t.Errorf("the docket had %d entries, and then %d", last, size)
		}
		last = size
		select {
		case err := <-done:
			ok(t, err)
			t.Logf("%d backups, the last with %d entries", i+1, last)
			return
		default:
		}
	}
}
