//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/porchlight-mesh/porchlight/p2p/deliver"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

const rawProtocol = "/porchlight/speed-raw/1"

// child runs one end of a turn: it prints one line of JSON when it is ready, and another at the end.
//
//	receive IP OUT LIST        ready: its addresses; ends when its input does
//	send    HOW LIST DATA ADDR ends when everything arrived; HOW is ours or raw
//	https   DATA CERT          serves the file; ready: its URL; ends when its input does
func child(args []string) error {
	if path := os.Getenv("SPEED_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	switch {
	case len(args) == 4 && args[0] == "receive":
		return receive(args[1], args[2], args[3])
	case len(args) == 5 && args[0] == "send":
		return send(args[1], args[2], args[3], args[4])
	case len(args) == 3 && args[0] == "https":
		return serveHTTPS(args[1], args[2])
	}
	return fmt.Errorf("unknown child %q", args)
}

func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// used is what this process has used so far.
func used() side {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return side{}
	}
	return side{CPU: float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9, RSS: peakRSS("self")}
}

// since says what was used after before.
func (s side) since(before side) side { return side{CPU: s.CPU - before.CPU, RSS: s.RSS} }

func newKey() ed25519.PrivateKey {
	_, key, _ := ed25519.GenerateKey(rand.Reader) // crypto/rand never fails
	return key
}

func receive(ip, out, list string) error {
	clips, err := readClips(list)
	if err != nil {
		return err
	}
	h, err := host.New(host.Config{Key: newKey(), Role: host.Requester, Listen: []string{"/ip4/" + ip + "/tcp/0", "/ip4/" + ip + "/udp/0/quic-v1"}})
	if err != nil {
		return err
	}
	defer h.Close()
	stop, err := deliver.Serve(h, &requester{out, clips}, deliver.Limits{})
	if err != nil {
		return err
	}
	defer stop()
	h.Libp2p().SetStreamHandler(rawProtocol, func(s network.Stream) {
		if err := receiveRaw(s, out); err != nil {
			fmt.Fprintln(os.Stderr, "speed: raw stream:", err)
			s.Reset()
		}
	})
	before := used()
	if err := say(h.Addrs()); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	return say(used().since(before))
}

// receiveRaw writes what comes to the same sink as a delivery, in pieces of the same size, and says when it is done.
func receiveRaw(s network.Stream, dir string) error {
	to, err := newSink(dir, clip{Root: "raw"})
	if err != nil {
		return err
	}
	buf := make([]byte, leafSize)
	for i := int64(0); err == nil; i++ {
		var n int
		if n, err = (fill{s}).Read(buf); n > 0 {
			err = errors.Join(to.Write(i, true, buf[:n]), err)
		}
	}
	if cerr := to.Close(); !errors.Is(err, io.EOF) || cerr != nil {
		return errors.Join(err, cerr)
	}
	if _, err := s.Write([]byte{1}); err != nil {
		return err
	}
	return s.Close()
}

// fill reads as much as there is room for, so that the writes are large.
type fill struct{ io.Reader }

func (f fill) Read(b []byte) (int, error) {
	n, err := io.ReadFull(f.Reader, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

func send(how, list, data, addr string) error {
	clips, err := readClips(list)
	if err != nil {
		return err
	}
	f, err := os.Open(data)
	if err != nil {
		return err
	}
	defer f.Close()
	var total int64
	var offer deliver.Offer
	offer.Grant = []byte("grant")
	for _, c := range clips {
		total += c.Size
		offer.Releases = append(offer.Releases, deliver.Release{Root: c.Root, Blocks: source{c, f}, Manifest: []byte("manifest"),
			Key: func() []byte { return []byte("key") }})
	}
	before, began := used(), time.Now()
	switch how {
	case "ours":
		err = deliver.Send(context.Background(), deliver.SendConfig{Key: newKey(), Addrs: []string{addr}}, offer,
			deliver.Hooks{Accepted: func([]byte) error { return nil }, Received: func(string, []byte) error { return nil }})
	case "raw":
		err = sendRaw(addr, f)
	}
	if err != nil {
		return err
	}
	return say(turn{Bytes: total, Seconds: time.Since(began).Seconds(), Sender: used().since(before)})
}

// sendRaw sends the file over a stream of libp2p as it comes: its own transports, TLS first as deliver has it, yamux.
func sendRaw(addr string, f io.Reader) error {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return err
	}
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		return err
	}
	defer h.Close()
	ctx := context.Background()
	if err := h.Connect(ctx, *info); err != nil {
		return err
	}
	s, err := h.NewStream(ctx, info.ID, rawProtocol)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{f}, make([]byte, leafSize)); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	_, err = io.ReadFull(s, make([]byte, 1))
	return err
}

// requester takes whatever it is sent, as deliver.Receiver.
type requester struct {
	dir   string
	clips []clip
}

func (r *requester) Grant(context.Context, ed25519.PublicKey, []byte) ([]byte, []string, error) {
	var roots []string
	for _, c := range r.clips {
		roots = append(roots, c.Root)
	}
	return []byte("acceptance"), roots, nil
}

func (r *requester) Manifest(context.Context, ed25519.PublicKey, string, []byte) error { return nil }

func (r *requester) Begin(_ context.Context, _ ed25519.PublicKey, root string) (deliver.Sink, error) {
	i := slices.IndexFunc(r.clips, func(c clip) bool { return c.Root == root })
	return newSink(r.dir, r.clips[i])
}

func (r *requester) Complete(_ context.Context, _ ed25519.PublicKey, root string) ([]byte, error) {
	base := filepath.Join(r.dir, root)
	return []byte("receipt"), errors.Join(os.Rename(base+".part", base+".sealed"), syncDir(r.dir))
}

func (r *requester) Key(context.Context, ed25519.PublicKey, string, []byte) error { return nil }

func (r *requester) Word(context.Context, ed25519.PublicKey, []byte) ([]byte, error) { return nil, nil }

// serveHTTPS serves one file under a certificate of its own, which it writes to cert.
func serveHTTPS(data, cert string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "speed"}, NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	before := used()
	if err := say("https://" + l.Addr().String() + "/"); err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, data) }),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	go s.ServeTLS(l, "", "")
	defer s.Close()
	io.Copy(io.Discard, os.Stdin)
	return say(used().since(before))
}

// peakRSS reads VmHWM of a process, in bytes; 0 when it is gone.
func peakRSS(pid string) int64 {
	f, err := os.Open("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			var kb int64
			fmt.Sscan(rest, &kb)
			return kb << 10
		}
	}
	return 0
}
