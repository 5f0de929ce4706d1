package home

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

// The fault table of a home: every step of a decision, of preparing and of sending × every call it
// makes of the disk × what goes wrong there × what becomes of the machine. After each row the node is
// opened again, or goes on, and the promises hold; then the step is done again and succeeds.

func TestFaults(t *testing.T) {
	base := newHouse(t)
	rows := 0
	table := func(name, folder string, try func(h *house)) {
		t.Run(name, func(t *testing.T) {
			every := 2
			if name == "prepare" {
				every = 6 // of many rows, and the slowest
			}
			rows += durabletest.Table(t, folder, every, func(t *testing.T, r *durabletest.Run) {
				h := openHouse(t, r)
				h.t = t
				defer func() { h.Close() }()
				try(h)
			})
		})
	}
	start := base.folder()

	// Who was told "approved" has one answer; who was told "not approved" has none, or was told how to see.
	table("approve", start, func(h *house) {
		h.r.Begin()
		err := h.agree()
		heard := h.r.Done(err)
		unsure := says(err, "may have recorded")
		switch n := h.going(); {
		case err == nil && n != 1, err != nil && n != 0:
			h.t.Errorf("%v, and %d answers", err, n)
		}
		if !h.r.Lives() {
			h.restart()
		}
		switch n := h.going(); {
		case n > 1, heard && err == nil && n != 1, heard && err != nil && n != 0 && !unsure:
			h.t.Errorf("%v, and %d answers", err, n)
		}
		if h.going() == 0 {
			if err := h.agree(); err != nil {
				h.t.Error("again:", err)
			}
			h.restart()
			if n := h.going(); n > 1 || n == 0 && !h.r.Lives() {
				h.t.Errorf("done again, %d answers", n)
			}
		}
	})

	// Declined or not, nothing is sent; who was told "declined" finds it so.
	table("decline", start, func(h *house) {
		no := func() error {
			_, err := h.decline(h.t.Context(), RequestArg{Request: string(h.asked())})
			return err
		}
		h.r.Begin()
		err := no()
		heard := h.r.Done(err)
		if h.r.Lives() {
			ok(h.t, no())
			err = nil
		}
		h.restart()
		if s := h.inbox[h.asked()].State; s != "declined" && (s != "new" || heard && err == nil) {
			h.t.Errorf("%v, and the request is %s", err, s)
		}
		ok(h.t, no())
		h.restart()
		if s := h.inbox[h.asked()].State; s != "declined" || len(h.answers) != 0 {
			h.t.Errorf("declined again, and the request is %s", s)
		}
	})

	ok(t, base.agree())
	approved := base.folder()

	// Either it is prepared anew, or all that is sent is there and fits together.
	table("prepare", approved, func(h *house) {
		h.r.Begin()
		err := h.advance(h.t.Context(), h.only().ID)
		h.r.Done(err)
		if !h.r.Lives() {
			h.restart()
		}
		switch h.only().State {
		case "waiting":
			h.fits()
		case "preparing":
		default:
			h.t.Errorf("the answer is %s: %s", h.only().State, h.only().Problem)
		}
		h.ready()
		h.restart()
		h.ready()
	})

	base.ready()
	waiting := base.folder()

	// Who took an answer back has it taken back, also in the next run; an error says what is left to do.
	table("withdraw", waiting, func(h *house) {
		h.r.Begin()
		err := h.takeBack()
		heard := h.r.Done(err)
		if heard && h.only().State != "withdrawn" {
			h.t.Errorf("%v, and the answer is %s", err, h.only().State)
		}
		if h.r.Lives() && err != nil {
			if err := h.takeBack(); err != nil {
				h.t.Error("again, in the same run:", err)
			}
		}
		h.restart()
		if a := h.only(); a.open() && heard && (err == nil || !says(err, "again after")) {
			h.t.Errorf("%v, and after a restart the answer is %s", err, a.State)
		}
		if h.only().open() {
			ok(h.t, h.takeBack())
			h.restart()
		}
		if h.only().open() {
			h.t.Errorf("taken back again, and the answer is %s", h.only().State)
		}
	})

	table("accepted", waiting, func(h *house) {
		s := h.begin()
		h.r.Begin()
		err := s.accepted(s.acceptance)
		heard := h.r.Done(err)
		if !h.r.Lives() {
			h.restart()
		}
		if heard && err == nil {
			if b, err := os.ReadFile(s.path("acceptance.note")); err != nil || !bytes.Equal(b, s.acceptance) {
				h.t.Errorf("the acceptance is not kept: %v", err)
			}
			h.wrote("terms accepted")
		}
		s = h.begin()
		if err := s.accepted(s.acceptance); err != nil {
			h.t.Error("again:", err)
		}
	})

	// The key leaves when received returns nil: by then receipt, record and ledger have it.
	table("received", waiting, func(h *house) {
		s := h.begin()
		h.r.Begin()
		err := s.received(s.root, s.receipt)
		heard := h.r.Done(err)
		kept := func() {
			h.t.Helper()
			rel := h.only().Releases[0]
			if _, err := grant.OpenReceipt(read(h.t, s.path("0.receipt")), reception.Verifier()); err != nil || !rel.Receipt || !rel.Key {
				h.t.Errorf("the key was given, and the record is %+v: %v", rel, err)
			}
			h.wrote("release key given")
		}
		if !h.r.Lives() {
			h.restart()
		}
		if heard && err == nil {
			kept()
		}
		s = h.begin()
		if err := s.received(s.root, s.receipt); err != nil {
			h.t.Fatal("again:", err)
		}
		h.restart()
		kept()
	})

	// Delivered once said stays; unsaid, it is sent again, which the requester answers with the same receipt.
	table("delivered", waiting, func(h *house) {
		s := h.begin()
		ok(h.t, s.received(s.root, s.receipt))
		h.r.Begin()
		err := h.step(s.answer, "sending", "delivered", nil)
		heard := h.r.Done(err)
		h.restart()
		if st := h.only().State; st != "delivered" && (st != "waiting" || heard && err == nil) {
			h.t.Errorf("%v, and the answer is %s", err, st)
		}
	})

	table("an answer that failed for good", waiting, func(h *house) {
		h.r.Begin()
		err := h.step(h.only().ID, "waiting", "failed", nil)
		heard := h.r.Done(err)
		if heard && h.only().State != "failed" {
			h.t.Errorf("%v, and the answer is %s", err, h.only().State)
		}
		h.restart()
		if st := h.only().State; st != "failed" && (st != "waiting" || heard && err == nil) {
			h.t.Errorf("%v, and the answer is %s", err, st)
		}
	})

	cameras(start, table)
	opening(t, &rows)
	t.Logf("%d rows", rows)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	ok(t, err)
	return b
}

