// Package wire is the network of a simulated neighbourhood: it carries packets between households in virtual time.
//
// [Net] carries them over github.com/marcopolo/simnet's links (rate, FQ-CoDel queue, latency), inside a
// testing/synctest bubble. Each household has one [Link]: one address, one uplink and one downlink shared by all its
// sockets, a NAT in front where it has one. Loss, latency and jitter are pure functions of the seed, the two ends and
// virtual time (and, for loss, of how many packets left for that end at the same instant), so that two worlds with one
// seed differ only where their nodes do. A tap sees every packet as it leaves.
//
// What it does not simulate: TCP and mDNS.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	links "github.com/marcopolo/simnet"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Conditions are those of the whole network. The zero value is a perfect one without delay.
type Conditions struct {
	Seed       uint64
	MinLatency time.Duration // one way, drawn once for each pair of links
	MaxLatency time.Duration
	Jitter     time.Duration // drawn for each packet from 0 to this, on top of the latency
	Loss       float64       // share of packets that vanish, in [0, 1)
}

// LinkConfig is one household's connection to the network. The zero value is DefaultUp and DefaultDown, with a public
// address.
type LinkConfig struct {
	Up, Down int           // bit/s
	Delay    time.Duration // added to every packet in and out
	Jitter   time.Duration // on top of the network's, in and out
	Loss     float64       // on top of the network's, in and out
	// NAT lets in only what comes from an address and port that this side sent to from the same port within the last
	// two minutes (RFC 4787: address and port-dependent filtering). Kind says what else it does.
	NAT  bool
	Kind NATKind
	Open uint16 // a port that the NAT passes on from everybody, as mapped by hand; 0 for none
}

// Speeds of a link that names none, in bit/s.
const (
	DefaultUp   = 20_000_000
	DefaultDown = 100_000_000
)

// natTimeout is how long a NAT remembers what went out (RFC 4787, REQ-5: no less than two minutes).
const natTimeout = 2 * time.Minute

// Net carries packets between links in virtual time. It lives inside one synctest bubble.
type Net struct {
	cond Conditions
	sim  links.Simnet

	mu    sync.Mutex
	links []*Link
	byIP  map[netip.Addr]*Link
	outer map[netip.AddrPort]outer // what NATs that translate have outside
	taps  []*tap
	pumps sync.WaitGroup
}

// A Packet is what a tap sees as it leaves its sender.
type Packet struct {
	At       time.Time
	From, To *Link  // To is nil for an address that nobody has
	Payload  []byte // valid during the call, not to be changed
	Dropped  string // why it does not arrive: "lost", "split", "off", "nobody"; "" when it is on its way
}

// New starts a network. Close ends it, after everything that speaks over it.
func New(c Conditions) *Net {
	n := &Net{cond: c, byIP: map[netip.Addr]*Link{}, outer: map[netip.AddrPort]outer{}}
	n.sim.Logger = slog.New(slog.DiscardHandler)
	n.sim.LatencyFunc = n.latency
	n.sim.Start()
	return n
}

// Close ends the network. Sockets return net.ErrClosed from then on.
func (n *Net) Close() {
	n.mu.Lock()
	for _, l := range n.links {
		l.conn.Close()
	}
	n.mu.Unlock()
	n.pumps.Wait()
	n.sim.Close()
}

// Tap adds a function that sees every packet, until stop is called. It is called from many goroutines, one call at a
// time; after stop has returned, what it wrote may be read.
func (n *Net) Tap(f func(Packet)) (stop func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := &tap{f}
	n.taps = append(n.taps, t)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.taps = slices.DeleteFunc(slices.Clone(n.taps), func(o *tap) bool { return o == t })
	}
}

type tap struct{ see func(Packet) }

// A Link is one household's connection: one address, any number of ports, one uplink and one downlink shared by them.
type Link struct {
	Name string

	net    *Net
	number int
	cfg    LinkConfig
	ip     netip.Addr
	conn   *links.SimConn

	// Under net.mu:
	ports   map[uint16]*socket
	next    uint16
	went    map[flow]time.Time // through the NAT, last
	maps    map[mapKey]uint16  // ports outside a NAT that translates
	burst   map[int]ordinal    // by link: how many packets went there at this very instant
	side    int
	off     bool
	traffic Traffic
}

type flow struct {
	local, remote uint16
	ip            netip.Addr
}

type ordinal struct {
	at time.Time
	n  uint64
}

// Traffic counts UDP payloads.
type Traffic struct {
	Sent, SentBytes int64 // handed to the uplink, those that are lost on the way included
	Got, GotBytes   int64
	Lost            int64 // of those sent
	Filtered        int64 // arrived and were kept out by the NAT, or found no socket
}

