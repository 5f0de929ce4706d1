package simnet

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/simnet/attack"
)

// A Scenario is a neighbourhood, a timetable of what happens in it, and what must come of it: the content of a TOML
// file, whose keys are those of the struct tags below. Everything but Homes and Do may be left out.
//
//	about = "Fifty homes hear of a request."
//	homes = 50
//
//	[network]
//	min_latency = "20ms"
//	max_latency = "60ms"
//
//	[[do]]
//	at = "0s"
//	who = "police"
//	what = "asks"
//
//	[must]
//	reached = 1.0
//	p99 = "250ms"
type Scenario struct {
	Name     string  `toml:"-"`
	About    string  `toml:"about"`
	Homes    int     `toml:"homes"`
	Stewards int     `toml:"stewards"` // 5 if 0; for a model, as many as homes need
	Known    int     `toml:"known"`    // stewards that each home keeps, 4 if 0
	NAT      float64 `toml:"nat"`      // share of homes behind one
	// Of the stewards, how many are witnesses, and how many of these have to cosign a docket before a request in it is shown.
	Witnesses int    `toml:"witnesses"`
	Quorum    int    `toml:"quorum"`
	Seed      uint64 `toml:"seed"`
	Model     bool   `toml:"model"` // a graph model in place of whole nodes
	// Processing is what each node takes from a request's arrival to its forwarding. Only for a model: in virtual time
	// computing takes none.
	Processing Duration `toml:"processing"`
	Settle     Duration `toml:"settle"` // before the timetable begins, 1 min if 0
	Length     Duration `toml:"length"` // of the timetable, until 10 s after its last line if 0

	Network struct {
		MinLatency Duration `toml:"min_latency"`
		MaxLatency Duration `toml:"max_latency"`
		Jitter     Duration `toml:"jitter"`
		Loss       float64  `toml:"loss"` // share of packets
	} `toml:"network"`
	Attackers   AttackTable `toml:"attackers"`
	HomeLink    LinkTable   `toml:"home_link"`
	StewardLink LinkTable   `toml:"steward_link"` // the police's too
	Do          []Deed      `toml:"do"`
	Must        Must        `toml:"must"`
}

// AttackTable counts attackers besides the other nodes, by what they do: see package attack. They are stewards, whom homes
// choose among as among the others, but for those that say so.
type AttackTable struct {
	Silent      int `toml:"silent"`       // hand on nothing; tell sybils whom they see
	SilentHomes int `toml:"silent_homes"` // the same, as homes
	Junk        int `toml:"junk"`         // send a hundred changed copies in place of a request
	Forgers     int `toml:"forgers"`      // send a hundred forged messages a second, for a minute from the first they hear
	Turncoats   int `toml:"turncoats"`    // behave for two minutes
	Censors     int `toml:"censors"`      // hand on everything but requests
	SlowReaders int `toml:"slow_readers"` // as homes: ask for much and read nothing
	Sybils      int `toml:"sybils"`       // as homes: dial every address that any of them learns of, and hand on nothing
}

func (t *AttackTable) counts() map[string]*int {
	return map[string]*int{"silent": &t.Silent, "silent_homes": &t.SilentHomes, "junk": &t.Junk, "forgers": &t.Forgers, "turncoats": &t.Turncoats,
		"censors": &t.Censors, "slow_readers": &t.SlowReaders, "sybils": &t.Sybils}
}

// all lists the attackers of a scenario.
func (t AttackTable) all() (all []Attack) {
	ring, silent := &attack.Ring{}, attack.Silent
	if t.Sybils > 0 {
		silent = ring.Member(silent)
	}
	for _, row := range []struct {
		count int
		does  Attack
	}{
		{t.Silent, Attack{Does: silent}},
		{t.Junk, Attack{Does: attack.Junk}},
		{t.Forgers, Attack{Does: attack.Forger(100, time.Minute)}},
		{t.Turncoats, Attack{Does: attack.Turncoat(2 * time.Minute)}},
		{t.Censors, Attack{Does: attack.Censor(func(consent.AgencyID) bool { return true })}},
		{t.SilentHomes, Attack{Does: attack.Silent, Home: true}},
		{t.SlowReaders, Attack{Does: attack.SlowReader, Home: true}},
		{t.Sybils, Attack{Does: ring.Member(attack.Silent), Home: true}},
	} {
		all = append(all, slices.Repeat([]Attack{row.does}, row.count)...)
	}
	return all
}

// LinkTable is a kind of household's connection.
type LinkTable struct {
	Up     int      `toml:"up"`   // bit/s
	Down   int      `toml:"down"` // bit/s
	Delay  Duration `toml:"delay"`
	Jitter Duration `toml:"jitter"`
	Loss   float64  `toml:"loss"`
}

// A Deed is a line of the timetable. Who is "police", "mesh", or nodes by name and number as in "steward1-3, home7".
type Deed struct {
	At   Duration `toml:"at"` // after the world has settled
	Who  string   `toml:"who"`
	What string   `toml:"what"`

	nodes []string // whom Who names
}

