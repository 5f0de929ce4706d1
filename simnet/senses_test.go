package simnet

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// A trial's clock: the request is asked at 0, the owner under test decides or does not at decides, and everybody stops writing at ends.
const (
	decides = 40 * time.Second
	ends    = 100 * time.Second
)

// windows are the parts of a trial in which things are counted.
var windows = []struct {
	name        string
	from, until time.Duration
}{
	{"as the request comes", 0, time.Second},
	{"before the decision", time.Second, decides},
	{"at the decision", decides, decides + time.Second},
	{"soon after it", decides + time.Second, decides + 15*time.Second},
	{"later", decides + 15*time.Second, ends},
	{"in all", 0, ends},
}

// numbers are what one observer, or two together, wrote down in one trial, by name. Each is a distinguisher.
type numbers map[string]float64

// A trace is the packets that somebody sees, without what is in them.
type trace []glimpse

type glimpse struct {
	at   time.Duration
	size int
	in   bool // to the home under test, or to the observer where it is not about that one
}

// counts are what can be counted of a trace: packets and bytes by direction and window, gaps, sizes, first times.
func (t trace) counts(who string, into numbers) {
	for _, in := range []bool{false, true} {
		way := map[bool]string{false: "out", true: "in"}[in]
		name := func(what string) string { return who + ": " + what + ", " + way }
		var mine trace
		for _, g := range t {
			if g.in == in {
				mine = append(mine, g)
			}
		}
		for _, w := range windows {
			var packets, bytes int
			for _, g := range mine {
				if g.at >= w.from && g.at < w.until {
					packets, bytes = packets+1, bytes+g.size
				}
			}
			into[name("packets "+w.name)], into[name("bytes "+w.name)] = float64(packets), float64(bytes)
		}
		for _, mark := range []struct {
			what string
			at   time.Duration
		}{{"the request", 0}, {"the decision", decides}} {
			first := ends
			for _, g := range mine {
				if g.at > mark.at {
					first = min(first, g.at-mark.at)
				}
			}
			into[name("first packet after "+mark.what)] = first.Seconds()
		}
		var gaps, sizes []float64
		for i, g := range mine {
			if sizes = append(sizes, float64(g.size)); i > 0 {
				gaps = append(gaps, (g.at - mine[i-1].at).Seconds())
			}
		}
		for what, list := range map[string][]float64{"gap": gaps, "size": sizes} {
			least, middle, most, mean, spread := summary(list)
			into[name("smallest "+what)], into[name("median "+what)], into[name("largest "+what)] = least, middle, most
			into[name("mean "+what)], into[name("spread of "+what+"s")] = mean, spread
		}
	}
}

func summary(list []float64) (least, middle, most, mean, spread float64) {
	if len(list) == 0 {
		return
	}
	list = slices.Sorted(slices.Values(list))
	for _, x := range list {
		mean += x / float64(len(list))
	}
	for _, x := range list {
		spread += (x - mean) * (x - mean) / float64(len(list))
	}
	return list[0], list[len(list)/2], list[len(list)-1], mean, math.Sqrt(spread)
}

// rhythm is a trace's bytes by second.
func (t trace) rhythm() []float64 {
	out := make([]float64, int(ends/time.Second))
	for _, g := range t {
		if i := int(g.at / time.Second); i >= 0 && i < len(out) {
			out[i] += float64(g.size)
		}
	}
	return out
}

// together is how much two rhythms rise and fall with each other (Pearson's correlation).
func together(a, b []float64) float64 {
	_, _, _, am, as := summary(a)
	_, _, _, bm, bs := summary(b)
	if as == 0 || bs == 0 {
		return 0
	}
	sum := 0.0
	for i := range a {
		sum += (a[i] - am) * (b[i] - bm)
	}
	return sum / float64(len(a)) / as / bs
}

// senses writes down what every observer of a home sees of it, from the request on.
type senses struct {
	w    *World
	of   *Owner
	at   time.Time
	ear  *spy
	hubs map[string]*host.Host // who is connected to the home, by what it is called
	stop []func()

	mu      sync.Mutex
	traces  map[string]trace
	events  map[string]int // connected and disconnected, by whom it was told
	streams map[string]int // of the home with a hub: how often one was open when somebody looked
}

// The observers, in the order in which pairs of them are named.
var observers = []string{"requester", "steward1", "steward2", "spy", "neighbour", "crawler"}

