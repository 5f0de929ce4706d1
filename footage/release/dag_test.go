package release

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"pgregory.net/rapid"
)

// words is the input of testdata/unixfs-v1-2025.json: 32-bit little-endian words, word j being
// (j * 2654435761 mod 2^32) xor (j >> 11), cut to a length. It can be read at any place.
type words struct{ at, left int64 }

func (w *words) Read(p []byte) (int, error) {
	if w.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), w.left))
	fill(p[:n], w.at)
	w.at, w.left = w.at+int64(n), w.left-int64(n)
	return n, nil
}

func (w *words) ReadAt(p []byte, at int64) (int, error) {
	if at >= w.left {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), w.left-at))
	fill(p[:n], at)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fill is kept from the race detector, which would take a minute over the gibibytes it makes.
//
//go:norace
func fill(p []byte, at int64) {
	for len(p) > 0 {
		if at%4 == 0 && len(p) >= 4 {
			j := uint32(at / 4)
			binary.LittleEndian.PutUint32(p, j*2654435761^j>>11)
			p, at = p[4:], at+4
			continue
		}
		j := uint32(at / 4)
		p[0] = byte((j*2654435761 ^ j>>11) >> (8 * (at % 4)))
		p, at = p[1:], at+1
	}
}

type vectorFile struct {
	Vectors []struct {
		Size  int64
		Root  string
		Nodes int
	}
}

