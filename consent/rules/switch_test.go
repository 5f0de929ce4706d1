package rules

import (
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// Ana sleeps from ten to seven, wants nothing of border guards, and has answers about burglaries ready.
func TestDecide(t *testing.T) {
	night := Hours{22 * 60, 7 * 60}
	ana := []Switch{
		{Quiet: night, Do: Hold},
		{Classes: []charter.AgencyClass{charter.Immigration}, Do: Ignore},
		{Offences: []request.Offence{"220"}, Do: Prepare},
		{Bases: []request.Basis{request.VoluntaryInformation}, Quiet: night, Do: Ignore},
	}
	day, late := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 23, 23, 30, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		class   charter.AgencyClass
		offence request.Offence
		basis   request.Basis
		at      time.Time
		counts  bool
		want    Action
		why     string
	}{
		{"robbery at noon", charter.LocalPolice, "120", request.ProbableCause, day, true, Tell, "no switch is about it"},
		{"burglary at noon", charter.LocalPolice, "220", request.ProbableCause, day, true, Prepare, "switch 3: every request, about Burglary/Breaking & Entering (220)"},
		{"burglary at night", charter.LocalPolice, "220", request.ProbableCause, late, true, Hold, "switch 1: every request, from 22:00 to 07:00"},
		{"border guards at noon", charter.Immigration, "220", request.ProbableCause, day, true, Ignore, "switch 2: requests of the class immigration"},
		{"an emergency at night", charter.LocalPolice, "120", request.Exigent, late, true, Tell, "switch 1: every request, from 22:00 to 07:00; an emergency is told at any hour"},
		{"one of an agency whose word no longer counts", charter.LocalPolice, "120", request.Exigent, late, false, Hold, "switch 1: every request, from 22:00 to 07:00"},
		{"an emergency of border guards", charter.Immigration, "120", request.Exigent, late, true, Ignore, "switch 2: requests of the class immigration"},
		{"no standard claimed, at night", charter.LocalPolice, "120", request.VoluntaryInformation, late, true, Ignore, "switch 4: every request, on the basis voluntary-information, from 22:00 to 07:00"},
	} {
		got, why := Decide(ana, Asker{Class: tt.class, Exigent: tt.counts}, request.Request{Offence: tt.offence, Basis: tt.basis}, tt.at)
		if got != tt.want || why != tt.why {
			t.Errorf("%s: %s, %q; want %s, %q", tt.name, got, why, tt.want, tt.why)
		}
	}
}

// Ben answers nobody who broke a promise to somebody else, for as long as that is not made good.
func TestASwitchRefusesOnBreaches(t *testing.T) {
	ben := []Switch{{Breaches: true, Do: Ignore}, {Do: Prepare}}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for breaches, want := range map[bool]struct {
		do, stays Action
		why       string
	}{
		false: {Prepare, Tell, "switch 2: every request"},
		true:  {Ignore, Ignore, "switch 1: every request, of an agency that owners showed to break what it signed"},
	} {
		a := Asker{Class: charter.LocalPolice, Exigent: true, Breaches: breaches}
		r := request.Request{Offence: "120", Basis: request.Exigent}
		if do, why := Decide(ben, a, r, noon); do != want.do || why != want.why {
			t.Errorf("breaches %v: %s, %q", breaches, do, why)
		}
		if do := Stays(ben, a, r, Tell); do != want.stays {
			t.Errorf("breaches %v: of what was told %s stays", breaches, do)
		}
	}
}

func TestHours(t *testing.T) {
	for text, want := range map[string][3]bool{ // at 00:00, 07:00 and 22:00
		"":            {true, true, true},
		"22:00-07:00": {true, false, true},
		"07:00-22:00": {false, true, false},
		"00:00-07:00": {true, false, false},
	} {
		var h Hours
		if err := h.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		for i, hour := range []int{0, 7, 22} {
			if h.Include(time.Date(2026, 11, 23, hour, 0, 59, 0, time.UTC)) != want[i] {
				t.Errorf("%q at %d:00: not %v", text, hour, want[i])
			}
		}
		if back, err := h.MarshalText(); err != nil || string(back) != text {
			t.Errorf("%q is written as %q, %v", text, back, err)
		}
	}
	for _, bad := range []string{"22-7", "22:00", "22:00-24:00", "7:00-8:00", "07:00-07:00", "22:00-07:00-08:00", " 22:00-07:00", "25:00-07:00"} {
		if err := new(Hours).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q are hours", bad)
		}
	}
	// The clocks go back in the night: the hours end when the clock shows seven, nine hours and one later.
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Skip(err)
	}
	evening := time.Date(2026, 10, 24, 22, 0, 0, 0, london)
	turns := Turns([]Switch{{Quiet: Hours{22 * 60, 7 * 60}}, {Quiet: Hours{60, 7 * 60}}, {}}, evening)
	if len(turns) != 3 || turns[1].Sub(evening) != 10*time.Hour || turns[2].Sub(evening) != 25*time.Hour {
		t.Errorf("the hours turn at %v", turns)
	}
}
