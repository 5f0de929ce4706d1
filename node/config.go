package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/porchlight-mesh/porchlight/consent/charter"
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
	Agency  AgencyConfig  `toml:"agency"`
	Observe ObserveConfig `toml:"observe"`
}

// HomeConfig is the [home] table.
type HomeConfig struct {
	Poll             Duration              `toml:"poll"`              // how often footage folders are looked through
	ClockUncertainty Duration              `toml:"clock_uncertainty"` // how far a camera's clock may be off
	AnswerDelay      Duration              `toml:"answer_delay"`      // an answer leaves after a random part of this
	HoldQuotaMB      int64                 `toml:"hold_quota_mb"`     // MB of recordings kept from roll-off for live requests
	ClassesOn        []charter.AgencyClass `toml:"classes_on"`        // agency classes that the charter leaves off and this home turns on
	ClassesOff       []charter.AgencyClass `toml:"classes_off"`       // agency classes that this home does not want to see
}

// AgencyConfig is the [agency] table.
type AgencyConfig struct {
	Reply        []string `toml:"reply"`          // addresses that requests name for answers, without /p2p/
	MaxReleaseMB int64    `toml:"max_release_mb"` // the largest sealed release accepted, MB
	VaultMB      int64    `toml:"vault_mb"`       // the most that the vault may hold, MB
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

# An answer leaves after a random part of this time, so that its moment tells less.
answer_delay = "5m"

# Recordings that a live request asks about are kept from roll-off, silently and on this disk
# only, up to this many MB.
hold_quota_mb = 20000

# Agency classes the charter leaves off and you want to see, for example ["federal"].
classes_on = []

# Agency classes you do not want to see at all.
classes_off = []
`

const agencyTable = `
[agency]
# The public addresses that requests name for answers, for example
# ["/ip4/203.0.113.5/tcp/4001", "/ip4/203.0.113.5/udp/4001/quic-v1"]. Empty: the addresses
# this node listens on.
reply = []

# The largest sealed release accepted, and the most the vault may hold, MB.
max_release_mb = 8000
vault_mb = 200000
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
	case Steward, Observe:
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
	for _, class := range append(c.Home.ClassesOn, c.Home.ClassesOff...) {
		if !class.Valid() {
			return Config{}, WithHint(fmt.Errorf("%s: %q is no class of agency", path, class), fmt.Sprintf("the classes are %v", charter.Classes()))
		}
	}
	if err := CheckHTTP(c.Observe.HTTP); err != nil {
		return Config{}, fmt.Errorf("%s: http: %w", path, err)
	}
	if c.Version != 1 {
		return Config{}, fmt.Errorf("%s: version is %d, this program reads version 1", path, c.Version)
	}
	return c, nil
}
