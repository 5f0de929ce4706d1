package gossip

import (
	"testing"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// A peer that leaves the mesh is not remembered for three hundred years.
func TestBackoffIsBounded(t *testing.T) {
	long, short := uint64(1<<40), uint64(10)
	c := &pb.ControlMessage{Prune: []*pb.ControlPrune{{Backoff: &long}, {Backoff: &short}, {}}}
	tame(c)
	tame(nil)
	if a, b := c.Prune[0].GetBackoff(), c.Prune[1].GetBackoff(); a != 60 || b != 10 || c.Prune[2].Backoff != nil {
		t.Errorf("%d and %d seconds", a, b)
	}
}
