package grant

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// The owner of a house on Mill Street answers a request; the agency accepts,
// receives, and later deletes.

func key(name, who string) consent.Key {
	seed := sha256.Sum256([]byte(who))
	k, err := consent.KeyFromSeed(name, seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

func at(s string) consent.Time {
	t, err := consent.ParseTime(s)
	if err != nil {
		panic(err)
	}
	return t
}

func randomness(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

var (
	owner     = key(KeyName, "owner's answer")
	stranger  = key(KeyName, "stranger")
	reception = key(ReceptionName, "reception")
	offer     = request.Terms{RetentionDays: 90, UnusedDays: 30, Recipients: []string{"prosecutor", "defence"}}
	asked     = Span{at("2026-11-22T18:30:00Z"), at("2026-11-22T19:30:00Z")}
)

const cid = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"

func hash(s string) string { return consent.HashText([]byte(s)) }

func manifest() Manifest {
	c, _, _ := Commit(randomness(1), []byte("original"))
	return Manifest{
		Request: consent.RequestID(hash("request")), CID: cid, SealedBytes: 1100, SealedSHA256: hash("sealed"), PlainBytes: 1000, PlainSHA256: hash("plain"),
		Camera: "front door", Asked: asked, Clip: Span{at("2026-11-22T18:59:58Z"), at("2026-11-22T19:10:00Z")}, LeadInSeconds: 1.5, Gaps: []Span{}, Overlaps: []Span{},
		Video: Video{"h264", 1920, 1080, 9000}, AudioRemoved: true, Originals: []Commitment{c}, Clock: Clock{"path", 2}, Key: owner.Verifier(),
	}
}

func offered() Grant {
	made := at("2026-11-24T10:00:00Z")
	_, s, _ := Commit(randomness(2), []byte(cid))
	author, _, _ := Commit(randomness(3), []byte("author"))
	return Grant{
		Request: consent.RequestID(hash("request")), Agency: consent.AgencyID(hash("agency")[:32]),
		Releases: []Release{{cid, 1100, hash("manifest"), s}}, Terms: Offered(offer, made.Time),
		Redaction: RedactionAudioOnly, Identity: Anonymous, Authorship: author,
		Reach:   "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
		Created: made, Expires: at("2026-11-30T08:00:00Z"), Key: owner.Verifier(),
	}
}

func TestAnAnswerFromOfferToDeletion(t *testing.T) {
	sign := func(b consent.Body, k consent.Key) []byte {
		t.Helper()
		note, err := consent.Sign(b, k)
		if err != nil {
			t.Fatal(err)
		}
		return note
	}
	m, err := OpenManifest(sign(manifest(), owner), owner.Verifier())
	if err != nil || m.Video.Frames != 9000 {
		t.Fatal(m, err)
	}
	grantNote := sign(offered(), owner)
	g, err := OpenGrant(grantNote)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Answers(offer); err != nil {
		t.Error(err)
	}
	id := IDOf(grantNote)
	acc, err := OpenAcceptance(sign(Acceptance{id, g.Terms, at("2026-11-24T10:01:00Z"), reception.Verifier()}, reception), reception.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	if err := acc.Answers(id, g); err != nil {
		t.Error(err)
	}
	for _, r := range []Receipt{
		{Grant: id, CID: cid, State: Held}, {Grant: id, CID: cid, State: Used}, {Grant: id, CID: cid, State: Deleted},
		{Grant: id, CID: cid, State: KeptByLaw, Entry: hash("e"), Salt: Secret(hash("salt")), Detail: "County Court, 26-CV-118"},
		{Grant: id, CID: cid, State: PassedOn, Entry: hash("e"), Salt: Secret(hash("salt")), Detail: "prosecutor"},
	} {
		r.SealedSHA256, r.At, r.Key = m.SealedSHA256, at("2026-11-24T10:09:00Z"), reception.Verifier()
		r.GrantKey, r.Commitment, r.DeleteBy = g.Key, g.Releases[0].Commitment(), g.Terms.UnusedUntil
		if got, err := OpenReceipt(sign(r, reception), reception.Verifier()); err != nil || got != r {
			t.Errorf("%s: %v", r.State, err)
		}
	}

	// Others sign, and are not believed.
	if _, err := OpenManifest(sign(manifest(), owner), stranger.Verifier()); err == nil {
		t.Error("a manifest was taken for another grant key's")
	}
	if _, err := OpenGrant(sign(offered(), stranger)); consent.ClassOf(err) != consent.MissingSignature {
		t.Error("a grant signed by a stranger: ", err)
	}
	acc.Key = key(ReceptionName, "another request").Verifier()
	if _, err := OpenAcceptance(sign(acc, reception), reception.Verifier()); consent.ClassOf(err) != consent.WrongSubject {
		t.Error("an acceptance that names another key: ", err)
	}
	if err := acc.Answers("other", g); consent.ClassOf(err) != consent.WrongSubject {
		t.Error("an acceptance of another grant: ", err)
	}
	acc.Terms.Resharing = true
	if err := acc.Answers(id, g); consent.ClassOf(err) != consent.TermsWider {
		t.Error("an acceptance of wider terms: ", err)
	}
}

func TestGrantRefusals(t *testing.T) {
	tests := []struct {
		name   string
		class  consent.Class
		change func(*Grant)
	}{
		{"no request", consent.BadValue, func(g *Grant) { g.Request = "" }},
		{"no agency", consent.BadValue, func(g *Grant) { g.Agency = "" }},
		{"no release", NothingOffered, func(g *Grant) { g.Releases = nil }},
		{"41 releases", consent.BadValue, func(g *Grant) { g.Releases = slices.Repeat(g.Releases, 41) }},
		{"a release twice", consent.BadValue, func(g *Grant) { g.Releases = slices.Repeat(g.Releases, 2) }},
		{"no CID", consent.BadValue, func(g *Grant) { g.Releases[0].CID = "Qm" }},
		{"no bytes", consent.BadValue, func(g *Grant) { g.Releases[0].SealedBytes = 0 }},
		{"no manifest", consent.BadValue, func(g *Grant) { g.Releases[0].ManifestSHA256 = "" }},
		{"no commitment", consent.BadValue, func(g *Grant) { g.Releases[0].Secret = "" }},
		{"zero terms", NothingOffered, func(g *Grant) { g.Terms = Terms{} }},
		{"unused longer than used", request.TermsInvalid, func(g *Grant) { g.Terms.UnusedUntil = consent.At(g.Terms.RetainUntil.Add(time.Second)) }},
		{"recipients null", consent.NullValue, func(g *Grant) { g.Terms.Recipients = nil }},
		{"recipients out of order", request.TermsInvalid, func(g *Grant) { g.Terms.Recipients = []string{"b", "a"} }},
		{"a recipient in two lines", consent.BadText, func(g *Grant) { g.Terms.Recipients = []string{"a\nb"} }},
		{"terms over before the grant", NothingOffered, func(g *Grant) { g.Terms.UnusedUntil = g.Created }},
		{"redaction", consent.BadValue, func(g *Grant) { g.Redaction = "" }},
		{"named without a name", IdentityInvalid, func(g *Grant) { g.Identity = Named }},
		{"anonymous with one", IdentityInvalid, func(g *Grant) { g.Name = "Ann" }},
		{"no identity mode", IdentityInvalid, func(g *Grant) { g.Identity = "" }},
		{"no authorship", consent.BadValue, func(g *Grant) { g.Authorship = "" }},
		{"reach", consent.BadValue, func(g *Grant) { g.Reach = "age1x" }},
		{"over before it began", request.ExpiryInvalid, func(g *Grant) { g.Expires = g.Created }},
		{"key with a name of its own", consent.BadKey, func(g *Grant) { g.Key = key("ann", "ann").Verifier() }},
		{"no key", consent.BadKey, func(g *Grant) { g.Key = "" }},
	}
	for _, tt := range tests {
		g := offered()
		tt.change(&g)
		if err := g.Check(); consent.ClassOf(err) != tt.class {
			t.Errorf("%s: %v, want class %s", tt.name, err, tt.class)
		}
	}
	if err := (Grant{}).Check(); err == nil {
		t.Error("the zero grant offers something")
	}
	wider := offered()
	wider.Terms.RetainUntil = consent.At(wider.Terms.RetainUntil.Add(time.Second))
	if err := wider.Answers(offer); consent.ClassOf(err) != consent.TermsWider {
		t.Error("a second longer than offered: ", err)
	}
}

func TestManifestAndReceiptRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		class  consent.Class
		change func(*Manifest)
	}{
		"sealed smaller than plain": {consent.BadValue, func(m *Manifest) { m.PlainBytes = m.SealedBytes + 1 }},
		"clip backwards":            {SpanInvalid, func(m *Manifest) { m.Clip.From, m.Clip.Until = m.Clip.Until, m.Clip.From }},
		"nothing asked":             {SpanInvalid, func(m *Manifest) { m.Asked = Span{} }},
		"another day":               {NothingAsked, func(m *Manifest) { m.Clip = Span{at("2026-11-21T18:30:00Z"), at("2026-11-21T19:30:00Z")} }},
		"gaps null":                 {consent.NullValue, func(m *Manifest) { m.Gaps = nil }},
		"gaps out of order": {SpanInvalid, func(m *Manifest) {
			m.Gaps = []Span{{at("2026-11-22T19:05:00Z"), at("2026-11-22T19:06:00Z")}, {at("2026-11-22T19:03:00Z"), at("2026-11-22T19:04:00Z")}}
		}},
		"overlaps null":   {consent.NullValue, func(m *Manifest) { m.Overlaps = nil }},
		"51 overlaps":     {consent.BadValue, func(m *Manifest) { m.Overlaps = slices.Repeat([]Span{m.Clip}, 51) }},
		"51 gaps":         {consent.BadValue, func(m *Manifest) { m.Gaps = slices.Repeat([]Span{m.Clip}, 51) }},
		"codec":           {consent.BadValue, func(m *Manifest) { m.Video.Codec = "mjpeg" }},
		"no original":     {consent.BadValue, func(m *Manifest) { m.Originals = nil }},
		"one salt twice":  {consent.BadValue, func(m *Manifest) { m.Originals = slices.Repeat(m.Originals, 2) }},
		"lead-in NaN":     {consent.BadValue, func(m *Manifest) { m.LeadInSeconds = math.NaN() }},
		"uncertainty NaN": {consent.BadValue, func(m *Manifest) { m.Clock.UncertaintySeconds = math.NaN() }},
		"clock source":    {consent.BadValue, func(m *Manifest) { m.Clock.Source = "guess" }},
		"camera name":     {consent.BadText, func(m *Manifest) { m.Camera = "\u202e" }},
		"reception key":   {consent.BadKey, func(m *Manifest) { m.Key = reception.Verifier() }},
	} {
		m := manifest()
		tt.change(&m)
		if err := m.Check(); consent.ClassOf(err) != tt.class {
			t.Errorf("%s: %v, want class %s", name, err, tt.class)
		}
	}
	for name, tt := range map[string]struct {
		class consent.Class
		r     Receipt
	}{
		"zero":              {UnknownState, Receipt{}},
		"lost":              {UnknownState, Receipt{State: "lost"}},
		"held by which law": {DetailMissing, Receipt{State: KeptByLaw}},
		"passed to whom":    {DetailMissing, Receipt{State: PassedOn}},
		"when":              {consent.MissingField, Receipt{State: Held}},
	} {
		tt.r.Grant, tt.r.CID, tt.r.SealedSHA256, tt.r.Commitment = consent.GrantID(hash("g")), cid, hash("s"), Commitment(hash("c"))
		if err := tt.r.Check(); consent.ClassOf(err) != tt.class {
			t.Errorf("%s: %v, want class %s", name, err, tt.class)
		}
	}
}

var anyTerms = rapid.Custom(func(t *rapid.T) Terms {
	day := func(name string) consent.Time {
		if d := rapid.IntRange(0, 3).Draw(t, name); d > 0 {
			return consent.At(time.Date(2026, 12, d, 0, 0, 0, 0, time.UTC))
		}
		return consent.Time{}
	}
	list := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3, rapid.ID[string]).Draw(t, "recipients")
	slices.Sort(list)
	denied := rapid.SliceOfNDistinct(rapid.SampledFrom([]charter.AgencyClass{charter.Federal, charter.Immigration}), 0, 2, rapid.ID[charter.AgencyClass]).Draw(t, "denied")
	slices.Sort(denied)
	return Terms{day("retain"), day("unused"), list, rapid.Bool().Draw(t, "resharing"), rapid.Bool().Draw(t, "view only"), denied}
})

func TestTermsAreAPartialOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyTerms.Draw(t, "a"), anyTerms.Draw(t, "b"), anyTerms.Draw(t, "c")
		if !a.TighterOrEqual(a) {
			t.Fatal("not reflexive")
		}
		if a.TighterOrEqual(b) && b.TighterOrEqual(a) && fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatal("not antisymmetric")
		}
		if a.TighterOrEqual(b) && b.TighterOrEqual(c) && !a.TighterOrEqual(c) {
			t.Fatal("not transitive")
		}
		if !(Terms{ViewOnly: true, DeniedClasses: charter.Classes()}).TighterOrEqual(a) {
			t.Fatal("terms that grant nothing permit something")
		}
		for _, used := range []bool{true, false} {
			if a.TighterOrEqual(b) && (Holding{Terms: a}).Deadline(used).After((Holding{Terms: b}).Deadline(used)) {
				t.Fatal("tighter terms let a release be kept for longer")
			}
		}
	})
	if x, y := (Terms{Resharing: true}), (Terms{Recipients: []string{"a"}}); x.TighterOrEqual(y) || y.TighterOrEqual(x) {
		t.Error("terms that differ both ways compare")
	}
	if !(Holding{}).Deadline(true).IsZero() || !(Holding{}).Deadline(false).IsZero() {
		t.Error("the zero terms permit keeping")
	}
}

