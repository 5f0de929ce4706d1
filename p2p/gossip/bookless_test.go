package gossip

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

// gossipsub's address book for peer exchange hears of no signed addresses; what else asks for identification does.
func TestNoAddressBook(t *testing.T) {
	bus := booklessBus{eventbus.NewBus()}
	identified, connected := new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerConnectednessChanged)
	book, err := bus.Subscribe([]any{identified, connected})
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	peers, err := bus.Subscribe([]any{identified, new(event.EvtPeerProtocolsUpdated)})
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	e, err := bus.Emitter(identified)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.Emit(event.EvtPeerIdentificationCompleted{Peer: peer.ID("p")})
	if len(peers.Out()) != 1 || len(book.Out()) != 0 {
		t.Errorf("%d and %d events", len(peers.Out()), len(book.Out()))
	}
}
