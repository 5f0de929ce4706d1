package gossip

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
)

// bookless is a host that tells gossipsub nothing of signed addresses. It would put them into an address book of its own, for
// the peer exchange that this mesh does not have, and keep all that a connected peer ever said, after it left too.
type bookless struct{ host.Host }

func (h bookless) EventBus() event.Bus { return booklessBus{h.Host.EventBus()} }

type booklessBus struct{ event.Bus }

// Subscribe leaves identification out where it is asked for together with connectedness: nobody but that book does so.
func (b booklessBus) Subscribe(what any, opts ...event.SubscriptionOpt) (event.Subscription, error) {
	if all, ok := what.([]any); ok && slices.ContainsFunc(all, is[*event.EvtPeerConnectednessChanged]) {
		what = slices.DeleteFunc(slices.Clone(all), is[*event.EvtPeerIdentificationCompleted])
	}
	return b.Bus.Subscribe(what, opts...)
}

func is[T any](v any) bool { _, ok := v.(T); return ok }
