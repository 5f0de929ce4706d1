package grant

import (
	"flag"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

func TestMain(m *testing.M) {
	cases := "10000" // a flag of the command line still counts
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		cases = "300" // the race detector looks at the code, not at the cases
	}
	flag.Set("rapid.checks", cases)
	m.Run()
}

// plainTerms are what one agency may do, in plain values and without the code under test.
type plainTerms struct {
	until, unused time.Time
	recipients    []string
	resharing     bool
	viewOnly      bool
	denied        []charter.AgencyClass
}

func plainly(t Terms) plainTerms {
	return plainTerms{t.RetainUntil.Time, t.UnusedUntil.Time, t.Recipients, t.Resharing, t.ViewOnly, t.DeniedClasses}
}

// looser names a thing that a permits and b does not, "" where there is none.
func looser(a, b plainTerms) string {
	for _, r := range a.recipients {
		if !slices.Contains(b.recipients, r) {
			return "recipient " + r
		}
	}
	for _, c := range b.denied {
		if !slices.Contains(a.denied, c) {
			return "class " + string(c)
		}
	}
	switch {
	case a.until.After(b.until):
		return "retention"
	case a.unused.After(b.unused):
		return "retention when unused"
	case a.resharing && !b.resharing:
		return "resharing"
	case b.viewOnly && !a.viewOnly:
		return "export"
	}
	return ""
}

