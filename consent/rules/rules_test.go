package rules

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

var square = geo.Point{Lat: 40.7128, Lon: -80.0060}

func agency(name string, class charter.AgencyClass) charter.Agency {
	seed := sha256.Sum256([]byte(name))
	k, err := consent.KeyFromSeed(name, seed[:])
	if err != nil {
		panic(err)
	}
	return charter.Agency{Name: name, Class: class, Key: k.Verifier(), Jurisdiction: geo.Circle(square, 4000, 16)}
}

func asks(a charter.Agency) request.Request {
	when := func(s string) consent.Time {
		t, err := consent.ParseTime(s)
		if err != nil {
			panic(err)
		}
		return t
	}
	return request.Request{
		Agency: a.ID(), Offence: "220", Basis: request.ProbableCause, Area: geo.Circle(square, 300, 16),
		From: when("2026-11-22T18:30:00Z"), Until: when("2026-11-22T19:30:00Z"), Created: when("2026-11-23T08:00:00Z"), Expires: when("2026-11-30T08:00:00Z"),
		Text: "We look for pictures of a grey van.", Terms: request.Terms{RetentionDays: 90, UnusedDays: 30},
	}
}

// Police, border guards and a private company ask the same; three homes differ
// in what they let through.
func TestShow(t *testing.T) {
	police, border, company := agency("police", charter.LocalPolice), agency("border", charter.Immigration), agency("acme", charter.OtherPublic)
	c := &charter.Charter{Agencies: []charter.Agency{police, border}, Limits: charter.DefaultLimits(), OffByDefault: charter.DefaultOff()}
	wide := asks(police)
	wide.Terms.RetentionDays = 400
	tests := []struct {
		name string
		c    *charter.Charter
		a    charter.Agency
		r    request.Request
		s    Strictness
		want string // part of the reason, "" for shown
	}{
		{"police", c, police, asks(police), Strictness{}, ""},
		{"not admitted", c, company, asks(company), Strictness{}, "does not admit"},
		{"not admitted, class turned on", c, company, asks(company), Strictness{ClassesOn: charter.Classes()}, "does not admit"},
		{"off by default", c, border, asks(border), Strictness{}, "off until the owner"},
		{"turned on", c, border, asks(border), Strictness{ClassesOn: []charter.AgencyClass{charter.Immigration}}, ""},
		{"turned on and off: off wins", c, border, asks(border), Strictness{ClassesOn: charter.Classes(), ClassesOff: charter.Classes()}, "turned off"},
		{"outside the limits", c, police, wide, Strictness{}, "retention-too-long"},
		{"outside the limits, whatever the home says", c, police, wide, Strictness{MaxRetentionDays: 1000}, "retention-too-long"},
		{"another agency's request", c, police, asks(border), Strictness{}, "wrong-agency"},
		{"class off", c, police, asks(police), Strictness{ClassesOff: []charter.AgencyClass{charter.LocalPolice}}, "turned off"},
		{"offence off", c, police, asks(police), Strictness{OffencesOff: []request.Offence{"220"}}, "offence"},
		{"basis off", c, police, asks(police), Strictness{BasesOff: []request.Basis{request.ProbableCause}}, "basis"},
		{"kept too long for this home", c, police, asks(police), Strictness{MaxRetentionDays: 89}, "this home allows 89"},
		{"no charter", nil, police, asks(police), Strictness{}, "no charter"},
		{"zero charter", &charter.Charter{}, police, asks(police), Strictness{}, "does not admit"},
		{"zero everything", &charter.Charter{}, charter.Agency{}, request.Request{}, Strictness{}, "does not admit"},
	}
	for _, tt := range tests {
		show, why := Show(tt.c, tt.a, tt.r, tt.s)
		if show != (tt.want == "") || !strings.Contains(why, tt.want) || show != (why == "") {
			t.Errorf("%s: shown %v, %q; want %q", tt.name, show, why, tt.want)
		}
	}
}

func TestMatch(t *testing.T) {
	r := asks(agency("police", charter.LocalPolice))
	here := geo.Sector{At: square, ViewDeg: 90, RangeM: 30}
	far := here
	far.At.Lat += 0.1
	for _, tt := range []struct {
		name string
		cam  Camera
		want bool
	}{
		{"offered, in the area", Camera{Offered: true, View: here}, true},
		{"not offered", Camera{View: here}, false},
		{"elsewhere", Camera{Offered: true, View: far}, false},
		{"indoor", Camera{Offered: true, Indoor: true, View: here}, false},
		{"indoor, by name", Camera{Offered: true, Indoor: true, ByName: true, View: here}, true},
		{"indoor, named but not offered", Camera{Indoor: true, ByName: true, View: here}, false},
		{"no place set", Camera{Offered: true}, false},
		{"zero", Camera{}, false},
	} {
		if got := Match(tt.cam, r); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if Match(Camera{Offered: true, View: here}, request.Request{}) {
		t.Error("the zero request matches")
	}
}
