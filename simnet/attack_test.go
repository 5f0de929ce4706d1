package simnet

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/simnet/attack"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// nightly skips what takes minutes.
func nightly(t *testing.T) {
	t.Helper()
	if os.Getenv("PORCHLIGHT_NIGHTLY") == "" {
		t.Skip("takes minutes: PORCHLIGHT_NIGHTLY=1 go test -timeout 1h -run " + t.Name() + " ./simnet")
	}
}

func attackers(n int, does attack.Program, home bool) []Attack {
	return slices.Repeat([]Attack{{Does: does, Home: home}}, n)
}

// Half of the stewards that homes choose among are one person's, who has many more identities: some behave, most hand on
// nothing, and all dial whatever address one of them learns of. Nobody knew anybody before: the police ask ten seconds
// after the first node starts. Scenario sybils is the same with two hundred.
func TestFiftySybilsDoNotKeepAColdMeshFromHearing(t *testing.T) {
	alongside(t)
	ring := &attack.Ring{}
	bubble(t, Config{Homes: 40, Stewards: 10, NATShare: 0.5, Conditions: street(41), Attackers: slices.Concat(attackers(10, ring.Member(attack.Silent), false),
		attackers(30, ring.Member(attack.Silent), true), attackers(10, ring.Member(attack.Behaves), true))}, func(w *World) {
		w.Settle(10 * time.Second)
		w.everyone(10*time.Second, 2500*time.Millisecond)
	})
}

// surrounds has attackers around a node: three stewards that it keeps beside one honest one, and twenty who dial it.
func (w *World) surrounds(n *Node, does attack.Program) (friend *Node, around []*wire.Link) {
	w.t.Helper()
	ring := &attack.Ring{Around: n.id}
	ring.Tells(n.id, n.listen())
	friend = w.Stewards[0]
	n.Stop()
	w.must(os.RemoveAll(filepath.Join(n.dir, "peers.json")))
	n.stewards = []string{friend.addr()}
	for i := range 23 {
		a := w.Attacks(Attack{Does: ring.Member(does), Home: i >= 3}, friend)
		around = append(around, a.Link)
		if i < 3 {
			n.stewards = append(n.stewards, a.addr())
		}
	}
	n.Start()
	w.Settle(30 * time.Second)
	synctest.Wait() // so that what the node wrote may be read
	if n.Peers() < 20 {
		w.fail("%s is not surrounded: %d peers", n.Name, n.Peers())
	}
	return friend, around
}

var eclipses = map[string]attack.Program{"silent": attack.Silent, "stalling": attack.Turncoat(0)}

// A home whose only honest steward is cut off hears of nothing. It goes on looking for it, and catches up once it is back.
func TestAnEclipsedHomeFindsItsStewardAgain(t *testing.T) {
	alongside(t)
	for name, does := range eclipses {
		t.Run(name, func(t *testing.T) {
			story(t, Config{Homes: 8, Stewards: 3, Conditions: street(43)}, func(w *World) {
				victim := w.Homes[0]
				w.Police.Enrols()
				_, around := w.surrounds(victim.Node, does)
				first, at := w.Police.Asks()
				w.shows(2*time.Second, w.everybody(), first)
				t.Logf("surrounded, it hears after %v", time.Since(at))

				w.Split(append(around, victim.Link))
				w.Settle(2 * time.Minute)
				id, _ := w.Police.Asks()
				w.Settle(3 * time.Minute)
				w.hides([]*Node{victim.Node}, id)
				w.Heal()
				healed := time.Now()
				w.shows(30*time.Second, []*Node{victim.Node}, id)
				t.Logf("it has the request %v after the cut", time.Since(healed))
			})
		})
	}
}

