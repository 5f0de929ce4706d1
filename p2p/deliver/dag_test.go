package deliver

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	pb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// A node whose hash is right can still be one that no honest home builds.
func TestOddNodesAreRefused(t *testing.T) {
	leaf := func(b byte) cid.Cid { return sum(t, cid.Raw, []byte{b}) }
	type link struct {
		name string
		size uint64
		cid  cid.Cid
	}
	type node struct {
		links []link
		kind  pb.Data_DataType
		data  []byte
		raw   []byte
	}
	good := func() node {
		return node{links: []link{{"", leafSize, leaf(1)}, {"", 5, leaf(2)}}, kind: pb.Data_File}
	}
	const size = leafSize + 5
	for name, change := range map[string]func(*node){
		"":                 func(*node) {},
		"named link":       func(n *node) { n.links[0].name = "x" },
		"link too many":    func(n *node) { n.links = append(n.links, link{"", 0, leaf(3)}) },
		"link too few":     func(n *node) { n.links = n.links[:1] },
		"no links":         func(n *node) { n.links = nil },
		"wrong sizes":      func(n *node) { n.links[0].size, n.links[1].size = 5, leafSize },
		"folder":           func(n *node) { n.kind = pb.Data_Directory },
		"symlink":          func(n *node) { n.kind = pb.Data_Symlink },
		"data of its own":  func(n *node) { n.data = []byte("x") },
		"leaf is a node":   func(n *node) { n.links[1].cid = sum(t, cid.DagProtobuf, []byte{2}) },
		"leaf is a v0 CID": func(n *node) { n.links[1].cid = cid.NewCidV0(leaf(2).Hash()) },
		"identity hash": func(n *node) {
			mh, _ := multihash.Sum([]byte("hello"), multihash.IDENTITY, -1)
			n.links[1].cid = cid.NewCidV1(cid.Raw, mh)
		},
		"not protobuf": func(n *node) { n.raw = []byte("hello, this is no node") },
		"empty":        func(n *node) { n.raw = []byte{} },
		"oversize":     func(n *node) { n.raw = make([]byte, MaxNode+1) },
	} {
		t.Run(name, func(t *testing.T) {
			n := good()
			change(&n)
			raw := n.raw
			if raw == nil {
				file := unixfs.NewFSNode(n.kind)
				file.SetData(n.data)
				p := &merkledag.ProtoNode{}
				for _, l := range n.links {
					file.AddBlockSize(l.size)
					if err := p.AddRawLink(l.name, &ipld.Link{Size: l.size, Cid: l.cid}); err != nil {
						t.Fatal(err)
					}
				}
				data, err := file.GetBytes()
				if err != nil {
					t.Fatal(err)
				}
				p.SetData(data)
				raw = p.RawData()
			}
			w, err := newWalk(sum(t, cid.DagProtobuf, raw).String(), size)
			if err != nil {
				t.Fatal(err)
			}
			err = w.take(raw)
			if name == "" {
				if err != nil || len(w.stack) != 2 || w.stack[1].cid != leaf(1) {
					t.Fatalf("a good node: %v, %v", err, w.stack)
				}
			} else if class(err) != ClassBadDAG || len(w.stack) != 1 {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestRootsAreChecked(t *testing.T) {
	raw, node := sum(t, cid.Raw, []byte("x")), sum(t, cid.DagProtobuf, []byte("x"))
	v0 := cid.NewCidV0(node.Hash())
	for _, c := range []struct {
		root string
		size int64
		ok   bool
	}{
		{raw.String(), 1, true},
		{raw.String(), leafSize, true},
		{node.String(), leafSize + 1, true},
		{node.String(), MaxSize, true},
		{raw.String(), 0, false},
		{raw.String(), -1, false},
		{node.String(), MaxSize + 1, false},
		{raw.String(), leafSize + 1, false},
		{node.String(), leafSize, false},
		{v0.String(), leafSize + 1, false},
		{strings.ToUpper(raw.String()), 1, false},
		{"", 1, false},
		{"bafy", 1, false},
	} {
		if _, err := newWalk(c.root, c.size); (err == nil) != c.ok {
			t.Errorf("%s over %d bytes: %v", c.root, c.size, err)
		}
	}
}

// The number of blocks follows from the size; three levels are 1,024 times two.
func TestBlockCount(t *testing.T) {
	node := sum(t, cid.DagProtobuf, []byte("x"))
	for size, want := range map[int64]int64{2 << 20: 3, 1 << 30: 1025, 1<<30 + 1: 1 + 2 + 1025, MaxSize: 1 + 1024 + 1<<20} {
		w, err := newWalk(node.String(), size)
		if err != nil || w.total != want {
			t.Errorf("%d bytes: %d blocks, want %d (%v)", size, w.total, want, err)
		}
	}
}

func TestResumeNeedsTheNodes(t *testing.T) {
	f := newFilm(t, 3<<20)
	for _, c := range []struct {
		have  int64
		nodes [][]byte
	}{{-1, nil}, {5, nil}, {2, nil}, {1, [][]byte{[]byte("rotten")}}} {
		w, err := newWalk(f.root.String(), f.size)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.resume(c.have, c.nodes); err == nil {
			t.Errorf("resumed behind %d blocks with %d nodes", c.have, len(c.nodes))
		}
	}
}

// memory is a stream that replays bytes.
type memory struct {
	io.Reader
	out bytes.Buffer
}

func (m *memory) Write(b []byte) (int, error)    { return m.out.Write(b) }
func (*memory) Close() error                     { return nil }
func (*memory) CloseWrite() error                { return nil }
func (*memory) Reset() error                     { return nil }
func (*memory) SetReadDeadline(time.Time) error  { return nil }
func (*memory) SetWriteDeadline(time.Time) error { return nil }

func FuzzFrames(f *testing.F) {
	for kind := byte(1); kind <= kindError; kind++ {
		f.Add(append(binary.BigEndian.AppendUint32([]byte{kind}, 3), "abc"...))
	}
	m, _ := encodeManifest("bafkqaaa", []byte("manifest"))
	f.Add(append(binary.BigEndian.AppendUint32([]byte{kindManifest}, uint32(len(m))), m...))
	f.Add([]byte{kindError, 0, 0, 2, 0, 0xff, '\n'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		in := &link{stream: &memory{Reader: bytes.NewReader(b)}, timing: Timing{}.filled()}
		body, err := in.expect(b[0], time.Second)
		if err != nil {
			var e *Error
			if errors.As(err, &e) && len(e.Class) > maxClass {
				t.Fatalf("class of %d bytes", len(e.Class))
			}
			return
		}
		out := &memory{}
		if err := (&link{stream: out, timing: in.timing}).send(b[0], body); err != nil || !bytes.HasPrefix(b, out.out.Bytes()) {
			t.Fatalf("a frame does not encode as it was decoded: %v", err)
		}
		if root, manifest, err := decodeManifest(body); err == nil {
			if again, err := encodeManifest(root, manifest); err != nil || !bytes.Equal(again, body) {
				t.Fatal("a manifest has two encodings")
			}
		}
		cleaned := cleanClass(string(body[:min(len(body), 2*maxClass)]))
		if len(cleaned) > maxClass || cleanClass(cleaned) != cleaned {
			t.Fatal("class is not bounded and stable")
		}
	})
}

func FuzzNode(f *testing.F) {
	film := newFilm(f, 3<<20)
	f.Add(film.order[0].node, int64(3<<20))
	f.Add([]byte{0x0a, 0x00}, int64(2<<20))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		root := sum(t, cid.DagProtobuf, data)
		w, err := newWalk(root.String(), size)
		if err != nil {
			return
		}
		if err := w.take(data); err != nil {
			return
		}
		var total int64
		for _, p := range w.stack {
			total += p.size
		}
		if total != size || len(w.stack) > fanOut {
			t.Fatalf("%d links over %d bytes, not %d", len(w.stack), total, size)
		}
		if s := sha256.Sum256(data); !bytes.Equal(root.Hash()[2:], s[:]) {
			t.Fatal("not the hashed bytes")
		}
	})
}
