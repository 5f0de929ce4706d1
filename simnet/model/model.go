// Package model is a neighbourhood as a graph: how long a request takes to reach every home of a mesh that is too large
// to be simulated packet by packet, a million homes in seconds.
//
// # What it models
//
// The mesh that the nodes of this program form. Each home keeps Known stewards, drawn at random; each steward dials
// Degree other stewards, drawn at random; the police dial Degree stewards. Every one of these connections is in the
// gossip mesh: a home has fewer than gossipsub would prune, a steward takes as many as its host keeps, and grafts the
// stewards it dialled whatever homes it has. Whoever gets a request for the first time tells its neighbours so
// (IDONTWANT) and sends it to all but the one it came from and those whose word of having it has come by then. A pair of
// nodes has one latency, the same both ways, uniform between the bounds. Computing takes Processing a hop; where it is
// zero, as in package simnet, the word leaves a busy link among the copies, else ahead of them.
//
// A link sends at its rate, and fairly: copies for many neighbours leave interleaved packet by packet (FQ-CoDel, as in
// package simnet and in home routers; 128 queues), in random order. So in a hub with hundreds of neighbours nearly all
// copies leave at the end of what takes that long together: with 400 neighbours and 100 Mbit/s, after a tenth of a second.
//
// The first arrival at each node is found by Dijkstra's algorithm over times, with a queue of buckets as events are close
// to each other (Dial, CACM 1969).
//
// # What it leaves out
//
// Loss and what mends it: retransmission, announcements (IHAVE), catch-up. What QUIC sends again for nothing, because
// a burst in its own uplink holds up the acknowledgements: with 200 homes a steward a tenth of all bytes, with 320 a
// sixth. Jitter. Nodes that are off, silent or hostile, and connections that are not there yet. Other traffic on the
// links, the receivers' downlinks, and everything on the wire but copies and IDONTWANT: acknowledgements,
// announcements, idle traffic. NAT, which changes nothing where homes only talk over connections that they opened.
// Real latency, which has a geography: pairs in one street are closer than these, and a mesh across an ocean has none
// of 20 ms. And the choice of stewards, which in a real neighbourhood is not random: friends choose the same.
package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Config is a mesh. Homes is required; the zero value of everything else stands for what the program does.
type Config struct {
	Homes      int
	Stewards   int // as many as give each homesEach homes if 0, at least 5
	Known      int // stewards that each home keeps; 4 if 0
	Degree     int // stewards that a steward and the police dial; 8 if 0
	Seed       uint64
	MinLatency time.Duration // one way
	MaxLatency time.Duration
	HomeUp     int           // bit/s; 20 Mbit/s if 0
	StewardUp  int           // bit/s; 100 Mbit/s if 0
	Processing time.Duration // from a request's arrival to its forwarding
	Message    int           // bytes of a request with its proofs as it travels; 2,700 if 0

	// A known mesh in place of a drawn one. Nodes are numbered: stewards, then homes, then the police.
	Latency func(a, b int) time.Duration // of a pair, one way
	Keeps   func(home int) []int         // the stewards of a home, itself numbered from 0
}

// homesEach is how many homes a steward has where nobody says how many stewards there are: its host keeps 512
// connections, and begins to drop some above that.
const homesEach = 400

// Result is what came of one request.
type Result struct {
	Stewards int
	Message  int
	Took     []time.Duration // of each home that was reached, shortest first
	Copies   float64         // per home, the first included
	Sent     float64         // per home
	Bytes    float64         // per home, of copies and IDONTWANT in and out
	Hub      float64         // copies sent per steward
}

// Limits of what Run takes.
const (
	packet    = 1250 // bytes of a message in one QUIC packet
	header    = 40   // bytes that the packet has beside them
	word      = 66   // bytes of a packet with an IDONTWANT
	queues    = 128  // of a fair link
	maxDegree = 64
)

