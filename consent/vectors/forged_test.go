package vectors

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
)

// each runs a test on one accepted document of each kind. accepts opens a copy of it, signatures and all; what else a vector is
// judged by needs no test by forged copies.
func each(t *testing.T, test func(t *testing.T, doc []byte, accepts func(msg []byte) bool)) {
	list, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	for _, v := range list {
		if v.Name != v.Kind+"-ok" || v.Kind == "leaf" { // a leaf is a document of another kind
			continue
		}
		kinds++
		accepts := func(msg []byte) bool { _, err := open(v.Kind, msg); return err == nil }
		switch v.Kind {
		case "checkpoint", "cosigned", "bundle", "misconduct", "add":
			c, a, err := mesh(v.Context)
			if err != nil {
				t.Fatal(err)
			}
			accepts = func(msg []byte) bool { return judgeLog(v.Kind, msg, v.Context, c, a) == nil }
		}
		t.Run(v.Kind, func(t *testing.T) {
			if !accepts(v.Document()) {
				t.Fatal("it is refused before anything is changed")
			}
			test(t, v.Document(), accepts)
		})
	}
	if kinds != 28 {
		t.Errorf("%d kinds of document were tried", kinds)
	}
}

// TestEverySingleBitFlipIsRefused flips bits all over one document of each kind, one at a time.
func TestEverySingleBitFlipIsRefused(t *testing.T) {
	most := 3500 // of each kind
	if testing.Short() {
		most = 300
	}
	total := 0
	each(t, func(t *testing.T, doc []byte, accepts func(msg []byte) bool) {
		bits := rand.New(rand.NewPCG(1, 2)).Perm(len(doc) * 8)
		for _, i := range bits[:min(most, len(bits))] {
			doc[i/8] ^= 1 << (i % 8)
			if accepts(doc) {
				t.Errorf("accepted with bit %d of byte %d flipped: %q", i%8, i/8, doc[max(0, i/8-20):min(len(doc), i/8+20)])
			}
			doc[i/8] ^= 1 << (i % 8)
			total++
		}
	})
	if t.Logf("%d flips", total); total < 50_000 && !testing.Short() {
		t.Errorf("only %d bits were flipped", total)
	}
}

// TestSignatureLinesAreThoseOfTheFormat adds, removes, replaces, repeats and reorders the signature lines of one document of each kind, and
// of the notes inside it.
func TestSignatureLinesAreThoseOfTheFormat(t *testing.T) {
	tried := 0
	each(t, func(t *testing.T, doc []byte, accepts func(msg []byte) bool) {
		for _, place := range notesIn(string(doc)) {
			text, lines := signatures(place.note)
			for what, change := range relined(strings.TrimSuffix(text, "\n"), lines) {
				for i, msg := range change {
					if msg == place.note {
						continue
					}
					tried++
					if accepts([]byte(place.put(msg))) {
						t.Errorf("accepted with lines %s (%d):\n%s", what, i, msg)
					}
				}
			}
		}
	})
	t.Logf("%d copies", tried)
}

// A place is a note in a document, or all of it, and the document with another in its stead.
type place struct {
	note string
	put  func(note string) string
}

var jsonString = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

func notesIn(doc string) (all []place) {
	if !strings.Contains(doc, `\n\n— `) {
		if head, note, ok := strings.Cut(doc, "\n\nporchlight"); ok { // after the question to a witness
			return []place{{"porchlight" + note, func(n string) string { return head + "\n\n" + n }}}
		}
		return []place{{doc, func(n string) string { return n }}}
	}
	for _, at := range jsonString.FindAllStringIndex(doc, -1) {
		var s string
		if err := json.Unmarshal([]byte(doc[at[0]:at[1]]), &s); err != nil || !strings.Contains(s, "\n\n— ") {
			continue
		}
		all = append(all, place{s, func(n string) string {
			return doc[:at[0]] + string(must(consent.EncodeStrict(n))) + doc[at[1]:]
		}})
	}
	return all
}

// relined is a note with other signature lines than its own.
func relined(text string, lines []string) map[string][]string {
	note := func(lines []string) string { return text + "\n" + strings.Join(lines, "") }
	out := map[string][]string{"removed": {note(nil)}}
	by := func(k consent.Key, text string) string {
		return strings.TrimPrefix(forgeText(text, k), text+"\n")
	}
	strange := []string{
		by(nobody, text), // a stranger's, good
		"— junk AAAAAGp1bmtqdW5ranVua2p1bmtqdW5ranVua2p1bmtqdW5ranVua2p1bmtqdW5ranVua2p1bmtqdW5ranVuaw==\n",
		"— junk\n", "hello\n", "\n",
		string(must(docket.Cosign(aDocket(diazEnrolled).Checkpoint(), library, at(now).Time))),
	}
	for _, k := range []consent.Key{alice, bob, docketKey, okafor, diaz, reception, grantKey, herald} {
		strange = append(strange, by(k, "porchlight/resolve/v1\n{}\n")) // a known signer's, of another document
	}
	for i, l := range lines {
		out["removed"] = append(out["removed"], note(slices.Delete(slices.Clone(lines), i, i+1)))
		for j := range len(lines) + 1 {
			out["repeated"] = append(out["repeated"], note(slices.Insert(slices.Clone(lines), j, l)))
		}
		for j := range i {
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			out["reordered"] = append(out["reordered"], note(swapped))
		}
		for _, s := range strange {
			out["replaced"] = append(out["replaced"], note(slices.Replace(slices.Clone(lines), i, i+1, s)))
		}
	}
	for i := range len(lines) + 1 {
		for _, s := range strange {
			out["added"] = append(out["added"], note(slices.Insert(slices.Clone(lines), i, s)))
		}
	}
	return out
}
