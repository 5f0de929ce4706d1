// Package attack has the programs of those who wish a simulated neighbourhood ill. Each takes the place of a node: it
// is given a libp2p host, as a steward whom others list or as a home that only dials out, and does with it what it
// likes.
//
//	Silent      follows the topic and hands on nothing
//	Behaves     hands on everything and waits: the better half of a sybil's identities
//	Turncoat    behaves for a while, then hands on nothing and lets whoever asks it wait
//	Censor      hands on everything but the requests of some agencies, and tells old heads of their dockets
//	Junk        sends changed copies of each request in its place
//	Forger      sends forged messages without a pause
//	Replayer    sends true old news in ever new spellings without a pause
//	SlowReader  opens streams, asks for much and reads nothing; never answers
//	Crawler     dials everybody it can learn of and writes down all that it can see
//
// A [Ring] is a conspiracy: its members tell one another where honest nodes can be reached, and dial them all. An
// eclipse is a ring around one node.
//
// Here belongs what concerns gossip, catching up and connections. Who attacks deliveries and forwarding paths is a police, a steward or an
// observer of a story, in package simnet's tests.
package attack

import (
	"bytes"
	"context"

	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// A Program is what an attacker runs in place of a node, until ctx ends. leave is called after that, and before the
// host is closed.
type Program func(ctx context.Context, h *host.Host, topic string) (leave func() error, err error)

// Silent follows the topic, so that its neighbours count on it, and hands on nothing.
func Silent(ctx context.Context, h *host.Host, topic string) (leave func() error, err error) {
	return judges(ctx, h, topic, func(string, []byte) gossip.Verdict { return gossip.Ignore })
}

// Behaves hands on whatever is a docket's message, as an honest node without a docket of its own would.
func Behaves(ctx context.Context, h *host.Host, topic string) (leave func() error, err error) {
	return judges(ctx, h, topic, func(_ string, msg []byte) gossip.Verdict { return plausible(msg) })
}

func plausible(msg []byte) gossip.Verdict {
	if _, err := docket.ParseBundle(msg); err != nil {
		return gossip.Ignore
	}
	return gossip.Accept
}

// overhears joins the topic, hands on nothing but what the attacker itself publishes, and tells what comes, as long as somebody listens.
func overhears(ctx context.Context, h *host.Host, topic string) (t *gossip.Topic, heard <-chan []byte, err error) {
	tell := make(chan []byte, 16)
	t, err = gossip.Join(ctx, h, topic, func(from string, msg []byte) gossip.Verdict {
		if from == h.ID() {
			return gossip.Accept
		}
		select {
		case tell <- bytes.Clone(msg):
		default:
		}
		return gossip.Ignore
	})
	return t, tell, err
}

// judges joins the topic with a check of the attacker's own.
func judges(ctx context.Context, h *host.Host, topic string, check func(from string, msg []byte) gossip.Verdict) (leave func() error, err error) {
	t, err := gossip.Join(ctx, h, topic, check)
	if err != nil {
		return nil, err
	}
	return t.Close, nil
}
