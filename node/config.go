package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/consent/rules"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Role says what a node is for. It is fixed when its folder is made.
type Role string

// The four roles.
const (
	Home    Role = "home"
	Agency  Role = "agency"
	Steward Role = "steward"
	Observe Role = "observe"
)

// ParseRole returns the role of that name.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case Home, Agency, Steward, Observe:
		return r, nil
	}
	return "", fmt.Errorf("role %q: must be home, agency, steward or observe", s)
}

// Config is config.toml, the settings a person edits. What the node learns or is told by
// command (cameras, peers, decisions) is kept elsewhere.
type Config struct {
	Version  int      `toml:"version"`
	Listen   []string `toml:"listen"`   // libp2p multiaddrs to listen on
	MDNS     bool     `toml:"mdns"`     // find and be found by nodes on the same LAN
	Stewards []string `toml:"stewards"` // full multiaddrs with /p2p/
	CatchUp  Duration `toml:"catch_up"` // how often dockets are compared with one peer

	Home    HomeConfig    `toml:"home"`
	Steward StewardConfig `toml:"steward"`
	Agency  AgencyConfig  `toml:"agency"`
	Observe ObserveConfig `toml:"observe"`
}

// HomeConfig is the [home] table.
type HomeConfig struct {
	Poll             Duration              `toml:"poll"`              // how often footage folders are looked through
	ClockUncertainty Duration              `toml:"clock_uncertainty"` // how far a camera's clock may be off
	AnswerDelay      Duration              `toml:"answer_delay"`      // an answer leaves after a random part of this
	HoldQuotaMB      int64                 `toml:"hold_quota_mb"`     // MB of recordings kept from roll-off for live requests
	Zone             Zone                  `toml:"zone"`              // of quiet hours
	ClassesOn        []charter.AgencyClass `toml:"classes_on"`        // agency classes that the charter leaves off and this home turns on
	ClassesOff       []charter.AgencyClass `toml:"classes_off"`       // agency classes that this home does not want to see
	OffencesOff      []request.Offence     `toml:"offences_off"`      // and offences
	BasesOff         []request.Basis       `toml:"bases_off"`         // and bases
	MaxRetentionDays int                   `toml:"max_retention_days"`
	Switches         []rules.Switch        `toml:"switch"`
}

// Strictness is what the owner does not want to see.
func (c HomeConfig) Strictness() rules.Strictness {
	return rules.Strictness{ClassesOn: c.ClassesOn, ClassesOff: c.ClassesOff, OffencesOff: c.OffencesOff, BasesOff: c.BasesOff, MaxRetentionDays: c.MaxRetentionDays}
}

// Zone is the owner's time zone; the zero value is that of the clock.
type Zone struct{ loc *time.Location }

// UnmarshalText reads an IANA name.
func (z *Zone) UnmarshalText(b []byte) (err error) {
	if z.loc = nil; len(b) == 0 {
		return nil
	}
	z.loc, err = time.LoadLocation(string(b))
	if err != nil {
		err = fmt.Errorf("time zone %.40q is not known: write an IANA name, as in Europe/London", b)
	}
	return err
}

// In is a moment as the owner's clock shows it.
func (z Zone) In(t time.Time) time.Time {
	if z.loc == nil {
		return t
	}
	return t.In(z.loc)
}

// AgencyConfig is the [agency] table.
type AgencyConfig struct {
	Reply        []string `toml:"reply"`          // addresses that requests name for answers, without /p2p/
	MaxReleaseMB int64    `toml:"max_release_mb"` // the largest sealed release accepted, MB
	VaultMB      int64    `toml:"vault_mb"`       // the most that the vault may hold, MB
	AskViewOnly  bool     `toml:"ask_view_only"`  // an officer decides about clips that may only be looked at
	AskBelowDays int      `toml:"ask_below_days"` // an officer decides about clips that may be kept for fewer days
}

// StewardConfig is the [steward] table.
type StewardConfig struct {
	Announce []string `toml:"announce"` // addresses told to others instead of listen's, without /p2p/
	MapPort  bool     `toml:"map_port"` // ask the router to pass the ports on (UPnP, NAT-PMP)
}

