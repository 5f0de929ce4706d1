package deliver

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

const service = "porchlight.deliver"

// server answers deliveries on a host.
type server struct {
	h      *host.Host
	r      Receiver
	limits Limits
	ctx    context.Context

	mu      sync.Mutex
	closed  bool
	total   int
	perPeer map[peer.ID]int
	running sync.WaitGroup
}

// Serve answers deliveries on the host until close is called, which ends running sessions and waits for them.
func Serve(h *host.Host, r Receiver, limits Limits) (close func(), err error) {
	if r == nil {
		return nil, errors.New("deliver: no receiver given")
	}
	if limits.Sessions <= 0 {
		limits.Sessions = 32
	}
	if limits.PerPeer <= 0 {
		limits.PerPeer = 1
	}
	limits.Timing = limits.Timing.filled()
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{h: h, r: r, limits: limits, ctx: ctx, perPeer: map[peer.ID]int{}}
	h.Libp2p().SetStreamHandler(Protocol, s.handle)
	return func() {
		h.Libp2p().RemoveStreamHandler(Protocol)
		cancel()
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.running.Wait()
	}, nil
}

func (s *server) enter(p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.total >= s.limits.Sessions || s.perPeer[p] >= s.limits.PerPeer {
		return false
	}
	s.total++
	s.perPeer[p]++
	s.running.Add(1)
	return true
}

func (s *server) leave(p peer.ID) {
	s.mu.Lock()
	s.total--
	if s.perPeer[p]--; s.perPeer[p] == 0 {
		delete(s.perPeer, p)
	}
	s.mu.Unlock()
	s.running.Done()
}

// handle runs one session on libp2p's goroutine for the stream.
func (s *server) handle(st network.Stream) {
	p := st.Conn().RemotePeer()
	l := &link{stream: st, timing: s.limits.Timing}
	scope := st.Scope()
	if err := scope.SetService(service); err != nil {
		st.Reset()
		return
	}
	if !s.enter(p) {
		l.timing.Idle = min(l.timing.Idle, 2*time.Second)
		l.end(&Error{Class: ClassBusy})
		return
	}
	defer s.leave(p)
	// Above the connection manager's mark a delivery under way is not what gets trimmed.
	s.h.Libp2p().ConnManager().Protect(p, service)
	defer s.h.Libp2p().ConnManager().Unprotect(p, service)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	x := &session{link: l, r: s.r, reserve: func() error {
		return scope.ReserveMemory(buffers*MaxBlock, network.ReservationPriorityMedium)
	}}
	began := time.Now()
	err := x.run(ctx, st.Conn().RemotePublicKey())
	stop()
	switch class := misbehaviour(err); {
	case ctx.Err() != nil:
		st.Reset()
	case class:
		s.h.Misbehaved(p.String(), Protocol, err)
		l.end(err)
	default:
		if x.granted { // one that came and went without a grant, as Probe does, is nothing to report
			s.h.Log().Info("delivery ended", "peer", p.String(), "releases", x.complete, "blocks", x.blocks, "bytes", x.bytes,
				"took", time.Since(began), "error", err)
		}
		l.end(err)
	}
}

// misbehaviour: what no honest sender does, even on a bad line.
func misbehaviour(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Remote {
		return false
	}
	switch e.Class {
	case ClassProtocol, ClassOversize, ClassWrongBlock, ClassBadDAG, ClassRoot, ClassKeyType:
		return true
	}
	return false
}

// session is one delivery as the requester sees it.
type session struct {
	*link
	r       Receiver
	reserve func() error
	from    ed25519.PublicKey
	bufs    [][]byte

	granted  bool
	complete int
	blocks   int64
	bytes    int64
}

func (s *session) run(ctx context.Context, remote crypto.PubKey) error {
	if remote == nil || remote.Type() != crypto.Ed25519 {
		return refuse(ClassKeyType, "the remote identity is not an Ed25519 key")
	}
	raw, err := remote.Raw()
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return refuse(ClassKeyType, "the remote identity cannot be read")
	}
	s.from = raw
	grant, err := s.expect(kindGrant, s.timing.Grant)
	if errors.Is(err, io.EOF) {
		return nil // a probe
	} else if err != nil {
		return err
	}
	acceptance, roots, err := s.r.Grant(ctx, s.from, grant)
	if err != nil {
		return spoken(err)
	}
	s.granted = true
	if err := s.send(kindAcceptance, acceptance); err != nil {
		return err
	}
	open := map[string]bool{}
	for _, r := range roots {
		open[r] = true
	}
	for {
		m, err := s.expect(kindManifest, s.timing.Answer)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		root, manifest, err := decodeManifest(m)
		if err != nil {
			return err
		}
		if !open[root] {
			return refuse(ClassRoot, "release %q is not in the grant, or was delivered already", root)
		}
		delete(open, root)
		if err := s.r.Manifest(ctx, s.from, root, manifest); err != nil {
			return spoken(err)
		}
		if err := s.release(ctx, root); err != nil {
			return fmt.Errorf("deliver: release %s: %w", root, err)
		}
		s.complete++
	}
}

