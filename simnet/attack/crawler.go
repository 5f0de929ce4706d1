package attack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// A Crawler dials everybody it can learn of, follows the topic, catches up, and tries on each peer the protocols by which
// other networks tell of peers. It writes down all it sees. Its zero value is ready; Joins is its program.
type Crawler struct {
	mu        sync.Mutex
	host      *host.Host
	books     *books
	peers     map[string]bool // ids it was told or met
	addrs     map[string]bool
	protocols map[string]bool // that peers say they speak
	answered  map[string]bool // of those that tell of peers
	texts     map[string]bool // messages and entries
}

// Found is what a crawler can list.
type Found struct {
	Peers, Addrs, Protocols []string
	Answered                []string // protocols that tell of peers, on which somebody said something
	Texts                   []string
}

// tellers are the protocols by which libp2p's networks tell of third peers.
var tellers = []string{"/ipfs/kad/1.0.0", "/porchlight/kad/1.0.0", "/ipfs/lan/kad/1.0.0", "/rendezvous/1.0.0", "/libp2p/circuit/relay/0.2.0/hop",
	"/libp2p/circuit/relay/0.2.0/stop", "/libp2p/autonat/1.0.0", "/libp2p/autonat/2/dial-request", "/libp2p/dcutr", "/ipfs/ping/1.0.0",
	"/libp2p/fetch/0.0.1", "/ipfs/bitswap/1.2.0", "/floodsub/1.0.0", "/meshsub/1.1.0"}

// Joins is the crawler's program.
func (c *Crawler) Joins(ctx context.Context, h *host.Host, topic string) (leave func() error, err error) {
	c.host = h
	c.peers, c.addrs, c.protocols, c.answered, c.texts = map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	if c.books, err = keepBooks(ctx, h, func(consent.AgencyID) bool { return false }); err != nil {
		return nil, err
	}
	out, err := c.listens(ctx, topic)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { // until ctx ends
		defer close(ended)
		c.crawls(ctx)
	}()
	return func() error { <-ended; c.books.close(); return out() }, nil
}

// listens follows the topic without package gossip, which is deaf to peer exchange.
func (c *Crawler) listens(ctx context.Context, topic string) (leave func() error, err error) {
	return Listen(ctx, c.host, topic, func(pubsub.GossipSubFeature, protocol.ID) bool { return true }, c,
		func(_ string, text []byte) { c.note(c.texts, string(text)) }, pubsub.WithPeerExchange(true))
}

// Listen follows the topic with gossipsub itself, in place of package gossip: trace hears of all that peers say, and text of each message
// by its id. Every message is passed on.
func Listen(ctx context.Context, h *host.Host, topic string, features pubsub.GossipSubFeatureTest, trace pubsub.EventTracer,
	text func(id string, text []byte), more ...pubsub.Option) (leave func() error, err error) {
	id := func(m *pb.Message) string {
		sum := sha256.Sum256(m.Data)
		return string(sum[:])
	}
	ps, err := pubsub.NewGossipSub(ctx, h.Libp2p(), append(more, pubsub.WithGossipSubProtocols([]protocol.ID{gossipProtocol}, features),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithMessageIdFn(id), pubsub.WithEventTracer(trace))...)
	if err != nil {
		return nil, err
	}
	err = ps.RegisterTopicValidator(topic, func(_ context.Context, _ peer.ID, m *pubsub.Message) bool {
		text(id(m.Message), m.Data)
		return true
	}, pubsub.WithValidatorInline(true))
	if err != nil {
		return nil, err
	}
	t, err := ps.Join(topic)
	if err != nil {
		return nil, err
	}
	stop, err := t.Relay()
	if err != nil {
		return nil, err
	}
	return func() error { stop(); return t.Close() }, nil
}

// Trace hears of peers that others name as they turn it away.
func (c *Crawler) Trace(e *pb.TraceEvent) {
	for _, p := range e.GetRecvRPC().GetMeta().GetControl().GetPrune() {
		for _, id := range p.GetPeers() {
			c.note(c.peers, peer.ID(id).String())
		}
	}
}

func (c *Crawler) note(in map[string]bool, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in[what] = true
}

func (c *Crawler) crawls(ctx context.Context) {
	store, net := c.host.Libp2p().Peerstore(), c.host.Libp2p().Network()
	tried := map[peer.ID]int{}
	asked := map[peer.ID]bool{}
	for {
		for _, p := range store.Peers() {
			if p == c.host.Libp2p().ID() {
				continue
			}
			c.note(c.peers, p.String())
			for _, a := range store.Addrs(p) {
				c.note(c.addrs, a.String())
			}
			protocols, _ := store.GetProtocols(p)
			for _, proto := range protocols {
				c.note(c.protocols, string(proto))
			}
			if net.Connectedness(p) != network.Connected && tried[p] < ringTries {
				tried[p]++
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				c.host.Libp2p().Connect(ctx, store.PeerInfo(p))
				cancel()
			}
			if net.Connectedness(p) == network.Connected && !asked[p] {
				asked[p] = true
				for _, proto := range tellers {
					c.asks(ctx, p, proto)
				}
			}
		}
		for _, conn := range net.Conns() {
			c.note(c.addrs, conn.RemoteMultiaddr().String())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
	}
}

// asks tries one protocol on one peer. A peer that speaks it takes the stream.
func (c *Crawler) asks(ctx context.Context, p peer.ID, proto string) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(ctx, "crawl"), 5*time.Second)
	defer cancel()
	st, err := c.host.Libp2p().NewStream(ctx, p, protocol.ID(proto))
	if err != nil {
		return
	}
	defer st.Reset()
	st.SetDeadline(time.Now().Add(2 * time.Second))
	st.Write([]byte{4, 0x08, 0x04, 0x12, 0x00}) // FIND_NODE of kad; to the others a malformed question
	if n, _ := io.ReadFull(st, make([]byte, 1)); n > 0 {
		c.note(c.answered, fmt.Sprintf("%s by %s", proto, p))
	}
}

// Found lists all.
func (c *Crawler) Found() Found {
	c.books.mu.Lock()
	var entries []string
	for _, b := range c.books.told {
		entries = append(entries, string(b.head.Note))
		for _, e := range b.entries {
			entries = append(entries, string(e))
		}
	}
	c.books.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := func(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
	return Found{Peers: all(c.peers), Addrs: all(c.addrs), Protocols: all(c.protocols), Answered: all(c.answered), Texts: append(all(c.texts), entries...)}
}

// Names says where a list has a peer's id, or an address with its IP; "" where it has neither.
func (f Found) Names(id, ip string) string {
	for what, list := range map[string][]string{"peers": f.Peers, "addresses": f.Addrs, "texts": f.Texts} {
		for _, s := range list {
			if strings.Contains(s, id) || strings.Contains(s, ip) && slices.Contains(strings.FieldsFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }), ip) {
				return what
			}
		}
	}
	return ""
}
