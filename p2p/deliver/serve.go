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
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/p2p/forward"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

const service = "porchlight.deliver"

// server answers deliveries on a host.
type server struct {
	h      *host.Host
	r      Receiver
	limits Limits
	ctx    context.Context
	shares host.Shares

	mu      sync.Mutex
	closed  bool
	total   int
	perPeer map[string][]*running // by the key that was proved; oldest first
	running sync.WaitGroup
}

// running is one session under way.
type running struct {
	end   func() // breaks it off
	ended chan struct{}
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
	s := &server{h: h, r: r, limits: limits, ctx: ctx, perPeer: map[string][]*running{}}
	h.Libp2p().SetStreamHandler(Protocol, s.handle)
	stop := forward.Accept(h, func(from ed25519.PublicKey, scope network.StreamScope, c *forward.Conn) {
		s.session(c, from, scope, c.Via(), false)
	})
	return func() {
		h.Libp2p().RemoveStreamHandler(Protocol)
		cancel()
		stop()
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.running.Wait()
	}, nil
}

// enter takes a session in, which end breaks off. A home that comes back has lost the connection it had, also
// where this side has not noticed yet, as when the home's address changed: its oldest session gives way. Nobody
// else can make it, since both proved the same key. leave is nil where there is no room.
func (s *server) enter(p string, end func()) (leave func()) {
	if old := s.inTheWay(p); old != nil {
		old.end()
		select {
		case <-old.ended:
		case <-time.After(s.limits.Timing.Grant):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.total >= s.limits.Sessions || len(s.perPeer[p]) >= s.limits.PerPeer {
		return nil
	}
	r := &running{end, make(chan struct{})}
	s.total++
	s.perPeer[p] = append(s.perPeer[p], r)
	s.running.Add(1)
	return func() {
		s.mu.Lock()
		s.total--
		s.perPeer[p] = slices.DeleteFunc(s.perPeer[p], func(x *running) bool { return x == r })
		if len(s.perPeer[p]) == 0 {
			delete(s.perPeer, p)
		}
		s.mu.Unlock()
		close(r.ended)
		s.running.Done()
	}
}

// inTheWay is the oldest session of a peer that has as many as it may; nil otherwise.
func (s *server) inTheWay(p string) *running {
	s.mu.Lock()
	defer s.mu.Unlock()
	if own := s.perPeer[p]; len(own) >= s.limits.PerPeer {
		return own[0]
	}
	return nil
}

// handle runs one session on libp2p's goroutine for the stream.
func (s *server) handle(st network.Stream) {
	if err := st.Scope().SetService(service); err != nil {
		st.Reset()
		return
	}
	from, err := rawKey(st.Conn().RemotePublicKey())
	if err != nil {
		st.Reset()
		s.h.Misbehaved(st.Conn().RemotePeer().String(), Protocol, err)
		return
	}
	s.session(st, from, st.Scope(), st.Conn().RemotePeer(), true)
}

func rawKey(k crypto.PubKey) (ed25519.PublicKey, error) {
	if k == nil || k.Type() != crypto.Ed25519 {
		return nil, refuse(ClassKeyType, "the remote identity is not an Ed25519 key")
	}
	raw, err := k.Raw()
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, refuse(ClassKeyType, "the remote identity cannot be read")
	}
	return raw, nil
}

// session serves what another side, which proved a key, sends over a stream that came from a neighbour: the other side itself, or a
// steward, against which nothing is held, since it cannot see it.
func (s *server) session(st stream, from ed25519.PublicKey, scope network.StreamScope, neighbour peer.ID, straight bool) {
	id := string(from)
	l := &link{stream: st, timing: s.limits.Timing}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var leave func()
	free := s.shares.Take(s.h.Source(neighbour), max(1, s.limits.Sessions/2))
	if free != nil {
		defer free()
		leave = s.enter(id, cancel)
	}
	if leave == nil {
		l.timing.Idle = min(l.timing.Idle, 2*time.Second)
		l.end(&Error{Class: ClassBusy})
		return
	}
	defer leave()
	// Above the connection manager's mark a delivery under way is not what gets trimmed.
	tag := service + id
	s.h.Libp2p().ConnManager().Protect(neighbour, tag)
	defer s.h.Libp2p().ConnManager().Unprotect(neighbour, tag)
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	x := &session{link: l, r: s.r, from: from, reserve: func() error {
		return scope.ReserveMemory(unwritten*MaxBlock, network.ReservationPriorityMedium)
	}}
	began := time.Now()
	err := x.run(ctx)
	stop()
	if ctx.Err() == nil && straight && misbehaviour(err) {
		s.h.Misbehaved(neighbour.String(), Protocol, err)
	} else if x.granted { // one that came and went without a grant, as Probe does, is nothing to report
		s.h.Log().Info("delivery ended", "peer", neighbour.String(), "releases", x.complete, "blocks", x.blocks, "bytes", x.bytes,
			"took", time.Since(began), "error", err)
	}
	if ctx.Err() != nil {
		st.Reset()
		return
	}
	l.end(err)
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

func (s *session) run(ctx context.Context) error {
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
	for words := 0; ; {
		kind, m, err := s.next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if kind == kindWord {
			if words++; words > MaxWords {
				return refuse(ClassProtocol, "more than %d words", MaxWords)
			}
			answer, err := s.r.Word(ctx, s.from, m)
			if err != nil {
				return spoken(err)
			}
			if err := s.send(kindAnswer, answer); err != nil {
				return err
			}
			continue
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

// next waits for the next release's manifest or the next word, over what only pads.
func (s *session) next() (kind byte, b []byte, err error) {
	for most := s.bytes/4 + 2*minBucket; ; {
		kind, n, err := s.header(s.timing.Answer)
		switch {
		case err != nil:
			return 0, nil, err
		case kind == kindWord:
			b, err := s.rest(kindWord, kind, n)
			return kind, b, err
		case kind != kindPad:
			b, err := s.rest(kindManifest, kind, n)
			return kind, b, err
		}
		if most -= headerLen + int64(n); most < 0 {
			return 0, nil, refuse(ClassOversize, "more padding than a delivery of %d bytes needs", s.bytes)
		}
		if err := s.body(make([]byte, n)); err != nil {
			return 0, nil, err
		}
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
		for range unwritten {
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

// receive verifies blocks as they come and writes them beside that, over two buffers. Each half ends when the other
// does.
func (s *session) receive(w *walk, sink Sink, from int64) error {
	free, checked := make(chan []byte, unwritten), make(chan block, unwritten)
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
