package docket_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	asks "github.com/porchlight-mesh/porchlight/consent/request"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func key(name string) consent.Key {
	seed := sha256.Sum256([]byte(name))
	k, err := consent.KeyFromSeed(name, seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

func docketKey() consent.Key {
	k, err := NewKey(bytes.NewReader(make([]byte, 32)))
	if err != nil {
		panic(err)
	}
	return k
}

// Lieutenant Moss is the first supervisor; Kim and Lee will be officers, Captain Noor a second supervisor.
var moss, noor, kim, lee = key("lt-moss"), key("cpt-noor"), key("ofc-kim"), key("ofc-lee")

func police() charter.Agency {
	return charter.Agency{Name: "Elm Street Police", Class: charter.LocalPolice, Key: docketKey().Verifier(),
		Supervisors:  []consent.VerifierKey{moss.Verifier()},
		Jurisdiction: geo.Polygon{{Lat: 42.30, Lon: -71.10}, {Lat: 42.30, Lon: -71.00}, {Lat: 42.40, Lon: -71.00}},
		PolicyURL:    "https://police.example/footage"}
}

// daily is a kind of entry that this version does not know.
type daily struct {
	Slots int `json:"slots"`
}

func (daily) Kind() string { return "daily" }
func (daily) Check() error { return nil }

// shelf is a Store in memory.
type shelf [][]byte

func (s *shelf) Entry(i int64) ([]byte, error) {
	if i >= int64(len(*s)) {
		return nil, errors.New("not on the shelf")
	}
	return (*s)[i], nil
}

func mustSign(b consent.Body, keys ...consent.Key) []byte {
	msg, err := consent.Sign(b, keys...)
	if err != nil {
		panic(err)
	}
	return msg
}

func at(minutes int) consent.Time {
	return consent.At(noon.Add(time.Duration(minutes) * time.Minute))
}

func enrol(who consent.Key, role Role, by consent.Key, minute int) Officer {
	return Officer{Action: Enrol, Role: role, Name: who.Name(), Key: who.Verifier(), Expires: at(minute + 90*24*60), Created: at(minute), By: by.Verifier()}
}

func revoke(who consent.Key, role Role, by consent.Key, minute int) Officer {
	return Officer{Action: Revoke, Role: role, Name: who.Name(), Key: who.Verifier(), Reason: "left", Created: at(minute), By: by.Verifier()}
}

// request asks in a case of that name.
func request(name string, officer, supervisor consent.Key, minute int) []byte {
	return mustSign(ask(name, officer, supervisor, minute), officer, supervisor)
}

// An unchecked request can be signed whatever is wrong with it.
type unchecked struct{ asks.Request }

func (unchecked) Check() error { return nil }

func ask(name string, officer, supervisor consent.Key, minute int) unchecked {
	place := geo.Point{Lat: 42.33, Lon: -71.02}
	return unchecked{asks.Request{Agency: police().ID(), Case: name, Offence: "220", Basis: asks.ProbableCause,
		Incident: asks.Incident{At: at(minute - 120), Place: place}, Area: geo.Circle(place, 200, 8), From: at(minute - 180), Until: at(minute - 60),
		Text: "A shop was broken into; we look for a grey van.", Contact: "front desk",
		Terms:        asks.Terms{RetentionDays: 30, UnusedDays: 30, Recipients: []string{}},
		ReceptionKey: receptionKey, Reply: []string{"/ip4/8.8.8.8/tcp/4001/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"},
		Officer: officer.Verifier(), Supervisor: supervisor.Verifier(), Created: at(minute), Expires: at(minute + 7*24*60)}}
}

var receptionKey = key(asks.ReceptionKeyName).Verifier()

// precinct is the agency's side: a log and the shelf its notes stand on.
type precinct struct {
	*Log
	notes *shelf
}

func open(t testing.TB) precinct {
	t.Helper()
	s := &shelf{}
	l, err := Open(police(), charter.Quotas{}, s, 0)
	if err != nil {
		t.Fatal(err)
	}
	return precinct{l, s}
}

func (p precinct) add(t testing.TB, msg []byte) int64 {
	t.Helper()
	pending, err := p.Prepare(msg, noon.AddDate(0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	*p.notes = append(*p.notes, pending.Note)
	if err := p.Commit(pending); err != nil {
		t.Fatal(err)
	}
	return pending.Index
}

func (p precinct) sign(t testing.TB) []byte {
	t.Helper()
	cp, err := p.SignCheckpoint(docketKey())
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

// weekday fills a docket: 0 Kim, 1 Noor, 2 Lee by Noor, 3 a request by Lee and Noor.
func weekday(t testing.TB) (precinct, []byte) {
	p := open(t)
	p.add(t, mustSign(enrol(kim, RoleOfficer, moss, 0), moss))
	p.add(t, mustSign(enrol(noor, RoleSupervisor, moss, 1), moss))
	p.add(t, mustSign(enrol(lee, RoleOfficer, noor, 2), noor))
	msg := request("burglary", lee, noor, 3)
	p.add(t, msg)
	p.sign(t)
	return p, msg
}

func TestOfficersAreEnrolledAskAndAreRevoked(t *testing.T) {
	p, burglary := weekday(t)
	id := asks.IDOf(burglary)
	if i, state := p.Request(id); i != 3 || state != StateOpen {
		t.Errorf("the request is at %d, %q", i, state)
	}
	second := request("theft", kim, moss, 4)
	p.add(t, second)
	p.add(t, mustSign(Supersede{id, asks.IDOf(second), "wrong street", at(5), kim.Verifier(), noor.Verifier()}, kim, noor))
	if _, state := p.Request(id); state != StateSuperseded {
		t.Errorf("superseded, and it is %q", state)
	}
	p.add(t, mustSign(Resolve{asks.IDOf(second), "found", at(6), lee.Verifier()}, lee))
	if _, state := p.Request(asks.IDOf(second)); state != StateResolved {
		t.Errorf("resolved, and it is %q", state)
	}
	p.add(t, mustSign(revoke(lee, RoleOfficer, moss, 7), moss))
	for _, tc := range []struct {
		name string
		msg  []byte
		want consent.Class
	}{
		{"a revoked officer asks", request("arson", lee, noor, 8), consent.RevokedOfficer},
		{"a revoked officer is enrolled again", mustSign(enrol(lee, RoleOfficer, moss, 8), moss), consent.RevokedOfficer},
		{"a stranger asks", request("arson", key("mallory"), noor, 8), consent.UnknownOfficer},
		{"two officers ask", request("arson", noor, kim, 8), consent.WrongRole},
		{"one key under two names", request("arson", kim, kim2(), 8), consent.SameSigner},
		{"an officer asks alone", mustSign(ask("x", kim, noor, 8), kim), consent.MissingSignature},
		{"the supervisor signed first", mustSign(ask("x", kim, noor, 8), noor, kim), consent.SignatureOrder},
		{"somebody signs besides", mustSign(ask("x", kim, noor, 8), kim, noor, moss), consent.ExtraSignature},
		{"one person is both", mustSign(ask("x", kim, kim, 8), kim), consent.SameSigner},
		{"an officer enrols", mustSign(enrol(key("new"), RoleOfficer, kim, 8), kim), consent.WrongRole},
		{"a stranger enrols", mustSign(enrol(key("new"), RoleOfficer, key("mallory"), 8), key("mallory")), consent.UnknownOfficer},
		{"a forged enrolment", mustSign(enrol(key("new"), RoleOfficer, noor, 8), key("mallory")), consent.MissingSignature},
		{"enrolled already", mustSign(enrol(kim, RoleOfficer, noor, 8), noor), consent.DuplicateEntry},
		{"enrolled under another name", mustSign(enrol(kim2(), RoleOfficer, noor, 8), noor), consent.DuplicateEntry},
		{"an officer made supervisor besides", mustSign(enrol(kim, RoleSupervisor, noor, 8), noor), consent.DuplicateEntry},
		{"the docket key as officer", mustSign(enrol(docketKey(), RoleOfficer, noor, 8), noor), consent.WrongRole},
		{"a stranger is revoked", mustSign(revoke(key("new"), RoleOfficer, noor, 8), noor), consent.UnknownOfficer},
		{"revoked in another role", mustSign(revoke(kim, RoleSupervisor, noor, 8), noor), consent.WrongRole},
		{"revoked twice", mustSign(revoke(lee, RoleOfficer, noor, 8), noor), consent.RevokedOfficer},
		{"the same bytes again", burglary, consent.DuplicateEntry},
		{"a request that ended", mustSign(Resolve{id, "found", at(8), kim.Verifier()}, kim), consent.ClosedRequest},
		{"no such request", mustSign(Resolve{consent.RequestID(consent.HashText(nil)), "found", at(8), kim.Verifier()}, kim), consent.UnknownRequest},
		{"an officer entry taken for a request", mustSign(Resolve{asks.IDOf((*p.notes)[0]), "found", at(8), kim.Verifier()}, kim), consent.UnknownRequest},
		{"ahead of the clock", request("arson", kim, noor, 2*24*60), consent.NotYetValid},
		{"an unknown kind", mustSign(daily{3}, docketKey()), consent.WrongKind},
		{"no note", []byte("hello"), consent.Malformed},
	} {
		before := p.Root()
		if _, err := p.Append(tc.msg, nextDay()); consent.ClassOf(err) != tc.want {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
		if p.Root() != before {
			t.Fatalf("%s: the docket changed", tc.name)
		}
	}
	if all := p.Officers().All(); len(all) != 4 || all[0].Key != moss.Verifier() || !all[3].Revoked || all[3].Name != "ofc-lee" {
		t.Errorf("officers: %+v", all)
	}
}

func nextDay() time.Time { return noon.AddDate(0, 0, 1) }

// kim2 is Kim's key under another name.
func kim2() consent.Key {
	k, err := kim.Renamed("ofc-kim2")
	if err != nil {
		panic(err)
	}
	return k
}

func TestAnEnrolmentExpires(t *testing.T) {
	p := open(t)
	e := enrol(kim, RoleOfficer, moss, 0)
	e.Expires = at(60)
	p.add2(t, mustSign(e, moss), noon)
	p.add2(t, request("in time", kim, moss, 30), noon.Add(59*time.Minute))
	if _, err := p.Append(request("late", kim, moss, 60), noon.Add(time.Hour)); consent.ClassOf(err) != consent.ExpiredOfficer {
		t.Errorf("late: %v", err)
	}
	if _, err := p.Append(request("dated back", kim, moss, 59), noon.Add(time.Hour)); consent.ClassOf(err) != consent.ExpiredOfficer {
		t.Errorf("dated back: %v", err)
	}
}

func (p precinct) add2(t testing.TB, msg []byte, now time.Time) {
	t.Helper()
	if _, err := p.Append(msg, now); err != nil {
		t.Fatal(err)
	}
	*p.notes = append(*p.notes, msg)
}

func TestBodiesThatNoDocketHolds(t *testing.T) {
	good := enrol(kim, RoleOfficer, moss, 0)
	edit := func(f func(*Officer)) Officer { o := good; f(&o); return o }
	id := asks.IDOf([]byte("x"))
	for i, b := range []consent.Body{
		Officer{}, Supersede{}, Resolve{},
		edit(func(o *Officer) { o.Action = "promote" }), edit(func(o *Officer) { o.Role = "chief" }),
		edit(func(o *Officer) { o.Name = "" }), edit(func(o *Officer) { o.Name = "a\nb" }), edit(func(o *Officer) { o.Key = "" }),
		edit(func(o *Officer) { o.By = "x" }), edit(func(o *Officer) { o.Created = consent.Time{} }),
		edit(func(o *Officer) { o.Expires = o.Created }), edit(func(o *Officer) { o.Action, o.Expires = Revoke, at(9) }),
		edit(func(o *Officer) { o.Expires = consent.Time{} }), edit(func(o *Officer) { o.Expires = at(366*24*60 + 1) }),
		edit(func(o *Officer) { o.By = o.Key }), edit(func(o *Officer) { o.Reason = strings.Repeat("x", 501) }),
		Supersede{id, id, "r", at(0), kim.Verifier(), moss.Verifier()}, Supersede{id, "x", "r", at(0), kim.Verifier(), moss.Verifier()},
		Supersede{id, asks.IDOf(nil), "", at(0), kim.Verifier(), moss.Verifier()},
		Supersede{id, asks.IDOf(nil), "r", at(0), kim.Verifier(), kim2().Verifier()},
		Resolve{"x", "r", at(0), kim.Verifier()}, Resolve{id, "", at(0), kim.Verifier()}, Resolve{id, "r", at(0), ""},
	} {
		if consent.ClassOf(b.Check()) == "" {
			t.Errorf("%d: %+v passes", i, b)
		}
	}
	for _, o := range []Officer{good, edit(func(o *Officer) { o.Expires = at(366 * 24 * 60) }), revoke(kim, RoleOfficer, moss, 0)} {
		if o.Check() != nil {
			t.Error(o.Check())
		}
	}
}

// A crash between persisting and signing, or signing first, would make a fork; the order is Prepare,
// persist, Commit, SignCheckpoint.
func TestWhatWasPreparedIsCommittedOnceAndInOrder(t *testing.T) {
	p, _ := weekday(t)
	one, err := p.Prepare(request("one", kim, moss, 9), nextDay())
	if err != nil {
		t.Fatal(err)
	}
	two, err := p.Prepare(request("two", kim, moss, 9), nextDay())
	if err != nil || one.Index != two.Index || p.Size() != 4 {
		t.Fatal("preparing changed the docket", err)
	}
	if err := p.Commit(one); err != nil {
		t.Fatal(err)
	}
	other, _ := weekday(t)
	for _, pending := range []Pending{one, two, {}} {
		if consent.ClassOf(p.Commit(pending)) != consent.BadValue {
			t.Error("an entry was committed at a place it was not prepared for")
		}
	}
	if consent.ClassOf(other.Commit(one)) != consent.BadValue {
		t.Error("an entry was committed to another docket")
	}
	if _, err := p.SignCheckpoint(kim); consent.ClassOf(err) != consent.BadKey {
		t.Errorf("an officer signed a checkpoint: %v", err)
	}
	if _, err := p.SignCheckpoint(consent.Key{}); consent.ClassOf(err) != consent.BadKey {
		t.Errorf("nobody signed a checkpoint: %v", err)
	}
}

func TestAPeerFollowsAndRebuilds(t *testing.T) {
	p, _ := weekday(t)
	cp4 := p.Checkpoint()
	peer := open(t)
	if err := peer.Extend((*p.notes)[:4], cp4); err != nil {
		t.Fatal(err)
	}
	*peer.notes = append(*peer.notes, (*p.notes)[:4]...)
	p.add(t, request("theft", kim, moss, 10))
	cp5 := p.sign(t)
	rest := (*p.notes)[4:]
	root := peer.Root()
	changed := bytes.Replace(rest[0], []byte("theft"), []byte("arson"), 1)
	for _, tc := range []struct {
		name    string
		entries [][]byte
		cp      []byte
		want    consent.Class
	}{
		{"another entry", [][]byte{changed}, cp5, consent.BadCheckpoint},
		{"no entry", nil, cp5, consent.BadCheckpoint},
		{"one too many", [][]byte{rest[0], rest[0]}, cp5, consent.BadCheckpoint},
		{"an older checkpoint", rest, cp4, consent.BadCheckpoint},
		{"too long an entry", [][]byte{make([]byte, consent.MaxNote+1)}, cp5, consent.Oversize},
		{"no checkpoint", rest, nil, consent.Malformed},
	} {
		if err := peer.Extend(tc.entries, tc.cp); consent.ClassOf(err) != tc.want {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
		if peer.Root() != root || !bytes.Equal(peer.Checkpoint(), cp4) {
			t.Fatalf("%s: the log changed", tc.name)
		}
	}
	if err := peer.Extend(nil, cp4); err != nil {
		t.Errorf("nothing new: %v", err)
	}
	if err := peer.Extend(rest, cp5); err != nil || peer.Root() != p.Root() {
		t.Fatal(err)
	}
	*peer.notes = append(*peer.notes, rest...)
	// Restarted from its notes, it is the same log.
	again, err := Open(police(), charter.Quotas{}, peer.notes, 5)
	if err != nil || again.Resume(cp5) != nil || again.Root() != p.Root() || len(again.Officers().All()) != 4 {
		t.Fatal("rebuilding", err)
	}
	if i, ok := again.Find(rest[0]); !ok || i != 4 {
		t.Error("an entry is not found")
	}
	if consent.ClassOf(again.Resume(cp4)) != consent.BadCheckpoint {
		t.Error("resumed from a checkpoint of another size")
	}
	(*peer.notes)[4] = changed
	if bad, err := Open(police(), charter.Quotas{}, peer.notes, 5); err != nil || consent.ClassOf(bad.Resume(cp5)) != consent.Fork {
		t.Error("a damaged store was not noticed", err)
	}
	if _, err := again.Bundle(4, nil); err == nil {
		t.Error("a damaged store made a bundle")
	}
	if _, err := Open(police(), charter.Quotas{}, peer.notes, 9); err == nil {
		t.Error("a short store was not noticed")
	}
	if _, err := Open(charter.Agency{}, charter.Quotas{}, nil, 0); err == nil {
		t.Error("a docket of nobody")
	}
}

// Entries that break the rules cannot be taken out, so they stay as leaves without effect.
func TestUnlawfulEntriesStayAsLeavesAndDoNothing(t *testing.T) {
	p, burglary := weekday(t)
	mallory := key("mallory")
	entries := append(slices.Clone(*p.notes),
		mustSign(enrol(mallory, RoleSupervisor, mallory2(), 5), mallory2()), // 4: by a stranger
		mustSign(daily{3}, docketKey()),                                     // 5: a kind of a later version
		[]byte("hello"),                                                     // 6: no note
		burglary,                                                            // 7: the same again
		request("arson", mallory, noor, 6),                                  // 8: by a stranger
		mustSign(Resolve{asks.IDOf(request("arson", mallory, noor, 6)), "r", at(7), kim.Verifier()}, kim), // 9: of a refused one
		request("theft", kim, moss, 8), // 10: sound
	)
	cp := forge(t, entries)
	peer := open(t)
	if err := peer.Extend(entries, cp); err != nil {
		t.Fatal(err)
	}
	*peer.notes = entries
	want := map[int64]consent.Class{4: consent.UnknownOfficer, 5: consent.WrongKind, 6: consent.Malformed, 7: consent.DuplicateEntry,
		8: consent.UnknownOfficer, 9: consent.UnknownRequest}
	for i := range int64(len(entries)) {
		if peer.Refused(i) != want[i] {
			t.Errorf("entry %d: %q, want %q", i, peer.Refused(i), want[i])
		}
		if _, err := peer.Bundle(i, nil); consent.ClassOf(err) != want[i] {
			t.Errorf("bundle of entry %d: %v", i, err)
		}
	}
	if len(peer.Officers().All()) != 4 {
		t.Error("an unlawful entry enrolled somebody")
	}
	if i, state := peer.Request(asks.IDOf(burglary)); i != 3 || state != StateOpen {
		t.Error("a repeated entry moved the request")
	}
	if _, state := peer.Request(asks.IDOf(entries[8])); state != "" {
		t.Error("an unlawful request is open")
	}
}

func mallory2() consent.Key { return key("mallory2") }

func TestALargeDocketKeepsItsNotesOutOfMemory(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 5_000
	}
	// Unlawful leaves cost no signatures to make or check, so that the test is about the tree.
	made := func(i int64) []byte { return bytes.Repeat(fmt.Appendf(nil, "%08d", i), 64) }
	l, err := Open(police(), charter.Quotas{}, storeFunc(made), int64(n))
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 64<<20 {
		t.Errorf("%d entries of 512 bytes take %d MiB", n, m.HeapAlloc>>20)
	}
	if _, err := l.Append(mustSign(enrol(kim, RoleOfficer, moss, 0), moss), noon); err != nil || l.Size() != int64(n)+1 {
		t.Error(err)
	}
	runtime.KeepAlive(l)
}

type storeFunc func(i int64) []byte

func (f storeFunc) Entry(i int64) ([]byte, error) { return f(i), nil }

func Example() {
	notes := &shelf{}
	log, err := Open(police(), charter.Quotas{}, notes, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, msg := range [][]byte{
		mustSign(enrol(kim, RoleOfficer, moss, 0), moss),
		request("burglary", kim, moss, 1),
		request("arson", lee, moss, 2),
	} {
		p, err := log.Prepare(msg, noon.Add(time.Hour))
		if err != nil {
			fmt.Println(err)
			continue
		}
		*notes = append(*notes, p.Note) // on a disk, with fsync, before the docket signs
		if err := log.Commit(p); err != nil {
			fmt.Println(err)
			return
		}
	}
	if _, err := log.SignCheckpoint(docketKey()); err != nil {
		fmt.Println(err)
		return
	}
	b, err := log.Bundle(1, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Any peer, with nothing but the charter's word on the agency:
	got, err := ParseBundle(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, index, _, err := got.Verify(police())
	fmt.Println(index, err)
	// Output:
	// unknown-officer (officer): no entry enrols ofc-lee
	// 1 <nil>
}
