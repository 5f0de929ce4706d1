package request

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/geo"
)

// On 22 November a bicycle shop in the made-up town of Millbrook was robbed.
// Officer Diaz asks, Sergeant Okafor signs with her.

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

var (
	shop      = geo.Point{Lat: 40.7128, Lon: -80.0060}
	diaz      = key("diaz", "officer")
	okafor    = key("okafor", "supervisor")
	reception = key(ReceptionKeyName, "reception")
	docket    = key("millbrook-police", "docket")
)

const peerID = "12D3KooWSTwmJwNmoyGE1h8RkhPjj1wXfbUSHyd9ftNE88oQhyGn"

func millbrook() (*charter.Charter, charter.Agency) {
	police := charter.Agency{
		Name: "Millbrook Police", Class: charter.LocalPolice, Key: docket.Verifier(),
		Supervisors:  []consent.VerifierKey{okafor.Verifier()},
		Jurisdiction: geo.Circle(shop, 4000, 32), PolicyURL: "https://police.millbrook.example/video",
	}
	return &charter.Charter{Agencies: []charter.Agency{police}, Limits: charter.DefaultLimits(), Quotas: charter.DefaultQuotas()}, police
}

func robbery() Request {
	_, police := millbrook()
	return Request{
		Agency: police.ID(), Case: "MB-26-004417", Offence: "120", Basis: ReasonableSuspicion,
		Incident: Incident{At: at("2026-11-22T19:04:00Z"), Place: shop},
		Area:     geo.Circle(shop, 300, 16),
		From:     at("2026-11-22T18:30:00Z"), Until: at("2026-11-22T19:30:00Z"),
		Text:    "A bicycle shop on Mill Street was robbed. We look for pictures of a grey van that left towards the river.",
		Contact: "Officer Diaz, +1 412 555 0134", Terms: Terms{RetentionDays: 90, UnusedDays: 30, Recipients: []string{"county prosecutor"}},
		ReceptionKey: reception.Verifier(), Reply: []string{"/ip4/9.9.9.9/tcp/4001/p2p/" + peerID},
		Officer: diaz.Verifier(), Supervisor: okafor.Verifier(),
		Created: at("2026-11-23T08:00:00Z"), Expires: at("2026-11-30T08:00:00Z"),
	}
}

func TestAGoodRequestPasses(t *testing.T) {
	c, police := millbrook()
	note, err := consent.Sign(robbery(), diaz, okafor)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(note)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CheckCharter(c, police); err != nil {
		t.Error(err)
	}
	if err := r.CheckNow(at("2026-11-24T00:00:00Z").Time); err != nil {
		t.Error(err)
	}
	if id := IDOf(note); len(id) != 64 {
		t.Errorf("id %q", id)
	}
	if len(note) > 4<<10 {
		t.Errorf("an ordinary request has %d bytes, more than 4 KiB", len(note))
	}
}

