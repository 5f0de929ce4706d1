package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/custody"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// A lawyer checks the whole folder at once: each document against the request and the grant beside it, also what another agency signed that the clip
// was passed on to. What is changed, of another answer, or nobody's is named.
func TestAnExportIsCheckedAsAWhole(t *testing.T) {
	_, a := mesh(t, "Elm Street", docketKey(t))
	at := consent.At(noon)
	hash := func(s string) string { return consent.HashText([]byte(s)) }
	reception, next, owner := key(t, grant.ReceptionName), docketKey(t), key(t, grant.KeyName)
	another := func(seed string) consent.Key {
		k, err := consent.KeyFromSeed(grant.ReceptionName, []byte(seed))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	taker, stranger := another("of the agency that it went on to"), another("of nobody that anybody has named")
	corner := geo.Point{Lat: 44, Lon: -40}
	asked := sign(t, request.Request{Agency: a.ID(), Case: "EP-1", Offence: "220", Basis: request.ReasonableSuspicion, Incident: request.Incident{At: at, Place: corner},
		Area: geo.Circle(corner, 250, 16), From: consent.At(noon.AddDate(0, 0, -1)), Until: at, Text: "The corner shop was broken into.", Contact: "front desk",
		Terms: request.Terms{RetentionDays: 90, UnusedDays: 30, Recipients: []string{}}, ReceptionKey: reception.Verifier(),
		Reply:   []string{"/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWSTwmJwNmoyGE1h8RkhPjj1wXfbUSHyd9ftNE88oQhyGn"},
		Created: at, Expires: consent.At(noon.AddDate(0, 0, 10)), Officer: key(t, "ruiz").Verifier(), Supervisor: key(t, "stone").Verifier()}, key(t, "ruiz"), key(t, "stone"))
	const cid = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
	rel := grant.Release{CID: cid, SealedBytes: 1, ManifestSHA256: hash("manifest"), Secret: grant.Secret(hash("secret"))}
	ends := consent.At(noon.AddDate(0, 0, 30))
	give := func(name string) []byte {
		return sign(t, grant.Grant{Request: request.IDOf(asked), Agency: a.ID(), Releases: []grant.Release{rel}, Terms: grant.Terms{RetainUntil: ends, UnusedUntil: ends, Recipients: []string{}},
			Redaction: grant.RedactionAudioOnly, Identity: grant.Named, Name: name, Authorship: grant.Commitment(hash("author")), Created: at, Expires: ends,
			Reach: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", Key: owner.Verifier()}, owner)
	}
	given := give("Ana")
	receipt := func(id []byte, by consent.Key) []byte {
		return sign(t, grant.Receipt{Grant: grant.IDOf(id), GrantKey: owner.Verifier(), CID: cid, Commitment: rel.Commitment(), State: grant.Held, SealedSHA256: hash("sealed"),
			DeleteBy: ends, At: at, Key: by.Verifier()}, by)
	}
	card := sign(t, grant.Taking{Agency: a.ID(), Recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", Reception: taker.Verifier(), Created: at, Expires: ends, Key: next.Verifier()}, next)
	first, err := custody.Next(custody.Entry{}, at, "owner", "approved", cid, "")
	if err != nil {
		t.Fatal(err)
	}
	line, err := first.Line()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string, b []byte) {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(wrong ...string) []Result {
		t.Helper()
		all, err := Folder(t.Context(), dir, With{})
		if (err != nil) != (len(wrong) > 0) {
			t.Errorf("%v, want %q", err, wrong)
		}
		for _, w := range wrong {
			if !strings.Contains(fmt.Sprint(err), w) {
				t.Errorf("%v does not name %q", err, w)
			}
		}
		return all
	}
	put("index.html", []byte("<!doctype html>"))
	if IsExport(dir) {
		t.Error("a page alone is taken for an export")
	}
	put("ledger", nil)
	if !IsExport(dir) || len(check()) != 0 {
		t.Error("nothing has left")
	}
	put("ledger", line)
	put("1/request.note", asked)
	put("1/grant.note", given)
	put("1/1.receipt", receipt(given, reception))
	put("1/said-1.note", card)
	put("1/said-2.note", receipt(given, taker))
	all := check()
	if len(all) != 6 {
		t.Errorf("%d results", len(all))
	}
	for _, r := range all {
		if strings.HasSuffix(r.File, "said-2.note") {
			r.said(t, "the key is that of a card", "")
		}
		if strings.HasSuffix(r.File, "1.receipt") {
			r.said(t, "it is about a release of that grant", "")
		}
	}
	put("1/said-3.note", receipt(give("Ben"), reception))
	check("said-3.note", "another grant than it is about")
	put("1/said-3.note", receipt(given, stranger))
	check("said-3.note", "names another reception key")
	put("1/said-3.note", []byte(strings.Replace(string(card), "2026", "2025", 1)))
	if got := check("said-3.note"); len(got) != len(all) {
		t.Errorf("%d results beside a document that is wrong", len(got))
	}
	put("1/said-3.note", []byte("no document"))
	put("2/stray", []byte("nothing of ours"))
	check("said-3.note", "stray", ErrUnknown.Error())
}