// wrote wants a step in the ledger.
func (h *house) wrote(step string) {
	h.t.Helper()
	entries, err := h.ledger.Entries()
	ok(h.t, err)
	for _, e := range entries {
		if e.Step == step {
			return
		}
	}
	h.t.Errorf("the ledger says nothing of %q", step)
}

// fits holds the files of a prepared answer against each other.
func (h *house) fits() {
	h.t.Helper()
	a := h.only()
	g, err := grant.OpenGrant(read(h.t, h.file(a, "grant.note")))
	ok(h.t, err)
	if id := grant.IDOf(read(h.t, h.file(a, "grant.note"))); id != a.Grant || g.Request != a.Request || len(a.Releases) != 1 || len(g.Releases) != 1 {
		h.t.Fatalf("the grant is %s, the answer says %s; %+v", id, a.Grant, a.Releases)
	}
	key, err := node.ReadKey(h.file(a, "grant.key"))
	ok(h.t, err)
	if key.Verifier() != g.Key {
		h.t.Fatal("the grant is signed by another key than is kept")
	}
	later, err := age.ParseX25519Identity(strings.TrimSpace(string(read(h.t, h.file(a, "reach.key")))))
	ok(h.t, err)
	if later.Recipient().String() != g.Reach {
		h.t.Fatal("later messages go to another key than is kept")
	}
	manifest := read(h.t, h.file(a, "0.manifest"))
	m, err := grant.OpenManifest(manifest, g.Key)
	ok(h.t, err)
	sum := sha256.Sum256(manifest)
	if rel := g.Releases[0]; hex.EncodeToString(sum[:]) != rel.ManifestSHA256 || m.CID != rel.CID || a.Releases[0].Root != string(rel.CID) {
		h.t.Fatal("grant, manifest and answer speak of different releases")
	}
	var s secrets
	ok(h.t, node.ReadJSON(h.file(a, "secrets.json"), &s))
	if len(s.Releases) != 1 || len(s.Releases[0].Files) != len(m.Originals) {
		h.t.Fatalf("secrets of %d releases", len(s.Releases))
	}
	src, err := openSource(h.file(a, "0"), m.SealedBytes)
	ok(h.t, err)
	defer src.file.Close()
	root, err := release.ParseRoot(string(m.CID))
	ok(h.t, err)
	sealed := read(h.t, h.file(a, "0.sealed"))
	ok(h.t, release.Verify(h.t.Context(), bytes.NewReader(sealed), root))
	if src.dag.Root != root {
		h.t.Fatal("the nodes are of another release")
	}
	var plain bytes.Buffer
	ok(h.t, release.Open(h.t.Context(), &plain, bytes.NewReader(sealed), release.ReleaseKey(strings.TrimSpace(string(read(h.t, h.file(a, "0.key")))))))
	if sum := sha256.Sum256(plain.Bytes()); hex.EncodeToString(sum[:]) != m.PlainSHA256 {
		h.t.Fatal("the sealed release holds another clip")
	}
}

