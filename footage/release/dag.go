package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	chunk "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"
)

// DAG is the UnixFS DAG over one sealed file. It holds the internal nodes and each leaf's hash; the
// leaves' bytes stay in the file. It does not change once made and may be used from many goroutines.
type DAG struct {
	// Root is the release's address.
	Root cid.Cid
	// Size is the sealed file's length in bytes.
	Size int64

	layout Layout
	nodes  [][]byte            // in pre-order
	leaves [][sha256.Size]byte // in file order
}

// BuildDAG reads a sealed file of size bytes to its end and returns its DAG. A file that is shorter or
// longer gives [ErrTruncated] or [ErrDamaged]: somebody is still writing it, or it was swapped.
func BuildDAG(ctx context.Context, sealed io.Reader, size int64) (*DAG, error) {
	if _, err := LayoutOf(size); err != nil {
		return nil, err
	}
	in := &counter{reader: reader{ctx: ctx, r: sealed}, limit: size + 1}
	root, sink, err := importFile(ctx, in)
	switch {
	case in.err != nil:
		return nil, fmt.Errorf("read the sealed file, at byte %d: %w", in.n, in.err)
	case err != nil:
		return nil, fmt.Errorf("build the DAG of the sealed file: %w", err)
	case in.n < size:
		return nil, fmt.Errorf("%w: %d bytes of %d", ErrTruncated, in.n, size)
	case in.n > size:
		return nil, fmt.Errorf("%w: it is longer than its %d bytes", ErrDamaged, size)
	}
	if size <= ChunkSize {
		return assemble(root, size, nil)
	}
	nodes, err := sink.preorder(root)
	if err != nil {
		return nil, fmt.Errorf("build the DAG of the sealed file: %w", err)
	}
	return assemble(root, size, nodes)
}

// Verify reads a sealed file to its end and says whether root is its address, by building the tree
// anew. A file that is not gives an error that wraps [ErrDamaged].
func Verify(ctx context.Context, sealed io.Reader, root cid.Cid) error {
	in := &counter{reader: reader{ctx: ctx, r: sealed}, limit: MaxSize + 1}
	got, _, err := importFile(ctx, in)
	switch {
	case in.err != nil:
		return fmt.Errorf("read the sealed file, at byte %d: %w", in.n, in.err)
	case err != nil:
		return fmt.Errorf("build the DAG of the sealed file: %w", err)
	case in.n > MaxSize:
		return fmt.Errorf("%w: a sealed release has at most %d bytes", ErrSize, int64(MaxSize))
	case !got.Equals(root):
		return fmt.Errorf("%w: its %d bytes have the address %s, not %s", ErrDamaged, in.n, got, root)
	}
	return nil
}

// importFile runs boxo's importer with the parameters of unixfs-v1-2025. They are written out because
// boxo would take the chunk size and the width of its own profile from process-wide variables.
func importFile(ctx context.Context, r io.Reader) (cid.Cid, *nodeSink, error) {
	sink := &nodeSink{ctx: ctx, nodes: map[cid.Cid][]byte{}}
	params := helpers.DagBuilderParams{
		Maxlinks:   MaxLinks,
		RawLeaves:  true,
		CidBuilder: prefix(cid.DagProtobuf),
		Dagserv:    sink,
	}
	builder, err := params.New(chunk.NewSizeSplitter(r, ChunkSize))
	if err != nil {
		return cid.Undef, nil, err
	}
	root, err := balanced.Layout(builder)
	if err != nil {
		return cid.Undef, nil, err
	}
	return root.Cid(), sink, nil
}

func prefix(codec uint64) cid.Prefix {
	return cid.Prefix{Version: 1, Codec: codec, MhType: mh.SHA2_256, MhLength: sha256.Size}
}

