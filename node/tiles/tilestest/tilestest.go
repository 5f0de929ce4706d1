// Package tilestest makes an observer with one docket, of any size, for the tests of what is served of it.
package tilestest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// Mesh and Agency are names that a careless page would take for markup.
const (
	Mesh   = "Elm <i>Street"
	Agency = "Elmford & Sons' <b>Police"
)

// An Observer is a node that was never run, and the agency whose docket it keeps.
type Observer struct {
	Peer    *node.Peer
	Docket  *node.Docket
	Charter []byte // its one note
	Entries [][]byte

	t                         testing.TB
	agency                    charter.Agency
	docket, officer, superior consent.Key
	now                       time.Time
}

// New makes one in a temporary folder, with an empty docket.
func New(t testing.TB) *Observer {
	t.Helper()
	o := &Observer{t: t, now: time.Now()}
	key := func(name string) consent.Key {
		k, err := consent.GenerateKey(rand.Reader, name)
		o.must(err)
		return k
	}
	signer := key("Ana")
	o.officer, o.superior = key("Det.Ruiz"), key("Sgt.Stone")
	var err error
	o.docket, err = docket.NewKey(rand.Reader)
	o.must(err)
	o.agency = charter.Agency{Name: Agency, Class: charter.LocalPolice, Key: o.docket.Verifier(),
		Supervisors: []consent.VerifierKey{o.superior.Verifier()}, Jurisdiction: geo.Circle(geo.Point{Lat: 44, Lon: -40}, 5000, 32),
		PolicyURL: "https://example.org/policy"}
	o.Charter, err = consent.Sign(charter.Charter{Mesh: Mesh, Version: 1, Created: consent.At(o.now), Ends: consent.At(o.now.AddDate(2, 0, 0)),
		Signers: []charter.Signer{{Name: "Ana", Key: signer.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{o.agency},
		Limits: charter.DefaultLimits(), Quotas: charter.Quotas{EntriesPerDay: 100_000, BytesPerDay: 1 << 30, MessageBytes: 64 << 10}}, signer)
	o.must(err)
	chain, err := charter.Start(o.Charter)
	o.must(err)
	dir := filepath.Join(t.TempDir(), "watch")
	o.must(node.Create(dir, node.Observe))
	o.must(node.WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), chain))
	o.Peer, err = node.OpenPeer(dir, node.Options{})
	o.must(err)
	t.Cleanup(func() { o.must(o.Peer.Close()) })
	o.Docket = o.Peer.Docket(o.ID())
	return o
}

func (o *Observer) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// ID is the agency's.
func (o *Observer) ID() consent.AgencyID { return o.agency.ID() }

// Key is the docket key as the charter has it.
func (o *Observer) Key() string { return string(o.agency.Key) }

// Grow adds entries up to that many, and returns the checkpoint: officers who are enrolled, resolutions of
// what was never asked, and leaves that are no documents, in turn.
func (o *Observer) Grow(size int) []byte {
	o.t.Helper()
	from := len(o.Entries)
	for i := from; i < size; i++ {
		o.Entries = append(o.Entries, o.entry(fmt.Sprint("case ", i), i))
	}
	checkpoint := o.sign(o.Entries)
	o.must(o.Docket.Extend(int64(from), o.Entries[from:], checkpoint))
	return checkpoint
}

// Fork is what the agency signs who shows others a docket of that size with other entries.
func (o *Observer) Fork(size int) []byte {
	o.t.Helper()
	var entries [][]byte
	for i := range size {
		entries = append(entries, fmt.Appendf(nil, "another entry %d", i))
	}
	return o.sign(entries)
}

func (o *Observer) entry(about string, i int) []byte {
	var body consent.Body
	by := o.officer
	switch i % 3 {
	case 0:
		by = o.superior
		k, err := consent.GenerateKey(rand.Reader, fmt.Sprint("officer-", i))
		o.must(err)
		if i == 0 {
			k = o.officer
		}
		body = docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: k.Name(), Key: k.Verifier(),
			Expires: consent.At(o.now.AddDate(1, 0, 0)), Created: consent.At(o.now), By: by.Verifier()}
	case 1:
		body = docket.Resolve{Request: consent.RequestID(consent.HashText([]byte(about))), Reason: about, Created: consent.At(o.now), Officer: by.Verifier()}
	default:
		return []byte(about)
	}
	note, err := consent.Sign(body, by)
	o.must(err)
	return note
}

func (o *Observer) sign(entries [][]byte) []byte {
	o.t.Helper()
	l, err := docket.Open(o.agency, charter.Quotas{}, shelf(entries), int64(len(entries)))
	o.must(err)
	checkpoint, err := l.SignCheckpoint(o.docket)
	o.must(err)
	return checkpoint
}

type shelf [][]byte

func (s shelf) Entry(i int64) ([]byte, error) {
	if i >= int64(len(s)) {
		return nil, errors.New("not on the shelf")
	}
	return s[i], nil
}
