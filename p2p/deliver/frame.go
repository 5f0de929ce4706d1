package deliver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// The frames' kinds. Append-only.
const (
	kindGrant      = 1
	kindAcceptance = 2
	kindManifest   = 3
	kindHave       = 4
	kindBlock      = 5
	kindReceipt    = 6
	kindKey        = 7
	kindConfirm    = 8
	kindError      = 9
	kindPad        = 10
	kindWord       = 11
	kindAnswer     = 12
)

const headerLen = 5

// limits by kind, in bytes; a kind without one is refused.
var frameLimit = [...]int{
	kindGrant: MaxDocument, kindAcceptance: MaxDocument, kindManifest: 1 + maxRoot + MaxDocument, kindHave: 8,
	kindBlock: MaxBlock, kindReceipt: MaxDocument, kindKey: MaxKey, kindConfirm: 0, kindError: maxClass, kindPad: maxPad,
	kindWord: MaxDocument, kindAnswer: MaxDocument,
}

// decodeHeader checks a frame's header and takes no memory for its body.
func decodeHeader(h [headerLen]byte) (kind byte, n int, err error) {
	kind = h[0]
	if kind == 0 || int(kind) >= len(frameLimit) {
		return 0, 0, refuse(ClassProtocol, "frame of unknown kind %d", kind)
	}
	size := binary.BigEndian.Uint32(h[1:])
	if uint64(size) > uint64(frameLimit[kind]) {
		return 0, 0, refuse(ClassOversize, "frame of kind %d says %d bytes, the limit is %d", kind, size, frameLimit[kind])
	}
	return kind, int(size), nil
}

func encodeManifest(root string, manifest []byte) ([]byte, error) {
	if len(root) == 0 || len(root) > maxRoot || len(manifest) > MaxDocument {
		return nil, refuse(ClassOversize, "root of %d bytes, manifest of %d", len(root), len(manifest))
	}
	b := append(make([]byte, 0, 1+len(root)+len(manifest)), byte(len(root)))
	return append(append(b, root...), manifest...), nil
}

func decodeManifest(b []byte) (root string, manifest []byte, err error) {
	if len(b) < 1 || b[0] == 0 || int(b[0]) > maxRoot || len(b) < 1+int(b[0]) || len(b)-1-int(b[0]) > MaxDocument {
		return "", nil, refuse(ClassProtocol, "manifest frame of %d bytes is malformed", len(b))
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}

// stream is what both ends' streams can do.
type stream interface {
	io.ReadWriteCloser
	CloseWrite() error
	Reset() error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// link is a stream with frames and deadlines. One goroutine may read and another write.
type link struct {
	stream
	timing Timing
	halted atomic.Bool
	wrote  int64 // bytes of frames; only who writes looks at it
}

var errHalted = errors.New("deliver: reading was stopped")

// halt wakes a reader and keeps it from reading on, until resume.
func (l *link) halt() {
	l.halted.Store(true)
	l.SetReadDeadline(time.Unix(1, 0))
}

func (l *link) resume() { l.halted.Store(false) }

// readBy sets the time by which reading has to be done. Looking at halted after that closes the gap in which a
// deadline of halt would be overwritten.
func (l *link) readBy(t time.Time) error {
	if err := l.SetReadDeadline(t); err != nil {
		return fmt.Errorf("deliver: %w", err)
	}
	if l.halted.Load() {
		return errHalted
	}
	return nil
}

// forBytes is how long n bytes may take.
func (l *link) forBytes(n int) time.Duration {
	return l.timing.Idle + time.Duration(float64(n)/float64(l.timing.MinRate)*float64(time.Second))
}

// header reads the next frame's header, for which the peer has the given time; 0 waits on.
func (l *link) header(wait time.Duration) (kind byte, n int, err error) {
	var deadline time.Time
	if wait > 0 {
		deadline = time.Now().Add(wait)
	}
	if err := l.readBy(deadline); err != nil {
		return 0, 0, err
	}
	return l.headerNow()
}

func (l *link) headerNow() (kind byte, n int, err error) {
	var h [headerLen]byte
	if m, err := io.ReadFull(l, h[:]); err != nil {
		if m == 0 && errors.Is(err, io.EOF) {
			return 0, 0, io.EOF
		}
		return 0, 0, slow(err, "the next frame")
	}
	return decodeHeader(h)
}

func (l *link) body(b []byte) error { return l.bodyInto(b, io.Discard) }

// bodyInto reads a frame's body into b, and writes each piece of it to w as soon as it is there.
func (l *link) bodyInto(b []byte, w io.Writer) error {
	if err := l.readBy(time.Now().Add(l.forBytes(len(b)))); err != nil {
		return err
	}
	for len(b) > 0 {
		piece := b[:min(len(b), 64<<10)]
		if _, err := io.ReadFull(l, piece); err != nil {
			return slow(err, "the rest of a frame")
		}
		w.Write(piece) // a hash, or nothing: neither fails
		b = b[len(piece):]
	}
	return nil
}

// slow gives a deadline that passed its class.
func slow(err error, what string) error {
	if timedOut(err) {
		return refuse(ClassSlow, "gave up waiting for %s", what)
	}
	return fmt.Errorf("deliver: read %s: %w", what, err)
}

// timedOut: the muxers have errors of their own for a deadline that passed.
func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// accept turns a header that is not of the wanted kind into an error, reading a refusal's text.
func (l *link) accept(want, kind byte, n int) error {
	switch kind {
	case want:
		return nil
	case kindError:
		b := make([]byte, n)
		if err := l.body(b); err != nil {
			return err
		}
		return &Error{Class: cleanClass(string(b)), Remote: true}
	}
	return refuse(ClassProtocol, "frame of kind %d where %d was due", kind, want)
}

// expect reads one whole document of the wanted kind. io.EOF means that the peer closed its side between frames.
func (l *link) expect(want byte, wait time.Duration) ([]byte, error) {
	kind, n, err := l.header(wait)
	if err != nil {
		return nil, err
	}
	return l.rest(want, kind, n)
}

func (l *link) rest(want, kind byte, n int) ([]byte, error) {
	if err := l.accept(want, kind, n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	return b, l.body(b)
}

func (l *link) send(kind byte, b []byte) error {
	if len(b) > frameLimit[kind] {
		return refuse(ClassOversize, "own frame of kind %d has %d bytes, the limit is %d", kind, len(b), frameLimit[kind])
	}
	if err := l.SetWriteDeadline(time.Now().Add(l.forBytes(len(b)))); err != nil {
		return fmt.Errorf("deliver: %w", err)
	}
	var h [headerLen]byte
	h[0] = kind
	binary.BigEndian.PutUint32(h[1:], uint32(len(b)))
	for _, p := range [][]byte{h[:], b} {
		if _, err := l.Write(p); err != nil {
			if timedOut(err) {
				return refuse(ClassSlow, "the other side does not read")
			}
			return fmt.Errorf("deliver: write: %w", err)
		}
	}
	l.wrote += headerLen + int64(len(b))
	return nil
}

// end tells the other side why it ends, where there is something to tell, and waits a moment for it to hear: closing
// at once could overtake the frame. What still arrives is read away within fixed bounds.
func (l *link) end(cause error) {
	if cause != nil {
		class := classOf(cause)
		if class == "" || l.send(kindError, []byte(class)) != nil {
			l.Reset()
			return
		}
	}
	l.CloseWrite()
	l.SetReadDeadline(time.Now().Add(min(2*time.Second, l.timing.Idle)))
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(l, 16<<20), make([]byte, 64<<10)); err != nil {
		l.Reset()
		return
	}
	l.Close()
}
