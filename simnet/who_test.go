package simnet

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/p2p/forward"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// What there is to find out about an answer over stewards.
const (
	theAddress  = "the home's internet address"
	theName     = "the home's peer id"
	theAgency   = "the agency's address"
	theContents = "the contents"
	thatIt      = "that the home answers"
	whichOne    = "which answer is the home's"
)

// An answered world is one in which two homes have answered one request over stewards, and everybody has written down everything.
type answered struct {
	t             *testing.T
	w             *World
	ada, ben      *Owner
	guard, second *Node // of ada's answer
	views         map[string]view
	release       string // ada's, as the requester calls it
	onPath        string // and as its second steward calls what it carried of it
	id            consent.RequestID
}

// answering tells such a world: two homes that answer with clips of different length, one that has nothing and that a crawler runs, and
// four stewards, whom all of them keep. The first home has its camera at a place.
func answering(t *testing.T, seed uint64, at geo.Point, look func(a answered)) {
	story(t, Config{Homes: 3, Stewards: 4, Conditions: street(seed)}, func(w *World) {
		ada, ben, crawler := w.Homes[0], w.Homes[1], w.Homes[2]
		ada.Films(minute(t, w.Now().Add(-time.Hour-12*time.Minute).Truncate(time.Minute)), at, true)
		short := t.TempDir()
		cliptest.Recording(t, short, w.Now().Add(-time.Hour-15*time.Minute).UTC().Format("2006-01-02/15.04.05")+".mp4", 20)
		ben.Films(short, Corner, true)
		w.Police.Enrols()
		hops := map[*Node]*diarist{w.Police.Node: writesDown(w, w.Police.peer.Host(), forward.EndProtocol)}
		for _, s := range w.Stewards {
			hops[s] = writesDown(w, s.peer.Host(), forward.Protocol)
		}
		requester := newView()
		var mu sync.Mutex
		talked := map[string]bool{}
		w.Tap(func(p wire.Packet) {
			if p.To == w.Police.Link {
				mu.Lock()
				defer mu.Unlock()
				talked[string(address(p.From))+" "] = true
			}
		})
		id, _ := w.Police.Asks()
		ada.Sees(time.Minute, id)
		ben.Sees(time.Minute, id)
		w.Settle(time.Minute)

		a := answered{t: t, w: w, ada: ada, ben: ben, id: id}
		line, stop := a.line()
		ada.Agrees(id)
		held := w.Police.Vault(time.Minute, 1, "open")
		w.Settle(2 * time.Second)
		stop()
		a.release = held[0].Release
		a.guard, a.second = ada.path(ada.answer(id))
		first := map[*Node]int{}
		for n, d := range hops {
			first[n] = len(d.all())
		}
		a.onPath = fmt.Sprintf("stream %d of %s", first[a.second], a.second.Name)
		ben.Agrees(id)
		held = w.Police.Vault(time.Minute, 2, "open")
		w.Settle(2 * time.Second)

		homes := map[peer.ID]string{}
		for _, h := range w.Homes {
			homes[peerID(t, h.Node)] = h.Name
		}
		mu.Lock()
		for from := range talked {
			requester.texts["the packets to police"] = append(requester.texts["the packets to police"], from...)
		}
		mu.Unlock()
		requester.streams(w.Police.Name, hops[w.Police.Node], first[w.Police.Node], homes)
		clear(requester.came)
		for _, h := range held {
			requester.came[h.Release] = h.SealedBytes
			out := filepath.Join(w.Police.dir, h.Release+".mp4")
			w.Police.Exports(h.Release, out)
		}
		requester.state(w.Police.Node)
		other := newView()
		a.views = map[string]view{"requester": requester, "neighbour": line}
		for _, s := range w.Stewards {
			v := newView()
			v.streams(s.Name, hops[s], first[s], homes)
			switch s {
			case a.guard:
				a.views["guard"] = v
			case a.second:
				// It takes its own layer off, finds the reply address in it, and hands on what the requester is sent.
				v.texts["the path beyond "+s.Name] = slices.Concat(address(w.Police.Link), hops[w.Police.Node].all()[0].bytes.Bytes())
				a.views["second"] = v
			default:
				other = other.and(v)
			}
		}
		a.views["others"] = other
		crawls := newView()
		crawls.state(crawler.Node)
		a.views["crawler"] = crawls
		look(a)
	})
}

