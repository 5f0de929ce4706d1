// Package release makes what leaves a house: it seals a prepared clip under a key of its own and
// addresses the sealed bytes by content. It knows nothing of who asked or of how bytes travel.
//
// # The sealed file
//
// A sealed release is an age file (age-encryption.org/v1, binary form, as the C2SP age
// specification has it) with exactly one recipient stanza, of type X25519, made for this file
// alone. Its identity, the text "AGE-SECRET-KEY-1…", is the [ReleaseKey]. Any age program opens a
// release with it:
//
//	age --decrypt --identity key.txt release.age > clip.mp4
//
// The length follows from the plain length n alone: a header of 168 bytes, a nonce of 16, and 16
// bytes of authentication for each 64 KiB begun (for one when n is 0).
// Sealing draws fresh randomness, so sealing one clip twice gives two unrelated files; whoever wants
// to send a release again keeps the sealed file.
//
// # The address
//
// The root is the CID of the UnixFS DAG over the sealed file under the profile unixfs-v1-2025 of
// IPIP-0499: CIDv1, sha2-256, chunks of exactly 1 MiB (the last may be shorter), raw leaves, a
// balanced tree with at most 1,024 links in a node, links before data in each node, no mode, time or
// name. A file of one chunk or none is its own raw leaf. Any IPFS implementation of the profile
// computes the same root; testdata/unixfs-v1-2025.json holds vectors made by another one.
//
// The tree's form is a function of the file's length ([Layout]). Its blocks are numbered in
// depth-first pre-order, root first: a receiver that takes them in that order always knows the CID
// of the next block before its bytes come, and a prefix of the blocks is a place to resume from.
// Leaves are never copied: they stay in the sealed file, and a [DAG] holds the internal nodes, about
// 55 bytes for each MiB of the file.
//
// # The nodes file
//
// [DAG.Marshal] and [Load] keep the internal nodes on disk, integers big-endian:
//
//	"porchlight/dag/v1\n"      18 bytes
//	root                       36 bytes, binary CIDv1
//	size of the sealed file     8 bytes, unsigned
//	number of nodes             4 bytes, unsigned
//	for each, in pre-order:     4 bytes of length, then the node's dag-pb bytes
//
// Nothing follows. Load rebuilds every node from the links it finds and the form the size demands,
// so that a flipped bit, a missing node or a tree outside the profile is an error that says where.
package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"

	"filippo.io/age"
)

// ReleaseKey is the age X25519 identity that opens one release, in its textual form
// ("AGE-SECRET-KEY-1…"). Formatting and logging it print a remark in its place; string(key) and JSON
// give the text itself.
type ReleaseKey string

// redacted is what a release key looks like wherever it was not meant to be seen.
const redacted = "release key (not shown)"

// String keeps the key out of formatted text.
func (k ReleaseKey) String() string { return redacted }

// GoString keeps the key out of text formatted with %#v.
func (k ReleaseKey) GoString() string { return redacted }

