package simnet

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/attack"
)

// town is a neighbourhood of two halves that only stewards join: each home keeps the three stewards of odd numbers, or the three others.
func town(seed uint64) Config {
	c := Config{Homes: 30, Stewards: 6, Known: 3, NATShare: 0.9, Conditions: street(seed)}
	if raced() {
		c.Homes = 6
	}
	return c
}

// halves are the stewards and homes of a town, those of odd stewards first.
func (w *World) halves() (odd, even []*Node) {
	for i, n := range w.Stewards {
		if i%2 == 0 {
			odd = append(odd, n)
		} else {
			even = append(even, n)
		}
	}
	for i, h := range w.Homes {
		if w.cfg.keeps(i)[0]%2 == 0 {
			odd = append(odd, h.Node)
		} else {
			even = append(even, h.Node)
		}
	}
	return odd, even
}

// publishes hands a version of the charter to a node.
func (w *World) publishes(n *Node, note []byte) {
	w.t.Helper()
	n.do("charter.publish", node.CharterNote{Notes: []string{string(note)}}, nil)
}

// hold says whether all of some nodes go by a version of the charter, and whether that is because the next one is frozen.
func (w *World) hold(nodes []*Node, version int, frozen bool) bool {
	for _, n := range nodes {
		chain, err := node.ReadCharter(filepath.Join(n.dir, "charter"))
		w.must(err)
		if chain.Frozen() != frozen || n.peer.Charter().Version != version {
			return false
		}
	}
	return true
}

// shows waits until all of some nodes that run show a request.
func (w *World) shows(within time.Duration, nodes []*Node, id consent.RequestID) {
	w.t.Helper()
	for _, n := range nodes {
		if n.peer != nil {
			w.Until(within, n.Name+" to show the request", func() bool { return n.Knows(id) })
		}
	}
}

// hides fails where one of some nodes shows a request.
func (w *World) hides(nodes []*Node, id consent.RequestID) {
	w.t.Helper()
	for _, n := range nodes {
		if n.Knows(id) {
			w.fail("%s shows request %.12s", n.Name, id)
		}
	}
}

// suspends says whether a node holds a proof of the agency's misconduct, on its disk, and shows nothing that it asks.
func (n *Node) suspends(a charter.Agency) bool {
	proof, err := os.ReadFile(filepath.Join(n.dir, "dockets", string(a.ID()), "misconduct"))
	if err != nil {
		return false
	}
	m, err := docket.ParseMisconduct(proof)
	n.w.must(err)
	n.w.must(m.Verify(a))
	for _, r := range n.peer.Requests() {
		if r.Agency == a.ID() && r.Live(n.w.Now()) {
			return false
		}
	}
	return n.peer.Docket(a.ID()).Forked()
}

// suspended waits until every node that runs has suspended the agency.
func (w *World) suspended(within time.Duration, a charter.Agency) {
	w.t.Helper()
	began := time.Now()
	for _, n := range w.everybody() {
		w.Until(within-time.Since(began), n.Name+" to suspend "+a.Name, func() bool { return n.suspends(a) })
	}
	w.t.Logf("everybody has suspended the agency after %v", time.Since(began))
}

// everybody is all stewards and homes that run.
func (w *World) everybody() (all []*Node) {
	all = append(all, w.Stewards...)
	for _, h := range w.Homes {
		if h.peer != nil {
			all = append(all, h.Node)
		}
	}
	return all
}