// line is what somebody on the home's own line sees, until stop.
func (a answered) line() (v view, stop func()) {
	v = newView()
	var seen []byte
	untap := a.w.Tap(func(p wire.Packet) {
		if p.From != a.ada.Link && p.To != a.ada.Link {
			return
		}
		for _, l := range []*wire.Link{p.From, p.To} {
			seen = append(append(seen, address(l)...), ' ')
		}
		seen = append(seen, p.Payload...)
		if p.From == a.ada.Link {
			v.sent[a.ada.Name] += int64(len(p.Payload))
		}
	})
	return v, func() {
		untap()
		v.texts["the line of "+a.ada.Name] = seen
	}
}

// knows says which of the facts an observer can derive from all it has.
func (a answered) knows(v view) (facts []string) {
	for _, row := range []struct {
		fact string
		is   bool
	}{
		{theAddress, len(v.where(address(a.ada.Link))) > 0},
		{theName, len(v.where(names(peerID(a.t, a.ada.Node))...)) > 0},
		{theAgency, len(v.where(address(a.w.Police.Link))) > 0},
		{theContents, len(v.where([]byte("moov"), []byte("porchlight/grant/v1"))) > 0},
		{thatIt, v.sent[a.ada.Name] > 30_000},
		{whichOne, slices.Contains([]string{a.release, a.onPath}, v.whose(a.ada.Name))},
	} {
		if row.is {
			facts = append(facts, row.fact)
		}
	}
	return facts
}

// What each observer of an answer over two stewards finds out about the home that sends it, alone and two together, and nothing more. Of
// stewards it is what they see of the path: that the home runs a node at its address they know since it dialled them, and the agency's
// address is public, as the request names it; what they have to find out is what the one has to do with the other. The README says so,
// and where this test fails for something that nobody finds out any more, it may promise more.
func TestPromise08WhoFindsOutWhat(t *testing.T) {
	alongside(t)
	alone := map[string][]string{
		"requester": {theAgency, theContents},
		"guard":     {theAddress, theName, thatIt},
		"second":    {theAgency},
		"others":    nil,
		"neighbour": {theAddress, thatIt},
		"crawler":   {theAgency}, // from the request
	}
	// Two together know what each knows; and what the one saw the home send and the other saw come is one thing, by its size.
	more := map[string][]string{
		"guard and requester":     {whichOne},
		"guard and second":        {whichOne},
		"neighbour and requester": {whichOne},
		"neighbour and second":    {whichOne},
	}
	answering(t, 21, Corner, func(a answered) {
		who := slices.Sorted(maps.Keys(alone))
		for i, one := range who {
			for _, two := range who[i:] {
				name, view, want := one, a.views[one], slices.Clone(alone[one])
				if one != two {
					name, view = one+" and "+two, view.and(a.views[two])
					want = append(append(want, alone[two]...), more[name]...)
				}
				got := a.knows(view)
				t.Logf("%-24s %s", name, strings.Join(got, ", "))
				for _, fact := range []string{theAddress, theName, theAgency, theContents, thatIt, whichOne} {
					switch can, may := slices.Contains(got, fact), slices.Contains(want, fact); {
					case can && !may:
						t.Errorf("%s: can tell %s", name, fact)
					case may && !can:
						t.Errorf("%s: cannot tell %s any more: the README may promise more", name, fact)
					}
				}
			}
		}
		for _, s := range a.w.Stewards {
			if len(s.peer.Host().Libp2p().Network().ConnsToPeer(peerID(t, a.ada.Node))) == 0 {
				t.Errorf("%s does not see that %s runs a node: the README may promise more", s.Name, a.ada.Name)
			}
		}
		// Straight, the agency does see it.
		pairs, stop := a.w.talks()
		a.ada.AgreesStraight(a.id)
		a.w.Police.Vault(time.Minute, 3, "open")
		stop()
		if pairs()[a.ada.Name+" to "+a.w.Police.Name] == 0 {
			t.Error("an answer that goes straight does not show the home's address: the README may promise more")
		}
	})
}

