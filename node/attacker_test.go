package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	identifypb "github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
	"github.com/porchlight-mesh/porchlight/p2p/forward"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

const gossipProtocol = "/porchlight/gossip/1"

// attacker is one peer without scruples: libp2p below, made by hand above.
type attacker struct {
	h      host.Host
	told   told
	target peer.AddrInfo
	until  time.Time // when it tires
}

const tires = 2 * time.Second // an attack that goes through its program earlier stops earlier

func newAttacker(t *testing.T, to told, addrs []string, over string) *attacker {
	t.Helper()
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics(), libp2p.DisableRelay(), libp2p.ResourceManager(&network.NullResourceManager{}))
	ok(t, err)
	a := &attacker{h: h, told: to, until: time.Now().Add(tires)}
	t.Cleanup(a.close)
	i := slices.IndexFunc(addrs, func(s string) bool { return strings.Contains(s, "/"+over) })
	info, err := peer.AddrInfoFromString(addrs[i])
	ok(t, err)
	a.target = *info
	h.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.PermanentAddrTTL)
	h.SetStreamHandler(identify.ID, func(s network.Stream) { a.claims(s, 0) })
	h.SetStreamHandler(p2psync.Protocol, a.heads)
	h.SetStreamHandler(gossipProtocol, func(network.Stream) {}) // reads nothing
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ok(t, h.Connect(ctx, a.target))
	a.until = time.Now().Add(tires)
	return a
}

func (a *attacker) close() { a.h.Close() }

func (a *attacker) tired() bool { return time.Now().After(a.until) }

// stream opens a stream, on another connection where the node closed the last one; nil where it takes no more.
func (a *attacker) stream(protos ...protocol.ID) network.Stream {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := a.h.NewStream(ctx, a.target.ID, protos...)
	if err != nil {
		return nil
	}
	s.SetDeadline(time.Now().Add(5 * time.Second))
	return s
}

type weapon struct {
	name   string
	attack func(*attacker, *testing.T)
}

// weapons are what an attacker has against a node of a role.
func weapons(role string) []weapon {
	w := []weapon{
		{"protocols and addresses", (*attacker).pushes},
		{"topics", (*attacker).topics},
		{"control", (*attacker).control},
		{"large RPCs", (*attacker).large},
		{"messages", (*attacker).messages},
		{"streams left open", (*attacker).leaves},
		{"streams filled before they are answered", (*attacker).fills},
		{"unfinished frames", (*attacker).unfinished},
	}
	if role == "police" {
		w = append(w, weapon{"grants", (*attacker).grants})
	}
	return w
}

// claims says in identify that this peer speaks 2,000 protocols and lives at 10,000 addresses, in as many parts as are read.
func (a *attacker) claims(s network.Stream, round int) {
	defer s.Close()
	s.SetDeadline(time.Now().Add(5 * time.Second))
	var protos []string
	for i := range 2000 {
		protos = append(protos, fmt.Sprintf("/junk/%d/%d", round, i))
	}
	protos = append(protos[:1900], p2psync.Protocol, gossipProtocol, identify.ID, identify.IDPush)
	var addrs []ma.Multiaddr
	for i := range 10000 {
		a, _ := ma.NewMultiaddr(fmt.Sprintf("/ip4/127.%d.%d.%d/tcp/1", round%250, i>>8, i&255))
		addrs = append(addrs, a)
	}
	rec := &peer.PeerRecord{PeerID: a.h.ID(), Addrs: addrs[:600], Seq: uint64(time.Now().UnixNano())}
	env, _ := record.Seal(rec, a.h.Peerstore().PrivKey(a.h.ID()))
	signed, _ := env.Marshal()
	part := &identifypb.Identify{Protocols: protos[len(protos)-4:], AgentVersion: proto.String(strings.Repeat("a", 3000)), ProtocolVersion: proto.String(strings.Repeat("p", 3000))}
	send := func() {
		protodelim.MarshalTo(s, part)
		part = &identifypb.Identify{}
	}
	send()
	if round%2 == 0 {
		part.SignedPeerRecord = signed
		send()
	}
	// The rest of the room goes to protocols in one round and to addresses in the other.
	for range 6 {
		for size := 0; size < 7500; {
			if n := len(protos); round%2 == 0 && n > 0 {
				part.Protocols, protos = append(part.Protocols, protos[n-1]), protos[:n-1]
				size += len(part.Protocols[len(part.Protocols)-1]) + 2
			} else {
				part.ListenAddrs, addrs = append(part.ListenAddrs, addrs[0].Bytes()), addrs[1:]
				size += 10
			}
		}
		send()
	}
}

// pushes says so over and over, each time with others.
func (a *attacker) pushes(t *testing.T) {
	for i := 0; i < 100 && !a.tired(); i++ {
		if s := a.stream(identify.IDPush); s != nil {
			a.claims(s, i)
		}
	}
}

