package sync

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
	"unicode/utf8"
)

const (
	kindAsk     = 1
	kindHeads   = 2
	kindWant    = 3
	kindEntries = 4
)

var frameLimit = [...]int{kindAsk: 0, kindHeads: MaxHeads, kindWant: 1 + 255 + 16, kindEntries: MaxBatch}

// wire is a stream of frames; each has to be through within one frame time.
type wire struct {
	rw interface {
		io.ReadWriter
		SetReadDeadline(time.Time) error
		SetWriteDeadline(time.Time) error
	}
	frameTime time.Duration
}

func (w *wire) send(kind byte, b []byte) error {
	if err := w.rw.SetWriteDeadline(time.Now().Add(w.frameTime)); err != nil {
		return err
	}
	out := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(b)))
	_, err := w.rw.Write(append(out, b...))
	return err
}

// expect reads one frame of the given kind; io.EOF means that the stream ended between frames.
func (w *wire) expect(kind byte) ([]byte, error) {
	if err := w.rw.SetReadDeadline(time.Now().Add(w.frameTime)); err != nil {
		return nil, err
	}
	return readFrame(w.rw, kind)
}

func readFrame(r io.Reader, kind byte) ([]byte, error) {
	var h [5]byte
	if n, err := io.ReadFull(r, h[:]); err != nil {
		if n == 0 {
			return nil, err
		}
		return nil, fmt.Errorf("header cut short: %w", err)
	}
	n := binary.BigEndian.Uint32(h[1:])
	if h[0] != kind {
		return nil, blame("frame of kind %d where %d was due", h[0], kind)
	}
	if uint64(n) > uint64(frameLimit[kind]) {
		return nil, blame("frame of kind %d says %d bytes, the limit is %d", kind, n, frameLimit[kind])
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("frame cut short: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return b, nil
}

// reader takes fields off the front of a frame; the first that is not there makes bad true for good.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) number(width int) uint64 {
	var v uint64
	for _, c := range r.take(width) {
		v = v<<8 | uint64(c)
	}
	return v
}

// size reads a count that fits an int64.
func (r *reader) size() int64 {
	v := r.number(8)
	if v > 1<<62 {
		r.bad = true
	}
	return int64(v)
}

func (r *reader) name() string {
	b := r.take(int(r.number(1)))
	if len(b) == 0 || !utf8.Valid(b) {
		r.bad = true
	}
	return string(b)
}

// end says whether everything was there and nothing more.
func (r *reader) end(what string) error {
	if r.bad || len(r.b) > 0 {
		return blame("malformed %s frame", what)
	}
	return nil
}

// encodeHeads encodes as many heads as fit, in random order when some do not, so that each has its turn. Heads that
// no frame could hold are left out.
func encodeHeads(heads []Head) []byte {
	out, count := make([]byte, 2), 0
	room := 2
	for _, h := range heads {
		room += 1 + len(h.Log) + 8 + 2 + len(h.Note)
	}
	order := rand.Perm(len(heads))
	for i := range heads {
		h := heads[i]
		if room > MaxHeads {
			h = heads[order[i]]
		}
		if len(h.Log) == 0 || len(h.Log) > 255 || len(h.Note) > MaxNote || h.Size < 0 || !utf8.ValidString(h.Log) ||
			len(out)+11+len(h.Log)+len(h.Note) > MaxHeads {
			continue
		}
		out = append(append(out, byte(len(h.Log))), h.Log...)
		out = binary.BigEndian.AppendUint64(out, uint64(h.Size))
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(h.Note))), h.Note...)
		count++
	}
	binary.BigEndian.PutUint16(out, uint16(count))
	return out
}

func decodeHeads(b []byte) ([]Head, error) {
	r := &reader{b: b}
	var out []Head
	for n := r.number(2); n > 0 && !r.bad; n-- {
		h := Head{Log: r.name(), Size: r.size()}
		n := int(r.number(2))
		if n > MaxNote {
			r.bad = true
		}
		h.Note = bytes.Clone(r.take(n))
		out = append(out, h)
	}
	return out, r.end("heads")
}

func encodeWant(r Range) []byte {
	out := append([]byte{byte(len(r.Log))}, r.Log...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(out, uint64(r.From)), uint64(r.To))
}

func decodeWant(b []byte) (Range, error) {
	r := &reader{b: b}
	out := Range{Log: r.name(), From: r.size(), To: r.size()}
	if out.From >= out.To {
		r.bad = true
	}
	return out, r.end("want")
}

// encodeEntries encodes entries up to the first that does not fit.
func encodeEntries(entries [][]byte) []byte {
	out, count := make([]byte, 2), 0
	for _, e := range entries {
		if len(e) > MaxEntry || count == MaxBatchCount || len(out)+4+len(e) > MaxBatch {
			break
		}
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(e))), e...)
		count++
	}
	binary.BigEndian.PutUint16(out, uint16(count))
	return out
}

func decodeEntries(b []byte) ([][]byte, error) {
	r := &reader{b: b}
	n := r.number(2)
	if n > MaxBatchCount {
		return nil, blame("%d entries in one frame", n)
	}
	var out [][]byte
	for ; n > 0 && !r.bad; n-- {
		size := r.number(4)
		if size > MaxEntry {
			return nil, blame("entry of %d bytes", size)
		}
		out = append(out, r.take(int(size)))
	}
	return out, r.end("entries")
}