// The police's only honest steward is cut off as they ask. Everybody has the request soon after it is back.
func TestAnEclipsedPublisherIsHeardOnceItHasAnHonestPeer(t *testing.T) {
	alongside(t)
	for name, does := range eclipses {
		t.Run(name, func(t *testing.T) {
			story(t, Config{Homes: 8, Stewards: 3, Conditions: street(44)}, func(w *World) {
				w.Police.Enrols()
				_, around := w.surrounds(w.Police.Node, does)
				w.Split(append(around, w.Police.Link))
				w.Settle(2 * time.Minute)
				id, _ := w.Police.Asks()
				w.Settle(3 * time.Minute)
				w.hides(w.everybody(), id)
				w.Heal()
				healed := time.Now()
				w.shows(30*time.Second, w.everybody(), id)
				t.Logf("everybody has the request %v after the cut", time.Since(healed))
			})
		})
	}
}

// missesARequest has one home without power as the police ask. Everybody else has the request within one time, and that home within the other
// of its power's return.
func (w *World) missesARequest(away *Owner, within, back time.Duration) {
	w.t.Helper()
	w.Police.Enrols()
	w.Settle(10 * time.Second)
	away.LosesPower()
	id, at := w.Police.Asks()
	w.shows(within, w.everybody(), id)
	w.t.Logf("everybody has the request after %v", time.Since(at))
	w.Settle(time.Minute)
	away.PowerReturns()
	returned := time.Now()
	w.shows(back, []*Node{away.Node}, id)
	w.t.Logf("who was away has it %v after being back", time.Since(returned))
}

// Three of four stewards hand on everything but requests, and tell whoever catches up that there are none. A home that was away when the
// police asked has the request soon after it is back.
func TestCensorsHideNothing(t *testing.T) {
	alongside(t)
	c := Config{Homes: 16, Stewards: 4, NATShare: 0.5, Conditions: street(45), Attackers: attackers(12, attack.Censor(func(consent.AgencyID) bool { return true }), false)}
	story(t, c, func(w *World) {
		w.missesARequest(w.Homes[3], 5*time.Second, 30*time.Second)
	})
}

// Three of four stewards behave for two minutes, so that everybody thinks well of them, and then hand on nothing.
func TestTurncoatsHideNothing(t *testing.T) {
	alongside(t)
	c := Config{Homes: 16, Stewards: 4, NATShare: 0.5, Conditions: street(46), Attackers: attackers(12, attack.Turncoat(2*time.Minute), false)}
	story(t, c, func(w *World) {
		first, at := w.Police.Asks()
		w.shows(5*time.Second, w.everybody(), first)
		t.Logf("everybody has the first request after %v", time.Since(at))
		w.Settle(2 * time.Minute)
		id, at := w.Police.Asks()
		w.shows(5*time.Second, w.everybody(), id)
		t.Logf("everybody has the second request after %v", time.Since(at))
	})
}

// A split of a minute: connections across it are just about to be given up.
func TestASplitOfAMinuteHeals(t *testing.T) {
	alongside(t)
	c := Config{Homes: 20, Stewards: 6, NATShare: 0.9, Conditions: street(47), Attackers: attackers(2, attack.Silent, false)}
	story(t, c, func(w *World) {
		w.Police.Enrols()
		away := slices.Clone(w.Stewards[:3])
		for _, h := range w.Homes[:10] {
			away = append(away, h.Node)
		}
		for _, asks := range []time.Duration{5 * time.Second, 40 * time.Second} {
			w.Splits(away)
			w.Settle(asks)
			id, _ := w.Police.Asks()
			w.Settle(time.Minute - asks)
			w.hides(away, id)
			w.Heals()
			healed := time.Now()
			w.shows(30*time.Second, w.everybody(), id)
			t.Logf("asked %v into the split: everybody has the request %v after it", asks, time.Since(healed))
			w.Settle(time.Minute)
		}
	})
}

// verified counts the messages of each attacker that each honest node looked into and found wanting, by what the nodes log.
func (w *World) verified() (most int, by map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	by = map[string]int{}
	for _, line := range w.told {
		if !strings.Contains(line, `msg="message rejected"`) && !strings.Contains(line, `msg="message ignored"`) {
			continue
		}
		for _, a := range w.Attackers {
			if strings.Contains(line, "peer="+a.id) {
				key := fmt.Sprintf("%s of %s", strings.Fields(line)[2], a.Name)
				by[key]++
				most = max(most, by[key])
			}
		}
	}
	return most, by
}

