// Package observer is the node without footage: a steward, which is first contact and gossip
// hub for others, or an observer, who keeps and checks the dockets. Both hold what is public, and serve it over HTTP
// where their owner names an address (package tiles); either may hold a witness's key. A steward also carries the
// sealed paths of answers.
package observer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/tiles"
)

// Observer is a steward's or an observer's node.
type Observer struct {
	// HTTP is the address to serve dockets on, by default the config's. It may be set before Run.
	HTTP string

	peer *node.Peer
	url  string // where dockets are served, once they are
}

// Open opens the folder of a steward or observer. It touches no network.
func Open(_ context.Context, dir string, opt node.Options) (*Observer, error) {
	peer, err := node.OpenPeer(dir, opt)
	if err != nil {
		return nil, err
	}
	if r := peer.State.Role(); r != node.Steward && r != node.Observe {
		return nil, errors.Join(fmt.Errorf("%s holds a node of role %s, not a steward or observer", dir, r), peer.Close())
	}
	return &Observer{HTTP: peer.Config.Observe.HTTP, peer: peer}, nil
}

// Close lets the folder go.
func (o *Observer) Close() error { return o.peer.Close() }

// Peer is the part of the node that every role has.
func (o *Observer) Peer() *node.Peer { return o.peer }

// Commands is what the CLI can ask of this node.
func (o *Observer) Commands() node.Commands {
	all := o.peer.Commands()
	status := all["status"]
	all["status"] = func(ctx context.Context, args json.RawMessage) (any, error) {
		got, err := status(ctx, args)
		if s, ok := got.(node.Status); ok {
			s.URL = o.url
			got = s
		}
		return got, err
	}
	return all
}

// Run keeps the node in the mesh, and serves its dockets, until ctx ends.
func (o *Observer) Run(ctx context.Context) error {
	site, err := o.listen()
	if err != nil {
		return err
	}
	if err := o.peer.Start(ctx); err != nil {
		if site != nil {
			err = errors.Join(err, site.Close())
		}
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.peer.Run(ctx) })
	g.Go(func() error { return o.peer.Control(ctx, o.Commands()) })
	if site != nil {
		g.Go(func() error { return tiles.Serve(ctx, site, tiles.Handler(o.peer), o.peer.Log) })
	}
	return errors.Join(g.Wait(), o.peer.Stop())
}

// listen opens the socket that dockets are served on; nil where they are not. In a simulated network they
// never are, as a socket of the machine would be a system call that virtual time waits for.
func (o *Observer) listen() (net.Listener, error) {
	if o.HTTP == "" || o.peer.Network().Simulated() {
		return nil, nil
	}
	l, err := net.Listen("tcp", o.HTTP)
	if err != nil {
		return nil, node.WithHint(fmt.Errorf("dockets cannot be served: %w", err), "choose another address with --http, or in config.toml under [observe]; \"\" serves none")
	}
	o.url = "http://" + l.Addr().String() + "/"
	return l, nil
}