// A home's place is in nothing that goes over the hidden path, in nothing that a steward of it or the agency keeps or logs.
func TestPromise04NoPlaceOnTheHiddenPath(t *testing.T) {
	alongside(t)
	at := geo.Point{Lat: 44.00031234, Lon: -40.00005678}
	answering(t, 22, at, func(a answered) {
		whole := newView()
		for _, v := range a.views {
			whole = whole.and(v)
		}
		for _, n := range append([]*Node{a.w.Police.Node}, a.w.Stewards...) {
			whole.state(n)
		}
		if len(whole.where([]byte("front desk"))) == 0 {
			t.Fatal("nothing is found in what everybody has, not even the request")
		}
		for _, part := range []string{"44.00031", "00031234", "40.00005", "00005678", "44.0003", "40.0000567"} {
			if places := whole.where([]byte(part)); len(places) > 0 {
				t.Errorf("%q of the camera's place stands in %v", part, places)
			}
		}
	})
}

// A crawler learns of no home from an answer: the agency and the second steward have no address of it, the throwaway keys are in nobody's
// store, and a steward says the same of a home that it is connected to and of one that is nowhere.
func TestPromise05AnAnswerIsInNoRegister(t *testing.T) {
	alongside(t)
	answering(t, 23, Corner, func(a answered) {
		id := peerID(t, a.ada.Node)
		for _, n := range append([]*Node{a.w.Police.Node}, a.w.Stewards...) {
			store := n.peer.Host().Libp2p().Peerstore()
			for _, addr := range store.Addrs(id) {
				t.Errorf("%s could hand on the address %s of %s", n.Name, addr, a.ada.Name)
			}
			known := map[peer.ID]bool{}
			for _, o := range slices.Concat(a.w.Stewards, []*Node{a.w.Police.Node, a.w.Homes[0].Node, a.w.Homes[1].Node, a.w.Homes[2].Node}) {
				known[peerID(t, o)] = true
			}
			for _, p := range store.Peers() {
				if !known[p] {
					t.Errorf("%s remembers %s, a key that was made for one answer", n.Name, p)
				}
			}
		}
		if places := a.views["requester"].where(append(names(id), address(a.ada.Link))...); len(places) > 0 {
			t.Errorf("the agency finds the home in %v", places)
		}

		crawler := a.w.Homes[2]
		_, key, err := ed25519.GenerateKey(rand.Reader)
		a.w.must(err)
		absent, err := host.IDOf(key)
		a.w.must(err)
		type answer struct {
			says string
			took time.Duration
		}
		var all []answer
		for _, target := range []string{a.ada.id, a.ben.id, absent} {
			_, throwaway, err := ed25519.GenerateKey(rand.Reader)
			a.w.must(err)
			at := time.Now()
			_, err = forward.Dial(a.w.t.Context(), crawler.peer.Host(), []string{a.w.Stewards[0].id, target}, a.w.Police.addr(), throwaway)
			var hop *forward.HopError
			if !errors.As(err, &hop) {
				t.Fatalf("asked for a home: %v", err)
			}
			all = append(all, answer{hop.Error(), time.Since(at).Round(time.Millisecond)})
		}
		if all[0] != all[2] || all[1] != all[2] {
			t.Errorf("of two homes and of nobody a steward says %v", all)
		}
	})
}
