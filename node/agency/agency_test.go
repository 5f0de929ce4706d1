package agency

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// desk is an agency that asked for something, without any network.
type desk struct {
	*testing.T
	dir                 string
	disk                durable.Disk
	officer, supervisor consent.Key
	agency              *Agency
	now                 time.Time
	acts                int
	ask                 request.Request
	id                  consent.RequestID
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB, name string) consent.Key {
	t.Helper()
	k, err := consent.GenerateKey(rand.Reader, name)
	ok(t, err)
	return k
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, dir: filepath.Join(t.TempDir(), "police"), officer: newKey(t, "Det.Ruiz"), supervisor: newKey(t, "Sgt.Stone"),
		now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	// The town is invented; its coordinates lie in the sea.
	corner := geo.Point{Lat: 44, Lon: -40}
	card, err := Init(d.dir, InitArgs{Name: "Elmford Police", Class: charter.LocalPolice,
		Supervisors: []consent.VerifierKey{d.supervisor.Verifier()}, Jurisdiction: geo.Circle(corner, 5000, 32), PolicyURL: "https://example.org/policy"})
	ok(t, err)
	signer := newKey(t, "Ana")
	note, err := consent.Sign(charter.Charter{Mesh: "Elm Street", Version: 1, Created: consent.At(d.now), Ends: consent.At(d.now.AddDate(2, 0, 0)),
		Signers: []charter.Signer{{Name: "Ana", Key: signer.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{charter.Agency(card)},
		Limits: charter.DefaultLimits(), Daily: charter.DefaultDaily(charter.DefaultLimits()),
		Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff(), LANOnly: true}, signer)
	ok(t, err)
	chain, err := charter.Start(note)
	ok(t, err)
	ok(t, node.WriteCharter(durable.Disk{}, filepath.Join(d.dir, "charter"), chain))
	d.open()

	reception := newKey(t, grant.ReceptionName)
	pub, err := reception.Verifier().Public()
	ok(t, err)
	ok(t, durable.WriteFile(d.agency.peer.State.Path("keys", "reception", hex.EncodeToString(pub)+".key"), []byte(reception.Encode()+"\n"), 0o600))
	d.ask = request.Request{Agency: d.agency.agency, Case: "EP-2026-1187", Offence: "220", Basis: request.ReasonableSuspicion,
		Incident: request.Incident{At: consent.At(d.now.Add(-time.Hour)), Place: corner}, Area: geo.Circle(corner, 250, 16),
		From: consent.At(d.now.Add(-70 * time.Minute)), Until: consent.At(d.now.Add(-50 * time.Minute)),
		Text: "The corner shop was broken into. We look for a person with a red jacket.", Contact: "Det. Ruiz, front desk",
		Terms:        request.Terms{RetentionDays: 90, UnusedDays: 30, Recipients: []string{}},
		ReceptionKey: reception.Verifier(), Reply: []string{"/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWSTwmJwNmoyGE1h8RkhPjj1wXfbUSHyd9ftNE88oQhyGn"},
		Created: consent.At(d.now), Expires: consent.At(d.now.AddDate(0, 0, 10)), Officer: d.officer.Verifier(), Supervisor: d.supervisor.Verifier()}
	asked := d.sign(d.ask, d.officer, d.supervisor)
	d.id = request.IDOf(asked)
	for _, note := range [][]byte{d.sign(docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Det. Ruiz", Key: d.officer.Verifier(),
		Expires: consent.At(d.now.AddDate(1, 0, 0)), Created: consent.At(d.now), By: d.supervisor.Verifier()}, d.supervisor), asked} {
		_, err := d.agency.peer.Docket(d.agency.agency).Append(note, d.agency.key, d.now)
		ok(t, err)
	}
	d.restart()
	t.Cleanup(func() { d.agency.Close() })
	return d
}

func (d *desk) sign(b consent.Body, keys ...consent.Key) []byte {
	d.Helper()
	note, err := consent.Sign(b, keys...)
	ok(d, err)
	return note
}

func (d *desk) open() {
	d.Helper()
	var err error
	d.agency, err = Open(d.Context(), d.dir, node.Options{Now: func() time.Time { return d.now }, Disk: d.disk})
	ok(d, err)
}

// skip sets the clock forward as if the node had run all the while.
func (d *desk) skip(t time.Duration) {
	d.Helper()
	d.now = d.now.Add(t)
	c := d.agency.clock
	c.at, c.saved = ratchet{Time: d.now, Local: d.now}, ratchet{}
	ok(d, c.change(func(*ratchet) {}))
}

// restart closes the node and opens it again; closing writes nothing, so that it is like a kill.
func (d *desk) restart() {
	d.Helper()
	ok(d, d.agency.Close())
	d.open()
}

// answer is what one home sends.
type answer struct {
	*desk
	key            consent.Key
	from           ed25519.PublicKey
	sealed         []byte
	dag            *release.DAG
	secret         release.ReleaseKey
	grant          grant.Grant
	note, manifest []byte
	root           string
}

func (d *desk) answer(size int, change func(*grant.Grant)) *answer {
	d.Helper()
	a := &answer{desk: d, key: newKey(d, grant.KeyName)}
	var err error
	a.from, err = a.key.Verifier().Public()
	ok(d, err)
	var sealed bytes.Buffer
	secret, sums, err := release.Seal(d.Context(), &sealed, bytes.NewReader(make([]byte, size)))
	ok(d, err)
	a.sealed, a.secret = sealed.Bytes(), secret
	a.dag, err = release.BuildDAG(d.Context(), bytes.NewReader(a.sealed), sums.SealedBytes)
	ok(d, err)
	a.root = a.dag.Root.String()
	identity, err := age.GenerateX25519Identity()
	ok(d, err)
	c, salt, err := grant.Commit(rand.Reader, []byte("x"))
	ok(d, err)
	span := grant.Span{From: d.ask.From, Until: d.ask.Until}
	a.manifest = d.sign(grant.Manifest{Request: d.id, CID: consent.ReleaseID(a.root), SealedBytes: sums.SealedBytes, SealedSHA256: sums.SealedSHA256,
		PlainBytes: sums.PlainBytes, PlainSHA256: sums.PlainSHA256, Asked: span, Clip: span, Gaps: []grant.Span{}, Overlaps: []grant.Span{},
		Video: grant.Video{Codec: "h264", Width: 1, Height: 1, Frames: 1}, Originals: []grant.Commitment{c},
		Clock: grant.Clock{Source: "path"}, Key: a.key.Verifier()}, a.key)
	sum := sha256.Sum256(a.manifest)
	a.grant = grant.Grant{Request: d.id, Agency: d.agency.agency, Releases: []grant.Release{{CID: consent.ReleaseID(a.root), SealedBytes: sums.SealedBytes,
		ManifestSHA256: hex.EncodeToString(sum[:]), Secret: salt}}, Terms: grant.Offered(d.ask.Terms, d.now), Redaction: grant.RedactionAudioOnly,
		Identity: grant.Anonymous, Authorship: c, Reach: identity.Recipient().String(), Created: consent.At(d.now), Expires: d.ask.Expires, Key: a.key.Verifier()}
	if change != nil {
		change(&a.grant)
	}
	a.note = d.sign(a.grant, a.key)
	return a
}

func (a *answer) receiver() receiver { return receiver{a.agency} }

func (a *answer) offer() error {
	_, _, err := a.receiver().Grant(a.Context(), a.from, a.note)
	return err
}

// begin comes as far as the blocks.
func (a *answer) begin() deliver.Sink {
	a.Helper()
	ok(a, a.offer())
	ok(a, a.receiver().Manifest(a.Context(), a.from, a.root, a.manifest))
	s, err := a.receiver().Begin(a.Context(), a.from, a.root)
	ok(a, err)
	return s
}

// send brings the blocks up to most; the sink must ask for them in order.
func (a *answer) send(s deliver.Sink, most int64) {
	a.Helper()
	layout := a.dag.Layout()
	for i := s.Have(); i < min(a.dag.Blocks(), most); i++ {
		place, _ := layout.Place(i)
		b, err := a.dag.Block(i, bytes.NewReader(a.sealed), make([]byte, release.ChunkSize))
		ok(a, err)
		ok(a, s.Write(i, place.Leaf, b))
	}
	ok(a, s.Close())
}

func (a *answer) complete() error {
	_, err := a.receiver().Complete(a.Context(), a.from, a.root)
	return err
}

// act is the note of an officer who does something with the release.
func (a *answer) act(kind grant.ActKind, reason string) string {
	a.Helper()
	f := Found{Agency: a.agency.agency, Grant: grant.IDOf(a.note), Release: consent.ReleaseID(a.root)}
	note, err := f.Sign(kind, reason, a.now, a.officer)
	ok(a, err)
	return string(note)
}

// exported writes the clip to a file.
func (a *answer) exported(out string) error {
	a.Helper()
	a.acts++ // no act is another's
	_, err := a.agency.export(a.Context(), Act{Note: a.act(grant.ActExport, fmt.Sprint("test ", a.acts)), Out: out})
	return err
}

func (a *answer) path(ext string) string {
	return filepath.Join(a.dir, "vault", string(grant.IDOf(a.note)), a.root+ext)
}

func (a *answer) state() string {
	for _, h := range a.agency.vault.list() {
		if h.Grant == grant.IDOf(a.note) {
			return h.State
		}
	}
	return "unknown"
}

func wants(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one with %q", err, text)
	}
}