// Each change breaks one rule, and the class says which.
func TestEachRuleHasItsClass(t *testing.T) {
	type change = func(r *Request)
	text := func(s string) change { return func(r *Request) { r.Text = "We look for a grey van. " + s } }
	tests := []struct {
		name   string
		class  consent.Class
		change change
	}{
		{"agency id", consent.BadValue, func(r *Request) { r.Agency = "x" }},
		{"another agency's", WrongAgency, func(r *Request) { r.Agency = consent.AgencyID(strings.Repeat("0", 32)) }},
		{"no case", consent.BadText, func(r *Request) { r.Case = "" }},
		{"case of two lines", consent.BadText, func(r *Request) { r.Case = "a\nb" }},
		{"offence", UnknownOffence, func(r *Request) { r.Offence = "999" }},
		{"no offence", UnknownOffence, func(r *Request) { r.Offence = "" }},
		{"basis", UnknownBasis, func(r *Request) { r.Basis = "hunch" }},
		{"warrant without order", OrderMissing, func(r *Request) { r.Basis = Warrant }},
		{"order without warrant", OrderUnexpected, func(r *Request) { r.OrderHash = strings.Repeat("a", 64) }},
		{"order that is no hash", consent.BadValue, func(r *Request) { r.Basis, r.OrderHash = Warrant, "abc" }},
		{"no time", consent.BadValue, func(r *Request) { r.Incident.At = consent.Time{} }},
		{"window backwards", consent.WindowInvalid, func(r *Request) { r.From, r.Until = r.Until, r.From }},
		{"14 minutes", consent.WindowTooShort, func(r *Request) { r.Until = consent.At(r.From.Add(14 * time.Minute)) }},
		{"12 hours and a second", consent.WindowTooLong, func(r *Request) { r.From = consent.At(r.Until.Add(-12*time.Hour - time.Second)) }},
		{"of tomorrow", WindowInFuture, func(r *Request) { r.Until = consent.At(r.Created.Add(time.Second)) }},
		{"incident to come", IncidentInFuture, func(r *Request) { r.Incident.At = consent.At(r.Created.Add(time.Hour)) }},
		{"over before it began", ExpiryInvalid, func(r *Request) { r.Expires = r.Created }},
		{"15 days open", consent.ExpiryTooLong, func(r *Request) { r.Expires = consent.At(r.Created.AddDate(0, 0, 15)) }},
		{"area crosses itself", consent.AreaInvalid, func(r *Request) { r.Area[0], r.Area[8] = r.Area[4], r.Area[12] }},
		{"no area", consent.AreaInvalid, func(r *Request) { r.Area = nil }},
		{"place off the map", consent.AreaInvalid, func(r *Request) { r.Incident.Place.Lat = 95 }},
		{"place elsewhere", PlaceOutsideArea, func(r *Request) { r.Incident.Place.Lat += 0.01 }},
		{"0.6 square miles", consent.AreaTooLarge, func(r *Request) { r.Area = geo.Circle(shop, 710, 32) }},
		{"one house", consent.AreaTooSmall, func(r *Request) { r.Area = geo.Circle(shop, 30, 8) }},
		{"the next town", consent.OutsideJurisdiction, func(r *Request) {
			r.Incident.Place.Lat += 0.036
			r.Area = geo.Circle(r.Incident.Place, 300, 16)
		}},
		{"text too short", consent.BadText, func(r *Request) { r.Text = "Help us." }},
		{"text too long", consent.BadText, func(r *Request) { r.Text = strings.Repeat("long ", 401) + "x" }},
		{"text that runs backwards", consent.BadText, func(r *Request) { r.Text += " \u202etxet" }},
		{"no contact", consent.BadText, func(r *Request) { r.Contact = "" }},
		{"kept for ever", consent.RetentionTooLong, func(r *Request) { r.Terms.RetentionDays = 366 }},
		{"kept no time", TermsInvalid, func(r *Request) { r.Terms.RetentionDays = 0 }},
		{"unused for ever", consent.UnusedTooLong, func(r *Request) { r.Terms.UnusedDays = 31 }},
		{"unused longer than used", TermsInvalid, func(r *Request) { r.Terms.UnusedDays = 91 }},
		{"recipients null", consent.NullValue, func(r *Request) { r.Terms.Recipients = nil }},
		{"recipient twice", TermsInvalid, func(r *Request) { r.Terms.Recipients = []string{"a", "a"} }},
		{"nine recipients", TermsInvalid, func(r *Request) { r.Terms.Recipients = strings.Split("abcdefghi", "") }},
		{"nowhere to answer", NoReply, func(r *Request) { r.Reply = nil }},
		{"five addresses", TooManyReplies, func(r *Request) { r.Reply = []string{"", "", "", "", ""} }},
		{"an address twice", consent.BadReply, func(r *Request) { r.Reply = append(r.Reply, r.Reply[0]) }},
		{"a name for an address", consent.BadReply, func(r *Request) { r.Reply = []string{"/dns4/police.example/tcp/1/p2p/" + peerID} }},
		{"a private address", ReplyNotPublic, func(r *Request) { r.Reply = []string{"/ip4/192.168.1.4/tcp/1/p2p/" + peerID} }},
		{"one person twice", consent.SameSigner, func(r *Request) { r.Supervisor = r.Officer }},
		{"one person under two names", consent.SameSigner, func(r *Request) { r.Supervisor = key("other", "officer").Verifier() }},
		{"reception key of the officer", consent.SameSigner, func(r *Request) { r.ReceptionKey = key(ReceptionKeyName, "officer").Verifier() }},
		{"reception key with a name of its own", consent.BadKey, func(r *Request) { r.ReceptionKey = key("front-desk", "reception").Verifier() }},
		{"no key", consent.BadKey, func(r *Request) { r.Officer = "" }},
		{"pressure", TextPressure, text("You must share what you have.")},
		{"personal data", TextPersonal, text("Call 412-555-0134.")},
		{"race alone", TextRaceOnly, text("The driver was a black male.")},
		{"assembly", TextAssembly, text("It was seen at the protest.")},
	}
	c, police := millbrook()
	for _, tt := range tests {
		r := robbery()
		tt.change(&r)
		err := r.Check()
		if err == nil {
			err = r.CheckCharter(c, police)
		}
		if consent.ClassOf(err) != tt.class {
			t.Errorf("%s: %v, want class %s", tt.name, err, tt.class)
		}
		if !Timeless(consent.ClassOf(err)) {
			t.Errorf("%s: a breach every peer sees is only ignored", tt.name)
		}
	}
	c.Agencies = nil
	if err := robbery().CheckCharter(c, police); consent.ClassOf(err) != consent.UnknownAgency {
		t.Error("an agency that is not admitted: ", err)
	}
}

