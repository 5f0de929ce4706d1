package docket_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
	asks "github.com/porchlight-mesh/porchlight/consent/request"
)

func witnesses(names ...string) (all []charter.Witness) {
	for _, n := range names {
		all = append(all, charter.Witness{Name: n, Key: key(n).Verifier()})
	}
	return all
}

func cosigned(t testing.TB, checkpoint []byte, names ...string) []byte {
	t.Helper()
	for _, n := range names {
		line, err := Cosign(checkpoint, key(n), noon)
		if err != nil {
			t.Fatal(err)
		}
		checkpoint = slices.Concat(checkpoint, line)
	}
	return checkpoint
}

// The Herald and the library are witnesses of the mesh; Mallory is not.
func TestWhoCosignedACheckpoint(t *testing.T) {
	p, _ := weekday(t)
	shown := p.sign(t)
	ws := witnesses("herald", "library", "council")
	flip := func(b []byte, line int) []byte {
		lines := strings.SplitAfter(string(b), "\n")
		raw, err := base64.StdEncoding.DecodeString(strings.Fields(lines[line])[2])
		if err != nil {
			t.Fatal(err)
		}
		raw[40] ^= 1
		lines[line] = "— " + strings.Fields(lines[line])[1] + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
		return []byte(strings.Join(lines, ""))
	}
	both := cosigned(t, shown, "herald", "library")
	for _, tc := range []struct {
		name string
		msg  []byte
		by   int
		own  bool // the message is the one spelling of what it says
		want consent.Class
	}{
		{"nobody", shown, 0, true, ""},
		{"one", cosigned(t, shown, "library"), 1, true, ""},
		{"two", both, 2, true, ""},
		{"in another order", cosigned(t, shown, "library", "herald"), 2, false, ""},
		{"a stranger besides", cosigned(t, shown, "herald", "mallory"), 1, false, ""},
		{"a stranger alone", cosigned(t, shown, "mallory"), 0, false, ""},
		{"one twice", cosigned(t, shown, "herald", "herald"), 0, false, consent.Malformed},
		{"changed", flip(both, 6), 0, false, consent.BadSignature},
		{"the agency's own line changed", flip(both, 4), 0, false, consent.BadSignature},
		{"of another size", slices.Concat(p.previous(t), both[len(shown):]), 0, false, consent.BadSignature},
		{"loose base64", bytes.TrimSuffix(both, []byte("=\n")), 0, false, consent.Malformed},
		{"a line that is none", append(slices.Clone(both), "and more\n"...), 0, false, consent.Malformed},
		{"no end of line", both[:len(both)-1], 0, false, consent.Malformed},
		{"far too long", append(slices.Clone(both), bytes.Repeat([]byte("x"), MaxCosigned)...), 0, false, consent.Oversize},
		{"nothing", nil, 0, false, consent.Malformed},
	} {
		c, err := OpenCosigned(tc.msg, police(), ws)
		if consent.ClassOf(err) != tc.want || (err == nil) != (tc.want == "") {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
		if err == nil && (len(c.By) != tc.by || bytes.Equal(c.Note, tc.msg) != tc.own) {
			t.Errorf("%s: %d witnesses, own spelling %v", tc.name, len(c.By), bytes.Equal(c.Note, tc.msg))
		}
	}
}

// previous is a checkpoint of one entry less.
func (p precinct) previous(t testing.TB) []byte { return forge(t, (*p.notes)[:p.Size()-1]) }

// Software that knows nothing of Porchlight reads the agency's line of a cosigned checkpoint, and finds the witness's key by the id in
// its line.
func TestCosignaturesHaveThePublicFormat(t *testing.T) {
	p, _ := weekday(t)
	msg := cosigned(t, p.sign(t), "herald")
	v, err := note.NewVerifier(string(docketKey().Verifier()))
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 1 {
		t.Fatalf("%+v, %v", n, err)
	}
	text, err := CosignerKey(key("herald").Verifier())
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(text, "+", 3)
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || parts[0] != "herald" || raw[0] != 4 || n.UnverifiedSigs[0].Hash != hexHash(t, parts[1]) {
		t.Errorf("%s does not name the key of %+v", text, n.UnverifiedSigs[0])
	}
}

func hexHash(t *testing.T, s string) (h uint32) {
	for _, c := range s {
		h = h<<4 | uint32(strings.IndexRune("0123456789abcdef", c))
	}
	return h
}

// A witness follows one line of history: it cosigns what grows out of what it cosigned, once and again, and nothing else.
func TestAWitnessCosignsOneHistoryOnly(t *testing.T) {
	p, _ := weekday(t)
	cps, sizes := map[int64][]byte{}, []int64{}
	for i := range 6 {
		cps[p.Size()] = p.sign(t)
		sizes = append(sizes, p.Size())
		p.add(t, request("case", kim, moss, 10+i))
	}
	ask := func(old, size int64) Add {
		q := Add{Old: old, Checkpoint: cps[size]}
		if old > 0 && old < size {
			proof, err := p.Prove(old, size)
			if err != nil {
				t.Fatal(err)
			}
			q.Proof = proof
		}
		got, err := ParseAdd(q.Encode())
		if err != nil || got.Old != q.Old || !slices.Equal(got.Proof, q.Proof) || !bytes.Equal(got.Checkpoint, q.Checkpoint) {
			t.Fatalf("%+v came back as %+v (%v)", q, got, err)
		}
		return got
	}
	var none Witness
	first, err := none.Admit(ask(0, sizes[0]), police())
	if err != nil || first.Size != sizes[0] {
		t.Fatal(err)
	}
	later, err := first.Admit(ask(sizes[0], sizes[3]), police())
	if err != nil || later.Size != sizes[3] {
		t.Fatal(err)
	}
	if again, err := later.Admit(ask(sizes[3], sizes[3]), police()); err != nil || again != later {
		t.Errorf("the same again: %v", err)
	}
	other := forge(t, append(slices.Clone((*p.notes)[:sizes[3]-1]), []byte("another")))
	longer := forge(t, append(slices.Clone((*p.notes)[:sizes[3]-1]), []byte("another"), []byte("more")))
	wrong := ask(sizes[3], sizes[5])
	wrong.Proof = append(slices.Clone(wrong.Proof[:len(wrong.Proof)-1]), wrong.Proof[0])
	for name, tc := range map[string]struct {
		q    Add
		want consent.Class
	}{
		"from somewhere else": {ask(sizes[0], sizes[5]), consent.Behind},
		"going back":          {Add{Old: sizes[3], Checkpoint: cps[sizes[1]]}, consent.BadProof},
		"another history":     {Add{Old: sizes[3], Checkpoint: other}, consent.Fork},
		"another, longer":     {Add{Old: sizes[3], Proof: wrong.Proof, Checkpoint: longer}, consent.BadProof},
		"a wrong proof":       {wrong, consent.BadProof},
		"no proof":            {Add{Old: sizes[3], Checkpoint: cps[sizes[5]]}, consent.BadProof},
		"of nobody":           {Add{Old: sizes[3], Checkpoint: []byte("x")}, consent.Malformed},
	} {
		if _, err := later.Admit(tc.q, police()); consent.ClassOf(err) != tc.want {
			t.Errorf("%s: %v, want class %s", name, err, tc.want)
		}
	}
	if _, err := none.Admit(Add{Proof: wrong.Proof, Checkpoint: cps[sizes[0]]}, police()); consent.ClassOf(err) != consent.BadProof {
		t.Errorf("a proof of nothing: %v", err)
	}
}

func TestMisconductConvincesEverybody(t *testing.T) {
	p, _ := weekday(t)
	p.sign(t)
	shown := slices.Clone(*p.notes)
	hidden := append(slices.Clone(shown[:3]), request("another", kim, moss, 3))
	same := forge(t, append(slices.Clone(shown[:len(shown)-1]), []byte("not what was shown")))
	proofs := map[string]Misconduct{}
	for name, cp := range map[string][]byte{"one size": same, "a shorter one": forge(t, hidden), "cosigned": cosigned(t, forge(t, hidden), "herald")} {
		m, err := p.Contradiction(cp)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		proofs[name] = m
	}
	// Of a longer docket only an entry can be compared.
	branch := open(t)
	for _, n := range append(slices.Clone(hidden), request("and", kim, moss, 4), request("so", kim, moss, 5), request("on", kim, moss, 6)) {
		branch.add(t, n)
	}
	branch.sign(t)
	if branch.Size() <= p.Size() {
		t.Fatal("the branch is not longer")
	}
	parse := func(i int64) *Bundle {
		msg, err := branch.Bundle(i, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseBundle(msg)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m, ok, err := parse(3).Contradiction(p.Log)
	if err != nil || !ok {
		t.Fatalf("an entry at another's place: %v", err)
	}
	proofs["an entry"] = m
	if _, ok, err := parse(branch.Size() - 1).Contradiction(p.Log); ok || err != nil {
		t.Error("an entry further on proves nothing", err)
	}
	for name, m := range proofs {
		msg, err := m.Encode()
		if err != nil || !IsMisconduct(msg) || len(msg) > 4096 {
			t.Fatalf("%s: %d bytes, %v", name, len(msg), err)
		}
		got, err := ParseMisconduct(msg)
		if err != nil || got.Verify(police()) != nil {
			t.Errorf("%s does not convince: %v", name, err)
		}
		other := police()
		other.Key = key("elsewhere").Verifier()
		if got.Verify(other) == nil {
			t.Errorf("%s is held against another agency", name)
		}
		for i := range len(msg) * 8 {
			bad := bytes.Clone(msg)
			bad[i/8] ^= 1 << (i % 8)
			if got, err := ParseMisconduct(bad); err == nil && got.Verify(police()) == nil {
				t.Fatalf("%s: bit %d flipped and still a proof", name, i)
			}
		}
	}
	// An honest docket cannot be made to look like that.
	honest := p.sign(t)
	old := forge(t, shown[:2])
	for name, m := range map[string]Misconduct{
		"a docket that grew":      {Agency: police().ID(), One: string(old), Other: string(honest), Roots: proofs["a shorter one"].Roots},
		"one checkpoint twice":    {Agency: police().ID(), One: string(honest), Other: string(honest), Roots: proofs["one size"].Roots},
		"an entry that is not in": {Agency: police().ID(), One: string(old), Other: string(honest), Entries: proofs["an entry"].Entries},
		"nothing shown":           {Agency: police().ID(), One: string(old), Other: string(honest), Roots: &TwoRoots{}},
	} {
		if err := m.Verify(police()); consent.ClassOf(err) == "" {
			t.Errorf("%s convinces: %v", name, err)
		}
	}
	if _, err := p.Contradiction(old); err == nil {
		t.Error("a prefix contradicts")
	}
}

func TestADayHasSoManyEntriesAndBytes(t *testing.T) {
	s := &shelf{}
	l, err := Open(police(), charter.Quotas{EntriesPerDay: 4, BytesPerDay: 1 << 20}, s, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := precinct{l, s}
	p.add(t, mustSign(enrol(kim, RoleOfficer, moss, 0), moss))
	for i := range 3 {
		p.add(t, request("case", kim, moss, i))
	}
	// The agency's own node refuses, also what is dated back into yesterday.
	for _, minute := range []int{5, -24 * 60} {
		if _, err := p.Prepare(request("over", kim, moss, minute), noon.AddDate(0, 0, 1)); consent.ClassOf(err) != consent.OverQuota {
			t.Errorf("minute %d: %v", minute, err)
		}
	}
	// A docket that does not care holds it; to everybody else it is an opaque leaf, and the next day goes on.
	over, next := request("over", kim, moss, 5), request("next day", kim, moss, 24*60)
	if err := p.Extend([][]byte{over, next}, forge(t, append(slices.Clone(*s), over, next))); err != nil {
		t.Fatal(err)
	}
	if p.Refused(4) != consent.OverQuota || p.Refused(5) != "" {
		t.Errorf("refused are %q and %q", p.Refused(4), p.Refused(5))
	}
	long := open(t)
	if long.Log, err = Open(police(), charter.Quotas{EntriesPerDay: 100, BytesPerDay: 1500}, long.notes, 0); err != nil {
		t.Fatal(err)
	}
	long.add(t, mustSign(enrol(kim, RoleOfficer, moss, 0), moss))
	if _, err := long.Prepare(request("long", kim, moss, 1), noon.AddDate(0, 0, 1)); consent.ClassOf(err) != consent.OverQuota {
		t.Errorf("many bytes: %v", err)
	}
}

// A leaf of which only the hash is known keeps the tree whole and has no effect.
func TestAnEntryMayBeKnownByItsHash(t *testing.T) {
	p, _ := weekday(t)
	last := p.add(t, request("theft", kim, moss, 30))
	cp := p.sign(t)
	id := asks.IDOf((*p.notes)[last])
	all := slices.Clone(*p.notes)
	h, err := p.Leaf(last)
	if err != nil {
		t.Fatal(err)
	}
	all[last] = Leaf(h)
	peer := open(t)
	if err := peer.Extend(all, cp); err != nil {
		t.Fatal(err)
	}
	if _, state := peer.Request(id); state != "" || peer.Refused(last) != consent.Unread || peer.Root() != p.Root() {
		t.Error("an unread entry counts, or changes the tree")
	}
	if whole := open(t); whole.Extend(*p.notes, cp) != nil {
		t.Error("the text does not fit its hash")
	} else if _, state := whole.Request(id); state != StateOpen {
		t.Error("with its text the request does not ask")
	}
}

func TestReportsAndOutcomes(t *testing.T) {
	p, _ := weekday(t)
	i := p.add(t, request("exigent", kim, moss, 30))
	id := asks.IDOf((*p.notes)[i])
	report := func(minute int) []byte {
		return mustSign(Report{Request: id, Text: "The child was found at her aunt's.", Created: at(minute), Officer: kim.Verifier(), Supervisor: moss.Verifier()}, kim, moss)
	}
	outcome := func(f Finding, minute int) []byte {
		return mustSign(Outcome{Request: id, Outcome: f, Created: at(minute), Officer: kim.Verifier()}, kim)
	}
	if a := p.Account(id); a != (Account{}) {
		t.Errorf("%+v of nothing", a)
	}
	p.add(t, request("later", kim, moss, 60))
	p.add(t, report(40)) // dated back: the docket had an entry of minute 60 before it
	if a := p.Account(id); a.Reported != at(60) {
		t.Errorf("reported %v", a.Reported)
	}
	p.add(t, outcome(FindingOpen, 70))
	p.add(t, outcome(FindingCharged, 80))
	if a := p.Account(id); a.Outcome != FindingCharged || a.OutcomeAt != at(80) {
		t.Errorf("%+v", a)
	}
	unknown := Report{Request: consent.RequestID(consent.HashText(nil)), Text: "There was a fire in the hall.", Created: at(90), Officer: kim.Verifier(), Supervisor: moss.Verifier()}
	for name, tc := range map[string]struct {
		msg  []byte
		want consent.Class
	}{
		"a second report":          {report(90), consent.DuplicateEntry},
		"of no request":            {mustSign(unknown, kim, moss), consent.UnknownRequest},
		"an outcome by a stranger": {mustSign(Outcome{Request: id, Outcome: FindingClosed, Created: at(90), Officer: key("eve").Verifier()}, key("eve")), consent.UnknownOfficer},
	} {
		if _, err := p.Prepare(tc.msg, noon.Add(time.Hour*24)); consent.ClassOf(err) != tc.want {
			t.Errorf("%s: %v, want class %s", name, err, tc.want)
		}
	}
	for _, b := range []consent.Body{Report{}, Outcome{}, Outcome{Request: id, Outcome: "used", Created: at(1), Officer: kim.Verifier()},
		Report{Request: id, Text: "short", Created: at(1), Officer: kim.Verifier(), Supervisor: moss.Verifier()},
		Report{Request: id, Text: strings.Repeat("x", 30), Created: at(1), Officer: kim.Verifier(), Supervisor: kim.Verifier()}} {
		if consent.ClassOf(b.Check()) == "" {
			t.Errorf("%+v is taken", b)
		}
	}
}

func FuzzParseMisconduct(f *testing.F) {
	p, _ := weekday(f)
	p.sign(f)
	m, err := p.Contradiction(forge(f, append(slices.Clone((*p.notes)[:3]), []byte("x"))))
	if err != nil {
		f.Fatal(err)
	}
	msg, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseMisconduct(b)
		if err != nil {
			if consent.ClassOf(err) == "" {
				t.Fatal(err)
			}
			return
		}
		if again, err := got.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q has another text, %q (%v)", b, again, err)
		}
		if got.Verify(police()) == nil && !bytes.Equal(b, msg) {
			t.Fatalf("%q convinces", b)
		}
	})
}

func FuzzParseAdd(f *testing.F) {
	f.Add([]byte("old 0\n\nporchlight.docket/x\n1\nAAAA\n\n— x y\n"))
	f.Add([]byte("old 12\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\nx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseAdd(b)
		if err == nil && !bytes.Equal(q.Encode(), b) {
			t.Fatalf("%q has another text, %q", b, q.Encode())
		}
		if err != nil && consent.ClassOf(err) == "" {
			t.Fatal(err)
		}
	})
}

func FuzzOpenCosigned(f *testing.F) {
	p, _ := weekday(f)
	f.Add(cosigned(f, p.sign(f), "herald", "library"))
	ws := witnesses("herald", "library")
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := OpenCosigned(b, police(), ws)
		if err != nil {
			if consent.ClassOf(err) == "" {
				t.Fatal(err)
			}
			return
		}
		if again, err := OpenCosigned(c.Note, police(), ws); err != nil || !bytes.Equal(again.Note, c.Note) || len(again.By) != len(c.By) {
			t.Fatalf("%q is not its own spelling", c.Note)
		}
	})
}
