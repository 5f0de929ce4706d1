package vectors

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// The vectors tell of Millbrook, a made-up town. Alice, Bob and Carol sign its charter. Sergeant Okafor is
// the first supervisor of its police and enrols officer Diaz; Lund's key was revoked; Mori's ran out.

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// key is deterministic, as README.md says, so that others can sign with it.
func key(who, name string) consent.Key {
	seed := sha256.Sum256([]byte("porchlight test vectors: " + who))
	return must(consent.KeyFromSeed(name, seed[:]))
}

func at(s string) consent.Time { return must(consent.ParseTime(s)) }

func hash(s string) string { return consent.HashText([]byte(s)) }

var (
	alice, bob, carol = key("alice", "alice"), key("bob", "bob"), key("carol", "carol")
	dave              = key("dave", "dave") // moves in later
	docketKey         = dockets("docket")
	otherDocket       = dockets("other docket")
	okafor            = key("okafor", "okafor")
	diaz              = key("diaz", "diaz")
	lund              = key("lund", "lund")
	mori              = key("mori", "mori")
	nobody            = key("nobody", "nobody")
	herald, library   = key("herald", "herald"), key("library", "library") // witnesses
	reception         = key("reception", request.ReceptionKeyName)
	grantKey          = key("grant", grant.KeyName)
)

func dockets(who string) consent.Key {
	pub := must(key(who, "docket").Verifier().Public())
	return key(who, docket.Origin(consent.AgencyIDOf(pub)))
}

const (
	peer    = "12D3KooWSTwmJwNmoyGE1h8RkhPjj1wXfbUSHyd9ftNE88oQhyGn"
	release = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
	now     = "2026-11-23T09:00:00Z"
)

// box is a rectangle around the shop, its half sides in degrees.
func box(lat, lon float64) geo.Polygon {
	const y, x = 40.7128, -80.006
	round := func(f float64) float64 { return must(parse(fmt.Sprintf("%.4f", f))) }
	return geo.Polygon{
		{Lat: round(y - lat), Lon: round(x - lon)}, {Lat: round(y - lat), Lon: round(x + lon)},
		{Lat: round(y + lat), Lon: round(x + lon)}, {Lat: round(y + lat), Lon: round(x - lon)},
	}
}

func parse(s string) (f float64, err error) { return f, json.Unmarshal([]byte(s), &f) }

func police() charter.Agency {
	return charter.Agency{
		Name: "Millbrook Police", Class: charter.LocalPolice, Key: docketKey.Verifier(),
		Supervisors:  []consent.VerifierKey{okafor.Verifier()},
		Jurisdiction: box(0.03, 0.04), PolicyURL: "https://police.millbrook.example/video",
	}
}

func charter1() charter.Charter {
	return charter.Charter{
		Mesh: "Millbrook", Version: 1, Created: at("2026-06-01T00:00:00Z"), Ends: at("2028-06-01T00:00:00Z"),
		Signers:   []charter.Signer{{Name: "Alice", Key: alice.Verifier()}, {Name: "Bob", Key: bob.Verifier()}, {Name: "Carol", Key: carol.Verifier()}},
		Threshold: 2, Agencies: []charter.Agency{police()},
		Limits: charter.DefaultLimits(), Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff(),
	}
}

// charter2 lets Dave sign in the place of Carol.
func charter2() charter.Charter {
	c := charter1()
	c.Version, c.Previous, c.Created = 2, hash(charterNote), at("2026-09-01T00:00:00Z")
	c.Signers[2] = charter.Signer{Name: "Dave", Key: dave.Verifier()}
	return c
}

func theRequest() request.Request {
	return request.Request{
		Agency: police().ID(), Case: "MB-26-004417", Offence: "120", Basis: request.ReasonableSuspicion,
		Incident: request.Incident{At: at("2026-11-22T19:04:00Z"), Place: geo.Point{Lat: 40.7128, Lon: -80.006}},
		Area:     box(0.0027, 0.0035), From: at("2026-11-22T18:30:00Z"), Until: at("2026-11-22T19:30:00Z"),
		Text:         "A bicycle shop on Mill Street was robbed. We look for pictures of a grey van that left towards the river.",
		Contact:      "Officer Diaz, +1 412 555 0134",
		Terms:        request.Terms{RetentionDays: 90, UnusedDays: 30, Recipients: []string{"county prosecutor"}},
		ReceptionKey: reception.Verifier(), Reply: []string{"/ip4/9.9.9.9/tcp/4001/p2p/" + peer},
		Officer: diaz.Verifier(), Supervisor: okafor.Verifier(), Created: at("2026-11-23T08:00:00Z"), Expires: at("2026-11-30T08:00:00Z"),
	}
}

