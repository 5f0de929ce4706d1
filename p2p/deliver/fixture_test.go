package deliver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	pb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// film is a made-up sealed file of which every leaf can be computed, and its DAG.
type film struct {
	size  int64
	seed  uint64
	root  cid.Cid
	order []entry // pre-order
	// damage changes what Block hands out; nil for an honest home.
	damage func(i int64, data []byte) []byte
	mu     sync.Mutex
	asked  []int64
}

type entry struct {
	leaf int64 // index of the leaf, or -1
	node []byte
}

func (f *film) leafBytes(i int64, buf []byte) []byte {
	n := min(leafSize, f.size-i*leafSize)
	b := buf[:n]
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], f.seed)
	binary.LittleEndian.PutUint64(seed[8:], uint64(i))
	mrand.NewChaCha8(seed).Read(b)
	return b
}

func newFilm(t testing.TB, size int64) *film {
	f := &film{size: size, seed: uint64(size)}
	height, s := 0, int64(leafSize)
	for s < size {
		s, height = s*fanOut, height+1
	}
	buf := make([]byte, leafSize)
	var build func(height int, first, size int64) (cid.Cid, []entry)
	build = func(height int, first, size int64) (cid.Cid, []entry) {
		if height == 0 {
			return sum(t, cid.Raw, f.leafBytes(first, buf)), []entry{{leaf: first}}
		}
		full := span(height - 1)
		node := &merkledag.ProtoNode{}
		node.SetCidBuilder(cid.Prefix{Version: 1, Codec: cid.DagProtobuf, MhType: multihash.SHA2_256, MhLength: -1})
		file := unixfs.NewFSNode(pb.Data_File)
		out := []entry{{leaf: -1}}
		for at := int64(0); at < size; at += full {
			n := min(full, size-at)
			c, below := build(height-1, first+at/leafSize, n)
			out = append(out, below...)
			file.AddBlockSize(uint64(n))
			if err := node.AddRawLink("", &ipld.Link{Size: uint64(n), Cid: c}); err != nil {
				t.Fatal(err)
			}
		}
		data, err := file.GetBytes()
		if err != nil {
			t.Fatal(err)
		}
		node.SetData(data)
		out[0].node = node.RawData()
		return node.Cid(), out
	}
	f.root, f.order = build(height, 0, size)
	return f
}

func sum(t testing.TB, codec uint64, b []byte) cid.Cid {
	c, err := cid.Prefix{Version: 1, Codec: codec, MhType: multihash.SHA2_256, MhLength: -1}.Sum(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *film) Blocks() int64 { return int64(len(f.order)) }

func (f *film) Block(i int64, buf []byte) ([]byte, error) {
	f.mu.Lock()
	f.asked = append(f.asked, i)
	f.mu.Unlock()
	b := f.order[i].node
	if b == nil {
		b = f.leafBytes(f.order[i].leaf, buf)
	}
	if f.damage != nil {
		b = f.damage(i, b)
	}
	return b, nil
}

func (f *film) release() Release {
	return Release{Root: f.root.String(), Blocks: f, Manifest: []byte("manifest of " + f.root.String()), Key: func() []byte { return []byte("key of " + f.root.String()) }}
}

// vault is a requester's node that remembers what came.
type vault struct {
	mu       sync.Mutex
	refuse   map[string]error // by step
	shelf    map[string]*shelf
	grants   []string
	from     []ed25519.PublicKey
	keys     map[string]string
	receipts int
	words    []string
}

type shelf struct {
	size   int64
	have   int64
	nodes  [][]byte
	bytes  int64
	hash   hash.Hash
	writes []int64
	failAt int64
	closed atomic.Int32
}

func newVault(films ...*film) *vault {
	v := &vault{refuse: map[string]error{}, shelf: map[string]*shelf{}, keys: map[string]string{}}
	for _, f := range films {
		v.shelf[f.root.String()] = &shelf{size: f.size, failAt: -1, hash: sha256.New()}
	}
	return v
}

func (v *vault) step(name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refuse[name]
}

func (v *vault) Grant(_ context.Context, from ed25519.PublicKey, grant []byte) ([]byte, []string, error) {
	if err := v.step("grant"); err != nil {
		return nil, nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.grants = append(v.grants, string(grant))
	v.from = append(v.from, from)
	var roots []string
	for r := range v.shelf {
		roots = append(roots, r)
	}
	return []byte("accepted: " + string(grant)), roots, nil
}

func (v *vault) Manifest(_ context.Context, _ ed25519.PublicKey, root string, m []byte) error {
	if string(m) != "manifest of "+root {
		return fmt.Errorf("wrong manifest %q", m)
	}
	return v.step("manifest")
}

func (v *vault) Begin(_ context.Context, _ ed25519.PublicKey, root string) (Sink, error) {
	return v.shelf[root], v.step("begin")
}

func (v *vault) Complete(_ context.Context, _ ed25519.PublicKey, root string) ([]byte, error) {
	v.mu.Lock()
	v.receipts++
	v.mu.Unlock()
	return []byte("receipt for " + root), v.step("complete")
}

func (v *vault) Key(_ context.Context, _ ed25519.PublicKey, root string, key []byte) error {
	v.mu.Lock()
	v.keys[root] = string(key)
	v.mu.Unlock()
	return v.step("key")
}

func (v *vault) Word(_ context.Context, _ ed25519.PublicKey, word []byte) ([]byte, error) {
	v.mu.Lock()
	v.words = append(v.words, string(word))
	v.mu.Unlock()
	return []byte("heard " + string(word)), v.step("word")
}

// settled waits until the session is done with the shelf: the other side hears of a bad block before
// the good ones behind it are all written.
func (s *shelf) settled(t *testing.T) *shelf {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); s.closed.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the session never ended")
		}
	}
	return s
}

