package docket_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
	asks "github.com/porchlight-mesh/porchlight/consent/request"
)

// forge signs a checkpoint over any entries, as a dishonest docket can.
func forge(t testing.TB, entries [][]byte) []byte {
	t.Helper()
	var hs []tlog.Hash
	reader := tlog.HashReaderFunc(func(ix []int64) (out []tlog.Hash, err error) {
		for _, i := range ix {
			out = append(out, hs[i])
		}
		return out, nil
	})
	for i, e := range entries {
		more, err := tlog.StoredHashes(int64(i), e, reader)
		if err != nil {
			t.Fatal(err)
		}
		hs = append(hs, more...)
	}
	root, err := tlog.TreeHash(int64(len(entries)), reader)
	if err != nil {
		t.Fatal(err)
	}
	return forgeText(t, fmt.Sprintf("%s\n%d\n%s\n", Origin(police().ID()), len(entries), base64.StdEncoding.EncodeToString(root[:])), docketKey())
}

func forgeText(t testing.TB, text string, keys ...consent.Key) []byte {
	t.Helper()
	var signers []note.Signer
	for _, k := range keys {
		s, err := note.NewSigner(k.Encode())
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
	}
	msg, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestTwoRootsOfOneSizeAreAProof(t *testing.T) {
	p, _ := weekday(t)
	shown := p.Checkpoint()
	hidden := forge(t, append(slices.Clone((*p.notes)[:3]), request("another", lee, noor, 3)))
	if _, err := Contradicting(police(), shown, hidden); err != nil {
		t.Errorf("Contradicting: %v", err)
	}
	for name, other := range map[string][]byte{"one root twice": shown, "two sizes": forge(t, (*p.notes)[:3])} {
		if _, err := Contradicting(police(), shown, other); consent.ClassOf(err) != consent.BadProof {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Contradicting(police(), shown, []byte("x")); consent.ClassOf(err) != consent.Malformed {
		t.Errorf("a note that proves nothing: %v", err)
	}
	cp, err := ParseCheckpoint(hidden, police())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Consistent(cp); consent.ClassOf(err) != consent.Fork {
		t.Errorf("Consistent: %v", err)
	}
	// Also when the log has grown past it.
	p.add(t, request("theft", kim, moss, 10))
	p.sign(t)
	if err := p.Consistent(cp); consent.ClassOf(err) != consent.Fork {
		t.Errorf("Consistent, later: %v", err)
	}
	// The next checkpoint of the hidden branch settles nothing for who is behind it.
	longer, err := ParseCheckpoint(forge(t, append(slices.Clone(*p.notes), []byte("a"))), police())
	if err != nil || consent.ClassOf(p.Consistent(longer)) != consent.Behind {
		t.Errorf("a longer one: %v", err)
	}
	if consent.ClassOf(p.Consistent(Checkpoint{Agency: "other"})) != consent.WrongOrigin {
		t.Error("a checkpoint of another docket was compared")
	}
}

func TestConsistencyProofs(t *testing.T) {
	p, _ := weekday(t)
	cps := map[int64]Checkpoint{}
	for i := range 20 {
		cp, err := ParseCheckpoint(p.sign(t), police())
		if err != nil {
			t.Fatal(err)
		}
		cps[cp.Size] = cp
		p.add(t, request(fmt.Sprint("case ", i), kim, moss, 10))
	}
	for older := int64(4); older < 24; older++ {
		for newer := older; newer < 24; newer++ {
			proof, err := p.Prove(older, newer)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckConsistency(cps[older], cps[newer], proof); err != nil {
				t.Errorf("%d to %d: %v", older, newer, err)
			}
			lie := cps[older]
			lie.Root[5] ^= 1
			if CheckConsistency(lie, cps[newer], proof) == nil {
				t.Errorf("%d to %d: another root was proven", older, newer)
			}
		}
	}
	if _, err := p.Prove(0, 4); err == nil {
		t.Error("a proof from nothing")
	}
	if _, err := p.Prove(4, 99); err == nil {
		t.Error("a proof to what is not there")
	}
	if consent.ClassOf(CheckConsistency(cps[9], cps[5], nil)) != consent.BadProof {
		t.Error("a proof backwards")
	}
	if consent.ClassOf(CheckConsistency(Checkpoint{Agency: "a", Size: 3}, cps[5], nil)) != consent.WrongOrigin {
		t.Error("a proof between dockets")
	}
}

func TestCheckpointsHaveOneSpelling(t *testing.T) {
	p, _ := weekday(t)
	msg := string(p.Checkpoint())
	a := police()
	if cp, err := ParseCheckpoint([]byte(msg), a); err != nil || cp.Size != 4 || cp.Root != p.Root() || cp.Agency != a.ID() {
		t.Fatal(cp, err)
	}
	origin, root := Origin(a.ID()), strings.Split(msg, "\n")[2]
	text := func(s string) string { return string(forgeText(t, s, docketKey())) }
	body, line, _ := strings.Cut(msg, "\n\n")
	for _, tc := range []struct {
		name, msg string
		want      consent.Class
	}{
		{"nothing", "", consent.Malformed},
		{"another docket's", text("porchlight.docket/0\n4\n" + root + "\n"), consent.WrongOrigin},
		{"an extension line", text(origin + "\n4\n" + root + "\nmore\n"), consent.Malformed},
		{"no root", text(origin + "\n4\n"), consent.Malformed},
		{"size with a zero", text(origin + "\n04\n" + root + "\n"), consent.NotCanonical},
		{"size below zero", text(origin + "\n-4\n" + root + "\n"), consent.BadValue},
		{"size beyond reason", text(origin + "\n99999999999\n" + root + "\n"), consent.BadValue},
		{"size in words", text(origin + "\nfour\n" + root + "\n"), consent.BadValue},
		{"short root", text(origin + "\n4\nAAAA\n"), consent.BadValue},
		{"another's signature", string(forgeText(t, body+"\n", key("mallory"))), consent.MissingSignature},
		{"another's signature too", string(forgeText(t, body+"\n", docketKey(), key("mallory"))), consent.ExtraSignature},
		{"a line twice", msg + line, consent.NotCanonical},
		{"changed", strings.Replace(msg, "\n4\n", "\n5\n", 1), consent.BadSignature},
		{"too long", msg + strings.Repeat(line, 20), consent.Oversize},
	} {
		if _, err := ParseCheckpoint([]byte(tc.msg), a); consent.ClassOf(err) != tc.want {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
	}
	for i := range len(msg) * 8 {
		bad := []byte(msg)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := ParseCheckpoint(bad, a); err == nil {
			t.Fatalf("bit %d flipped and not noticed", i)
		}
	}
	// A monitor that knows only x/mod reads it.
	v, err := note.NewVerifier(string(a.Key))
	if err != nil || v.Name() != origin {
		t.Fatal(err)
	}
	if _, err := note.Open([]byte(msg), note.VerifierList(v)); err != nil {
		t.Error(err)
	}
}

func TestABundleNeedsNoHistoryAndNoClock(t *testing.T) {
	p, burglary := weekday(t)
	p.add(t, mustSign(Resolve{asks.IDOf(burglary), "found", at(4), kim.Verifier()}, kim))
	p.add(t, mustSign(revoke(kim, RoleOfficer, moss, 5), moss))
	p.sign(t)
	a := police()
	for i, want := range []int{1, 1, 2, 3, 2, 2} { // with the enrolments they rely on
		b, err := p.Bundle(int64(i), nil)
		if err != nil {
			t.Fatal(i, err)
		}
		got, err := ParseBundle(b)
		if err != nil || got.Agency() != a.ID() || strings.Count(string(b), `"index"`) != want {
			t.Fatalf("entry %d: %v\n%s", i, err, b)
		}
		subject, index, officers, err := got.Verify(a)
		if err != nil || index != int64(i) || !bytes.Equal(subject, (*p.notes)[i]) || !bytes.Equal(subject, got.Subject()) || !bytes.Equal(got.Checkpoint(), p.Checkpoint()) {
			t.Fatalf("entry %d: %v", i, err)
		}
		if i == 3 && (officers.Check(lee.Verifier(), RoleOfficer, at(3)) != nil || officers.Check(kim.Verifier(), RoleOfficer, at(3)) == nil) {
			t.Error("the officers are not those the bundle shows")
		}
		other := a
		other.Key = key("other").Verifier()
		if _, _, _, err := got.Verify(other); consent.ClassOf(err) != consent.UnknownAgency {
			t.Errorf("verified for another agency: %v", err)
		}
		if _, _, _, err := got.Verify(charter.Agency{}); consent.ClassOf(err) != consent.UnknownAgency {
			t.Errorf("verified for nobody: %v", err)
		}
		for bit := 0; bit < len(b)*8; bit += 7 {
			bad := bytes.Clone(b)
			bad[bit/8] ^= 1 << (bit % 8)
			if got, err := ParseBundle(bad); err != nil && consent.ClassOf(err) != "" {
				continue
			} else if err != nil {
				t.Fatalf("no class: %v", err)
			} else if _, _, _, err := got.Verify(a); consent.ClassOf(err) == "" {
				t.Fatalf("bit %d of entry %d flipped: %v", bit, i, err)
			}
		}
	}
	if _, err := p.Bundle(6, nil); err == nil {
		t.Error("a bundle of what is not there")
	}
	if _, err := p.Bundle(-1, nil); err == nil {
		t.Error("a bundle of what is not there")
	}
	if _, err := open(t).Bundle(0, nil); consent.ClassOf(err) != consent.BadCheckpoint {
		t.Errorf("a bundle without a checkpoint: %v", err)
	}
}

func TestBundlesWithMoreOrLessThanTheyNeedAreRefused(t *testing.T) {
	p, _ := weekday(t)
	b, err := p.Bundle(3, nil)
	if err != nil {
		t.Fatal(err)
	}
	kimB, err := p.Bundle(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	head, entries, _ := strings.Cut(string(b), `"entries":[`)
	head += `"entries":[`
	parts := strings.Split(strings.TrimSuffix(entries, "]}"), `,{"index"`)
	for i := range parts[1:] {
		parts[i+1] = `{"index"` + parts[i+1]
	}
	_, kimPart, _ := strings.Cut(string(kimB), `"entries":[`)
	kimPart = strings.TrimSuffix(kimPart, "]}")
	join := func(p ...string) string { return head + strings.Join(p, ",") + "]}" }
	if join(parts...) != string(b) {
		t.Fatal("the test takes bundles apart wrongly")
	}
	for _, tc := range []struct {
		name, b string
		want    consent.Class
	}{
		{"nobody's enrolment", join(parts[2]), consent.UnknownOfficer},
		{"the supervisor's missing", join(parts[1], parts[2]), consent.UnknownOfficer},
		{"the officer's missing", join(parts[0], parts[2]), consent.UnknownOfficer},
		{"somebody else's besides", join(kimPart, parts[0], parts[1], parts[2]), consent.NotCanonical},
		{"out of order", join(parts[1], parts[0], parts[2]), consent.BadValue},
		{"twice", join(parts[0], parts[0], parts[1], parts[2]), consent.BadValue},
		{"nothing", join(), consent.BadValue},
		{"another's place", strings.Replace(string(b), `"index":3`, `"index":4`, 1), consent.BadProof},
		{"a place in the log", strings.Replace(string(b), `"index":1`, `"index":0`, 1), consent.BadProof},
		{"too many", join(slices.Repeat([]string{parts[0]}, 17)...), consent.BadValue},
		{"a space", " " + string(b), consent.NotCanonical},
		{"null proof", strings.Replace(string(b), `"proof":[`, `"proof":null,"x":[`, 1), consent.NullValue},
		{"too long", string(b) + strings.Repeat(" ", MaxBundle), consent.Oversize},
		{"trailing", string(b) + "{}", consent.TrailingData},
		{"another agency", strings.Replace(string(b), `"agency":"`, `"agency":"x`, 1), consent.BadValue},
	} {
		got, err := ParseBundle([]byte(tc.b))
		if err == nil {
			_, _, _, err = got.Verify(police())
		}
		if consent.ClassOf(err) != tc.want {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
	}
}

// Ten years of supervisors, each enrolled by the one before.
func TestALongLineOfSupervisorsStillFits(t *testing.T) {
	p := open(t)
	by := moss
	for i := range MaxBundleEntries {
		next := key(fmt.Sprint("cpt-", i))
		p.add(t, mustSign(enrol(next, RoleSupervisor, by, i), by))
		by = next
	}
	p.sign(t)
	if b, err := p.Bundle(MaxBundleEntries-1, nil); err != nil || len(b) > MaxBundle {
		t.Errorf("%d bytes, %v", len(b), err)
	} else if got, err := ParseBundle(b); err != nil {
		t.Error(err)
	} else if _, _, _, err := got.Verify(police()); err != nil {
		t.Error(err)
	}
	p.add(t, mustSign(enrol(kim, RoleOfficer, by, 20), by))
	p.sign(t)
	if _, err := p.Bundle(MaxBundleEntries, nil); consent.ClassOf(err) != consent.Oversize || !strings.Contains(err.Error(), "charter") {
		t.Errorf("one more than fits: %v", err)
	}
}

func TestNewKeysAreNamedAfterTheirOrigin(t *testing.T) {
	k, err := NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := police()
	a.Key = k.Verifier()
	if k.Name() != Origin(a.ID()) {
		t.Errorf("%s is not %s", k.Name(), Origin(a.ID()))
	}
	if _, err := NewKey(bytes.NewReader(nil)); err == nil {
		t.Error("a key out of nothing")
	}
}

func FuzzParseBundle(f *testing.F) {
	p, _ := weekday(f)
	b, err := p.Bundle(3, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"agency":"","checkpoint":"","entries":[]}`))
	a := police()
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseBundle(b)
		if err == nil {
			_, _, _, err = got.Verify(a)
		}
		if err != nil && consent.ClassOf(err) == "" {
			t.Fatalf("a refusal without class: %v", err)
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	p, _ := weekday(f)
	f.Add(p.Checkpoint())
	a := police()
	f.Fuzz(func(t *testing.T, msg []byte) {
		if _, err := ParseCheckpoint(msg, a); err != nil && consent.ClassOf(err) == "" {
			t.Fatalf("a refusal without class: %v", err)
		}
	})
}

func FuzzExtend(f *testing.F) {
	p, msg := weekday(f)
	f.Add(msg)
	f.Add((*p.notes)[0])
	f.Fuzz(func(t *testing.T, msg []byte) {
		l := open(t)
		// What looks like a hash of an entry stands for that entry, and the tree is another's.
		hash := len(msg) == 1+tlog.HashSize && msg[0] == 0
		if err := l.Extend([][]byte{msg}, forge(t, [][]byte{msg})); err != nil {
			if consent.ClassOf(err) != consent.Oversize && !hash {
				t.Fatal(err)
			}
			return
		}
		if l.Size() != 1 {
			t.Fatal("an entry went missing")
		}
	})
}
