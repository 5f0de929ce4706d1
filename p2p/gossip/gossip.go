// Package gossip spreads small opaque messages to every peer of one topic.
//
// It is gossipsub under the protocol id /porchlight/gossip/1, so that this mesh can never merge with another libp2p
// network. On the wire a message is the topic and the data, with no author, number or signature of the transport's
// (StrictNoSign): nothing in it tells who published it. Its id is the SHA-256 of all its bytes, so a copy with a byte
// changed is another message that must pass the check on its own, and neither floods nor displaces the true one.
//
// Each message is handed to the topic's check before it is forwarded, by one function that judges and receives in one.
//
// Messages are rare and each one matters. So a publisher sends to all its peers at once (flood publish); peers are
// scored by invalid messages and broken promises only, never by how much they deliver, which would punish honest peers
// of a quiet topic; a peer may announce only a few messages at a time; and a peer is disconnected and blocked for an
// hour by its fourth message that is rejected, or once it is scored out. What it sent beside those nobody looks at.
//
// Strangers who connect to a host neither displace those it dials on purpose (Host.Chosen) from its mesh nor keep
// them from it.
package gossip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// MaxMessage is the largest message, in bytes.
const MaxMessage = 64 << 10

const (
	protocolID = protocol.ID("/porchlight/gossip/1")
	overhead   = 4 << 10 // room for an RPC's framing, topic and control parts beside one largest message
	seenTTL    = 10 * time.Minute
	blockFor   = time.Hour

	gossipBelow  = -500.0
	publishBelow = -1000.0
	outBelow     = -2500.0
	chosenScore  = 5 * maxFirst
	maxFirst     = 20.0
)

// Verdict says what becomes of a message.
type Verdict int

// The verdicts. The zero value forwards nothing and blames nobody.
const (
	Ignore Verdict = iota // not forwarded, not held against the sender
	Accept                // taken in, and forwarded
	Reject                // not forwarded, and held against the peer that sent it
)

// Topic is a joined topic.
type Topic struct {
	h      *host.Host
	topic  *pubsub.Topic
	name   string
	ps     *pubsub.PubSub
	leave  func()
	cancel context.CancelFunc
	copies atomic.Int64
	ward   *ward
	missed chan struct{}
}

// Join joins the mesh's one topic; call it once on a host. It lasts until ctx ends or Close.
//
// check is the validator and the receiver in one: it has taken a message in when it says Accept. It runs before the
// message is forwarded, on several goroutines at a time, and holds up those behind it, so it must be quick and must
// not call back into the Topic. from is the peer that handed the message on (the host's own id for messages of
// Publish); it is not who wrote it. msg must not be changed.
//
// Say Reject only of what every honest peer would reject, whatever it knows and whatever its clock says. Say Ignore of
// a message that was taken in before or is past its time: duplicates are remembered for ten minutes only, and an old
// message would circulate again after that.
func Join(ctx context.Context, h *host.Host, topic string, check func(from string, msg []byte) Verdict) (*Topic, error) {
	ctx, cancel := context.WithCancel(ctx)
	t := &Topic{h: h, name: topic, cancel: cancel, ward: newWard(), missed: make(chan struct{}, 1)}
	if err := t.join(ctx, check); err != nil {
		cancel()
		return nil, fmt.Errorf("gossip: join %q: %w", topic, err)
	}
	return t, nil
}

