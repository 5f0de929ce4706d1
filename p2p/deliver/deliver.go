// Package deliver carries a grant and its sealed releases from a home straight to a requester.
//
// # Session
//
// The home dials the requester's reply addresses, TCP before QUIC, each with a head start over the next, and the first
// that answers carries the session. It dials from an endpoint that exists for this one delivery: no listen address, no
// identify, no peer store, and no dial but the given ones. Its libp2p identity *is* the grant key. The libp2p handshake (Noise, or TLS 1.3 with the libp2p extension) proves possession of the identity key
// over the handshake's own transcript, so that key's signature over the session is given by construction; the
// requester takes the remote identity as the grant's signer and needs no further challenge. In the same way the home
// knows that it talks to the key named in the reply address.
//
// Or the session goes over stewards (package forward), which see neither what is in it nor both ends. Noise then proves the same two
// keys from end to end, and what the home sends is padded to a size of few.
//
// One stream of protocol /porchlight/deliver/1 carries everything; H is the home, R the requester:
//
//	H → R  grant
//	R → H  acceptance
//	for each release the home has to send, in its order:
//	  H → R  manifest   root length (1 byte), root CID text, manifest
//	  R → H  have       n (8 bytes, big endian): blocks 0 to n-1 are already verified and stored
//	  H → R  block      blocks n, n+1, ... in depth-first pre-order, root first, one a frame
//	  R → H  receipt    once every block is stored
//	  H → R  key        once the receipt was verified
//	  R → H  confirm    empty
//	for each word the home has to say about releases that were delivered, now or before:
//	  H → R  word       a document
//	  R → H  answer     a document, or nothing
//	H → R  pad        any number of them, over stewards; R throws them away
//	H closes its side.
//
// A frame is a kind (1 byte, numbered as listed in frame.go), a length (4 bytes, big endian, at most the kind's limit)
// and that many bytes. Either side may send an error frame in place of any other, and then the session is over: it
// holds a class, a short text of at most 512 bytes of UTF-8.
//
// # Blocks
//
// A release is a UnixFS file as the unixfs-v1-2025 profile (IPIP-0499) lays it out: CIDv1, sha2-256, raw leaves of
// 1 MiB, balanced, 1024 links a node. The file's size fixes the whole shape, so the receiver refuses any other: it checks
// each block's hash against the CID that its parent named, and each node's links against the shape, before a byte of
// the block is written. A resumed session re-reads the stored nodes and goes on behind the last block stored.
//
// # Limits
//
// Every frame has a length limit that is checked before memory is taken, and a deadline made of Timing.Idle and its
// length at Timing.MinRate; block transfer as a whole must keep that rate. A line that died without a word is noticed by
// the home within 20 seconds, and by the requester when the same grant key opens its next session. The sender holds at most
// four blocks of 1 MiB, the receiver two: when it is killed, no more than these come again.
//
// SPEED.md says how fast that is, beside other ways to move a file, and the command speed measures it.
package deliver

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Protocol is the libp2p protocol id.
const Protocol = "/porchlight/deliver/1"

// Limits of the format, in bytes.
const (
	MaxBlock    = 1 << 20   // a leaf
	MaxNode     = 256 << 10 // an internal node
	MaxDocument = 64 << 10  // grant, acceptance, manifest, receipt
	MaxKey      = 4 << 10
	MaxSize     = 1 << 40 // a sealed release
	maxClass    = 512
	minBucket   = 64 << 10 // of a delivery over stewards
	maxPad      = 64 << 10
	maxRoot     = 128
	MaxWords    = 16 // of one session
	sendAhead   = 4  // blocks that a sender has read and not sent
	unwritten   = 2  // blocks that a receiver has begun to read and not written: what it loses when it is killed
)

// BlockSource reads the blocks of one release's DAG in depth-first pre-order, root first.
type BlockSource interface {
	Blocks() int64
	// Block returns block i, in buf where that helps (it has MaxBlock bytes). The result is used until buf is handed
	// in again.
	Block(i int64, buf []byte) ([]byte, error)
}

// Release is one sealed release to send.
type Release struct {
	Root     string // CID of the UnixFS DAG's root
	Blocks   BlockSource
	Manifest []byte
	Key      func() []byte // called only once the receipt was verified; the result is wiped after it was sent
}

// Offer is a grant, those of its releases that are still to be sent, in that order, and what is to be said about them.
type Offer struct {
	Grant    []byte
	Releases []Release
	Words    [][]byte // at most MaxWords
}

// Hooks let the sender's node look at what comes back. Accepted and Received are required.
type Hooks struct {
	Accepted  func(acceptance []byte) error           // an error stops before any block
	Received  func(root string, receipt []byte) error // nil lets the release key go
	Confirmed func(root string)                       // the requester confirmed that it has the key
	Progress  func(root string, sent, total int64)    // in blocks, those that the requester had included
	Answered  func(word int, answer []byte) error     // required where there are words
}

// SendConfig says who sends where.
type SendConfig struct {
	Key     ed25519.PrivateKey // the grant key
	Addrs   []string           // reply addresses, each ending in /p2p/<requester id>
	Log     *slog.Logger
	Timing  Timing
	Network host.Network
	Over    *Path // nil dials straight
}