func (c *Config) defaults() error {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.Known, 4)
	set(&c.Degree, 8)
	set(&c.HomeUp, 20_000_000)
	set(&c.StewardUp, 100_000_000)
	set(&c.Message, 2_700)
	set(&c.Stewards, max(5, c.Homes*c.Known/homesEach))
	if c.Homes < 1 || c.Homes > math.MaxInt32/16 || c.Known < 1 || c.Known > maxDegree || c.Degree < 1 || c.Degree > maxDegree ||
		c.Stewards < 1 || c.Stewards > math.MaxInt32/16 || c.HomeUp < 1 || c.StewardUp < 1 || c.Message < 1 ||
		c.MinLatency < 0 || c.MaxLatency < c.MinLatency || c.Processing < 0 {
		return fmt.Errorf("model: %+v: a number is out of range", *c)
	}
	return nil
}

// mesh is the graph.
type mesh struct {
	Config
	first []int32 // by node: where its neighbours begin
	peers []int32
}

func (m *mesh) neighbours(n int32) []int32 { return m.peers[m.first[n]:m.first[n+1]] }

func build(c Config) *mesh {
	r := rand.New(rand.NewPCG(c.Seed, 1))
	nodes := c.Stewards + c.Homes + 1
	var edges [][2]int32
	dial := func(from, among, count int) {
		for _, to := range draw(r, from, among, count) {
			edges = append(edges, [2]int32{int32(from), to})
		}
	}
	edges = make([][2]int32, 0, c.Homes*c.Known+(c.Stewards+1)*c.Degree)
	for s := range c.Stewards {
		dial(s, c.Stewards, c.Degree)
	}
	// Two that dial each other have one connection.
	for i := range edges {
		slices.Sort(edges[i][:])
	}
	slices.SortFunc(edges, func(a, b [2]int32) int { return int(int64(a[0])<<32|int64(a[1])) - int(int64(b[0])<<32|int64(b[1])) })
	edges = slices.Compact(edges)
	for h := range c.Homes {
		if c.Keeps == nil {
			dial(c.Stewards+h, c.Stewards, c.Known)
			continue
		}
		for _, s := range c.Keeps(h) {
			edges = append(edges, [2]int32{int32(c.Stewards + h), int32(s)})
		}
	}
	dial(nodes-1, c.Stewards, c.Degree)

	m := &mesh{Config: c, first: make([]int32, nodes+1), peers: make([]int32, 2*len(edges))}
	for _, e := range edges {
		m.first[e[0]+1]++
		m.first[e[1]+1]++
	}
	for i := range nodes {
		m.first[i+1] += m.first[i]
	}
	next := slices.Clone(m.first[:nodes])
	for _, e := range edges {
		m.peers[next[e[0]]] = e[1]
		next[e[0]]++
		m.peers[next[e[1]]] = e[0]
		next[e[1]]++
	}
	return m
}

