package simnet

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// silence is what there is to be seen of a home that sends nothing.
type silence struct {
	sent    []int64         // bytes that left its link, by second from the request on, added up
	ids     []string        // what every node said to a spy by gossip, and the spy to it: see spy.since
	times   []time.Duration // when, in the same order
	streams []string        // protocols of the streams that its stewards and the spy have with it at the end, sorted
	events  []string        // who connected to or disconnected from it after the request, as these and the police tell
}

// The reasons why a home stays silent. What is filmed where is the camera's; then comes what the owner does.
var reasons = map[string]struct {
	at      geo.Point
	later   time.Duration
	offered bool
	does    string // what the owner's switch does with every request
	act     func(*Owner, consent.RequestID)
}{
	"declined":       {at: Corner, offered: true, act: func(o *Owner, id consent.RequestID) { o.Sees(time.Minute, id); o.Declines(id) }},
	"ignored":        {at: Corner, offered: true, act: func(o *Owner, id consent.RequestID) { o.Sees(time.Minute, id) }},
	"no footage":     {at: Corner, later: -10 * time.Hour, offered: true},
	"outside":        {at: geo.Point{Lat: Corner.Lat + 0.03, Lon: Corner.Lon}, offered: true},
	"not on offer":   {at: Corner},
	"prepared":       {at: Corner, offered: true, does: "prepare", act: func(o *Owner, id consent.RequestID) { o.Prepares(time.Minute, id) }},
	"ignored, again": {at: Corner, offered: true, act: func(o *Owner, id consent.RequestID) { o.Sees(time.Minute, id) }},
}

// stay runs a world in which one home has one reason to be silent and another home answers.
func stay(t *testing.T, reason string) (s silence) {
	why := reasons[reason]
	ear := newSpy()
	story(t, Config{Homes: 3, Stewards: 2, Attackers: []Attack{{Does: ear.joins}}, Does: []string{why.does}, Conditions: street(7)}, func(w *World) {
		filmed := w.Now().Add(-time.Hour - 12*time.Minute).Truncate(time.Minute)
		silent, other := w.Homes[0], w.Homes[1]
		silent.Films(minute(t, filmed.Add(why.later)), why.at, why.offered)
		other.Films(minute(t, filmed), Corner, true)
		w.Settle(time.Minute)

		log := &events{of: silent.id}
		hubs := map[string]*host.Host{"spy": ear.host}
		for _, n := range w.Stewards {
			hubs[n.Name] = n.peer.Host()
		}
		for name, h := range hubs {
			log.watch(name, h)
		}
		log.watch(w.Police.Name, w.Police.peer.Host())
		id, at := w.Police.Asks()
		const seconds = 150
		s.sent = make([]int64, seconds)
		stop := w.Tap(func(p wire.Packet) {
			if i := int(p.At.Sub(at) / time.Second); p.From == silent.Link && i < seconds {
				s.sent[i] += int64(len(p.Payload))
			}
			if p.From == silent.Link && !strings.HasPrefix(p.To.Name, "steward") && p.To.Name != "attacker1" {
				t.Errorf("%s: a packet went to %s", reason, p.To.Name)
			}
		})
		other.Sees(time.Minute, id)
		other.Agrees(id)
		if why.act != nil {
			why.act(silent, id)
		}
		w.Settle(time.Until(at.Add(seconds * time.Second)))
		w.Police.Vault(time.Minute, 1, "open")
		stop()
		for i := range s.sent[1:] {
			s.sent[i+1] += s.sent[i]
		}
		open := func() (streams []string) {
			for name, h := range hubs {
				for _, c := range h.Libp2p().Network().ConnsToPeer(log.peer()) {
					for _, stream := range c.GetStreams() {
						streams = append(streams, fmt.Sprint(name, " ", stream.Stat().Direction, " ", stream.Protocol()))
					}
				}
			}
			slices.Sort(streams)
			return streams
		}
		// A steward may be catching up from the home just now, which is over in two seconds: when it does, and from whom, it draws.
		first := open()
		w.Settle(2 * time.Second)
		s.streams = less(first, less(first, open()))
		for _, n := range append([]*Node{silent.Node, other.Node, w.Homes[2].Node, w.Police.Node}, w.Stewards...) {
			ids, times := ear.since(at, n)
			s.ids, s.times = append(s.ids, ids...), append(s.times, times...)
		}
		log.mu.Lock()
		defer log.mu.Unlock()
		s.events = slices.Clone(log.seen)
	})
	return s
}

