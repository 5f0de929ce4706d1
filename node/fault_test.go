package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
)

// The fault table of what every node keeps: dockets, its own and others', the charter, a custody log
// and its keys × every call made of the disk × what goes wrong there × what becomes of the machine.

// A place is a node's folder on a disk of the test's.
type place struct {
	*Peer
	t     *testing.T
	r     *durabletest.Run
	p     *police
	shown map[int64]tlog.Hash // the roots that somebody may have seen
}

func openPlace(t *testing.T, r *durabletest.Run, p *police) *place {
	t.Helper()
	h := &place{t: t, r: r, p: p, shown: map[int64]tlog.Hash{}}
	h.open()
	return h
}

func (h *place) open() {
	h.t.Helper()
	var err error
	if h.Peer, err = OpenPeer(h.r.Dir, Options{Disk: h.r.Disk.Disk()}); err != nil {
		h.t.Fatal(err)
	}
	h.look()
}

// again opens the folder after what the row says became of the machine, and after a power cut: what
// is read at start stays.
func (h *place) again() {
	h.t.Helper()
	h.Close()
	if err := h.r.Restart(); err != nil {
		h.t.Fatal(err)
	}
	h.open()
	before := h.sum()
	h.Close()
	if err := h.r.Disk.PowerCut(durabletest.Nothing); err != nil {
		h.t.Fatal(err)
	}
	h.open()
	if after := h.sum(); !slices.Equal(before, after) {
		h.t.Errorf("read at start: %v, after a power cut: %v", before, after)
	}
}

func (h *place) sum() []any {
	d := h.docket()
	return []any{d.Size(), d.Root(), d.Forked(), h.Charter().Version}
}

func (h *place) docket() *Docket { return h.Docket(h.p.self.ID()) }

// look takes note of what the docket shows: for each size one root, for good.
func (h *place) look() {
	h.t.Helper()
	size, note := h.docket().Head()
	if size == 0 {
		return
	}
	cp, err := docket.ParseCheckpoint(note, h.p.self)
	if err != nil {
		h.t.Fatal(err)
	}
	if root, ok := h.shown[cp.Size]; ok && root != cp.Root {
		h.t.Fatalf("two versions of the docket with %d entries were shown", cp.Size)
	}
	h.shown[cp.Size] = cp.Root
}

func (h *place) ask() []byte { return must(consent.Sign(h.p.request(), h.p.officer, h.p.sergeant)) }

