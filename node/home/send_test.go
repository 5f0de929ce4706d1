package home

import (
	"crypto/rand"
	"flag"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

func TestMain(m *testing.M) {
	cases := "10000" // a flag of the command line still counts
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		cases = "300" // the race detector looks at the code, not at the cases
	}
	flag.Set("rapid.checks", cases)
	m.Run()
}

func cidOf(n int) consent.ReleaseID {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	return consent.ReleaseID("bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5" + string(digits[4*(n%8)]))
}

// Whatever the record of an answer says, after whatever damage: nothing is sent of it but what a decision of the owner covers, release by
// release, for this request, this camera and no more than this span.
func TestPropertyPromise01NoDecisionNoBytes(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	sent, kept := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		requests := []consent.RequestID{"", "one", "two"}
		cameras := []string{"", "door", "garden"}
		at := func(name string) consent.Time {
			return consent.At(noon.Add(time.Duration(rapid.IntRange(0, 6).Draw(t, name)) * time.Minute))
		}
		span := func(name string) grant.Span { return grant.Span{From: at(name + " from"), Until: at(name + " until")} }
		asked := rapid.SampledFrom(requests).Draw(t, "request")
		a := Answer{State: rapid.SampledFrom([]string{"waiting", "sending", "delivered", "withdrawn", "failed"}).Draw(t, "state")}
		g := grant.Grant{Request: asked}
		if rapid.IntRange(0, 9).Draw(t, "another request's grant") == 0 {
			g.Request = rapid.SampledFrom(requests).Draw(t, "its request")
		}
		var manifests []grant.Manifest
		covered := func(i int) bool {
			d, m := a.Decisions[i], manifests[i]
			return d.Release && d.Request == asked && asked != "" && d.Camera == a.Releases[i].Camera && d.Camera != "" &&
				m.Asked.From.Before(m.Asked.Until.Time) && !m.Asked.From.Before(d.Span.From.Time) && !m.Asked.Until.After(d.Span.Until.Time)
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "releases") {
			right := rapid.IntRange(0, 3).Draw(t, "rightly") > 0
			camera := rapid.SampledFrom(cameras).Draw(t, "camera")
			d := grant.Decision{Request: asked, Camera: camera, Span: span("decided"), Release: true}
			rel, m := Release{Camera: camera, Root: string(cidOf(i))}, grant.Manifest{CID: cidOf(i), Asked: d.Span}
			if !right {
				d.Request = rapid.SampledFrom(requests).Draw(t, "decided for")
				d.Release, d.Camera = rapid.Bool().Draw(t, "yes"), rapid.SampledFrom(cameras).Draw(t, "decided camera")
				m.Asked = span("made")
				if rapid.IntRange(0, 5).Draw(t, "of another release") == 0 {
					m.CID = cidOf(i + 1)
				}
			}
			a.Decisions, a.Releases, manifests = append(a.Decisions, d), append(a.Releases, rel), append(manifests, m)
			g.Releases = append(g.Releases, grant.Release{CID: cidOf(i)})
		}
		if n := len(a.Decisions); n > 0 && rapid.IntRange(0, 9).Draw(t, "a decision is lost") == 0 {
			a.Decisions = a.Decisions[:n-1]
		}
		err := decided(a, g, asked, manifests)
		if err != nil {
			kept++
			return
		}
		sent++
		if a.State != "waiting" && a.State != "sending" {
			t.Fatalf("an answer that is %s is sent", a.State)
		}
		if g.Request != asked || len(a.Decisions) != len(g.Releases) {
			t.Fatal("a grant is sent that the record does not fit")
		}
		for i := range g.Releases {
			if !covered(i) || manifests[i].CID != g.Releases[i].CID {
				t.Fatalf("release %d is sent, and the owner decided %+v about what is %+v", i, a.Decisions[i], manifests[i].Asked)
			}
		}
	})
	t.Logf("%d were sent and %d were not", sent, kept)
	if sent == 0 || kept == 0 {
		t.Error("nothing was tested")
	}
}

// Whatever comes for a receipt, no key goes but for the one that says that all of this release is held.
func TestPropertyPromise09NoReceiptNoKey(t *testing.T) {
	key := func(name string) consent.Key {
		k, err := consent.GenerateKey(rand.Reader, name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	owner, other := key(grant.KeyName), key(grant.KeyName)
	reception, stranger := key(grant.ReceptionName), key(grant.ReceptionName)
	hash := func(s string) string { return consent.HashText([]byte(s)) }
	ends := consent.At(time.Now().Add(time.Hour))
	g := grant.Grant{Key: owner.Verifier(), Terms: grant.Terms{UnusedUntil: ends, RetainUntil: consent.At(ends.Add(time.Hour))}, Releases: []grant.Release{{CID: cidOf(0), Secret: grant.Secret(hash("one"))}, {CID: cidOf(1), Secret: grant.Secret(hash("two"))}}}
	id := consent.GrantID(hash("grant"))
	given, withheld := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		wrong := func(name string) bool { return rapid.IntRange(0, 7).Draw(t, name) == 0 }
		right := true
		r := grant.Receipt{Grant: id, GrantKey: owner.Verifier(), CID: cidOf(0), Commitment: g.Releases[0].Commitment(), State: grant.Held, SealedSHA256: hash("sealed"),
			DeleteBy: consent.At(ends.Add(-time.Duration(rapid.IntRange(0, 3600).Draw(t, "earlier")) * time.Second)), At: consent.At(time.Now()), Key: reception.Verifier()}
		signer := reception
		for _, w := range []struct {
			name   string
			change func()
		}{
			{"another grant", func() { r.Grant = consent.GrantID(hash("another")) }},
			{"another owner", func() { r.GrantKey = other.Verifier() }},
			{"another release", func() { r.CID = cidOf(1) }},
			{"another commitment", func() { r.Commitment = g.Releases[1].Commitment() }},
			{"another state", func() {
				r.State = rapid.SampledFrom([]grant.State{grant.Used, grant.Deleted, grant.KeptByLaw, grant.PassedOn}).Draw(t, "state")
				if r.State == grant.KeptByLaw || r.State == grant.PassedOn {
					r.Detail, r.Entry, r.Salt = "x", hash("e"), grant.Secret(hash("s"))
				}
			}},
			{"a longer time", func() { r.DeleteBy = consent.At(ends.Add(time.Second)) }},
			{"other bytes", func() { r.SealedSHA256 = hash("part of it") }},
			{"a stranger", func() { signer, r.Key = stranger, stranger.Verifier() }},
			{"another's name", func() { r.Key = stranger.Verifier() }},
		} {
			if wrong(w.name) {
				w.change()
				right = false
			}
		}
		note, err := consent.Sign(r, signer)
		if err != nil { // it names another key than the one that signs it
			if note, err = consent.Sign(r, stranger); err != nil {
				t.Fatal(err)
			}
		}
		if wrong("damaged") {
			note[rapid.IntRange(0, len(note)-1).Draw(t, "byte")] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
			right = false
		}
		if wrong("none") {
			note, right = nil, false
		}
		err = earned(note, reception.Verifier(), id, g, string(cidOf(0)), hash("sealed"))
		if (err == nil) != right {
			t.Fatalf("right %v: %v\n%s", right, err, note)
		}
		if right {
			given++
		} else {
			withheld++
		}
	})
	t.Logf("%d keys were given and %d were not", given, withheld)
	if given == 0 || withheld == 0 {
		t.Error("nothing was tested")
	}
}
