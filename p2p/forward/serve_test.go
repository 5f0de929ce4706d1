package forward

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Whoever comes under ever new ids keeps nobody from a path, and does not make a steward forget who moved much today.
func TestNeighboursAreBounded(t *testing.T) {
	x := &server{s: Steward{Limits: Limits{Bytes: 1000}.filled()}, neighbours: map[peer.ID]*neighbour{}}
	if !x.enter("greedy") || x.moved("greedy", 1000) {
		t.Fatal("the quota is not what it was set to")
	}
	x.leave("greedy")
	if !x.enter("open") {
		t.Fatal("no path")
	}
	for i := range 2 * maxNeighbours {
		id := peer.ID(fmt.Sprint(i))
		if !x.enter(id) {
			t.Fatalf("the %d. neighbour has no path", i)
		}
		x.moved(id, 1)
		x.leave(id)
	}
	if len(x.neighbours) != maxNeighbours {
		t.Errorf("%d neighbours", len(x.neighbours))
	}
	if x.enter("greedy") {
		t.Error("who moved what it may is served again")
	}
	x.leave("open")
	x.neighbours["greedy"].since = time.Now().Add(-25 * time.Hour)
	x.enter("another day")
	if x.neighbours["greedy"] != nil {
		t.Error("another day's are kept")
	}
}