// watch begins. Everybody watches from before the request is asked, and counts from then on.
func watch(w *World, of *Owner, ear *spy) *senses {
	s := &senses{w: w, of: of, ear: ear, at: time.Now().Add(1000 * time.Hour), hubs: map[string]*host.Host{"spy": ear.host},
		traces: map[string]trace{}, events: map[string]int{}, streams: map[string]int{}}
	for _, n := range w.Stewards {
		s.hubs[n.Name] = n.peer.Host()
	}
	crawler := w.Homes[len(w.Homes)-1] // it has joined as a home, and has every steward
	s.stop = append(s.stop, w.Tap(func(p wire.Packet) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.At.Before(s.at) || p.To == nil {
			return
		}
		see := func(who string, in bool) {
			s.traces[who] = append(s.traces[who], glimpse{p.At.Sub(s.at), len(p.Payload), in})
		}
		for _, end := range []*wire.Link{p.From, p.To} {
			switch other := p.From; end {
			case of.Link:
				if p.From == end {
					other = p.To
				}
				see("neighbour", p.To == end)
				switch other.Name {
				case "steward1", "steward2":
					see(other.Name, p.To == end)
				case "attacker1":
					see("spy", p.To == end)
				}
			case w.Police.Link:
				see("requester", p.To == end)
			case crawler.Link:
				see("crawler", p.To == end)
			}
		}
	}))
	id, _ := peer.Decode(of.id)
	for name, h := range map[string]*host.Host{"spy": ear.host, "steward1": s.hubs["steward1"], "steward2": s.hubs["steward2"],
		"requester": w.Police.peer.Host(), "crawler": crawler.peer.Host()} {
		note := func(what string) func(network.Network, network.Conn) {
			return func(_ network.Network, c network.Conn) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.events[name+": anybody "+what]++
				if c.RemotePeer() == id {
					s.events[name+": the home "+what]++
				}
			}
		}
		bundle := &network.NotifyBundle{ConnectedF: note("connected"), DisconnectedF: note("disconnected")}
		h.Libp2p().Network().Notify(bundle)
		s.stop = append(s.stop, func() { h.Libp2p().Network().StopNotify(bundle) })
	}
	return s
}

// asked says when the request was, and starts looking at streams, which libp2p announces to nobody.
func (s *senses) asked(at time.Time) {
	s.mu.Lock()
	s.at = at
	s.mu.Unlock()
	id, _ := peer.Decode(s.of.id)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() { // until stopped
		defer close(ended)
		for {
			for name, h := range s.hubs {
				for _, c := range h.Libp2p().Network().ConnsToPeer(id) {
					for _, st := range c.GetStreams() {
						s.mu.Lock()
						s.streams[fmt.Sprintf("%s: streams, %v, %s", name, st.Stat().Direction, st.Protocol())]++
						s.streams[name+": streams"]++
						s.mu.Unlock()
					}
				}
			}
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	s.stop = append(s.stop, func() { close(done); <-ended })
}

// ended is all that was written down.
func (s *senses) ended() numbers {
	for _, stop := range s.stop {
		stop()
	}
	out := numbers{}
	rhythms := map[string][]float64{}
	for _, who := range observers {
		s.traces[who].counts(who, out)
		rhythms[who] = s.traces[who].rhythm()
	}
	for i, a := range observers {
		for _, b := range observers[:i] {
			out[b+" and "+a+": rhythms together"] = together(rhythms[a], rhythms[b])
			out[b+" and "+a+": lag of their first packets after the decision"] = out[a+": first packet after the decision, out"] - out[b+": first packet after the decision, out"]
		}
	}
	for name, n := range s.events {
		out[name] = float64(n)
	}
	for name, n := range s.streams {
		out[name] = float64(n)
	}
	s.gossip(out)
	s.registers(out)
	return out
}

// gossip is what the spy heard: how many ids by verb, the home's and everybody's, and when the home said the first and the last.
func (s *senses) gossip(into numbers) {
	s.ear.mu.Lock()
	defer s.ear.mu.Unlock()
	home, _ := peer.Decode(s.of.id)
	for p, all := range s.ear.said {
		whose := "others'"
		if p == home {
			whose = "the home's"
		}
		for _, m := range all {
			at := m.at.Sub(s.at)
			if at < 0 || at >= ends {
				continue
			}
			name := "spy: " + whose + " gossip, " + m.verb
			into[name]++
			if p != home {
				continue
			}
			if first, ok := into[name+", first"]; !ok || at.Seconds() < first {
				into[name+", first"] = at.Seconds()
			}
			into[name+", last"] = max(into[name+", last"], at.Seconds())
		}
	}
}

// registers is what there is to list in the end at the requester, at the stewards and at a home that a crawler runs.
func (s *senses) registers(into numbers) {
	crawler := s.w.Homes[len(s.w.Homes)-1]
	for name, n := range map[string]*Node{"requester": s.w.Police.Node, "crawler": crawler.Node, "steward1": s.w.Stewards[0], "steward2": s.w.Stewards[1]} {
		net, store := n.peer.Host().Libp2p().Network(), n.peer.Host().Libp2p().Peerstore()
		into[name+": connections"] = float64(len(net.Conns()))
		into[name+": peers in its store"] = float64(len(store.Peers()))
		into[name+": addresses in its store"] = 0
		for _, p := range store.Peers() {
			into[name+": addresses in its store"] += float64(len(store.Addrs(p)))
		}
	}
	if d, ok := crawler.ArrivedAfter(s.at); ok {
		into["crawler: when the request came"] = d.Seconds()
	}
	if d, ok := s.w.Stewards[0].ArrivedAfter(s.at); ok {
		into["steward1: when the request came"] = d.Seconds()
	}
}
