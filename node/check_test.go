package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// police is an agency whose software was changed: its docket holds whatever it likes.
type police struct {
	t                              testing.TB
	docket, officer, sergeant, ana consent.Key
	self                           charter.Agency
	log                            *docket.Log
	notes                          notes
	chain                          charter.Chain
}

type notes [][]byte

func (n *notes) Entry(i int64) ([]byte, error) { return (*n)[i], nil }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newPolice(t testing.TB) *police { return policeSince(t, time.Now()) }

// policeSince is police whose charter is of that time.
func policeSince(t testing.TB, since time.Time) *police {
	p := &police{t: t, docket: must(docket.NewKey(rand.Reader)), officer: must(consent.GenerateKey(rand.Reader, "Det.Ruiz")),
		sergeant: must(consent.GenerateKey(rand.Reader, "Sgt.Stone")), ana: must(consent.GenerateKey(rand.Reader, "Ana"))}
	p.self = charter.Agency{Name: "Elmford Police", Class: charter.LocalPolice, Key: p.docket.Verifier(),
		Supervisors: []consent.VerifierKey{p.sergeant.Verifier()}, Jurisdiction: geo.Circle(geo.Point{Lat: 44, Lon: -40}, 5000, 32), PolicyURL: "https://example.org/policy"}
	now := consent.At(time.Now())
	p.chain = must(charter.Start(must(consent.Sign(charter.Charter{Mesh: "Elm Street", Version: 1, Created: consent.At(since), Ends: consent.At(now.AddDate(1, 0, 0)),
		Signers: []charter.Signer{{Name: "Ana", Key: p.ana.Verifier()}}, Threshold: 1, Agencies: []charter.Agency{p.self},
		Limits: charter.DefaultLimits(), Daily: charter.DefaultDaily(charter.DefaultLimits()),
		Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff()}, p.ana))))
	p.log = must(docket.Open(p.self, charter.Quotas{}, &p.notes, 0, p.chain.Plans()...))
	p.append(must(consent.Sign(docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Ruiz", Key: p.officer.Verifier(),
		Expires: consent.At(now.AddDate(1, 0, 0)), Created: now, By: p.sergeant.Verifier()}, p.sergeant)))
	return p
}

