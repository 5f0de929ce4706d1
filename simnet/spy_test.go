package simnet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/attack"
)

// A spy is a steward that everybody counts on: it forwards all that it is sent. It notes the id of every message that
// any peer sends it, announces (IHAVE), asks for (IWANT) or does not want (IDONTWANT), and that it names to any peer
// itself. It speaks gossipsub without package gossip, which tells nobody that.
type spy struct {
	host *host.Host

	mu    sync.Mutex
	said  map[peer.ID][]mention // to and by each peer
	texts map[string][]byte     // by id
}

// A mention is a message's id on its way: "sends", "is told IDONTWANT".
type mention struct {
	verb, id string
	at       time.Time
}

func newSpy() *spy { return &spy{said: map[peer.ID][]mention{}, texts: map[string][]byte{}} }

// joins is the spy's attack.
func (s *spy) joins(ctx context.Context, h *host.Host, topic string) (leave func() error, err error) {
	s.host = h
	return attack.Listen(ctx, h, topic, func(f pubsub.GossipSubFeature, _ protocol.ID) bool {
		return f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeatureIdontwant
	}, s, func(id string, text []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.texts[id] = slices.Clone(text)
	})
}

// Trace is what gossipsub tells of every message in and out.
func (s *spy) Trace(e *pb.TraceEvent) {
	if r := e.GetRecvRPC(); r != nil {
		s.note(r.GetReceivedFrom(), "says ", r.GetMeta())
	}
	if r := e.GetSendRPC(); r != nil {
		s.note(r.GetSendTo(), "is told ", r.GetMeta())
	}
}

func (s *spy) note(p []byte, way string, m *pb.TraceEvent_RPCMeta) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add := func(verb string, ids ...[]byte) {
		for _, id := range ids {
			s.said[peer.ID(p)] = append(s.said[peer.ID(p)], mention{way + verb, string(id), time.Now()})
		}
	}
	for _, m := range m.GetMessages() {
		add("the message", m.GetMessageID())
	}
	for _, c := range m.GetControl().GetIhave() {
		add("IHAVE", c.GetMessageIDs()...)
	}
	for _, c := range m.GetControl().GetIwant() {
		add("IWANT", c.GetMessageIDs()...)
	}
	for _, c := range m.GetControl().GetIdontwant() {
		add("IDONTWANT", c.GetMessageIDs()...)
	}
}

// since lists what a node said and was told by gossip from a moment on, sorted, and how long after it. Keys are random,
// so no id is the same in two worlds: each stands here as the docket entry that it is the hash of, by kind and number,
// and one that is of no entry as itself.
func (s *spy) since(at time.Time, n *Node) (ids []string, took []time.Duration) {
	type named struct {
		what string
		took time.Duration
	}
	var all []named
	id, _ := peer.Decode(n.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.said[id] {
		if !m.at.Before(at) {
			all = append(all, named{n.Name + " " + m.verb + " " + entryOf(s.texts[m.id], m.id, n.w.chain), m.at.Sub(at)})
		}
	}
	slices.SortStableFunc(all, func(a, b named) int { return strings.Compare(a.what, b.what) })
	for _, m := range all {
		ids, took = append(ids, m.what), append(took, m.took)
	}
	return ids, took
}

// entryOf names the docket entry that a message carries, or the message by its id.
func entryOf(msg []byte, id string, chain charter.Chain) string {
	b, err := docket.ParseBundle(msg)
	if err != nil {
		return fmt.Sprintf("%x", id)
	}
	a, _ := chain.Agency(b.Agency())
	entry, index, _, err := b.Verify(a)
	if err != nil {
		return fmt.Sprintf("%x", id)
	}
	kind, _ := consent.Peek(entry)
	return fmt.Sprintf("of entry %d, %s", index, kind)
}
