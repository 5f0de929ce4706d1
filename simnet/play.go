package simnet

import (
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/simnet/model"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// A Result is what came of a scenario. Times are in milliseconds.
type Result struct {
	Scenario string   `json:"scenario"`
	About    string   `json:"about"`
	Model    bool     `json:"model"` // by the graph model, not by whole nodes
	Seed     uint64   `json:"seed"`
	Homes    int      `json:"homes"`
	Stewards int      `json:"stewards"`
	Virtual  float64  `json:"virtual_s"`
	Wall     float64  `json:"wall_s"`
	Memory   int64    `json:"memory_bytes"` // that the Go runtime took from the system
	Requests []Spread `json:"requests"`
	Broken   []string `json:"broken"` // the scenario's bounds that were not kept
}

// A Spread is how one request spread.
type Spread struct {
	Asked  float64 `json:"asked_s"`       // into the timetable
	Size   int     `json:"size_bytes"`    // of the note
	Groups []Group `json:"groups"`        // all homes, those behind NAT and not where there are both, stewards
	Curve  []Point `json:"homes_over_ms"` // of all homes
}

// A Group is a kind of node, of which one request is told. Times run from when the police asked; for a node that was
// split off or without power then, from when it no longer was, and they are told apart as Late.
type Group struct {
	Who     string   `json:"who"`
	Nodes   int      `json:"nodes"` // that run at the end
	Reached int      `json:"reached"`
	P50     float64  `json:"p50_ms"`
	P99     float64  `json:"p99_ms"`
	Max     float64  `json:"max_ms"`
	Late    int      `json:"late"`
	LateMax float64  `json:"late_max_ms"`
	Pushed  int      `json:"pushed"`    // by gossip, within a second
	Later   int      `json:"later"`     // by gossip, later: sent again, or asked for after an announcement
	Fetched int      `json:"caught_up"` // by comparing dockets with a peer
	Copies  *float64 `json:"copies"`    // per node reached and not late; nil where something else happened meanwhile
	Bytes   *float64 `json:"bytes"`     // the same, of UDP payload in and out, beyond idle traffic
}

// A Point of a curve: how many homes had the request after that time.
type Point struct {
	After float64 `json:"after_ms"`
	Homes int     `json:"homes"`
}

// window is how long copies and bytes of a request are counted, and how long before it idle traffic is.
const window = 5 * time.Second

// step is how often a play looks around. Times of arrival do not depend on it.
const step = 50 * time.Millisecond

// A play is a scenario under way.
type play struct {
	*World
	s      Scenario
	nodes  []*Node // homes, then stewards
	homes  int
	asked  []*spreading
	seen   []int       // by node: arrivals looked at
	since  []time.Time // by node: when it came back from a split or an outage
	groups [][]*Node   // split off
}

// spreading is a request on its way.
type spreading struct {
	id    consent.RequestID
	at    time.Time
	into  time.Duration
	size  int
	alone bool
	nodes []fate

	before, then, after []count // by node: a window before, when asked, a window after
}

type fate struct {
	base  int64 // copies before
	took  time.Duration
	known bool // the rest is set when it is
	late  bool
	push  bool
}

type count struct {
	bytes, copies int64
}

// Play runs a scenario with whole nodes in virtual time, in a bubble of its own; folder takes what they keep, the test's
// own if empty. Where story is not nil it is told what everybody did and what every node logged. watch is told how far
// the scenario is, from inside the bubble: it may store the time and must not block.
func (s Scenario) Play(t *testing.T, folder string, story io.Writer, watch func(virtual, all time.Duration)) (r Result) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		w := New(t, s.world(folder, story == nil))
		p := &play{World: w, s: s, homes: len(w.Homes)}
		for _, h := range w.Homes {
			p.nodes = append(p.nodes, h.Node)
		}
		p.nodes = append(p.nodes, w.Stewards...)
		p.seen, p.since = make([]int, len(p.nodes)), make([]time.Time, len(p.nodes))
		p.run(watch)
		r = p.result()
		if story != nil {
			fmt.Fprintln(story, w.story())
		}
	})
	r.finish(s, began)
	return r
}

