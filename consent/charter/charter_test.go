package charter

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
)

var spring = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func key(name string) consent.Key {
	seed := sha256.Sum256([]byte(name))
	k, err := consent.KeyFromSeed(name, seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

func keys(names ...string) (ks []consent.Key) {
	for _, n := range names {
		ks = append(ks, key(n))
	}
	return ks
}

func signers(names ...string) (s []Signer) {
	for _, n := range names {
		s = append(s, Signer{n, key(n).Verifier()})
	}
	return s
}

func police() Agency {
	return Agency{Name: "Elm Street Police", Class: LocalPolice, Key: key("docket").Verifier(),
		Supervisors:  []consent.VerifierKey{key("lt-moss").Verifier()},
		Jurisdiction: geo.Polygon{{Lat: 42.30, Lon: -71.10}, {Lat: 42.30, Lon: -71.00}, {Lat: 42.40, Lon: -71.00}, {Lat: 42.40, Lon: -71.10}},
		PolicyURL:    "https://police.example/footage"}
}

// founding is version 1: three of the five of Elm Street have to agree.
func founding() Charter {
	return Charter{Mesh: "Elm Street", Version: 1, Created: consent.At(spring), Ends: consent.At(spring.AddDate(2, 0, 0)),
		Signers: signers("ana", "ben", "cai", "dee", "eve"), Threshold: 3, Agencies: []Agency{police()},
		Limits: DefaultLimits(), Quotas: DefaultQuotas(), OffByDefault: DefaultOff()}
}

func after(c Chain, change func(*Charter)) Charter {
	n := *c[len(c)-1].Charter
	n.Version++
	n.Previous = c[len(c)-1].Hash
	n.Also, n.Removed = nil, nil
	n.Created = consent.At(n.Created.AddDate(0, 1, 0))
	change(&n)
	return n
}

// dismiss removes an agency with a reason.
func dismiss(n *Charter, id consent.AgencyID, reason string) {
	a, _ := n.Agency(id)
	n.Agencies = slices.DeleteFunc(slices.Clone(n.Agencies), func(o Agency) bool { return o.ID() == id })
	n.Removed = append(slices.Clone(n.Removed), Removal{id, a.Name, reason})
}

func noPolice(n *Charter) { dismiss(n, police().ID(), "no outcome was ever told") }

func sign(t testing.TB, c Charter, names ...string) []byte {
	t.Helper()
	msg, err := consent.Sign(c, keys(names...)...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func start(t testing.TB) Chain {
	t.Helper()
	c, err := Start(sign(t, founding(), "ana", "ben", "dee"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func must(t testing.TB, c Chain, msg []byte) Chain {
	t.Helper()
	n, err := c.Extend(msg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestANeighbourhoodAgreesAndLaterRotatesItsSigners(t *testing.T) {
	c := start(t)
	if id := c.Mesh(); string(id) != consent.HashText(c[0].Note) || c.CurrentHash() != string(id) {
		t.Errorf("mesh id %s", id)
	}
	a, ok := c.Agency(police().ID())
	if !ok || a.Name != "Elm Street Police" {
		t.Error("the agency is not admitted")
	}
	if _, ok := c.Agency(""); ok {
		t.Error("an agency without id is admitted")
	}
	// Dee and Eve leave, Fay and Gus come. Three of the old and three of the new five have to sign; Ana, Ben
	// and Cai are on both lists.
	v2 := after(c, func(n *Charter) { n.Signers = signers("fay", "ana", "ben", "cai", "gus") })
	c2 := must(t, c, sign(t, v2, "ana", "ben", "cai"))
	if c2.Current().Version != 2 || c.Current().Version != 1 || c2.Mesh() != c.Mesh() {
		t.Error("version 2 does not follow, or changed the chain it follows")
	}
	// Captain Noor takes over from Lieutenant Moss, whose entries in the docket stay lawful.
	handed := must(t, c2, sign(t, after(c2, func(n *Charter) {
		a := police()
		a.Supervisors = []consent.VerifierKey{key("cpt-noor").Verifier()}
		n.Agencies = []Agency{a}
	}), "fay", "ana", "ben"))
	now, _ := handed.Agency(police().ID())
	ever, ok := handed.DocketAgency(police().ID())
	if !ok || len(now.Supervisors) != 1 || !slices.Equal(ever.Supervisors, []consent.VerifierKey{key("cpt-noor").Verifier(), key("lt-moss").Verifier()}) {
		t.Errorf("supervisors now %v, ever %v", now.Supervisors, ever.Supervisors)
	}
	if _, ok := handed.DocketAgency("x"); ok {
		t.Error("a docket of nobody")
	}
	// Now Fay and Gus count, Dee no longer.
	v3 := after(c2, noPolice)
	if _, err := c2.Extend(sign(t, v3, "ana", "ben", "dee")); consent.ClassOf(err) != consent.BelowQuorum {
		t.Errorf("somebody who left signed: %v", err)
	}
	c3 := must(t, c2, sign(t, v3, "fay", "ben", "gus"))
	if _, ok := c3.Agency(police().ID()); ok {
		t.Error("an agency that was voted out is still admitted")
	}
	if again := must(t, c3, c2[1].Note); len(again) != 3 {
		t.Error("a version seen before changed the chain")
	}
	// Another peer rebuilds the chain from the notes.
	rebuilt, err := Start(c3.Notes()[0])
	for _, n := range c3.Notes()[1:] {
		if err == nil {
			rebuilt, err = rebuilt.Extend(n)
		}
	}
	if err != nil || rebuilt.CurrentHash() != c3.CurrentHash() {
		t.Errorf("rebuilding: %v", err)
	}
	var none Chain
	if none.Mesh() != "" || none.CurrentHash() != "" || none.Current() == nil || none.Frozen() || none.Notes() != nil {
		t.Error("the empty chain is more than nothing")
	}
	if _, err := none.Extend(c[0].Note); consent.ClassOf(err) != consent.WrongPrevious {
		t.Errorf("extending nothing: %v", err)
	}
}

func TestTooFewOrForgedSignaturesAreRefused(t *testing.T) {
	c := start(t)
	same := func(*Charter) {}
	swapped := after(c, func(n *Charter) { n.Signers = signers("ana", "xia", "yan", "zoe", "wim") })
	for _, tc := range []struct {
		name string
		msg  []byte
		want consent.Class
	}{
		{"two of three needed", sign(t, after(c, same), "ana", "ben"), consent.BelowQuorum},
		{"a stranger for the third", sign(t, after(c, same), "ana", "ben", "xia"), consent.BelowQuorum},
		{"a stranger besides", sign(t, after(c, same), "ana", "ben", "cai", "xia"), consent.ExtraSignature},
		{"wrong order", sign(t, after(c, same), "ben", "ana", "cai"), consent.SignatureOrder},
		{"new signers alone", sign(t, swapped, "xia", "yan", "zoe"), consent.BelowQuorum},
		{"old signers alone", sign(t, swapped, "ana", "ben", "cai"), consent.BelowQuorum},
		{"new before old", sign(t, swapped, "xia", "yan", "ana", "ben", "cai"), consent.SignatureOrder},
		{"old then new", sign(t, swapped, "ana", "ben", "cai", "xia", "yan"), ""},
		{"a version skipped", sign(t, after(c, func(n *Charter) { n.Version = 3 }), "ana", "ben", "cai"), consent.WrongPrevious},
		{"another predecessor", sign(t, after(c, func(n *Charter) { n.Previous = consent.HashText(nil) }), "ana", "ben", "cai"), consent.WrongPrevious},
		{"another mesh's name", sign(t, after(c, func(n *Charter) { n.Mesh = "Oak Street" }), "ana", "ben", "cai"), consent.BadValue},
		{"older than what it follows", sign(t, after(c, func(n *Charter) { n.Created = consent.At(spring.AddDate(-1, 0, 0)) }), "ana", "ben", "cai"), consent.BadValue},
		{"another version 1", sign(t, founding(), "ana", "ben", "cai"), consent.WrongPrevious},
	} {
		if _, err := c.Extend(tc.msg); consent.ClassOf(err) != tc.want || (err == nil) != (tc.want == "") {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
	}
	v2 := sign(t, after(c, same), "ana", "ben", "cai")
	if _, err := Start(v2); consent.ClassOf(err) != consent.WrongPrevious {
		t.Errorf("starting in the middle: %v", err)
	}
	if _, err := Start(sign(t, founding(), "ana", "ben")); consent.ClassOf(err) != consent.BelowQuorum {
		t.Error("two of five founded a mesh")
	}
	for i := 0; i < len(v2)*8; i += 5 {
		bad := bytes.Clone(v2)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := c.Extend(bad); err == nil {
			t.Fatalf("bit %d flipped and not noticed", i)
		}
	}
}

func TestTwoValidSuccessorsFreezeUntilAVersionNamesBoth(t *testing.T) {
	c := start(t)
	// Ben and Cai sign two versions: one that admits the marshals, one that admits nobody.
	marshals := police()
	marshals.Name, marshals.Class, marshals.Key = "Marshals", Federal, key("marshals").Verifier()
	marshals.Supervisors = []consent.VerifierKey{key("marshal-ash").Verifier()}
	a := sign(t, after(c, func(n *Charter) { n.Agencies = append(n.Agencies, marshals) }), "ana", "ben", "cai")
	b := sign(t, after(c, noPolice), "ben", "cai", "dee")
	ab, ba := must(t, must(t, c, a), b), must(t, must(t, c, b), a)
	for _, f := range []Chain{ab, ba} {
		if !f.Frozen() || f.CurrentHash() != c.CurrentHash() || len(f.Notes()) != 3 {
			t.Error("two successors, and the chain is not frozen at their predecessor")
		}
		if _, ok := f.Agency(marshals.ID()); ok {
			t.Error("a rival admits an agency")
		}
		if again := must(t, must(t, f, a), b); len(again.Notes()) != 3 {
			t.Error("a rival seen before changed the chain")
		}
	}
	// Going on from one of them is not enough, even with everybody's signature.
	one := after(ab, func(n *Charter) {})
	if _, err := ab.Extend(sign(t, one, "ana", "ben", "cai", "dee", "eve")); consent.ClassOf(err) != consent.Frozen {
		t.Errorf("one rival was followed: %v", err)
	}
	both := after(ab, func(n *Charter) { n.Also = []string{consent.HashText(b)}; n.Agencies = []Agency{police()} })
	if _, err := ab.Extend(sign(t, both, "ana", "ben")); consent.ClassOf(err) != consent.BelowQuorum {
		t.Error("two healed the chain")
	}
	healed := sign(t, both, "ana", "dee", "eve")
	for _, f := range []Chain{ab, ba, must(t, c, a), must(t, c, b)} {
		h := must(t, f, healed)
		if h.Frozen() || h.Current().Version != 3 {
			t.Error("a version that names both did not heal the chain")
		}
		if _, err := h.Extend(sign(t, after(c, func(n *Charter) { n.LANOnly = true }), "ana", "ben", "cai")); consent.ClassOf(err) != consent.WrongPrevious {
			t.Errorf("a rival of a settled version: %v", err)
		}
		h4 := must(t, h, sign(t, after(h, func(*Charter) {}), "ana", "ben", "cai"))
		if h4.Current().Version != 4 {
			t.Error("the healed chain does not go on")
		}
	}
	// Who saw one of them only and then what heals, takes the other in for the record, and nothing else.
	h := must(t, must(t, c, a), healed)
	if late := must(t, h, b); len(late.Notes()) != 4 || late.Frozen() || late.CurrentHash() != h.CurrentHash() {
		t.Error("a rival that was settled by name did not find its place")
	}
	// Two versions that heal freeze the chain again, still at version 1, and a third one heals that.
	other := sign(t, after(ab, func(n *Charter) { n.Also = []string{consent.HashText(b)}; n.LANOnly = true }), "ana", "ben", "cai")
	for _, f := range []Chain{must(t, must(t, ab, healed), other), must(t, must(t, ba, other), healed)} {
		if !f.Frozen() || f.CurrentHash() != c.CurrentHash() {
			t.Errorf("two versions that heal: frozen %v at version %d", f.Frozen(), f.Current().Version)
		}
		fourth := after(f, func(n *Charter) { n.Also = []string{consent.HashText(f[2].Rivals[0])} })
		fourth.Agencies = []Agency{police()}
		if again := must(t, f, sign(t, fourth, "ana", "ben", "cai")); again.Frozen() || again.Current().Version != 4 {
			t.Error("not healed")
		}
	}
	// Many rivals are no memory.
	many := ab
	for i := range 20 {
		many = must(t, many, sign(t, after(c, func(n *Charter) { n.Quotas.EntriesPerDay = i + 1 }), "ana", "ben", "cai"))
	}
	if len(many.Notes()) > 2+MaxRivals {
		t.Errorf("%d notes are kept", len(many.Notes()))
	}
}

func TestTwoWhoSignAtTheSameTimeMakeCopiesAndNoRivals(t *testing.T) {
	c := start(t)
	v2 := after(c, func(n *Charter) { n.LANOnly = true })
	one, other := sign(t, v2, "ana", "ben", "cai"), sign(t, v2, "ana", "ben", "dee")
	mine, theirs := must(t, must(t, c, one), other), must(t, must(t, c, other), one)
	for _, f := range []Chain{mine, theirs} {
		if f.Frozen() || f.Current().Version != 2 || len(f.Notes()) != 3 || !f.Holds(consent.HashText(one)) || !f.Holds(consent.HashText(other)) {
			t.Error("one text that two groups signed froze the mesh")
		}
	}
	// The next version names either.
	for _, from := range []Chain{mine, theirs} {
		v3 := sign(t, after(from, func(*Charter) {}), "ana", "ben", "cai")
		for _, f := range []Chain{mine, theirs} {
			if n := must(t, f, v3); n.Current().Version != 3 {
				t.Error("one copy was followed, and who holds the other cannot go on")
			}
		}
		behind := must(t, c, from[1].Note)
		if late := must(t, must(t, behind, v3), sign(t, v2, "ana", "cai", "eve")); late.Current().Version != 3 || len(late.Notes()) != 4 {
			t.Error("a copy that came late")
		}
	}
	// A rival has copies too. What heals names one of them.
	rival := after(c, func(n *Charter) { n.Quotas.EntriesPerDay = 3 })
	r1, r2 := sign(t, rival, "ben", "cai", "dee"), sign(t, rival, "ben", "cai", "eve")
	f := must(t, must(t, mine, r1), r2)
	if !f.Frozen() {
		t.Fatal("not frozen")
	}
	healing := after(f, func(n *Charter) { n.Also = []string{consent.HashText(r2)} })
	if h := must(t, f, sign(t, healing, "ana", "ben", "cai")); h.Frozen() || h.Current().Version != 3 {
		t.Error("not healed")
	}
	if _, err := c.Extend(sign(t, founding(), "ana", "cai", "eve")); consent.ClassOf(err) != consent.WrongPrevious {
		t.Errorf("a copy of version 1, which is another mesh: %v", err)
	}
}

func TestAProposalIsHeldAgainstWhatItChanges(t *testing.T) {
	c := start(t)
	v2 := after(c, func(n *Charter) { n.Signers = signers("fay", "ana", "ben", "cai", "dee") })
	old, err := c.Predecessor(&v2)
	if err != nil || old.Version != 1 {
		t.Fatalf("%v", err)
	}
	var names []string
	for _, k := range v2.Signatories(old) {
		names = append(names, k.Name())
	}
	if !slices.Equal(names, []string{"ana", "ben", "cai", "dee", "eve", "fay"}) {
		t.Errorf("the order of signature lines is %v", names)
	}
	c2 := must(t, c, sign(t, v2, "ana", "ben", "eve", "fay"))
	for name, n := range map[string]Charter{
		"a rival of what is there": after(c, func(n *Charter) { n.LANOnly = true }),
		"a version skipped":        after(c2, func(n *Charter) { n.Version++ }),
		"in silence":               after(c2, func(n *Charter) { n.Agencies = nil }),
		"no charter at all":        {Version: 3, Also: []string{"x"}},
	} {
		if _, err := c2.Predecessor(&n); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := Chain(nil).Predecessor(&v2); err == nil {
		t.Error("something follows nothing")
	}
}

func TestChartersThatNobodyCouldSign(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Charter)
		want   consent.Class
	}{
		{"as it is", func(*Charter) {}, ""},
		{"no name", func(c *Charter) { c.Mesh = "" }, consent.BadValue},
		{"name that hides", func(c *Charter) { c.Mesh = "Elm\u202eStreet" }, consent.BadValue},
		{"version 0", func(c *Charter) { c.Version = 0 }, consent.BadValue},
		{"version 1 after something", func(c *Charter) { c.Previous = consent.HashText(nil) }, consent.BadValue},
		{"version 2 after nothing", func(c *Charter) { c.Version = 2 }, consent.BadValue},
		{"ends before it starts", func(c *Charter) { c.Ends = c.Created }, consent.BadValue},
		{"no signers", func(c *Charter) { c.Signers = nil }, consent.BadValue},
		{"half", func(c *Charter) { c.Signers, c.Threshold = signers("ana", "ben", "cai", "dee"), 2 }, consent.BadThreshold},
		{"more than all", func(c *Charter) { c.Threshold = 6 }, consent.BadThreshold},
		{"threshold 0", func(c *Charter) { c.Threshold = 0 }, consent.BadThreshold},
		{"a signer twice", func(c *Charter) { c.Signers = signers("ana", "ben", "ana") }, consent.BadValue},
		{"a signer under two names", func(c *Charter) {
			k, _ := key("ana").Renamed("ana2")
			c.Signers = append(c.Signers, Signer{"Ana", k.Verifier()})
		}, consent.BadValue},
		{"a signer without key", func(c *Charter) { c.Signers[0].Key = "" }, consent.BadKey},
		{"quorum without witnesses", func(c *Charter) { c.Quorum = 1 }, consent.BadValue},
		{"witness", func(c *Charter) {
			c.Witnesses, c.Quorum = []Witness{{"Herald", key("herald").Verifier()}}, 1
		}, ""},
		{"an agency twice", func(c *Charter) { c.Agencies = append(c.Agencies, police()) }, consent.BadValue},
		{"an agency of no class", func(c *Charter) { c.Agencies[0].Class = "militia" }, consent.BadValue},
		{"an agency without supervisors", func(c *Charter) { c.Agencies[0].Supervisors = nil }, consent.BadValue},
		{"a docket key that supervises", func(c *Charter) { c.Agencies[0].Supervisors = []consent.VerifierKey{c.Agencies[0].Key} }, consent.BadValue},
		{"an agency of nowhere", func(c *Charter) { c.Agencies[0].Jurisdiction = nil }, consent.AreaInvalid},
		{"a policy nobody can check", func(c *Charter) { c.Agencies[0].PolicyURL = "http://police.example/" }, consent.BadValue},
		{"zero limits", func(c *Charter) { c.Limits = Limits{} }, consent.BadValue},
		{"least over most", func(c *Charter) { c.Limits.MinAreaM2 = 2e6 }, consent.BadValue},
		{"zero quotas", func(c *Charter) { c.Quotas = Quotas{} }, consent.BadValue},
		{"a class off twice", func(c *Charter) { c.OffByDefault = []AgencyClass{Fire, Fire} }, consent.BadValue},
		{"an unknown class off", func(c *Charter) { c.OffByDefault = []AgencyClass{"x"} }, consent.BadValue},
	} {
		c := founding()
		tc.change(&c)
		_, err := consent.Text(c)
		if consent.ClassOf(err) != tc.want || (err == nil) != (tc.want == "") {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
	}
	if (Charter{}).Check() == nil || (Agency{}).Check() == nil || (Agency{}).ID() != "" {
		t.Error("a zero value is valid")
	}
}

func TestACardIsComparedByVoice(t *testing.T) {
	card := Card(police())
	msg, err := consent.Sign(card, key("docket"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenCard(msg)
	if err != nil || got.Fingerprint() != card.Fingerprint() || Agency(got).ID() != police().ID() {
		t.Fatalf("%v", err)
	}
	if _, err := consent.ParseFingerprint(got.Fingerprint()); err != nil {
		t.Error(err)
	}
	other := card
	other.PolicyURL += "2"
	if other.Fingerprint() == card.Fingerprint() || (Card{}).Fingerprint() != "" {
		t.Error("the fingerprint does not cover the card")
	}
	forged, err := consent.Sign(card, key("mallory"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCard(forged); consent.ClassOf(err) != consent.MissingSignature {
		t.Errorf("a card that another key signed: %v", err)
	}
}

func TestInvitations(t *testing.T) {
	inv := Invitation{consent.MeshID(consent.HashText([]byte("1"))), consent.HashText([]byte("2")),
		[]string{"/ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3KooWabc", "/ip6/2001:db8::1/tcp/4001"}}
	s := inv.String()
	got, err := ParseInvitation(" " + s + "\n")
	if err != nil || got.Mesh != inv.Mesh || got.Charter != inv.Charter || !slices.Equal(got.Peers, inv.Peers) {
		t.Fatalf("%+v, %v", got, err)
	}
	if !strings.Contains(s, "&peer=/ip6/2001:db8::1/tcp/4001") {
		t.Errorf("%s is hard to read", s)
	}
	for _, bad := range []string{"", "https://join?mesh=1", strings.Replace(s, "join?", "leave?", 1), strings.Replace(s, "mesh=", "mash=", 1),
		s + "&mesh=" + string(inv.Mesh), s + "&x=1", strings.Replace(s, "charter="+inv.Charter, "charter=12", 1), s + "&peer=example.org",
		s + "&peer=/a%0ab", s + strings.Repeat("&peer=/a", MaxInvitationPeers), s + strings.Repeat("x", MaxInvitation), s + "&peer=%zz", s + "#f"} {
		if _, err := ParseInvitation(bad); consent.ClassOf(err) == "" {
			t.Errorf("%.80q was taken (%v)", bad, err)
		}
	}
}

func ExampleChain() {
	c, err := Start(mustSign(founding(), "ana", "ben", "cai"))
	if err != nil {
		fmt.Println(err)
		return
	}
	next := after(c, noPolice)
	_, err = c.Extend(mustSign(next, "ana", "ben"))
	fmt.Println(err)
	c, err = c.Extend(mustSign(next, "ana", "ben", "eve"))
	fmt.Println(c.Current().Version, len(c.Current().Agencies), err)
	// Output:
	// below-quorum: version 2 has 2 signatures of the signers of version 1; it needs 3
	// 2 0 <nil>
}

func mustSign(c Charter, names ...string) []byte {
	msg, err := consent.Sign(c, keys(names...)...)
	if err != nil {
		panic(err)
	}
	return msg
}

func FuzzStart(f *testing.F) {
	f.Add(mustSign(founding(), "ana", "ben", "cai"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if c, err := Start(msg); err == nil && !bytes.Equal(c.Notes()[0], msg) || err != nil && consent.ClassOf(err) == "" {
			t.Fatal(err)
		}
	})
}

func FuzzParseInvitation(f *testing.F) {
	f.Add("porchlight://join?mesh=1&charter=2&peer=/ip4/1.2.3.4")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := ParseInvitation(s)
		if err != nil {
			return
		}
		if again, err := ParseInvitation(i.String()); err != nil || again.Mesh != i.Mesh || !slices.Equal(again.Peers, i.Peers) {
			t.Fatalf("%q came back as %+v (%v)", s, again, err)
		}
	})
}
