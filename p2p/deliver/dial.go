package deliver

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/config"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"

	"github.com/porchlight-mesh/porchlight/p2p/forward"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// caller dials out with one identity and does nothing else: it is libp2p's transports without a host around them, so
// there is no identify, no peer store and nobody who could dial an address on its own.
type caller struct {
	key       ed25519.PrivateKey
	tcp, quic transport.Transport
	sockets   *quicreuse.ConnManager
}

func newCaller(key ed25519.PrivateKey, n host.Network) (*caller, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("deliver: no Ed25519 key given")
	}
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("deliver: key: %w", err)
	}
	reset, err := config.PrivKeyToStatelessResetKey(priv)
	if err != nil {
		return nil, fmt.Errorf("deliver: QUIC: %w", err)
	}
	token, err := config.PrivKeyToTokenGeneratorKey(priv)
	if err != nil {
		return nil, fmt.Errorf("deliver: QUIC: %w", err)
	}
	c := &caller{key: key}
	if c.sockets, err = quicreuse.NewConnManager(reset, token, n.QUIC()...); err != nil {
		return nil, fmt.Errorf("deliver: QUIC: %w", err)
	}
	if c.quic, err = libp2pquic.NewTransport(priv, c.sockets, nil, nil, nil); err != nil {
		c.close()
		return nil, fmt.Errorf("deliver: QUIC: %w", err)
	}
	if n.Simulated() {
		return c, nil
	}
	if c.tcp, err = newTCP(priv); err != nil {
		c.close()
		return nil, fmt.Errorf("deliver: TCP: %w", err)
	}
	return c, nil
}

func newTCP(key crypto.PrivKey) (transport.Transport, error) {
	mux := *yamux.DefaultTransport
	// A line that went dead without a word, as when this side's address changed, is noticed within 20 seconds.
	mux.KeepAliveInterval = 10 * time.Second
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: &mux}}
	n, err := noise.New(noise.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	t, err := libp2ptls.New(libp2ptls.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	// TLS first: it takes AES where both processors have instructions for it, which halves what encryption costs, and
	// else ChaCha20 as Noise does.
	up, err := upgrader.New([]sec.SecureTransport{t, n}, muxers, nil, nil, nil)
	if err != nil {
		return nil, err
	}
	dialer := func(ma.Multiaddr) (tcp.ContextDialer, error) { return &net.Dialer{Control: prepare}, nil }
	return tcp.NewTCPTransport(up, nil, nil, tcp.DisableReuseport(), tcp.WithDialerForAddr(dialer))
}

func (c *caller) close() {
	if t, ok := c.quic.(interface{ Close() error }); ok {
		t.Close()
	}
	c.sockets.Close()
}

// target is a parsed reply address.
type target struct {
	text string
	addr ma.Multiaddr // what is dialled: the requester, or the steward it is reached over
	id   peer.ID      // who is there
	over bool         // a steward is
	quic bool
}

// parseTarget takes literal addresses only: a name would have to be looked up, and tell somebody.
func parseTarget(s string) (target, error) {
	first, _, over := strings.Cut(s, "/p2p-circuit/")
	info, err := peer.AddrInfoFromString(first)
	if err != nil || len(info.Addrs) != 1 {
		return target{}, fmt.Errorf("deliver: %q is not an address with a peer id", s)
	}
	t := target{text: s, addr: info.Addrs[0], id: info.ID, over: over}
	var codes []int
	for _, p := range t.addr.Protocols() {
		codes = append(codes, p.Code)
	}
	if len(codes) >= 2 && (codes[0] == ma.P_IP4 || codes[0] == ma.P_IP6) {
		switch {
		case slices.Equal(codes[1:], []int{ma.P_TCP}):
			return t, nil
		case slices.Equal(codes[1:], []int{ma.P_UDP, ma.P_QUIC_V1}):
			t.quic = true
			return t, nil
		}
	}
	return target{}, fmt.Errorf("deliver: %q is not a literal IP address with TCP or QUIC, nor one of a steward with /p2p-circuit", s)
}

// call opens a connection to one of the targets, the earlier the better, and a stream of the protocol on it.
func (c *caller) call(ctx context.Context, timing Timing, targets ...target) (transport.CapableConn, *link, error) {
	var failed []error
	for len(targets) > 0 {
		conn, t, rest, errs := c.race(ctx, timing, targets)
		failed = append(failed, errs...)
		if conn == nil {
			break
		}
		octx, cancel := context.WithTimeout(ctx, timing.Dial)
		s, err := c.open(octx, conn, t)
		cancel()
		if err == nil {
			return conn, &link{stream: s, timing: timing}, nil
		}
		conn.Close()
		failed = append(failed, fmt.Errorf("deliver: open a stream to %s: %w", t.text, err))
		targets = rest
	}
	return nil, nil, errors.Join(failed...)
}

// race dials the targets in their order, each when the one before it failed or had its head start, as RFC 8305 has it,
// and returns the first connection, its target, and those that did not fail. A network that swallows the packets of one
// transport so costs a moment, not the whole time that a dial may take. All dials have ended when it returns.
func (c *caller) race(ctx context.Context, timing Timing, targets []target) (_ transport.CapableConn, won target, rest []target, failed []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		t    target
		conn transport.CapableConn
		err  error
	}
	results, running := make(chan result), 0
	rest = slices.Clone(targets)
	start := func() {
		t := targets[0]
		targets = targets[1:]
		running++
		go func() {
			conn, err := c.dial(ctx, timing, t)
			results <- result{t, conn, err}
		}()
	}
	for start(); running > 0; {
		head := time.NewTimer(timing.HeadStart)
		var next <-chan time.Time
		if len(targets) > 0 {
			next = head.C
		}
		select {
		case <-next:
			start()
		case r := <-results:
			running--
			rest = slices.DeleteFunc(rest, func(t target) bool { return t.text == r.t.text })
			if r.err == nil {
				head.Stop()
				cancel()
				for range running {
					if late := <-results; late.err == nil {
						late.conn.Close()
					}
				}
				return r.conn, r.t, rest, failed
			}
			if failed = append(failed, r.err); len(targets) > 0 {
				start()
			}
		}
		head.Stop()
	}
	return nil, target{}, rest, failed
}

