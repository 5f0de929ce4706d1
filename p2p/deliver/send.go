package deliver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porchlight-mesh/porchlight/p2p/forward"
)

// Send delivers the offer and returns nil once every key was confirmed. The addresses are tried in turn, TCP first, each
// with a head start over the next, until one answers; what goes wrong after that ends the call, and the same offer can
// be sent again: blocks that arrived are not sent twice. An *Error with Remote set is the requester's own word.
func Send(ctx context.Context, cfg SendConfig, offer Offer, hooks Hooks) error {
	if hooks.Accepted == nil || hooks.Received == nil {
		return errors.New("deliver: hooks Accepted and Received are required")
	}
	if n := len(offer.Words); n > MaxWords || n > 0 && hooks.Answered == nil {
		return fmt.Errorf("deliver: %d words; at most %d, and the hook Answered", n, MaxWords)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Addrs) == 0 {
		return errors.Join(ErrUnreachable, errors.New("deliver: no reply address given"))
	}
	if cfg.Over != nil {
		return cfg.sendOver(ctx, offer, hooks)
	}
	var targets []target
	for _, a := range cfg.Addrs {
		t, err := parseTarget(a)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}
	slices.SortStableFunc(targets, func(a, b target) int {
		switch {
		case a.quic == b.quic:
			return 0
		case b.quic:
			return -1
		}
		return 1
	})
	c, err := newCaller(cfg.Key, cfg.Network)
	if err != nil {
		return err
	}
	defer c.close()
	conn, l, err := c.call(ctx, cfg.Timing.filled(), targets...)
	if err != nil {
		return errors.Join(ErrUnreachable, err)
	}
	defer conn.Close()
	return cfg.session(ctx, l, offer, hooks)
}

func (cfg SendConfig) session(ctx context.Context, l *link, offer Offer, hooks Hooks) error {
	stop := context.AfterFunc(ctx, func() { l.Reset() })
	defer stop()
	s := &sender{link: l, hooks: hooks, log: cfg.Log}
	err := s.run(offer)
	if err == nil && cfg.Over != nil {
		err = s.pad()
	}
	if ctx.Err() != nil {
		return fmt.Errorf("deliver: %w", ctx.Err())
	}
	l.end(err)
	return err
}

// sendOver tries the addresses one after the other, over the stewards.
func (cfg SendConfig) sendOver(ctx context.Context, offer Offer, hooks Hooks) error {
	var failed []error
	for _, a := range cfg.Addrs {
		c, err := forward.Dial(ctx, cfg.Over.Host, cfg.Over.Stewards, a, cfg.Key)
		if err == nil {
			return cfg.session(ctx, &link{stream: c, timing: cfg.Timing.filled()}, offer, hooks)
		}
		failed = append(failed, fmt.Errorf("deliver: %s: %w", a, err))
		var hop *forward.HopError
		if ctx.Err() != nil || !errors.As(err, &hop) || hop.Hop < len(cfg.Over.Stewards)-1 || hop.Status != forward.StatusUnreachable {
			return errors.Join(append([]error{ErrPath}, failed...)...)
		}
	}
	return errors.Join(append([]error{ErrUnreachable}, failed...)...)
}

// bucket is the size that n bytes are padded to: Padmé's (Nikitin et al., Reducing Metadata Leakage from Encrypted Files and Communication
// with PURBs, 2019), which adds at most an eighth and of a size tells little more than its order of magnitude.
func bucket(n int64) int64 {
	n = max(n, minBucket)
	e := bits.Len64(uint64(n)) - 1
	rest := e - bits.Len(uint(e))
	unit := int64(1) << rest
	return (n + unit - 1) / unit * unit
}

// pad fills up what was sent, so that a steward that counts it learns less.
func (s *sender) pad() error {
	for left := bucket(s.wrote) - s.wrote; left > 0; left = bucket(s.wrote) - s.wrote {
		if err := s.send(kindPad, make([]byte, max(0, min(left-headerLen, maxPad)))); err != nil {
			return err
		}
	}
	return nil
}

type sender struct {
	*link
	hooks Hooks
	log   *slog.Logger
	bufs  [][]byte
	last  atomic.Bool // the last block of a release is being sent, or was
}

func (s *sender) run(offer Offer) error {
	if err := s.send(kindGrant, offer.Grant); err != nil {
		return err
	}
	acceptance, err := s.answer(kindAcceptance)
	if err != nil {
		return err
	}
	if err := s.hooks.Accepted(acceptance); err != nil {
		return &Error{Class: ClassAcceptance, Err: err}
	}
	for _, r := range offer.Releases {
		if err := s.release(r); err != nil {
			return fmt.Errorf("deliver: release %s: %w", r.Root, err)
		}
	}
	for i, w := range offer.Words {
		if err := s.send(kindWord, w); err != nil {
			return s.why(err)
		}
		b, err := s.answer(kindAnswer)
		if err != nil {
			return err
		}
		if err := s.hooks.Answered(i, b); err != nil {
			return err
		}
	}
	return nil
}

