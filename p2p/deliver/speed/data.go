//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	pb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

const (
	leafSize  = deliver.MaxBlock
	fanOut    = 1024
	clipSize  = 5_000_000
	clipCount = 200
)

// clip is a span of the data file with its DAG, in the form deliver sends. The sender and the receiver read it from a
// file, so that neither spends the time to hash anything beforehand.
type clip struct {
	Root   string
	Offset int64
	Size   int64
	Order  []block // depth-first pre-order
}

// block is a leaf, by its index, or else the bytes of an internal node.
type block struct {
	Leaf int64
	Node []byte `json:",omitempty"`
}

// makeData writes the file and two lists of clips: the whole of it, and up to 200 of 5 MB.
func (b *bench) makeData(ctx context.Context) error {
	f, err := os.Create(b.data)
	if err != nil {
		return err
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, leafSize)
	for left := b.size; left > 0 && ctx.Err() == nil; left -= leafSize {
		p := buf[:min(left, leafSize)]
		random.Read(p)
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	whole, err := makeClip(ctx, f, 0, b.size)
	if err != nil {
		return err
	}
	var clips []clip
	for at := int64(0); at+clipSize <= b.size && len(clips) < clipCount; at += clipSize {
		c, err := makeClip(ctx, f, at, clipSize)
		if err != nil {
			return err
		}
		clips = append(clips, c)
	}
	return errors.Join(f.Sync(), writeJSON(filepath.Join(b.dir, "whole.json"), []clip{whole}), writeJSON(filepath.Join(b.dir, "clips.json"), clips))
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

func readClips(path string) (clips []clip, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &clips); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return clips, nil
}

// makeClip builds the unixfs-v1-2025 DAG over a span of the file.
func makeClip(ctx context.Context, f io.ReaderAt, offset, size int64) (clip, error) {
	span := int64(leafSize)
	for span < size {
		span *= fanOut
	}
	buf := make([]byte, leafSize)
	var build func(span, at, size int64) (cid.Cid, []block, error)
	build = func(span, at, size int64) (cid.Cid, []block, error) {
		if err := ctx.Err(); err != nil {
			return cid.Undef, nil, err
		}
		if span == leafSize {
			if _, err := f.ReadAt(buf[:size], offset+at); err != nil {
				return cid.Undef, nil, err
			}
			c, err := prefix(cid.Raw).Sum(buf[:size])
			return c, []block{{Leaf: at / leafSize}}, err
		}
		node, file, out := &merkledag.ProtoNode{}, unixfs.NewFSNode(pb.Data_File), []block{{}}
		for from := int64(0); from < size; from += span / fanOut {
			n := min(span/fanOut, size-from)
			c, below, err := build(span/fanOut, at+from, n)
			if err != nil {
				return cid.Undef, nil, err
			}
			file.AddBlockSize(uint64(n))
			if err := node.AddRawLink("", &ipld.Link{Size: uint64(n), Cid: c}); err != nil {
				return cid.Undef, nil, err
			}
			out = append(out, below...)
		}
		data, err := file.GetBytes()
		if err != nil {
			return cid.Undef, nil, err
		}
		node.SetData(data)
		out[0].Node = node.RawData()
		c, err := prefix(cid.DagProtobuf).Sum(out[0].Node)
		return c, out, err
	}
	root, order, err := build(span, 0, size)
	return clip{Root: root.String(), Offset: offset, Size: size, Order: order}, err
}

func prefix(codec uint64) cid.Prefix {
	return cid.Prefix{Version: 1, Codec: codec, MhType: multihash.SHA2_256, MhLength: -1}
}

// source reads a clip's blocks, as deliver.BlockSource.
type source struct {
	clip
	file io.ReaderAt
}

func (s source) Blocks() int64 { return int64(len(s.Order)) }

func (s source) Block(i int64, buf []byte) ([]byte, error) {
	b := s.Order[i]
	if b.Node != nil {
		return b.Node, nil
	}
	p := buf[:min(leafSize, s.Size-b.Leaf*leafSize)]
	_, err := s.file.ReadAt(p, s.Offset+b.Leaf*leafSize)
	return p, err
}

// sink stores a clip as an agency's vault does: leaves in their place in one file, which is synced every 2 MiB and at
// the end; internal nodes in another, synced each; and the folder once both names are in it.
type sink struct {
	size, have   int64
	leaves, node *os.File
	at, dirty    int64
	sync         bool
}

const (
	syncEvery = 2 << 20
	noSync    = "SPEED_NO_SYNC" // in a child's environment where nothing is to be synced
)

func newSink(dir string, c clip) (*sink, error) {
	s := &sink{size: c.Size, sync: os.Getenv(noSync) == ""}
	var err error
	if s.leaves, err = os.OpenFile(filepath.Join(dir, c.Root+".part"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	if s.node, err = os.OpenFile(filepath.Join(dir, c.Root+".nodes"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, errors.Join(err, s.leaves.Close())
	}
	return s, syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *sink) Size() int64     { return s.size }
func (s *sink) Have() int64     { return 0 }
func (s *sink) Nodes() [][]byte { return nil }

func (s *sink) Write(i int64, leaf bool, data []byte) error {
	if i != s.have {
		return fmt.Errorf("block %d, want %d", i, s.have)
	}
	s.have++
	if !leaf {
		if _, err := s.node.Write(data); err != nil {
			return err
		}
		return s.flush(s.node)
	}
	if _, err := s.leaves.WriteAt(data, s.at); err != nil {
		return err
	}
	s.at += int64(len(data))
	if s.dirty += int64(len(data)); s.dirty < syncEvery {
		return nil
	}
	s.dirty = 0
	return s.flush(s.leaves)
}

func (s *sink) flush(f *os.File) error {
	if !s.sync {
		return nil
	}
	return f.Sync()
}

func (s *sink) Close() error {
	return errors.Join(s.flush(s.leaves), s.leaves.Close(), s.node.Close())
}