// assemble makes a DAG of internal nodes that came from elsewhere, in pre-order, and checks all of
// them: every node is named by its parent, the first by root, and is byte for byte what the profile
// makes of its links for a file of that size. It keeps the slices.
func assemble(root cid.Cid, size int64, nodes [][]byte) (*DAG, error) {
	layout, err := LayoutOf(size)
	if err != nil {
		return nil, err
	}
	if err := checkRoot(root); err != nil {
		return nil, err
	}
	if len(nodes) != layout.Nodes() {
		return nil, fmt.Errorf("%w: %d internal nodes where %d bytes need %d", ErrDamaged, len(nodes), size, layout.Nodes())
	}
	d := &DAG{Root: root, Size: size, layout: layout, nodes: nodes}
	if layout.height == 0 {
		if root.Type() != cid.Raw {
			return nil, fmt.Errorf("%w: root %s is no raw leaf, but %d bytes fit into one", ErrDamaged, root, size)
		}
		d.leaves = [][sha256.Size]byte{digest(root)}
		return d, nil
	}
	if root.Type() != cid.DagProtobuf {
		return nil, fmt.Errorf("%w: root %s is a raw leaf, but %d bytes need a tree", ErrDamaged, root, size)
	}
	d.leaves = make([][sha256.Size]byte, 0, layout.leaves())
	number := 0
	if _, err := d.check(root, layout.height, layout.leaves(), &number); err != nil {
		return nil, err
	}
	return d, nil
}

// check verifies the subtree whose node has the given number, and returns the number of bytes its
// blocks have together. It appends the leaves' hashes in file order.
func (d *DAG) check(want cid.Cid, height int, leaves int64, number *int) (total uint64, err error) {
	at := *number
	*number++
	fault := func(format string, args ...any) error {
		return fmt.Errorf("%w: internal node %d: %s", ErrDamaged, at, fmt.Sprintf(format, args...))
	}
	raw := d.nodes[at]
	if len(raw) > MaxNode {
		return 0, fault("%d bytes, at most %d are possible", len(raw), MaxNode)
	}
	if sha256.Sum256(raw) != digest(want) {
		return 0, fault("its bytes do not have the address %s that its parent names", want)
	}
	node, err := merkledag.DecodeProtobuf(raw)
	if err != nil {
		return 0, fault("%v", err)
	}
	links := node.Links()
	span := pow(height - 1)
	if int64(len(links)) != ceil(leaves, span) {
		return 0, fault("%d links where the file's size needs %d", len(links), ceil(leaves, span))
	}
	codec := uint64(cid.DagProtobuf)
	if height == 1 {
		codec = cid.Raw
	}
	spec := unixfs.NewFSNode(unixfs.TFile)
	rebuilt := new(merkledag.ProtoNode)
	total = uint64(len(raw))
	for slot, link := range links {
		if link.Cid.Prefix() != prefix(codec) {
			return 0, fault("link %d has the address %s, which the profile does not make", slot, link.Cid)
		}
		below := min(span, leaves-int64(slot)*span)
		var size, sum uint64 // bytes of the file under the link, bytes of the blocks there
		if height == 1 {
			size = uint64(min(ChunkSize, d.Size-int64(len(d.leaves))*ChunkSize))
			sum = size
			d.leaves = append(d.leaves, digest(link.Cid))
		} else {
			from := int64(len(d.leaves)) * ChunkSize
			if sum, err = d.check(link.Cid, height-1, below, number); err != nil {
				return 0, err
			}
			size = uint64(min(below*ChunkSize, d.Size-from))
		}
		total += sum
		spec.AddBlockSize(size)
		if err := rebuilt.AddRawLink("", &ipld.Link{Size: sum, Cid: link.Cid}); err != nil {
			return 0, fault("link %d: %v", slot, err)
		}
	}
	data, err := spec.GetBytes()
	if err != nil {
		return 0, fault("%v", err)
	}
	rebuilt.SetData(data)
	canonical, err := rebuilt.EncodeProtobuf(true)
	if err != nil {
		return 0, fault("%v", err)
	}
	if !bytes.Equal(canonical, raw) {
		return 0, fault("it is not what unixfs-v1-2025 makes of its links and the file's size")
	}
	return total, nil
}

// Layout returns the tree's form.
func (d *DAG) Layout() Layout { return d.layout }

// Blocks counts the blocks of the pre-order, root first.
func (d *DAG) Blocks() int64 { return d.layout.Blocks() }

