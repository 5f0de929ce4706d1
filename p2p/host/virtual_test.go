package host_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	gosync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/porchlight-mesh/porchlight/p2p/deliver"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/p2p/sync"
)

// cloud is a network in memory: every packet arrives after 20 ms.
type cloud struct {
	mu    gosync.Mutex
	socks map[string]*sock
	port  int
}

type packet struct {
	from net.Addr
	data []byte
}

type sock struct {
	c      *cloud
	addr   *net.UDPAddr
	in     chan packet
	closed chan struct{}
	once   gosync.Once
	mu     gosync.Mutex
	until  time.Time
	moved  chan struct{} // closed when the deadline moves
}

// at gives the Network of a machine with one address.
func (c *cloud) at(ip string) host.Network {
	return host.Network{
		SourceIP: func(*net.UDPAddr) (net.IP, error) { return net.ParseIP(ip), nil },
		ListenUDP: func(_ string, l *net.UDPAddr) (net.PacketConn, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			a := &net.UDPAddr{IP: net.ParseIP(ip).To4(), Port: l.Port}
			if a.Port == 0 {
				c.port++
				a.Port = 20000 + c.port
			}
			s := &sock{c: c, addr: a, in: make(chan packet, 4096), closed: make(chan struct{}), moved: make(chan struct{})}
			c.socks[a.String()] = s
			return s, nil
		},
	}
}

func (s *sock) WriteTo(b []byte, to net.Addr) (int, error) {
	p := packet{s.addr, append([]byte(nil), b...)}
	time.AfterFunc(20*time.Millisecond, func() {
		s.c.mu.Lock()
		d := s.c.socks[to.String()]
		s.c.mu.Unlock()
		if d != nil {
			select {
			case d.in <- p:
			default:
			}
		}
	})
	return len(b), nil
}

func (s *sock) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		s.mu.Lock()
		until, moved := s.until, s.moved
		s.mu.Unlock()
		var late <-chan time.Time
		if !until.IsZero() {
			late = time.After(time.Until(until))
		}
		select {
		case p := <-s.in:
			return copy(b, p.data), p.from, nil
		case <-s.closed:
			return 0, nil, net.ErrClosed
		case <-late:
			return 0, nil, os.ErrDeadlineExceeded
		case <-moved:
		}
	}
}

func (s *sock) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = t
	close(s.moved)
	s.moved = make(chan struct{})
	return nil
}

func (s *sock) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.c.mu.Lock()
		delete(s.c.socks, s.addr.String())
		s.c.mu.Unlock()
	})
	return nil
}

func (s *sock) LocalAddr() net.Addr                { return s.addr }
func (s *sock) SetDeadline(t time.Time) error      { return s.SetReadDeadline(t) }
func (s *sock) SetWriteDeadline(t time.Time) error { return nil }

// book is a log that gossip and sync fill.
type book struct {
	mu  gosync.Mutex
	all [][]byte
}

func (b *book) add(m []byte) gossip.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.all {
		if string(x) == string(m) {
			return gossip.Ignore
		}
	}
	b.all = append(b.all, append([]byte(nil), m...))
	return gossip.Accept
}

func (b *book) Heads() []sync.Head {
	b.mu.Lock()
	defer b.mu.Unlock()
	return []sync.Head{{Log: "docket", Size: int64(len(b.all))}}
}