// events notes what libp2p tells a node of one peer's connections.
type events struct {
	of string

	mu   sync.Mutex
	seen []string
}

func (e *events) peer() peer.ID {
	id, _ := peer.Decode(e.of)
	return id
}

func (e *events) watch(name string, h *host.Host) {
	note := func(what string) func(network.Network, network.Conn) {
		return func(_ network.Network, c network.Conn) {
			if c.RemotePeer() == e.peer() {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.seen = append(e.seen, name+" "+what)
			}
		}
	}
	h.Libp2p().Network().Notify(&network.NotifyBundle{ConnectedF: note("connected"), DisconnectedF: note("disconnected")})
}

// apart is the most by which what two runs had sent ever differs, in bytes, and the most by which a message of the one
// came earlier or later than in the other.
func (s silence) apart(other silence) (bytes int64, times time.Duration) {
	for i := range s.sent {
		bytes = max(bytes, s.sent[i]-other.sent[i], other.sent[i]-s.sent[i])
	}
	for i := range s.times {
		times = max(times, (s.times[i] - other.times[i]).Abs())
	}
	return bytes, times
}

// less is what a list has more than another.
func less(list, other []string) []string {
	list = slices.Clone(list)
	for _, o := range other {
		if i := slices.Index(list, o); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
	}
	return list
}

// Worlds that differ only in why one home is silent cannot be told apart. Equal in all are the home's streams, who
// connects to it or leaves it, and the messages: which ids every node says to a spy among its stewards and is told by
// it, how, and how often, each id by the docket entry it is the hash of. What leaves the home in bytes, second by
// second, and when each message comes, differs no more than between two worlds with the same reason.
func TestPromise03SilenceIsUniform(t *testing.T) {
	alongside(t)
	if testing.Short() {
		t.Skip("runs twenty-one worlds")
	}
	const runs = 3
	type run struct {
		reason string
		silence
	}
	var all []run
	for reason := range reasons {
		for range runs {
			all = append(all, run{strings.TrimSuffix(reason, ", again"), stay(t, reason)})
		}
	}
	var same, other []int64
	var sameTime, otherTime time.Duration
	for i, a := range all {
		for _, b := range all[:i] {
			if !slices.Equal(a.ids, b.ids) {
				t.Errorf("gossip differs: %s has %q, %s has %q", a.reason, less(a.ids, b.ids), b.reason, less(b.ids, a.ids))
				continue
			}
			if d, late := a.apart(b.silence); a.reason == b.reason {
				same, sameTime = append(same, d), max(sameTime, late)
			} else {
				other, otherTime = append(other, d), max(otherTime, late)
			}
			if !slices.Equal(a.streams, b.streams) {
				t.Errorf("%s has the streams %v, %s has %v", a.reason, a.streams, b.reason, b.streams)
			}
			if !slices.Equal(a.events, b.events) {
				t.Errorf("%s has the peer events %v, %s has %v", a.reason, a.events, b.reason, b.events)
			}
		}
	}
	switch {
	case len(all[0].ids) == 0:
		t.Fatal("the spy heard nothing")
	case len(same) == 0 || len(other) == 0:
		return // no two worlds can be compared
	}
	slices.Sort(same)
	slices.Sort(other)
	t.Logf("bytes sent differ by at most %d with the same reason (median %d of %d pairs) and %d with different ones (median %d of %d)",
		same[len(same)-1], same[len(same)/2], len(same), other[len(other)-1], other[len(other)/2], len(other))
	t.Logf("%d messages are said and told in each world, at times that differ by at most %v with the same reason and %v with different ones",
		len(all[0].ids), sameTime, otherTime)
	if otherTime > max(2*sameTime, time.Millisecond) {
		t.Error("when messages come depends on why a home is silent")
	}
	if other[len(other)/2] > same[len(same)-1] || other[len(other)-1] > 2*same[len(same)-1] {
		t.Error("what a silent home sends depends on why it is silent")
	}
}