// Block returns block i of the pre-order. A leaf is read from sealed into buf (which grows when it is
// shorter than [ChunkSize]) and hashed: one whose bytes changed on disk gives [ErrDamaged] with its
// place, one that is gone [ErrTruncated]. The result is buf's memory or the DAG's own: it is read only
// and good until buf is used again.
func (d *DAG) Block(i int64, sealed io.ReaderAt, buf []byte) ([]byte, error) {
	p, ok := d.layout.Place(i)
	if !ok {
		return nil, fmt.Errorf("block %d of a release of %d blocks: %w", i, d.Blocks(), ErrSize)
	}
	if !p.Leaf {
		return d.nodes[p.Node], nil
	}
	if int64(cap(buf)) < p.Length {
		buf = make([]byte, p.Length)
	}
	buf = buf[:p.Length]
	if n, err := sealed.ReadAt(buf, p.Offset); n < len(buf) {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: it ends at byte %d of %d", ErrTruncated, p.Offset+int64(n), d.Size)
		}
		return nil, fmt.Errorf("read the sealed file, at byte %d: %w", p.Offset+int64(n), err)
	}
	if sha256.Sum256(buf) != d.leaves[p.Offset/ChunkSize] {
		return nil, fmt.Errorf("%w: bytes %d to %d are not the ones that were addressed", ErrDamaged, p.Offset, p.Offset+p.Length)
	}
	return buf, nil
}

// CID returns the address of block i of the pre-order, cid.Undef when there is no such block.
func (d *DAG) CID(i int64) cid.Cid {
	p, ok := d.layout.Place(i)
	if !ok {
		return cid.Undef
	}
	if p.Parent < 0 {
		return d.Root
	}
	sum, codec := sha256.Sum256(nil), uint64(cid.Raw)
	if p.Leaf {
		sum = d.leaves[p.Offset/ChunkSize]
	} else {
		sum, codec = sha256.Sum256(d.nodes[p.Node]), cid.DagProtobuf
	}
	hash, err := mh.Encode(sum[:], mh.SHA2_256)
	if err != nil {
		return cid.Undef
	}
	return cid.NewCidV1(codec, hash)
}

const magic = "porchlight/dag/v1\n"

// rootSize is the length of a binary CIDv1 with a sha2-256 digest, in bytes.
const rootSize = 4 + sha256.Size

// Marshal returns the nodes file described in the package comment.
func (d *DAG) Marshal() []byte {
	out := append([]byte(magic), d.Root.Bytes()...)
	out = binary.BigEndian.AppendUint64(out, uint64(d.Size))
	out = binary.BigEndian.AppendUint32(out, uint32(len(d.nodes)))
	for _, node := range d.nodes {
		out = binary.BigEndian.AppendUint32(out, uint32(len(node)))
		out = append(out, node...)
	}
	return out
}

// Load reads a nodes file and checks it as assemble does. It keeps slices of data. The caller
// compares Root with the address it expected.
func Load(data []byte) (*DAG, error) {
	bad := func(what string) error {
		return fmt.Errorf("%w: the nodes file %s; build it anew from the sealed file", ErrDamaged, what)
	}
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, bad("does not begin with its header")
	}
	if len(rest) < rootSize+12 {
		return nil, bad("ends inside its header")
	}
	root, err := cid.Cast(rest[:rootSize])
	if err != nil {
		return nil, bad("has no readable root")
	}
	rest = rest[rootSize:]
	size, count := binary.BigEndian.Uint64(rest), binary.BigEndian.Uint32(rest[8:])
	rest = rest[12:]
	if size > MaxSize {
		return nil, fmt.Errorf("%w: a sealed release has at most %d bytes", ErrSize, int64(MaxSize))
	}
	layout, err := LayoutOf(int64(size))
	if err != nil {
		return nil, err
	}
	if int(count) != layout.Nodes() {
		return nil, bad(fmt.Sprintf("has %d nodes where %d bytes need %d", count, size, layout.Nodes()))
	}
	var nodes [][]byte
	for range count {
		if len(rest) < 4 {
			return nil, bad("is truncated")
		}
		n := binary.BigEndian.Uint32(rest)
		rest = rest[4:]
		if n > MaxNode || int(n) > len(rest) {
			return nil, bad("is truncated")
		}
		nodes = append(nodes, rest[:n:n])
		rest = rest[n:]
	}
	if len(rest) != 0 {
		return nil, bad("has bytes after its end")
	}
	return assemble(root, int64(size), nodes)
}

