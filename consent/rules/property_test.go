package rules

import (
	"flag"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

func TestMain(m *testing.M) {
	cases := "10000" // a flag of the command line still counts
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		cases = "300" // the race detector looks at the code, not at the cases
	}
	flag.Set("rapid.checks", cases)
	m.Run()
}

// The people of the properties: two agencies of different classes, and one that the charter does not admit.
var (
	police, border, company = agency("police", charter.LocalPolice), agency("border", charter.Immigration), agency("acme", charter.OtherPublic)

	classes  = []charter.AgencyClass{charter.LocalPolice, charter.Immigration, charter.OtherPublic}
	offences = []request.Offence{"120", "220", "23C"}
	bases    = []request.Basis{request.VoluntaryInformation, request.ProbableCause, request.Exigent}
)

func some[T comparable](t *rapid.T, all []T, name string) []T {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 2, rapid.ID[T]).Draw(t, name)
}

// A sketch is what a request is made of. Its numbers lie around the charter's limits.
type sketch struct {
	agency                              charter.Agency
	offence                             request.Offence
	basis                               request.Basis
	window, radius, open, kept, unused  int
	recipients                          int
	resharing, pressing, private, apart bool
}

// about draws numbers on both sides of a limit, and often the limit itself.
func about(t *rapid.T, limit int, name string) int {
	return rapid.OneOf(rapid.IntRange(limit/2, limit), rapid.IntRange(limit/2, limit), rapid.IntRange(limit-1, limit*2)).Draw(t, name)
}

func drawSketch(t *rapid.T) sketch {
	l := charter.DefaultLimits()
	return sketch{agency: rapid.SampledFrom([]charter.Agency{police, police, border, company}).Draw(t, "agency"),
		offence: rapid.SampledFrom(offences).Draw(t, "offence"), basis: rapid.SampledFrom(bases).Draw(t, "basis"),
		window: rapid.SampledFrom([]int{l.MinWindowMinutes, 60, about(t, l.MaxWindowMinutes, "window")}).Draw(t, "which window"),
		radius: rapid.SampledFrom([]int{160, 300, about(t, 676, "radius")}).Draw(t, "which radius"),
		open:   about(t, l.MaxExpiryDays, "open"), kept: about(t, rapid.SampledFrom([]int{30, 90, l.MaxRetentionDays}).Draw(t, "around"), "kept"), unused: about(t, l.MaxUnusedDays, "unused"),
		recipients: rapid.IntRange(0, 2).Draw(t, "recipients"), resharing: rapid.Bool().Draw(t, "resharing"),
		pressing: rapid.IntRange(0, 9).Draw(t, "pressing") == 0, private: rapid.IntRange(0, 9).Draw(t, "private") == 0, apart: rapid.IntRange(0, 9).Draw(t, "apart") == 0}
}

// wider draws a sketch that asks for more in every respect, or for as much.
func (s sketch) wider(t *rapid.T) sketch {
	more := func(n *int, most int, name string) {
		if rapid.Bool().Draw(t, "more "+name) {
			*n += rapid.IntRange(0, most).Draw(t, name)
		}
	}
	more(&s.window, 900, "window")
	more(&s.radius, 600, "radius")
	more(&s.open, 20, "open")
	more(&s.kept, 400, "kept")
	more(&s.unused, 40, "unused")
	more(&s.recipients, 3, "recipients")
	s.resharing = s.resharing || rapid.Bool().Draw(t, "resharing")
	return s
}

func (s sketch) request() request.Request {
	r := asks(s.agency)
	at := square
	if s.apart {
		at.Lat += 0.034 // 3,800 m: inside the jurisdiction only where the circle is small
	}
	r.Offence, r.Basis, r.Area = s.offence, s.basis, geo.Circle(at, float64(s.radius), 8)
	r.From = consent.At(r.Until.Add(-time.Duration(s.window) * time.Minute))
	r.Expires = consent.At(r.Created.Add(time.Duration(s.open) * 24 * time.Hour))
	r.Terms = request.Terms{RetentionDays: s.kept, UnusedDays: s.unused, Recipients: slices.Repeat([]string{"prosecutor"}, s.recipients), Resharing: s.resharing}
	if s.pressing {
		r.Text = "You must share what you have."
	}
	if s.private {
		r.Reply = []string{"/ip4/192.168.1.5/tcp/4001/p2p/12D3KooWSTwmJwNmoyGE1h8RkhPjj1wXfbUSHyd9ftNE88oQhyGn"}
	}
	return r
}

func drawCharter(t *rapid.T) *charter.Charter {
	return &charter.Charter{Agencies: []charter.Agency{police, border}, Limits: charter.DefaultLimits(), OffByDefault: some(t, classes[1:], "off by default"),
		LANOnly: rapid.Bool().Draw(t, "LAN only")}
}