// Along any chain of extensions and of being passed on, right and wrong ones, signed by the owner and by others: what a holder may do is
// what the owner signed, and nothing but an extension of the owner's loosens anything, and that only the retention, and only within the
// charter's limit.
func TestPropertyTermsAreNeverLoosenedAlongAChain(t *testing.T) {
	limits := charter.DefaultLimits()
	agencies := map[consent.AgencyID]charter.AgencyClass{}
	var ids []consent.AgencyID
	for i, class := range []charter.AgencyClass{charter.LocalPolice, charter.Prosecutor, charter.Federal, charter.Immigration} {
		id := consent.AgencyID(hash(string(rune('a' + i)))[:32])
		agencies[id], ids = class, append(ids, id)
	}
	took := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		g := offered()
		g.Agency = ids[0]
		day := func(name string, most int) consent.Time {
			return consent.At(g.Created.AddDate(0, 0, rapid.IntRange(1, most).Draw(t, name)))
		}
		terms := func(name string) Terms {
			x := Terms{RetainUntil: day(name+" retain", 500), UnusedUntil: day(name+" unused", 500), Recipients: []string{}}
			if rapid.Bool().Draw(t, name+" recipients") {
				x.Recipients = rapid.SampledFrom([][]string{{"a"}, {"b"}, {"a", "b"}}).Draw(t, name+" to")
			}
			x.Resharing, x.ViewOnly = rapid.Bool().Draw(t, name+" resharing"), rapid.Bool().Draw(t, name+" view only")
			x.DeniedClasses = rapid.SampledFrom([][]charter.AgencyClass{nil, {charter.Federal}, {charter.Immigration}, {charter.Federal, charter.Immigration}}).Draw(t, name+" denied")
			return x
		}
		g.Terms = terms("granted")
		id := consent.GrantID(hash("grant"))
		h, err := HoldingOf(id, g, cid)
		if err != nil {
			t.Fatal(err)
		}
		longest := h.Terms.RetainUntil.Time // that the owner signed for anybody in the chain so far
		denied := slices.Clone(g.Terms.DeniedClasses)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			was := plainly(h.Terms)
			signer := owner.Verifier()
			if rapid.IntRange(0, 5).Draw(t, "forged") == 0 {
				signer = stranger.Verifier()
			}
			about := id
			if rapid.IntRange(0, 8).Draw(t, "of another grant") == 0 {
				about = consent.GrantID(hash("another"))
			}
			if rapid.Bool().Draw(t, "extension") {
				holder := h.Holder
				if rapid.IntRange(0, 5).Draw(t, "of another holder") == 0 {
					holder = rapid.SampledFrom(ids).Draw(t, "holder")
				}
				e := Extension{Grant: about, CID: cid, Holder: holder, RetainUntil: day("until", 900), Created: day("made", 400), Secret: Secret(hash("new")), Key: signer}
				next, err := h.Extend(e, limits)
				is := plainly(next.Terms)
				if err != nil {
					if looser(is, was) != "" || looser(was, is) != "" {
						t.Fatal("an extension that was refused changed the terms")
					}
					took["extension refused"]++
					continue
				}
				switch {
				case signer != owner.Verifier() || about != id || holder != h.Holder:
					t.Fatal("somebody else extended it")
				case e.RetainUntil.Sub(e.Created.Time) > time.Duration(limits.MaxRetentionDays)*24*time.Hour:
					t.Fatal("for longer than the charter allows")
				case !is.until.Equal(e.RetainUntil.Time):
					t.Fatal("to another day than the owner signed")
				}
				if is.until = was.until; looser(is, was) != "" {
					t.Fatalf("an extension loosens %s", looser(is, was))
				}
				longest = e.RetainUntil.Time
				took["extension"]++
				h = next
				continue
			}
			o := Onward{Grant: about, CID: cid, From: rapid.SampledFrom(ids).Draw(t, "from"), To: rapid.SampledFrom(ids).Draw(t, "to"), Terms: terms("onward"), Created: day("passed on", 400), Key: signer}
			if rapid.IntRange(0, 2).Draw(t, "rightly") > 0 {
				o.From, o.Terms = h.Holder, h.Terms
				if rapid.Bool().Draw(t, "tighter") {
					o.Terms.Recipients, o.Terms.Resharing = []string{}, false
				}
			}
			next, err := h.PassOn(o, agencies[o.To])
			if err != nil {
				if next.Holder != h.Holder || !next.Terms.Equal(h.Terms) {
					t.Fatal("passing it on was refused and changed something")
				}
				took["onward refused"]++
				continue
			}
			switch {
			case signer != owner.Verifier() || about != id:
				t.Fatal("somebody else passed it on")
			case o.From != h.Holder:
				t.Fatal("passed on by an agency that does not hold it")
			case slices.Contains(denied, agencies[o.To]):
				t.Fatalf("passed on to %s, whom the owner denied it", agencies[o.To])
			case looser(plainly(next.Terms), was) != "":
				t.Fatalf("passing it on loosens %s", looser(plainly(next.Terms), was))
			}
			for _, c := range next.Terms.DeniedClasses {
				if !slices.Contains(denied, c) {
					denied = append(denied, c)
				}
			}
			took["onward"]++
			h = next
		}
		if h.Terms.RetainUntil.After(longest) {
			t.Fatalf("kept until %s; the owner signed %s at the most", h.Terms.RetainUntil, longest)
		}
		for _, used := range []bool{false, true} {
			if d := h.Deadline(used); d.After(h.Terms.RetainUntil.Time) || !used && d.After(h.Terms.UnusedUntil.Time) {
				t.Fatalf("used %v: the deadline is %s", used, d)
			}
		}
	})
	t.Log(took)
	for _, what := range []string{"extension", "extension refused", "onward", "onward refused"} {
		if flag.Lookup("rapid.checks").Value.String() == "10000" && took[what] < 100 {
			t.Errorf("%s: %d cases", what, took[what])
		}
	}
}