func TestAnAnswerArrives(t *testing.T) {
	d := newDesk(t)
	a := d.answer(3<<20, nil)
	a.send(a.begin(), 99)
	ok(t, a.complete())
	wants(t, a.receiver().Key(t.Context(), a.from, a.root, []byte(d.answer(1, nil).secret)), "key")
	for range 2 { // a second time where the confirmation was lost
		ok(t, a.receiver().Key(t.Context(), a.from, a.root, []byte(a.secret)))
	}
	d.restart()
	out := filepath.Join(t.TempDir(), "clip")
	ok(t, a.exported(out))
	if b, err := os.ReadFile(out); err != nil || len(b) != 3<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestGrantsWithWrongDatesOrNames(t *testing.T) {
	d := newDesk(t)
	day := func(n int) consent.Time { return consent.At(d.now.AddDate(0, 0, n)) }
	for want, change := range map[string]func(*grant.Grant){
		"in the future": func(g *grant.Grant) {
			g.Created, g.Terms = day(1), grant.Offered(d.ask.Terms, d.now.AddDate(0, 0, 1))
		},
		"before its request":         func(g *grant.Grant) { g.Created = day(-1) },
		"longer than its request":    func(g *grant.Grant) { g.Expires = day(11) },
		"wider than":                 func(g *grant.Grant) { g.Terms.RetainUntil = day(91) },
		"is for the agency 00000000": func(g *grant.Grant) { g.Agency = consent.AgencyID(strings.Repeat("0", 32)) },
		"answers no request":         func(g *grant.Grant) { g.Request = consent.RequestID(strings.Repeat("0", 64)) },
	} {
		t.Run(want, func(t *testing.T) { wants(t, d.answer(1, change).offer(), want) })
	}
	late := d.answer(1, func(g *grant.Grant) { g.Expires = day(2) })
	d.skip(3 * 24 * time.Hour)
	wants(t, late.offer(), "expired")
}

func TestOneKeySignsOneGrant(t *testing.T) {
	d := newDesk(t)
	a := d.answer(1, nil)
	ok(t, a.offer())
	ok(t, a.offer())
	a.grant.Expires = consent.At(d.now.AddDate(0, 0, 1))
	a.note = d.sign(a.grant, a.key)
	wants(t, a.offer(), "another grant")
}

// Room is taken by bytes, not by promises.
func TestPromisesDoNotFillTheVault(t *testing.T) {
	d := newDesk(t)
	d.agency.vault.limit = 4 << 20
	var idle *answer
	for range 5 {
		idle = d.answer(3<<20, nil)
		ok(t, idle.offer())
	}
	s := idle.begin()
	a := d.answer(2<<20, nil)
	wants(t, a.offer(), "the vault is full")
	ok(t, s.Close())
	a.send(a.begin(), 99)
	ok(t, a.complete())
	wants(t, d.answer(3<<20, nil).offer(), "the vault is full")
	ok(t, idle.offer())
	_, err := idle.receiver().Begin(t.Context(), idle.from, idle.root)
	wants(t, err, "the vault is full")
}

func TestWhatNobodyComesBackForIsDropped(t *testing.T) {
	d := newDesk(t)
	silent, half, whole := d.answer(1, nil), d.answer(3<<20, nil), d.answer(1, nil)
	ok(t, silent.offer())
	half.send(half.begin(), 2)
	whole.send(whole.begin(), 99)
	ok(t, whole.complete())
	// Nine days later the request still stands, and what arrived is worth keeping.
	d.skip(9 * 24 * time.Hour)
	d.restart()
	ok(t, d.agency.expire())
	session := half.begin()
	if n := session.Have(); n != 2 {
		t.Errorf("after nine days %d blocks are there, want the 2 that came", n)
	}
	if s := silent.state(); s != "unknown" {
		t.Errorf("the grant of which nothing came is %s", s)
	}
	d.skip(24 * time.Hour)
	ok(t, d.agency.expire())
	if s, h, w := silent.state(), half.state(), whole.state(); s != "unknown" || h != "arriving" || w != "sealed" {
		t.Errorf("states %s, %s, %s, want the one in a session and the complete one kept", s, h, w)
	}
	if _, err := os.Stat(filepath.Dir(silent.path(""))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of a dropped grant: %v", err)
	}
	ok(t, session.Close())
	ok(t, d.agency.expire())
	if left, _ := filepath.Glob(half.path("*")); half.state() != "unknown" || len(left) > 0 {
		t.Errorf("past its request's end the half is %s, with %v", half.state(), left)
	}
	wants(t, half.offer(), "the request is over")
}

// A vault that is full lets go of the half that waited longest, and of none that waited less than two
// days.
func TestHalvesGiveWay(t *testing.T) {
	d := newDesk(t)
	d.agency.vault.limit = 7 << 20
	old, young := d.answer(3<<20, nil), d.answer(3<<20, nil)
	old.send(old.begin(), 3)
	d.now = d.now.Add(47 * time.Hour)
	young.send(young.begin(), 3)
	next := d.answer(4<<20, nil)
	err := next.offer()
	wants(t, err, "the vault is full")
	var said *deliver.Error
	if !errors.As(err, &said) || said.Class != deliver.ClassNoRoom {
		t.Errorf("the home is told %v, want %s", err, deliver.ClassNoRoom)
	}
	wants(t, next.offer(), "the vault is full")
	if got := d.agency.log[len(d.agency.log)-1]; got.What != "refused" || got.Name != "vault-full" || got.Grant != grant.IDOf(next.note) || len(d.agency.log) != 3 {
		t.Errorf("the agency remembers %+v", d.agency.log)
	}
	d.now = d.now.Add(time.Hour)
	ok(t, next.offer())
	next.send(next.begin(), 99)
	ok(t, next.complete())
	_, err = os.Stat(old.path(".part"))
	if _, kept := os.Stat(young.path(".part")); !errors.Is(err, fs.ErrNotExist) || kept != nil {
		t.Errorf("the older half: %v, the younger one: %v", err, kept)
	}
	d.agency.vault.limit = 70 << 20
	if s := old.begin(); s.Have() != 0 {
		t.Errorf("%d blocks of what gave way", s.Have())
	} else {
		ok(t, s.Close())
	}
}

// A crash may keep the records of nodes and lose the leaves around them, or the other way round.
func TestResumeAfterACrash(t *testing.T) {
	// The smallest release with more than one node below its root has 1,025 leaves; the files are
	// made by hand.
	const size = 1025 * release.ChunkSize
	layout, err := release.LayoutOf(size)
	ok(t, err)
	leaf := sha256.Sum256(make([]byte, release.ChunkSize))
	node := func(i int) []byte { return append([]byte{'n', byte(i)}, leaf[:]...) }
	base := filepath.Join(t.TempDir(), "x")
	p, err := openPart(durable.Disk{}, base, size)
	ok(t, err)
	for i := range int64(3) { // root, its first node, one leaf
		place, _ := layout.Place(i)
		ok(t, p.Write(i, place.Leaf, map[bool][]byte{true: make([]byte, place.Length), false: node(place.Node)}[place.Leaf]))
	}
	ok(t, p.Close())
	for _, c := range []struct {
		leaves int64
		nodes  int
		have   int64
	}{{1 << 20, 3, 3}, {0, 3, 2}, {1<<20 - 1, 2, 2}, {5 << 20, 2, 7}, {5 << 20, 1, 1}, {1024 << 20, 2, 1026}, {1024 << 20, 3, 1027}, {1 << 20, 0, 0}} {
		var log []byte
		for i := range c.nodes {
			log = durable.AppendRecord(log, node(i))
		}
		ok(t, os.WriteFile(base+".nodes", log, 0o600))
		ok(t, os.Truncate(base+".part", c.leaves))
		for range 2 {
			p, err := openPart(durable.Disk{}, base, size)
			ok(t, err)
			if p.Have() != c.have {
				t.Errorf("%d bytes and %d nodes: have %d blocks, want %d", c.leaves, c.nodes, p.Have(), c.have)
			}
			place, _ := layout.Place(p.Have())
			if !place.Leaf { // what follows stands where it belongs
				ok(t, p.Write(p.Have(), false, node(place.Node)))
				c.have++
			}
			for i, n := range p.Nodes() {
				if !bytes.Equal(n, node(i)) {
					t.Errorf("%d bytes and %d nodes: node %d is %q", c.leaves, c.nodes, i, n)
				}
			}
			ok(t, p.Close())
		}
	}
}

func TestStrayFilesInTheVault(t *testing.T) {
	d := newDesk(t)
	a := d.answer(1, nil)
	ok(t, a.offer())
	dir := filepath.Dir(filepath.Dir(a.path("")))
	ok(t, os.WriteFile(filepath.Join(dir, ".DS_Store"), []byte("x"), 0o600))
	ok(t, os.WriteFile(filepath.Join(dir, strings.Repeat("0", 64)), []byte("x"), 0o600))
	ok(t, os.CopyFS(filepath.Join(dir, "copy of a grant"), os.DirFS(filepath.Dir(a.path("")))))
	cut := filepath.Join(d.dir, "keys", "release", ".x.key.tmp-1")
	ok(t, os.WriteFile(cut, []byte("x"), 0o600))
	d.restart()
	if _, err := os.Stat(cut); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what an interrupted write left of a key: %v", err)
	}
	if n := len(d.agency.vault.grants); n != 1 {
		t.Errorf("%d grants, want 1", n)
	}
}