// LogValue keeps the key out of logs.
func (k ReleaseKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// identity parses the key. Its errors never repeat the key's text.
func (k ReleaseKey) identity() (*age.X25519Identity, error) {
	id, err := age.ParseX25519Identity(string(k))
	if err != nil {
		return nil, fmt.Errorf("%w: the release key is not an age X25519 identity (AGE-SECRET-KEY-1…)", ErrKey)
	}
	return id, nil
}

// Sums says what went into a seal and what came out. Hashes are lower-case hex SHA-256, sizes bytes.
type Sums struct {
	PlainSHA256  string
	PlainBytes   int64
	SealedSHA256 string
	SealedBytes  int64
}

// Kinds of failure, for errors.Is.
var (
	// ErrKey: the key is malformed or belongs to another release.
	ErrKey = errors.New("wrong release key")
	// ErrNotRelease: the bytes do not begin like a sealed release.
	ErrNotRelease = errors.New("not a sealed release")
	// ErrTruncated: the sealed release ends early.
	ErrTruncated = errors.New("sealed release is truncated")
	// ErrDamaged: bytes differ from those that were sealed or addressed.
	ErrDamaged = errors.New("sealed release is damaged")
	// ErrSize: a length is outside what a release may have.
	ErrSize = errors.New("size out of range")
)

const (
	// MaxSize bounds a sealed release, in bytes (256 GiB): twelve hours at 45 Mbit/s fit.
	MaxSize = 256 << 30

	headerSize   = 168       // version line, one X25519 stanza, MAC line
	nonceSize    = 16        // of the payload key
	sealChunk    = 64 << 10  // plain bytes under one tag
	tagSize      = 16        // of ChaCha20-Poly1305
	copyBuffer   = 256 << 10 // bytes in hand while streaming
	versionLine  = "age-encryption.org/v1\n"
	stanzaPrefix = "-> X25519 "
)

// Seal reads src to its end and writes it, sealed to a fresh identity, to dst. It holds a few hundred
// kilobytes whatever the length. On an error dst holds an unusable beginning and there is no key:
// give Seal a temporary file, and sync and rename it once Seal has returned without one.
func Seal(ctx context.Context, dst io.Writer, src io.Reader) (ReleaseKey, Sums, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", Sums{}, fmt.Errorf("make a release key: %w", err)
	}
	plain, sealed := newMeter(), newMeter()
	w, err := age.Encrypt(io.MultiWriter(dst, sealed), id.Recipient())
	if err != nil {
		return "", Sums{}, fmt.Errorf("begin the sealed release: %w", err)
	}
	in := &reader{ctx: ctx, r: src}
	limited := io.LimitReader(in, MaxSize+1)
	if _, err := io.CopyBuffer(io.MultiWriter(w, plain), onlyReader{limited}, make([]byte, copyBuffer)); err != nil {
		if in.err != nil {
			return "", Sums{}, fmt.Errorf("read the clip to seal, at byte %d: %w", plain.n, in.err)
		}
		return "", Sums{}, fmt.Errorf("write the sealed release, at byte %d: %w", sealed.n, err)
	}
	if err := w.Close(); err != nil {
		return "", Sums{}, fmt.Errorf("finish the sealed release, at byte %d: %w", sealed.n, err)
	}
	if sealed.n > MaxSize {
		return "", Sums{}, fmt.Errorf("%w: a release holds at most %d bytes; cut the clip into shorter spans", ErrSize, int64(MaxSize))
	}
	return ReleaseKey(id.String()), Sums{
		PlainSHA256: plain.sum(), PlainBytes: plain.n,
		SealedSHA256: sealed.sum(), SealedBytes: sealed.n,
	}, nil
}

// Measure reads r to its end and returns its lower-case hex SHA-256 and its length in bytes. A
// receiver compares them with the manifest before it says that it holds a release.
func Measure(ctx context.Context, r io.Reader) (sum string, size int64, err error) {
	m := newMeter()
	in := &reader{ctx: ctx, r: r}
	if _, err := io.CopyBuffer(m, onlyReader{in}, make([]byte, copyBuffer)); err != nil {
		return "", m.n, fmt.Errorf("read at byte %d: %w", m.n, in.err)
	}
	return m.sum(), m.n, nil
}

// meter hashes and counts what is written to it.
type meter struct {
	h hash.Hash
	n int64
}

func newMeter() *meter { return &meter{h: sha256.New()} }

func (m *meter) Write(p []byte) (int, error) {
	m.h.Write(p)
	m.n += int64(len(p))
	return len(p), nil
}

func (m *meter) sum() string { return hex.EncodeToString(m.h.Sum(nil)) }

// reader stops with the context and remembers the error its source returned, so that a failed read
// is told from what a layer above makes of it: several of them take io.ErrUnexpectedEOF for a short
// last chunk.
type reader struct {
	ctx context.Context
	r   io.Reader
	err error
}

// errRead replaces the remembered error on its way up.
var errRead = errors.New("read failed")

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, errRead
	}
	if err := r.ctx.Err(); err != nil {
		r.err = err
		return 0, errRead
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
		err = errRead
	}
	return n, err
}

// onlyReader hides WriteTo, which would bypass the bounded buffer.
type onlyReader struct{ io.Reader }