// check refuses an address that nobody could dial.
func (c StewardConfig) check() error {
	for _, s := range c.Announce {
		if err := host.CheckAnnounce(s); err != nil {
			return WithHint(fmt.Errorf("steward.announce: %w", err), `write it as in "/ip4/203.0.113.5/tcp/4001" or "/ip4/203.0.113.5/udp/4001/quic-v1", without /p2p/`)
		}
	}
	return nil
}

// ObserveConfig is the [observe] table, of observers and stewards.
type ObserveConfig struct {
	HTTP string `toml:"http"` // IP address and port to serve dockets on as static tiles; empty: they are not served
}

// Duration is a time.Duration written as in "90s" or "2m".
type Duration time.Duration

// UnmarshalText reads a Go duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err == nil && v < 0 {
		err = errors.New("must not be negative")
	}
	*d = Duration(v)
	return err
}

const configHead = `# Porchlight: settings of this %s. Unknown keys are errors. Restart the node after a change.
version = 1

# Where to listen (libp2p multiaddrs). Port 0 lets the system choose one.
listen = [%s]

# Find and be found by nodes on the same local network.
mdns = true

# Stewards this node keeps in touch with, as multiaddrs that end in /p2p/ID. An invitation
# brings the first ones; add the ones you trust here.
stewards = []

# How often dockets are compared with one peer, to catch up on what was missed.
catch_up = "3m"
`

const homeTable = `
[home]
# How often the camera folders are looked through.
poll = "10s"

# How far the cameras' clocks may be off; a request's time window is widened by it.
clock_uncertainty = "30s"

# An answer leaves after a random part of this time, so that its moment tells less. What your
# switches prepare is prepared after one, too.
answer_delay = "5m"

# Recordings that a live request asks about are kept from roll-off, silently and on this disk
# only, up to this many MB.
hold_quota_mb = 20000

# Agency classes the charter leaves off and you want to see, for example ["federal"].
classes_on = []

# Agency classes you do not want to see at all, offences (` + "`porchlight agency request offences`" + ` lists the
# codes) and bases, for example ["90E"] and ["voluntary-information"].
classes_off = []
offences_off = []
bases_off = []

# Do not show requests that would keep footage for longer than this, days. 0: as the charter says.
max_retention_days = 0

# The time zone of quiet hours, for example "Europe/London". Empty: this machine's.
zone = ""

# What is done with the requests that are left. Each [[home.switch]] names classes, offences and
# bases (left out: all of them) and perhaps quiet hours, and says what to do. With breaches = true it is
# only about agencies of which owners showed that they break what they signed, such as a deletion.
#   ignore   as if the request had not come; nothing is kept
#   hold     keep the footage from roll-off, silently
#   tell     and tell me; so does a request that no switch is about
#   prepare  and make the clips I would send, for my approval
# Of several that are about a request the one that does least counts. A request that quiet hours
# held is told when they end; an agency's emergency is told at any hour unless it is ignored.
# Nothing leaves without ` + "`porchlight home approve`" + `. ` + "`porchlight home rules test`" + ` shows what the
# table would have done with past requests.
#
# [[home.switch]]
# quiet = "22:00-07:00"
# do = "hold"
#
# [[home.switch]]
# class = ["federal", "immigration"]
# offence = ["23C", "90E"]
# basis = ["voluntary-information"]
# do = "ignore"
#
# [[home.switch]]
# breaches = true
# do = "ignore"
`

const agencyTable = `
[agency]
# The public addresses that requests name for answers, for example
# ["/ip4/203.0.113.5/tcp/4001", "/ip4/203.0.113.5/udp/4001/quic-v1"]. Behind a router that
# passes nothing on, name a steward of yours instead, which brings the answers:
# ["/ip4/198.51.100.7/tcp/4001/p2p/12D3KooW…/p2p-circuit"]. Empty: the addresses this node
# listens on.
reply = []

# The largest sealed release accepted, and the most the vault may hold, MB.
max_release_mb = 8000
vault_mb = 200000

# Terms as they were offered are accepted by the node. Of the tighter ones that owners may grant, an officer decides
# (porchlight agency accept) about clips that may only be looked at in the vault, and about those that may be kept
# for fewer days than this.
ask_view_only = false
ask_below_days = 0
`

const stewardTable = `
[steward]
# Ask the router to pass the ports of listen on to this machine (UPnP or NAT-PMP), where it is one that
# does so when asked.
map_port = true

# The addresses that others reach this steward at, where they are not those it listens on: behind a router
# that was told by hand, for example ["/ip4/203.0.113.5/tcp/4001", "/ip4/203.0.113.5/udp/4001/quic-v1"].
# Empty: those it listens on, and those that the router or other peers name.
announce = []
`

