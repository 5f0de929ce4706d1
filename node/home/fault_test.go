package home

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

// The fault table of a home: every step of a decision, of preparing and of sending × every call it
// makes of the disk × what goes wrong there × what becomes of the machine. After each row the node is
// opened again, or goes on, and the promises hold; then the step is done again and succeeds.

// A house is a home's folder on a disk of the test's, with one request in its inbox.
type house struct {
	*Home
	t *testing.T
	r *durabletest.Run
}

var (
	faultNow  = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	reception = mustKey(grant.ReceptionName)
)

func mustKey(name string) consent.Key {
	k, err := consent.GenerateKey(rand.Reader, name)
	if err != nil {
		panic(err)
	}
	return k
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openHouse(t *testing.T, r *durabletest.Run) *house {
	t.Helper()
	h, err := Open(t.Context(), r.Dir, node.Options{Now: func() time.Time { return faultNow }, Disk: r.Disk.Disk()})
	ok(t, err)
	return &house{Home: h, t: t, r: r}
}

// restart opens the folder again after what the row says became of the machine. What it reads then
// stays, whatever happens to the power.
func (h *house) restart() {
	h.t.Helper()
	ok(h.t, h.Close())
	ok(h.t, h.r.Restart())
	h.Home = openHouse(h.t, h.r).Home
	row := h.r.Row
	if row == nil || row.End > durabletest.Killed {
		return // nothing was left unsynced
	}
	if row.Kind == "Datasync" && row.How == durabletest.Gone {
		return // a line that could be neither confirmed nor cut off: no later sync proves anything of it
	}
	before := h.sum()
	ok(h.t, h.Close())
	ok(h.t, h.r.Disk.PowerCut(durabletest.Nothing))
	h.Home = openHouse(h.t, h.r).Home
	if after := h.sum(); after != before {
		h.t.Errorf("read at start:\n%s\nand after a power cut:\n%s", before, after)
	}
}

// sum is all that was decided and done.
func (h *house) sum() string {
	steps, err := h.ledger.Entries()
	ok(h.t, err)
	var items []Item
	for _, i := range h.inbox {
		items = append(items, *i)
	}
	return fmt.Sprintf("%+v %+v %s %+v %+v", steps, items, h.states(), h.cameras, h.author.Verifier())
}

// newHouse makes the folder that the tables start from: a camera that has what is asked for.
func newHouse(t *testing.T) *house {
	t.Helper()
	root := durabletest.TempDir(t)
	r := &durabletest.Run{Dir: filepath.Join(root, "home"), Disk: &durabletest.Disk{}}
	ok(t, node.Create(r.Dir, node.Home))
	corner := geo.Point{Lat: 44, Lon: -40} // in the sea
	signer, key, officer, supervisor := mustKey("Ana"), mustKey("docket"), mustKey("Det.Ruiz"), mustKey("Sgt.Stone")
	key, err := docket.NewKey(rand.Reader)
	ok(t, err)
	pub, err := key.Verifier().Public()
	ok(t, err)
	police := charter.Agency{Name: "Elmford Police", Class: charter.LocalPolice, Key: key.Verifier(), Supervisors: []consent.VerifierKey{supervisor.Verifier()},
		Jurisdiction: geo.Circle(corner, 5000, 32), PolicyURL: "https://example.org/policy"}
	day := func(n int) consent.Time { return consent.At(faultNow.AddDate(0, 0, n)) }
	note, err := consent.Sign(charter.Charter{Mesh: "Elm Street", Version: 1, Created: day(0), Ends: day(700),
		Signers: []charter.Signer{{Name: "Ana", Key: signer.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{police},
		Limits: charter.DefaultLimits(), Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff(), LANOnly: true}, signer)
	ok(t, err)
	chain, err := charter.Start(note)
	ok(t, err)
	ok(t, node.WriteCharter(durable.Disk{}, filepath.Join(r.Dir, "charter"), chain))

	recordings := filepath.Join(root, "door")
	cliptest.Recording(t, recordings, "2026-11-22/19-30-00.mp4", 20)
	h := openHouse(t, r)
	_, err = h.cameraAdd(t.Context(), CamerasAdd{Name: "door", Folder: recordings, Zone: "UTC", Lat: 44, Lon: -40, Angle: 360, Range: 20})
	ok(t, err)
	_, err = h.cameraOffer(true)(t.Context(), CameraName{"door"})
	ok(t, err)
	from := time.Date(2026, 11, 22, 19, 25, 0, 0, time.UTC)
	log, err := docket.Open(police, nil, 0)
	ok(t, err)
	var entries [][]byte
	for _, e := range []struct {
		body consent.Body
		keys []consent.Key
	}{
		{docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Det. Ruiz", Key: officer.Verifier(), Expires: day(300), Created: day(0), By: supervisor.Verifier()}, []consent.Key{supervisor}},
		{request.Request{Agency: consent.AgencyIDOf(pub), Case: "EP-2026-1187", Offence: "220", Basis: request.ReasonableSuspicion,
			Incident: request.Incident{At: consent.At(from), Place: corner}, Area: geo.Circle(corner, 250, 16), From: consent.At(from), Until: consent.At(from.Add(20 * time.Minute)),
			Text: "The corner shop was broken into. We look for a person with a red jacket.", Contact: "Det. Ruiz, front desk",
			Terms:        request.Terms{RetentionDays: 90, UnusedDays: 30, Recipients: []string{}},
			ReceptionKey: reception.Verifier(), Reply: []string{"/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWSTwmJwNmoyGE1h8RkhPjj1wXfbUSHyd9ftNE88oQhyGn"},
			Created: day(0), Expires: day(10), Officer: officer.Verifier(), Supervisor: supervisor.Verifier()}, []consent.Key{officer, supervisor}},
	} {
		note, err := consent.Sign(e.body, e.keys...)
		ok(t, err)
		entries = append(entries, note)
		_, err = log.Append(note, faultNow)
		ok(t, err)
	}
	checkpoint, err := log.SignCheckpoint(key)
	ok(t, err)
	ok(t, h.peer.Docket(consent.AgencyIDOf(pub)).Extend(0, entries, checkpoint))
	h.restart()
	for range 5 { // the poll that has seen a file unchanged for long enough takes it in
		_, err = h.library.Poll(t.Context())
		ok(t, err)
		h.match(t.Context())
	}
	if len(h.inbox) != 1 {
		t.Fatalf("%d requests in the inbox, want 1", len(h.inbox))
	}
	return h
}

// folder is a copy of the house as it is, for a table to start from.
func (h *house) folder() string {
	h.t.Helper()
	h.restart()
	dir := filepath.Join(durabletest.TempDir(h.t), "copy")
	ok(h.t, h.Close())
	ok(h.t, os.CopyFS(dir, os.DirFS(h.r.Dir)))
	h.Home = openHouse(h.t, h.r).Home
	return dir
}

func (h *house) agree() error {
	_, err := h.approve(h.t.Context(), Approve{Request: string(h.asked()), Cameras: []string{"door"}, FacesVisible: true, AddressShown: true})
	return err
}

func (h *house) takeBack() error {
	_, err := h.withdraw(h.t.Context(), RequestArg{Request: string(h.asked())})
	return err
}

func (h *house) asked() consent.RequestID {
	for id := range h.inbox {
		return id
	}
	h.t.Fatal("the inbox is empty")
	return ""
}

// states lists the states of all answers.
func (h *house) states() string {
	var s []string
	for _, a := range h.answers {
		s = append(s, a.State)
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

// going counts the answers that are or will be sent.
func (h *house) going() (n int) {
	for _, a := range h.answers {
		if a.open() {
			n++
		}
	}
	return n
}

// only is the one answer.
func (h *house) only() *Answer {
	h.t.Helper()
	if len(h.answers) != 1 {
		h.t.Fatalf("%d answers: %s", len(h.answers), h.states())
	}
	for _, a := range h.answers {
		return a
	}
	return nil
}

// ready prepares the answer, over as many attempts as it takes.
func (h *house) ready() {
	h.t.Helper()
	var errs []error
	for range 3 {
		if h.only().State == "waiting" {
			break
		}
		errs = append(errs, h.advance(h.t.Context(), h.only().ID))
	}
	if h.only().State != "waiting" {
		h.t.Fatalf("the answer is %s: %v", h.states(), errors.Join(errs...))
	}
	h.fits()
}

// says whether an error tells a person where to look.
func says(err error, words ...string) bool {
	for _, w := range words {
		if strings.Contains(fmt.Sprint(err), w) {
			return true
		}
	}
	return false
}

func TestFaults(t *testing.T) {
	base := newHouse(t)
	rows := 0
	table := func(name, folder string, try func(h *house)) {
		t.Run(name, func(t *testing.T) {
			every := 1
			if name == "prepare" {
				every = 3 // of many rows, and the slowest
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
	receipt, err := consent.Sign(grant.Receipt{Grant: a.Grant, CID: m.CID, State: grant.Held, SealedSHA256: m.SealedSHA256, Key: reception.Verifier(), At: consent.At(faultNow)}, reception)
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