// The police tell one half of the mesh one thing and the other half another. Nobody witnesses dockets here, so each half believes what
// it is told, until they meet; the police are not there by then.
func TestAForkBetweenTwoHalvesIsPunishedWhenTheyMeet(t *testing.T) {
	alongside(t)
	story(t, town(31), func(w *World) {
		w.Police.Enrols()
		w.Settle(10 * time.Second)
		odd, even := w.halves()
		twin := w.Police.Twin(even...)
		w.Splits(append(even, twin.Node))
		w.Settle(time.Minute)
		one, _ := w.Police.Asks()
		other, _ := twin.Asks()
		more, _ := twin.Asks()
		w.shows(5*time.Second, odd, one)
		w.shows(5*time.Second, even, other)
		w.shows(5*time.Second, even, more)
		w.hides(even, one)
		w.hides(odd, other)

		away, moves := odd[len(odd)-1], odd[len(odd)-2]
		away.LosesPower()
		moves.LosesPower()
		w.Police.LosesPower()
		twin.LosesPower()
		w.Heals()
		w.suspended(10*time.Second, w.Police.agency)

		// One home comes home; another has moved to where everybody had the other version, which is longer than its own.
		moves.stewards = w.addrs(w.Stewards[1:2])
		w.must(os.Remove(filepath.Join(moves.dir, "peers.json")))
		away.PowerReturns()
		moves.PowerReturns()
		w.suspended(10*time.Second, w.Police.agency)
	})
}

// The charter names three witnesses, two of whom have to cosign. Two are in one half of the mesh, and the fork in the other half finds only one.
func TestAForkFindsNoQuorum(t *testing.T) {
	alongside(t)
	c := town(32)
	c.Witnesses, c.Quorum = 3, 2
	story(t, c, func(w *World) {
		w.Police.Enrols()
		w.Settle(10 * time.Second)
		odd, even := w.halves()
		twin := w.Police.Twin(w.Stewards...)
		w.Settle(20 * time.Second)
		w.Splits(append(even, twin.Node))
		one, at := w.Police.Asks()
		if took := time.Since(at); took > 2*time.Second {
			w.fail("a witness that does not answer holds a request up for %v", took)
		}
		other, _ := twin.Asks()
		w.shows(5*time.Second, odd, one)
		w.Settle(time.Minute)
		w.hides(even, one)
		w.hides(append(w.everybody(), twin.Node), other)

		// Nobody has seen the fork but the one witness who cosigned it.
		w.Police.LosesPower()
		twin.LosesPower()
		w.Heals()
		w.suspended(10*time.Second, w.Police.agency)
		w.hides(append(w.everybody(), twin.Node), other)
	})
}

// One home hears from nobody but a second node of the police. Where nobody witnesses dockets, it believes what it is told, until it meets anybody
// else; with a quorum it shows its owner nothing that the mesh has not seen.
func TestAPrivateForkFailsOnTheQuorum(t *testing.T) {
	alongside(t)
	for _, row := range []struct {
		name              string
		witnesses, quorum int
	}{{"nobody witnesses", 0, 0}, {"two of three witness", 3, 2}} {
		t.Run(row.name, func(t *testing.T) {
			c := town(33)
			c.Homes, c.Witnesses, c.Quorum = 6, row.witnesses, row.quorum
			story(t, c, func(w *World) {
				w.Police.Enrols()
				w.Settle(10 * time.Second)
				alone := w.Homes[0]
				friends := alone.stewards
				alone.Stop()
				w.must(os.Remove(filepath.Join(alone.dir, "peers.json")))
				twin := w.Police.Twin(alone.Node)
				alone.stewards = []string{twin.addr()}
				alone.Start()
				w.Settle(30 * time.Second)
				lure, _ := twin.Asks()
				seen, _ := w.Police.Asks()
				w.shows(5*time.Second, w.everybody()[:len(w.Stewards)], seen)
				w.Settle(time.Minute)
				if alone.Peers() != 1 || alone.Knows(seen) {
					w.fail("the home is not alone: %d peers", alone.Peers())
				}
				if shown := alone.Knows(lure); shown != (row.quorum == 0) {
					w.fail("%s, and the home shows the private fork: %v", row.name, shown)
				}

				twin.LosesPower()
				w.Police.LosesPower()
				alone.Stop()
				alone.stewards = friends
				alone.Start()
				if row.quorum == 0 {
					w.suspended(10*time.Second, w.Police.agency)
					return
				}
				w.shows(10*time.Second, []*Node{alone.Node}, seen)
				w.hides(w.everybody(), lure)
			})
		})
	}
}