func (t *Topic) join(ctx context.Context, check func(string, []byte) Verdict) error {
	h := t.h
	score, thresholds := scoring(t.name, func(p peer.ID) bool { return h.Chosen(p.String()) })
	ps, err := pubsub.NewGossipSub(ctx, bookless{h.Libp2p()},
		pubsub.WithGossipSubProtocols([]protocol.ID{protocolID}, features),
		pubsub.WithGossipSubParams(params(h.Role())),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithFloodPublish(true),
		pubsub.WithPeerExchange(false),
		pubsub.WithMaxMessageSize(MaxMessage+overhead),
		pubsub.WithMaxControlMessageSize(overhead),
		pubsub.WithSeenMessagesTTL(seenTTL),
		pubsub.WithValidateQueueSize(256),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(t.name), 4)),
		pubsub.WithPeerFilter(func(p peer.ID, _ string) bool { return h.Mesh(p.String()) }),
		pubsub.WithAppSpecificRpcInspector(func(p peer.ID, rpc *pubsub.RPC) error {
			if !h.Mesh(p.String()) {
				return errors.New("gossip: not a mesh peer")
			}
			if t.ward.deaf(p, h.Source(p)) {
				return errors.New("gossip: it sent too much")
			}
			t.copies.Add(int64(len(rpc.GetPublish())))
			tame(rpc.GetControl())
			return nil
		}),
		pubsub.WithPeerScore(score, thresholds),
		pubsub.WithPeerScoreInspect(t.scoreOut, 5*time.Second),
	)
	if err != nil {
		return err
	}
	t.ps = ps
	if err := ps.RegisterTopicValidator(t.name, t.validator(check), pubsub.WithValidatorInline(true)); err != nil {
		return err
	}
	if t.topic, err = ps.Join(t.name); err != nil {
		return err
	}
	// A relay is in the mesh as a subscriber is; it has no queue of its own that a slow reader could let overflow.
	leave, err := t.topic.Relay()
	if err != nil {
		return err
	}
	t.leave = leave
	return nil
}

// tame holds a peer to the longest back-off that one of ours asks for when it leaves the mesh: gossipsub keeps each until
// it is over, also those of peers that are gone, and takes any number of seconds.
func tame(c *pb.ControlMessage) {
	for _, prune := range c.GetPrune() {
		if most := uint64(pubsub.GossipSubPruneBackoff / time.Second); prune.GetBackoff() > most {
			prune.Backoff = &most
		}
	}
}

func (t *Topic) validator(check func(string, []byte) Verdict) pubsub.ValidatorEx {
	return func(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		judge := func() Verdict {
			// Bytes outside the data are no part of the id, so a message that has any is not ours.
			if len(m.Data) > MaxMessage || len(m.ProtoReflect().GetUnknown()) > 0 {
				return Reject
			}
			return check(from.String(), m.Data)
		}
		var v Verdict
		if from == t.h.Libp2p().ID() {
			v = judge()
		} else {
			var looked, out bool
			v, looked, out = t.ward.judge(from, t.h.Source(from), judge)
			if out {
				t.part(from, errors.New("it sent messages that anybody can tell to be wrong"))
			}
			if !looked {
				select {
				case t.missed <- struct{}{}:
				default:
				}
			}
		}
		switch v {
		case Accept:
			return pubsub.ValidationAccept
		case Reject:
			return pubsub.ValidationReject
		}
		return pubsub.ValidationIgnore
	}
}

func messageID(m *pb.Message) string {
	sum := sha256.Sum256(m.Data)
	return string(sum[:])
}

func features(f pubsub.GossipSubFeature, p protocol.ID) bool {
	return p == protocolID && (f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeatureIdontwant)
}

// params gives a steward a high degree: homes behind NAT can only be reached through the connections they opened, and
// a hub of ordinary degree would prune them out of the mesh, down to one announcement a second. It therefore keeps
// every home that wants to be in its mesh, as many as its host keeps connections: homes choose few stewards, so the
// copies that each one gets stay few.
func params(r host.Role) pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	if r == host.Steward {
		p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout = 24, 18, 512, 16, 8
	}
	p.HistoryLength, p.HistoryGossip = 12, 6
	// Strangers may have filled the mesh before a chosen peer was there: it is asked in within seconds, not a minute.
	p.OpportunisticGraftTicks = 5
	p.MaxIHaveLength, p.MaxIHaveMessages = 16, 2
	p.MaxIDontWantLength, p.MaxIDontWantMessages = 16, 64
	return p
}

