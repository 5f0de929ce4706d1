package durable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// AppendFile is a file that only grows. It may be used by several goroutines; two processes, or
// two AppendFiles, on one path are the caller's to prevent ([Lock]).
type AppendFile struct {
	mu     sync.Mutex
	path   string
	file   File
	size   int64
	broken error // what is behind size is not known
	closed bool
}

// OpenAppend opens the file at path for appending, making it if it is not there. A torn tail of an
// earlier run is not looked for: read the file first ([Disk.ReadRecords] cuts it off). What an
// earlier run wrote and did not sync is synced, so that what was read is durable from here on.
func (d Disk) OpenAppend(path string, perm fs.FileMode) (*AppendFile, error) {
	f, err := d.fs().OpenFile(path, os.O_RDWR|os.O_CREATE, perm)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		// The name may be new, or may be what a crashed run made and did not sync.
		err = d.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	return &AppendFile{path: path, file: f, size: info.Size()}, nil
}

// Append adds p at the end and returns when it is durable.
//
// After an error p may or may not be there once the file is read again. A later call first cuts off
// what it left, and goes on when that cut is durable.
func (a *AppendFile) Append(p []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return fmt.Errorf("log %s: %w", a.path, fs.ErrClosed)
	}
	if a.broken != nil {
		err := a.file.Truncate(a.size)
		if err == nil {
			err = a.file.Datasync()
		}
		if err != nil {
			return fmt.Errorf("log %s: what an earlier append left cannot be taken back: make room on the disk, or check it: %w", a.path, errors.Join(a.broken, err))
		}
		a.broken = nil
	}
	n, err := a.file.WriteAt(p, a.size)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		if a.broken = a.file.Truncate(a.size); a.broken != nil {
			err = errors.Join(err, a.broken)
		}
		return fmt.Errorf("append to %s: %w", a.path, err)
	}
	if err := a.file.Datasync(); err != nil {
		// The kernel may hold the bytes without ever writing them. Left there, they would be read
		// as a record, and be a hole before later ones after a power cut.
		a.broken = errors.Join(err, a.file.Truncate(a.size))
		return fmt.Errorf("append to %s: the disk did not confirm it: %w", a.path, a.broken)
	}
	a.size += int64(len(p))
	return nil
}

// Size is the length in bytes of what is known to be durable.
func (a *AppendFile) Size() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.size
}

// Close closes the file. Nothing is left to flush. Later appends are refused.
func (a *AppendFile) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return a.file.Close()
}

const frameHead = 12

// maxRecord is the most bytes one record may have.
const maxRecord = 64 << 20

// AppendRecord adds a frame with the payload to buf, for [AppendFile.Append]. Frames that are
// appended in one call become durable together but may be torn apart by a crash. A payload over
// 64 MiB is a programming error and panics.
func AppendRecord(buf, payload []byte) []byte {
	if len(payload) > maxRecord {
		panic(fmt.Sprintf("durable: record of %d bytes, over the %d that can be read back", len(payload), maxRecord))
	}
	var head [frameHead]byte
	binary.BigEndian.PutUint32(head[0:], uint32(len(payload)))
	binary.BigEndian.PutUint32(head[4:], castagnoli(head[:4]))
	binary.BigEndian.PutUint32(head[8:], castagnoli(payload))
	return append(append(buf, head[:]...), payload...)
}

func castagnoli(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

// Records says how a log of records was read.
type Records struct {
	Count int   // whole records
	Size  int64 // bytes of whole records from the start of the file
}

// DamagedError is a record that is not what was written, with a whole record somewhere behind it:
// not the trace of an interrupted append, but of a failing disk or of somebody's editor.
type DamagedError struct {
	Path   string
	Offset int64 // where the damaged record starts
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("log %s is damaged at byte %d, with good records behind it: restore it from a backup, or keep a copy and cut it there", e.Path, e.Offset)
}

// ReadRecords calls each with every whole record of a log, in order; the slice is valid until each
// returns. A torn tail, that is a bad frame with no whole record behind it, is cut off; a bad frame
// with one behind it is a [*DamagedError] and nothing is changed. A file that is not there has no
// records. An error of each ends the reading and is returned as it is.
//
// Memory is bounded by the largest record. The caller holds the [Lock], and has no [AppendFile]
// open on the path.
func (d Disk) ReadRecords(path string, each func(record []byte) error) (Records, error) {
	var done Records
	f, err := d.fs().OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return done, nil
	}
	if err != nil {
		return done, fmt.Errorf("read log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return done, fmt.Errorf("read log %s: %w", path, err)
	}
	size := info.Size()
	var buf []byte
	for done.Size < size {
		record, ok, err := readFrame(f, done.Size, size, &buf)
		if err != nil {
			return done, fmt.Errorf("read log %s: %w", path, err)
		}
		if !ok {
			break
		}
		if err := each(record); err != nil {
			return done, err
		}
		done.Count++
		done.Size += frameHead + int64(len(record))
	}
	if done.Size == size {
		return done, nil
	}
	later, err := frameBehind(f, done.Size+1, size)
	if err != nil {
		return done, fmt.Errorf("read log %s: %w", path, err)
	}
	if later {
		return done, &DamagedError{Path: path, Offset: done.Size}
	}
	if err := f.Truncate(done.Size); err != nil {
		return done, fmt.Errorf("cut the torn end off log %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return done, fmt.Errorf("cut the torn end off log %s: %w", path, err)
	}
	return done, nil
}

// readFrame reads the frame at an offset; ok is false when there is no whole, unharmed one.
func readFrame(r io.ReaderAt, at, size int64, buf *[]byte) (payload []byte, ok bool, err error) {
	if size-at < frameHead {
		return nil, false, nil
	}
	var head [frameHead]byte
	if err := readFull(r, head[:], at); err != nil {
		return nil, false, err
	}
	n := int64(binary.BigEndian.Uint32(head[0:]))
	if castagnoli(head[:4]) != binary.BigEndian.Uint32(head[4:]) || n > maxRecord || size-at-frameHead < n {
		return nil, false, nil
	}
	if int64(cap(*buf)) < n {
		*buf = make([]byte, n)
	}
	payload = (*buf)[:n]
	if err := readFull(r, payload, at+frameHead); err != nil {
		return nil, false, err
	}
	return payload, castagnoli(payload) == binary.BigEndian.Uint32(head[8:]), nil
}

func readFull(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// frameBehind looks for a whole frame that starts at or after from, at any byte.
func frameBehind(r io.ReaderAt, from, size int64) (bool, error) {
	const step = 64 << 10
	window := make([]byte, step+7)
	var buf []byte
	for at := from; at+frameHead <= size; at += step {
		w := window[:min(int64(len(window)), size-at)]
		if err := readFull(r, w, at); err != nil {
			return false, err
		}
		for i := 0; i+8 <= len(w); i++ {
			if castagnoli(w[i:i+4]) != binary.BigEndian.Uint32(w[i+4:]) {
				continue
			}
			_, ok, err := readFrame(r, at+int64(i), size, &buf)
			if err != nil || ok {
				return ok, err
			}
		}
	}
	return false, nil
}
