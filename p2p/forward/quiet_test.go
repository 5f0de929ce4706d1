package forward

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// Who shakes hands with a steward and then says nothing, or half of a document, is not waited for: it has used up none of what a
// neighbour may have by then.
func TestAStewardWaitsForNobody(t *testing.T) {
	for name, say := range map[string]func(s network.MuxedStream, sealed func([]byte)){
		"nothing":             func(network.MuxedStream, func([]byte)) {},
		"a kind":              func(s network.MuxedStream, _ func([]byte)) { s.Write([]byte{kindOpen}) },
		"a handshake":         func(_ network.MuxedStream, sealed func([]byte)) { sealed(nil) },
		"half of a header":    func(_ network.MuxedStream, sealed func([]byte)) { sealed([]byte{0, 9, 'p'}) },
		"half of a document":  func(_ network.MuxedStream, sealed func([]byte)) { sealed([]byte("\x00\x04post\x00\x00\x00\x09x")) },
		"a document's length": func(s network.MuxedStream, _ func([]byte)) { s.Write([]byte("\x00\x00\x04post\x00\x00")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := wire.New(wire.Conditions{})
				start := func(role host.Role) *host.Host {
					_, key, _ := ed25519.GenerateKey(rand.Reader)
					l := n.Join(fmt.Sprint(role), wire.LinkConfig{})
					h, err := host.New(host.Config{Key: key, Role: role, Network: l.Network(), Listen: []string{fmt.Sprintf("/ip4/%s/udp/4001/quic-v1", l.IP())}})
					if err != nil {
						t.Fatal(err)
					}
					return h
				}
				steward, stranger := start(host.Steward), start(host.Home)
				stop, err := Serve(steward, Steward{Asks: func(string) bool { return false }, Post: func(context.Context, []byte) error { return nil }})
				if err != nil {
					t.Fatal(err)
				}
				if err := stranger.Connect(t.Context(), steward.Addrs()[0]); err != nil {
					t.Fatal(err)
				}
				st, err := stranger.Libp2p().NewStream(t.Context(), steward.Libp2p().ID(), Protocol)
				if err != nil {
					t.Fatal(err)
				}
				say(st, func(b []byte) {
					st.Write([]byte{kindSealed})
					_, throwaway, _ := ed25519.GenerateKey(rand.Reader)
					s, err := secureOut(t.Context(), hopPrologue, netConn{st}, throwaway, steward.Libp2p().ID())
					if err != nil {
						t.Fatal(err)
					}
					s.Write(b)
				})
				time.Sleep(2 * setUp)
				open := 0
				for _, c := range steward.Libp2p().Network().Conns() {
					for _, s := range c.GetStreams() {
						if s.Protocol() == Protocol {
							open++
						}
					}
				}
				if open > 0 {
					t.Error("the steward still waits")
				}
				st.Reset()
				stop()
				stranger.Close()
				steward.Close()
				n.Close()
				time.Sleep(time.Minute)
			})
		})
	}
}