// append puts a note into the docket and returns the message that shows it.
func (p *police) append(note []byte) []byte {
	p.t.Helper()
	pending, err := p.log.Prepare(note, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	p.notes = append(p.notes, note)
	if err := p.log.Commit(pending); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.log.SignCheckpoint(p.docket); err != nil {
		p.t.Fatal(err)
	}
	return must(p.log.Bundle(pending.Index, nil))
}

// force puts a note into the docket that the log refuses, and returns the message that shows it with the officer's enrolment.
func (p *police) force(note []byte) []byte {
	p.t.Helper()
	p.notes = append(p.notes, note)
	p.log = must(docket.Open(p.self, charter.Quotas{}, &p.notes, int64(len(p.notes)), p.chain.Plans()...))
	type proven struct {
		Index int64       `json:"index"`
		Note  string      `json:"note"`
		Proof []tlog.Hash `json:"proof"`
	}
	b := struct {
		Agency     consent.AgencyID `json:"agency"`
		Checkpoint string           `json:"checkpoint"`
		Entries    []proven         `json:"entries"`
	}{p.self.ID(), string(must(p.log.SignCheckpoint(p.docket))), nil}
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(ix []int64) (out []tlog.Hash, err error) {
		for _, i := range ix {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for i, n := range p.notes {
		hashes = append(hashes, must(tlog.StoredHashes(int64(i), n, reader))...)
	}
	for _, i := range []int64{0, int64(len(p.notes)) - 1} {
		b.Entries = append(b.Entries, proven{i, string(p.notes[i]), append([]tlog.Hash{}, must(tlog.ProveRecord(int64(len(p.notes)), i, reader))...)})
	}
	return must(consent.EncodeStrict(b))
}

func (p *police) request() request.Request {
	now := time.Now()
	at := now.Add(-3 * time.Hour)
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	key := must(crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed)))
	return request.Request{Agency: p.self.ID(), Case: "EP-" + consent.HashText(seed)[:8], Offence: "220", Basis: request.ReasonableSuspicion,
		Incident: request.Incident{At: consent.At(at), Place: geo.Point{Lat: 44, Lon: -40}}, Area: geo.Circle(geo.Point{Lat: 44, Lon: -40}, 250, 16),
		From: consent.At(at.Add(-time.Hour)), Until: consent.At(at.Add(time.Hour)), Text: "The corner shop was broken into. We look for a person with a red jacket.",
		Contact: "front desk", Terms: request.Terms{RetentionDays: 90, UnusedDays: 30, Recipients: []string{}},
		ReceptionKey: must(consent.GenerateKey(rand.Reader, request.ReceptionKeyName)).Verifier(),
		Reply:        []string{"/ip4/8.8.8.8/tcp/4001/p2p/" + must(peer.IDFromPrivateKey(key)).String()},
		Officer:      p.officer.Verifier(), Supervisor: p.sergeant.Verifier(), Created: consent.At(now), Expires: consent.At(now.AddDate(0, 0, 7))}
}

// raw signs a body without the checks that honest software makes.
func (p *police) raw(r request.Request) []byte {
	p.t.Helper()
	text := "porchlight/request/v1\n" + string(must(consent.EncodeStrict(r))) + "\n"
	return must(consent.AddSignature(must(consent.AddSignature([]byte(text), p.officer)), p.sergeant))
}

func (p *police) home(now func() time.Time) *Peer {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), "home")
	if err := Create(dir, Home); err != nil {
		p.t.Fatal(err)
	}
	if err := WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), p.chain); err != nil {
		p.t.Fatal(err)
	}
	h := must(OpenPeer(dir, Options{Now: now}))
	p.t.Cleanup(func() { h.Close() })
	return h
}

