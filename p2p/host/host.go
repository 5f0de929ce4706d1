// Package host keeps one libp2p host alive and its node connected to the mesh.
//
// A host speaks QUIC and TCP (Noise or TLS 1.3, yamux), and nothing else: no relay, no hole punching, no DHT, no ping
// service, no peer exchange, no metrics. identify stays because gossip and sync learn from it which protocols a peer
// speaks; it tells a constant agent (UserAgent) and the addresses of AddrsFactory. A steward, and nobody else, asks its
// router for a port and other stewards whether they can dial it (see Host.Reachable).
//
// What each role tells of itself and whom it dials:
//
//	role       tells in identify                dials
//	Home       no address at all                stewards, cached and invited peers, mDNS peers
//	Observer   as a home                        as a home
//	Steward    its listen or announced address  stewards, cached peers, mDNS peers
//	Requester  its listen or announced address  stewards only
//
// A home tells nobody its listen addresses, because whoever it tells could hand them on; neighbours on its LAN find it
// through mDNS alone, which does not leave the link, and peers it invited have its address from the invitation. A peer
// always sees the address a connection comes from; that is what dialling few and chosen stewards is for. No protocol
// here carries the address of a third peer, but that of stewards: the directory (package directory), which no home speaks,
// and for whose sake a steward, a requester or an observer also dials stewards that it was not told of.
//
// A Requester is a leaf of its stewards: strangers may connect to deliver to it, but they are not mesh peers (see
// Host.Mesh), so gossip and sync do not talk to them.
//
// Every table that a stranger can make grow has a bound. Where peers share one, it is per source where that matters (see
// Host.Source), since a peer id costs nothing:
//
//	table                                    at most                                             held by
//	connections                              48, 192, 768 in (home, requester, steward)          resources
//	... of one IPv4, IPv6 /56                a third or a quarter of that; twice for /24, /48    resources
//	... and new ones of one                  1, 4, 12 a second                                   resources
//	streams, and their windows, of a peer    16, 20, 40 in; 24, 128, 24 MiB                      resources, muxer
//	addresses of a peer                      16; none once it left, unless this host dials it    remembers
//	protocols of a peer                      128                                                 libp2p's peer store
//	blocked peers, candidates, known         1024, 512, 200                                      gate, mergeCandidate, remember
//	log lines of peers that misbehave        one per peer and protocol in 10 min, of 256         Misbehaved
//	topics of a peer                         1                                                   gossip: its filter
//	one RPC                                  68 KiB, 4 KiB of them control                       gossip
//	messages ignored, rejected, remembered   512, 4 of a peer; 2048 of a source                  gossip: ward
//	announced and unwanted ids, back-offs    32 and 1024 a second; a minute                      gossip: params, tame
//	heads, entries of a pull                 64 KiB, 64 MiB                                      sync
//	peers that pull                          16 at once; rates of 4096                           sync
//	questions                                16 at once, 8 of a source                           ask
//	paths                                    256 at once, 128 of a source; days of 4096          forward
//	deliveries                               32 at once, 16 of a source; 2 MiB each              deliver
//	questions to the directory               32 at once, 4 of a peer; rates of 4096              directory
//	records of the directory                 256 checkpoints, 512 of stewards                    directory: shelf
//	entries of a docket                      what the charter grants it a day                    node: room
//	... on their way                         64 MiB a docket, for a minute, of four peers        node: Stage
//	... of which only the hash is here       256 peers that have no more, each                   node: fill
//	checkpoints ahead of a docket            16                                                  node: compare
//	objections                               2000 a docket                                       node: object
//	grants                                   10,000 a request; 200 of which nothing came         agency: room
//	bytes of releases                        what the vault was given                            agency: makeRoom
//	refused deliveries                       1000                                                agency: note
//
// The custody log alone has none, since it is never cut: each grant that an agency accepts is a line of it.
//
// Peer ids and addresses are strings here (a base58 peer id; a multiaddr ending in /p2p/<id>), so that only the
// packages of p2p know libp2p.
package host

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

// UserAgent is the constant every host tells in identify.
const UserAgent = "porchlight/1"

// Role says what a host is to the mesh.
type Role int

// The roles.
const (
	// Home dials stewards, cached and invited peers, and neighbours on its own LAN. It advertises no address.
	Home Role = iota
	// Steward has a public address, accepts connections and is a gossip hub.
	Steward
	// Requester is a leaf of stewards that also listens for deliveries.
	Requester
	// Observer follows the mesh as a home does and has no footage.
	Observer
)