// Ana signs two second versions of the charter. One is published in one half of the mesh and admits a sheriff, the other one in the other half. When
// the halves meet, neither counts, until a third version names both.
func TestACharterForkFreezesAndHeals(t *testing.T) {
	alongside(t)
	story(t, town(34), func(w *World) {
		w.Police.Enrols()
		sheriff := w.founds("sheriff", "Elm County Sheriff")
		first := *w.chain.Current()
		version := func(n int, change func(*charter.Charter)) []byte {
			c := first
			c.Version, c.Created, c.Previous = n, consent.At(w.Now()), w.chain.CurrentHash()
			change(&c)
			note, err := consent.Sign(c, w.signer)
			w.must(err)
			return note
		}
		admits := func(c *charter.Charter) { c.Agencies = append(c.Agencies[:1:1], sheriff.agency) }
		two := version(2, admits)
		rival := version(2, func(c *charter.Charter) {
			c.Limits.MaxRetentionDays = 30
			c.Daily = charter.DefaultDaily(c.Limits)
		})

		odd, even := w.halves()
		w.Splits(even)
		w.Settle(time.Minute)
		w.publishes(odd[0], two)
		w.publishes(even[0], rival)
		w.Until(5*time.Second, "each half to have its version", func() bool { return w.hold(odd, 2, false) && w.hold(even, 2, false) })
		sheriff.opens("sheriff", w.addrs(w.Stewards))
		w.others = append(w.others, sheriff.Node)
		w.Settle(10 * time.Second)
		before, _ := sheriff.Asks()
		w.shows(5*time.Second, odd, before)
		w.hides(even, before)

		healed := time.Now()
		w.Heals()
		w.Until(10*time.Second, "everybody to freeze the charter", func() bool { return w.hold(w.everybody(), 1, true) })
		t.Logf("everybody froze after %v", time.Since(healed))
		w.hides(w.everybody(), before)
		err := sheriff.commands.Call(t.Context(), "agency.draft", agency.Draft{}, nil)
		if err == nil || !strings.Contains(err.Error(), "does not admit") {
			w.fail("the sheriff, whom only one of two versions admits, may ask: %v", err)
		}
		id, _ := w.Police.Asks()
		w.shows(10*time.Second, w.everybody(), id)

		named := []string{consent.HashText(two), consent.HashText(rival)}
		three := version(3, func(c *charter.Charter) { c.Previous, c.Also = named[0], named[1:]; admits(c) })
		published := time.Now()
		w.publishes(even[1], three)
		w.Until(10*time.Second, "everybody to have the version that heals", func() bool { return w.hold(w.everybody(), 3, false) })
		t.Logf("everybody has the third version after %v", time.Since(published))
		w.shows(10*time.Second, odd, before)
		after, _ := sheriff.Asks()
		w.shows(10*time.Second, w.everybody(), after)
	})
}

