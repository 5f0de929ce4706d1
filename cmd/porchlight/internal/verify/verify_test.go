package verify

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/custody"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

var noon = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

func key(t testing.TB, name string) consent.Key {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	k, err := consent.KeyFromSeed(name, seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, b consent.Body, keys ...consent.Key) []byte {
	t.Helper()
	note, err := consent.Sign(b, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return note
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mesh is a charter folder that admits one agency. Two of the witnesses, or the only one, have to cosign.
func mesh(t testing.TB, name string, dock consent.Key, witnesses ...string) (dir string, a charter.Agency) {
	t.Helper()
	ana := key(t, "ana")
	a = charter.Agency{Name: "Elm PD", Class: charter.LocalPolice, Key: dock.Verifier(), Supervisors: []consent.VerifierKey{key(t, "stone").Verifier()},
		Jurisdiction: geo.Circle(geo.Point{Lat: 44, Lon: -40}, 4000, 16), PolicyURL: "https://elm.example/video"}
	c := charter.Charter{Mesh: name, Version: 1, Created: consent.At(noon), Ends: consent.At(noon.AddDate(1, 0, 0)),
		Signers: []charter.Signer{{Name: "Ana", Key: ana.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{a},
		Limits: charter.DefaultLimits(), Quotas: charter.DefaultQuotas()}
	for _, w := range witnesses {
		c.Witnesses = append(c.Witnesses, charter.Witness{Name: w, Key: key(t, w).Verifier()})
	}
	c.Quorum = min(2, len(witnesses))
	chain, err := charter.Start(sign(t, c, ana))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := node.WriteCharter(durable.Disk{}, dir, chain); err != nil {
		t.Fatal(err)
	}
	return dir, a
}

type shelf [][]byte

func (s *shelf) Entry(i int64) ([]byte, error) { return (*s)[i], nil }

func docketKey(t testing.TB) consent.Key {
	t.Helper()
	dock, err := docket.NewKey(strings.NewReader(strings.Repeat("docket seed, 32 bytes or more...", 2)))
	if err != nil {
		t.Fatal(err)
	}
	return dock
}

// enrolled is a docket of one entry, which enrols that person.
func enrolled(t testing.TB, a charter.Agency, name string) *docket.Log {
	t.Helper()
	enrol := docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: name, Key: key(t, "ruiz").Verifier(),
		Expires: consent.At(noon.AddDate(0, 3, 0)), Created: consent.At(noon), By: key(t, "stone").Verifier()}
	notes := &shelf{sign(t, enrol, key(t, "stone"))}
	log, err := docket.Open(a, charter.Quotas{}, notes, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.SignCheckpoint(docketKey(t)); err != nil {
		t.Fatal(err)
	}
	return log
}

// A reporter has a docket's message in a file, and the charter of the mesh.
func TestADocketsMessageIsCheckedAgainstTheCharter(t *testing.T) {
	dir, a := mesh(t, "Elm Street", docketKey(t))
	log := enrolled(t, a, "Det. Ruiz")
	msg, err := log.Bundle(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "message.json", msg)

	r, err := File(context.Background(), path, With{Charter: dir})
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != "docket message" || !strings.Contains(strings.Join(r.Proven, "\n"), "entry 0 in the docket of Elm PD") {
		t.Errorf("got %+v", r)
	}
	if !strings.Contains(strings.Join(r.Open, "\n"), "no witnesses") {
		t.Errorf("a mesh without witnesses is not said to have none: %q", r.Open)
	}

	if _, err := File(context.Background(), path, With{}); node.HintOf(err) == "" {
		t.Errorf("without a charter: %v, want a hint", err)
	}
	other, _ := mesh(t, "Oak Street", key(t, "another"))
	if _, err := File(context.Background(), path, With{Charter: other}); consent.ClassOf(err) != consent.UnknownAgency {
		t.Errorf("with a charter that does not admit the agency: %v", err)
	}
	changed := write(t, "message.json", []byte(strings.Replace(string(msg), "Det. Ruiz", "Det. Ruis", 1)))
	if _, err := File(context.Background(), changed, With{Charter: dir}); err == nil {
		t.Error("a changed message passes")
	}
}

// said looks for words among what a check proved and what it left open.
func (r Result) said(t *testing.T, proven, open string) {
	t.Helper()
	if !strings.Contains(strings.Join(r.Proven, "\n"), proven) || !strings.Contains(strings.Join(r.Open, "\n"), open) {
		t.Errorf("%s: proven %q, not proven %q; want %q and %q", r.Kind, r.Proven, r.Open, proven, open)
	}
}

// A checkpoint says who watches the docket: with a stranger's line, with one witness, with enough of them.
func TestACheckpointSaysWhoCosignedIt(t *testing.T) {
	dir, a := mesh(t, "Elm Street", docketKey(t), "herald", "library", "council")
	log := enrolled(t, a, "Det. Ruiz")
	note := log.Checkpoint()
	cosign := func(name string) {
		line, err := docket.Cosign(log.Checkpoint(), key(t, name), noon)
		if err != nil {
			t.Fatal(err)
		}
		note = append(note, line...)
	}
	check := func() Result {
		r, err := File(context.Background(), write(t, "checkpoint", note), With{Charter: dir})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	check().said(t, "Elm PD signed that its docket has 1 entries", "none of the charter's 3 witnesses")
	cosign("mallory")
	check().said(t, "", "they are of none of the charter's witnesses")
	cosign("library")
	check().said(t, "1 of the charter's 3 witnesses cosigned that checkpoint, each of a docket that only grew: library", "the charter asks for 2 witnesses")
	cosign("herald")
	check().said(t, "the charter asks for 2 of them", "what the entries say")

	msg, err := log.Bundle(0, bytes.Replace(note, []byte(strings.SplitAfter(string(note), "\n")[5]), nil, 1))
	if err != nil {
		t.Fatal(err)
	}
	r, err := File(context.Background(), write(t, "message.json", msg), With{Charter: dir})
	if err != nil {
		t.Fatal(err)
	}
	r.said(t, "2 of the charter's 3 witnesses cosigned", "no entry in between")

	if _, err := File(context.Background(), write(t, "checkpoint", note), With{}); node.HintOf(err) == "" {
		t.Errorf("without a charter: %v, want a hint", err)
	}
	changed := bytes.Replace(note, []byte("\n1\n"), []byte("\n2\n"), 1)
	if _, err := File(context.Background(), write(t, "checkpoint", changed), With{Charter: dir}); consent.ClassOf(err) != consent.BadSignature {
		t.Errorf("a changed checkpoint: %v", err)
	}
}

func TestAProofOfMisconductSaysWhatItProves(t *testing.T) {
	dir, a := mesh(t, "Elm Street", docketKey(t))
	m, err := docket.Contradicting(a, enrolled(t, a, "Det. Ruiz").Checkpoint(), enrolled(t, a, "Det. Moss").Checkpoint())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "misconduct", msg)
	r, err := File(context.Background(), path, With{Charter: dir})
	if err != nil {
		t.Fatal(err)
	}
	r.said(t, "Elm PD signed two versions of its docket", "a docket restored from a backup")
	if _, err := File(context.Background(), path, With{}); node.HintOf(err) == "" {
		t.Errorf("without a charter: %v, want a hint", err)
	}
	other, _ := mesh(t, "Oak Street", key(t, "another"))
	if _, err := File(context.Background(), path, With{Charter: other}); consent.ClassOf(err) != consent.UnknownAgency {
		t.Errorf("with a charter that does not admit the agency: %v", err)
	}
	m.Other = m.One
	if msg, err = m.Encode(); err != nil {
		t.Fatal(err)
	}
	if _, err := File(context.Background(), write(t, "misconduct", msg), With{Charter: dir}); consent.ClassOf(err) != consent.BadProof {
		t.Errorf("one version twice: %v", err)
	}
}

func TestAccountsAndObjectionsAreRead(t *testing.T) {
	dir, a := mesh(t, "Elm Street", docketKey(t))
	ruiz, stone := key(t, "ruiz"), key(t, "stone")
	id := consent.RequestID(strings.Repeat("ab", 32))
	object := func(by string) []byte {
		return sign(t, request.Objection{Agency: a.ID(), Request: id, Reason: "It names a victim.", Created: consent.At(noon), By: key(t, by).Verifier()}, key(t, by))
	}
	for _, tc := range []struct {
		name         string
		note         []byte
		with         With
		proven, open string
	}{
		{"report", sign(t, docket.Report{Request: id, Text: "A child was missing and was found.", Created: consent.At(noon), Officer: ruiz.Verifier(), Supervisor: stone.Verifier()}, ruiz, stone),
			With{}, "a report on request abababababab", "were enrolled"},
		{"outcome", sign(t, docket.Outcome{Request: id, Outcome: docket.FindingCharged, Created: consent.At(noon), Officer: ruiz.Verifier()}, ruiz),
			With{}, "Somebody was arrested or charged; signed by ruiz", "were enrolled"},
		{"objection", object("ana"), With{Charter: dir}, "Ana objects to request abababababab: It names a victim.", "its author's word"},
		{"objection alone", object("mallory"), With{}, "mallory objects", "that mallory may object"},
	} {
		r, err := File(context.Background(), write(t, "note", tc.note), tc.with)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		r.said(t, tc.proven, tc.open)
	}
	if _, err := File(context.Background(), write(t, "note", object("mallory")), With{Charter: dir}); consent.ClassOf(err) != consent.WrongRole {
		t.Errorf("a stranger's objection: %v", err)
	}
}

// FuzzFile checks files of any bytes: nothing panics, and what is of no kind proves nothing.
func FuzzFile(f *testing.F) {
	dir, a := mesh(f, "Elm Street", docketKey(f), "herald")
	log := enrolled(f, a, "Det. Ruiz")
	line, err := docket.Cosign(log.Checkpoint(), key(f, "herald"), noon)
	if err != nil {
		f.Fatal(err)
	}
	m, err := docket.Contradicting(a, log.Checkpoint(), enrolled(f, a, "Det. Moss").Checkpoint())
	if err != nil {
		f.Fatal(err)
	}
	proof, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	msg, err := log.Bundle(0, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{append(log.Checkpoint(), line...), proof, msg, []byte(`{"seq":`), []byte("age-encryption.org/v1\n"), []byte("porchlight/report/v1\n{}\n")} {
		f.Add(b)
	}
	path := filepath.Join(f.TempDir(), "file")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := File(context.Background(), path, With{Charter: dir}); err == nil && (r.Kind == "" || len(r.Proven) == 0) {
			t.Errorf("accepted, and nothing is proven: %+v", r)
		}
	})
}

func TestACustodyLogNamesItsFirstBadLine(t *testing.T) {
	var text []byte
	var last custody.Entry
	for _, step := range []string{"approved", "sent", "delivered"} {
		e, err := custody.Next(last, consent.At(noon), "owner", step, "release", "")
		if err != nil {
			t.Fatal(err)
		}
		line, err := e.Line()
		if err != nil {
			t.Fatal(err)
		}
		text, last = append(text, line...), e
	}
	if r, err := File(context.Background(), write(t, "ledger", text), With{}); err != nil || r.Kind != "custody log" {
		t.Fatalf("%+v, %v", r, err)
	}
	changed := strings.Replace(string(text), `"sent"`, `"kept"`, 1)
	_, err := File(context.Background(), write(t, "ledger", []byte(changed)), With{})
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v, want a complaint about line 2", err)
	}
}

func TestWhatIsNothingOfOursIsSaidToBe(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "text": "hello", "json": `{"a":1}`, "kind": "porchlight/unheard-of/v1\n{}\n\n— a AAAAAA==\n",
		"header": "porchlight/", "long": "porchlight/request/v1\n" + strings.Repeat("x", 20<<10),
		"long message": `{"agency":"` + strings.Repeat("x", 70<<10), "log": `{"seq":`, "binary": "\x00\x01\x02",
	} {
		if r, err := File(context.Background(), write(t, "file", []byte(content)), With{}); err == nil {
			t.Errorf("%s: passes as %+v", name, r)
		}
	}
	if _, err := File(context.Background(), write(t, "sealed", []byte("age-encryption.org/v1\n")), With{}); node.HintOf(err) == "" {
		t.Errorf("a release without its manifest: %v, want a hint", err)
	}
	if _, err := readReleaseKey(write(t, "key", []byte(strings.Repeat("k", 2000)))); err == nil {
		t.Error("a release key of 2000 bytes is read")
	}
	if k, err := readReleaseKey(write(t, "key", []byte("AGE-SECRET-KEY-1X\n"))); err != nil || k != release.ReleaseKey("AGE-SECRET-KEY-1X") {
		t.Errorf("key: %v", err)
	}
}