// Network replaces the machine's sockets by others, for a host that lives in virtual time: nothing in it may block in
// a system call there. The zero value is the real network.
type Network struct {
	// ListenUDP opens a packet socket. When set, the host speaks QUIC only, over these sockets, without mDNS and
	// without limits on connections by address.
	ListenUDP func(network string, laddr *net.UDPAddr) (net.PacketConn, error)
	// SourceIP names the local address used towards dst; required with ListenUDP.
	SourceIP func(dst *net.UDPAddr) (net.IP, error)
}

// Simulated says whether the network is not the machine's.
func (n Network) Simulated() bool { return n.ListenUDP != nil }

type sourceIP func(dst *net.UDPAddr) (net.IP, error)

// PreferredSourceIPForDestination is what libp2p asks of a source address selector.
func (f sourceIP) PreferredSourceIPForDestination(dst *net.UDPAddr) (net.IP, error) { return f(dst) }

// QUIC gives libp2p's form of the network's sockets, for the packages beside this one; none on the real network.
func (n Network) QUIC() []quicreuse.Option {
	if !n.Simulated() {
		return nil
	}
	return []quicreuse.Option{
		quicreuse.OverrideListenUDP(n.ListenUDP),
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return sourceIP(n.SourceIP), nil }),
	}
}

// Config describes a host. Key is required; the zero value of everything else works.
type Config struct {
	Key      ed25519.PrivateKey
	Listen   []string // multiaddrs; empty listens nowhere
	Announce []string // multiaddrs told to others instead of Listen, for a host behind a port mapping
	Role     Role
	MDNS     bool     // find and be found by peers on the same LAN
	Stewards []string // multiaddrs ending in /p2p/<id>
	Cached   []string // multiaddrs ending in /p2p/<id>: known good or invited peers
	MapPort  bool     // a steward asks its router to pass its ports on; in every other role it is left alone
	Degree   int      // connections Run tries to keep; 0 means 8, for a Requester as many as it has stewards up to 32
	Log      *slog.Logger
	Network  Network
}

// Peer is a connected peer.
type Peer struct {
	ID   string
	Addr string // the connection's remote multiaddr with /p2p/<id>
}

// Host is one long-lived libp2p host.
type Host struct {
	cfg  Config
	log  *slog.Logger
	h    host.Host
	gate *gate
	quic *quicreuse.ConnManager // only in a simulated network, where nobody else closes it
	sub  event.Subscription
	done chan struct{}
	kick chan struct{} // wakes Run

	complaints complaints

	mu     sync.Mutex
	onPeer []func(id string)
	reach  Reach
	onRch  func()
	told   map[peer.ID]bool // connected peers that onPeer heard of
	mesh   map[peer.ID]bool // stewards and peers dialled on purpose
	known  []string         // reached addresses, newest first
	book   map[peer.ID]*candidate
}

const (
	maxKnown      = 200
	maxCandidates = 512
)