// What an agency signs about a release is about that one only.
func TestAReceiptIsAboutOneRelease(t *testing.T) {
	g := offered()
	id := IDOf([]byte("g"))
	r := Receipt{Grant: id, GrantKey: g.Key, CID: cid, Commitment: g.Releases[0].Commitment()}
	h, err := HoldingOf(id, g, cid)
	if err != nil || !h.Signed(r) || h.Commitment() != r.Commitment {
		t.Fatalf("a receipt is not about its release: %v", err)
	}
	long, err := h.Extend(Extension{Grant: id, CID: cid, Holder: g.Agency, RetainUntil: consent.At(g.Terms.RetainUntil.AddDate(0, 0, 1)), Secret: Secret(hash("new")), Created: g.Terms.RetainUntil, Key: g.Key}, charter.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	extended := r
	extended.Commitment = Release{CID: cid, Secret: Secret(hash("new"))}.Commitment()
	if h.Signed(extended) || !long.Signed(extended) || !long.Signed(r) || long.Commitment() != extended.Commitment {
		t.Error("after an extension a receipt is not about the release, or before it is")
	}
	for name, change := range map[string]func(*Receipt){
		"grant":      func(r *Receipt) { r.Grant = "x" },
		"grant key":  func(r *Receipt) { r.GrantKey = stranger.Verifier() },
		"cid":        func(r *Receipt) { r.CID = "x" },
		"commitment": func(r *Receipt) { r.Commitment = Commitment(hash("x")) },
	} {
		other := r
		change(&other)
		if h.Signed(other) {
			t.Errorf("a receipt with another %s is taken for this release's", name)
		}
	}
}

// Each holder that the owner's words lead to has its own terms and its own commitment; words out of order lead nowhere.
func TestHoldersFollowTheOwnersWords(t *testing.T) {
	g := offered()
	id := IDOf([]byte("g"))
	first, err := HoldingOf(id, g, cid)
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := g.Agency, consent.AgencyID(hash("b")[:32]), consent.AgencyID(hash("c")[:32])
	class := func(x consent.AgencyID) (charter.AgencyClass, bool) { return charter.Prosecutor, x != "" }
	onward := func(from, to consent.AgencyID, days int) Onward {
		terms := g.Terms
		terms.Recipients, terms.Resharing = []string{}, false
		terms.RetainUntil, terms.UnusedUntil = consent.At(g.Created.AddDate(0, 0, days)), consent.At(g.Created.AddDate(0, 0, days))
		return Onward{Grant: id, CID: cid, From: from, To: to, Terms: terms, Created: g.Created, Key: g.Key}
	}
	longer := Extension{Grant: id, CID: cid, Holder: b, RetainUntil: consent.At(g.Created.AddDate(0, 0, 60)), Secret: Secret(hash("new")), Created: g.Created, Key: g.Key}
	words := []consent.Body{onward(a, b, 20), longer, onward(b, c, 15)}
	all, err := first.Holders(words, charter.DefaultLimits(), class)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d holders, %v", len(all), err)
	}
	seen := map[Commitment]bool{}
	for i, want := range []struct {
		holder  consent.AgencyID
		until   consent.Time
		secrets int
	}{{a, g.Terms.RetainUntil, 1}, {b, longer.RetainUntil, 2}, {c, consent.At(g.Created.AddDate(0, 0, 15)), 1}} {
		h := all[i]
		if h.Holder != want.holder || !h.Terms.RetainUntil.Equal(want.until.Time) || len(h.Secrets) != want.secrets {
			t.Errorf("holder %d is %+v", i, h)
		}
		seen[h.Commitment()] = true
	}
	if len(seen) != 3 {
		t.Error("two holders have one commitment")
	}
	for name, words := range map[string][]consent.Body{
		"an extension of nobody's": {longer},
		"from nobody":              {onward(b, c, 15)},
		"to one who has it":        {onward(a, b, 20), onward(b, a, 15)},
		"wider":                    {onward(a, b, 15), onward(b, c, 20)},
		"a withdrawal":             {Withdrawal{Grant: id, CID: cid}},
		"to a stranger":            {onward(a, "", 20)},
	} {
		if all, err := first.Holders(words, charter.DefaultLimits(), class); err == nil {
			t.Errorf("%s: %d holders", name, len(all))
		}
	}
}