// rpcs sends gossip's frames until the node closes the stream, on a new one then.
func (a *attacker) rpcs(n int, make func(i int) *pubsubpb.RPC) {
	var s network.Stream
	for i := 0; i < n && !a.tired(); i++ {
		if s == nil {
			if s = a.stream(gossipProtocol); s == nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
		}
		if _, err := protodelim.MarshalTo(s, make(i)); err != nil {
			s.Reset()
			s = nil
		}
	}
	if s != nil {
		s.Close()
	}
}

// topics follows 100,000 of them: by four, which the filter reads, by as many as an RPC's control part holds, and by all of them.
func (a *attacker) topics(t *testing.T) {
	topic := 0
	subs := func(n int) *pubsubpb.RPC {
		r := &pubsubpb.RPC{}
		for range n {
			topic++
			r.Subscriptions = append(r.Subscriptions, &pubsubpb.RPC_SubOpts{Subscribe: proto.Bool(true), Topicid: proto.String(fmt.Sprint("topic", topic))})
		}
		return r
	}
	a.rpcs(5000, func(int) *pubsubpb.RPC { return subs(4) })
	a.rpcs(500, func(int) *pubsubpb.RPC { return subs(200) })
	a.rpcs(20, func(int) *pubsubpb.RPC { return subs(3000) })
	a.rpcs(1, func(int) *pubsubpb.RPC { return subs(100000) })
}

// control sends all kinds of control messages with ids and topics nobody knows.
func (a *attacker) control(t *testing.T) {
	id := 0
	ids := func(n int) (out []string) {
		for range n {
			id++
			out = append(out, fmt.Sprintf("%032d", id))
		}
		return out
	}
	topic := proto.String(a.told.Topic)
	for _, of := range []func() *pubsubpb.ControlMessage{
		func() *pubsubpb.ControlMessage {
			return &pubsubpb.ControlMessage{Ihave: []*pubsubpb.ControlIHave{{TopicID: topic, MessageIDs: ids(100)}}}
		},
		func() *pubsubpb.ControlMessage {
			return &pubsubpb.ControlMessage{Iwant: []*pubsubpb.ControlIWant{{MessageIDs: ids(100)}}}
		},
		func() *pubsubpb.ControlMessage {
			return &pubsubpb.ControlMessage{Idontwant: []*pubsubpb.ControlIDontWant{{MessageIDs: ids(100)}}}
		},
		func() (c *pubsubpb.ControlMessage) {
			c = &pubsubpb.ControlMessage{Graft: []*pubsubpb.ControlGraft{{TopicID: topic}}, Prune: []*pubsubpb.ControlPrune{{TopicID: topic, Backoff: proto.Uint64(1 << 40)}}}
			for range 20 {
				c.Graft = append(c.Graft, &pubsubpb.ControlGraft{TopicID: &ids(1)[0]})
				c.Prune = append(c.Prune, &pubsubpb.ControlPrune{TopicID: &ids(1)[0], Backoff: proto.Uint64(1 << 40)})
			}
			return c
		},
	} {
		a.until = time.Now().Add(tires / 4)
		a.rpcs(1000, func(int) *pubsubpb.RPC { return &pubsubpb.RPC{Control: of()} })
	}
}

// large sends messages of 1 MiB, of all that is read, and such of many empty parts.
func (a *attacker) large(t *testing.T) {
	of := func(size int) func(int) *pubsubpb.RPC {
		return func(i int) *pubsubpb.RPC {
			data := make([]byte, size)
			binary.BigEndian.PutUint64(data, uint64(i))
			return &pubsubpb.RPC{Publish: []*pubsubpb.Message{{Topic: &a.told.Topic, Data: data}}}
		}
	}
	a.rpcs(30, of(1<<20))
	a.rpcs(300, of(60<<10))
	a.rpcs(300, func(int) *pubsubpb.RPC {
		r := &pubsubpb.RPC{}
		for range 2000 {
			r.Publish = append(r.Publish, &pubsubpb.Message{})
		}
		return r
	})
}

// messages sends what every node has to verify and none may hold against its sender: objections of somebody whom
// this charter does not know, and another might.
func (a *attacker) messages(t *testing.T) {
	by := newKey(t, "Nobody")
	r := a.told.Request
	a.rpcs(8000, func(i int) *pubsubpb.RPC {
		note, err := consent.Sign(request.Objection{Agency: r.AgencyID, Request: r.ID, Reason: fmt.Sprint("Nobody saw a red jacket, ", i), Created: consent.At(time.Now()), By: by.Verifier()}, by)
		ok(t, err)
		return &pubsubpb.RPC{Publish: []*pubsubpb.Message{{Topic: &a.told.Topic, Data: note}}}
	})
}

