package verify

import (
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
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

var noon = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

func key(t *testing.T, name string) consent.Key {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	k, err := consent.KeyFromSeed(name, seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t *testing.T, b consent.Body, keys ...consent.Key) []byte {
	t.Helper()
	note, err := consent.Sign(b, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return note
}

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mesh is a charter folder that admits one agency.
func mesh(t *testing.T, name string, dock consent.Key) (dir string, a charter.Agency) {
	t.Helper()
	ana := key(t, "ana")
	a = charter.Agency{Name: "Elm PD", Class: charter.LocalPolice, Key: dock.Verifier(), Supervisors: []consent.VerifierKey{key(t, "stone").Verifier()},
		Jurisdiction: geo.Circle(geo.Point{Lat: 44, Lon: -40}, 4000, 16), PolicyURL: "https://elm.example/video"}
	c := charter.Charter{Mesh: name, Version: 1, Created: consent.At(noon), Ends: consent.At(noon.AddDate(1, 0, 0)),
		Signers: []charter.Signer{{Name: "Ana", Key: ana.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{a},
		Limits: charter.DefaultLimits(), Quotas: charter.DefaultQuotas()}
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

// A reporter has a docket's message in a file, and the charter of the mesh.
func TestADocketsMessageIsCheckedAgainstTheCharter(t *testing.T) {
	dock, err := docket.NewKey(strings.NewReader(strings.Repeat("docket seed, 32 bytes or more...", 2)))
	if err != nil {
		t.Fatal(err)
	}
	dir, a := mesh(t, "Elm Street", dock)
	enrol := docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Det. Ruiz", Key: key(t, "ruiz").Verifier(),
		Expires: consent.At(noon.AddDate(0, 3, 0)), Created: consent.At(noon), By: key(t, "stone").Verifier()}
	notes := &shelf{sign(t, enrol, key(t, "stone"))}
	log, err := docket.Open(a, charter.Quotas{}, notes, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.SignCheckpoint(dock); err != nil {
		t.Fatal(err)
	}
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