func (s Scenario) world(folder string, quiet bool) Config {
	link := func(l LinkTable) wire.LinkConfig {
		return wire.LinkConfig{Up: l.Up, Down: l.Down, Delay: time.Duration(l.Delay), Jitter: time.Duration(l.Jitter), Loss: l.Loss}
	}
	return Config{Homes: s.Homes, Stewards: s.Stewards, Attackers: s.Attackers.all(), Witnesses: s.Witnesses, Quorum: s.Quorum, NATShare: s.NAT, Known: s.Known, Link: link(s.HomeLink), Hub: link(s.StewardLink),
		Records: folder, Quiet: quiet, Conditions: wire.Conditions{Seed: s.Seed, Loss: s.Network.Loss, Jitter: time.Duration(s.Network.Jitter),
			MinLatency: time.Duration(s.Network.MinLatency), MaxLatency: time.Duration(s.Network.MaxLatency)}}
}

// run plays the timetable. Its zero is when the world has settled.
func (p *play) run(watch func(virtual, all time.Duration)) {
	length, settle := time.Duration(p.s.Length), time.Duration(p.s.Settle)
	moments := map[time.Duration][]func(){} // by the timetable
	on := func(at time.Duration, f func()) { moments[at] = append(moments[at], f) }
	on(-min(settle/2, 2*window), p.Police.Enrols)
	for _, d := range p.s.Do {
		at := time.Duration(d.At)
		if d.What != asks {
			on(at, func() { p.does(d) })
			continue
		}
		a := &spreading{into: at, alone: p.s.alone(d)}
		on(at-window, func() { a.before = p.counts() })
		on(at, func() { p.asks(a) })
		on(at+window, func() { a.after = p.counts() })
	}
	zero := time.Now().Add(settle)
	for _, at := range slices.Sorted(maps.Keys(moments)) {
		if at > length {
			break
		}
		p.until(zero, at, settle, watch)
		for _, f := range moments[at] {
			f()
		}
	}
	p.until(zero, length, settle, watch)
}

// until lets time pass, and notes who was reached.
func (p *play) until(zero time.Time, at, settle time.Duration, watch func(virtual, all time.Duration)) {
	for end := zero.Add(at); ; {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		time.Sleep(min(step, left))
		p.look()
		watch(time.Since(p.began), settle+time.Duration(p.s.Length))
	}
}

func (p *play) counts() []count {
	c := make([]count, len(p.nodes))
	for i, n := range p.nodes {
		t := n.Link.Traffic()
		c[i].bytes = t.SentBytes + t.GotBytes
		if n.peer != nil {
			c[i].copies = n.peer.Copies()
		}
	}
	return c
}

func (p *play) asks(a *spreading) {
	a.then = p.counts()
	a.nodes = make([]fate, len(p.nodes))
	for i := range a.nodes {
		a.nodes[i].base = a.then[i].copies
	}
	a.id, a.at = p.Police.Asks()
	if r, err := p.Police.peer.Request(string(a.id)); err == nil {
		note, _ := p.Police.peer.Note(r)
		a.size = len(note)
	}
	p.asked = append(p.asked, a)
}

// look notes who has come to know what since the last look.
func (p *play) look() {
	for i, n := range p.nodes {
		n.mu.Lock()
		fresh := slices.Clone(n.arrived[p.seen[i]:])
		n.mu.Unlock()
		if len(fresh) == 0 || n.peer == nil {
			continue
		}
		p.seen[i] += len(fresh)
		for _, a := range p.asked {
			f := &a.nodes[i]
			if f.known || !n.Knows(a.id) {
				continue
			}
			// A docket grows in order: of several arrivals within a step, the first after the asking brought this request.
			k := max(0, slices.IndexFunc(fresh, func(v arrival) bool { return !v.at.Before(a.at) }))
			from := a.at
			if p.since[i].After(from) {
				from, f.late = p.since[i], true
			}
			f.known, f.took, f.push = true, fresh[k].at.Sub(from), fresh[k].copies > f.base
		}
	}
}

// does plays a line that is no request.
func (p *play) does(d Deed) {
	var who []*Node
	for i, n := range p.nodes {
		if slices.Contains(d.nodes, n.Name) {
			if d.What == hasPower && n.peer != nil {
				continue // it never lost it
			}
			who = append(who, n)
			if d.What == hasPower {
				p.since[i] = time.Now()
				for _, a := range p.asked {
					a.nodes[i].base = 0 // it counts anew
				}
			}
		}
	}
	switch d.What {
	case splitsOff:
		p.groups = append(p.groups, who)
		p.Splits(p.groups...)
	case heals:
		for i := range p.since {
			p.since[i] = time.Now()
		}
		p.groups = nil
		p.Heals()
	case losesPower:
		for _, n := range who {
			n.LosesPower()
		}
	case hasPower:
		for _, n := range who {
			n.PowerReturns()
		}
	}
}