// All that a crawler can list, having joined as a home and as a steward: a home learns of stewards only; a steward, of
// the homes that dialled it, and of no address that it could hand on.
func TestPromise05NoRegisterForACrawler(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 12, Stewards: 4, Known: 2, Conditions: street(8)}, func(w *World) {
		id, _ := w.Police.Asks()
		w.Settle(5 * time.Minute)
		homes := map[peer.ID]*Owner{}
		for _, h := range w.Homes {
			if !h.Knows(id) {
				w.fail("%s missed the request", h.Name)
			}
			homes[peerID(t, h.Node)] = h
		}
		for _, crawler := range append([]*Node{w.Homes[3].Node, w.Police.Node}, w.Stewards...) {
			store := crawler.peer.Host().Libp2p().Peerstore()
			for p, h := range homes {
				if h.Node == crawler {
					continue
				}
				dialled := slices.Contains(h.stewards, crawler.addr())
				if known := slices.Contains(store.Peers(), p); known && !dialled {
					t.Errorf("%s knows of %s, which never dialled it", crawler.Name, h.Name)
				}
				for _, a := range store.Addrs(p) {
					t.Errorf("%s could hand on the address %s of %s", crawler.Name, a, h.Name)
				}
			}
			for _, p := range store.Peers() {
				protocols, err := store.GetProtocols(p)
				if err != nil {
					t.Fatal(err)
				}
				for _, proto := range protocols {
					if s := string(proto); !strings.HasPrefix(s, "/porchlight/") && !strings.HasPrefix(s, "/ipfs/id/") {
						t.Errorf("%s offers %s to everybody", p, s)
					}
				}
			}
		}
	})
}

// What homes tell of themselves is the same for all of them, wherever they stand.
func TestPromise04EveryHomeLooksTheSame(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 6, Stewards: 1, Conditions: street(9)}, func(w *World) {
		for i, h := range w.Homes[:3] {
			h.Films(t.TempDir(), geo.Point{Lat: Corner.Lat + float64(i)/100, Lon: Corner.Lon}, true)
		}
		w.Settle(time.Minute)
		store := w.Stewards[0].peer.Host().Libp2p().Peerstore()
		var first string
		for _, h := range w.Homes {
			id := peerID(t, h.Node)
			agent, _ := store.Get(id, "AgentVersion")
			version, _ := store.Get(id, "ProtocolVersion")
			protocols, _ := store.GetProtocols(id)
			slices.Sort(protocols)
			told := fmt.Sprint(agent, version, protocols, store.Addrs(id))
			if first == "" {
				first = told
			}
			if told != first {
				t.Errorf("%s tells %s, home1 tells %s", h.Name, told, first)
			}
		}
	})
}

// Two machines on one cable are a mesh: the police dial the only home there is, ask, and get its answer. Not one packet
// is sent to anybody else.
func TestPromise12TwoMachinesOnOneCable(t *testing.T) {
	alongside(t)
	synctest.Test(t, func(t *testing.T) {
		w := New(t, Config{Homes: 1, Stewards: NoStewards})
		var strangers []string
		stop := w.Tap(func(p wire.Packet) {
			if p.To == nil {
				strangers = append(strangers, p.From.Name)
			}
		})
		ada := w.Homes[0]
		w.Police.Stop()
		w.Police.stewards = []string{ada.addr()}
		w.Police.Start()
		w.Settle(30 * time.Second)
		ada.Films(minute(t, w.Now().Add(-time.Hour-12*time.Minute).Truncate(time.Minute)), Corner, true)
		id, _ := w.Police.Asks()
		ada.Sees(time.Minute, id)
		ada.AgreesStraight(id)
		w.Police.Vault(time.Minute, 1, "open")
		stop()
		if len(strangers) > 0 {
			t.Errorf("packets to addresses that nobody has, from %v", strangers)
		}
	})
}

// A power cut amid a delivery loses nothing: the home goes on when its power returns.
func TestPromise13APowerCutLosesNothing(t *testing.T) {
	alongside(t)
	c := Config{Homes: 2, Stewards: 2, Conditions: street(10)}
	c.Link.Up = 200_000 // slow, so that the cut comes amid the clip
	story(t, c, func(w *World) {
		ada := w.Homes[0]
		ada.Films(minute(t, w.Now().Add(-time.Hour-12*time.Minute).Truncate(time.Minute)), Corner, true)
		id, _ := w.Police.Asks()
		ada.Sees(time.Minute, id)
		ada.Agrees(id)
		w.Until(time.Minute, "bytes to flow", func() bool { return ada.Link.Traffic().SentBytes > 60_000 })
		ada.LosesPower()
		w.Settle(10 * time.Minute)
		w.Police.Vault(time.Second, 0, "open")
		ada.PowerReturns()
		w.Police.Vault(10*time.Minute, 1, "open")
	})
}

func peerID(t *testing.T, n *Node) peer.ID {
	t.Helper()
	id, err := peer.Decode(n.id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