// A request that breaks a rule, published by an agency whose software does not care, dies at the
// first honest peer: it is not admitted, not forwarded, and held against whoever handed it on
// where everybody can see that it is wrong. The next good request is admitted all the same.
func TestPromise06RulesBindTheAsker(t *testing.T) {
	far := geo.Point{Lat: 45, Lon: -41}
	for name, c := range map[string]struct {
		spoil func(*request.Request)
		want  gossip.Verdict
	}{
		"area too large":        {func(r *request.Request) { r.Area = geo.Circle(r.Incident.Place, 800, 16) }, gossip.Ignore},
		"area too small":        {func(r *request.Request) { r.Area = geo.Circle(r.Incident.Place, 50, 16) }, gossip.Ignore},
		"self-crossing area":    {func(r *request.Request) { r.Area[0], r.Area[4] = r.Area[4], r.Area[0] }, gossip.Reject},
		"outside jurisdiction":  {func(r *request.Request) { r.Incident.Place, r.Area = far, geo.Circle(far, 250, 16) }, gossip.Ignore},
		"incident elsewhere":    {func(r *request.Request) { r.Incident.Place = far }, gossip.Reject},
		"window too long":       {func(r *request.Request) { r.From = consent.At(r.Until.Add(-13 * time.Hour)) }, gossip.Ignore},
		"window too short":      {func(r *request.Request) { r.From = consent.At(r.Until.Add(-5 * time.Minute)) }, gossip.Ignore},
		"window backwards":      {func(r *request.Request) { r.From, r.Until = r.Until, r.From }, gossip.Reject},
		"expiry too far":        {func(r *request.Request) { r.Expires = consent.At(r.Created.AddDate(0, 0, 15)) }, gossip.Ignore},
		"kept too long":         {func(r *request.Request) { r.Terms.RetentionDays = 366 }, gossip.Ignore},
		"unused kept too long":  {func(r *request.Request) { r.Terms.UnusedDays = 31 }, gossip.Ignore},
		"unknown offence":       {func(r *request.Request) { r.Offence = "999" }, gossip.Reject},
		"unknown basis":         {func(r *request.Request) { r.Basis = "hunch" }, gossip.Reject},
		"warrant without order": {func(r *request.Request) { r.Basis = request.Warrant }, gossip.Reject},
		"no case":               {func(r *request.Request) { r.Case = "" }, gossip.Reject},
		"pressure": {func(r *request.Request) {
			r.Text = "You must hand over your footage or you will be charged with obstruction."
		}, gossip.Reject},
		"private reply address": {func(r *request.Request) { r.Reply[0] = strings.Replace(r.Reply[0], "8.8.8.8", "192.168.1.9", 1) }, gossip.Ignore},
		"no reply address":      {func(r *request.Request) { r.Reply = []string{} }, gossip.Reject},
		"another agency's":      {func(r *request.Request) { r.Agency = "00000000000000000000000000000000" }, gossip.Ignore},
		"already over": {func(r *request.Request) {
			r.Created, r.Expires = consent.At(time.Now().AddDate(0, 0, -8)), consent.At(time.Now().Add(-10*time.Minute))
			r.Incident.At, r.From, r.Until = consent.At(r.Created.Add(-2*time.Hour)), consent.At(r.Created.Add(-3*time.Hour)), consent.At(r.Created.Add(-time.Hour))
		}, gossip.Ignore},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPolice(t)
			h := p.home(time.Now)
			p.toldTo(h)
			r := p.request()
			r.Area = append(geo.Polygon{}, r.Area...)
			c.spoil(&r)
			if got := h.check("peer", p.force(p.raw(r))); got != c.want {
				t.Errorf("verdict %d, want %d", got, c.want)
			}
			if name != "already over" && len(h.Requests()) != 0 {
				t.Error("it was admitted")
			}
			good := must(consent.Sign(p.request(), p.officer, p.sergeant))
			if got := h.check("peer", p.append(good)); got != gossip.Accept {
				t.Errorf("the good request after it: verdict %d", got)
			}
			if len(h.Requests()) != 0 {
				t.Error("a request counts before its docket is here")
			}
			p.toldTo(h)
			live := 0
			for _, r := range h.Requests() {
				if r.Live(time.Now()) {
					live++
				}
			}
			if live != 1 {
				t.Errorf("%d requests are shown, want the good one alone", live)
			}
		})
	}
}

// toldTo lets a home catch up with the docket.
func (p *police) toldTo(h *Peer) {
	p.t.Helper()
	have := h.Docket(p.self.ID()).Size()
	if err := (sink{h}).Take(string(p.self.ID()), have, p.notes[have:], head(p)); err != nil {
		p.t.Fatal(err)
	}
}

// newCopy is the same agency with a docket of its own beginning, so that each bad request stands
// in an otherwise honest one.
func newCopy(p *police, t testing.TB) *police {
	q := *p
	q.t, q.notes = t, nil
	q.log = must(docket.Open(q.self, charter.Quotas{}, &q.notes, 0))
	q.append(p.notes[0])
	return &q
}