// Ten stewards send a hundred forged messages a second each, to everybody they find. Honest nodes look into a few of each and part from
// them; nobody passes one on, and a request that is asked amid it arrives as ever.
func TestForgersAreHeardOutBriefly(t *testing.T) {
	alongside(t)
	ring := &attack.Ring{}
	ear := &ear{heard: map[string]bool{}}
	c := Config{Homes: 24, Stewards: 8, NATShare: 0.5, Conditions: street(48), Attackers: append(attackers(10, ear.calls(ring.Member(attack.Forger(100, time.Minute))), false), Attack{Does: ear.joins})}
	story(t, c, func(w *World) {
		w.Police.Enrols()
		w.Settle(200 * time.Millisecond)
		w.everyone(5*time.Second, time.Second)
		w.Settle(25 * time.Second)
		w.everyone(5*time.Second, time.Second)
		w.Settle(30 * time.Second)
		most, by := w.verified()
		total := 0
		for _, n := range by {
			total += n
		}
		t.Logf("%d pairs of a node and a forger met, %d messages were verified, at most %d of one forger by one node", len(by), total, most)
		if len(by) < 100 {
			w.fail("there was no attack: %v", by)
		}
		if most > 8 {
			w.fail("a node verified %d messages of one forger: %v", most, by)
		}
		for msg := range ear.heard {
			w.isTrue([]byte(msg), 0)
		}
	})
}

// Two stewards send old news in new spellings. It is no proof of bad faith and parts nobody, but nodes look only into so much of it, and a
// request is heard as ever.
func TestReplayersAreNotListenedToForLong(t *testing.T) {
	alongside(t)
	ear := &ear{heard: map[string]bool{}}
	const rate, lasts = 100, 20
	c := Config{Homes: 8, Stewards: 2, Conditions: street(52), Attackers: append(attackers(2, ear.calls(attack.Replayer(rate, lasts*time.Second)), false), Attack{Does: ear.joins})}
	story(t, c, func(w *World) {
		w.Police.Enrols()
		w.Settle(5 * time.Second)
		w.everyone(5*time.Second, time.Second)
		w.Settle(20 * time.Second)
		most, by := w.verified()
		t.Logf("%d pairs of a node and a replayer met, and at most %d of %d messages were verified", len(by), most, rate*lasts)
		if most < 500 || most > 512+2*lasts+rate {
			w.fail("a node verified %d messages of one replayer: %v", most, by)
		}
		for msg := range ear.heard {
			w.isTrue([]byte(msg), 0)
		}
	})
}

// Twenty peers take all that the only steward gives to whoever catches up, and read none of it. They neither hold up a request nor keep
// out a home that was away.
func TestSlowReadersKeepNobodyOut(t *testing.T) {
	alongside(t)
	c := Config{Homes: 8, Stewards: 1, NATShare: 0.5, Conditions: street(49), Attackers: attackers(20, attack.SlowReader, true)}
	story(t, c, func(w *World) {
		w.missesARequest(w.Homes[2], 2*time.Second, 20*time.Second)
	})
}