func (c *caller) dial(ctx context.Context, timing Timing, t target) (transport.CapableConn, error) {
	ctx, cancel := context.WithTimeout(ctx, timing.Dial)
	defer cancel()
	tr := c.tcp
	if t.quic {
		tr = c.quic
	}
	if tr == nil {
		return nil, fmt.Errorf("deliver: dial %s: this network has no TCP", t.text)
	}
	conn, err := tr.Dial(ctx, t.addr, t.id)
	if err != nil {
		return nil, fmt.Errorf("deliver: dial %s: %w", t.text, err)
	}
	return conn, nil
}

func (c *caller) open(ctx context.Context, conn transport.CapableConn, t target) (stream, error) {
	// The other side may ask who this is; nothing answers. Ends with the connection.
	go func() {
		for {
			s, err := conn.AcceptStream()
			if err != nil {
				return
			}
			s.Reset()
		}
	}()
	s, err := conn.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	proto := Protocol
	if t.over {
		proto = forward.Protocol
	}
	if err := multistream.SelectProtoOrFail(proto, s); err != nil {
		s.Reset()
		return nil, cmp.Or(ctx.Err(), err)
	}
	if t.over {
		return forward.Through(ctx, s, t.text, c.key)
	}
	return s, nil
}

// Probe dials a requester's own reply addresses from a throwaway identity, so that one that nobody could reach is
// noticed before it stands in a request. It returns those that answered, and an error that says of each of the others
// why not. It is dialled from this machine: an address can answer here and still be shut to the outside.
func Probe(ctx context.Context, n host.Network, addrs []string) (reached []string, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("deliver: probe: %w", err)
	}
	c, err := newCaller(key, n)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var errs []error
	for _, a := range addrs {
		t, err := parseTarget(a)
		if err == nil {
			var conn transport.CapableConn
			var l *link
			if conn, l, err = c.call(ctx, Timing{}.filled(), t); err == nil {
				reached = append(reached, a)
				l.Close()
				conn.Close()
				continue
			}
		}
		errs = append(errs, err)
	}
	return reached, errors.Join(errs...)
}
