package simnet

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/home"
	"github.com/porchlight-mesh/porchlight/p2p/forward"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// talks notes who sends packets to whom from now on.
func (w *World) talks() (pairs func() map[string]int64, stop func()) {
	var mu sync.Mutex
	sent := map[string]int64{}
	stop = w.Tap(func(p wire.Packet) {
		to := "nobody"
		if p.To != nil {
			to = p.To.Name
		}
		mu.Lock()
		sent[p.From.Name+" to "+to] += int64(len(p.Payload))
		mu.Unlock()
	})
	return func() map[string]int64 {
		mu.Lock()
		defer mu.Unlock()
		out := map[string]int64{}
		for k, v := range sent {
			out[k] = v
		}
		return out
	}, stop
}

// films gives an owner a camera with the minute that the next request asks about.
func (w *World) films(o *Owner) {
	w.t.Helper()
	o.Films(minute(w.t, w.Now().Add(-time.Hour-12*time.Minute).Truncate(time.Minute)), Corner, true)
}

// asked is an owner who sees a request for a minute that the owner has.
func (w *World) asked() (*Owner, consent.RequestID) {
	w.t.Helper()
	o := w.Homes[0]
	w.films(o)
	id, _ := w.Police.Asks()
	o.Sees(time.Minute, id)
	return o, id
}

// answer is the one answer of an owner to a request.
func (o *Owner) answer(id consent.RequestID) home.AnswerStatus {
	o.w.t.Helper()
	var c home.Card
	o.do("home.show", home.RequestArg{Request: string(id)}, &c)
	if len(c.Answers) != 1 {
		o.w.fail("%s has %d answers", o.Name, len(c.Answers))
	}
	return c.Answers[0]
}

// A clip goes over two stewards. Nothing of it can be read on the way, the home and the police exchange no packet, the steward that the home
// talks to sends the police nothing of that size, and the one that does gets nothing of it from the home.
func TestPromise08NoForwarderSeesContentOrBothEnds(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 2, Stewards: 4, NATShare: 1, Conditions: street(11)}, func(w *World) {
		secrets := [][]byte{[]byte("EP-2026-"), []byte("door"), []byte("moov"), []byte("AGE-SECRET-KEY"), []byte("porchlight/grant")}
		w.Tap(func(p wire.Packet) {
			for _, s := range secrets {
				if bytes.Contains(p.Payload, s) {
					t.Errorf("%q can be read on the way from %s to %s", s, p.From.Name, p.To.Name)
				}
			}
		})
		ada, id := w.asked()
		w.Settle(time.Minute)
		pairs, stop := w.talks()
		ada.Agrees(id)
		held := w.Police.Vault(time.Minute, 1, "open")
		w.Settle(5 * time.Second)
		stop()
		size := held[0].SealedBytes
		var guards, seconds []string
		for pair, bytes := range pairs() {
			from, to, _ := strings.Cut(pair, " to ")
			switch {
			case from == ada.Name && to == w.Police.Name, to == ada.Name && from == w.Police.Name:
				t.Errorf("%d bytes went from %s", bytes, pair)
			case from == ada.Name && bytes > size:
				guards = append(guards, to)
			case to == w.Police.Name && bytes > size:
				seconds = append(seconds, from)
			}
		}
		if len(guards) != 1 || len(seconds) != 1 || guards[0] == seconds[0] {
			t.Errorf("the clip left over %v and came over %v", guards, seconds)
		}
		for _, p := range w.Police.peer.Host().Peers() {
			if p.ID == ada.id || strings.Contains(p.Addr, ada.Link.IP().String()) {
				t.Errorf("the police are connected to %s", p.Addr)
			}
		}
	})
}

// Police whom nobody reaches are looked for over three second stewards and no more, and their owner is asked nothing: no path is at fault.
func TestAHomeGivesAwayThreePathsAndNoMore(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 1, Stewards: 6, Known: 6, Conditions: street(12)}, func(w *World) {
		ada, id := w.asked()
		// The police's own line is cut for the stewards, each of whom says that nobody is there: that is no path's fault.
		w.Police.Link.Off()
		w.Settle(2 * time.Minute)
		ada.Agrees(id)
		w.Until(2*time.Hour, "the home to find nobody", func() bool { return ada.answer(id).Reason == home.Unreachable && ada.answer(id).Paths == 3 })
		w.Settle(40 * time.Minute)
		if a := ada.answer(id); a.Paths > 3 || a.Reason != home.Unreachable {
			w.fail("later: %+v", a)
		}
		w.Police.Link.On()
		w.Police.Vault(time.Hour, 1, "open")
	})
}