func enrol(k consent.Key, name string) docket.Officer {
	return docket.Officer{Action: docket.Enrol, Role: docket.RoleOfficer, Name: name, Key: k.Verifier(),
		Expires: at("2027-06-30T00:00:00Z"), Created: at("2026-07-01T00:00:00Z"), By: okafor.Verifier()}
}

func theGrant() grant.Grant {
	made := at("2026-11-24T10:00:00Z")
	return grant.Grant{
		Request: request.IDOf([]byte(requestNote)), Agency: police().ID(),
		Releases:  []grant.Release{{CID: release, SealedBytes: 1100, ManifestSHA256: hash(manifestNote), Secret: grant.Secret(hash("commitment"))}},
		Terms:     grant.Offered(theRequest().Terms, made.Time),
		Redaction: grant.RedactionAudioOnly, Identity: grant.Anonymous, Authorship: grant.Commitment(hash("authorship")),
		Reach:   "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
		Created: made, Expires: at("2026-11-30T08:00:00Z"), Key: grantKey.Verifier(),
	}
}

func theManifest() grant.Manifest {
	return grant.Manifest{
		Request: request.IDOf([]byte(requestNote)), CID: release, SealedBytes: 1100, SealedSHA256: hash("sealed"), PlainBytes: 1000, PlainSHA256: hash("plain"),
		Asked: grant.Span{From: at("2026-11-22T18:30:00Z"), Until: at("2026-11-22T19:30:00Z")},
		Clip:  grant.Span{From: at("2026-11-22T18:59:58Z"), Until: at("2026-11-22T19:10:00Z")}, LeadInSeconds: 1.5,
		Gaps: []grant.Span{{From: at("2026-11-22T19:02:00Z"), Until: at("2026-11-22T19:02:10Z")}}, Overlaps: []grant.Span{},
		Video: grant.Video{Codec: "h264", Width: 1920, Height: 1080, Frames: 9000}, AudioRemoved: true,
		Originals: []grant.Commitment{grant.Commitment(hash("original"))}, Clock: grant.Clock{Source: "path", UncertaintySeconds: 2}, Key: grantKey.Verifier(),
	}
}

func theAcceptance() grant.Acceptance {
	return grant.Acceptance{Grant: grant.IDOf([]byte(grantNote)), Terms: theGrant().Terms, Created: at("2026-11-24T10:01:00Z"), Key: reception.Verifier()}
}

func theReceipt() grant.Receipt {
	g := theGrant()
	return grant.Receipt{Grant: grant.IDOf([]byte(grantNote)), GrantKey: grantKey.Verifier(), CID: release, Commitment: g.Releases[0].Commitment(), State: grant.Held,
		SealedSHA256: hash("sealed"), DeleteBy: g.Terms.UnusedUntil, At: at("2026-11-24T10:09:00Z"), Key: reception.Verifier()}
}

// The documents that the others refer to.
var (
	charterNote  = sign(charter1(), alice, bob)
	charterNote2 = sign(charter2(), alice, bob, dave)
	diazEnrolled = sign(enrol(diaz, "Ana Diaz"), okafor)
	lundEnrolled = sign(enrol(lund, "Per Lund"), okafor)
	requestNote  = sign(theRequest(), diaz, okafor)
	manifestNote = sign(theManifest(), grantKey)
	grantNote    = sign(theGrant(), grantKey)
)

func sign(b consent.Body, keys ...consent.Key) string {
	return string(must(consent.Sign(b, keys...)))
}

// body is the JSON of a document, whether it passes its checks or not.
func body(b consent.Body) string {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(b); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(buf.String(), "\n")
}

// forge signs what no conforming program would.
func forge(kind, js string, keys ...consent.Key) string {
	return forgeText("porchlight/"+kind+"/v1\n"+js+"\n", keys...)
}

func forgeText(text string, keys ...consent.Key) string {
	var signers []note.Signer
	for _, k := range keys {
		signers = append(signers, must(note.NewSigner(k.Encode())))
	}
	return string(must(note.Sign(&note.Note{Text: text}, signers...)))
}

// memory is a docket's store.
type memory [][]byte

func (m memory) Entry(i int64) ([]byte, error) { return m[i], nil }

// aDocket is a log of the entries, with a signed checkpoint.
func aDocket(entries ...string) *docket.Log {
	var store memory
	for _, e := range entries {
		store = append(store, []byte(e))
	}
	l := must(docket.Open(police(), charter.Quotas{}, store, int64(len(store))))
	must(l.SignCheckpoint(docketKey))
	return l
}

// replaced is a document with one change of its text after it was signed.
func replaced(s, old, new string) string {
	if strings.Count(s, old) < 1 {
		panic("no " + old + " in " + s)
	}
	return strings.Replace(s, old, new, 1)
}

// lines of signatures of a document, each with its line end.
func signatures(s string) (text string, lines []string) {
	i := strings.LastIndex(s, "\n\n") + 2
	return s[:i], slices.Collect(strings.Lines(s[i:]))
}
