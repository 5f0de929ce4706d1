// Package forward carries one session between a home and a requester over stewards, so that none of them sees both ends and none
// sees what is said.
//
// # Path
//
// A home opens a stream of the protocol to a steward that it is connected to, its guard. The guard opens one to the next steward
// that the home names, and that one to the requester; each copies bytes both ways and reads none of them. A requester that only
// its own steward can reach is one hop further: its reply address names the steward.
//
//	home ── guard ── second steward ──[── requester's steward ──] requester
//
// The guard knows the home and the second steward. The second steward knows the guard and the requester, and the home by a
// key that was made for this path. The requester knows the last steward, and the home by the grant's key.
//
// # Wire
//
// The first byte of a stream to a steward says what follows it:
//
//	0 open    a header. Nobody but the two ends of the connection sees it: so a home speaks to its guard, and a steward to
//	          the requester's steward.
//	1 sealed  a Noise handshake (libp2p's: XX, with the identity of both sides) with this steward, by a throwaway identity; a header in it.
//
// A stream to the requester, of EndProtocol, begins with a Noise handshake between the home and the requester.
//
// A header is a length (2 bytes, big endian, at most MaxHeader) and that many bytes of text, which says where to go on:
// /p2p/ID for a steward that this one knows, or the reply address of a request that asks now, as it stands there. Or it is the word
// post: then a document follows, length (4 bytes, big endian, at most MaxPost) first, which the steward makes public.
//
// The steward answers with a status, a length (1 byte) and that many bytes of text: none when the next stream is open,
// or the document was taken. From then on it copies. A home does not wait for one status before it sends what is for the next.
//
// The two uses of Noise have prologues of their own, so that no handshake can stand for the other.
//
// # Limits
//
// A steward carries Limits.Streams paths, and of one neighbour Limits.PerPeer, which may move so many bytes a day. Paths
// on which nothing moves end, and so does each after a while: what was delivered until then is not sent again.
//
// # Cost
//
// A path over two stewards is open after a round trip to the second one, one to each side of it, and one from end to end: 0.35 to 0.5 s on links of
// 20 to 60 ms. From an uplink of 20 Mbit/s blocks then come at 0.93 to 0.96 of the rate without stewards (TestTwoStewardsCostATenth, in
// virtual time); what is left over is the waiting at both ends of a delivery.
package forward

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/security/noise"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// The libp2p protocol ids: that of stewards, and that of the node where a path ends.
const (
	Protocol    = "/porchlight/forward/1"
	EndProtocol = "/porchlight/forward-end/1"
)

// Limits of the format, in bytes.
const (
	MaxHeader = 512
	MaxPost   = 64 << 10
	maxStatus = 255
)

const (
	kindOpen   = 0
	kindSealed = 1
)

const post = "post"

var (
	hopPrologue = []byte("porchlight/forward/1 hop")
	endPrologue = []byte("porchlight/forward/1 end")
)

// setUp is how long a steward may take to open the next stream, and a Noise handshake to end.
const setUp = 20 * time.Second

// Statuses that stewards send. Append-only.
const (
	StatusBusy        = "busy"        // the steward carries as much as it does
	StatusNotKnown    = "not-known"   // it knows no such steward, or no request that asks for answers there
	StatusUnreachable = "unreachable" // nobody answers there
	StatusRefused     = "refused"     // it does not make the document public
)

// A HopError is a steward's word that it does not carry a path on.
type HopError struct {
	Hop    int    // which one: 0 is the guard
	Status string // one line, at most 255 bytes
}

func (e *HopError) Error() string {
	return fmt.Sprintf("forward: steward %d of the path says %s", e.Hop+1, e.Status)
}

// Conn is a path's session between its two ends. One goroutine may read and another write.
type Conn struct {
	sec.SecureConn
	under network.MuxedStream
}

// Via is the steward that the path came from last; "" at a home.
func (c *Conn) Via() peer.ID {
	if st, ok := c.under.(network.Stream); ok {
		return st.Conn().RemotePeer()
	}
	return ""
}

// CloseWrite says that nothing more comes from this side.
func (c *Conn) CloseWrite() error { return c.under.CloseWrite() }

// Reset breaks the path off.
func (c *Conn) Reset() error { return c.under.Reset() }

// Close ends both directions.
func (c *Conn) Close() error { return c.under.Close() }

// Dial opens a path over the stewards of path, at least one, whose first one the host is connected to, to a reply address, and proves
// key to the node that the address names. A *HopError says which steward did not go on.
func Dial(ctx context.Context, h *host.Host, path []string, target string, key ed25519.PrivateKey) (*Conn, error) {
	to, err := destination(target)
	if err != nil {
		return nil, err
	}
	return along(ctx, h, path, target, func(ctx context.Context, st network.MuxedStream, c net.Conn) (*Conn, error) {
		return end(ctx, st, c, key, to)
	})
}

// Through goes on from a stream that was opened to the steward of a reply address, by somebody without a host, and proves key to the
// node that the address names.
func Through(ctx context.Context, st network.MuxedStream, target string, key ed25519.PrivateKey) (*Conn, error) {
	to, err := destination(target)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	defer stop()
	if err := writeHeader(st, []byte{kindOpen}, target); err != nil {
		return nil, err
	}
	return end(ctx, st, &pending{Conn: netConn{st}}, key, to)
}

