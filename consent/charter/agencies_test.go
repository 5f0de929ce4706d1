package charter

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
)

// replaced is the police with the docket of that name, which they made after they lost the one called lost.
func replaced(docket string, lost consent.AgencyID) Agency {
	a := police()
	a.Key = key(docket).Verifier()
	a.Succeeds = &Succession{Agency: lost, Size: 41, Root: tlog.RecordHash([]byte("the last word"))}
	return a
}

func everybody(t testing.TB, c Charter) []byte {
	t.Helper()
	return sign(t, c, "ana", "ben", "cai", "dee", "eve")
}

func TestAnAgencyIsSuspendedResumedAndRemovedWithReasons(t *testing.T) {
	c := start(t)
	a, _ := c.Agency(police().ID())
	if a.MayAsk() != nil {
		t.Error("suspended from the start")
	}
	suspended := after(c, func(n *Charter) {
		a := police()
		a.Suspended = "two requests without an outcome"
		n.Agencies = []Agency{a}
	})
	c = must(t, c, everybody(t, suspended))
	a, ok := c.Agency(police().ID())
	if err := a.MayAsk(); !ok || consent.ClassOf(err) != consent.Suspended || !strings.Contains(err.Error(), "two requests without an outcome") {
		t.Errorf("a suspended agency: listed %v, may ask: %v", ok, err)
	}
	if Card(a).Fingerprint() != Card(police()).Fingerprint() {
		t.Error("a suspension changes the agency's fingerprint")
	}
	if _, ok := c.DocketAgency(police().ID()); !ok {
		t.Error("nobody would follow the docket of a suspended agency")
	}
	c = must(t, c, everybody(t, after(c, func(n *Charter) { n.Agencies = []Agency{police()} })))
	if a, _ := c.Agency(police().ID()); a.MayAsk() != nil {
		t.Error("still suspended")
	}
	c = must(t, c, everybody(t, after(c, noPolice)))
	if _, ok := c.Agency(police().ID()); ok {
		t.Error("still admitted")
	}
	if last, ok := c.LastEntry(police().ID()); !ok || last.Name != police().Name {
		t.Error("what the charter said of a removed agency is gone")
	}
	// The reason stays on record; the version that lists the agency again says nothing of it.
	c = must(t, c, everybody(t, after(c, func(n *Charter) { n.Agencies = []Agency{police()} })))
	if gone := c.Departures(); len(gone) != 1 || gone[0].Version != 4 || gone[0].Reason != "no outcome was ever told" {
		t.Errorf("departures %+v", gone)
	}
	if _, ok := c.Agency(police().ID()); !ok {
		t.Error("a removed agency cannot be admitted again")
	}
}

func TestALostDocketIsSucceeded(t *testing.T) {
	c := start(t)
	first := police().ID()
	second := replaced("second-docket", first)
	c = must(t, c, everybody(t, after(c, func(n *Charter) { n.Agencies = []Agency{second} })))
	if _, ok := c.Agency(first); ok {
		t.Error("the lost docket is still admitted")
	}
	third := replaced("third-docket", second.ID())
	c = must(t, c, everybody(t, after(c, func(*Charter) {}))) // something else in between
	c = must(t, c, everybody(t, after(c, func(n *Charter) { n.Agencies = []Agency{third} })))
	if got := c.Lineage(third.ID()); !slices.Equal(got, []consent.AgencyID{second.ID(), first}) {
		t.Errorf("the third docket goes back to %v", got)
	}
	if c.Lineage(first) != nil || c.Lineage("nobody") != nil {
		t.Error("a docket without predecessor has one")
	}
	if len(c.Departures()) != 0 {
		t.Error("a succession is told as a removal")
	}
	removed := must(t, c, everybody(t, after(c, func(n *Charter) { dismiss(n, third.ID(), "closed") })))
	if got := removed.Lineage(third.ID()); len(got) != 2 {
		t.Errorf("the history of a removed agency ends: %v", got)
	}
	// Admitted again, it is what it was.
	must(t, removed, everybody(t, after(removed, func(n *Charter) { n.Agencies = []Agency{third} })))
	forgetful := third
	forgetful.Succeeds = nil
	if _, err := removed.Extend(everybody(t, after(removed, func(n *Charter) { n.Agencies = []Agency{forgetful} }))); consent.ClassOf(err) != consent.Unaccounted {
		t.Errorf("it came back without its history: %v", err)
	}
}

