package directory

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	p2phost "github.com/porchlight-mesh/porchlight/p2p/host"
)

// check takes "LOG is 17 long, signed" for a checkpoint of that log.
func check(log string, value []byte) (int64, error) {
	size, ok := strings.CutSuffix(string(value), " long, signed")
	if size, ok2 := strings.CutPrefix(size, log+" is "); ok && ok2 {
		return strconv.ParseInt(size, 10, 32)
	}
	return 0, fmt.Errorf("%.20q is no checkpoint of %s", value, log)
}

func says(log string, size int) []byte { return fmt.Appendf(nil, "%s is %d long, signed", log, size) }

func newHost(t *testing.T, role p2phost.Role, listen ...string) *p2phost.Host {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := p2phost.New(p2phost.Config{Key: key, Role: role, Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func newSteward(t *testing.T) *p2phost.Host {
	return newHost(t, p2phost.Steward, "/ip4/127.0.0.1/tcp/0")
}

func open(t *testing.T, h *p2phost.Host) *Directory {
	t.Helper()
	d, err := Open(h, Config{Check: check, LAN: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func meet(t *testing.T, h *p2phost.Host, others ...*p2phost.Host) {
	t.Helper()
	for _, o := range others {
		if err := h.Connect(t.Context(), o.Addrs()[0]); err != nil {
			t.Fatal(err)
		}
	}
}

func knows(t *testing.T, servers int, all ...*Directory) {
	t.Helper()
	for _, d := range all {
		for end := time.Now().Add(time.Minute); d.Servers() < servers; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("a directory knows %d servers, want %d", d.Servers(), servers)
			}
		}
	}
}

// A home's host cannot have one, so that no mistake in node makes it speak the protocol.
func TestAHomeNeverSpeaksIt(t *testing.T) {
	h := newHost(t, p2phost.Home)
	d, err := Open(h, Config{Check: check})
	if err == nil {
		d.Close()
		t.Fatal("opened")
	}
	for _, p := range h.Libp2p().Mux().Protocols() {
		if strings.Contains(string(p), "kad") {
			t.Errorf("it offers %s", p)
		}
	}
}

// A small mesh: stewards serve, an agency and an observer ask. The newest counts, wherever it was put, and nothing else.
func TestTheNewestCounts(t *testing.T) {
	hub := newSteward(t)
	all := []*Directory{open(t, hub)}
	for range 3 {
		h := newSteward(t)
		all = append(all, open(t, h))
		meet(t, h, hub)
	}
	agency, observer := newHost(t, p2phost.Requester, "/ip4/127.0.0.1/tcp/0"), newHost(t, p2phost.Observer)
	asks, looks := open(t, agency), open(t, observer)
	meet(t, agency, hub)
	meet(t, observer, hub)
	knows(t, 3, all[0])
	knows(t, 1, asks, looks)

	if _, err := looks.Newest(t.Context(), "elm"); !errors.Is(err, ErrNone) {
		t.Errorf("before anything was put: %v", err)
	}
	if err := asks.Put(t.Context(), "elm", says("elm", 7)); err != nil {
		t.Fatal(err)
	}
	for i, d := range append(all, looks) {
		if got, err := d.Newest(t.Context(), "elm"); err != nil || !bytes.Equal(got, says("elm", 7)) {
			t.Errorf("%d: %q, %v", i, got, err)
		}
	}
	// A newer one from elsewhere displaces it, and the older one does not come back.
	if err := all[2].Put(t.Context(), "elm", says("elm", 9)); err != nil {
		t.Fatal(err)
	}
	if err := looks.Put(t.Context(), "elm", says("elm", 8)); err == nil {
		t.Log("the servers had a newer one, which is as good")
	}
	for i, d := range append(all, asks, looks) {
		if got, err := d.Newest(t.Context(), "elm"); err != nil || !bytes.Equal(got, says("elm", 9)) {
			t.Errorf("%d: %q, %v", i, got, err)
		}
	}
	for _, forged := range [][]byte{[]byte("elm is 10 long"), says("oak", 10), nil, make([]byte, MaxValue+1)} {
		if err := asks.Put(t.Context(), "elm", forged); err == nil {
			t.Errorf("put %.20q", forged)
		}
	}
	if err := asks.put(t.Context(), "/pk/elm", says("elm", 10)); err == nil {
		t.Error("put a record of a kind that is none")
	}
	// Whoever only asks serves nobody.
	for _, h := range []*p2phost.Host{agency, observer} {
		for _, p := range h.Libp2p().Mux().Protocols() {
			if p == Protocol {
				t.Error("a client answers")
			}
		}
	}
}

// Without a server nothing is waited for.
func TestNobodyThere(t *testing.T) {
	d := open(t, newSteward(t))
	if err := d.Put(t.Context(), "elm", says("elm", 7)); !errors.Is(err, ErrAlone) {
		t.Error(err)
	}
	if got, err := d.Newest(t.Context(), "elm"); err != nil || !bytes.Equal(got, says("elm", 7)) {
		t.Errorf("its own: %q, %v", got, err)
	}
	if got, err := d.Newest(t.Context(), "oak"); !errors.Is(err, ErrAlone) {
		t.Errorf("%q, %v", got, err)
	}
	if err := d.PutSelf(t.Context(), nil); err != nil {
		t.Errorf("a steward that nobody can reach: %v", err)
	}
}

// liars are servers that answer what they like.
var liars = map[string]func(st network.Stream, question *pb.Message){
	"junk":    func(st network.Stream, _ *pb.Message) { st.Write([]byte("\x20junk junk junk junk junk junk junk")) },
	"silence": func(st network.Stream, _ *pb.Message) { st.Conn().Close() },
	"a flood": func(st network.Stream, _ *pb.Message) { st.Write(binary.AppendUvarint(nil, 1<<40)) },
	"nothing": func(st network.Stream, q *pb.Message) { answer(st, &pb.Message{Type: q.Type}) },
	"an old one": func(st network.Stream, q *pb.Message) {
		answer(st, &pb.Message{Type: q.Type, Key: q.Key, Record: record.MakePutRecord(string(q.Key), says("elm", 1))})
	},
	"a forged one": func(st network.Stream, q *pb.Message) {
		answer(st, &pb.Message{Type: q.Type, Key: q.Key, Record: record.MakePutRecord(string(q.Key), []byte("elm is 99 long"))})
	},
	"another's": func(st network.Stream, q *pb.Message) {
		answer(st, &pb.Message{Type: q.Type, Key: q.Key, Record: record.MakePutRecord("/checkpoint/oak", says("oak", 99))})
	},
	"victims": func(st network.Stream, q *pb.Message) {
		m := &pb.Message{Type: q.Type, Key: q.Key}
		for i := range 40 {
			m.CloserPeers = append(m.CloserPeers, &pb.Message_Peer{Id: []byte(somebody(i)), Addrs: [][]byte{victim.Bytes(), []byte("no address")}})
		}
		answer(st, m)
	},
}

var victim = ma.StringCast("/ip4/192.168.1.1/tcp/80")

func somebody(i int) peer.ID {
	key := ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(i)))
	id, err := p2phost.IDOf(key)
	if err != nil {
		panic(err)
	}
	p, err := peer.Decode(id)
	if err != nil {
		panic(err)
	}
	return p
}

func answer(st network.Stream, m *pb.Message) {
	b, _ := proto.Marshal(m)
	st.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
	st.Close()
}

func liar(t *testing.T, how func(network.Stream, *pb.Message)) *p2phost.Host {
	h := newSteward(t)
	h.Libp2p().SetStreamHandler(Protocol, func(st network.Stream) {
		b, err := readMessage(st, maxQuestion)
		var q pb.Message
		if err == nil && proto.Unmarshal(b, &q) == nil {
			how(st, &q)
		}
	})
	return h
}

// Among servers that all lie, each in its own way, one honest one is enough; and with none of them anything is believed that does
// not verify. The library itself would fall over one of these answers.
func TestServersThatLie(t *testing.T) {
	for _, honest := range []bool{false, true} {
		h := newHost(t, p2phost.Observer)
		d, err := Open(h, Config{Check: check}) // a mesh of the internet: private addresses are not taken in
		if err != nil {
			t.Fatal(err)
		}
		for _, how := range liars {
			meet(t, h, liar(t, how))
		}
		if honest {
			s := newSteward(t)
			server := open(t, s)
			if err := server.Put(t.Context(), "elm", says("elm", 7)); !errors.Is(err, ErrAlone) {
				t.Fatal(err)
			}
			meet(t, h, s)
		}
		// A server counts once it is identified. How many the library keeps is its own affair: it drops those that it sees fail.
		for end := time.Now().Add(time.Minute); len(d.connected()) < len(h.Libp2p().Network().Peers()); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d servers of %d are identified", len(d.connected()), len(h.Libp2p().Network().Peers()))
			}
		}
		got, err := d.Newest(t.Context(), "elm")
		switch {
		case honest && !bytes.Equal(got, says("elm", 7)):
			t.Errorf("got %q, %v", got, err)
		case !honest && err == nil && !bytes.Equal(got, says("elm", 1)):
			t.Errorf("believed %q", got)
		}
		if err := d.Put(t.Context(), "elm", says("elm", 8)); (err == nil) != honest {
			t.Errorf("put, with an honest server %v: %v", honest, err)
		}
		for _, p := range h.Libp2p().Peerstore().PeersWithAddrs() {
			for _, a := range h.Libp2p().Peerstore().Addrs(p) {
				if a.Equal(victim) {
					t.Fatal("a private address was taken in")
				}
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A server tells nothing of a peer that is none, although it knows where it is.
func TestNoRegisterOfHomes(t *testing.T) {
	s, home, spy, other := newSteward(t), newHost(t, p2phost.Home), newHost(t, p2phost.Observer), newSteward(t)
	server := open(t, s)
	open(t, other)
	meet(t, home, s)
	meet(t, other, s)
	meet(t, spy, s)
	id, err := peer.Decode(home.ID())
	if err != nil {
		t.Fatal(err)
	}
	where := ma.StringCast("/ip4/127.0.0.1/tcp/7")
	s.Libp2p().Peerstore().AddAddr(id, where, time.Hour) // as when mDNS had found it
	ask, _ := peer.Decode(s.ID())
	knows(t, 1, server)
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // a peer has so many questions a minute
		m, err := (&sender{spy.Libp2p()}).SendRequest(t.Context(), ask, &pb.Message{Type: pb.Message_FIND_NODE, Key: []byte(id)})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.GetCloserPeers() {
			if peer.ID(p.Id) == id {
				t.Fatalf("the home is handed on: %v", p)
			}
		}
		if len(m.GetCloserPeers()) == 1 && string(m.GetCloserPeers()[0].Id) != "" {
			break // the other steward is, so that this was asked of a server that tells at all
		}
		if time.Now().After(end) {
			t.Fatal("the other steward is never handed on")
		}
	}
}

// What no directory asks is not answered, and what a stranger may ask is bounded.
func TestTheDoor(t *testing.T) {
	for name, m := range map[string]*pb.Message{
		"a provider":             {Type: pb.Message_ADD_PROVIDER, Key: []byte("k")},
		"a search for providers": {Type: pb.Message_GET_PROVIDERS, Key: []byte("k")},
		"a long key":             {Type: pb.Message_GET_VALUE, Key: make([]byte, maxKey+1)},
		"peers in it":            {Type: pb.Message_PING, CloserPeers: []*pb.Message_Peer{{Id: []byte("x")}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if sound(b) == nil {
			t.Errorf("%s is let in", name)
		}
	}
	if sound([]byte("\xff\xff")) == nil {
		t.Error("what is no message is let in")
	}
	if _, err := readMessage(bytes.NewReader(binary.AppendUvarint(nil, maxQuestion+1)), maxQuestion); err == nil {
		t.Error("a long question is read")
	}

	d, now := newDoor(), time.Now()
	for i := range maxBusyPeer {
		if !d.enter("greedy", now) {
			t.Fatalf("stream %d is refused", i)
		}
	}
	if d.enter("greedy", now) {
		t.Error("one peer has as many streams as it likes")
	}
	for i := range maxBusy - maxBusyPeer {
		if !d.enter(peer.ID(fmt.Sprint(i)), now) {
			t.Fatalf("peer %d is refused", i)
		}
	}
	if d.enter("late", now) {
		t.Error("there is no bound on streams")
	}
	for range maxBusyPeer {
		d.leave("greedy")
	}
	got := 0
	for range 2 * burst {
		if d.enter("greedy", now) {
			got++
			d.leave("greedy")
		}
	}
	if got != burst-maxBusyPeer {
		t.Errorf("%d questions in no time, want %d", got, burst-maxBusyPeer)
	}
	if !d.enter("greedy", now.Add(time.Second)) {
		t.Error("who asked too much may never ask again")
	}
	d.leave("greedy")
	for i := range 2 * maxWatched {
		if p := peer.ID(fmt.Sprint("many", i)); d.enter(p, now) {
			d.leave(p)
		}
	}
	if len(d.peers) > maxWatched {
		t.Errorf("%d peers are remembered", len(d.peers))
	}
	if p := peer.ID("tomorrow"); !d.enter(p, now.Add(24*time.Hour)) {
		t.Error("whoever comes when the list was full never gets in")
	}
}

// Records without end do not fill the memory, and those of one kind leave the other alone.
func TestTheShelf(t *testing.T) {
	s, ctx := newShelf(), context.Background()
	mine := ds.NewKey("/checkpoint/ELM")
	if err := s.Put(ctx, mine, []byte("mine")); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * room[stewards].records {
		if err := s.Put(ctx, ds.NewKey(fmt.Sprint("/steward/", i)), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.kind[stewards]); n != room[stewards].records {
		t.Errorf("%d records of stewards", n)
	}
	if got, err := s.Get(ctx, mine); err != nil || string(got) != "mine" {
		t.Errorf("the checkpoint: %q, %v", got, err)
	}
	if s.Put(ctx, mine, make([]byte, room[checkpoints].bytes+1)) == nil || s.Put(ctx, ds.NewKey("/pk/x"), nil) == nil || len(s.kind) != 2 {
		t.Error("what is too large, or of no kind, is kept")
	}
	if err := s.Delete(ctx, mine); err != nil {
		t.Fatal(err)
	}
	if has, _ := s.Has(ctx, mine); has {
		t.Error("what was deleted is there")
	}
}