// Police who break every delivery off learn of three second stewards behind one guard, and then of none, until the owner lets the answer go on.
func TestCuttingDeliveriesDoesNotRotatePaths(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 1, Stewards: 6, Known: 6, Conditions: street(13)}, func(w *World) {
		ada, id := w.asked()
		var mu sync.Mutex
		seen, tries := map[string]bool{}, 0
		w.Police.peer.Host().Libp2p().SetStreamHandler(forward.EndProtocol, func(st network.Stream) {
			mu.Lock()
			defer mu.Unlock()
			seen[st.Conn().RemotePeer().String()] = true
			tries++
			st.Reset()
		})
		ada.Agrees(id)
		w.Until(time.Minute, "the first path", func() bool { return ada.answer(id).Paths == 1 })
		guard, _ := ada.path(ada.answer(id))
		w.Until(6*time.Hour, "the home to ask its owner", func() bool { return ada.answer(id).Reason == home.PathsUsed })
		w.Settle(2 * time.Hour)
		mu.Lock()
		over := len(seen)
		t.Logf("%d deliveries were cut, which came over %d stewards", tries, over)
		mu.Unlock()
		if over > 3 {
			t.Errorf("%d stewards were seen before the owner was asked", over)
		}
		if now := ada.answer(id); now.Reason != home.PathsUsed || now.Paths != 3 {
			w.fail("two hours later the answer is %+v", now)
		}
		if last, _ := ada.path(ada.answer(id)); last != guard || seen[guard.id] {
			t.Errorf("the paths began with %s and then with %s, and ended over %v", guard.Name, last.Name, seen)
		}
		w.Police.Stop()
		w.Police.Start()
		w.Settle(time.Second)
		ada.do("home.retry", home.Retry{Request: string(id)}, nil)
		w.Police.Vault(10*time.Minute, 1, "open")
	})
}

// An objection leaves a home as a clip does: a steward publishes it that does not know where it comes from, and the home itself has it
// only when it comes back.
func TestAnObjectionLeavesAHomeOverStewards(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 3, Stewards: 4, Conditions: street(14)}, func(w *World) {
		ada := w.Homes[0]
		id, _ := w.Police.Asks()
		w.shows(10*time.Second, w.everybody(), id)
		note, err := consent.Sign(request.Objection{Agency: w.Police.agency.ID(), Request: id, Reason: "It asks about a lawful gathering.",
			Created: consent.At(w.Now()), By: w.signer.Verifier()}, w.signer)
		w.must(err)
		var first string // who has it first
		objected := func(n *Node) bool {
			r, err := n.peer.Request(string(id))
			w.must(err)
			return len(n.peer.Objections(r)) == 1
		}
		var done node.Objected
		ada.do("object", node.ObjectionNote{Note: string(note)}, &done)
		if done.By != "Ana" || done.Leaves.IsZero() {
			w.fail("the home says %+v", done)
		}
		w.Until(time.Minute, "the objection to be public", func() bool {
			for _, n := range w.everybody() {
				if objected(n) {
					first = n.Name
					return true
				}
			}
			return false
		})
		if !strings.HasPrefix(first, "steward") {
			w.fail("%s has the objection first", first)
		}
		for _, n := range w.everybody() {
			w.Until(10*time.Second, n.Name+" to show the objection", func() bool { return objected(n) })
		}
		w.Until(time.Second, "the outbox to be empty", func() bool {
			left, err := filepath.Glob(filepath.Join(ada.dir, "outbox", "*"))
			w.must(err)
			return len(left) == 0
		})
	})
}

