package host

import (
	"context"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"
)

// Only a steward maps ports, has itself dialled back, and learns how others see it, and only where there is an outside.
// In every other role the option is not even looked at.
func TestOnlyAStewardLooksOutside(t *testing.T) {
	open := []string{"/ip4/0.0.0.0/tcp/0", "/ip4/127.0.0.1/tcp/0"}
	for _, c := range []struct {
		what     string
		cfg      Config
		outside  bool
		portable bool
	}{
		{"a home", Config{Role: Home, Listen: open, MapPort: true}, false, false},
		{"an observer", Config{Role: Observer, Listen: open, MapPort: true}, false, false},
		{"a requester", Config{Role: Requester, Listen: open, MapPort: true}, false, false},
		{"a steward", Config{Role: Steward, Listen: open, MapPort: true}, true, true},
		{"a steward whose router is left alone", Config{Role: Steward, Listen: open}, true, false},
		{"a steward on loopback", Config{Role: Steward, Listen: loopback, MapPort: true}, false, false},
		{"a steward that listens nowhere", Config{Role: Steward, MapPort: true}, false, false},
		{"a steward in virtual time", Config{Role: Steward, Listen: open, MapPort: true, Network: Network{ListenUDP: func(string, *net.UDPAddr) (net.PacketConn, error) { return nil, net.ErrClosed }}}, false, false},
	} {
		c.cfg.Key = newKey(t)
		h := &Host{cfg: c.cfg, log: c.cfg.Log, gate: newGate()}
		opts, undo, err := h.options()
		if err != nil {
			t.Fatal(err)
		}
		var got libp2p.Config
		if err := got.Apply(opts...); err != nil {
			t.Fatal(err)
		}
		undo()
		if got.EnableAutoNATv2 != c.outside || got.DisableIdentifyAddressDiscovery == c.outside {
			t.Errorf("%s: AutoNAT %v, learns its addresses %v; want %v", c.what, got.EnableAutoNATv2, !got.DisableIdentifyAddressDiscovery, c.outside)
		}
		if (got.NATManager != nil) != c.portable {
			t.Errorf("%s: maps a port: %v", c.what, got.NATManager != nil)
		}
		if got.EnableHolePunching || got.Relay || got.EnableRelayService || got.EnableAutoRelay || got.AutoNATConfig.EnableService || got.Routing != nil {
			t.Errorf("%s: does what no host does", c.what)
		}
	}
}

// What a running home offers to whoever connects: nothing that a host of its own protocols has not put there.
func TestAHomeOffersNothingOfItsOwn(t *testing.T) {
	defer goleak.VerifyNone(t)
	for role, autonat := range map[Role]bool{Home: false, Observer: false, Requester: false, Steward: true} {
		h := start(t, Config{Role: role, Listen: []string{"/ip4/0.0.0.0/tcp/0"}})
		offers := slices.DeleteFunc(h.h.Mux().Protocols(), func(p protocol.ID) bool { return strings.HasPrefix(string(p), "/ipfs/id/") })
		if has := slices.ContainsFunc(offers, func(p protocol.ID) bool { return strings.Contains(string(p), "/autonat/") }); has != autonat || !autonat && len(offers) > 0 {
			t.Errorf("role %d offers %v", role, offers)
		}
		if r := h.Reachable(); r.Asked != autonat || len(r.Ports) != 1 || !strings.HasPrefix(r.Ports[0], "tcp ") || r.Ports[0] == "tcp 0" {
			t.Errorf("role %d: %+v", role, r)
		}
		h.Close()
	}
}

// What other stewards found out is told, and each change of it.
func TestReachIsTold(t *testing.T) {
	defer goleak.VerifyNone(t)
	h := start(t, Config{Role: Steward, Listen: loopback})
	defer h.Close()
	told := make(chan struct{}, 8)
	h.OnReach(func() { told <- struct{}{} })
	e, err := h.h.EventBus().Emitter(new(event.EvtHostReachableAddrsChanged))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	open, shut := ma.StringCast("/ip4/203.0.113.7/tcp/4001"), ma.StringCast("/ip4/203.0.113.7/udp/4001/quic-v1")
	if err := e.Emit(event.EvtHostReachableAddrsChanged{Reachable: []ma.Multiaddr{open}, Unreachable: []ma.Multiaddr{shut}}); err != nil {
		t.Fatal(err)
	}
	<-told
	r := h.Reachable()
	if end := "/p2p/" + h.ID(); !slices.Equal(r.Yes, []string{open.String() + end}) || !slices.Equal(r.No, []string{shut.String() + end}) || len(r.Unknown) > 0 || len(r.Ports) != 2 {
		t.Errorf("%+v", r)
	}
}