func (b *book) Entries(_ string, from int64, max int) ([][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all[from:min(len(b.all), int(from)+max)], nil
}

func (b *book) Want(remote []sync.Head) []sync.Range {
	return []sync.Range{{Log: "docket", From: int64(b.len()), To: remote[0].Size}}
}

func (b *book) Take(_ string, _ int64, entries [][]byte, _ sync.Head) error {
	for _, e := range entries {
		b.add(e)
	}
	return nil
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

// oneLeaf is a release of a single block, and the requester that takes it.
type oneLeaf struct {
	data []byte
	got  []byte
	key  string
}

func (o *oneLeaf) Blocks() int64                         { return 1 }
func (o *oneLeaf) Block(int64, []byte) ([]byte, error)   { return o.data, nil }
func (o *oneLeaf) Size() int64                           { return int64(len(o.data)) }
func (o *oneLeaf) Have() int64                           { return 0 }
func (o *oneLeaf) Nodes() [][]byte                       { return nil }
func (o *oneLeaf) Close() error                          { return nil }
func (o *oneLeaf) Write(_ int64, _ bool, d []byte) error { o.got = append(o.got, d...); return nil }
func (o *oneLeaf) root() string {
	sum := sha256.Sum256(o.data)
	mh, _ := multihash.Encode(sum[:], multihash.SHA2_256)
	return cid.NewCidV1(cid.Raw, mh).String()
}
func (o *oneLeaf) Grant(context.Context, ed25519.PublicKey, []byte) ([]byte, []string, error) {
	return nil, []string{o.root()}, nil
}
func (o *oneLeaf) Manifest(context.Context, ed25519.PublicKey, string, []byte) error { return nil }
func (o *oneLeaf) Begin(context.Context, ed25519.PublicKey, string) (deliver.Sink, error) {
	return o, nil
}
func (o *oneLeaf) Complete(context.Context, ed25519.PublicKey, string) ([]byte, error) {
	return nil, nil
}
func (o *oneLeaf) Key(_ context.Context, _ ed25519.PublicKey, _ string, k []byte) error {
	o.key = string(k)
	return nil
}
func (o *oneLeaf) Word(context.Context, ed25519.PublicKey, []byte) ([]byte, error) { return nil, nil }

// The whole of p2p lives in virtual time, without a socket: a request spreads, a late home catches up, and a home
// answers. synctest fails when any goroutine is left over.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{socks: map[string]*sock{}}
		ctx, cancel := context.WithCancel(t.Context())
		var running gosync.WaitGroup
		var stewards []string
		var ends []func()
		join := func(i int, role host.Role) (*host.Host, *gossip.Topic, *book) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			ip := fmt.Sprintf("1.2.3.%d", i)
			h, err := host.New(host.Config{Key: key, Role: role, Listen: []string{"/ip4/" + ip + "/udp/8000/quic-v1"}, Stewards: stewards, Network: c.at(ip)})
			if err != nil {
				t.Fatal(err)
			}
			b := &book{}
			y, err := sync.Serve(h, b, b)
			if err != nil {
				t.Fatal(err)
			}
			topic, err := gossip.Join(ctx, h, "mesh", func(_ string, m []byte) gossip.Verdict { return b.add(m) })
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() { h.Run(ctx) })
			running.Go(func() { y.Run(ctx, 0) })
			ends = append(ends, func() { topic.Close(); y.Close(); h.Close() })
			return h, topic, b
		}
		steward, _, _ := join(1, host.Steward)
		stewards = steward.Addrs()
		requester, topic, _ := join(2, host.Requester)
		_, _, home := join(3, host.Home)
		time.Sleep(5 * time.Second)
		if err := topic.Publish(ctx, []byte("request")); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if home.len() != 1 {
			t.Error("gossip did not reach the home")
		}
		_, _, late := join(4, host.Home)
		time.Sleep(5 * time.Second)
		if late.len() != 1 {
			t.Error("the late home did not catch up")
		}

		o := &oneLeaf{data: make([]byte, 100<<10)}
		stop, err := deliver.Serve(requester, o, deliver.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		_, key, _ := ed25519.GenerateKey(rand.Reader)
		began := time.Now()
		err = deliver.Send(ctx, deliver.SendConfig{Key: key, Addrs: requester.Addrs(), Network: c.at("1.2.3.3")},
			deliver.Offer{Grant: []byte("g"), Releases: []deliver.Release{{Root: o.root(), Blocks: o, Key: func() []byte { return []byte("key") }}}},
			deliver.Hooks{Accepted: func([]byte) error { return nil }, Received: func(string, []byte) error { return nil }})
		if err != nil || len(o.got) != len(o.data) || o.key != "key" {
			t.Errorf("delivery: %v, %d bytes", err, len(o.got))
		}
		t.Logf("delivered in %v of virtual time", time.Since(began))
		stop()
		cancel()
		running.Wait()
		for _, end := range ends {
			end()
		}
		if err := errors.Join(ctx.Err()); err == nil {
			t.Error("not cancelled")
		}
		time.Sleep(time.Minute) // timers that libraries leave behind run out
	})
}