// Homes behind each kind of NAT answer police with a public address, with a mapped port, and behind a NAT themselves; each clip comes over the
// stewards that it should, and no home and the police ever exchange a packet.
func TestHomesBehindEveryNATReachEveryPolice(t *testing.T) {
	alongside(t)
	for _, row := range []struct {
		name    string
		station wire.LinkConfig
		over    int // the steward that the police are reached over
	}{
		{name: "public"},
		{name: "mapped", station: wire.LinkConfig{Up: wire.DefaultDown, Down: wire.DefaultDown, NAT: true, Kind: wire.PortRestricted, Open: port}},
		{name: "behind NAT", station: wire.LinkConfig{Up: wire.DefaultDown, Down: wire.DefaultDown, NAT: true, Kind: wire.Symmetric}, over: 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			kinds := []wire.NATKind{wire.FullCone, wire.AddressRestricted, wire.PortRestricted, wire.Symmetric, wire.CarrierGrade, wire.CarrierGrade, wire.Filtering}
			c := Config{Homes: len(kinds), Stewards: 4, Kinds: kinds, Station: row.station, Over: row.over, Conditions: street(15)}
			story(t, c, func(w *World) {
				for _, h := range w.Homes {
					w.films(h)
				}
				id, _ := w.Police.Asks()
				for _, h := range w.Homes {
					h.Sees(time.Minute, id)
				}
				pairs, stop := w.talks()
				var left []string
				for i, h := range w.Homes {
					before := pairs()
					h.Agrees(id)
					size := w.Police.Vault(time.Minute, i+1, "open")[i].SealedBytes
					w.Settle(2 * time.Second)
					for pair, bytes := range pairs() {
						from, to, _ := strings.Cut(pair, " to ")
						switch {
						case from == h.Name && to == w.Police.Name, to == h.Name && from == w.Police.Name:
							t.Errorf("%d bytes from %s", bytes, pair)
						case to == w.Police.Name && bytes-before[pair] > size/2:
							left = append(left, from)
						}
					}
				}
				stop()
				t.Logf("the clips came over %v", left)
				if len(left) != len(kinds) {
					t.Errorf("the clips came over %v", left)
				}
				for _, s := range left {
					if row.over > 0 && s != w.Stewards[row.over-1].Name {
						t.Errorf("a clip came over %s", s)
					}
				}
			})
		})
	}
}

// Reply addresses that lead to where nobody answers show their owner stewards who look for the police, never a home, and no more of them than an answer
// has paths.
func TestReplyAddressesAreNoProbes(t *testing.T) {
	alongside(t)
	c := Config{Homes: 2, Stewards: 6, Known: 6, Conditions: street(16)}
	story(t, c, func(w *World) {
		trap := w.Join("trap", wire.LinkConfig{})
		for p := range uint16(3) {
			w.Police.reply = append(w.Police.reply, fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", trap.IP(), 5000+p))
		}
		w.Police.Stop()
		w.Police.Start()
		w.Settle(time.Second)
		ada, id := w.asked()
		// Stewards who are connected to the police would go there, whatever the address says.
		w.Police.Link.Off()
		w.Settle(2 * time.Minute)
		pairs, stop := w.talks()
		ada.Agrees(id)
		w.Until(3*time.Hour, "the home to find nobody", func() bool { return ada.answer(id).Paths == 3 })
		w.Settle(20 * time.Minute)
		stop()
		var seen []string
		for pair, bytes := range pairs() {
			from, to, _ := strings.Cut(pair, " to ")
			if to != trap.Name {
				continue
			}
			seen = append(seen, from)
			if !strings.HasPrefix(from, "steward") {
				t.Errorf("%s sent %d bytes into the trap", from, bytes)
			}
			if bytes > 1<<20 {
				t.Errorf("%s sent %d bytes to an address that says nothing", from, bytes)
			}
		}
		if len(seen) == 0 || len(seen) > 3 {
			t.Errorf("%v came into the trap", seen)
		}
		if a := ada.answer(id); a.Reason != home.Unreachable {
			t.Errorf("the answer is %+v", a)
		}
	})
}

// A home that is offline for hours amid an answer loses neither its path nor the answer: nobody cut anything.
func TestAHomeThatWasOfflineKeepsItsPath(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 1, Stewards: 2, Conditions: street(17)}, func(w *World) {
		ada, id := w.asked()
		w.Police.Link.Off()
		w.Settle(2 * time.Minute)
		ada.Agrees(id)
		w.Until(time.Minute, "the home to find nobody", func() bool { return ada.answer(id).Reason == home.Unreachable })
		ada.Link.Off()
		before := ada.answer(id).Paths
		w.Settle(3 * time.Hour)
		if a := ada.answer(id); a.Paths != before || a.Reason == home.PathsUsed {
			w.fail("offline, the answer went from %d paths to %+v", before, a)
		}
		w.Police.Link.On()
		ada.Link.On()
		w.Police.Vault(time.Hour, 1, "open")
		if a := ada.answer(id); a.Paths != before {
			w.fail("back online, the answer went over %d paths", a.Paths)
		}
	})
}