// ParseRoot reads a root in its text form: CIDv1, base32, lower case, sha2-256, a raw leaf or a dag-pb
// node. One root has one text.
func ParseRoot(text string) (cid.Cid, error) {
	if len(text) > 128 {
		return cid.Undef, fmt.Errorf("%w: a release's address has 59 characters", ErrSize)
	}
	root, err := cid.Decode(text)
	if err != nil {
		return cid.Undef, fmt.Errorf("release address %q: %w", text, err)
	}
	if err := checkRoot(root); err != nil {
		return cid.Undef, err
	}
	if root.String() != text {
		return cid.Undef, fmt.Errorf("release address %q is not in its usual form, which is %s", text, root)
	}
	return root, nil
}

// checkRoot says whether a CID is of the kind that addresses a release.
func checkRoot(root cid.Cid) error {
	if !root.Defined() {
		return errors.New("release address is missing")
	}
	if p := root.Prefix(); p != prefix(cid.Raw) && p != prefix(cid.DagProtobuf) {
		return fmt.Errorf("release address %s is not a CIDv1 with sha2-256 of a raw leaf or a dag-pb node", root)
	}
	return nil
}

func digest(c cid.Cid) (sum [sha256.Size]byte) {
	hash := c.Hash()
	copy(sum[:], hash[len(hash)-sha256.Size:])
	return sum
}

// counter counts what is read and stops one byte after the limit, so that an endless reader ends.
type counter struct {
	reader
	n, limit int64
}

func (c *counter) Read(p []byte) (int, error) {
	if c.n >= c.limit {
		return 0, io.EOF
	}
	n, err := c.reader.Read(p[:min(int64(len(p)), c.limit-c.n)])
	c.n += int64(n)
	return n, err
}

// nodeSink is the DAG service the importer writes to. It keeps internal nodes and drops leaves, whose
// bytes are in the file already.
type nodeSink struct {
	ctx   context.Context
	nodes map[cid.Cid][]byte
}

func (s *nodeSink) Add(_ context.Context, node ipld.Node) error {
	if node.Cid().Type() == cid.DagProtobuf {
		s.nodes[node.Cid()] = node.RawData()
	}
	return s.ctx.Err()
}

func (s *nodeSink) AddMany(ctx context.Context, nodes []ipld.Node) error {
	for _, node := range nodes {
		if err := s.Add(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// preorder lists the internal nodes from root down.
func (s *nodeSink) preorder(root cid.Cid) (out [][]byte, err error) {
	raw, ok := s.nodes[root]
	if !ok {
		return nil, fmt.Errorf("internal node %s was not made", root)
	}
	node, err := merkledag.DecodeProtobuf(raw)
	if err != nil {
		return nil, err
	}
	out = append(out, raw)
	for _, link := range node.Links() {
		if link.Cid.Type() != cid.DagProtobuf {
			continue
		}
		below, err := s.preorder(link.Cid)
		if err != nil {
			return nil, err
		}
		out = append(out, below...)
	}
	return out, nil
}

var errWriteOnly = errors.New("the importer reads nothing back")

func (s *nodeSink) Get(context.Context, cid.Cid) (ipld.Node, error) { return nil, errWriteOnly }
func (s *nodeSink) GetMany(context.Context, []cid.Cid) <-chan *ipld.NodeOption {
	ch := make(chan *ipld.NodeOption)
	close(ch)
	return ch
}
func (s *nodeSink) Remove(context.Context, cid.Cid) error       { return errWriteOnly }
func (s *nodeSink) RemoveMany(context.Context, []cid.Cid) error { return errWriteOnly }