// Join adds a link. Addresses are public ones, in the order of joining.
func (n *Net) Join(name string, cfg LinkConfig) *Link {
	if cfg.Up == 0 {
		cfg.Up = DefaultUp
	}
	if cfg.Down == 0 {
		cfg.Down = DefaultDown
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &Link{Name: name, net: n, number: len(n.links), cfg: cfg, ports: map[uint16]*socket{}, next: 49152,
		went: map[flow]time.Time{}, maps: map[mapKey]uint16{}, burst: map[int]ordinal{}}
	// 20.0.0.1 and on, a public range, one subnet of 256 a link: street neighbours do not share one.
	l.ip = netip.AddrFrom4([4]byte{20, byte(l.number >> 8), byte(l.number), 1})
	l.conn = n.sim.NewEndpoint(&net.UDPAddr{IP: l.ip.AsSlice(), Port: linkPort}, links.NodeBiDiLinkSettings{
		Uplink: links.LinkSettings{BitsPerSecond: cfg.Up}, Downlink: links.LinkSettings{BitsPerSecond: cfg.Down}})
	n.links = append(n.links, l)
	n.byIP[l.ip] = l
	n.pumps.Go(l.pump)
	return l
}

// A link has one endpoint in the simulator, so that its sockets share one bandwidth; the true ports, and the address that the packet
// seems to come from, travel in front of each payload.
const (
	linkPort   = 1
	portHeader = 8
	maxPacket  = 1500
)

// IP is the link's address.
func (l *Link) IP() netip.Addr { return l.ip }

// NAT says whether there is one in front of the link.
func (l *Link) NAT() bool { return l.cfg.NAT }

// Traffic is what went over the link so far.
func (l *Link) Traffic() Traffic {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	return l.traffic
}

// Off cuts the link silently: nobody is told, packets vanish. On undoes it.
func (l *Link) Off() { l.set(func() { l.off = true }) }

// On brings a link back.
func (l *Link) On() { l.set(func() { l.off = false }) }

func (l *Link) set(f func()) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	f()
}

// Split keeps packets from crossing between the sides given; links in none of them stay together on a side of their own.
func (n *Net) Split(sides ...[]*Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.side = 0
	}
	for i, side := range sides {
		for _, l := range side {
			l.side = i + 1
		}
	}
}

// Heal undoes Split.
func (n *Net) Heal() { n.Split() }

// Network is what a node on this link speaks over.
func (l *Link) Network() host.Network {
	return host.Network{
		ListenUDP: func(network string, a *net.UDPAddr) (net.PacketConn, error) {
			s, err := l.listen(a)
			if err != nil {
				return nil, &net.OpError{Op: "listen", Net: network, Addr: a, Err: err}
			}
			return s, nil
		},
		SourceIP: func(*net.UDPAddr) (net.IP, error) { return l.ip.AsSlice(), nil },
	}
}

func (l *Link) listen(a *net.UDPAddr) (*socket, error) {
	if len(a.IP) > 0 && !a.IP.IsUnspecified() && !a.IP.Equal(l.ip.AsSlice()) {
		return nil, fmt.Errorf("the link's address is %s", l.ip)
	}
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	port := uint16(a.Port)
	if port == 0 {
		for l.ports[l.next] != nil {
			l.next = max(l.next+1, 49152)
		}
		port = l.next
		l.next = max(l.next+1, 49152)
	}
	if l.ports[port] != nil {
		return nil, errors.New("address already in use")
	}
	s := &socket{link: l, port: port, in: make(chan datagram, 1024), closed: make(chan struct{}), read: newDeadline()}
	l.ports[port] = s
	return s, nil
}

// send hands a packet to the uplink, or drops it.
func (l *Link) send(from uint16, to netip.AddrPort, payload []byte) error {
	if len(payload)+portHeader > maxPacket {
		return errors.New("message too long")
	}
	n := l.net
	n.mu.Lock()
	now := time.Now()
	dst := n.byIP[to.Addr()]
	if o, ok := n.outer[to]; ok {
		dst = o.link
	}
	p := Packet{At: now, From: l, To: dst, Payload: payload, Dropped: l.fate(now, dst)}
	l.traffic.Sent++
	l.traffic.SentBytes += int64(len(payload))
	if p.Dropped != "" {
		l.traffic.Lost++
	}
	src := netip.AddrPortFrom(l.ip, from)
	if l.cfg.NAT && !l.off {
		src = l.outside(from, to)
		l.went[flow{from, to.Port(), to.Addr()}] = now
		if len(l.went) > 4096 {
			for f, at := range l.went {
				if now.Sub(at) > natTimeout {
					delete(l.went, f)
				}
			}
		}
	}
	for _, tap := range n.taps {
		tap.see(p)
	}
	n.mu.Unlock()
	if p.Dropped != "" {
		return nil
	}
	b := make([]byte, 0, portHeader+len(payload))
	ip := src.Addr().As4()
	b = append(b, ip[:]...)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	_, err := l.conn.WriteTo(append(b, payload...), &net.UDPAddr{IP: dst.ip.AsSlice(), Port: linkPort})
	return err
}

// fate says why a packet does not arrive, or "". The caller holds n.mu.
func (l *Link) fate(now time.Time, to *Link) string {
	switch {
	case l.off:
		return "off"
	case to == nil:
		return "nobody"
	case to.off:
		return "off"
	case l.side != to.side:
		return "split"
	}
	keep := (1 - l.net.cond.Loss) * (1 - l.cfg.Loss) * (1 - to.cfg.Loss)
	if keep >= 1 {
		return ""
	}
	o := l.burst[to.number]
	if !o.at.Equal(now) {
		o = ordinal{at: now}
	}
	o.n++
	l.burst[to.number] = o
	if Share(l.net.cond.Seed, drawLoss, uint64(l.number), uint64(to.number), uint64(now.UnixNano()), o.n) >= keep {
		return "lost"
	}
	return ""
}