// What is wrong with a message itself is refused before anything in it is believed.
func TestBadMessages(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	p.toldTo(h)
	good := p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	stranger := newPolice(t)
	for name, c := range map[string]struct {
		msg  []byte
		want gossip.Verdict
	}{
		"nothing":                  {nil, gossip.Reject},
		"garbage":                  {bytes.Repeat([]byte{0xff}, 1000), gossip.Reject},
		"endless":                  {bytes.Repeat([]byte("["), 60<<10), gossip.Reject},
		"cut short":                {good[:len(good)/2], gossip.Reject},
		"a byte behind":            {append(bytes.Clone(good), ' '), gossip.Reject},
		"a flipped bit":            {flip(good, len(good)/2), gossip.Reject},
		"agency nobody admitted":   {stranger.append(must(consent.Sign(stranger.request(), stranger.officer, stranger.sergeant))), gossip.Ignore},
		"a charter out of nowhere": {stranger.chain.Notes()[0], gossip.Ignore},
		"a note that is no entry":  {must(consent.Sign(p.request(), p.officer, p.sergeant)), gossip.Reject},
	} {
		if got := h.check("peer", c.msg); got != c.want {
			t.Errorf("%s: verdict %d, want %d", name, got, c.want)
		}
	}
	if len(h.Requests()) != 0 {
		t.Fatal("a bad message was admitted")
	}
	if got := h.check("peer", good); got != gossip.Accept {
		t.Errorf("the good message: verdict %d", got)
	}
	if got := h.check("peer", good); got != gossip.Ignore {
		t.Errorf("the same once more: verdict %d, want ignored", got)
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// An agency that signs two versions of its docket is found out by whoever sees both, and asks in
// vain from then on, also after a restart.
func TestForkedDocketSuspends(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	q := newCopy(p, t)
	if got := h.check("peer", p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))); got != gossip.Accept {
		t.Fatalf("first version: verdict %d", got)
	}
	p.toldTo(h)
	h.check("peer", q.append(must(consent.Sign(q.request(), q.officer, q.sergeant))))
	if !h.Docket(p.self.ID()).Forked() {
		t.Fatal("two docket versions of one size, and nobody noticed")
	}
	if got := h.check("peer", p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))); got == gossip.Accept {
		t.Error("the forked agency still asks")
	}
	dir := h.State.dir
	h.Close()
	again := must(OpenPeer(dir, Options{}))
	defer again.Close()
	if !again.Docket(p.self.ID()).Forked() {
		t.Error("forgotten after a restart")
	}
}

func head(p *police) p2psync.Head {
	return p2psync.Head{Log: string(p.self.ID()), Size: p.log.Size(), Note: p.log.Checkpoint()}
}

// A request that stands only in a private version of the docket is never shown, and the version
// that everybody sees gives the agency away once it has grown as long.
func TestPrivateDocketIsFoundOut(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	p.toldTo(h)
	private := newCopy(p, t)
	for range 3 {
		private.append(must(consent.Sign(private.request(), p.officer, p.sergeant)))
	}
	h.check("peer", must(private.log.Bundle(3, nil)))
	if len(h.Requests()) != 0 {
		t.Fatal("a request counts that is in no docket that this home has")
	}
	for range 4 {
		p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	}
	p.toldTo(h)
	if !h.Docket(p.self.ID()).Forked() {
		t.Error("the private version was forgotten")
	}
}

// What the docket says of an officer counts, also when a message leaves it out.
func TestRevokedOfficerAsksInVain(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	before := newCopy(p, t)
	p.append(must(consent.Sign(docket.Officer{Action: docket.Revoke, Role: docket.RoleOfficer, Name: "Ruiz", Key: p.officer.Verifier(),
		Created: consent.At(time.Now()), By: p.sergeant.Verifier(), Reason: "left"}, p.sergeant)))
	note := must(consent.Sign(p.request(), p.officer, p.sergeant))
	// Changed software puts the request into the docket all the same, and shows it with the enrolment only.
	p.notes = append(p.notes, note)
	p.log = must(docket.Open(p.self, charter.Quotas{}, &p.notes, int64(len(p.notes))))
	must(p.log.SignCheckpoint(p.docket))
	p.toldTo(h)
	h.check("peer", before.append(note))
	if len(h.Requests()) != 0 {
		t.Error("a revoked officer's request is shown")
	}
}

