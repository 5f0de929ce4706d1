package deliver

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

const (
	leafSize = 1 << 20
	fanOut   = 1024
)

// walk checks a DAG block by block in depth-first pre-order. It holds the CIDs that are still to come: at most
// fan-out times depth.
type walk struct {
	stack []place // next block last
	total int64
}

// place is a block that a parent named: its CID, the file bytes under it, and its height above the leaves.
type place struct {
	cid    cid.Cid
	size   int64
	height int
}

// newWalk starts at the root of a file of exactly size bytes.
func newWalk(root string, size int64) (*walk, error) {
	c, err := cid.Decode(root)
	if err != nil || c.String() != root {
		return nil, refuse(ClassBadDAG, "%q is not a CID in canonical form", root)
	}
	if size < 1 || size > MaxSize {
		return nil, refuse(ClassBadDAG, "a file of %d bytes is outside 1 to %d", size, int64(MaxSize))
	}
	height, total := 0, ceil(size, leafSize)
	for span := int64(leafSize); span < size; {
		span *= fanOut
		total += ceil(size, span)
		height++
	}
	p := place{c, size, height}
	return &walk{[]place{p}, total}, p.check()
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

// span is the file bytes under a full block of the given height.
func span(height int) int64 {
	s := int64(leafSize)
	for range height {
		s *= fanOut
	}
	return s
}

// check refuses CIDs that the profile does not use.
func (p place) check() error {
	codec := uint64(cid.Raw)
	if p.height > 0 {
		codec = cid.DagProtobuf
	}
	want := cid.Prefix{Version: 1, Codec: codec, MhType: multihash.SHA2_256, MhLength: sha256.Size}
	if got := p.cid.Prefix(); got != want {
		return refuse(ClassBadDAG, "CID %s is not CIDv1, sha2-256 and of codec %#x", p.cid, codec)
	}
	return nil
}

// leaf says whether the next block is a leaf; done that there is none.
func (w *walk) leaf() bool { return w.stack[len(w.stack)-1].height == 0 }
func (w *walk) done() bool { return len(w.stack) == 0 }

// take verifies the next block; an error means that nothing of it may be used.
func (w *walk) take(data []byte) error {
	sum := sha256.Sum256(data)
	return w.takeHashed(data, sum[:])
}

// takeHashed is take for data whose SHA-256 the caller made.
func (w *walk) takeHashed(data, sum []byte) error {
	p := w.stack[len(w.stack)-1]
	// The multihash of sha2-256 is two bytes of code and length, then the digest.
	if !bytes.Equal(p.cid.Hash()[2:], sum) {
		return refuse(ClassWrongBlock, "block is not %s", p.cid)
	}
	if p.height == 0 {
		if int64(len(data)) != p.size {
			return refuse(ClassBadDAG, "leaf %s has %d bytes, not %d", p.cid, len(data), p.size)
		}
		w.stack = w.stack[:len(w.stack)-1]
		return nil
	}
	children, err := p.children(data)
	if err != nil {
		return refuse(ClassBadDAG, "node %s: %w", p.cid, err)
	}
	w.stack = append(w.stack[:len(w.stack)-1], children...)
	return nil
}

// children decodes a node and checks it against the only form it can have; the result is in reverse order.
func (p place) children(data []byte) ([]place, error) {
	if len(data) > MaxNode {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(data), MaxNode)
	}
	node, err := merkledag.DecodeProtobuf(data)
	if err != nil {
		return nil, err
	}
	file, err := unixfs.FSNodeFromBytes(node.Data())
	if err != nil {
		return nil, err
	}
	links := node.Links()
	full := span(p.height - 1)
	n := ceil(p.size, full)
	if file.Type() != unixfs.TFile || len(file.Data()) != 0 || file.FileSize() != uint64(p.size) ||
		int64(len(links)) != n || int64(file.NumChildren()) != n {
		return nil, fmt.Errorf("not a UnixFS file node over %d bytes in %d links", p.size, n)
	}
	out := make([]place, n)
	for i, l := range links {
		size := min(full, p.size-int64(i)*full)
		if l.Name != "" || file.BlockSize(i) != uint64(size) {
			return nil, fmt.Errorf("link %d is named, or not over %d bytes", i, size)
		}
		c := place{l.Cid, size, p.height - 1}
		if err := c.check(); err != nil {
			return nil, err
		}
		out[n-1-int64(i)] = c
	}
	return out, nil
}

// resume moves the walk behind the first have blocks, of which nodes are the internal ones.
func (w *walk) resume(have int64, nodes [][]byte) error {
	if have < 0 || have > w.total {
		return fmt.Errorf("deliver: resume: %d blocks stored of %d", have, w.total)
	}
	for i := range have {
		if w.leaf() {
			w.stack = w.stack[:len(w.stack)-1]
			continue
		}
		if len(nodes) == 0 {
			return fmt.Errorf("deliver: resume: stored node %d is missing", i)
		}
		if err := w.take(nodes[0]); err != nil {
			return fmt.Errorf("deliver: resume: stored node %d: %w", i, err)
		}
		nodes = nodes[1:]
	}
	return nil
}
