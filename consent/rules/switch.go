package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

// Action is what a home does with a request that it shows and has footage for, from the least to the most.
type Action int

// The actions. None of them lets anything leave.
const (
	Ignore  Action = iota // as if the request had not come
	Hold                  // keep the recordings from roll-off and say nothing
	Tell                  // keep them and tell the owner
	Prepare               // and make the clips that the owner would send, for approval
)

var actions = [...]struct{ name, words string }{
	{"ignore", "ignore"}, {"hold", "hold footage silently"}, {"tell", "tell me"}, {"prepare", "prepare an answer for my approval"},
}

func (a Action) String() string { return actions[a].name }

// Words is the action as the owner's table has it.
func (a Action) Words() string { return actions[a].words }

// MarshalText writes the action's name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads an action's name.
func (a *Action) UnmarshalText(b []byte) error {
	for i := range actions {
		if actions[i].name == string(b) {
			*a = Action(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no action: it must be ignore, hold, tell or prepare", b)
}

// Hours is a time of day, from one minute after midnight until before another, across midnight where
// the second is the earlier one. Where both are the same, as in the zero Hours, it is the whole day.
type Hours struct{ From, Until int }

// All says whether it is the whole day.
func (h Hours) All() bool { return h.From == h.Until }

// Include says whether a local clock shows a time within the hours.
func (h Hours) Include(local time.Time) bool {
	m := local.Hour()*60 + local.Minute()
	if h.From < h.Until {
		return h.From <= m && m < h.Until
	}
	return h.All() || m >= h.From || m < h.Until
}

const clock = "15:04"

func (h Hours) String() string {
	text := func(m int) string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }
	return text(h.From) + "-" + text(h.Until)
}

// MarshalText writes hours as in 22:00-07:00, and nothing for the whole day.
func (h Hours) MarshalText() ([]byte, error) {
	if h.All() {
		return nil, nil
	}
	return []byte(h.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (h *Hours) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*h = Hours{}
		return nil
	}
	from, until, _ := strings.Cut(string(b), "-")
	f, err1 := time.Parse(clock, from)
	u, err2 := time.Parse(clock, until)
	got := Hours{f.Hour()*60 + f.Minute(), u.Hour()*60 + u.Minute()}
	if err1 != nil || err2 != nil || got.String() != string(b) || got.All() {
		return fmt.Errorf(`%.40q are no hours: write two times of day, as in "22:00-07:00", or leave them out for the whole day`, b)
	}
	*h = got
	return nil
}

// A Switch is one line of the owner's table: which requests, at what time of day, and what is done
// with them. An empty list stands for every one. The zero Switch ignores every request.
type Switch struct {
	Classes  []charter.AgencyClass `toml:"class" json:"class,omitempty"`
	Offences []request.Offence     `toml:"offence" json:"offence,omitempty"`
	Bases    []request.Basis       `toml:"basis" json:"basis,omitempty"`
	Breaches bool                  `toml:"breaches" json:"breaches,omitempty"` // only those of an agency about which a breach record stands
	Quiet    Hours                 `toml:"quiet" json:"quiet,omitzero"`        // in the owner's time zone
	Do       Action                `toml:"do" json:"do"`
}

// String says in plain words which requests the switch is about.
func (s Switch) String() string {
	parts := []string{"every request"}
	if len(s.Classes) > 0 {
		parts[0] = "requests of the class " + orList(s.Classes)
	}
	if len(s.Offences) > 0 {
		titles := []string{}
		for _, o := range s.Offences {
			titles = append(titles, fmt.Sprintf("%s (%s)", o.Title(), o))
		}
		parts = append(parts, "about "+orList(titles))
	}
	if len(s.Bases) > 0 {
		parts = append(parts, "on the basis "+orList(s.Bases))
	}
	if s.Breaches {
		parts = append(parts, "of an agency that owners showed to break what it signed")
	}
	if !s.Quiet.All() {
		from, until, _ := strings.Cut(s.Quiet.String(), "-")
		parts = append(parts, "from "+from+" to "+until)
	}
	return strings.Join(parts, ", ")
}

func orList[T ~string](list []T) string {
	all := make([]string, len(list))
	for i, v := range list {
		all[i] = string(v)
	}
	return strings.Join(all, " or ")
}

// An Asker is what the switches have to know of an agency.
type Asker struct {
	Class    charter.AgencyClass
	Exigent  bool // its claims of an emergency still count
	Breaches bool // a breach record about it stands
}

// concerns says whether the switch is about such a request, at whatever time of day.
func (s Switch) concerns(a Asker, r request.Request) bool {
	return has(s.Classes, a.Class) && has(s.Offences, r.Offence) && has(s.Bases, r.Basis) && (a.Breaches || !s.Breaches)
}

func has[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

// Decide says what the owner's switches do with a request that is shown, when the owner's clock shows
// local, and which of them said so. Where the agency's claims of an emergency still count, a switch that
// would hold the footage silently for some hours tells of one instead.
func Decide(switches []Switch, a Asker, r request.Request, local time.Time) (do Action, why string) {
	do, why = Tell, "no switch is about it"
	first := true
	for i, s := range switches {
		if !s.concerns(a, r) || !s.Quiet.Include(local) {
			continue
		}
		this, note := s.Do, ""
		if this == Hold && !s.Quiet.All() && a.Exigent && r.Basis == request.Exigent {
			this, note = Tell, "; an emergency is told at any hour"
		}
		if first || this < do {
			do, why, first = this, fmt.Sprintf("switch %d: %s%s", i+1, s, note), false
		}
	}
	return do, why
}

// Stays says what remains of what was done for a request as the hours go by. Hours put something off
// and take nothing back: only a switch for the whole day lowers what was done before.
func Stays(switches []Switch, a Asker, r request.Request, was Action) Action {
	for _, s := range switches {
		if s.Quiet.All() && s.concerns(a, r) {
			was = min(was, s.Do)
		}
	}
	return was
}

// Turns lists the moments of the day after local at which the hours of some switch begin or end, in
// order: those at which something else may be done than before.
func Turns(switches []Switch, local time.Time) []time.Time {
	var turns []time.Time
	y, m, d := local.Date()
	for _, s := range switches {
		if s.Quiet.All() {
			continue
		}
		for _, minute := range []int{s.Quiet.From, s.Quiet.Until} {
			t := time.Date(y, m, d, 0, minute, 0, 0, local.Location())
			if !t.After(local) {
				t = time.Date(y, m, d+1, 0, minute, 0, 0, local.Location())
			}
			turns = append(turns, t)
		}
	}
	slices.SortFunc(turns, time.Time.Compare)
	return slices.CompactFunc(turns, time.Time.Equal)
}