// visit is a session as far as the requester's words.
type visit struct {
	*session
	root                string
	acceptance, receipt []byte
}

func (h *house) begin() visit {
	h.t.Helper()
	a := h.only()
	if a.State != "sending" {
		ok(h.t, h.step(a.ID, a.State, "sending", nil))
	}
	g, err := grant.OpenGrant(read(h.t, h.file(a, "grant.note")))
	ok(h.t, err)
	m, err := grant.OpenManifest(read(h.t, h.file(a, "0.manifest")), g.Key)
	ok(h.t, err)
	r, err := h.peer.Request(string(a.Request))
	ok(h.t, err)
	acceptance, err := consent.Sign(grant.Acceptance{Grant: a.Grant, Terms: g.Terms, Key: reception.Verifier(), Created: consent.At(faultNow)}, reception)
	ok(h.t, err)
	receipt, err := consent.Sign(grant.Receipt{Grant: a.Grant, GrantKey: g.Key, CID: m.CID, Commitment: g.Releases[0].Commitment(), State: grant.Held,
		SealedSHA256: m.SealedSHA256, DeleteBy: g.Terms.UnusedUntil, Key: reception.Verifier(), At: consent.At(faultNow)}, reception)
	ok(h.t, err)
	return visit{&session{Home: h.Home, answer: a.ID, grantID: a.Grant, grant: g, request: r, sent: make([]int64, 1)}, string(m.CID), acceptance, receipt}
}

// A camera that its owner was told is offered is; one that is told not to be, or was taken back, is
// not, unless the error says that this holds until the next restart only.
func cameras(start string, table func(string, string, func(*house))) {
	offered := func(h *house) bool { i := h.cameraIndex("door"); return i >= 0 && h.cameras[i].Offered }
	for name, c := range map[string]struct {
		do   func(h *house, ctx context.Context, n CameraName) (Camera, error)
		want bool
	}{
		"withdraw a camera": {func(h *house, ctx context.Context, n CameraName) (Camera, error) { return h.cameraOffer(false)(ctx, n) }, false},
		"remove a camera":   {func(h *house, ctx context.Context, n CameraName) (Camera, error) { return h.cameraRemove(ctx, n) }, false},
		"offer a camera":    {func(h *house, ctx context.Context, n CameraName) (Camera, error) { return h.cameraOffer(true)(ctx, n) }, true},
	} {
		table(name, start, func(h *house) {
			if c.want {
				_, err := h.cameraOffer(false)(h.t.Context(), CameraName{"door"})
				ok(h.t, err)
			}
			h.r.Begin()
			_, err := c.do(h, h.t.Context(), CameraName{"door"})
			heard := h.r.Done(err)
			if heard && offered(h) != c.want && err == nil || heard && offered(h) && err != nil {
				h.t.Errorf("%v, and offered is %v", err, offered(h))
			}
			if h.r.Lives() && err != nil {
				if _, err = c.do(h, h.t.Context(), CameraName{"door"}); err != nil {
					h.t.Error("again:", err)
				}
			}
			h.restart()
			if heard && err == nil && offered(h) != c.want || heard && err != nil && offered(h) && !says(err, "after a restart") {
				h.t.Errorf("%v, and after a restart offered is %v", err, offered(h))
			}
			if h.cameraIndex("door") >= 0 {
				_, err = c.do(h, h.t.Context(), CameraName{"door"})
				ok(h.t, err)
			}
			h.restart()
			if offered(h) != c.want {
				h.t.Errorf("done again, and offered is %v", offered(h))
			}
		})
	}
}

// opening makes what a folder lacks; the author's key is the one that the first opened node used.
func opening(t *testing.T, rows *int) {
	dir := filepath.Join(t.TempDir(), "new")
	ok(t, node.Create(dir, node.Home))
	t.Run("open a new folder", func(t *testing.T) {
		*rows += durabletest.Table(t, dir, 1, func(t *testing.T, r *durabletest.Run) {
			r.Begin()
			h, err := Open(t.Context(), r.Dir, node.Options{Disk: r.Disk.Disk()})
			heard := r.Done(err)
			var used consent.VerifierKey
			if err == nil {
				used = h.author.Verifier()
				ok(t, h.Close())
			}
			ok(t, r.Restart())
			for range 2 {
				h = openHouse(t, r).Home
				if heard && err == nil && h.author.Verifier() != used {
					t.Error("another author's key than before")
				}
				used, heard, err = h.author.Verifier(), true, nil
				ok(t, h.Close())
				ok(t, r.Disk.PowerCut(durabletest.Nothing))
			}
		})
	})
}
