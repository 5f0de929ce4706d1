package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/custody"
	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// Custody is a custody log on disk: one hash-chained line for each step, appended durably.
type Custody struct {
	path string
	now  func() time.Time

	mu   sync.Mutex
	file *durable.AppendFile
	last custody.Entry
}

// OpenCustody opens a custody log, or begins one. The whole chain is verified; a line that a
// crash cut short is set aside in a file beside it, a line that was changed is an error that
// names it.
func OpenCustody(disk durable.Disk, path string, now func() time.Time) (*Custody, error) {
	if err := cutTornLine(disk, path); err != nil {
		return nil, err
	}
	last, err := VerifyCustody(path)
	if err != nil {
		return nil, err
	}
	f, err := disk.OpenAppend(path, 0o600)
	if err != nil {
		return nil, err
	}
	return &Custody{path: path, now: now, file: f, last: last}, nil
}

// VerifyCustody checks a log's chain and returns its last entry, the zero Entry if it has none.
func VerifyCustody(path string) (custody.Entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return custody.Entry{}, nil
	}
	if err != nil {
		return custody.Entry{}, err
	}
	defer f.Close()
	_, last, err := custody.Verify(f)
	if err != nil {
		return custody.Entry{}, fmt.Errorf("%s: %w", path, err)
	}
	return last, nil
}

// cutTornLine moves what an interrupted append left at the end to path.torn.
func cutTornLine(disk durable.Disk, path string) error {
	f, err := disk.Open(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	tail := make([]byte, min(info.Size(), 2*custody.MaxLine))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil && err != io.EOF {
		return err
	}
	keep := bytes.LastIndexByte(tail, '\n') + 1
	// Of a line over two pages the disk may have the end and not yet the beginning, which reads as zeros.
	if before := bytes.LastIndexByte(tail[:max(keep-1, 0)], '\n') + 1; bytes.IndexByte(tail[before:keep], 0) >= 0 {
		keep = before
	}
	if keep == len(tail) {
		return nil
	}
	if err := disk.WriteFile(path+".torn", tail[keep:], 0o600); err != nil {
		return err
	}
	if err := f.Truncate(info.Size() - int64(len(tail)-keep)); err != nil {
		return err
	}
	return f.Sync()
}

// Note appends a step. It returns once the line is durable: a step is on record before its
// effect leaves the node.
func (c *Custody) Note(actor, step, subject, detail string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := custody.Next(c.last, consent.At(c.now()), actor, step, subject, detail)
	if err != nil {
		return err
	}
	line, err := e.Line()
	if err != nil {
		return err
	}
	if err := c.file.Append(line); err != nil {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	c.last = e
	return nil
}

// Entries reads the log, oldest first.
func (c *Custody) Entries() ([]custody.Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := os.Open(c.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, _, err := custody.Verify(f); err != nil {
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var entries []custody.Entry
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e custody.Entry
		if err := consent.DecodeStrict(lines.Bytes(), &e, custody.MaxLine); err != nil {
			return nil, fmt.Errorf("%s: %w", c.path, err)
		}
		entries = append(entries, e)
	}
	return entries, lines.Err()
}

// Close closes the file.
func (c *Custody) Close() error { return c.file.Close() }

// ParseKeyFile reads a private key's file, whose content was b.
func ParseKeyFile(path string, b []byte) (consent.Key, error) {
	k, err := consent.ParseKey(strings.TrimSpace(string(b)))
	if err != nil {
		return consent.Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ReadKey reads the file of one of a node's own keys, which is in the clear (see [State]).
func ReadKey(path string) (consent.Key, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return consent.Key{}, err
	}
	return ParseKeyFile(path, b)
}
