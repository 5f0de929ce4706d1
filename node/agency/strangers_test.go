package agency

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
)

// Grants of which nothing ever comes are few, whatever request they answer; what did come, and who is sending, stays.
func TestEmptyGrantsAreFew(t *testing.T) {
	d := newDesk(t)
	sent := d.answer(1, nil)
	ok(t, sent.offer())
	sent.send(sent.begin(), 99)
	v := d.agency.vault
	var first *answer
	for i := range maxEmpty + 3 {
		d.now = d.now.Add(time.Second)
		a := d.answer(1, nil)
		ok(t, a.offer())
		if i == 0 {
			first = a
		}
	}
	if len(v.grants) != maxEmpty+1 || first.state() != "unknown" || sent.state() == "unknown" {
		t.Errorf("%d grants; the oldest empty one is %s, the one that sent something %s", len(v.grants), first.state(), sent.state())
	}
	// It comes back as it came.
	ok(t, first.offer())
	d.skip(emptyFor + time.Second)
	ok(t, d.agency.expire())
	if len(v.grants) != 1 || sent.state() == "unknown" {
		t.Errorf("%d grants an hour later; the one that sent something is %s", len(v.grants), sent.state())
	}
	ok(t, first.offer())
}

// A thousand refusals are no thousand lines.
func TestRefusalsCostFewLines(t *testing.T) {
	d := newDesk(t)
	var log bytes.Buffer
	d.agency.peer.Log = slog.New(slog.NewTextHandler(&log, nil))
	d.agency.vault.limit = 1 << 20
	for range 50 {
		wants(t, d.answer(4<<20, nil).offer(), "the vault is full")
		wants(t, d.answer(1, func(g *grant.Grant) { g.Request = consent.RequestID(strings.Repeat("0", 64)) }).offer(), "answers no request")
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	if n := len(d.agency.log); n > maxReceived {
		t.Errorf("%d are remembered", n)
	}
}

// A grant of which nothing came is dropped, and the disk fails at that, at whatever call. Its home comes back at once: what it sends then
// is there after a restart, and its key has a deadline.
func TestAHomeComesBackToAGrantHalfDropped(t *testing.T) {
	for at := range 12 {
		d := newDesk(t)
		disk := &durabletest.Disk{}
		ok(t, d.agency.Close())
		d.disk = disk.Disk()
		d.open()
		a := d.answer(1, nil)
		ok(t, a.offer())
		d.skip(emptyFor + time.Second)
		disk.Fail(durabletest.Row{At: at, How: durabletest.Lost})
		err := d.agency.expire()
		disk.Heal()
		a.send(a.begin(), 99)
		ok(t, a.complete())
		ok(t, a.receiver().Key(t.Context(), a.from, a.root, []byte(a.secret)))
		d.restart()
		if s := a.state(); s != "open" {
			t.Errorf("call %d failed (%v), and the release is %s", at, err, s)
		}
	}
}
