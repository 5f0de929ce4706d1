package observer

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Dockets are served where the settings or the command line say so, by nobody who was not told to, and never from
// a simulated network.
func TestWhoServesDockets(t *testing.T) {
	simulated := host.Network{ListenUDP: func(string, *net.UDPAddr) (net.PacketConn, error) { return nil, errors.New("not now") }}
	for _, tc := range []struct {
		what, config, flag string
		network            host.Network
		serves             bool
	}{
		{what: "by default"},
		{what: "by its settings", config: "127.0.0.1:0", serves: true},
		{what: "by the command line", flag: "127.0.0.1:0", serves: true},
		{what: "in a simulated network", config: "127.0.0.1:0", network: simulated},
	} {
		for _, role := range []node.Role{node.Observe, node.Steward} {
			dir := filepath.Join(t.TempDir(), string(role))
			if err := node.Create(dir, role); err != nil {
				t.Fatal(err)
			}
			config := strings.Replace(node.DefaultConfig(role), `http = ""`, `http = "`+tc.config+`"`, 1)
			if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			o, err := Open(t.Context(), dir, node.Options{Network: tc.network})
			if err != nil {
				t.Fatal(err)
			}
			if tc.flag != "" {
				o.HTTP = tc.flag
			}
			l, err := o.listen()
			if err != nil || (l != nil) != tc.serves {
				t.Errorf("%s %s: %v, %v", role, tc.what, l, err)
			}
			if l != nil && o.url != "http://"+l.Addr().String()+"/" {
				t.Errorf("%s %s says %q of %s", role, tc.what, o.url, l.Addr())
			}
			if l != nil {
				err = l.Close()
			}
			if err := errors.Join(err, o.Close()); err != nil {
				t.Error(err)
			}
		}
	}
}

// An address that is none is named where the settings are read, with the way out.
func TestAnAddressThatIsNone(t *testing.T) {
	for _, addr := range []string{"8080", ":8080", "localhost:8080", "127.0.0.1", "http://127.0.0.1:80", "127.0.0.1:99999", " "} {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(path, []byte("version = 1\n[observe]\nhttp = \""+addr+"\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := node.ReadConfig(path, node.Observe); err == nil || !strings.Contains(err.Error(), path) || node.HintOf(err) == "" {
			t.Errorf("%q: %v", addr, err)
		}
	}
}