func TestFaults(t *testing.T) {
	p := newPolice(t)
	p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	checkpoint := p.log.Checkpoint()
	start := filepath.Join(durabletest.TempDir(t), "node")
	if err := errors.Join(Create(start, Agency), WriteCharter(durable.Disk{}, filepath.Join(start, "charter"), p.chain)); err != nil {
		t.Fatal(err)
	}
	begun := filepath.Join(durabletest.TempDir(t), "node")
	if err := os.CopyFS(begun, os.DirFS(start)); err != nil {
		t.Fatal(err)
	}
	own := must(OpenPeer(begun, Options{}))
	must(own.Docket(p.self.ID()).Append(p.notes[0], p.docket, time.Now()))
	own.Close()

	rows := 0
	table := func(name, folder string, try func(h *place)) {
		t.Run(name, func(t *testing.T) {
			rows += durabletest.Table(t, folder, 1, func(t *testing.T, r *durabletest.Run) {
				h := openPlace(t, r, p)
				defer func() { h.Close() }()
				try(h)
			})
		})
	}

	// Whatever was shown under the agency's signature is never contradicted, and what Append said stands.
	table("append to the own docket", begun, func(h *place) {
		note, other := h.ask(), h.ask()
		h.r.Begin()
		_, err := h.docket().Append(note, p.docket, time.Now())
		heard := h.r.Done(err)
		if heard && (h.r.Lives() || err == nil) {
			h.look()
		}
		if h.r.Lives() && err != nil {
			if _, err = h.docket().Append(other, p.docket, time.Now()); err != nil {
				h.t.Error("again:", err)
			}
			h.look()
			err = errors.New("the first failed")
		}
		h.again()
		if _, stands := h.docket().Find(note); heard && err == nil && !stands {
			h.t.Error("an entry that was appended is gone")
		}
		for _, n := range [][]byte{other, note} {
			if _, stands := h.docket().Find(n); !stands {
				if _, err := h.docket().Append(n, p.docket, time.Now()); err != nil {
					h.t.Fatal("again:", err)
				}
				h.look()
			}
		}
		h.again()
		if size := h.docket().Size(); size != 3 {
			h.t.Errorf("%d entries", size)
		}
	})

	// Of the entries that lead to a checkpoint all are taken in or none, whichever the disk keeps of them.
	for name, folder := range map[string]string{"take in a docket": start, "take in the rest of a docket": begun} {
		table(name, folder, func(h *place) {
			d := h.docket()
			from := d.Size()
			h.r.Begin()
			err := d.Extend(from, p.notes[from:], checkpoint)
			heard := h.r.Done(err)
			if h.r.Lives() {
				if err := h.docket().Extend(from, p.notes[from:], checkpoint); err != nil {
					h.t.Error("again:", err)
				}
				err = nil
			}
			h.again()
			if size := h.docket().Size(); size != 3 && (size != from || heard && err == nil) {
				h.t.Errorf("%v, and %d entries", err, size)
			}
			if err := h.docket().Extend(from, p.notes[from:], checkpoint); err != nil {
				h.t.Fatal("again:", err)
			}
			h.again()
			for i, want := range p.notes {
				if got, err := h.docket().Read(int64(i)); err != nil || string(got) != string(want) {
					h.t.Errorf("entry %d: %v", i, err)
				}
			}
		})
	}

	// Who signed two versions is found out for good, or at the next occasion.
	fork := newPolice(t)
	fork.docket, fork.self = p.docket, p.self
	fork.log = must(docket.Open(p.self, charter.Quotas{}, &fork.notes, 0))
	fork.notes = nil
	fork.append(must(consent.Sign(docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Other", Key: fork.officer.Verifier(),
		Expires: consent.At(time.Now().AddDate(0, 3, 0)), Created: consent.At(time.Now()), By: p.sergeant.Verifier()}, p.sergeant)))
	contrary := fork.log.Checkpoint()
	table("a docket of two versions", begun, func(h *place) {
		h.r.Begin()
		err := h.docket().CompareNote(contrary)
		heard := h.r.Done(nil)
		if heard && !errors.Is(err, errForked) || heard && !h.docket().Forked() {
			h.t.Errorf("%v, forked %v", err, h.docket().Forked())
		}
		if h.r.Lives() {
			h.docket().CompareNote(contrary)
			err = errForked
		}
		h.again()
		if heard && err.Error() == errForked.Error() && !h.docket().Forked() {
			h.t.Error("it is forgotten")
		}
		h.docket().CompareNote(contrary)
		h.again()
		if !h.docket().Forked() {
			h.t.Error("it is forgotten again")
		}
	})

	next := *p.chain.Current()
	next.Version, next.Previous = 2, p.chain.CurrentHash()
	second := must(consent.Sign(next, p.ana))
	table("the charter's next version", begun, func(h *place) {
		admit := func() error {
			if err := h.AdmitCharter(second); !errors.Is(err, errKnown) {
				return err
			}
			return nil
		}
		h.r.Begin()
		err := admit()
		heard := h.r.Done(err)
		if h.r.Lives() {
			err = admit()
			if err != nil {
				h.t.Error("again:", err)
			}
		}
		h.again()
		if heard && err == nil && h.Charter().Version != 2 {
			h.t.Errorf("version %d", h.Charter().Version)
		}
		if err := admit(); err != nil {
			h.t.Fatal("again:", err)
		}
		h.again()
		if h.Charter().Version != 2 {
			h.t.Errorf("version %d", h.Charter().Version)
		}
	})

	// The chain verifies at every start, and has every step that was noted.
	t.Run("custody", func(t *testing.T) {
		rows += durabletest.Table(t, start, 1, func(t *testing.T, r *durabletest.Run) {
			path := filepath.Join(r.Dir, "ledger")
			open := func() *Custody {
				t.Helper()
				c, err := OpenCustody(r.Disk.Disk(), path, time.Now)
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			var noted []string
			note := func(c *Custody, step string) error {
				err := c.Note("node", step, "", "")
				if err == nil && !r.Disk.Dead() {
					noted = append(noted, step)
				}
				return err
			}
			c := open()
			if err := note(c, "first"); err != nil {
				t.Fatal(err)
			}
			r.Begin()
			errs := errors.Join(note(c, "second"), note(c, "third"))
			r.Done(errs)
			if r.Lives() {
				if err := note(c, "fourth"); err != nil {
					t.Error("again:", err)
				}
			}
			c.Close()
			for range 2 {
				if err := r.Restart(); err != nil {
					t.Fatal(err)
				}
				c = open()
				if err := note(c, "later"); err != nil {
					t.Error("again:", err)
				}
				c.Close()
			}
			c = open()
			defer c.Close()
			entries, err := c.Entries()
			if err != nil {
				t.Fatal(err)
			}
			i := 0
			for _, e := range entries {
				if i < len(noted) && e.Step == noted[i] {
					i++
				}
			}
			if i < len(noted) {
				t.Errorf("noted %v, found %+v", noted, entries)
			}
		})
	})

	// A folder is a node's, whole, or is said to be none and can be made again.
	t.Run("create", func(t *testing.T) {
		rows += durabletest.Table(t, t.TempDir(), 1, func(t *testing.T, r *durabletest.Run) {
			dir := filepath.Join(r.Dir, "new")
			r.Begin()
			err := CreateWith(r.Disk.Disk(), dir, Home, nil)
			heard := r.Done(err)
			if err := r.Restart(); err != nil {
				t.Fatal(err)
			}
			role, rerr := RoleOf(dir)
			switch {
			case heard && err == nil && rerr != nil:
				t.Fatalf("the node that was made is gone: %v", rerr)
			case errors.Is(rerr, fs.ErrNotExist):
				if HintOf(rerr) == "" {
					t.Error("no way out is named")
				}
				if err := CreateWith(r.Disk.Disk(), dir, Home, nil); err != nil {
					t.Fatal("again:", err)
				}
				if err := r.Disk.PowerCut(durabletest.Nothing); err != nil {
					t.Fatal(err)
				}
			case rerr != nil || role != Home:
				t.Fatalf("role %q, %v", role, rerr)
			}
			node, err := OpenPeer(dir, Options{Disk: r.Disk.Disk()})
			if err != nil {
				t.Fatal(err)
			}
			defer node.Close()
			key, err := node.State.PeerKey()
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Disk.PowerCut(durabletest.Nothing); err != nil {
				t.Fatal(err)
			}
			if now, err := node.State.PeerKey(); err != nil || !now.Equal(key) {
				t.Errorf("another key than the node used: %v", err)
			}
		})
	})
	t.Logf("%d rows", rows)
}

// A folder whose file role is gone is not made anew over its keys.
func TestCreateKeepsKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	if err := Create(dir, Home); err != nil {
		t.Fatal(err)
	}
	must(OpenState(dir)).Close()
	if err := os.Remove(filepath.Join(dir, "role")); err != nil {
		t.Fatal(err)
	}
	if err := Create(dir, Home); err == nil || HintOf(err) == "" {
		t.Errorf("made anew: %v", err)
	}
}