// Post has the last steward of a path make a document public.
func Post(ctx context.Context, h *host.Host, path []string, doc []byte) error {
	if len(doc) > MaxPost {
		return fmt.Errorf("forward: a document of %d bytes; the most is %d", len(doc), MaxPost)
	}
	ctx, cancel := context.WithTimeout(ctx, 4*setUp)
	defer cancel()
	c, err := along(ctx, h, path, post, func(_ context.Context, st network.MuxedStream, c net.Conn) (*Conn, error) {
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(doc))), doc...)); err != nil {
			return nil, fmt.Errorf("forward: %w", err)
		}
		return &Conn{under: st}, c.(*pending).wait()
	})
	if c != nil {
		c.Close()
	}
	return err
}

// along opens the path and hands its last leg, on which the last steward's status is still due, to finish.
func along(ctx context.Context, h *host.Host, path []string, target string, finish func(context.Context, network.MuxedStream, net.Conn) (*Conn, error)) (_ *Conn, err error) {
	if len(path) == 0 {
		return nil, errors.New("forward: a path needs a steward")
	}
	guard, err := peer.Decode(path[0])
	if err != nil {
		return nil, fmt.Errorf("forward: guard %q: %w", path[0], err)
	}
	st, err := h.Libp2p().NewStream(network.WithNoDial(ctx, "forward"), guard, Protocol)
	if err != nil {
		return nil, fmt.Errorf("forward: open a stream to the guard: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			st.Reset()
		}
	}()
	next := func(i int) string {
		if i+1 < len(path) {
			return "/p2p/" + path[i+1]
		}
		return target
	}
	if err := writeHeader(st, []byte{kindOpen}, next(0)); err != nil {
		return nil, err
	}
	var c net.Conn = &pending{Conn: netConn{st}}
	for i := 1; i < len(path); i++ {
		id, err := peer.Decode(path[i])
		if err != nil {
			return nil, fmt.Errorf("forward: steward %q: %w", path[i], err)
		}
		_, throwaway, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		if _, err := c.Write([]byte{kindSealed}); err != nil {
			return nil, fmt.Errorf("forward: %w", err)
		}
		s, err := secureOut(ctx, hopPrologue, c, throwaway, id)
		if err != nil {
			return nil, err
		}
		if err := writeHeader(s, nil, next(i)); err != nil {
			return nil, err
		}
		c = &pending{Conn: s, hop: i}
	}
	return finish(ctx, st, c)
}

func end(ctx context.Context, st network.MuxedStream, c net.Conn, key ed25519.PrivateKey, to peer.ID) (*Conn, error) {
	s, err := secureOut(ctx, endPrologue, c, key, to)
	if err != nil {
		return nil, err
	}
	return &Conn{SecureConn: s, under: st}, nil
}

// secureOut begins a Noise session over c.
func secureOut(ctx context.Context, prologue []byte, c net.Conn, key ed25519.PrivateKey, to peer.ID) (sec.SecureConn, error) {
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("forward: key: %w", err)
	}
	t, err := transport(priv, prologue)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*setUp)
	defer cancel()
	s, err := t.SecureOutbound(ctx, c, to)
	if err != nil {
		if p, ok := c.(*pending); ok && p.err != nil {
			return nil, p.err
		}
		return nil, fmt.Errorf("forward: handshake with %s: %w", to, err)
	}
	return s, nil
}

func transport(key crypto.PrivKey, prologue []byte) (*noise.SessionTransport, error) {
	t, err := noise.New(noise.ID, key, nil)
	if err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	return t.WithSessionOptions(noise.Prologue(prologue))
}

// destination is the node that a reply address names: its last part.
func destination(target string) (peer.ID, error) {
	i := strings.LastIndex(target, "/p2p/")
	if i < 0 {
		return "", fmt.Errorf("forward: %q names no node", target)
	}
	id, err := peer.Decode(target[i+len("/p2p/"):])
	if err != nil {
		return "", fmt.Errorf("forward: %q: %w", target, err)
	}
	return id, nil
}

// pending is a leg on which a steward's status comes before anything else.
type pending struct {
	net.Conn
	hop  int
	came bool
	err  error
}

func (p *pending) Read(b []byte) (int, error) {
	if err := p.wait(); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// wait reads the status. Only one goroutine reads from a leg at a time.
func (p *pending) wait() error {
	if p.came {
		return p.err
	}
	p.came = true
	var head [1]byte
	if _, p.err = io.ReadFull(p.Conn, head[:]); p.err != nil {
		p.err = fmt.Errorf("forward: no word from steward %d of the path: %w", p.hop+1, p.err)
		return p.err
	}
	if text := make([]byte, head[0]); len(text) > 0 {
		if _, p.err = io.ReadFull(p.Conn, text); p.err == nil {
			p.err = &HopError{p.hop, clean(string(text))}
		}
	}
	return p.err
}

// clean makes a stranger's text fit for one line of a log.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

func writeHeader(w io.Writer, before []byte, text string) error {
	if len(text) > MaxHeader {
		return fmt.Errorf("forward: a header of %d bytes; the most is %d", len(text), MaxHeader)
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint16(before, uint16(len(text))), text...)); err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	return nil
}

func readHeader(r io.Reader) (string, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	n := binary.BigEndian.Uint16(head[:])
	if n > MaxHeader {
		return "", fmt.Errorf("a header says %d bytes; the most is %d", n, MaxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	return string(text), nil
}

// netConn makes a stream what Noise takes. It has no addresses, and nobody asks for them.
type netConn struct{ network.MuxedStream }

func (netConn) LocalAddr() net.Addr  { return nowhere{} }
func (netConn) RemoteAddr() net.Addr { return nowhere{} }

type nowhere struct{}

func (nowhere) Network() string { return "forward" }
func (nowhere) String() string  { return "a forwarding path" }