// A crawler joins as a home would, and another one as a steward whom other stewards list and no home dials. They learn who the
// stewards are and what is public, and of homes nothing.
func TestACrawlerListsNoHome(t *testing.T) {
	alongside(t)
	var out, in attack.Crawler
	c := Config{Homes: 12, Stewards: 4, NATShare: 0.5, Conditions: street(50), Attackers: []Attack{{Does: out.Joins, Home: true}}}
	story(t, c, func(w *World) {
		steward := w.Attacks(Attack{Does: in.Joins})
		for _, n := range w.Stewards[:2] {
			n.Stop()
			n.stewards = append(n.stewards, steward.addr())
			n.Start()
		}
		w.Settle(30 * time.Second)
		id, _ := w.Police.Asks()
		w.Settle(2 * time.Minute)
		w.Stewards[3].Stop() // it says farewell, to some whom it could name others
		w.Settle(2 * time.Minute)
		for name, crawler := range map[string]*attack.Crawler{"as a home": &out, "as a steward": &in} {
			f := crawler.Found()
			t.Logf("%s: %d peers, %d addresses, %d texts, protocols %v", name, len(f.Peers), len(f.Addrs), len(f.Texts), f.Protocols)
			if f.Names(w.Stewards[0].id, "no address") == "" || !slices.ContainsFunc(f.Texts, func(s string) bool { _, asks := attack.RequestIn([]byte(s)); return asks }) {
				w.fail("%s it did not crawl: %v", name, f.Peers)
			}
			for _, h := range w.Homes {
				if !h.Knows(id) {
					w.fail("%s missed the request", h.Name)
				}
				if where := f.Names(h.id, h.Link.IP().String()); where != "" {
					w.fail("%s it found %s among its %s", name, h.Name, where)
				}
			}
			for _, p := range f.Protocols {
				if !strings.HasPrefix(p, "/porchlight/") && !strings.HasPrefix(p, "/ipfs/id/") {
					w.fail("%s it found the protocol %s", name, p)
				}
			}
			if len(f.Answered) > 0 {
				w.fail("%s it was told of peers: %v", name, f.Answered)
			}
		}
	})
}

// For a day, three homes of ten restart every hour, half of them by a power cut, and stay away for up to a quarter of an hour. The police ask
// once in every hour, at any time of it. In the end everybody has the same docket.
func TestADayOfRestartsEndsWithTheSameDockets(t *testing.T) {
	alongside(t)
	nightly(t)
	story(t, Config{Homes: 20, Stewards: 5, NATShare: 0.9, Conditions: street(51), Quiet: true}, func(w *World) {
		draw := func(words ...uint64) float64 { return wire.Share(51, append([]uint64{1000}, words...)...) }
		var ids []consent.RequestID
		for hour := range uint64(24) {
			moments := map[time.Duration][]func(){}
			on := func(at time.Duration, f func()) { moments[at] = append(moments[at], f) }
			order := slices.Clone(w.Homes)
			slices.SortFunc(order, func(a, b *Owner) int {
				return int(1e9 * (draw(hour, uint64(slices.Index(w.Homes, a))) - draw(hour, uint64(slices.Index(w.Homes, b)))))
			})
			for i, h := range order[:len(order)*3/10] {
				at := time.Duration(draw(hour, 100, uint64(i)) * float64(40*time.Minute))
				back := at + time.Second + time.Duration(draw(hour, 101, uint64(i))*float64(15*time.Minute))
				if i%2 == 0 {
					on(at, h.LosesPower)
					on(back, h.PowerReturns)
				} else {
					on(at, h.Stop)
					on(back, h.Start)
				}
			}
			on(time.Duration(draw(hour, 102)*float64(time.Hour)), func() {
				w.Police.cases += 2 // each case lies hours before the one asked about last, or both would count as one
				id, _ := w.Police.Asks()
				ids = append(ids, id)
			})
			began := time.Now()
			for _, at := range slices.Sorted(maps.Keys(moments)) {
				w.Settle(time.Until(began.Add(at)))
				for _, f := range moments[at] {
					f()
				}
			}
			w.Settle(time.Until(began.Add(time.Hour)))
		}
		w.Settle(10 * time.Minute)
		docket := w.Police.peer.Docket(w.Police.agency.ID())
		t.Logf("%d requests, a docket of %d entries", len(ids), docket.Size())
		for _, n := range w.everybody() {
			if d := n.peer.Docket(w.Police.agency.ID()); d.Size() != docket.Size() || d.Root() != docket.Root() {
				w.fail("%s has a docket of %d entries, root %s; the police have %d, root %s", n.Name, d.Size(), d.Root(), docket.Size(), docket.Root())
			}
			for _, id := range ids {
				if !n.Knows(id) {
					w.fail("%s does not show request %.12s", n.Name, id)
				}
			}
		}
	})
}