// Path is a way over stewards.
type Path struct {
	Host     *host.Host
	Stewards []string // peer ids: the guard, to which the host is connected, and those after it
}

// Timing bounds how long a peer may take. Zero fields mean the defaults named.
type Timing struct {
	Dial      time.Duration // one dial with its handshake: 20 s
	HeadStart time.Duration // of one address before the next is dialled beside it: 1 s
	Grant     time.Duration // for a stranger to hand in its grant: 15 s
	Idle      time.Duration // for a block to begin, and the slack of any transfer: 60 s
	Answer    time.Duration // for the other side's node to judge a document or finish a release: 5 min
	MinRate   int64         // bytes a second below which a transfer is given up: 8 KiB
}

func (t Timing) filled() Timing {
	or := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	or(&t.Dial, 20*time.Second)
	or(&t.HeadStart, time.Second)
	or(&t.Grant, 15*time.Second)
	or(&t.Idle, time.Minute)
	or(&t.Answer, 5*time.Minute)
	if t.MinRate <= 0 {
		t.MinRate = 8 << 10
	}
	return t
}

// Receiver is the requester's node. Its methods are called from many sessions at once. from is the key that the
// session's handshake proved, which must be the grant's own key.
//
// An error of Grant or Manifest goes back as its text, up to 512 bytes. An error of the others goes back as its Class
// where it wraps an *Error, and else as "internal", so that nothing of the requester's disk is told.
type Receiver interface {
	// Grant judges a grant; the acceptance goes back, and roots are the releases that may follow.
	Grant(ctx context.Context, from ed25519.PublicKey, grant []byte) (acceptance []byte, roots []string, err error)
	Manifest(ctx context.Context, from ed25519.PublicKey, root string, manifest []byte) error
	// Begin opens the place for a release's blocks; a release that is complete has all of them already.
	Begin(ctx context.Context, from ed25519.PublicKey, root string) (Sink, error)
	// Complete is called once the Sink was closed with every block in it.
	Complete(ctx context.Context, from ed25519.PublicKey, root string) (receipt []byte, err error)
	// Key takes the release key, which is wiped afterwards; nil sends the confirmation.
	Key(ctx context.Context, from ed25519.PublicKey, root string, key []byte) error
	// Word judges what the home says about its releases; the answer goes back. An error goes back as one of Grant does.
	Word(ctx context.Context, from ed25519.PublicKey, word []byte) (answer []byte, err error)
}

// Sink stores one release's verified blocks. One session uses it at a time, one call at a time.
type Sink interface {
	Size() int64     // exact length in bytes of the sealed file, as the grant says
	Have() int64     // verified blocks already stored: a prefix of the pre-order
	Nodes() [][]byte // the internal (not leaf) blocks among them, in pre-order
	// Write stores block i, which is verified; data is only valid during the call. The leaves, in order, are the file.
	Write(i int64, leaf bool, data []byte) error
	Close() error
}

// Limits bound what strangers can make a requester hold. Zero fields mean the defaults named.
type Limits struct {
	Sessions int // at once: 32
	PerPeer  int // at once from one grant key: 1; with one more the oldest is broken off
	Timing   Timing
}

// Classes that this package itself sends or returns. Append-only.
const (
	ClassProtocol   = "protocol"    // a frame that cannot come here
	ClassOversize   = "oversize"    // a frame over its limit
	ClassWrongBlock = "wrong-block" // a block that is not the one its parent named
	ClassBadDAG     = "bad-dag"     // not a unixfs-v1-2025 file of the promised size
	ClassRoot       = "unknown-root"
	ClassSlow       = "too-slow"
	ClassBusy       = "busy"
	ClassKeyType    = "wrong-key-type" // the session's identity is not an Ed25519 key
	ClassAcceptance = "acceptance-refused"
	ClassReceipt    = "receipt-refused"
	ClassInternal   = "internal"
	ClassNoRoom     = "no-room"   // the requester has no room now, and keeps what arrived
	ClassTooLarge   = "too-large" // a release over what the requester takes
	ClassOfficer    = "officer"   // an officer of the requester has to decide about the terms; try again later
)

// ErrUnreachable is what Send returns, with the reasons, when no reply address answered.
var ErrUnreachable = errors.New("deliver: no reply address answers")

// ErrPath is what Send returns, with the reasons, when the stewards did not carry the session as far as the requester's.
var ErrPath = errors.New("deliver: the stewards do not carry the session on")

// Error is a refusal that crosses the wire.
type Error struct {
	Class  string // at most 512 bytes
	Remote bool   // the other side said so
	Err    error  // stays on this side
}

func (e *Error) Error() string {
	s := "deliver: "
	if e.Remote {
		s += "the other side refused: "
	}
	s += e.Class
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

func refuse(class, format string, args ...any) error {
	return &Error{Class: class, Err: fmt.Errorf(format, args...)}
}

// classOf is the text that goes to the other side; "" when nothing should.
func classOf(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ClassInternal
	}
	if e.Remote {
		return ""
	}
	return cleanClass(e.Class)
}

// cleanClass makes any text fit for an error frame and for a log: valid UTF-8, one line, bounded.
func cleanClass(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), maxClass)], "?"))
	for len(s) > maxClass {
		s = strings.ToValidUTF8(s[:maxClass], "")
	}
	return s
}