func vectors(t testing.TB) vectorFile {
	t.Helper()
	b, err := os.ReadFile("testdata/unixfs-v1-2025.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func emptyRoot(t testing.TB) cid.Cid {
	root, err := ParseRoot(vectors(t).Vectors[0].Root)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func build(t testing.TB, size int64) *DAG {
	t.Helper()
	d, err := BuildDAG(t.Context(), clip(size), size)
	if err != nil {
		t.Fatalf("build the DAG of %d bytes: %v", size, err)
	}
	return d
}

func TestRootsAgreeWithAnotherImplementation(t *testing.T) {
	for _, v := range vectors(t).Vectors {
		if v.Size > 100<<20 && testing.Short() {
			continue
		}
		d := build(t, v.Size)
		if d.Root.String() != v.Root || len(d.nodes) != v.Nodes || d.Layout().Nodes() != v.Nodes {
			t.Errorf("%d bytes: root %s with %d nodes, want %s with %d", v.Size, d.Root, len(d.nodes), v.Root, v.Nodes)
		}
		loaded, err := Load(d.Marshal())
		if err != nil || !loaded.Root.Equals(d.Root) || loaded.Size != d.Size || loaded.Blocks() != d.Blocks() {
			t.Errorf("%d bytes: the nodes file does not come back: %v", v.Size, err)
		}
		if v.Size > 100<<20 {
			continue
		}
		root, err := ParseRoot(v.Root)
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(t.Context(), clip(v.Size), root); err != nil {
			t.Errorf("%d bytes: %v", v.Size, err)
		}
		if err := Verify(t.Context(), clip(v.Size+1), root); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes and one more: %v", v.Size, err)
		}
	}
}

// A receiver that trusts nothing but the root can check every block as it comes, and ends with the
// file.
func TestBlocksProveThemselvesInOrder(t *testing.T) {
	sizes := []int64{0, 5, ChunkSize, ChunkSize + 1, 3*ChunkSize + 9}
	if !testing.Short() {
		sizes = append(sizes, 1025*ChunkSize)
	}
	for _, size := range sizes {
		d := build(t, size)
		file := &words{left: size}
		expect := []cid.Cid{d.Root}
		buf := make([]byte, ChunkSize)
		var end int64
		for i := range d.Blocks() {
			if len(expect) == 0 {
				t.Fatalf("%d bytes: block %d is named by nobody", size, i)
			}
			want := expect[0]
			expect = expect[1:]
			data, err := d.Block(i, file, buf)
			if err != nil {
				t.Fatalf("%d bytes: block %d: %v", size, i, err)
			}
			got, err := want.Prefix().Sum(data)
			if err != nil || !got.Equals(want) || !d.CID(i).Equals(want) {
				t.Fatalf("%d bytes: block %d is %s, its parent says %s, CID says %s", size, i, got, want, d.CID(i))
			}
			p, ok := d.Layout().Place(i)
			if !ok || p.Leaf != (want.Type() == cid.Raw) {
				t.Fatalf("%d bytes: block %d is misplaced: %+v", size, i, p)
			}
			if p.Leaf {
				if p.Offset != end || p.Length != int64(len(data)) {
					t.Fatalf("%d bytes: leaf at %d has %d bytes, expected at %d", size, p.Offset, p.Length, end)
				}
				end += p.Length
				continue
			}
			node, err := merkledag.DecodeProtobuf(data)
			if err != nil {
				t.Fatal(err)
			}
			var below []cid.Cid
			for _, link := range node.Links() {
				below = append(below, link.Cid)
			}
			expect = append(below, expect...)
		}
		if end != size || len(expect) != 0 {
			t.Errorf("%d bytes: the blocks end at %d with %d still named", size, end, len(expect))
		}
		for _, i := range []int64{-1, d.Blocks()} {
			if _, err := d.Block(i, file, buf); !errors.Is(err, ErrSize) || d.CID(i).Defined() {
				t.Errorf("%d bytes: block %d: %v", size, i, err)
			}
		}
	}
}

func TestASealedFileThatChangedOnDiskIsNoticed(t *testing.T) {
	const size = 2*ChunkSize + 10
	d := build(t, size)
	file, _ := io.ReadAll(clip(size))
	file[ChunkSize+3] ^= 1
	if _, err := d.Block(1, bytes.NewReader(file), nil); err != nil {
		t.Errorf("an unchanged leaf: %v", err)
	}
	if _, err := d.Block(2, bytes.NewReader(file), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a flipped bit: %v", err)
	}
	if _, err := d.Block(3, bytes.NewReader(file[:size-1]), nil); !errors.Is(err, ErrTruncated) {
		t.Errorf("a missing byte: %v", err)
	}
	if _, err := BuildDAG(t.Context(), clip(size), size+1); !errors.Is(err, ErrTruncated) {
		t.Errorf("shorter than said: %v", err)
	}
	if _, err := BuildDAG(t.Context(), clip(size), size-1); !errors.Is(err, ErrDamaged) {
		t.Errorf("longer than said: %v", err)
	}
	for _, bad := range []int64{-1, MaxSize + 1} {
		if _, err := BuildDAG(t.Context(), clip(0), bad); !errors.Is(err, ErrSize) {
			t.Errorf("%d bytes: %v", bad, err)
		}
	}
}

func TestDamagedNodesFilesAreRefused(t *testing.T) {
	good := build(t, 3*ChunkSize+9).Marshal()
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if _, err := Load(bad); err == nil {
			t.Fatalf("a flipped bit at %d went unseen", at)
		}
		if _, err := Load(good[:at]); err == nil {
			t.Fatalf("cut at %d went unseen", at)
		}
	}
	if _, err := Load(append(bytes.Clone(good), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte after the end: %v", err)
	}
	huge := bytes.Clone(good)
	copy(huge[len(magic)+rootSize:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	if _, err := Load(huge); !errors.Is(err, ErrSize) {
		t.Errorf("an absurd size: %v", err)
	}
}

// A tree whose every hash is right can still be one that the profile does not make.
func TestTreesOutsideTheProfileAreRefused(t *testing.T) {
	d := build(t, 3*ChunkSize)
	node, err := merkledag.DecodeProtobuf(d.nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	links := node.Links()
	for name, change := range map[string]func(*merkledag.ProtoNode){
		"a link with a name":     func(n *merkledag.ProtoNode) { n.SetLinks(with(links, 0, func(l *ipld.Link) { l.Name = "x" })) },
		"a wrong size":           func(n *merkledag.ProtoNode) { n.SetLinks(with(links, 1, func(l *ipld.Link) { l.Size++ })) },
		"a missing link":         func(n *merkledag.ProtoNode) { n.SetLinks(links[:2]) },
		"data instead of a size": func(n *merkledag.ProtoNode) { n.SetData([]byte("x")) },
		"no data":                func(n *merkledag.ProtoNode) { n.SetData(nil) },
		"a leaf that is a node":  func(n *merkledag.ProtoNode) { n.SetLinks(with(links, 2, func(l *ipld.Link) { l.Cid = d.Root })) },
		"a leaf of another codec": func(n *merkledag.ProtoNode) {
			n.SetLinks(with(links, 2, func(l *ipld.Link) { l.Cid = cid.NewCidV1(cid.DagCBOR, d.Root.Hash()) }))
		},
	} {
		changed := node.Copy().(*merkledag.ProtoNode)
		change(changed)
		raw, err := changed.EncodeProtobuf(true)
		if err != nil {
			t.Fatal(err)
		}
		root, err := prefix(cid.DagProtobuf).Sum(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := assemble(root, d.Size, [][]byte{raw}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := assemble(d.Root, d.Size, d.nodes); err != nil {
		t.Errorf("the tree itself: %v", err)
	}
	for name, err := range map[string]error{
		"a size one chunk too large": second(assemble(d.Root, d.Size+1, d.nodes)),
		"no nodes":                   second(assemble(d.Root, d.Size, nil)),
		"an undefined root":          second(assemble(cid.Undef, d.Size, d.nodes)),
		"a node as a small root":     second(assemble(d.Root, 10, nil)),
		"a leaf as a large root":     second(assemble(emptyRoot(t), d.Size, d.nodes)),
	} {
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// with returns the links with one of them changed.
func with(links []*ipld.Link, slot int, change func(*ipld.Link)) []*ipld.Link {
	out := append([]*ipld.Link(nil), links...)
	changed := *out[slot]
	change(&changed)
	out[slot] = &changed
	return out
}

func second(_ *DAG, err error) error { return err }

func TestParseRoot(t *testing.T) {
	for _, v := range vectors(t).Vectors {
		if root, err := ParseRoot(v.Root); err != nil || root.String() != v.Root {
			t.Errorf("%s: %v", v.Root, err)
		}
	}
	good := vectors(t).Vectors[1].Root
	for _, bad := range []string{"", "b", "x" + good, good + "a", "B" + good[1:], good[:58],
		"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG",    // CIDv0
		"zb2rhk6GMPQF3hfzwXTaNYFLKomMeC6UXdUt6jZKPpeVirLtV", // raw sha2-256 in base58
		"bafyaaaa", // an identity hash
		string(make([]byte, 1<<20))} {
		if _, err := ParseRoot(bad); err == nil {
			t.Errorf("%.60q was taken", bad)
		}
	}
}

// The layout's arithmetic agrees with a tree that is walked.
func TestLayoutAgreesWithAWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(
			rapid.Int64Range(0, 5*ChunkSize),
			rapid.Int64Range(1020*ChunkSize, 1030*ChunkSize),
			rapid.Int64Range(0, 3000*ChunkSize),
		).Draw(t, "size")
		l, err := LayoutOf(size)
		if err != nil {
			t.Fatal(err)
		}
		var next int64
		nodes := 0
		var walk func(height int, first, count int64, parent, slot int)
		walk = func(height int, first, count int64, parent, slot int) {
			p, ok := l.Place(next)
			want := Place{Leaf: height == 0, Offset: first * ChunkSize, Node: nodes, Parent: parent, Slot: slot, height: height}
			want.Length = min(count*ChunkSize, size-want.Offset)
			if !ok || p != want {
				t.Fatalf("size %d, block %d: %+v, want %+v", size, next, p, want)
			}
			next++
			if height == 0 {
				return
			}
			self := nodes
			nodes++
			span := pow(height - 1)
			for s := int64(0); s*span < count; s++ {
				walk(height-1, first+s*span, min(span, count-s*span), self, int(s))
			}
		}
		walk(l.height, 0, l.leaves(), -1, 0)
		if next != l.Blocks() || nodes != l.Nodes() {
			t.Fatalf("size %d: walked %d blocks and %d nodes, layout says %d and %d", size, next, nodes, l.Blocks(), l.Nodes())
		}
	})
	var zero Layout
	if zero.Blocks() != 1 || zero.Nodes() != 0 {
		t.Error("the zero layout is not that of the empty file")
	}
	if l, err := LayoutOf(MaxSize); err != nil || l.Blocks() != 1+256+256*1024 {
		t.Errorf("the largest file: %d blocks, %v", l.Blocks(), err)
	}
}

func TestBuildingHoldsLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes 64 MiB")
	}
	var d *DAG
	if grown := heapGrowth(func() { d = build(t, 64<<20) }); grown > 24<<20 {
		t.Errorf("the DAG of 64 MiB left %d bytes of heap", grown)
	}
	if n := len(d.Marshal()); n > 64*60+200 {
		t.Errorf("the nodes of 64 MiB take %d bytes", n)
	}
}

func FuzzLoad(f *testing.F) {
	for _, size := range []int64{0, 10, ChunkSize + 1, 3*ChunkSize + 9} {
		f.Add(build(f, size).Marshal())
	}
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Load(b)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Marshal(), b) {
			t.Error("a nodes file has two forms")
		}
		for i := range min(d.Blocks(), 4) {
			if !d.CID(i).Defined() {
				t.Errorf("block %d has no address", i)
			}
		}
	})
}

func FuzzParseRoot(f *testing.F) {
	f.Add("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
	f.Add("bafybeibz2uhggx53sth6a5z7bpo34lpvz4sqb5526kh6x6evlw2xy2mus4")
	f.Fuzz(func(t *testing.T, text string) {
		if root, err := ParseRoot(text); err == nil && root.String() != text {
			t.Errorf("%q is a second form of %s", text, root)
		}
	})
}

func BenchmarkBuildDAG(b *testing.B) {
	file, _ := io.ReadAll(clip(32 << 20))
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := BuildDAG(b.Context(), bytes.NewReader(file), int64(len(file))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBlock(b *testing.B) {
	const size = 32 << 20
	d := build(b, size)
	raw, _ := io.ReadAll(clip(size))
	file, buf := bytes.NewReader(raw), make([]byte, ChunkSize)
	b.SetBytes(ChunkSize)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		if _, err := d.Block(1+i%(d.Blocks()-1), file, buf); err != nil {
			b.Fatal(err)
		}
	}
}
