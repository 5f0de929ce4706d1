// Package ask carries one short question and one short answer, each opaque, on a stream of its own.
//
// A message is its length (4 bytes, big endian) and that many bytes. C opens a stream of the protocol, sends the question and
// reads the answer; the server closes. Both have half a minute for all of it. A server answers mesh peers only (Host.Mesh), one
// question of a peer at a time, [MaxStreams] in all and half as many from one source (host.Source); it resets the stream of
// whoever asks for more, and of a question that its function has no answer for.
package ask

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	gosync "sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Max is the most bytes of a question or an answer, and MaxStreams how many questions are answered at once.
const (
	Max        = 16 << 10
	MaxStreams = 16
)

const patience = 30 * time.Second

// Question asks a connected peer. The error says nothing about the peer: it may not speak the protocol, or be busy.
func Question(ctx context.Context, h *host.Host, peerID, proto string, question []byte) ([]byte, error) {
	p, err := peer.Decode(peerID)
	if err != nil {
		return nil, fmt.Errorf("ask: peer id %q: %w", peerID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	st, err := h.Libp2p().NewStream(network.WithNoDial(ctx, "ask"), p, protocol.ID(proto))
	if err != nil {
		return nil, fmt.Errorf("ask: open a stream to %s: %w", peerID, err)
	}
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	defer stop()
	answer, err := exchange(st, question)
	if err != nil {
		st.Reset()
		return nil, fmt.Errorf("ask: %s: %w", peerID, err)
	}
	_ = st.Close() // over QUIC an error where the server, which has nothing more to read, was first
	return answer, nil
}

func exchange(st network.Stream, question []byte) ([]byte, error) {
	if err := send(st, question); err != nil {
		return nil, err
	}
	return receive(st)
}

// Speaks lists the connected mesh peers that answer questions of a protocol.
func Speaks(h *host.Host, proto string) (ids []string) {
	for _, p := range h.Peers() {
		id, err := peer.Decode(p.ID)
		if err != nil || !h.Mesh(p.ID) {
			continue
		}
		if has, err := h.Libp2p().Peerstore().SupportsProtocols(id, protocol.ID(proto)); err == nil && len(has) > 0 {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// Serve answers questions until stop is called, which waits for those under way. answer is called on several
// goroutines; an error of it is held against the peer.
func Serve(h *host.Host, proto string, answer func(from string, question []byte) ([]byte, error)) (stop func()) {
	s := &server{h: h, proto: proto, answer: answer, busy: map[peer.ID]bool{}}
	h.Libp2p().SetStreamHandler(protocol.ID(proto), s.serve)
	return func() {
		h.Libp2p().RemoveStreamHandler(protocol.ID(proto))
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.running.Wait()
	}
}

type server struct {
	h       *host.Host
	proto   string
	answer  func(string, []byte) ([]byte, error)
	running gosync.WaitGroup
	shares  host.Shares

	mu     gosync.Mutex
	busy   map[peer.ID]bool
	closed bool
}

func (s *server) enter(p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.busy[p] || len(s.busy) >= MaxStreams {
		return false
	}
	s.busy[p] = true
	s.running.Add(1)
	return true
}

// free lets a peer ask again.
func (s *server) free(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, p)
}

func (s *server) serve(st network.Stream) {
	p := st.Conn().RemotePeer()
	if !s.h.Mesh(p.String()) || st.Scope().SetService("porchlight.ask") != nil {
		st.Reset()
		return
	}
	free := s.shares.Take(s.h.Source(p), MaxStreams/2)
	if free == nil {
		st.Reset()
		return
	}
	defer free()
	if !s.enter(p) {
		st.Reset()
		return
	}
	defer s.running.Done()
	reply, err := s.reply(st, p)
	// Before the answer leaves: whoever has it may ask again at once.
	s.free(p)
	if err != nil || send(st, reply) != nil {
		st.Reset()
		return
	}
	st.Close()
}

// reply reads the question and has it answered.
func (s *server) reply(st network.Stream, p peer.ID) ([]byte, error) {
	// Resets the stream under whoever waits in it, too.
	if err := st.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	question, err := receive(st)
	if err != nil {
		return nil, err
	}
	reply, err := s.answer(p.String(), question)
	if err != nil {
		s.h.Misbehaved(p.String(), s.proto, err)
	}
	return reply, err
}

func send(w io.Writer, b []byte) error {
	if len(b) > Max {
		return fmt.Errorf("a message of %d bytes; the most is %d", len(b), Max)
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func receive(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > Max {
		return nil, fmt.Errorf("a message that says %d bytes; the most is %d", n, Max)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return b, nil
}