func TestTheEdgesOfTheLimitsAreAllowed(t *testing.T) {
	c, police := millbrook()
	for name, change := range map[string]func(*Request){
		"15 minutes": func(r *Request) { r.Until = consent.At(r.From.Add(15 * time.Minute)) },
		"12 hours":   func(r *Request) { r.From = consent.At(r.Until.Add(-12 * time.Hour)) },
		"14 days":    func(r *Request) { r.Expires = consent.At(r.Created.AddDate(0, 0, 14)) },
		"a year":     func(r *Request) { r.Terms.RetentionDays = 365 },
		"a warrant":  func(r *Request) { r.Basis, r.OrderHash = Warrant, strings.Repeat("a", 64) },
		"until the moment of writing": func(r *Request) {
			r.Created = r.Until
		},
		"nobody else receives": func(r *Request) { r.Terms.Recipients = []string{} },
		"largest circle":       func(r *Request) { r.Area = geo.Circle(shop, 640, 64) },
		"smallest circle":      func(r *Request) { r.Area = geo.Circle(shop, 146, 32) },
	} {
		r := robbery()
		change(&r)
		if err := r.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.CheckCharter(c, police); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheClockOnlyMakesAPeerIgnore(t *testing.T) {
	r := robbery()
	for _, tt := range []struct {
		now  time.Time
		want consent.Class
	}{
		{r.Created.Add(-ClockSkew), ""},
		{r.Created.Add(-ClockSkew - time.Second), consent.NotYetValid},
		{r.Expires.Add(ClockSkew), ""},
		{r.Expires.Add(ClockSkew + time.Second), consent.Expired},
	} {
		err := r.CheckNow(tt.now)
		if consent.ClassOf(err) != tt.want {
			t.Errorf("at %s: %v, want %q", tt.now, err, tt.want)
		}
		if err != nil && Timeless(consent.ClassOf(err)) {
			t.Errorf("%v counts against the sender", err)
		}
	}
}

// The agency asks twice and tries a third time, under new references, over
// moved ground, at other hours.
func TestPostsOfACase(t *testing.T) {
	limits := charter.DefaultLimits()
	seen := func(id string, change func(*Request)) Seen {
		r := robbery()
		change(&r)
		return Seen{ID: consent.RequestID(id), Request: r}
	}
	newCase := func(r *Request) { r.Case = "MB-26-009999" }
	first := seen("1", func(*Request) {})
	second := seen("2", newCase)
	tests := []struct {
		name  string
		third Seen
		want  consent.Class
	}{
		{"same again", seen("3", func(*Request) {}), consent.TooManyPosts},
		{"new reference, ground moved a little", seen("3", func(r *Request) {
			r.Case = "MB-26-010000"
			r.Area = geo.Circle(geo.Point{Lat: shop.Lat + 0.002, Lon: shop.Lon}, 300, 16)
		}), consent.TooManyPosts},
		{"same reference, other town and time", seen("3", func(r *Request) {
			r.Area = geo.Circle(geo.Point{Lat: shop.Lat + 0.02, Lon: shop.Lon}, 300, 16)
			r.From, r.Until = at("2026-11-20T00:00:00Z"), at("2026-11-20T01:00:00Z")
			r.Offence = "220"
		}), ""}, // counted with the first only
		{"another offence", seen("3", func(r *Request) { r.Case, r.Offence = "MB-26-010000", "240" }), ""},
		{"other hours", seen("3", func(r *Request) {
			r.Case = "MB-26-010000"
			r.From, r.Until = at("2026-11-22T19:30:00Z"), at("2026-11-22T20:30:00Z")
		}), ""},
		{"the second itself, read again", second, ""},
	}
	for _, tt := range tests {
		err := CheckHistory([]Seen{first, second}, tt.third, limits)
		if consent.ClassOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if Timeless(consent.TooManyPosts) || Timeless(consent.DailyArea) || Timeless("") {
		t.Error("history counts against the sender")
	}
}

func TestDailyCapOnAreaAndHours(t *testing.T) {
	limits := charter.DefaultLimits()
	r := robbery()
	limits.DailyAreaHours = 2.5 * r.AreaHours()
	limits.PostsPerCase = 100
	day := []Seen{{"1", r}, {"2", r}}
	if err := CheckHistory(day[:1], Seen{"3", r}, limits); err != nil {
		t.Error(err)
	}
	if err := CheckHistory(day, Seen{"3", r}, limits); consent.ClassOf(err) != consent.DailyArea {
		t.Error("a third of the same size: ", err)
	}
	tomorrow := r
	tomorrow.Created = consent.At(r.Created.AddDate(0, 0, 1))
	if err := CheckHistory(day, Seen{"3", tomorrow}, limits); err != nil {
		t.Error("the next day: ", err)
	}
}

func TestSameCaseIsSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Request {
			r := robbery()
			r.Case = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, name+" case")
			r.Offence = rapid.SampledFrom([]Offence{"120", "220"}).Draw(t, name+" offence")
			r.From = consent.At(r.From.Add(time.Duration(rapid.IntRange(-120, 0).Draw(t, name+" from")) * time.Minute))
			r.Area = geo.Circle(geo.Point{Lat: shop.Lat + rapid.Float64Range(-0.01, 0.01).Draw(t, name+" lat"), Lon: shop.Lon}, 300, 12)
			return r
		}
		a, b := draw("a"), draw("b")
		if sameCase(a, b) != sameCase(b, a) || !sameCase(a, a) {
			t.Fatal("the order of two requests decides whether they are one case")
		}
	})
}

func TestOffences(t *testing.T) {
	codes := Offences()
	for i, code := range codes {
		if i > 0 && codes[i-1] >= code {
			t.Errorf("%s is out of order", code)
		}
		if len(code) != 3 || code.Title() == "" {
			t.Errorf("%q has no title", code)
		}
	}
	for code, want := range map[Offence]string{"120": "Robbery", "09A": "Murder and Nonnegligent Manslaughter", "90Z": "All Other Offenses", "": "", "12": "", "1200": "", "ZZZ": ""} {
		if got := code.Title(); got != want {
			t.Errorf("%q: %q, want %q", code, got, want)
		}
	}
}