func (p *play) result() Result {
	r := Result{Scenario: p.s.Name, About: p.s.About, Seed: p.s.Seed, Homes: p.homes, Stewards: len(p.Stewards), Virtual: time.Since(p.began).Seconds()}
	for _, a := range p.asked {
		behind, open := func(i int) bool { return i < p.homes && p.nodes[i].Link.NAT() }, func(i int) bool { return i < p.homes && !p.nodes[i].Link.NAT() }
		s := Spread{Asked: a.into.Seconds(), Size: a.size, Groups: []Group{p.group(a, "homes", func(i int) bool { return i < p.homes })}}
		if g := p.group(a, "homes behind NAT", behind); g.Nodes > 0 && g.Nodes < s.Groups[0].Nodes {
			s.Groups = append(s.Groups, g, p.group(a, "other homes", open))
		}
		s.Groups = append(s.Groups, p.group(a, "stewards", func(i int) bool { return i >= p.homes }))
		var took []time.Duration
		for _, f := range a.nodes[:p.homes] {
			if f.known && !f.late {
				took = append(took, f.took)
			}
		}
		slices.Sort(took)
		s.Curve = curve(took)
		r.Requests = append(r.Requests, s)
	}
	return r
}

// Imagine runs a scenario in the graph model.
func (s Scenario) Imagine() (Result, error) {
	began := time.Now()
	m, err := model.Run(model.Config{Homes: s.Homes, Stewards: s.Stewards, Known: s.Known, Seed: s.Seed,
		MinLatency: time.Duration(s.Network.MinLatency), MaxLatency: time.Duration(s.Network.MaxLatency),
		HomeUp: s.HomeLink.Up, StewardUp: s.StewardLink.Up, Processing: time.Duration(s.Processing)})
	if err != nil {
		return Result{}, err
	}
	all := Reach{Took: m.Took}
	g := Group{Who: "homes", Nodes: s.Homes, Reached: len(m.Took), Pushed: len(m.Took),
		P50: ms(all.Quantile(0.5)), P99: ms(all.Quantile(0.99)), Max: ms(all.Quantile(1)), Copies: &m.Copies, Bytes: &m.Bytes}
	r := Result{Scenario: s.Name, About: s.About, Model: true, Seed: s.Seed, Homes: s.Homes, Stewards: m.Stewards, Virtual: g.Max / 1000,
		Requests: []Spread{{Size: m.Message, Groups: []Group{g}, Curve: curve(m.Took)}}}
	r.finish(s, began)
	return r, nil
}

// finish adds what is known at the end.
func (r *Result) finish(s Scenario, began time.Time) {
	r.Wall = time.Since(began).Seconds()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.Memory = int64(m.Sys - m.HeapReleased)
	r.Broken = s.broken(*r)
}

// curve thins sorted times to at most 201 points.
func curve(took []time.Duration) (c []Point) {
	for i := range min(len(took), 201) {
		k := i
		if len(took) > 201 {
			k = i * (len(took) - 1) / 200
		}
		c = append(c, Point{ms(took[k]), k + 1})
	}
	return c
}

func ms(d time.Duration) float64 { return math.Round(float64(d)/1e4) / 100 }

func (p *play) group(a *spreading, who string, in func(int) bool) Group {
	g := Group{Who: who}
	var took []time.Duration
	var copies, bytes int64
	for i, f := range a.nodes {
		if !in(i) || p.nodes[i].peer == nil {
			continue
		}
		g.Nodes++
		if !f.known {
			continue
		}
		g.Reached++
		switch {
		case f.push && f.took <= time.Second:
			g.Pushed++
		case f.push:
			g.Later++
		default:
			g.Fetched++
		}
		if f.late {
			g.Late++
			g.LateMax = max(g.LateMax, ms(f.took))
			continue
		}
		took = append(took, f.took)
		if a.after != nil {
			copies += a.after[i].copies - a.then[i].copies
			bytes += a.after[i].bytes - 2*a.then[i].bytes + a.before[i].bytes
		}
	}
	slices.Sort(took)
	all := Reach{Took: took}
	g.P50, g.P99, g.Max = ms(all.Quantile(0.5)), ms(all.Quantile(0.99)), ms(all.Quantile(1))
	if a.alone && a.after != nil && len(took) > 0 {
		g.Copies, g.Bytes = per(copies, len(took)), per(bytes, len(took))
	}
	return g
}

func per(total int64, nodes int) *float64 {
	v := math.Round(float64(total)/float64(nodes)*100) / 100
	return &v
}
