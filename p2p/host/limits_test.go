package host

import (
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// A street behind one carrier's address comes in, whole; nobody takes all places from one address, one IPv6 site, or one
// provider's block of sites; and whoever comes from elsewhere finds room beside those who tried.
func TestConnectionsByAddress(t *testing.T) {
	for role, c := range map[Role]struct{ one, block int }{Steward: {192, 384}, Requester: {64, 128}, Home: {16, 32}} {
		for name, from := range map[string]struct {
			addr  func(i int) string
			most  int
			other string
		}{
			"one IPv4 address": {func(int) string { return "/ip4/203.0.113.7/udp/%d/quic-v1" }, c.one, "/ip4/203.0.113.8/udp/1/quic-v1"},
			"one IPv6 site":    {func(i int) string { return fmt.Sprintf("/ip6/2001:db8:0:7%02x::1/tcp/%%d", i%256) }, c.one, "/ip6/2001:db8:0:800::1/tcp/1"},
			"one IPv6 block":   {func(i int) string { return fmt.Sprintf("/ip6/2001:db8:0:%x00::1/tcp/%%d", i%256) }, c.block, "/ip6/2001:db8:1::1/tcp/1"},
		} {
			t.Run(fmt.Sprint(role, " ", name), func(t *testing.T) {
				rm, err := resources(role, false)
				if err != nil {
					t.Fatal(err)
				}
				defer rm.Close()
				open := func(i int, addr string) error {
					scope, err := rm.OpenConnection(network.DirInbound, false, ma.StringCast(addr))
					if err != nil {
						return err
					}
					t.Cleanup(scope.Done)
					return scope.SetPeer(fakeID(i))
				}
				got := 0
				for i := range 2*c.block + 64 {
					if open(i, fmt.Sprintf(from.addr(i), 1000+i)) == nil {
						got++
					}
				}
				if got != from.most {
					t.Errorf("%d connections, want %d", got, from.most)
				}
				if err := open(-1, from.other); err != nil {
					t.Errorf("nobody else comes in: %v", err)
				}
			})
		}
	}
}
