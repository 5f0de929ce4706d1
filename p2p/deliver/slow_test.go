package deliver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/marcopolo/simnet"
	"github.com/multiformats/go-multistream"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// machine is a network of one address behind a link of the given rate.
func machine(nw *simnet.Simnet, ip string, bits int) host.Network {
	var port atomic.Int32
	port.Store(9000)
	link := simnet.LinkSettings{BitsPerSecond: bits}
	return host.Network{
		SourceIP: func(*net.UDPAddr) (net.IP, error) { return net.ParseIP(ip), nil },
		ListenUDP: func(_ string, l *net.UDPAddr) (net.PacketConn, error) {
			a := &net.UDPAddr{IP: net.ParseIP(ip), Port: l.Port}
			if a.Port == 0 {
				a.Port = int(port.Add(1))
			}
			return nw.NewEndpoint(a, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}), nil
		},
	}
}

// On a link of 100 Mbit/s and 50 ms round trip a delivery over QUIC takes little longer than the same bytes on a raw
// stream. The time is virtual: what the processor does takes none of it.
func TestSlowLink(t *testing.T) {
	if testing.Short() {
		t.Skip("every packet of 192 MiB, each in virtual time")
	}
	const size, raw = 96 << 20, "/porchlight/raw"
	f := newFilm(t, size)
	synctest.Test(t, func(t *testing.T) {
		nw := &simnet.Simnet{LatencyFunc: simnet.StaticLatency(25 * time.Millisecond)}
		nw.Start()
		home := machine(nw, "1.0.0.2", 100e6)
		_, key, _ := ed25519.GenerateKey(rand.Reader)
		h, err := host.New(host.Config{Key: key, Role: host.Requester, Listen: []string{"/ip4/1.0.0.1/udp/8000/quic-v1"}, Network: machine(nw, "1.0.0.1", 1e9)})
		if err != nil {
			t.Fatal(err)
		}
		v := newVault(f)
		stop, err := Serve(h, v, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		h.Libp2p().SetStreamHandler(raw, func(s network.Stream) {
			if n, _ := io.Copy(io.Discard, s); n == size {
				s.Write([]byte{1})
			}
			s.Close()
		})

		began := time.Now()
		if err := rawQUIC(t.Context(), home, h.Addrs()[0], raw, f); err != nil {
			t.Fatal(err)
		}
		plain := time.Since(began)
		began = time.Now()
		if err := Send(t.Context(), SendConfig{Key: key, Addrs: h.Addrs(), Network: home}, Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting()); err != nil {
			t.Fatal(err)
		}
		ours := time.Since(began)
		t.Logf("96 MiB: raw stream %v (%.2f MB/s), delivery %v (%.2f MB/s), ratio %.3f", plain, size/1e6/plain.Seconds(),
			ours, size/1e6/ours.Seconds(), plain.Seconds()/ours.Seconds())
		if plain < 95*ours/100 {
			t.Errorf("a delivery took %v, a raw stream %v", ours, plain)
		}
		f.whole(t, v.shelf[f.root.String()])
		stop()
		h.Close()
		nw.Close()
		time.Sleep(time.Minute) // timers that libraries leave behind run out
	})
}

// rawQUIC sends the film's leaves without frames, and waits until the other side has read them.
func rawQUIC(ctx context.Context, n host.Network, addr, protocol string, f *film) error {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	c, err := newCaller(key, n)
	if err != nil {
		return err
	}
	defer c.close()
	tg, err := parseTarget(addr)
	if err != nil {
		return err
	}
	conn, err := c.dial(ctx, Timing{}.filled(), tg)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := conn.OpenStream(ctx)
	if err != nil {
		return err
	}
	if err := multistream.SelectProtoOrFail(protocol, s); err != nil {
		return err
	}
	buf := make([]byte, leafSize)
	for i := int64(0); i*leafSize < f.size; i++ {
		if _, err := s.Write(f.leafBytes(i, buf)); err != nil {
			return err
		}
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, s); n != 1 {
		return errors.Join(errors.New("the other side did not read it all"), err)
	}
	return nil
}