// scoring: P2 (first deliveries) a little, P4 (invalid messages) and P7 (broken promises) a lot, P3 (mesh deliveries)
// off. Four invalid messages within the hour put a peer out: the penalty is 200 times their number squared. A chosen
// peer is better than any stranger can become, so that a mesh full of strangers keeps it, and takes it in.
func scoring(topic string, chosen func(peer.ID) bool) (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	return &pubsub.PeerScoreParams{
			SkipAtomicValidation: true,
			Topics: map[string]*pubsub.TopicScoreParams{topic: {
				SkipAtomicValidation:           true,
				TopicWeight:                    1,
				TimeInMeshQuantum:              time.Second, // unused, and divided by
				FirstMessageDeliveriesWeight:   1,
				FirstMessageDeliveriesDecay:    pubsub.ScoreParameterDecay(10 * time.Hour),
				FirstMessageDeliveriesCap:      maxFirst,
				InvalidMessageDeliveriesWeight: -200,
				InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(time.Hour),
			}},
			AppSpecificScore: func(p peer.ID) float64 {
				if chosen(p) {
					return chosenScore
				}
				return 0
			},
			AppSpecificWeight: 1,
			// No penalty for sharing an address (P6): whole streets share one, and the host bounds connections by address.
			BehaviourPenaltyWeight:    -10,
			BehaviourPenaltyThreshold: 6,
			BehaviourPenaltyDecay:     pubsub.ScoreParameterDecay(10 * time.Minute),
			DecayInterval:             time.Second,
			DecayToZero:               0.01,
			RetainScore:               time.Hour,
			SeenMsgTTL:                seenTTL,
		}, &pubsub.PeerScoreThresholds{
			GossipThreshold: gossipBelow, PublishThreshold: publishBelow, GraylistThreshold: outBelow,
			AcceptPXThreshold: 1 << 20, OpportunisticGraftThreshold: maxFirst + 1, // strangers in the mesh have less
		}
}

// scoreOut disconnects whom gossipsub only stops listening to.
func (t *Topic) scoreOut(scores map[peer.ID]float64) {
	for p, s := range scores {
		if s < outBelow && len(t.h.Libp2p().Network().ConnsToPeer(p)) > 0 {
			t.part(p, fmt.Errorf("scored out at %.0f for invalid messages or broken promises", s))
		}
	}
}

func (t *Topic) part(p peer.ID, why error) {
	t.h.Misbehaved(p.String(), string(protocolID), why)
	t.h.Block(p.String(), blockFor)
}

// Missed tells that messages of a peer that was put out were not looked at. A true one may have been among them, and
// gossip does not bring it again: whoever hears this catches up.
func (t *Topic) Missed() <-chan struct{} { return t.missed }

// Publish sends a message to the mesh. It runs check too, with the host's own id as from and nothing held against it;
// when check does not say Accept the message is not sent and Publish says so. With no peer connected it returns nil:
// whoever connects later learns of the message by sync. Publishing what the mesh delivered already does nothing.
func (t *Topic) Publish(ctx context.Context, msg []byte) error {
	if len(msg) > MaxMessage {
		return fmt.Errorf("gossip: message of %d bytes is over the limit of %d", len(msg), MaxMessage)
	}
	err := t.topic.Publish(ctx, msg)
	var refused pubsub.ValidationError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("gossip: this node's own check did not accept the message: %s", refused.Reason)
	case err != nil:
		return fmt.Errorf("gossip: publish: %w", err)
	}
	return nil
}

// Peers counts the connected peers that follow the topic.
func (t *Topic) Peers() int { return len(t.ps.ListPeers(t.name)) }

// Copies counts the messages that peers sent to this host, repeated ones included.
func (t *Topic) Copies() int64 { return t.copies.Load() }

// Close leaves the topic.
func (t *Topic) Close() error {
	t.leave()
	err := t.topic.Close()
	t.cancel()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	return nil
}