// What people do.
const (
	asks       = "asks"            // police
	heals      = "heals"           // mesh
	splitsOff  = "splits off"      // nodes: they hear only one another until the mesh heals
	losesPower = "loses power"     // nodes
	hasPower   = "has power again" // nodes
)

// Must bounds what comes of every request of a scenario. A bound that is zero is none.
type Must struct {
	Reached float64  `toml:"reached"` // share of the homes that run at the end, at least
	P50     Duration `toml:"p50"`     // these are at most
	P99     Duration `toml:"p99"`
	Max     Duration `toml:"max"`
	Late    Duration `toml:"late"`   // for homes that were split off or without power, from when they no longer were
	Copies  float64  `toml:"copies"` // per home
	Bytes   float64  `toml:"bytes"`  // per home
}

// Duration is written as Go writes one: "250ms".
type Duration time.Duration

// UnmarshalText reads a duration. What is none becomes a negative one, which check refuses with its key and line.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		v = -1
	}
	*d = Duration(v)
	return nil
}

// ParseScenario reads a scenario file. Errors name the key, and the line where there is one.
func ParseScenario(name string, text []byte) (Scenario, error) {
	s := Scenario{Name: name}
	meta, err := toml.Decode(string(text), &s)
	var parse toml.ParseError
	switch unknown := meta.Undecoded(); {
	case errors.As(err, &parse):
		return s, fmt.Errorf("%s:%d: %s", name, parse.Position.Line, parse.Message)
	case err != nil:
		return s, fmt.Errorf("%s: %w", name, err)
	case len(unknown) > 0:
		return s, keyError(name, text, unknown[0], 0, "no such key")
	}
	return s, s.check(text)
}

func (s *Scenario) check(text []byte) error {
	wrong := func(key string, format string, args ...any) error {
		return keyError(s.Name, text, strings.Split(key, "."), 0, fmt.Sprintf(format, args...))
	}
	share := func(key string, v float64) error {
		if v < 0 || v > 1 {
			return wrong(key, "%v is not a share from 0 to 1", v)
		}
		return nil
	}
	const noDuration = "write a duration as in \"250ms\" or \"1m30s\", not negative"
	for key, d := range map[string]Duration{"settle": s.Settle, "processing": s.Processing, "length": s.Length, "network.min_latency": s.Network.MinLatency,
		"network.max_latency": s.Network.MaxLatency, "network.jitter": s.Network.Jitter, "home_link.delay": s.HomeLink.Delay,
		"home_link.jitter": s.HomeLink.Jitter, "steward_link.delay": s.StewardLink.Delay, "steward_link.jitter": s.StewardLink.Jitter, "must.p50": s.Must.P50, "must.p99": s.Must.P99, "must.max": s.Must.Max, "must.late": s.Must.Late} {
		if d < 0 {
			return wrong(key, noDuration)
		}
	}
	for i, d := range s.Do {
		if d.At < 0 {
			return keyError(s.Name, text, toml.Key{"do", "at"}, i, noDuration)
		}
	}
	most := maxHomes
	if s.Model {
		most = maxModelled
	}
	for kind, count := range s.Attackers.counts() {
		if *count < 0 || *count > most {
			return wrong("attackers."+kind, "%d is not a number of attackers from 0 to %d", *count, most)
		}
	}
	switch {
	case strings.TrimSpace(s.About) == "":
		return wrong("about", "a scenario says in a paragraph what it shows")
	case s.Homes < 1 || s.Homes > most:
		return wrong("homes", "%d is not a number of homes from 1 to %d", s.Homes, most)
	case s.Stewards < 0 || s.Stewards > most:
		return wrong("stewards", "%d is not a number of stewards from 1 to %d", s.Stewards, most)
	case s.Model && s.Attackers != AttackTable{}:
		return wrong("attackers", "the model has no attackers")
	case s.Model && s.Witnesses > 0:
		return wrong("witnesses", "the model has none")
	case s.Witnesses < 0 || s.Witnesses > min(cmp.Or(s.Stewards, 5), charter.MaxWitnesses):
		return wrong("witnesses", "%d of the stewards cannot be witnesses", s.Witnesses)
	case s.Quorum < 0 || s.Quorum > s.Witnesses:
		return wrong("quorum", "%d is not a number from 0 to as many as are witnesses", s.Quorum)
	case s.Known < 0 || s.Known > 8:
		return wrong("known", "a home keeps 1 to 8 stewards, not %d", s.Known)
	case s.Network.MaxLatency < s.Network.MinLatency:
		return wrong("network.max_latency", "less than min_latency")
	case len(s.Do) == 0:
		return wrong("do", "nobody does anything: there is no [[do]]")
	case s.HomeLink.Up < 0 || s.HomeLink.Down < 0 || s.StewardLink.Up < 0 || s.StewardLink.Down < 0:
		return wrong("home_link.up", "a speed is negative")
	}
	if err := errors.Join(share("nat", s.NAT), share("network.loss", s.Network.Loss), share("home_link.loss", s.HomeLink.Loss),
		share("steward_link.loss", s.StewardLink.Loss), share("must.reached", s.Must.Reached)); err != nil {
		return err
	}
	if s.Stewards == 0 && !s.Model {
		s.Stewards = 5
	}
	if s.Known == 0 {
		s.Known = 4
	}
	if s.Settle == 0 {
		s.Settle = Duration(time.Minute)
	}
	last := Duration(0)
	for i := range s.Do {
		d := &s.Do[i]
		if err := s.checkDeed(d); err != nil {
			return keyError(s.Name, text, toml.Key{"do"}, i, err.Error())
		}
		last = max(last, d.At)
	}
	if s.Length == 0 {
		s.Length = last + Duration(10*time.Second)
	}
	switch {
	case s.Length < last:
		return wrong("length", "the timetable has a line at %v, after its end", time.Duration(last))
	case (s.Must.Copies > 0 || s.Must.Bytes > 0) && !slices.ContainsFunc(s.Do, func(d Deed) bool { return d.What == asks && s.alone(d) }):
		return wrong("must", "copies and bytes are counted for requests that nothing else happens within %v of, and there is none", window)
	case !slices.ContainsFunc(s.Do, func(d Deed) bool { return d.What == asks }):
		return wrong("do", "the police never ask")
	case s.Model && (s.Network.Loss > 0 || s.Network.Jitter > 0 || s.HomeLink.Loss > 0 || s.StewardLink.Loss > 0 || s.HomeLink.Jitter > 0 || s.StewardLink.Jitter > 0):
		return wrong("model", "the model has neither loss nor jitter")
	case !s.Model && s.Processing > 0:
		return wrong("processing", "in virtual time computing takes none; only a model has this")
	case s.Model && len(s.Do) > 1:
		return wrong("model", "in the model one request is asked, and nothing else happens")
	}
	slices.SortStableFunc(s.Do, func(a, b Deed) int { return int(a.At - b.At) })
	return nil
}