// Old entries sent again under other checkpoints go no further. Only a request that came by catch-up and still stands is
// passed on, once.
func TestReplayedEntriesAreNotForwarded(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	p.toldTo(h)
	for n := range 3 {
		p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
		p.toldTo(h)
		for i := range p.log.Size() {
			want := gossip.Ignore
			if i == p.log.Size()-1 && n < 2 { // the third is one post too many
				want = gossip.Accept
			}
			for range 2 {
				if got := h.check("peer", must(p.log.Bundle(i, nil))); got != want {
					t.Errorf("entry %d of %d once more: verdict %d, want %d", i, p.log.Size(), got, want)
				}
				want = gossip.Ignore
			}
		}
	}
}

// The same posts count, in whatever order they arrive.
func TestPostsPerCaseInAnyOrder(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	first := p.request()
	var messages [][]byte
	for i := range 4 {
		r := p.request()
		r.Case, r.Contact = first.Case, strings.Repeat("x", 5+i)
		messages = append(messages, p.append(must(consent.Sign(r, p.officer, p.sergeant))))
	}
	for i := len(messages) - 1; i >= 0; i-- {
		h.check("peer", messages[i])
	}
	p.toldTo(h)
	if got := len(h.Requests()); got != charter.DefaultLimits().PostsPerCase {
		t.Errorf("%d requests of one case are shown, want %d", got, charter.DefaultLimits().PostsPerCase)
	}
}

// A home that had an entry by its hash alone, and its text later, shows in the end what one shows that had all of it at once.
func TestALateTextChangesWhatIsShown(t *testing.T) {
	police := newPolice(t)
	lee := must(consent.GenerateKey(rand.Reader, "Det.Lee"))
	now := consent.At(time.Now())
	enrolled := docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: "Lee", Key: lee.Verifier(), Expires: consent.At(now.AddDate(1, 0, 0)),
		Created: now, By: police.sergeant.Verifier()}
	revoked := enrolled
	revoked.Action, revoked.Expires = docket.Revoke, consent.Time{}
	post := police.request()
	ask := func(text string, officer consent.Key) []byte {
		post.Text, post.Officer = text, officer.Verifier()
		return must(consent.Sign(post, officer, police.sergeant))
	}
	notes := append(police.notes, must(consent.Sign(enrolled, police.sergeant)),
		must(consent.Sign(revoked, police.sergeant)), ask("A first post, by somebody who was revoked.", lee),
		ask("The first post of the case that counts.", police.officer), ask("The second post of the case.", police.officer), ask("The third post of the case.", police.officer))
	checkpoint := must(must(docket.Open(police.self, charter.Quotas{}, &notes, int64(len(notes)))).SignCheckpoint(police.docket))
	id := police.self.ID()
	shown := func(h *Peer) (texts []string) {
		if err := h.readDocket(h.Docket(id)); err != nil {
			t.Fatal(err)
		}
		for _, r := range h.Requests() {
			texts = append(texts, r.Body.Text)
		}
		slices.Sort(texts)
		return texts
	}
	whole := police.home(nil)
	if err := whole.Docket(id).Extend(0, notes, checkpoint); err != nil {
		t.Fatal(err)
	}
	want := shown(whole)
	if len(want) != 2 || want[1] != "The second post of the case." {
		t.Fatalf("shown are %q", want)
	}
	for _, hidden := range [][]int64{{2}, {4}, {2, 4}, {4, 2}} {
		late := police.home(nil)
		d := late.Docket(id)
		leaves := slices.Clone(notes)
		for _, i := range hidden {
			leaves[i] = docket.Leaf(must(whole.Docket(id).leaf(i)))
		}
		if err := d.Extend(0, leaves, checkpoint); err != nil {
			t.Fatal(err)
		}
		for _, i := range hidden { // nobody has more of them
			if _, err := d.fill(i, leaves[i:i+1], "steward"); err != nil {
				t.Fatal(err)
			}
		}
		if early := shown(late); slices.Equal(early, want) {
			t.Fatalf("the texts of %d make no difference", hidden)
		}
		for _, i := range hidden {
			if _, err := d.fill(i, notes[i:i+1], "library"); err != nil {
				t.Fatal(err)
			}
			shown(late)
		}
		if got := shown(late); !slices.Equal(got, want) || len(late.requests) != len(whole.requests) {
			t.Errorf("after the texts of %d came, %q of %d requests are shown; whoever had all at once shows %q of %d", hidden, got, len(late.requests), want, len(whole.requests))
		}
	}
}

