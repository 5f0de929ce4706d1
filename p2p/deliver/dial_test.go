package deliver

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// over delivers a small film to the addresses and says which transport carried it.
func over(t *testing.T, h *host.Host, timing Timing, addrs ...string) (string, error) {
	t.Helper()
	cfg := sendConfig(h, "tcp")
	cfg.Addrs, cfg.Timing = addrs, timing
	hooks := trusting()
	var carrier string
	hooks.Accepted = func([]byte) error {
		for _, p := range h.Peers() {
			carrier += p.Addr
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := Send(ctx, cfg, Offer{Grant: []byte("g"), Releases: []Release{newFilm(t, 3<<20).release()}}, hooks)
	return carrier, err
}

// silent is a TCP address where connections open and nobody ever speaks.
func silent(t *testing.T, h *host.Host) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "/ip4/127.0.0.1/tcp/" + port + "/p2p/" + h.ID()
}

// However the addresses stand in the request, TCP comes first while it answers.
func TestTCPComesFirst(t *testing.T) {
	h := requester(t, newVault(newFilm(t, 3<<20)), Limits{})
	addrs := h.Addrs()
	for range 2 {
		slices.Reverse(addrs)
		carrier, err := over(t, h, Timing{HeadStart: time.Hour}, addrs...)
		if err != nil || !strings.Contains(carrier, "/tcp/") || strings.Contains(carrier, "quic") {
			t.Errorf("%q over %s: %v", addrs, carrier, err)
		}
	}
}

// Where TCP is refused, or swallowed, QUIC carries the delivery long before a dial gives up.
func TestQUICWhereTCPDoesNotAnswer(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) {
		for name, dead := range map[string]func(*testing.T, *host.Host) string{
			"refused":   func(_ *testing.T, h *host.Host) string { return "/ip4/127.0.0.1/tcp/1/p2p/" + h.ID() },
			"swallowed": silent,
		} {
			h := requester(t, newVault(newFilm(t, 3<<20)), Limits{})
			carrier, err := over(t, h, Timing{Dial: time.Hour}, dead(t, h), one(h, "quic-v1")[0])
			if err != nil || !strings.Contains(carrier, "quic-v1") {
				t.Errorf("%s: over %s: %v", name, carrier, err)
			}
		}
	})
}

// A requester that answers on an address and has no deliveries there is not the last word.
func TestNextAddressAfterADeafOne(t *testing.T) {
	h := requester(t, newVault(newFilm(t, 3<<20)), Limits{})
	deaf := requester(t, newVault(), Limits{})
	deaf.Libp2p().RemoveStreamHandler(Protocol)
	if carrier, err := over(t, h, Timing{}, one(deaf, "tcp")[0], one(h, "quic-v1")[0]); err != nil || !strings.Contains(carrier, "quic-v1") {
		t.Errorf("over %s: %v", carrier, err)
	}
}

// Nothing but the given addresses is dialled, and each of them is named when none answers.
func TestNoAddressAnswers(t *testing.T) {
	h := requester(t, newVault(newFilm(t, 3<<20)), Limits{})
	refused, mute := "/ip4/127.0.0.1/tcp/1/p2p/"+h.ID(), silent(t, h)
	_, err := over(t, h, Timing{Dial: time.Second, HeadStart: time.Millisecond}, refused, mute)
	if err == nil || !strings.Contains(err.Error(), refused) || !strings.Contains(err.Error(), mute) {
		t.Errorf("error %v", err)
	}
	if n := len(h.Peers()); n != 0 {
		t.Errorf("the requester has %d peers", n)
	}
}