// raw opens as many streams as the node takes, up to 5,000, without saying what they are for.
func (a *attacker) raw(each func(network.Stream)) (open []network.Stream) {
	for range 5000 {
		if a.tired() {
			break
		}
		conns := a.h.Network().ConnsToPeer(a.target.ID)
		if len(conns) == 0 {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			a.h.Connect(ctx, a.target)
			cancel()
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		s, err := conns[0].NewStream(ctx)
		cancel()
		if err != nil {
			if len(open) > 0 {
				break
			}
			continue
		}
		s.SetDeadline(time.Now().Add(3 * time.Second))
		each(s)
		open = append(open, s)
	}
	return open
}

func (a *attacker) leaves(t *testing.T) {
	open := a.raw(func(s network.Stream) { s.Write([]byte{19, '/'}) })
	time.Sleep(time.Second)
	t.Logf("%d streams", len(open))
	for _, s := range open {
		s.Reset()
	}
}

// fills asks on each stream for protocols that nobody speaks, reads no answer, and goes on until nothing more is taken.
func (a *attacker) fills(t *testing.T) {
	ask := append([]byte("\x13/multistream/1.0.0\n"), bytes.Repeat([]byte("\x02x\n"), 200<<10)...)
	open := a.raw(func(s network.Stream) { go s.Write(ask) })
	time.Sleep(2 * time.Second)
	t.Logf("%d streams", len(open))
	for _, s := range open {
		s.Reset()
	}
}

// unfinished begins a frame of every protocol on as many streams as are taken, and never ends it.
func (a *attacker) unfinished(t *testing.T) {
	var open []network.Stream
	begin := map[protocol.ID][]byte{
		p2psync.Protocol:     {1, 0, 0, 0, 0, 3, 0},
		forward.Protocol:     {0, 2, 0, '/'},
		forward.EndProtocol:  {0, 200, 1},
		deliver.Protocol:     append([]byte{1, 0, 1, 0, 0}, make([]byte, 60<<10)...),
		node.WitnessProtocol: append([]byte{0, 0, 64, 0}, make([]byte, 16000)...),
		gossipProtocol:       append([]byte{0x80, 0x80, 4}, make([]byte, 60<<10)...),
		identify.IDPush:      append([]byte{0x80, 0x40}, make([]byte, 8000)...),
		identify.ID:          nil,
	}
	for p, b := range begin {
		a.until = time.Now().Add(tires / 8)
		for i := 0; i < 300 && !a.tired(); i++ {
			s := a.stream(p)
			if s == nil {
				break
			}
			if _, err := s.Write(b); err != nil {
				s.Reset()
				continue
			}
			open = append(open, s)
		}
	}
	time.Sleep(time.Second)
	for _, s := range open {
		s.Reset()
	}
}

// heads answers a pull with as many dockets as a frame holds, each vouched for by junk, and with junk for entries.
func (a *attacker) heads(s network.Stream) {
	defer s.Close()
	s.SetDeadline(time.Now().Add(10 * time.Second))
	frame := func(kind byte, b []byte) {
		s.Write(append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(b))), b...))
	}
	b, n := make([]byte, 2), 0
	add := func(name string, note []byte) {
		b = append(append(b, byte(len(name))), name...)
		b = binary.BigEndian.AppendUint64(b, 1<<40)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(note))), note...)
		n++
	}
	add(string(a.told.Request.AgencyID), make([]byte, 8<<10))
	add("charter", []byte("other"))
	add("objections", []byte("other"))
	add("misconduct", []byte("other"))
	for len(b) < 60<<10 {
		add(fmt.Sprintf("%032x", n), nil)
	}
	binary.BigEndian.PutUint16(b, uint16(n))
	frame(2, b)
	for range 100 {
		var ask [512]byte
		if _, err := s.Read(ask[:]); err != nil {
			return
		}
		entries := make([]byte, 2)
		binary.BigEndian.PutUint16(entries, 15)
		for range 15 {
			entries = append(binary.BigEndian.AppendUint32(entries, 64<<10), make([]byte, 64<<10)...)
		}
		frame(4, entries)
	}
}

// grants offers as many releases as a grant holds, none of which comes, and does so again and again under another key.
func (a *attacker) grants(t *testing.T) {
	m := newMallory(t, a.told.Request)
	one := m.grant.Releases[0]
	m.grant.Releases = nil
	for i := range grant.MaxReleases {
		root, err := m.dag.Root.Prefix().Sum([]byte{byte(i)})
		ok(t, err)
		_, one.Secret, err = grant.Commit(rand.Reader, []byte{byte(i)})
		ok(t, err)
		one.CID, one.SealedBytes, one.ManifestSHA256 = consent.ReleaseID(root.String()), 1000, strings.Repeat("0", 64)
		m.grant.Releases = append(m.grant.Releases, one)
	}
	accepted := 0
	for !a.tired() {
		m.key = newKey(t, grant.KeyName)
		m.grant.Created, m.grant.Key = consent.At(time.Now()), m.key.Verifier()
		note, err := consent.Sign(m.grant, m.key)
		ok(t, err)
		patience := 2 * time.Second
		if accepted == 0 {
			patience = 30 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err = deliver.Send(ctx, deliver.SendConfig{Key: m.key.Private(), Addrs: m.reply}, deliver.Offer{Grant: note},
			deliver.Hooks{Accepted: func([]byte) error { accepted++; return nil }, Received: func(string, []byte) error { return nil }})
		cancel()
		if accepted == 0 {
			t.Fatalf("a grant of %d bytes was not taken: %v", len(note), err)
		}
	}
	t.Logf("%d grants were taken", accepted)
}