// New starts a host. It listens at once; it dials nobody before Run or Connect.
func New(cfg Config) (*Host, error) {
	if len(cfg.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("host: no Ed25519 key given")
	}
	if cfg.Degree <= 0 {
		cfg.Degree = 8
		if cfg.Role == Requester { // what it publishes goes through its stewards alone, and one honest one will do
			cfg.Degree = min(max(8, len(cfg.Stewards)), 32)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Host{cfg: cfg, log: cfg.Log, gate: newGate(), done: make(chan struct{}), kick: make(chan struct{}, 1),
		told: map[peer.ID]bool{}, mesh: map[peer.ID]bool{}, book: map[peer.ID]*candidate{}}
	for _, s := range cfg.Stewards {
		if err := h.addCandidate(s, steward); err != nil {
			return nil, fmt.Errorf("host: steward %q: %w", s, err)
		}
	}
	for _, s := range cfg.Cached[:min(len(cfg.Cached), maxKnown)] {
		if err := h.addCandidate(s, cached); err != nil {
			h.log.Warn("cached peer left out", "address", s, "error", err) // a rotten cache must not keep a node from starting
			continue
		}
		h.known = append(h.known, s)
	}
	opts, undo, err := h.options()
	if err != nil {
		return nil, err
	}
	if h.h, err = libp2p.New(opts...); err != nil {
		undo() // libp2p closes what it was given only once it runs
		return nil, fmt.Errorf("host: start: %w", err)
	}
	h.gate.self = h.h.ID()
	if h.sub, err = h.h.EventBus().Subscribe([]any{new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerConnectednessChanged),
		new(event.EvtHostReachableAddrsChanged)}); err != nil {
		h.h.Close()
		return nil, fmt.Errorf("host: subscribe to peer events: %w", err)
	}
	go h.watch()
	return h, nil
}

// options builds libp2p's options; undo ends what they started.
func (h *Host) options() (opts []libp2p.Option, undo func(), err error) {
	cfg := h.cfg
	key, err := crypto.UnmarshalEd25519PrivateKey(cfg.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("host: key: %w", err)
	}
	announce := make([]ma.Multiaddr, 0, len(cfg.Announce))
	for _, s := range cfg.Announce {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, nil, fmt.Errorf("host: announced address %q: %w", s, err)
		}
		announce = append(announce, a)
	}
	factory := func(listen []ma.Multiaddr) []ma.Multiaddr {
		switch {
		case cfg.Role == Home || cfg.Role == Observer:
			return nil
		case len(announce) > 0:
			return announce
		}
		return listen
	}
	low, high := connections(cfg.Role)
	cm, err := connmgr.NewConnManager(low, high, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		return nil, nil, fmt.Errorf("host: connection manager: %w", err)
	}
	rm, err := resources(cfg.Role, cfg.Network.Simulated())
	if err != nil {
		cm.Close()
		return nil, nil, fmt.Errorf("host: resource manager: %w", err)
	}
	undo = func() {
		cm.Close()
		rm.Close()
		if h.quic != nil {
			h.quic.Close()
		}
	}
	opts = []libp2p.Option{
		libp2p.Identity(key), libp2p.UserAgent(UserAgent), libp2p.ProtocolVersion(UserAgent),
		libp2p.DisableMetrics(), libp2p.DisableRelay(), libp2p.Ping(false),
		libp2p.AddrsFactory(factory), libp2p.ConnectionGater(h.gate), libp2p.ConnectionManager(cm),
		libp2p.ResourceManager(rm), libp2p.WithDialTimeout(15 * time.Second),
		// A node dials few addresses, and all of them fail while its line is down: concluding from that that UDP or IPv6
		// leads nowhere would keep it from coming back.
		libp2p.UDPBlackHoleSuccessCounter(nil), libp2p.IPv6BlackHoleSuccessCounter(nil),
		libp2p.Transport(libp2pquic.NewTransport),
	}
	opts = append(opts, h.fromOutside()...)
	// Reachability is stated, so that the client of the first AutoNAT never asks other peers to dial this one back.
	if cfg.Role == Steward || cfg.Role == Requester {
		opts = append(opts, libp2p.ForceReachabilityPublic())
	} else {
		opts = append(opts, libp2p.ForceReachabilityPrivate())
	}
	if len(cfg.Listen) > 0 {
		opts = append(opts, libp2p.ListenAddrStrings(cfg.Listen...))
	} else {
		opts = append(opts, libp2p.NoListenAddrs)
	}
	if cfg.Network.Simulated() {
		keep := func(cm *quicreuse.ConnManager) error { h.quic = cm; return nil }
		return append(opts, libp2p.QUICReuse(quicreuse.NewConnManager, append(cfg.Network.QUIC(), keep)...)), undo, nil
	}
	return append(opts, libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New),
		libp2p.Security(libp2ptls.ID, libp2ptls.New), libp2p.Muxer(yamux.ID, muxer(cfg.Role))), undo, nil
}

// muxer raises yamux's initial receive window where deliveries arrive, so that a long line is hardly slower for it at the start (deliver/SPEED.md);
// the window grows to 4 MiB from there. A window is memory that a stranger can claim for each stream.
func muxer(r Role) *yamux.Transport {
	t := *yamux.DefaultTransport
	t.MaxStreamWindowSize = 4 << 20
	t.MaxIncomingStreams = uint32(streams(r)) // counted before the resource manager does, which is asked one stream after the other
	if r == Requester {
		t.InitialStreamWindowSize = 1 << 20
	}
	return &t
}

// IDOf is the peer id of a host with that key.
func IDOf(key ed25519.PrivateKey) (string, error) {
	k, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("host: key: %w", err)
	}
	id, err := peer.IDFromPrivateKey(k)
	return id.String(), err
}

// ID is the host's peer id.
func (h *Host) ID() string { return h.h.ID().String() }

// Role is the role the host was started in.
func (h *Host) Role() Role { return h.cfg.Role }

// Addrs lists the announced addresses, or else those the host listens on (unspecified ones resolved to the machine's),
// each ending in /p2p/<id>. This is for the host's own person and node: a home tells them to nobody.
func (h *Host) Addrs() []string {
	var out []string
	if len(h.cfg.Announce) > 0 {
		for _, s := range h.cfg.Announce {
			out = append(out, s+"/p2p/"+h.ID())
		}
		return out
	}
	addrs, err := h.h.Network().InterfaceListenAddresses()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		out = append(out, a.String()+"/p2p/"+h.ID())
	}
	return out
}

