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

// An attacker is a steward whom homes and stewards list like any other. It takes connections, runs a program of its own
// in place of a node, and answers nobody who wants to catch up.
type attacker struct {
	addr  string
	start func(others []string)
	stop  func()
}

// An attack is an attacker's program: it joins the topic. leave undoes it.
type attack func(ctx context.Context, h *host.Host, topic string) (leave func() error, err error)

// silent follows the topic, so that its neighbours count on it, and hands on nothing.
func silent(ctx context.Context, h *host.Host, topic string) (leave func() error, err error) {
	t, err := gossip.Join(ctx, h, topic, func(string, []byte) gossip.Verdict { return gossip.Ignore })
	if err != nil {
		return nil, err
	}
	return t.Close, nil
}

func (w *World) attacker(name string, link wire.LinkConfig, does attack) *attacker {
	l := w.Join(name, link)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	id, err := host.IDOf(key)
	w.must(err)
	listen := fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", l.IP(), port)
	s := &attacker{addr: listen + "/p2p/" + id, stop: func() {}}
	s.start = func(others []string) {
		h, err := host.New(host.Config{Key: key, Listen: []string{listen}, Role: host.Steward, Stewards: others,
			Log: slog.New(slog.DiscardHandler), Network: l.Network()})
		w.must(err)
		ctx, cancel := context.WithCancel(context.Background())
		leave, err := does(ctx, h, "porchlight/"+string(w.chain.Mesh()))
		w.must(err)
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		s.stop = func() {
			cancel()
			<-ended
			leave()
			h.Close()
		}
		w.tell(name, "starts, an attacker")
	}
	return s
}