func TestKillBetweenRenameAndRecord(t *testing.T) {
	d := newDesk(t)
	a := d.answer(3<<20, nil)
	a.send(a.begin(), 99)
	ok(t, os.Rename(a.path(".part"), a.path(".sealed")))
	d.restart()
	if a.state() != "arriving" {
		t.Fatalf("state %s", a.state())
	}
	s := a.begin()
	if s.Have() != a.dag.Blocks() {
		t.Errorf("%d blocks are to be sent again", a.dag.Blocks()-s.Have())
	}
	ok(t, s.Close())
	ok(t, a.complete())
	ok(t, a.receiver().Key(t.Context(), a.from, a.root, []byte(a.secret)))
	if a.state() != "open" {
		t.Errorf("state %s", a.state())
	}
}

func TestSealedFileThatTheDiskChanged(t *testing.T) {
	d := newDesk(t)
	a := d.answer(3<<20, nil)
	a.send(a.begin(), 99)
	b := bytes.Clone(a.sealed)
	b[len(b)/2] ^= 1
	ok(t, os.WriteFile(a.path(".part"), b, 0o600))
	wants(t, a.complete(), "SHA-256")
	s := a.begin()
	if s.Have() != 0 {
		t.Errorf("%d blocks of a damaged release are kept", s.Have())
	}
	a.send(s, 99)
	ok(t, a.complete())
}