// A host says how it gets on with those it keeps.
func TestKept(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := start(t, Config{Role: Steward, Listen: loopback})
	defer s.Close()
	gone := "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
	h := start(t, Config{Stewards: s.Addrs()[:1], Cached: []string{gone}})
	defer h.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	var kept []Kept
	eventually(t, "one is connected and the other failed", func() bool {
		kept = h.Kept()
		return len(kept) == 2 && !kept[0].Since.IsZero() && kept[1].Failed != nil
	})
	if k := kept[0]; k.ID != s.ID() || !k.Named || k.LAN || k.Failed != nil || !slices.Equal(k.Addrs, s.Addrs()[:1]) {
		t.Errorf("the steward: %+v", k)
	}
	if k := kept[1]; k.Named || k.LAN || !k.Since.IsZero() || k.At.IsZero() || k.Next.IsZero() || !slices.Equal(k.Addrs, []string{gone}) {
		t.Errorf("the cached one: %+v", k)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}

// A steward at a public address finds out from others that it can be reached there, and forty homes behind one address
// connect to it. It takes a network of its own, which this test asks the kernel for.
func TestStewardsDialEachOtherBack(t *testing.T) {
	if os.Getenv("PORCHLIGHT_OWN_NETWORK") == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("unshare", "-rn", "sh", "-c", `set -e
			ip link set lo up; for a in 8.1.1.1 8.2.2.2; do ip addr add $a/32 dev lo; done
			exec "$0" -test.run '^TestStewardsDialEachOtherBack$' -test.v -test.timeout 2m`, self)
		cmd.Env = append(os.Environ(), "PORCHLIGHT_OWN_NETWORK=1")
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), "=== RUN") {
			t.Skipf("no network of its own: %v %s", err, out)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	a := start(t, Config{Role: Steward, Listen: []string{"/ip4/8.1.1.1/tcp/4001"}})
	defer a.Close()
	for _, port := range []string{"4001", "4002", "4003", "4004"} { // each is asked once in two minutes, and several have to agree
		b := start(t, Config{Role: Steward, Listen: []string{"/ip4/8.2.2.2/tcp/" + port}})
		defer b.Close()
		if err := a.Connect(t.Context(), b.Addrs()[0]); err != nil {
			t.Fatal(err)
		}
	}
	for began := time.Now(); len(a.Reachable().Yes) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 90*time.Second {
			t.Fatalf("never found out: %+v", a.Reachable())
		}
	}
	t.Logf("%+v", a.Reachable())
	street := map[string]int{}
	for i := range 40 {
		h := start(t, Config{})
		defer h.Close()
		if err := h.Connect(t.Context(), a.Addrs()[0]); err != nil {
			t.Fatalf("home %d: %v", i, err)
		}
	}
	eventually(t, "forty homes are connected from one address", func() bool {
		clear(street)
		for _, p := range a.Peers() {
			ip, _, _ := strings.Cut(strings.TrimPrefix(p.Addr, "/ip4/"), "/")
			street[ip]++
		}
		return slices.Contains(slices.Collect(maps.Values(street)), 40)
	})
	t.Logf("connections by address: %v", street)
}

// A steward that moved is dialled where it is now, and nobody else is for that.
func TestMoved(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := start(t, Config{Role: Steward, Listen: loopback})
	defer s.Close()
	h := start(t, Config{Stewards: []string{"/ip4/127.0.0.1/tcp/1/p2p/" + s.ID()}})
	defer h.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	eventually(t, "it is not where it was", func() bool { return h.Kept()[0].Failed != nil })
	if h.Moved([]string{"/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5", "rotten", "/p2p/" + s.ID()}) {
		t.Error("somebody else is dialled")
	}
	if !h.Moved(s.Addrs()) || h.Moved(s.Addrs()) {
		t.Error("the new addresses are not new once")
	}
	eventually(t, "it is found", func() bool { return !h.Kept()[0].Since.IsZero() })
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}
