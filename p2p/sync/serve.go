package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// rate is a peer's allowance of pulls, and its stream.
type rate struct {
	busy bool
	left float64
	at   time.Time

	cut          func() // ends the stream; nil until it is served
	gone         bool   // it gave way: its place is another's
	since, moved time.Time
}

// A stream gives way to a newcomer when nothing moved on it, or when it took that long.
const (
	idleTime = 2 * time.Second
	fairTime = 10 * time.Second
)

// enter admits a peer's stream, within its rate.
func (s *Syncer) enter(p peer.ID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	r := s.served[p]
	if r == nil {
		if len(s.served) >= maxWatched {
			for id, r := range s.served {
				if !r.busy && now.Sub(r.at) > time.Minute {
					delete(s.served, id)
				}
			}
			if len(s.served) >= maxWatched {
				return false
			}
		}
		r = &rate{left: Burst, at: now}
		s.served[p] = r
	}
	r.left = min(Burst, r.left+now.Sub(r.at).Minutes()*Burst)
	r.at = now
	if r.busy || r.left < 1 || s.streams >= maxStreams && !s.makeRoom(now) {
		return false
	}
	r.busy, r.gone, r.since, r.moved = true, false, now, now
	r.left--
	s.streams++
	s.running.Add(1)
	return true
}

// makeRoom ends the stream that should give way to another, if there is one. The caller holds s.mu.
func (s *Syncer) makeRoom(now time.Time) bool {
	var idle, long *rate
	for _, r := range s.served {
		if !r.busy || r.gone || r.cut == nil {
			continue
		}
		if now.Sub(r.moved) > idleTime && (idle == nil || r.moved.Before(idle.moved)) {
			idle = r
		}
		if now.Sub(r.since) > fairTime && (long == nil || r.since.Before(long.since)) {
			long = r
		}
	}
	r := cmp.Or(idle, long)
	if r == nil {
		return false
	}
	go r.cut() // which may wait for the connection
	r.gone = true
	s.streams--
	return true
}

// serves notes the stream of a peer that was let in; moved is to be called when something moved on it.
func (s *Syncer) serves(p peer.ID, st network.Stream) (moved func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.served[p]
	r.cut = func() { st.Reset() }
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		r.moved = time.Now()
	}
}

func (s *Syncer) leave(p peer.ID) {
	s.mu.Lock()
	r := s.served[p]
	r.busy, r.cut = false, nil
	if !r.gone {
		s.streams--
	}
	s.mu.Unlock()
	s.running.Done()
}

// moving is a stream that tells whenever something moved on it.
type moving struct {
	network.Stream
	moved func()
}

func (m moving) Read(b []byte) (int, error) {
	n, err := m.Stream.Read(b)
	m.moved()
	return n, err
}

func (m moving) Write(b []byte) (int, error) {
	n, err := m.Stream.Write(b)
	m.moved()
	return n, err
}

func (s *Syncer) serve(st network.Stream) {
	p := st.Conn().RemotePeer()
	if !s.h.Mesh(p.String()) || st.Scope().SetService("porchlight.sync") != nil || !s.enter(p, time.Now()) {
		st.Reset()
		return
	}
	defer s.leave(p)
	ctx, cancel := context.WithTimeout(s.ctx, s.pullTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	defer stop()
	if err := s.answer(&wire{moving{st, s.serves(p, st)}, s.frameTime}); err != nil {
		st.Reset()
		var bad *badPeer
		if errors.As(err, &bad) {
			s.h.Misbehaved(p.String(), Protocol, err)
		}
		return
	}
	st.Close()
}

func (s *Syncer) answer(w *wire) error {
	if _, err := w.expect(kindAsk); err != nil {
		return err
	}
	if err := w.send(kindHeads, encodeHeads(s.src.Heads())); err != nil {
		return err
	}
	var sent int64
	for range maxWants {
		b, err := w.expect(kindWant)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r, err := decodeWant(b)
		if err != nil {
			return err
		}
		var entries [][]byte
		if sent < s.maxPull+MaxBatch { // the client's own bound is reached first
			if entries, err = s.src.Entries(r.Log, r.From, int(min(r.To-r.From, MaxBatchCount))); err != nil {
				return fmt.Errorf("sync: read log %q from %d on: %w", r.Log, r.From, err)
			}
		}
		out := encodeEntries(entries)
		if err := w.send(kindEntries, out); err != nil {
			return err
		}
		sent += int64(len(out))
	}
	return blame("more than %d requests on one stream", maxWants)
}