// Two successors of a charter count for nothing, in whatever order they and the version that heals it came.
func TestRivalsJudgeNoDocket(t *testing.T) {
	police := newPolice(t)
	version := func(v, entries int, previous string, also ...string) []byte {
		c := *police.chain.Current()
		c.Version, c.Previous, c.Also, c.Quotas.EntriesPerDay = v, previous, also, entries
		return must(consent.Sign(c, police.ana))
	}
	one, other := version(2, 1000, police.chain.CurrentHash()), version(2, 2000, police.chain.CurrentHash())
	healed := version(3, 300, consent.HashText(one), consent.HashText(other))
	for _, order := range [][][]byte{{one, other, healed}, {other, one, healed}, {one, healed}, {other, healed}} {
		chain := police.chain
		for _, note := range order {
			chain = must(chain.Extend(note))
		}
		if got := standards(chain)[police.self.ID()].quotas.EntriesPerDay; got != 300 {
			t.Errorf("%d entries a day, which a rival granted", got)
		}
	}
}

// A charter that no longer admits an agency ends its requests everywhere; they stay on record
// once they are over.
func TestRemovedAgencyAsksInVain(t *testing.T) {
	p := newPolice(t)
	h := p.home(time.Now)
	p.toldTo(h)
	if got := h.check("peer", p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))); got != gossip.Accept || len(h.Requests()) != 1 {
		t.Fatalf("verdict %d", got)
	}
	next := *p.chain.Current()
	next.Version, next.Previous, next.Agencies = 2, p.chain.CurrentHash(), nil
	next.Removed = []charter.Removal{{Agency: p.self.ID(), Name: p.self.Name, Reason: "no outcome was ever told"}}
	if got := h.check("peer", must(consent.Sign(next, p.ana))); got != gossip.Accept {
		t.Fatalf("charter version 2: verdict %d", got)
	}
	if len(h.Requests()) != 0 {
		t.Error("the removed agency still asks")
	}
	h.Now = func() time.Time { return time.Now().AddDate(0, 0, 8) }
	if len(h.Requests()) != 1 {
		t.Error("what it asked is off the record")
	}
}

// A steward that missed a request and learns of it by catch-up passes it on at once: the homes that
// keep to it do not wait for a catch-up of their own.
func TestStewardPassesOnWhatItMissed(t *testing.T) {
	p := newPolice(t)
	start := func(role Role, stewards []string) *Peer {
		dir := filepath.Join(t.TempDir(), string(role))
		if err := errors.Join(Create(dir, role), WriteCharter(durable.Disk{}, filepath.Join(dir, "charter"), p.chain)); err != nil {
			t.Fatal(err)
		}
		q := must(OpenPeer(dir, Options{}))
		q.Config.Listen, q.Config.MDNS, q.Config.Stewards, q.Config.CatchUp = []string{"/ip4/127.0.0.1/tcp/0"}, false, stewards, Duration(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		if err := q.Start(ctx); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- q.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			<-ended
			if err := errors.Join(q.Stop(), q.Close()); err != nil {
				t.Error(err)
			}
		})
		return q
	}
	steward := start(Steward, nil)
	home := start(Home, steward.Addrs())
	wait := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(60 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited in vain for %s", what)
			}
		}
	}
	wait("the mesh", func() bool { return steward.topic.Peers() == 1 && home.topic.Peers() == 1 })
	time.Sleep(1500 * time.Millisecond) // a heartbeat of gossip, and the catch-up on connection
	p.append(must(consent.Sign(p.request(), p.officer, p.sergeant)))
	p.toldTo(steward)
	wait("the request", func() bool { return len(home.Requests()) == 1 })
}
