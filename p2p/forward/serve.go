package forward

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Limits bound what a steward carries. Zero fields mean the defaults named.
type Limits struct {
	Streams int           // paths at once: 256, half of them from one source (host.Source)
	PerPeer int           // paths at once that come from one neighbour: 32, since a neighbour may be a steward with homes of its own
	Bytes   int64         // that one neighbour may move in a day, both ways: 64 GiB
	Idle    time.Duration // a path on which nothing moves ends: 6 min, longer than a requester may take to judge
	Longest time.Duration // any path ends: 12 h
}

func (l Limits) filled() Limits {
	if l.Streams <= 0 {
		l.Streams = 256
	}
	if l.PerPeer <= 0 {
		l.PerPeer = 32
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 30
	}
	if l.Idle <= 0 {
		l.Idle = 6 * time.Minute
	}
	if l.Longest <= 0 {
		l.Longest = 12 * time.Hour
	}
	return l
}

// maxNeighbours bounds the neighbours whose bytes of the day are remembered, and buffer what one direction of a path holds.
const (
	maxNeighbours = 4096
	buffer        = 64 << 10
	service       = "porchlight.forward"
)

// Steward is what a steward's node says to paths.
type Steward struct {
	// Asks says whether a request that asks now names that reply address.
	Asks func(addr string) bool
	// Find looks for where a steward is that this one was told nothing of; nil knows none.
	Find func(ctx context.Context, id string) []string
	// Post makes a document public, or says why not; nil refuses all.
	Post   func(ctx context.Context, doc []byte) error
	Limits Limits
}

// Serve carries paths until stop is called, which breaks off those that are open and waits for them.
func Serve(h *host.Host, s Steward) (stop func(), err error) {
	if s.Asks == nil {
		return nil, errors.New("forward: no function given that knows reply addresses")
	}
	s.Limits = s.Limits.filled()
	return serve(h, Protocol, s, func(ctx context.Context, x *server, st network.Stream) error { return x.carry(ctx, st) }), nil
}

// Accept takes the ends of paths until stop is called, which breaks off those that are open and waits for them. take is called on a
// goroutine of its own with what the other end proved, and has the session until it returns.
func Accept(h *host.Host, take func(from ed25519.PublicKey, scope network.StreamScope, c *Conn)) (stop func()) {
	return serve(h, EndProtocol, Steward{}, func(ctx context.Context, x *server, st network.Stream) error {
		s, err := x.secureIn(ctx, endPrologue, st)
		if err != nil {
			return nil // a steward brought it, which cannot know what it brings
		}
		raw, err := s.RemotePublicKey().Raw()
		if err != nil || s.RemotePublicKey().Type() != crypto.Ed25519 {
			return errors.New("the other end's key is not an Ed25519 key")
		}
		take(raw, st.Scope(), &Conn{s, st})
		return nil
	})
}

type server struct {
	h *host.Host
	s Steward

	shares     host.Shares
	mu         sync.Mutex
	open       int
	neighbours map[peer.ID]*neighbour
}

// A neighbour is whom paths come from.
type neighbour struct {
	open  int
	since time.Time // the day in which bytes were moved
	bytes int64
}

func serve(h *host.Host, proto string, s Steward, handle func(context.Context, *server, network.Stream) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	x := &server{h: h, s: s, neighbours: map[peer.ID]*neighbour{}}
	var mu sync.Mutex
	var running sync.WaitGroup
	h.Libp2p().SetStreamHandler(protocol.ID(proto), func(st network.Stream) {
		mu.Lock()
		if ctx.Err() != nil || st.Scope().SetService(service) != nil {
			mu.Unlock()
			st.Reset()
			return
		}
		running.Add(1)
		mu.Unlock()
		defer running.Done()
		ended := context.AfterFunc(ctx, func() { st.Reset() })
		defer ended()
		if err := handle(ctx, x, st); err != nil && ctx.Err() == nil {
			st.Reset()
			h.Misbehaved(st.Conn().RemotePeer().String(), proto, err)
		}
		st.Close()
	})
	return func() {
		h.Libp2p().RemoveStreamHandler(protocol.ID(proto))
		mu.Lock()
		cancel()
		mu.Unlock()
		running.Wait()
	}
}

func (x *server) secureIn(ctx context.Context, prologue []byte, st network.Stream) (sec.SecureConn, error) {
	h := x.h.Libp2p()
	t, err := transport(h.Peerstore().PrivKey(h.ID()), prologue)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, setUp)
	defer cancel()
	s, err := t.SecureInbound(ctx, netConn{st}, "")
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return s, nil
}