// Past its deadline a release gets no receipt, and its key is not taken.
func TestNoReceiptPastTheDeadline(t *testing.T) {
	for name, expire := range map[string]bool{"destroyed": true, "not yet destroyed": false} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			soon := func(g *grant.Grant) {
				g.Terms.RetainUntil = consent.At(d.now.Add(time.Hour))
				g.Terms.UnusedUntil = g.Terms.RetainUntil
			}
			sending, sent, held := d.answer(1, soon), d.answer(1, soon), d.answer(1, soon)
			s := sending.begin()
			sent.send(sent.begin(), 99)
			held.send(held.begin(), 99)
			ok(t, held.complete())
			d.skip(time.Hour)
			if expire {
				ok(t, d.agency.expire())
			}
			sending.send(s, 99)
			for _, a := range []*answer{sending, sent, held} {
				wants(t, a.complete(), "past its deadline")
				wants(t, a.receiver().Key(t.Context(), a.from, a.root, []byte(a.secret)), "past its deadline")
			}
			ok(t, d.agency.expire())
			for _, pattern := range []string{"vault/*/*.part", "vault/*/*.sealed", "keys/release/*-*"} {
				if left, _ := filepath.Glob(filepath.Join(d.dir, pattern)); len(left) != 0 {
					t.Errorf("still there: %v", left)
				}
			}
		})
	}
}

