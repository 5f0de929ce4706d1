// Package observer is the node without footage: a steward, which is first contact and gossip
// hub for others, or an observer, who keeps and checks the dockets. Both hold what is public and
// nothing else.
package observer

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/node"
)

// Observer is a steward's or an observer's node.
type Observer struct{ peer *node.Peer }

// Open opens the folder of a steward or observer. It touches no network.
func Open(_ context.Context, dir string, opt node.Options) (*Observer, error) {
	peer, err := node.OpenPeer(dir, opt)
	if err != nil {
		return nil, err
	}
	if r := peer.State.Role(); r != node.Steward && r != node.Observe {
		return nil, errors.Join(fmt.Errorf("%s holds a node of role %s, not a steward or observer", dir, r), peer.Close())
	}
	return &Observer{peer: peer}, nil
}

// Close lets the folder go.
func (o *Observer) Close() error { return o.peer.Close() }

// Peer is the part of the node that every role has.
func (o *Observer) Peer() *node.Peer { return o.peer }

// Commands is what the CLI can ask of this node.
func (o *Observer) Commands() node.Commands { return o.peer.Commands() }

// Run keeps the node in the mesh until ctx ends.
func (o *Observer) Run(ctx context.Context) error {
	if err := o.peer.Start(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.peer.Run(ctx) })
	g.Go(func() error { return o.peer.Control(ctx, o.Commands()) })
	return errors.Join(g.Wait(), o.peer.Stop())
}
