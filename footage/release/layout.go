package release

import "fmt"

const (
	// ChunkSize is the length of every leaf but the last, in bytes.
	ChunkSize = 1 << 20
	// MaxLinks is the most links an internal node has.
	MaxLinks = 1024
	// MaxNode bounds an internal node's encoded length, in bytes. 1,024 links with the longest sizes
	// come to about 57,000.
	MaxNode = 1 << 16
)

// Layout is the form of the DAG over a file of some length: how many blocks there are, and what each
// is. A receiver that knows a release's size from its manifest knows where every block goes. The zero
// Layout is that of the empty file.
type Layout struct {
	size   int64
	height int // 0: the root is the one leaf
}

// Place says what one block is.
type Place struct {
	// Leaf tells a piece of the sealed file from an internal node.
	Leaf bool
	// Offset and Length are, in bytes, the part of the sealed file that a leaf is and that an internal
	// node spans.
	Offset, Length int64
	// Node counts the internal nodes before this block in pre-order, so that for an internal node it is
	// the node's own number.
	Node int
	// Parent is the number of the internal node that links here, -1 for the root; Slot is which of its
	// links does, from 0.
	Parent, Slot int

	height int
}

// LayoutOf returns the layout for a sealed file of size bytes. Sizes below 0 or above [MaxSize] are
// refused with [ErrSize].
func LayoutOf(size int64) (Layout, error) {
	if size < 0 || size > MaxSize {
		return Layout{}, fmt.Errorf("%w: a sealed release has 0 to %d bytes, not %d", ErrSize, int64(MaxSize), size)
	}
	l := Layout{size: size}
	for span := int64(1); span < l.leaves(); span *= MaxLinks {
		l.height++
	}
	return l, nil
}

// Size returns the sealed file's length in bytes.
func (l Layout) Size() int64 { return l.size }

// leaves counts the leaves; an empty file has one, of no bytes.
func (l Layout) leaves() int64 { return max(1, ceil(l.size, ChunkSize)) }

// Nodes counts the internal nodes.
func (l Layout) Nodes() int { return int(nodesOver(l.leaves(), l.height)) }

// Blocks counts all blocks.
func (l Layout) Blocks() int64 { return l.leaves() + nodesOver(l.leaves(), l.height) }

// Place describes block i of the pre-order, 0 being the root. ok is false when there is no such block.
func (l Layout) Place(i int64) (p Place, ok bool) {
	if i < 0 || i >= l.Blocks() {
		return Place{}, false
	}
	first, count := int64(0), l.leaves() // the leaves below the block in hand
	p = Place{Parent: -1, height: l.height}
	for i > 0 {
		// The block in hand is an internal node that has block i below it. Its children but the last
		// are full.
		i--
		span := pow(p.height - 1)
		nodes := nodesOver(span, p.height-1)
		slot := i / (span + nodes)
		i -= slot * (span + nodes)
		p.Parent, p.Slot = p.Node, int(slot)
		p.Node += 1 + int(slot*nodes)
		first += slot * span
		count = min(span, count-slot*span)
		p.height--
	}
	p.Leaf = p.height == 0
	p.Offset = first * ChunkSize
	p.Length = min(count*ChunkSize, l.size-p.Offset)
	return p, true
}

// nodesOver counts the internal nodes of a tree of the given height over that many leaves.
func nodesOver(leaves int64, height int) (n int64) {
	for ; height > 0; height-- {
		leaves = ceil(leaves, MaxLinks)
		n += leaves
	}
	return n
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

// pow returns MaxLinks to the given power: the leaves under a full node of that height.
func pow(height int) int64 {
	n := int64(1)
	for ; height > 0; height-- {
		n *= MaxLinks
	}
	return n
}