func TestNoAgencyComesOrGoesUnaccounted(t *testing.T) {
	fire := police()
	fire.Name, fire.Class, fire.Key = "Fire Brigade", Fire, key("fire-docket").Verifier()
	both := func(c *Charter) { c.Agencies = []Agency{police(), fire} }
	c := start(t)
	c = must(t, c, everybody(t, after(c, both)))
	heir := replaced("second-docket", police().ID())
	succeeded := must(t, c, everybody(t, after(c, func(n *Charter) { n.Agencies = []Agency{heir, fire} })))
	closed := must(t, succeeded, everybody(t, after(succeeded, func(n *Charter) { dismiss(n, heir.ID(), "closed") })))
	for _, tc := range []struct {
		name   string
		on     Chain
		change func(*Charter)
		want   consent.Class
	}{
		{"nothing", c, func(*Charter) {}, ""},
		{"removed in silence", c, func(n *Charter) { n.Agencies = n.Agencies[:1] }, consent.Unaccounted},
		{"removed with a reason", c, func(n *Charter) { dismiss(n, fire.ID(), "merged with the next town's") }, ""},
		{"removed without a reason", c, func(n *Charter) { dismiss(n, fire.ID(), "") }, consent.BadValue},
		{"removed with a reason that hides", c, func(n *Charter) { dismiss(n, fire.ID(), "a\nb") }, consent.BadValue},
		{"removed under another name", c, func(n *Charter) { dismiss(n, fire.ID(), "x"); n.Removed[0].Name = "Fire" }, consent.Unaccounted},
		{"removed twice", c, func(n *Charter) { dismiss(n, fire.ID(), "x"); n.Removed = append(n.Removed, n.Removed[0]) }, consent.BadValue},
		{"removed and listed", c, func(n *Charter) { noPolice(n); both(n) }, consent.BadValue},
		{"removes who was never there", c, func(n *Charter) { n.Removed = []Removal{{heir.ID(), "Police", "x"}} }, consent.Unaccounted},
		{"removed after it was succeeded", succeeded, func(n *Charter) { n.Removed = []Removal{{police().ID(), police().Name, "x"}} }, consent.BadValue},
		{"succeeded", c, func(n *Charter) { n.Agencies = []Agency{heir, fire} }, ""},
		{"succeeded and removed", c, func(n *Charter) { noPolice(n); n.Agencies = append(n.Agencies, heir) }, consent.BadValue},
		{"succeeded and still there", c, func(n *Charter) { h := heir; h.Name = "New Police"; n.Agencies = append(n.Agencies, h) }, consent.BadValue},
		{"two heirs", c, func(n *Charter) {
			h := replaced("third-docket", police().ID())
			h.Name = "Other Police"
			n.Agencies = []Agency{heir, fire, h}
		}, consent.BadValue},
		{"succeeds itself", c, func(n *Charter) { n.Agencies[0].Succeeds = &Succession{Agency: police().ID(), Size: 1} }, consent.BadValue},
		{"succeeds an empty docket", c, func(n *Charter) {
			h := replaced("second-docket", police().ID())
			h.Succeeds.Size = 0
			n.Agencies = []Agency{h, fire}
		}, consent.BadValue},
		{"succeeds who was never there", c, func(n *Charter) {
			h := replaced("third-docket", heir.ID())
			h.Name = "Other Police"
			n.Agencies = append(n.Agencies, h)
		}, consent.Unaccounted},
		{"succeeds although it was there before", c, func(n *Charter) {
			f := fire
			f.Succeeds = heir.Succeeds
			n.Agencies = []Agency{f}
		}, consent.Unaccounted},
		{"succession forgotten", succeeded, func(n *Charter) { n.Agencies[0].Succeeds = nil }, consent.Unaccounted},
		{"succession changed", succeeded, func(n *Charter) {
			s := *heir.Succeeds
			s.Size++
			n.Agencies[0].Succeeds = &s
		}, consent.Unaccounted},
		{"a lost docket comes back beside its heir", succeeded, func(n *Charter) {
			a := police()
			a.Name = "Old Police"
			n.Agencies = append(n.Agencies, a)
		}, consent.BadValue},
		{"a lost docket comes back after its heir", closed, func(n *Charter) { n.Agencies = append(n.Agencies, police()) }, consent.Unaccounted},
	} {
		next := after(tc.on, func(n *Charter) {
			n.Agencies = slices.Clone(n.Agencies)
			tc.change(n)
		})
		err := next.Check()
		if err == nil {
			_, err = tc.on.Extend(everybody(t, next))
		}
		if consent.ClassOf(err) != tc.want || (err == nil) != (tc.want == "") {
			t.Errorf("%s: %v, want class %q", tc.name, err, tc.want)
		}
	}
	for name, change := range map[string]func(*Charter){
		"removes in version 1":  func(c *Charter) { c.Removed = []Removal{{heir.ID(), "Police", "x"}} },
		"succeeds in version 1": func(c *Charter) { c.Agencies = []Agency{heir} },
		"suspends in a line and a half": func(c *Charter) {
			c.Agencies[0].Suspended = "a\nb"
		},
		"suspends at length": func(c *Charter) { c.Agencies[0].Suspended = strings.Repeat("x", MaxReason+1) },
	} {
		c := founding()
		change(&c)
		if err := c.Check(); consent.ClassOf(err) != consent.BadValue {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, a := range []Agency{heir, func() Agency { a := police(); a.Suspended = "x"; return a }()} {
		if err := Card(a).Check(); consent.ClassOf(err) != consent.BadValue {
			t.Errorf("a card that says what signers say: %v", err)
		}
	}
}

func TestACharterEnds(t *testing.T) {
	c := founding()
	if c.Ended(spring) || c.Ended(c.Ends.AddDate(0, 0, -1)) || !c.Ended(c.Ends.Time) || !(&Charter{}).Ended(spring) {
		t.Error("it ends at another time than it says")
	}
}

// What a signer is not told, a signer has not agreed to: each member that can change has words of its own.
func TestEveryChangeIsTold(t *testing.T) {
	c := start(t)
	old := *c.Current()
	seen := map[string]bool{}
	for member, change := range map[string]func(*Charter){
		"Mesh":      func(n *Charter) { n.Mesh = "Oak Street" },
		"Ends":      func(n *Charter) { n.Ends = consent.At(n.Ends.AddDate(1, 0, 0)) },
		"Also":      func(n *Charter) { n.Also = []string{consent.HashText(nil)} },
		"Signers":   func(n *Charter) { n.Signers = signers("ana", "ben", "cai", "dee", "fay") },
		"Threshold": func(n *Charter) { n.Threshold++ },
		"Agencies":  func(n *Charter) { n.Agencies = []Agency{police(), replaced("x", "y")} },
		"Removed":   noPolice,
		"Witnesses": func(n *Charter) { n.Witnesses = []Witness{{"Herald", key("herald").Verifier()}} },
		"Quorum":    func(n *Charter) { n.Quorum++ },
		"Limits":    func(n *Charter) { n.Limits.MaxRetentionDays-- },
		"Quotas":    func(n *Charter) { n.Quotas.EntriesPerDay++ },
		"OffByDefault": func(n *Charter) {
			n.OffByDefault = nil
		},
		"LANOnly": func(n *Charter) { n.LANOnly = true },
		"Daily":   func(n *Charter) { n.Daily = DefaultDaily(n.Limits) },
	} {
		seen[member] = true
		next := after(c, change)
		if len(Changes(&old, &next)) == 0 {
			t.Errorf("%s changed and nobody is told", member)
		}
	}
	for i := range reflect.TypeFor[Charter]().NumField() {
		name := reflect.TypeFor[Charter]().Field(i).Name
		if !seen[name] && !slices.Contains([]string{"Version", "Previous", "Created"}, name) {
			t.Errorf("a change of %s is not tried", name)
		}
	}
	for member, change := range map[string]func(*Agency){
		"Name":         func(a *Agency) { a.Name = "x" },
		"Class":        func(a *Agency) { a.Class = Fire },
		"Supervisors":  func(a *Agency) { a.Supervisors = append(a.Supervisors, key("noor").Verifier()) },
		"Jurisdiction": func(a *Agency) { a.Jurisdiction = slices.Concat(a.Jurisdiction[1:], a.Jurisdiction[:1]) },
		"PolicyURL":    func(a *Agency) { a.PolicyURL += "2" },
		"Suspended":    func(a *Agency) { a.Suspended = "x" },
		"Key": func(a *Agency) {
			k, _ := key("docket").Renamed("other")
			a.Key = k.Verifier()
		},
	} {
		seen[member] = true
		next := after(c, func(n *Charter) {
			a := police()
			change(&a)
			n.Agencies = []Agency{a}
		})
		if got := Changes(&old, &next); len(got) != 1 {
			t.Errorf("%s of an agency changed and signers are told %q", member, got)
		}
		if back := Changes(&next, &old); len(back) != 1 {
			t.Errorf("%s of an agency changed back and signers are told %q", member, back)
		}
	}
	for i := range reflect.TypeFor[Agency]().NumField() {
		if name := reflect.TypeFor[Agency]().Field(i).Name; !seen[name] && name != "Succeeds" { // which never changes
			t.Errorf("a change of an agency's %s is not tried", name)
		}
	}
	same := after(c, func(*Charter) {})
	if got := Changes(&old, &same); got != nil {
		t.Errorf("nothing changed and signers are told %q", got)
	}
	reordered := after(c, func(n *Charter) { n.Signers = signers("ben", "ana", "cai", "dee", "eve") })
	if got := Changes(&old, &reordered); len(got) != 1 {
		t.Errorf("another order of signers: %q", got)
	}
}