// A leg is one side of a splice: what is read and written, and the stream below it.
type leg struct {
	net.Conn
	network.Stream
}

func (l leg) Read(b []byte) (int, error)  { return l.Conn.Read(b) }
func (l leg) Write(b []byte) (int, error) { return l.Conn.Write(b) }

// carry serves one path. An error is held against the neighbour that it came from; a steward that came before cannot know what the home
// wrote, so only what it wrote itself is.
func (x *server) carry(ctx context.Context, st network.Stream) error {
	from := st.Conn().RemotePeer()
	if err := st.SetDeadline(time.Now().Add(setUp)); err != nil {
		return err
	}
	var kind [1]byte
	if _, err := io.ReadFull(st, kind[:]); err != nil {
		return nil
	}
	in := leg{netConn{st}, st}
	switch kind[0] {
	case kindOpen:
	case kindSealed:
		s, err := x.secureIn(ctx, hopPrologue, st)
		if err != nil {
			return nil
		}
		in.Conn = s
		if err := st.SetDeadline(time.Now().Add(setUp)); err != nil { // the handshake took its own away
			return err
		}
	default:
		return fmt.Errorf("a path begins with %d, which this steward does not know", kind[0])
	}
	target, err := readHeader(in)
	if err != nil {
		if kind[0] == kindSealed {
			return nil
		}
		return err
	}
	free := x.shares.Take(x.h.Source(from), max(1, x.s.Limits.Streams/2))
	if free == nil {
		x.refuse(in, StatusBusy)
		return nil
	}
	defer free()
	if !x.enter(from) {
		x.refuse(in, StatusBusy)
		return nil
	}
	defer x.leave(from)
	if target == post {
		x.publish(ctx, in)
		return nil
	}
	out, why := x.next(ctx, from, target)
	if why != "" {
		x.refuse(in, why)
		return nil
	}
	defer out.Reset()
	if _, err := in.Write([]byte{0}); err != nil {
		return nil
	}
	x.splice(ctx, from, in, leg{netConn{out}, out})
	return nil
}

func (x *server) refuse(in leg, status string) {
	in.Write(append([]byte{byte(len(status))}, status...))
	in.CloseWrite()
}

// publish takes a document.
func (x *server) publish(ctx context.Context, in leg) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxPost || x.s.Post == nil {
		x.refuse(in, StatusRefused)
		return
	}
	doc := make([]byte, n)
	if _, err := io.ReadFull(in, doc); err != nil {
		return
	}
	if err := x.s.Post(ctx, doc); err != nil {
		x.h.Log().Debug("a document that came by a path is not made public", "error", err)
		x.refuse(in, StatusRefused)
		return
	}
	in.Write([]byte{0})
	in.CloseWrite()
}

// next opens the stream that the path goes on with, or says why not.
func (x *server) next(ctx context.Context, from peer.ID, target string) (_ network.Stream, why string) {
	ctx, cancel := context.WithTimeout(ctx, setUp)
	defer cancel()
	id, err := destination(target)
	if err != nil || id == from {
		return nil, StatusNotKnown
	}
	var proto protocol.ID = EndProtocol
	first, _, over := strings.Cut(target, circuit)
	switch {
	case strings.HasPrefix(target, "/p2p/"):
		proto = Protocol
		if !x.steward(id) {
			err = x.h.ConnectKnown(ctx, id.String())
		}
		if errors.Is(err, host.ErrNotKnown) {
			if err = x.find(ctx, id); err != nil {
				return nil, StatusNotKnown
			}
		}
	case !x.s.Asks(target):
		return nil, StatusNotKnown
	case !over:
		err = x.h.Reach(ctx, target)
	default:
		relay, e := destination(first)
		if err = e; relay != x.h.Libp2p().ID() { // at the end only who is connected anyway is reached
			id, proto = relay, Protocol
			err = errors.Join(e, x.h.Reach(ctx, first))
		}
	}
	if err != nil {
		return nil, StatusUnreachable
	}
	st, err := x.h.Libp2p().NewStream(network.WithNoDial(ctx, "forward"), id, proto)
	if err != nil {
		return nil, StatusUnreachable
	}
	if st.Scope().SetService(service) != nil {
		st.Reset()
		return nil, StatusBusy
	}
	if over && proto == Protocol {
		stop := context.AfterFunc(ctx, func() { st.Reset() })
		defer stop()
		if writeHeader(st, []byte{kindOpen}, target) != nil || (&pending{Conn: netConn{st}}).wait() != nil {
			st.Reset()
			return nil, StatusUnreachable
		}
	}
	return st, ""
}