func drawStrictness(t *rapid.T) Strictness {
	return Strictness{ClassesOn: some(t, classes, "on"), ClassesOff: some(t, classes[1:], "off"), OffencesOff: some(t, offences[1:], "offences off"),
		BasesOff: some(t, bases[1:], "bases off"), MaxRetentionDays: rapid.SampledFrom([]int{0, 30, 90, 180, 400}).Draw(t, "most days")}
}

func drawSwitch(t *rapid.T) Switch {
	s := Switch{Do: Action(rapid.IntRange(0, 3).Draw(t, "do"))}
	s.Classes, s.Offences, s.Bases = some(t, classes, "class"), some(t, offences, "offence"), some(t, bases, "basis")
	s.Breaches = rapid.IntRange(0, 3).Draw(t, "breaches") == 0
	if rapid.Bool().Draw(t, "hours") {
		s.Quiet = Hours{rapid.IntRange(0, 1439).Draw(t, "from"), rapid.IntRange(0, 1439).Draw(t, "until")}
	}
	return s
}

func drawSwitches(t *rapid.T) []Switch {
	return rapid.SliceOfN(rapid.Custom(drawSwitch), 0, 4).Draw(t, "switches")
}

func drawClock(t *rapid.T) time.Time {
	return time.Date(2026, 11, 23, 0, rapid.IntRange(0, 2*1440).Draw(t, "minute"), 0, 0, time.UTC)
}

// Whoever asks for more never gets what was refused to whoever asks for less. The charter's two least
// sizes are no limits of that kind, they keep a request from pointing at one house: it starts above them.
func TestAskingForMoreOpensNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, s, ask := drawCharter(t), drawStrictness(t), drawSketch(t)
		more := ask.wider(t)
		less, why := Show(c, ask.agency, ask.request(), s)
		if got, _ := Show(c, more.agency, more.request(), s); got && !less {
			t.Fatalf("refused for %s, and shown where more is asked", why)
		}
	})
}

// stricter draws a home that has one thing more against requests.
func (s Strictness) stricter(t *rapid.T) Strictness {
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0:
		s.ClassesOff = append(slices.Clone(s.ClassesOff), rapid.SampledFrom(classes).Draw(t, "class"))
	case 1:
		s.OffencesOff = append(slices.Clone(s.OffencesOff), rapid.SampledFrom(offences).Draw(t, "offence"))
	case 2:
		s.BasesOff = append(slices.Clone(s.BasesOff), rapid.SampledFrom(bases).Draw(t, "basis"))
	case 3:
		if s.MaxRetentionDays == 0 {
			s.MaxRetentionDays = 365
		}
		s.MaxRetentionDays -= rapid.IntRange(0, s.MaxRetentionDays-1).Draw(t, "fewer days")
	case 4:
		s.ClassesOn = s.ClassesOn[:len(s.ClassesOn)/2]
	}
	return s
}

// A stricter home shows a part of what a laxer one shows, and does no more about it. A switch that
// prepares is the one addition that may do more than nothing said; it shows nothing that was not shown.
func TestAStricterHomeShowsLess(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, s, ask, switches, now := drawCharter(t), drawStrictness(t), drawSketch(t), drawSwitches(t), drawClock(t)
		r := ask.request()
		a := Asker{ask.agency.Class, rapid.Bool().Draw(t, "exigent counts"), rapid.Bool().Draw(t, "breaches")}
		lax, _ := Show(c, ask.agency, r, s)
		if strict, _ := Show(c, ask.agency, r, s.stricter(t)); strict && !lax {
			t.Fatal("the stricter home shows it alone")
		}
		before, _ := Decide(switches, a, r, now)
		added := drawSwitch(t)
		at := rapid.IntRange(0, len(switches)).Draw(t, "at")
		after, why := Decide(slices.Insert(slices.Clone(switches), at, added), a, r, now)
		if after > before && (added.Do != Prepare || before < Tell) {
			t.Fatalf("%s without and %s with %+v: %s", before, after, added, why)
		}
		// Hours put off and take nothing back; a switch for the whole day lowers what there was.
		was := Action(rapid.IntRange(0, 3).Draw(t, "was"))
		if left := Stays(switches, a, r, was); left > was {
			t.Fatalf("%s of %s stays", left, was)
		} else if added.Quiet.All() && Stays(append(switches, added), a, r, was) > left {
			t.Fatal("another switch leaves more")
		}
		// A breach is to nobody's advantage, but where an owner has answers prepared because of it.
		a.Breaches = false
		clean, _ := Decide(switches, a, r, now)
		a.Breaches = true
		broken, _ := Decide(switches, a, r, now)
		if broken > clean && !slices.ContainsFunc(switches, func(s Switch) bool { return s.Breaches && s.Do == Prepare }) {
			t.Fatalf("%s of an agency without breaches, %s of one with", clean, broken)
		}
	})
}