// draw picks different numbers below among, none of them self: all where there are no more than that.
func draw(r *rand.Rand, self, among, count int) (out []int32) {
	others := among
	if self < among {
		others--
	}
	if others <= count {
		for i := range among {
			if i != self {
				out = append(out, int32(i))
			}
		}
		return out
	}
	for len(out) < count {
		if n := int32(r.IntN(among)); int(n) != self && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// isHome also holds for the police, who are no steward.
func (m *mesh) isHome(n int32) bool { return int(n) >= m.Stewards }

func (m *mesh) up(n int32) int {
	if m.isHome(n) {
		return m.HomeUp
	}
	return m.StewardUp
}

// latency is a pair's, in seconds.
func (m *mesh) latency(a, b int32) float64 {
	if m.Latency != nil {
		return m.Latency(int(a), int(b)).Seconds()
	}
	return m.MinLatency.Seconds() + m.share(min(a, b), max(a, b))*(m.MaxLatency-m.MinLatency).Seconds()
}

// told is when one node has learned of another that it has the request, since when it has it.
func (m *mesh) told(by, to int32, since float64) float64 {
	wait := m.share(by, to) * float64(len(m.neighbours(by))*wire(m.Message)) * 8 / float64(m.up(by))
	if m.Processing > 0 {
		wait = 0
	}
	return since + wait + m.latency(by, to)
}

// share is a number in [0, 1) that depends on two nodes: the mixing step of splitmix64 over both.
func (m *mesh) share(a, b int32) float64 {
	h := m.Seed ^ uint64(a)<<32 ^ uint64(b)
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return float64(h>>11) / (1 << 53)
}

// arrival is a copy under way.
type arrival struct {
	at       float32 // seconds
	to, from int32
}

// bucket is how much time one bucket of the queue spans, in seconds.
const bucket = 100e-6

// Run asks one request.
func Run(c Config) (Result, error) {
	if err := c.defaults(); err != nil {
		return Result{}, err
	}
	m := build(c)
	nodes := len(m.first) - 1
	police := int32(nodes - 1)
	best := make([]float32, nodes) // of the copies under way
	had := make([]float32, nodes)  // first arrival
	for i := range best {
		best[i], had[i] = math.MaxFloat32, math.MaxFloat32
	}
	r := rand.New(rand.NewPCG(c.Seed, 2))
	var queue [][]arrival
	push := func(a arrival) {
		if a.at >= best[a.to] {
			return
		}
		best[a.to] = a.at
		b := int(a.at / bucket)
		for len(queue) <= b {
			queue = append(queue, nil)
		}
		queue[b] = append(queue[b], a)
	}
	var got, sent, hub int
	var to []int32
	push(arrival{0, police, -1})
	for b := 0; b < len(queue); b++ {
		// A copy sent now can arrive within the same bucket, so its end moves. Order within a bucket does not matter.
		for i := 0; i < len(queue[b]); i++ {
			a := queue[b][i]
			if a.at > best[a.to] {
				continue // a copy that came later, or comes later within this bucket
			}
			had[a.to] = a.at
			now := float64(a.at)
			if a.to != police {
				now += c.Processing.Seconds()
			}
			to = to[:0]
			for _, p := range m.neighbours(a.to) {
				if p != a.from && p != police && !(had[p] < a.at && m.told(p, a.to, float64(had[p])) <= now) {
					to = append(to, p)
				}
			}
			r.Shuffle(len(to), func(i, j int) { to[i], to[j] = to[j], to[i] })
			up := m.up(a.to)
			switch {
			case a.to == police:
			case m.isHome(a.to):
				sent += len(to)
			default:
				hub += len(to)
			}
			for k, p := range to {
				if m.isHome(p) {
					got++
				}
				push(arrival{float32(now + leaves(k, len(to), c.Message, up) + m.latency(a.to, p)), p, a.to})
			}
		}
		queue[b] = nil
	}
	homes := float64(c.Homes)
	res := Result{Stewards: c.Stewards, Message: c.Message, Copies: float64(got) / homes, Sent: float64(sent) / homes, Hub: float64(hub) / float64(c.Stewards)}
	words := 0 // IDONTWANT, in and out
	for h := c.Stewards; h < nodes-1; h++ {
		words += 2*len(m.neighbours(int32(h))) - 1
	}
	res.Bytes = (res.Copies+res.Sent)*float64(wire(c.Message)) + float64(words*word)/homes
	res.Took = make([]time.Duration, 0, c.Homes)
	for _, t := range had[c.Stewards:police] {
		if t < math.MaxFloat32 {
			res.Took = append(res.Took, time.Duration(float64(t)*1e9))
		}
	}
	slices.Sort(res.Took)
	return res, nil
}

// leaves is when the last packet of the k-th of n copies has left a fair link, in seconds: queues take turns, a packet
// each; beyond as many copies as there are queues, one waits behind another.
func leaves(k, n, bytes, up int) float64 {
	packets := packetsOf(bytes)
	behind := k / queues * queues
	turn := min(queues, n-behind)
	before := behind*packets + (packets-1)*turn + k%queues + 1
	return float64(before) * float64(wire(bytes)) / float64(packets) * 8 / float64(up)
}

func packetsOf(bytes int) int { return (bytes + packet - 1) / packet }
func wire(bytes int) int      { return bytes + header*packetsOf(bytes) }