// Connect dials one full address and waits for the connection. The peer is a mesh peer from then on.
func (h *Host) Connect(ctx context.Context, addr string) error {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return fmt.Errorf("host: address %q: %w", addr, err)
	}
	h.mu.Lock()
	h.mesh[info.ID] = true
	h.mu.Unlock()
	if err := h.Reach(ctx, addr); err != nil {
		return err
	}
	h.remember(addr)
	h.tell(info.ID)
	return nil
}

// Peers lists the connected peers.
func (h *Host) Peers() []Peer {
	var out []Peer
	for _, id := range h.h.Network().Peers() {
		if conns := h.h.Network().ConnsToPeer(id); len(conns) > 0 {
			out = append(out, Peer{ID: id.String(), Addr: conns[0].RemoteMultiaddr().String() + "/p2p/" + id.String()})
		}
	}
	return out
}

// Known lists addresses this host dialled and reached, newest first, then the cached ones it was given; at most 200.
// A node persists them and hands them back as Config.Cached.
func (h *Host) Known() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.known)
}

func (h *Host) remember(addr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = slices.DeleteFunc(h.known, func(s string) bool { return s == addr })
	h.known = slices.Insert(h.known, 0, addr)
	h.known = h.known[:min(len(h.known), maxKnown)]
}

// OnPeer adds a function called once for each mesh peer as it connects, when it is known which protocols it speaks.
// Calls come one after the other: f must return at once.
func (h *Host) OnPeer(f func(id string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onPeer = append(h.onPeer, f)
}

// Mesh says whether gossip and sync talk to a peer: with a Requester, only those it dialled on purpose (its stewards);
// with everyone else, every peer.
func (h *Host) Mesh(id string) bool {
	p, err := peer.Decode(id)
	return err == nil && h.isMesh(p)
}

func (h *Host) isMesh(p peer.ID) bool {
	return h.cfg.Role != Requester || h.chosen(p)
}

// Chosen says whether a peer is one of this host's stewards, or was dialled on purpose. Anybody can be a stranger, with
// as many ids as they like; nobody becomes a chosen peer by themselves.
func (h *Host) Chosen(id string) bool {
	p, err := peer.Decode(id)
	return err == nil && h.chosen(p)
}

func (h *Host) chosen(p peer.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mesh[p]
}

// Gate installs a function that says whether a peer may connect at all; nil lets everybody. It is asked for each new
// connection, from many goroutines.
func (h *Host) Gate(allow func(id string) bool) { h.gate.setAllow(allow) }

// Block disconnects a peer and refuses its connections for the given time. Peer ids cost nothing, so this only
// spares the cost of the laziest attacker; what a stranger can make grow is bounded elsewhere.
func (h *Host) Block(id string, d time.Duration) {
	p, err := peer.Decode(id)
	if err != nil {
		return
	}
	h.gate.block(p, d)
	// Closing waits for the transport, and the caller may be deep in one of its callbacks.
	go h.h.Network().ClosePeer(p)
}

// Log is the host's logger; never nil.
func (h *Host) Log() *slog.Logger { return h.log }

// Libp2p is for the packages beside this one; nothing outside p2p uses it.
func (h *Host) Libp2p() host.Host { return h.h }

// watch turns libp2p's events into OnPeer calls and wake-ups of Run. It ends when Close closes the subscription.
func (h *Host) watch() {
	defer close(h.done)
	for e := range h.sub.Out() {
		switch e := e.(type) {
		case event.EvtPeerIdentificationCompleted:
			h.remembers(e.Peer, true)
			h.tell(e.Peer)
		case event.EvtHostReachableAddrsChanged:
			h.reached(e)
		case event.EvtPeerConnectednessChanged:
			if e.Connectedness == network.NotConnected {
				h.mu.Lock()
				delete(h.told, e.Peer)
				h.mu.Unlock()
				h.remembers(e.Peer, false)
				h.wake()
			}
		}
	}
}

func (h *Host) tell(p peer.ID) {
	if !h.isMesh(p) || h.h.Network().Connectedness(p) != network.Connected {
		return
	}
	if protos, _ := h.h.Peerstore().GetProtocols(p); len(protos) == 0 {
		return
	}
	h.mu.Lock()
	if h.told[p] {
		h.mu.Unlock()
		return
	}
	h.told[p] = true
	fs := slices.Clone(h.onPeer)
	h.mu.Unlock()
	for _, f := range fs {
		f(p.String())
	}
}

func (h *Host) wake() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// Close ends all connections and listeners.
func (h *Host) Close() error {
	err := h.h.Close()
	h.sub.Close()
	<-h.done
	if h.quic != nil {
		err = errors.Join(err, h.quic.Close())
	}
	return err
}
