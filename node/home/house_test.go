package home

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
	"github.com/porchlight-mesh/porchlight/node"
)

// A house is a home's folder on a disk of the test's, with one request in its inbox.
type house struct {
	*Home
	t *testing.T
	r *durabletest.Run

	police *docket.Log // their docket, and the key that signs it
	key    consent.Key
	tells  []byte // the sealed message of their next daily entry
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
	signer, officer, supervisor := mustKey("Ana"), mustKey("Det.Ruiz"), mustKey("Sgt.Stone")
	key, err := docket.NewKey(rand.Reader)
	ok(t, err)
	pub, err := key.Verifier().Public()
	ok(t, err)
	police := charter.Agency{Name: "Elmford Police", Class: charter.LocalPolice, Key: key.Verifier(), Supervisors: []consent.VerifierKey{supervisor.Verifier()},
		Jurisdiction: geo.Circle(corner, 5000, 32), PolicyURL: "https://example.org/policy"}
	day := func(n int) consent.Time { return consent.At(faultNow.AddDate(0, 0, n)) }
	note, err := consent.Sign(charter.Charter{Mesh: "Elm Street", Version: 1, Created: day(-20), Ends: day(700),
		Signers: []charter.Signer{{Name: "Ana", Key: signer.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{police},
		Limits: charter.DefaultLimits(), Daily: charter.DefaultDaily(charter.DefaultLimits()),
		Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff(), LANOnly: true}, signer)
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
	log, err := docket.Open(police, charter.Quotas{}, nil, 0, chain.Plans()...)
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
	h.police, h.key = log, key
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