// The docket follows an extended release by a commitment of its own, or the old promise would never come to its end.
func TestAnExtensionHasASecretOfItsOwn(t *testing.T) {
	h := Holding{Terms: Terms{RetainUntil: at("2026-12-24T00:00:00Z")}, Secrets: []Secret{Secret(hash("first"))}}
	e := Extension{RetainUntil: at("2027-01-24T00:00:00Z"), Created: at("2026-12-01T00:00:00Z"), Secret: h.Secrets[0]}
	limits := charter.Limits{MaxRetentionDays: 365}
	if _, err := h.Extend(e, limits); consent.ClassOf(err) != consent.BadValue {
		t.Errorf("the secret is used again: %v", err)
	}
	e.Secret = Secret(hash("second"))
	if _, err := h.Extend(e, limits); err != nil {
		t.Error(err)
	}
}

func TestTheZeroDecisionIsARefusal(t *testing.T) {
	r := consent.RequestID(hash("request"))
	yes := Decision{Request: r, Camera: "front", Span: asked, Release: true, At: at("2026-11-24T10:00:00Z")}
	if !yes.Allows(r, "front", asked) || !yes.Allows(r, "front", Span{asked.From, consent.At(asked.From.Add(time.Second))}) {
		t.Error("what the owner released is refused")
	}
	for name, no := range map[string]bool{
		"zero":           (Decision{}).Allows("", "", Span{}),
		"zero, asked":    (Decision{}).Allows(r, "front", asked),
		"other request":  yes.Allows("x", "front", asked),
		"other camera":   yes.Allows(r, "back", asked),
		"no camera":      Decision{Request: r, Span: asked, Release: true}.Allows(r, "", asked),
		"no request":     Decision{Camera: "front", Span: asked, Release: true}.Allows("", "front", asked),
		"a second more":  yes.Allows(r, "front", Span{asked.From, consent.At(asked.Until.Add(time.Second))}),
		"a second early": yes.Allows(r, "front", Span{consent.At(asked.From.Add(-time.Second)), asked.Until}),
		"zero span":      yes.Allows(r, "front", Span{}),
		"backwards":      yes.Allows(r, "front", Span{asked.Until, asked.From}),
		"not released":   Decision{Request: r, Camera: "front", Span: asked}.Allows(r, "front", asked),
	} {
		if no {
			t.Errorf("%s: footage would leave", name)
		}
	}
}