// oracle says the same in another way: every rule is asked, and all have to agree.
func oracle(c *charter.Charter, s Strictness, ask sketch, switches []Switch, clock time.Time, counts, broke bool) (shown bool, act Action) {
	r, class := ask.request(), ask.agency.Class
	lists := 0
	for _, off := range s.ClassesOff {
		lists += strings.Count(string(off), string(class))
	}
	if strings.Contains(" "+join(c.OffByDefault)+" ", " "+string(class)+" ") && !strings.Contains(" "+join(s.ClassesOn)+" ", " "+string(class)+" ") {
		lists++
	}
	if strings.Contains(join(s.OffencesOff), string(ask.offence)) || strings.Contains(join(s.BasesOff), string(ask.basis)) {
		lists++
	}
	most := 365
	if s.MaxRetentionDays != 0 {
		most = min(365, s.MaxRetentionDays)
	}
	m2 := r.Area.AreaM2()
	shown = lists == 0 && ask.agency.Name != "acme" && ask.window >= 15 && ask.window <= 720 && m2 >= 65000 && m2 <= 1295000 &&
		ask.open <= 14 && ask.kept <= most && ask.unused <= 30 && !ask.pressing && (c.LANOnly || !ask.private) && police.Jurisdiction.ContainsPolygon(r.Area)
	minute, votes := clock.Hour()*60+clock.Minute(), map[Action]bool{}
	for _, w := range switches {
		open := w.Quiet.From == w.Quiet.Until
		for m := w.Quiet.From; m != w.Quiet.Until; m = (m + 1) % 1440 {
			open = open || m == minute
		}
		if !open || len(w.Classes) > 0 && !slices.Contains(w.Classes, class) || len(w.Offences) > 0 && !slices.Contains(w.Offences, ask.offence) ||
			len(w.Bases) > 0 && !slices.Contains(w.Bases, ask.basis) || w.Breaches && !broke {
			continue
		}
		loud := counts && ask.basis == "exigent" && w.Quiet.From != w.Quiet.Until
		votes[map[bool]Action{true: Tell, false: w.Do}[loud && w.Do == Hold]] = true
	}
	for _, act := range []Action{Ignore, Hold, Tell, Prepare} {
		if votes[act] {
			return shown, act
		}
	}
	return shown, Tell
}

func join[T ~string](list []T) string {
	all := ""
	for _, v := range list {
		all += " " + string(v)
	}
	return all
}

func TestAgainstAnOracle(t *testing.T) {
	t.Parallel()
	shown, acts := 0, map[Action]int{}
	rapid.Check(t, func(t *rapid.T) {
		c, s, ask, switches, now, counts := drawCharter(t), drawStrictness(t), drawSketch(t), drawSwitches(t), drawClock(t), rapid.Bool().Draw(t, "exigent counts")
		broke := rapid.Bool().Draw(t, "breaches")
		wantShow, wantDo := oracle(c, s, ask, switches, now, counts, broke)
		show, why := Show(c, ask.agency, ask.request(), s)
		do, by := Decide(switches, Asker{ask.agency.Class, counts, broke}, ask.request(), now)
		if show != wantShow || do != wantDo {
			t.Fatalf("shown %v (%s), %s (%s); the oracle says %v, %s", show, why, do, by, wantShow, wantDo)
		}
		if acts[do]++; show {
			shown++
		}
	})
	t.Logf("shown %d; %v", shown, acts)
	if flag.Lookup("rapid.checks").Value.String() == "10000" && (shown < 100 || len(acts) < 4) {
		t.Errorf("the cases hardly differ: shown %d, %v", shown, acts)
	}
}

// What nobody set shows nothing beyond the charter, offers nothing and does nothing.
func TestZeroValues(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, ask, switches, now := drawCharter(t), drawSketch(t), drawSwitches(t), drawClock(t)
		r := ask.request()
		got, _ := Show(c, ask.agency, r, Strictness{})
		if want := r.CheckCharter(c, ask.agency) == nil && !slices.Contains(c.OffByDefault, ask.agency.Class); got != want {
			t.Fatalf("with nothing set it is shown: %v; by the charter: %v", got, want)
		}
		view := geo.Sector{At: square, ViewDeg: 360, RangeM: 1000}
		if Match(Camera{}, r) || Match(Camera{View: view}, r) || Match(Camera{View: view, Offered: true, Indoor: true}, r) {
			t.Fatal("a camera that nobody offered matches")
		}
		if do, _ := Decide(append(switches, Switch{}), Asker{ask.agency.Class, true, true}, r, now); do != Ignore {
			t.Fatalf("the zero switch lets %s through", do)
		}
		if do := Stays(switches, Asker{Class: ask.agency.Class}, r, 0); do != Ignore {
			t.Fatalf("nothing becomes %s", do)
		}
	})
}