// Two answers that name the same release have a key each.
func TestKeysBelongToGrants(t *testing.T) {
	d := newDesk(t)
	a := d.answer(1, nil)
	a.send(a.begin(), 99)
	ok(t, a.complete())
	ok(t, a.receiver().Key(t.Context(), a.from, a.root, []byte(a.secret)))
	b := d.answer(1, func(g *grant.Grant) {
		g.Releases[0].CID, g.Releases[0].SealedBytes = a.grant.Releases[0].CID, a.grant.Releases[0].SealedBytes
		g.Terms.RetainUntil = consent.At(d.now.Add(time.Hour))
		g.Terms.UnusedUntil = g.Terms.RetainUntil
	})
	ok(t, b.offer())
	d.skip(2 * time.Hour)
	ok(t, d.agency.expire())
	ok(t, a.exported(filepath.Join(t.TempDir(), "clip")))
}

// A docket keeps what is put into it, so that nothing gets in which no peer would show.
func TestHistoryIsCheckedBeforeTheDocket(t *testing.T) {
	d := newDesk(t)
	dk := d.agency.peer.Docket(d.agency.agency)
	again := d.ask
	again.Created = consent.At(d.now.Add(time.Second))
	_, _, err := d.agency.enter(dk, d.sign(again, d.officer, d.supervisor), "x", again)
	ok(t, err)
	again.Created = consent.At(d.now.Add(2 * time.Second))
	_, _, err = d.agency.enter(dk, d.sign(again, d.officer, d.supervisor), "y", again)
	wants(t, err, "post 3 of this case")
}

// Strangers cannot keep a request's last place with answers that never come.
func TestEmptyGrantsMakeRoom(t *testing.T) {
	d := newDesk(t)
	first, sent := d.answer(1, nil), d.answer(1, nil)
	ok(t, sent.offer())
	sent.send(sent.begin(), 99)
	d.now = d.now.Add(time.Second)
	ok(t, first.offer())
	v := d.agency.vault
	for i := range maxGrants - 2 {
		id := consent.GrantID(fmt.Sprintf("%064d", i))
		v.grants[id] = &held{id: id, grant: grant.Grant{Request: d.id}, accepted: d.now.Add(time.Minute),
			releases: map[string]*kept{"x": {Root: "x", State: "arriving"}}}
	}
	ok(t, d.answer(1, nil).offer())
	if first.state() != "unknown" || sent.state() != "arriving" || len(v.grants) != maxGrants {
		t.Errorf("%d grants; the oldest empty one is %s, the one that sent something %s", len(v.grants), first.state(), sent.state())
	}
	for _, h := range v.grants {
		for _, k := range h.releases {
			k.arrived = 1
		}
	}
	wants(t, d.answer(1, nil).offer(), "the most that are kept")
}