// spoken gives an error of the node's judgement its text as its class.
func spoken(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Class: cmp.Or(cleanClass(err.Error()), "refused"), Err: err}
}

func (s *session) release(ctx context.Context, root string) error {
	if err := s.fill(ctx, root); err != nil {
		return err
	}
	receipt, err := s.r.Complete(ctx, s.from, root)
	if err != nil {
		return err
	}
	if err := s.send(kindReceipt, receipt); err != nil {
		return err
	}
	key, err := s.expect(kindKey, s.timing.Answer)
	if err != nil {
		return unexpected(err)
	}
	err = s.r.Key(ctx, s.from, root, key)
	clear(key)
	if err != nil {
		return err
	}
	return s.send(kindConfirm, nil)
}

// fill brings the release's Sink from what it has to complete, and closes it in any case.
func (s *session) fill(ctx context.Context, root string) (err error) {
	sink, err := s.r.Begin(ctx, s.from, root)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := sink.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("deliver: close what was stored: %w", cerr)
		}
	}()
	w, err := newWalk(root, sink.Size())
	if err != nil {
		return err
	}
	have := sink.Have()
	if err := w.resume(have, sink.Nodes()); err != nil {
		return err
	}
	if s.bufs == nil && !w.done() {
		if err := s.reserve(); err != nil {
			return &Error{Class: ClassBusy, Err: err}
		}
		for range buffers {
			s.bufs = append(s.bufs, make([]byte, MaxBlock))
		}
	}
	if err := s.send(kindHave, binary.BigEndian.AppendUint64(nil, uint64(have))); err != nil {
		return err
	}
	return s.receive(w, sink, have)
}

type block struct {
	i    int64
	leaf bool
	buf  []byte // the whole buffer
	data []byte
}

// receive verifies blocks as they come and writes them beside that, over four buffers. Each half ends when the other
// does.
func (s *session) receive(w *walk, sink Sink, from int64) error {
	free, checked := make(chan []byte, buffers), make(chan block, buffers)
	for _, b := range s.bufs {
		free <- b
	}
	g, ctx := errgroup.WithContext(context.Background())
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { s.halt(); close(stopped) })
	g.Go(func() error {
		defer close(checked)
		return s.read(ctx, w, from, free, checked)
	})
	g.Go(func() error {
		for b := range checked {
			if err := sink.Write(b.i, b.leaf, b.data); err != nil {
				return fmt.Errorf("deliver: store block %d: %w", b.i, err)
			}
			s.blocks++
			s.bytes += int64(len(b.data))
			free <- b.buf
		}
		return nil
	})
	err := g.Wait()
	if !stop() { // Wait ends ctx too: the halt must not come later than what follows here
		<-stopped
	}
	s.resume()
	return err
}

// read hands on the blocks that are what the walk says. Each is hashed piece by piece while it comes, since what was
// just copied from the connection is still in the processor's cache.
func (s *session) read(ctx context.Context, w *walk, from int64, free <-chan []byte, out chan<- block) error {
	var spent time.Duration
	var bytes int64
	hash := sha256.New()
	for i := from; i < w.total; i++ {
		var buf []byte
		select {
		case buf = <-free:
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		kind, n, err := s.header(s.timing.Idle)
		if err == nil {
			err = s.accept(kindBlock, kind, n)
		}
		if err == nil {
			hash.Reset()
			err = s.bodyInto(buf[:n], hash)
		}
		if ctx.Err() != nil {
			return nil // writing failed, which is the reason that counts
		}
		if err != nil {
			return unexpected(err)
		}
		// Waiting for this side's own disk is not held against the sender.
		spent += time.Since(began)
		bytes += int64(n)
		if allowed := s.forBytes(int(bytes)); spent > allowed {
			return refuse(ClassSlow, "%d bytes in %v", bytes, spent.Round(time.Second))
		}
		b := block{i: i, leaf: w.leaf(), buf: buf, data: buf[:n]}
		if err := w.takeHashed(b.data, hash.Sum(nil)); err != nil {
			return fmt.Errorf("deliver: block %d: %w", i, err)
		}
		out <- b
	}
	return nil
}