func TestCommitments(t *testing.T) {
	c, secret, err := Commit(randomness(1), []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	again, other, _ := Commit(randomness(2), []byte("value"))
	if c == again || !c.Opens(secret, []byte("value")) || !again.Opens(other, []byte("value")) {
		t.Error("two commitments to one value are alike, or do not open")
	}
	if c.Opens(other, []byte("value")) || c.Opens(secret, []byte("Value")) || c.Opens("", []byte("value")) || Commitment("").Opens(secret, []byte("value")) || Commitment("").Opens("", nil) {
		t.Error("a commitment opens to what it was not made to")
	}
	if _, _, err := Commit(iotest.ErrReader(errors.New("dry")), nil); err == nil {
		t.Error("committed without randomness")
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "salt", secret)
	if strings.Contains(log.String(), string(secret)) {
		t.Error("a log shows the salt")
	}
}

// Twelve hours of ten-second files are 4,320 of them; the manifest still fits.
func TestCommitmentsToManyOriginals(t *testing.T) {
	for _, n := range []int{0, 1, 100, 101, 4320} {
		hashes := make([][32]byte, n)
		for i := range hashes {
			hashes[i] = sha256.Sum256(fmt.Append(nil, i))
		}
		list, secrets, err := CommitOriginals(randomness(1), hashes)
		if err != nil || len(list) > maxOriginals || len(secrets) != len(list) || (n <= maxOriginals) != (len(list) == n) {
			t.Errorf("%d files: %d commitments, %v", n, len(list), err)
		}
		if n == 4320 {
			m := manifest()
			m.Originals = list
			if _, err := consent.Sign(m, owner); err != nil {
				t.Error(err)
			}
			first := slices.Concat(hashes[0][:], hashes[1][:])
			for i := 2; i < 44; i++ {
				first = append(first, hashes[i][:]...)
			}
			if !list[0].Opens(secrets[0], first) {
				t.Error("the first commitment is not to the first 44 files")
			}
		}
	}
}