// Limits: beyond the first a run of whole nodes does not fit a common machine, the second is a country.
const (
	maxHomes    = 5_000
	maxModelled = 10_000_000
)

// checkDeed resolves whom a line means.
func (s *Scenario) checkDeed(d *Deed) error {
	switch d.What {
	case asks, heals:
		if want := map[string]string{asks: "police", heals: "mesh"}[d.What]; d.Who != want {
			return fmt.Errorf("who = %q: only %q %s", d.Who, want, d.What)
		}
		return nil
	case splitsOff, losesPower, hasPower:
	default:
		return fmt.Errorf("what = %q: people do one of: %s (police), %s (mesh), %s, %s, %s (nodes)", d.What, asks, heals, splitsOff, losesPower, hasPower)
	}
	for part := range strings.SplitSeq(d.Who, ",") {
		part = strings.TrimSpace(part)
		kind := strings.TrimRight(part, "0123456789-")
		from, to, isRange := strings.Cut(part[len(kind):], "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		most, known := map[string]int{"home": s.Homes, "steward": s.Stewards}[kind]
		if !known || err1 != nil || err2 != nil || a < 1 || a > b || b > most {
			return fmt.Errorf("who = %q: %q is not among home1 to home%d and steward1 to steward%d", d.Who, part, s.Homes, s.Stewards)
		}
		for i := a; i <= b; i++ {
			d.nodes = append(d.nodes, kind+strconv.Itoa(i))
		}
	}
	return nil
}

// alone says whether a request's copies and bytes can be counted: nothing else happens meanwhile.
func (s *Scenario) alone(d Deed) bool {
	if d.At+Duration(window) > s.Length {
		return false
	}
	near := 0
	for _, o := range s.Do {
		if time.Duration(o.At-d.At).Abs() < window {
			near++
		}
	}
	return near == 1
}

// keyError is an error about the n-th occurrence of a key.
func keyError(name string, text []byte, key toml.Key, n int, what string) error {
	if line := lineOf(string(text), key, n); line > 0 {
		return fmt.Errorf("%s:%d: %s: %s", name, line, key, what)
	}
	return fmt.Errorf("%s: %s: %s", name, key, what)
}

// lineOf finds a key or a table's heading; 0 where it is written in another way than one to a line.
func lineOf(text string, key toml.Key, n int) int {
	table := ""
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		found := ""
		if strings.HasPrefix(line, "[") {
			found = strings.Trim(strings.TrimSpace(line), "[]")
			table = found + "."
		} else if k, _, ok := strings.Cut(line, "="); ok {
			found = table + strings.TrimSpace(k)
		}
		if found == key.String() {
			if n == 0 {
				return i + 1
			}
			n--
		}
	}
	return 0
}

//go:embed scenarios/*.toml
var shipped embed.FS

// Shipped lists the names of the scenarios that come with the program.
func Shipped() (names []string) {
	files, err := shipped.ReadDir("scenarios")
	if err != nil {
		panic(err) // they are part of the program
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".toml"))
	}
	return names
}

// ShippedScenario is the text of one of them.
func ShippedScenario(name string) ([]byte, error) {
	return shipped.ReadFile(path.Join("scenarios", name+".toml"))
}
