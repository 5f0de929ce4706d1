package simnet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"

	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// A silentSteward is an attacker whom homes and stewards list like any other: it takes connections and joins the topic,
// so that its neighbours count on it, and then hands on nothing and answers nobody who wants to catch up.
type silentSteward struct {
	addr  string
	start func(others []string)
	stop  func()
}

func (w *World) silentSteward(name string, link wire.LinkConfig) *silentSteward {
	l := w.Join(name, link)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	id, err := host.IDOf(key)
	w.must(err)
	listen := fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", l.IP(), port)
	s := &silentSteward{addr: listen + "/p2p/" + id, stop: func() {}}
	s.start = func(others []string) {
		h, err := host.New(host.Config{Key: key, Listen: []string{listen}, Role: host.Steward, Stewards: others,
			Log: slog.New(slog.DiscardHandler), Network: l.Network()})
		w.must(err)
		ctx, cancel := context.WithCancel(context.Background())
		topic, err := gossip.Join(ctx, h, "porchlight/"+string(w.chain.Mesh()), func(string, []byte) gossip.Verdict { return gossip.Ignore })
		w.must(err)
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		s.stop = func() {
			cancel()
			<-ended
			topic.Close()
			h.Close()
		}
		w.tell(name, "starts, and means to hand on nothing")
	}
	return s
}
