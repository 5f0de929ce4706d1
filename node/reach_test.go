package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Each state of a steward has its word, and all but the good one have a way out that names the ports.
func TestReachInWords(t *testing.T) {
	ports := []string{"tcp 4001", "udp 4001"}
	for want, r := range map[Reachability]host.Reach{
		LocalOnly:   {Ports: ports},
		NotKnown:    {Asked: true, No: []string{"a"}, Unknown: []string{"b"}, Ports: ports},
		Unreachable: {Asked: true, No: []string{"a", "b"}, Ports: ports},
		Reachable:   {Asked: true, Yes: []string{"a"}, Ports: ports},
	} {
		s := judgeReach(r)
		if s.State != want || s.Yes == nil || s.No == nil || s.Unknown == nil {
			t.Errorf("%+v: %+v", r, s)
		}
		if (s.WayOut == "") != (want == Reachable) || want != LocalOnly && want != Reachable && !strings.Contains(s.WayOut, "tcp 4001 and udp 4001") {
			t.Errorf("%s: way out %q", want, s.WayOut)
		}
	}
	if s := judgeReach(host.Reach{Asked: true, Ports: ports}); s.State != NotKnown {
		t.Errorf("nothing known yet: %+v", s)
	}
	if s := judgeReach(host.Reach{Asked: true, Yes: []string{"a"}, No: []string{"b"}, Ports: ports}); s.State != Reachable || s.WayOut == "" {
		t.Errorf("half of it: %+v", s)
	}
}

// A node that does not run lists the stewards of its settings, and which of them an invitation brought.
func TestWhyAStewardIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	const mine, invited = "/ip4/203.0.113.5/tcp/4001/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5", "/ip4/203.0.113.6/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
	config := strings.Replace(DefaultConfig(Home), "stewards = []", `stewards = ["`+mine+`", "`+invited+`"]`, 1)
	if err := Create(dir, Home); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := must(OpenPeer(dir, Options{}))
	defer p.Close()
	for range 2 {
		if err := RememberInvited(p.State, []string{invited}); err != nil {
			t.Fatal(err)
		}
	}
	var why []string
	for _, s := range p.stewardStatus() {
		why = append(why, s.Why+" "+strings.Join(s.Addrs, " "))
	}
	if want := []string{ByConfig + " " + mine, ByInvitation + " " + invited}; !slices.Equal(why, want) {
		t.Errorf("%q, want %q", why, want)
	}
	if p.reachStatus() != nil {
		t.Error("a home says how it is reached")
	}
}

// An address to announce that nobody could dial is named where the settings are read.
func TestAnnounceIsChecked(t *testing.T) {
	for addr, good := range map[string]bool{
		"/ip4/203.0.113.5/tcp/4001": true, "/ip6/2001:db8::1/udp/4001/quic-v1": true, "/dns4/steward.example.org/tcp/4001": true,
		"203.0.113.5:4001": false, "/ip4/203.0.113.5": false, "/ip4/0.0.0.0/tcp/4001": false, "/ip4/203.0.113.5/tcp/0": false,
		"/ip4/203.0.113.5/tcp/4001/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5": false,
	} {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(path, []byte("version = 1\n[steward]\nannounce = [\""+addr+"\"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := ReadConfig(path, Steward)
		if (err == nil) != good || err != nil && (HintOf(err) == "" || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v", addr, err)
		}
		if good && !c.Steward.MapPort {
			t.Error("the port is not mapped by default")
		}
	}
}
