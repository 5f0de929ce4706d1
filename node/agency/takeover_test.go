package agency

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
)

func (d *desk) cards() int {
	d.Helper()
	all, err := filepath.Glob(filepath.Join(d.dir, "keys", "taking", "*"))
	ok(d, err)
	return len(all)
}

// What opens a key that was passed on goes with its card: where it stayed, the file of the transfer would open for ever.
func TestCardsAreDestroyed(t *testing.T) {
	d := newDesk(t)
	e, h := d.passed()
	secret, err := os.ReadFile(e.agency.takingPath([]byte(h.card)))
	ok(t, err)
	_, err = h.takes()
	ok(t, err)
	if e.cards() != 0 {
		t.Error("a used card is here")
	}
	// A crash came before it was destroyed.
	ok(t, os.WriteFile(e.agency.takingPath([]byte(h.card)), secret, 0o600))
	e.restart()
	ok(t, e.agency.expire())
	if e.cards() != 0 {
		t.Error("after a restart a used card is here")
	}
	_, err = e.agency.invite(t.Context(), struct{}{})
	ok(t, err)
	e.skip(13 * 24 * time.Hour)
	ok(t, e.agency.expire())
	if e.cards() != 1 {
		t.Error("a card that may be used is gone")
	}
	e.skip(2 * 24 * time.Hour)
	ok(t, e.agency.expire())
	if e.cards() != 0 {
		t.Error("an expired card is here")
	}
}

// The fault table of taking over: at no call of the disk does a failure or a crash leave a key that no deadline knows of, and what is
// taken over is told to its owner.
func TestFaultsOfTakingOver(t *testing.T) {
	d := newDesk(t)
	e, h := d.passed()
	ok(t, e.agency.Close())
	durabletest.Table(t, e.dir, 2, func(t *testing.T, r *durabletest.Run) {
		x := *e
		x.T, x.dir, x.disk = t, r.Dir, r.Disk.Disk()
		x.open()
		defer func() { x.agency.Close() }()
		keys := func() int {
			all, err := filepath.Glob(filepath.Join(x.dir, "keys", "release", "*-*"))
			ok(t, err)
			return len(all)
		}
		whole := func() {
			t.Helper()
			if n, held := keys(), len(x.agency.vault.list()); n > held {
				t.Errorf("%d keys, and the vault holds %d releases", n, held)
			}
		}
		r.Begin()
		_, err := x.agency.takeOver(t.Context(), TakeOver{File: h.file})
		heard := r.Done(err) && err == nil
		if r.Lives() {
			ok(t, x.agency.expire())
			whole()
		} else {
			ok(t, x.agency.Close())
			ok(t, r.Restart())
			x.open()
			whole()
		}
		if held := len(x.agency.vault.list()); heard && held != 1 {
			t.Errorf("it was taken over, and the vault holds %d releases", held)
		}
		if _, err := x.agency.takeOver(t.Context(), TakeOver{File: h.file}); err != nil && len(x.agency.vault.list()) == 0 {
			t.Errorf("it cannot be taken over any more: %v", err)
		}
		ok(t, x.agency.expire())
		if len(x.agency.vault.messages) == 0 || x.cards() != 0 || keys() != 1 || x.agency.vault.list()[0].State != "open" {
			t.Errorf("%d messages, %d cards, %d keys, %+v", len(x.agency.vault.messages), x.cards(), keys(), x.agency.vault.list())
		}
		x.skip(h.grant.Terms.RetainUntil.Sub(x.now))
		ok(t, x.agency.expire())
		if keys() != 0 {
			t.Error("a key is here past its deadline")
		}
	})
}
