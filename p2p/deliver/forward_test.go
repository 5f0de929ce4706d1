package deliver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-mesh/porchlight/p2p/forward"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// A street is a home, stewards and a requester, each on its own simulated line.
type street struct {
	t         *testing.T
	net       *wire.Net
	home      *host.Host
	homeLink  *wire.Link
	stewards  []*host.Host
	requester *host.Host
	police    *wire.Link
	asks      []string // reply addresses of live requests
	ends      []func()
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// start makes a host on a line of its own.
func (s *street) start(name string, role host.Role, nat bool, stewards ...string) (*host.Host, *wire.Link) {
	s.t.Helper()
	line := wire.LinkConfig{NAT: nat}
	if role != host.Home { // theirs are as fast upwards as downwards
		line.Up = wire.DefaultDown
	}
	l := s.net.Join(name, line)
	h, err := host.New(host.Config{Key: newKey(s.t), Role: role, Stewards: stewards, Network: l.Network(),
		Listen: []string{fmt.Sprintf("/ip4/%s/udp/4001/quic-v1", l.IP())}})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	g.Go(func() { h.Run(ctx) })
	s.ends = append(s.ends, func() { cancel(); g.Wait(); h.Close() })
	return h, l
}

// inStreet plays a test in virtual time. r is what the requester does with what comes.
func inStreet(t *testing.T, stewards int, hidden bool, r Receiver, f func(s *street)) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{t: t, net: wire.New(wire.Conditions{Seed: 7, MinLatency: 20 * time.Millisecond, MaxLatency: 60 * time.Millisecond})}
		var addrs []string
		for i := range stewards {
			h, _ := s.start(fmt.Sprint("steward ", i), host.Steward, false, addrs...)
			stop, err := forward.Serve(h, forward.Steward{Asks: func(addr string) bool {
				for _, a := range s.asks {
					if a == addr {
						return true
					}
				}
				return false
			}})
			if err != nil {
				t.Fatal(err)
			}
			s.ends = append(s.ends, stop)
			s.stewards = append(s.stewards, h)
			addrs = append(addrs, h.Addrs()...)
		}
		s.home, s.homeLink = s.start("home", host.Home, true, addrs[0])
		known := addrs
		if hidden {
			known = addrs[stewards-1:]
		}
		s.requester, s.police = s.start("requester", host.Requester, hidden, known...)
		stop, err := Serve(s.requester, r, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		s.ends = append(s.ends, stop)
		s.asks = s.requester.Addrs()
		if hidden {
			s.asks = []string{addrs[stewards-1] + "/p2p-circuit/p2p/" + s.requester.ID()}
		}
		time.Sleep(10 * time.Second)
		f(s)
		for i := range s.ends {
			s.ends[len(s.ends)-1-i]()
		}
		s.net.Close()
		time.Sleep(time.Minute)
	})
}

func (s *street) path(stewards ...int) *Path {
	p := &Path{Host: s.home}
	for _, i := range stewards {
		p.Stewards = append(p.Stewards, s.stewards[i].ID())
	}
	return p
}

// took is when, after the beginning, each part of a delivery was there.
type took struct{ accepted, first, receipt, all time.Duration }

// blocks is how long they took, from the acceptance to the receipt for them.
func (t took) blocks() time.Duration { return t.receipt - t.accepted }

// sent sends a film.
func (s *street) sent(f *film, over *Path) (t took) {
	s.t.Helper()
	began := time.Now()
	hooks := Hooks{
		Accepted: func([]byte) error { t.accepted = time.Since(began); return nil },
		Received: func(string, []byte) error { t.receipt = time.Since(began); return nil },
		Progress: func(_ string, n, _ int64) {
			if t.first == 0 {
				t.first = time.Since(began)
			}
		},
	}
	err := Send(s.t.Context(), SendConfig{Key: newKey(s.t), Addrs: s.asks, Network: s.homeLink.Network(), Over: over},
		Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, hooks)
	if err != nil {
		s.t.Errorf("delivery over %v: %v", over, err)
	}
	t.all = time.Since(began)
	return t
}

// Two stewards between a home with an uplink of 20 Mbit/s and the requester. What is left over is waiting: more round trips, and the padding.
func TestTwoStewardsCostATenth(t *testing.T) {
	film := newFilm(t, 48<<20)
	v := newVault(film)
	inStreet(t, 3, false, v, func(s *street) {
		began := time.Now()
		c, err := forward.Dial(s.t.Context(), s.home, s.path(0, 1).Stewards, s.asks[0], newKey(t))
		if err != nil {
			s.t.Fatal(err)
		}
		setUp := time.Since(began)
		c.Close()
		over := s.sent(film, s.path(0, 1))
		film.whole(t, v.shelf[film.root.String()])
		v.shelf[film.root.String()] = newVault(film).shelf[film.root.String()]
		straight := s.sent(film, nil)
		film.whole(t, v.shelf[film.root.String()])
		ratio := straight.blocks().Seconds() / over.blocks().Seconds()
		s.t.Logf("a path is open after %v; %+v over it, %+v straight; the blocks' rate is %.3f, of the whole delivery %.3f", setUp, over, straight,
			ratio, straight.all.Seconds()/over.all.Seconds())
		if setUp > 600*time.Millisecond {
			s.t.Errorf("a path over two stewards is open after %v", setUp)
		}
		// The grant leaves when the path is open, and the acceptance is there and back.
		if first := over.first - setUp + (over.accepted-setUp)/2; first > time.Second {
			s.t.Errorf("the first block arrives %v after the grant left", first)
		}
		if ratio < 0.9 {
			s.t.Errorf("over two stewards the blocks take %v, straight %v", over.blocks(), straight.blocks())
		}
	})
}