func (s *shelf) Size() int64     { return s.size }
func (s *shelf) Have() int64     { return s.have }
func (s *shelf) Nodes() [][]byte { return s.nodes }
func (s *shelf) Close() error    { s.closed.Add(1); return nil }
func (s *shelf) Write(i int64, leaf bool, data []byte) error {
	if i == s.failAt {
		return errors.New("disk full on /secret/path")
	}
	if i != s.have {
		return fmt.Errorf("block %d after %d", i, s.have)
	}
	s.writes = append(s.writes, i)
	s.have++
	if leaf {
		s.bytes += int64(len(data))
		s.hash.Write(data)
	} else {
		s.nodes = append(s.nodes, bytes.Clone(data))
	}
	return nil
}

// whole checks that the file arrived entire and right.
func (f *film) whole(t *testing.T, s *shelf) {
	t.Helper()
	if s.have != f.Blocks() || s.bytes != f.size {
		t.Fatalf("%d blocks and %d bytes stored of %d and %d", s.have, s.bytes, f.Blocks(), f.size)
	}
	want := sha256.New()
	buf := make([]byte, leafSize)
	for i := int64(0); i*leafSize < f.size; i++ {
		want.Write(f.leafBytes(i, buf))
	}
	if !bytes.Equal(want.Sum(nil), s.hash.Sum(nil)) {
		t.Fatal("the stored bytes are not the sent ones")
	}
}

func requester(t testing.TB, r Receiver, limits Limits) *host.Host {
	t.Helper()
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	h, err := host.New(host.Config{Key: key, Role: host.Requester, Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}})
	if err != nil {
		t.Fatal(err)
	}
	stop, err := Serve(h, r, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); h.Close() })
	return h
}

// one picks the requester's address over TCP or QUIC.
func one(h *host.Host, kind string) []string {
	return slices.DeleteFunc(h.Addrs(), func(a string) bool { return !strings.Contains(a, "/"+kind+"/") })
}

func sendConfig(h *host.Host, kind string) SendConfig {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	return SendConfig{Key: key, Addrs: one(h, kind), Timing: Timing{Dial: 5 * time.Second, Idle: 5 * time.Second, Answer: 5 * time.Second}}
}

func trusting() Hooks {
	return Hooks{Accepted: func([]byte) error { return nil }, Received: func(string, []byte) error { return nil }}
}

func class(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}