// find connects to a steward that only the directory knows.
func (x *server) find(ctx context.Context, id peer.ID) error {
	err := host.ErrNotKnown
	if x.s.Find == nil {
		return err
	}
	for _, addr := range x.s.Find(ctx, id.String()) {
		if err = x.h.Reach(ctx, addr); err == nil {
			return nil
		}
	}
	return err
}

// steward says whether a peer is connected and carries paths itself.
func (x *server) steward(p peer.ID) bool {
	if x.h.Libp2p().Network().Connectedness(p) != network.Connected {
		return false
	}
	speaks, err := x.h.Libp2p().Peerstore().SupportsProtocols(p, Protocol)
	return err == nil && len(speaks) > 0
}

const circuit = "/p2p-circuit/"

// enter counts a path of a neighbour in.
func (x *server) enter(p peer.ID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	n := x.neighbours[p]
	if n == nil {
		if len(x.neighbours) >= maxNeighbours {
			x.forget(now)
		}
		if len(x.neighbours) >= maxNeighbours {
			return false
		}
		n = &neighbour{since: now}
		x.neighbours[p] = n
	}
	if now.Sub(n.since) > 24*time.Hour {
		n.since, n.bytes = now, 0
	}
	if x.open >= x.s.Limits.Streams || n.open >= x.s.Limits.PerPeer || n.bytes >= x.s.Limits.Bytes {
		return false
	}
	x.open++
	n.open++
	return true
}

// forget makes room for a neighbour: those of another day go, and if there are none, of those without an open path the one that moved
// least, so that whoever comes under many ids neither keeps others out nor gets its own day back early. The caller holds x.mu.
func (x *server) forget(now time.Time) {
	var least peer.ID
	for id, old := range x.neighbours {
		switch {
		case old.open > 0:
		case now.Sub(old.since) > 24*time.Hour:
			delete(x.neighbours, id)
		case least == "" || old.bytes < x.neighbours[least].bytes:
			least = id
		}
	}
	if len(x.neighbours) >= maxNeighbours {
		delete(x.neighbours, least)
	}
}

func (x *server) leave(p peer.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open--
	x.neighbours[p].open--
}

// moved counts bytes of a neighbour, and says whether it may move more.
func (x *server) moved(p peer.ID, n int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.neighbours[p].bytes += int64(n)
	return x.neighbours[p].bytes < x.s.Limits.Bytes
}

// splice copies both ways until both sides have closed, one breaks off, nothing moves for a while, or the path is too old.
func (x *server) splice(ctx context.Context, from peer.ID, a, b leg) {
	ctx, cancel := context.WithTimeout(ctx, x.s.Limits.Longest)
	defer cancel()
	// Above the connection manager's mark a path in use is not what gets trimmed.
	tag := service + "." + b.Stream.ID()
	for _, l := range []leg{a, b} {
		p := l.Stream.Conn().RemotePeer()
		x.h.Libp2p().ConnManager().Protect(p, tag)
		defer x.h.Libp2p().ConnManager().Unprotect(p, tag)
	}
	a.Stream.SetDeadline(time.Time{})
	b.Stream.SetDeadline(time.Time{})
	broken := func() { a.Reset(); b.Reset() }
	defer context.AfterFunc(ctx, broken)()
	idle := time.AfterFunc(x.s.Limits.Idle, broken)
	defer idle.Stop()
	var g sync.WaitGroup
	for _, way := range [][2]leg{{a, b}, {b, a}} {
		g.Go(func() {
			if err := x.copy(from, way[1], way[0], idle); err != nil {
				broken()
				return
			}
			way[1].CloseWrite()
		})
	}
	g.Wait()
}

var errQuota = errors.New("the neighbour has moved what it may in a day")

func (x *server) copy(from peer.ID, to, of leg, idle *time.Timer) error {
	b := make([]byte, buffer)
	for {
		n, err := of.Read(b)
		if n > 0 {
			idle.Reset(x.s.Limits.Idle)
			if !x.moved(from, n) {
				return errQuota
			}
			if _, err := to.Write(b[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