// A requester behind NAT is reached over the steward that its reply address names, whether the home's path ends there or before, and also
// without a path.
func TestARequesterBehindNATIsReachedOverItsSteward(t *testing.T) {
	film := newFilm(t, 3<<20)
	for _, row := range []struct {
		name string
		path []int
	}{{"two stewards before it", []int{0, 1}}, {"it is the second", []int{0, 2}}, {"straight", nil}} {
		t.Run(row.name, func(t *testing.T) {
			v := newVault(film)
			inStreet(t, 3, true, v, func(s *street) {
				var over *Path
				if row.path != nil {
					over = s.path(row.path...)
				}
				s.sent(film, over)
				film.whole(t, v.shelf[film.root.String()])
				for _, p := range s.requester.Peers() {
					if p.ID == s.home.ID() || strings.Contains(p.Addr, s.homeLink.IP().String()) {
						t.Errorf("the requester is connected to the home: %s", p.Addr)
					}
				}
			})
		})
	}
}

// Stewards go on to stewards they know, and to where a live request asks for answers; nowhere else.
func TestAPathLeadsNowhereElse(t *testing.T) {
	film := newFilm(t, 1<<20)
	v := newVault(film)
	inStreet(t, 3, false, v, func(s *street) {
		live := s.asks
		stranger, _ := s.start("stranger", host.Requester, false)
		for _, row := range []struct {
			name   string
			path   *Path
			to     string
			hop    int
			status string
		}{
			{"an address that no request names", s.path(0, 1), stranger.Addrs()[0], 1, forward.StatusNotKnown},
			{"a steward that the guard does not know", &Path{s.home, []string{s.stewards[0].ID(), stranger.ID()}}, live[0], 0, forward.StatusNotKnown},
			{"back to where it comes from", &Path{s.home, []string{s.stewards[0].ID(), s.home.ID()}}, live[0], 0, forward.StatusNotKnown},
			{"to itself", s.path(0, 0), live[0], 0, forward.StatusNotKnown},
			{"a word that is no address", s.path(0, 1), "/dns/example.org/tcp/1/p2p/" + s.requester.ID(), 1, forward.StatusNotKnown},
		} {
			_, err := forward.Dial(s.t.Context(), row.path.Host, row.path.Stewards, row.to, newKey(t))
			var said *forward.HopError
			if !errors.As(err, &said) || said.Hop != row.hop || said.Status != row.status {
				t.Errorf("%s: %v", row.name, err)
			}
		}
		s.police.Off()
		time.Sleep(time.Minute)
		err := Send(s.t.Context(), SendConfig{Key: newKey(t), Addrs: live, Over: s.path(0, 1)}, Offer{Grant: []byte("g")}, trusting())
		var said *forward.HopError
		if !errors.Is(err, ErrUnreachable) || !errors.As(err, &said) || said.Status != forward.StatusUnreachable {
			t.Errorf("a requester that is gone: %v", err)
		}
	})
}

// What a steward counts of a delivery is one of few sizes, and little more than the delivery itself.
func TestPaddingLeavesFewSizes(t *testing.T) {
	sizes := map[int64]bool{}
	for n := int64(1); n < 1<<34; n += 1 + n/97 {
		b := bucket(n)
		if b < n || n > minBucket && b > n+n/8 {
			t.Fatalf("%d bytes are padded to %d", n, b)
		}
		sizes[b] = true
	}
	if len(sizes) > 700 {
		t.Errorf("up to 16 GiB there are %d sizes", len(sizes))
	}
	// What was written before does not show in how much there is in the end.
	for _, n := range []int{1, 100, minBucket - 6, minBucket - 2, minBucket, 300_000, 307_199} {
		w := &counter{}
		s := &sender{link: &link{stream: w, timing: Timing{}.filled()}}
		for left := n; left > 0; left -= MaxDocument {
			if err := s.send(kindGrant, make([]byte, min(left, MaxDocument))); err != nil {
				t.Fatal(err)
			}
		}
		before := w.n
		if err := s.pad(); err != nil {
			t.Fatal(err)
		}
		if w.n != bucket(w.n) || w.n > bucket(before)+bucket(before)/8 {
			t.Errorf("%d bytes leave as %d", before, w.n)
		}
	}
}

// counter is a stream that takes everything and counts it.
type counter struct {
	stream
	n int64
}

func (c *counter) Write(b []byte) (int, error)      { c.n += int64(len(b)); return len(b), nil }
func (c *counter) SetWriteDeadline(time.Time) error { return nil }
