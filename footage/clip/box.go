package clip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// windowBytes is how much of a file is read at once: enough for a box header and what follows it.
const windowBytes = 16 << 10

// window reads a file through one small buffer, so that walking boxes and tables costs few reads and
// never more memory than the buffer.
type window struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	at   int64 // offset of buf
}

// bytes returns n <= windowBytes bytes at off; they are valid until the next call.
func (w *window) bytes(off int64, n int) ([]byte, error) {
	if off < 0 || int64(n) > w.size-off {
		return nil, io.ErrUnexpectedEOF
	}
	if off < w.at || off+int64(n) > w.at+int64(len(w.buf)) {
		if w.buf == nil {
			w.buf = make([]byte, windowBytes)
		}
		w.buf = w.buf[:min(windowBytes, w.size-off)]
		got, err := w.r.ReadAt(w.buf, off)
		if got < len(w.buf) {
			w.buf = w.buf[:0]
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("reading %d bytes at %d: %w", n, off, err)
		}
		w.at = off
	}
	return w.buf[off-w.at:][:n], nil
}

// box is the place of one box in the file.
type box struct {
	kind string
	off  int64 // of the header
	body int64 // of the payload
	end  int64 // of the box, which may lie beyond the file when the file is torn
}

func (b box) len() int64 { return b.end - b.body }

// fail names the box in an error that wraps kind.
func (b box) fail(kind error, format string, args ...any) error {
	return &IndexError{b.kind, b.off, fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))}
}

// header reads the box header at off. A box of length 0 reaches to limit. An error means that no box
// starts there.
func (w *window) header(off, limit int64) (box, error) {
	b := box{off: off, kind: "file"}
	h, err := w.bytes(off, 8)
	if err != nil {
		return b, err
	}
	b.kind = string(h[4:8])
	for _, c := range h[4:8] {
		if c < ' ' || c > '~' && c != 0xa9 {
			b.kind = "file"
			return b, b.fail(ErrNotMP4, "no box starts here, the bytes are % x", h)
		}
	}
	size := int64(binary.BigEndian.Uint32(h))
	b.body = off + 8
	switch size {
	case 0:
		size = limit - off
	case 1:
		h, err := w.bytes(off+8, 8)
		if err != nil {
			return b, err
		}
		if size = int64(binary.BigEndian.Uint64(h)); size < 0 || size > 1<<62 {
			return b, b.fail(ErrNotMP4, "it claims %d bytes", uint64(size))
		}
		b.body = off + 16
	}
	if b.end = off + size; b.end < b.body {
		return b, b.fail(ErrNotMP4, "it claims %d bytes, less than its own header", size)
	}
	return b, nil
}

// children calls visit for each box inside parent, starting skip bytes into its payload.
func (w *window) children(parent box, skip int64, visit func(box) error) error {
	off := parent.body + skip
	for off+8 <= parent.end {
		b, err := w.header(off, parent.end)
		if err != nil {
			// Some cameras end a container with four or more zero bytes.
			if z, zerr := w.bytes(off, 4); zerr == nil && binary.BigEndian.Uint32(z) == 0 {
				return nil
			}
			return err
		}
		if b.end > parent.end {
			return b.fail(ErrNotMP4, "it claims %d bytes, more than the %s box around it has", b.end-b.off, parent.kind)
		}
		if err := visit(b); err != nil {
			return err
		}
		off = b.end
	}
	return nil
}

// small returns the payload of a box that has no business being larger than a window. It is a copy.
func (w *window) small(b box) ([]byte, error) {
	if b.len() > windowBytes {
		return nil, b.fail(ErrNotMP4, "it has %d bytes, more than such a box can need", b.len())
	}
	p, err := w.bytes(b.body, int(b.len()))
	if err != nil {
		return nil, b.fail(ErrNotMP4, "%v", err)
	}
	return append([]byte(nil), p...), nil
}

// fields reads big-endian numbers from a payload; after the first read beyond its end all are zero and
// bad is set.
type fields struct {
	p   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.p) {
		f.bad, f.p = true, nil
		return make([]byte, n)
	}
	v := f.p[:n]
	f.p = f.p[n:]
	return v
}

func (f *fields) u16() uint16 { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) u32() uint32 { return binary.BigEndian.Uint32(f.take(4)) }
func (f *fields) u64() uint64 { return binary.BigEndian.Uint64(f.take(8)) }

// word reads 8 bytes in version 1 boxes and 4 in version 0 ones.
func (f *fields) word(version byte) uint64 {
	if version == 1 {
		return f.u64()
	}
	return uint64(f.u32())
}

// table reads rows of one sample table, one after another, through the window.
type table struct {
	w     *window
	b     box
	next  int64
	width int
	Rows  uint32 // that the box claims and has room for
}

// table checks a table's claimed rows against its bytes. head is what stands before the row count, the
// version and flags included; the rows of width bytes follow the count.
func (w *window) table(b box, head int64, width int) (*table, error) {
	if b.len() < head+4 {
		return nil, b.fail(ErrNotMP4, "it has %d bytes, too few for its own fields", b.len())
	}
	p, err := w.bytes(b.body+head, 4)
	if err != nil {
		return nil, b.fail(ErrNotMP4, "%v", err)
	}
	t := &table{w: w, b: b, next: b.body + head + 4, width: width, Rows: binary.BigEndian.Uint32(p)}
	if int64(t.Rows)*int64(width) > b.end-t.next {
		return nil, b.fail(ErrNotMP4, "it claims %d entries of %d bytes and has %d bytes", t.Rows, width, b.end-t.next)
	}
	return t, nil
}

// row returns the next row; asking for more than Rows is an error.
func (t *table) row() ([]byte, error) {
	p, err := t.w.bytes(t.next, t.width)
	if err != nil {
		return nil, t.b.fail(ErrNotMP4, "%v", err)
	}
	t.next += int64(t.width)
	return p, nil
}