const observeTable = `
[observe]
# An address to serve dockets on as static tiles, for monitors and anybody's browser, as in
# "127.0.0.1:8080" ("0.0.0.0:8080": on all addresses of this machine). What is served is public
# and read-only. Empty: not served.
http = ""
`

// DefaultConfig is the text of config.toml for a new node of that role.
func DefaultConfig(role Role) string {
	listen := `"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0"`
	if role == Steward || role == Agency {
		listen = strings.ReplaceAll(strings.ReplaceAll(listen, "udp/0", "udp/4001"), "tcp/0", "tcp/4001")
	}
	text := fmt.Sprintf(configHead, role, listen)
	switch role {
	case Home:
		text += homeTable
	case Agency:
		text += agencyTable
	case Steward:
		text += stewardTable + observeTable
	case Observe:
		text += observeTable
	}
	return text
}

// CheckHTTP refuses what is no address to serve dockets on; "" serves none.
func CheckHTTP(addr string) error {
	if addr == "" {
		return nil
	}
	if _, err := netip.ParseAddrPort(addr); err != nil {
		return WithHint(fmt.Errorf("%q is no IP address with a port", addr), "write it as in 127.0.0.1:8080; 0.0.0.0:8080 stands for all addresses of this machine")
	}
	return nil
}

// ReadConfig reads config.toml. A key that Porchlight does not know is an error that names it.
func ReadConfig(path string, role Role) (Config, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(DefaultConfig(role)), nil
	}
	if err != nil {
		return Config{}, err
	}
	// Every key has its default from the commented text, so a shorter file works too.
	var c Config
	if _, err := toml.Decode(DefaultConfig(role), &c); err != nil {
		return Config{}, err
	}
	meta, err := toml.Decode(string(text), &c)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	if u := meta.Undecoded(); len(u) > 0 {
		return Config{}, WithHint(fmt.Errorf("%s: unknown key %q", path, u[0].String()), "correct its spelling or remove the line")
	}
	done := 0
	for _, k := range meta.Keys() {
		if k.String() == "home.switch.do" {
			done++
		}
	}
	if err := c.Steward.check(); err != nil {
		return Config{}, WithHint(fmt.Errorf("%s: %w", path, err), HintOf(err))
	}
	if err := CheckHTTP(c.Observe.HTTP); err != nil {
		return Config{}, fmt.Errorf("%s: http: %w", path, err)
	}
	if done < len(c.Home.Switches) {
		return Config{}, WithHint(fmt.Errorf("%s: a [[home.switch]] does not say what to do", path), `give it do = "ignore", "hold", "tell" or "prepare"`)
	}
	if err := c.Home.check(); err != nil {
		return Config{}, WithHint(fmt.Errorf("%s: %w", path, err), HintOf(err))
	}
	if c.Version != 1 {
		return Config{}, fmt.Errorf("%s: version is %d, this program reads version 1", path, c.Version)
	}
	return c, nil
}

// check refuses what is not on a closed list: a name that is misspelt would turn nothing off.
func (c HomeConfig) check() error {
	if c.MaxRetentionDays < 0 {
		return WithHint(fmt.Errorf("home.max_retention_days is %d", c.MaxRetentionDays), "give a number of days, or 0 for what the charter allows")
	}
	errs := []error{onList("home.classes_on", c.ClassesOn, charter.Classes()), onList("home.classes_off", c.ClassesOff, charter.Classes()),
		onList("home.offences_off", c.OffencesOff, request.Offences()), onList("home.bases_off", c.BasesOff, request.Bases())}
	for i, s := range c.Switches {
		key := fmt.Sprintf("[[home.switch]] %d, ", i+1)
		errs = append(errs, onList(key+"class", s.Classes, charter.Classes()), onList(key+"offence", s.Offences, request.Offences()),
			onList(key+"basis", s.Bases, request.Bases()))
	}
	return cmp.Or(errs...)
}

func onList[T ~string](key string, got, all []T) error {
	for _, v := range got {
		if !slices.Contains(all, v) {
			return WithHint(fmt.Errorf("%s: %q is not on the list", key, v), fmt.Sprintf("the list is %v", all))
		}
	}
	return nil
}