// answer waits for the requester's node.
func (s *sender) answer(kind byte) ([]byte, error) {
	b, err := s.expect(kind, s.timing.Answer)
	if err != nil {
		return nil, unexpected(err)
	}
	return b, nil
}

// unexpected: the end of the stream is an error wherever something is due.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("deliver: the other side closed the stream")
	}
	return err
}

func (s *sender) release(r Release) error {
	m, err := encodeManifest(r.Root, r.Manifest)
	if err != nil {
		return err
	}
	if err := s.send(kindManifest, m); err != nil {
		return s.why(err)
	}
	have, err := s.answer(kindHave)
	if err != nil {
		return err
	}
	if len(have) != 8 {
		return refuse(ClassProtocol, "have frame of %d bytes", len(have))
	}
	total := r.Blocks.Blocks()
	n := binary.BigEndian.Uint64(have)
	if n > uint64(total) {
		return refuse(ClassProtocol, "the other side has %d blocks of %d", n, total)
	}
	receipt, err := s.blocks(r, int64(n), total)
	if err != nil {
		return err
	}
	if err := s.hooks.Received(r.Root, receipt); err != nil {
		return &Error{Class: ClassReceipt, Err: err}
	}
	key := r.Key()
	err = s.send(kindKey, key)
	clear(key)
	if err != nil {
		return s.why(err)
	}
	if _, err := s.answer(kindConfirm); err != nil {
		return err
	}
	if s.hooks.Confirmed != nil {
		s.hooks.Confirmed(r.Root)
	}
	return nil
}

// blocks sends blocks from on and returns the receipt. It listens all the while, because a requester that refuses a
// block says so before it has read the rest.
func (s *sender) blocks(r Release, from, total int64) ([]byte, error) {
	type reply struct {
		b   []byte
		err error
	}
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("deliver: %w", err)
	}
	heard := make(chan reply, 1)
	go func() {
		kind, n, err := s.headerNow() // the deadline is set below, once everything is sent
		var b []byte
		if err == nil {
			b, err = s.rest(kindReceipt, kind, n)
		}
		heard <- reply{b, unexpected(err)}
	}()
	s.last.Store(from == total)
	early := make(chan struct{}) // closed when the other side spoke before its turn
	sendErr := make(chan error, 1)
	go func() { sendErr <- s.stream(r, from, total, early) }()
	var rep reply
	select {
	case rep = <-heard:
		if rep.err == nil && s.last.Load() { // its write is about to return
			select {
			case err := <-sendErr:
				return rep.b, err
			case <-time.After(min(2*time.Second, s.timing.Idle)):
			}
		}
		close(early)
		s.SetWriteDeadline(time.Now())
		err := <-sendErr
		switch {
		case rep.err != nil:
			return nil, rep.err
		case err != nil:
			return nil, refuse(ClassProtocol, "a receipt came before the last block was sent")
		}
		return rep.b, nil
	case err := <-sendErr:
		wait := s.timing.Answer
		if err != nil { // the reason may be on its way
			wait = min(2*time.Second, s.timing.Idle)
		}
		s.SetReadDeadline(time.Now().Add(wait))
		rep = <-heard
		var refused *Error
		if err != nil && !(errors.As(rep.err, &refused) && refused.Remote) {
			return nil, err
		}
		return rep.b, rep.err
	}
}

var errEarly = errors.New("deliver: stopped")

// stream reads blocks ahead of writing them, in at most four buffers.
func (s *sender) stream(r Release, from, total int64, stop <-chan struct{}) error {
	if s.bufs == nil && from < total {
		for range sendAhead {
			s.bufs = append(s.bufs, make([]byte, MaxBlock))
		}
	}
	type block struct{ buf, data []byte }
	free, ready := make(chan []byte, sendAhead), make(chan block, sendAhead)
	for _, b := range s.bufs {
		free <- b
	}
	done := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		defer close(ready)
		for i := from; i < total; i++ {
			var buf []byte
			select {
			case buf = <-free:
			case <-done:
				return nil
			}
			data, err := r.Blocks.Block(i, buf)
			if err != nil {
				return &Error{Class: ClassInternal, Err: fmt.Errorf("read block %d: %w", i, err)}
			}
			ready <- block{buf, data}
		}
		return nil
	})
	g.Go(func() error {
		defer close(done)
		i := from
		for b := range ready {
			select {
			case <-stop:
				return errEarly
			default:
			}
			s.last.Store(i == total-1)
			if err := s.send(kindBlock, b.data); err != nil {
				return err
			}
			free <- b.buf
			i++
			if s.hooks.Progress != nil {
				s.hooks.Progress(r.Root, i, total)
			}
		}
		return nil
	})
	return g.Wait()
}

// why prefers the other side's reason to a write that failed because of it.
func (s *sender) why(err error) error {
	_, said := s.expect(0, min(2*time.Second, s.timing.Idle))
	var refused *Error
	if errors.As(said, &refused) && refused.Remote {
		return said
	}
	return err
}