// Mallory sends a hundred changed copies of a request to everybody around, some before they have the true one. With a quorum of all
// witnesses there is one true copy; with less, a copy with a cosignature less may be as true, and each node passes on one of them.
func TestSpoiledCopiesNeitherCensorNorFlood(t *testing.T) {
	alongside(t)
	var calm time.Duration
	var sent, copies int64
	for _, row := range []struct {
		quorum int
		does   attack.Program
	}{{3, attack.Silent}, {3, attack.Junk}, {2, attack.Junk}} {
		ear := &ear{heard: map[string]bool{}}
		c := Config{Homes: 30, Stewards: 6, NATShare: 0.9, Witnesses: 3, Quorum: row.quorum, Conditions: street(35), Attackers: []Attack{{Does: ear.calls(row.does)}, {Does: ear.joins}}}
		story(t, c, func(w *World) {
			w.Police.Enrols()
			w.Settle(10 * time.Second)
			met := w.meetings()
			bytes := func() (n int64) {
				for _, h := range w.Homes {
					n += h.Link.Traffic().SentBytes
				}
				return n
			}
			came := func() (n int64) {
				for _, node := range w.everybody() {
					n += node.peer.Copies()
				}
				return n
			}
			before, first := bytes(), came()
			id, at := w.Police.Asks()
			w.Settle(12 * time.Second)
			r := w.Reach(id, at)
			spent, got := bytes()-before, came()-first
			t.Logf("quorum %d, %d of %d homes, p99 %v, %d bytes sent by each", row.quorum, r.Reached, r.Homes, r.Quantile(0.99), spent/int64(r.Homes))
			if r.Reached < r.Homes {
				w.fail("%d of %d homes have the request", r.Reached, r.Homes)
			}
			if now := w.meetings(); !slices.Equal(now, met) {
				w.fail("honest nodes parted:\n%v\nbefore:\n%v", now, met)
			}
			if calm == 0 {
				calm, sent, copies = r.Quantile(0.99), spent, got
				return
			}
			if got < copies+attack.Spoils/2 {
				w.fail("there was no attack: %d copies came, without it %d", got, copies)
			}
			if r.Quantile(0.99) > 2*calm {
				w.fail("p99 is %v, without the attack it is %v", r.Quantile(0.99), calm)
			}
			if spent > 5*sent { // to hand them on would be a hundred times as much
				w.fail("homes sent %d bytes, without the attack %d", spent, sent)
			}
			for msg := range ear.heard {
				w.isTrue([]byte(msg), row.quorum)
			}
			most := map[int]int{3: 1, 2: 4}[row.quorum] // the whole, and each with one of three less
			if n := len(ear.heard); n < 1 || n > most {
				w.fail("honest nodes passed on %d copies", n)
			}
		})
	}
}

// An ear is a steward that notes what honest nodes send it: it hears nobody who attacks.
type ear struct {
	mallory []string // whom it does not hear

	mu    sync.Mutex
	heard map[string]bool // requests, and what is no message of a docket
}

// calls has the ear know who attacks.
func (e *ear) calls(does attack.Program) attack.Program {
	return func(ctx context.Context, h *host.Host, topic string) (func() error, error) {
		e.mallory = append(e.mallory, h.ID())
		return does(ctx, h, topic)
	}
}

func (e *ear) joins(ctx context.Context, h *host.Host, topic string) (leave func() error, err error) {
	h.Gate(func(id string) bool { return !slices.Contains(e.mallory, id) })
	t, err := gossip.Join(ctx, h, topic, func(_ string, msg []byte) gossip.Verdict {
		_, asks := attack.RequestIn(msg)
		if _, err := docket.ParseBundle(msg); err == nil && !asks {
			return gossip.Ignore
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.heard[string(msg)] = true
		return gossip.Ignore
	})
	if err != nil {
		return nil, err
	}
	return t.Close, nil
}

// isTrue fails for a message that the police and enough witnesses did not sign, or that has another spelling.
func (w *World) isTrue(msg []byte, quorum int) {
	w.t.Helper()
	b, err := docket.ParseBundle(msg)
	w.must(err)
	_, _, _, err = b.Verify(w.Police.agency)
	w.must(err)
	c, err := docket.OpenCosigned(b.Checkpoint(), w.Police.agency, w.chain.Current().Witnesses)
	w.must(err)
	if len(c.By) < quorum || !bytes.Equal(c.Note, b.Checkpoint()) {
		w.fail("honest nodes passed on a copy with %d cosignatures, spelled\n%s", len(c.By), b.Checkpoint())
	}
}

// meetings are the connections among honest nodes.
func (w *World) meetings() (all []string) {
	names := map[string]string{w.Police.id: w.Police.Name}
	for _, n := range w.everybody() {
		names[n.id] = n.Name
	}
	for _, n := range append(w.everybody(), w.Police.Node) {
		for _, p := range n.peer.Host().Peers() {
			if with, honest := names[p.ID]; honest {
				all = append(all, n.Name+" with "+with)
			}
		}
	}
	slices.Sort(all)
	return all
}