// latency is how long a packet is under way, by the endpoints' addresses.
func (n *Net) latency(p *links.Packet) time.Duration {
	from, to := n.at(p.From), n.at(p.To)
	if from == nil || to == nil {
		return 0
	}
	c := n.cond
	d := c.Latency(from.number, to.number)
	if j := c.Jitter + from.cfg.Jitter + to.cfg.Jitter; j > 0 {
		d += time.Duration(Share(c.Seed, drawJitter, uint64(from.number), uint64(to.number), uint64(time.Now().UnixNano())) * float64(j))
	}
	return d + from.cfg.Delay + to.cfg.Delay
}

// Latency is that of a pair of links, by their numbers in the order of joining.
func (c Conditions) Latency(a, b int) time.Duration {
	return c.MinLatency + time.Duration(Share(c.Seed, drawLatency, uint64(min(a, b)), uint64(max(a, b)))*float64(c.MaxLatency-c.MinLatency))
}

func (n *Net) at(a net.Addr) *Link {
	ip, _ := netip.AddrFromSlice(a.(*net.UDPAddr).IP)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byIP[ip.Unmap()]
}

// What is drawn.
const (
	drawLatency uint64 = iota + 1
	drawJitter
	drawLoss
)

// Share is a number in [0, 1) that depends on nothing but the arguments, so that a world can be run again: the mixing
// step of splitmix64 (Steele, Lea and Flood, OOPSLA 2014) over them in turn. The first word says what is drawn; a Net
// draws with small ones.
func Share(seed uint64, words ...uint64) float64 {
	h := seed
	for _, w := range words {
		h = (h ^ w) + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return float64(h>>11) / (1 << 53)
}

// pump hands what arrives at the link to its sockets, until the network is closed.
func (l *Link) pump() {
	buf := make([]byte, maxPacket)
	for {
		size, _, err := l.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if size >= portHeader {
			l.arrive(buf[:size])
		}
	}
}

func (l *Link) arrive(b []byte) {
	ip := netip.AddrFrom4([4]byte(b))
	remote, local := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	n := l.net
	n.mu.Lock()
	defer n.mu.Unlock()
	local, passes := l.inside(local, netip.AddrPortFrom(ip, remote))
	s := l.ports[local]
	if s == nil || l.off || !passes {
		l.traffic.Filtered++
		return
	}
	l.traffic.Got++
	l.traffic.GotBytes += int64(len(b) - portHeader)
	select {
	case s.in <- datagram{append([]byte(nil), b[portHeader:]...), &net.UDPAddr{IP: ip.AsSlice(), Port: int(remote)}}:
	default: // the socket's buffer is full, as an operating system's may be
		l.traffic.Filtered++
	}
}

// socket is one port of a link, a net.PacketConn.
type socket struct {
	link   *Link
	port   uint16
	in     chan datagram
	closed chan struct{}
	once   sync.Once
	read   *deadline
}

type datagram struct {
	payload []byte
	from    *net.UDPAddr
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case <-s.closed:
		return 0, nil, net.ErrClosed
	case <-s.read.wait():
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case d := <-s.in:
		return copy(b, d.payload), d.from, nil
	case <-s.closed:
		return 0, nil, net.ErrClosed
	case <-s.read.wait():
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("not a UDP address: %v", to)
	}
	ip, _ := netip.AddrFromSlice(u.IP)
	if err := s.link.send(s.port, netip.AddrPortFrom(ip.Unmap(), uint16(u.Port)), b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (s *socket) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.link.set(func() { delete(s.link.ports, s.port) })
	})
	return nil
}

func (s *socket) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: s.link.ip.AsSlice(), Port: int(s.port)}
}

func (s *socket) SetDeadline(t time.Time) error      { return s.SetReadDeadline(t) }
func (s *socket) SetReadDeadline(t time.Time) error  { s.read.set(t); return nil }
func (s *socket) SetWriteDeadline(_ time.Time) error { return nil } // a write never waits

// QUIC asks for larger buffers and warns where it cannot.
func (s *socket) SetReadBuffer(int) error  { return nil }
func (s *socket) SetWriteBuffer(int) error { return nil }

// deadline is a channel that is closed at a time which may be moved, as in net.Pipe.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{}
}

func newDeadline() *deadline { return &deadline{passed: make(chan struct{})} }

func (d *deadline) wait() chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.passed // it fired, or is about to
	}
	d.timer = nil
	over := false
	select {
	case <-d.passed:
		over = true
	default:
	}
	if in := time.Until(t); t.IsZero() || in > 0 {
		if over {
			d.passed = make(chan struct{})
		}
		if !t.IsZero() {
			passed := d.passed
			d.timer = time.AfterFunc(in, func() { close(passed) })
		}
	} else if !over {
		close(d.passed)
	}
}
