package simnet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// An attacker is a steward whom homes and stewards list like any other. It takes connections, runs a program of its own
// in place of a node, and answers nobody who wants to catch up.
type attacker struct {
	addr  string
	start func(others []string)
	stop  func()
}

// An attack is an attacker's program: it joins the topic. leave undoes it.
type attack func(ctx context.Context, h *host.Host, topic string) (leave func() error, err error)

// silent follows the topic, so that its neighbours count on it, and hands on nothing.
func silent(ctx context.Context, h *host.Host, topic string) (leave func() error, err error) {
	t, err := gossip.Join(ctx, h, topic, func(string, []byte) gossip.Verdict { return gossip.Ignore })
	if err != nil {
		return nil, err
	}
	return t.Close, nil
}

// junk hands on nothing. In place of each request that it hears of it sends a hundred changed copies, half of them at once, before most of
// its neighbours have the true one, and half of them later. Those that anybody can tell to be forged come last, as its neighbours stop
// listening after a few.
func junk(ctx context.Context, h *host.Host, topic string) (leave func() error, err error) {
	heard := make(chan []byte, 16)
	t, err := gossip.Join(ctx, h, topic, func(from string, msg []byte) gossip.Verdict {
		if from == h.ID() {
			return gossip.Accept
		}
		select {
		case heard <- bytes.Clone(msg):
		default:
		}
		return gossip.Ignore
	})
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { // until ctx ends
		defer close(done)
		known := map[string]bool{} // copies are of the first message, not of other attackers' copies
		for {
			select {
			case <-ctx.Done():
				return
			case msg := <-heard:
				asked, ok := requestIn(msg)
				if !ok || known[asked] {
					continue
				}
				known[asked] = true
				for i, v := range spoiled(msg) {
					wait := 3 * time.Millisecond
					if i == spoils/2 {
						wait = 5 * time.Second
					}
					select {
					case <-ctx.Done():
						return
					case <-time.After(wait):
						_ = t.Publish(ctx, v) // it has nobody to tell of a failure
					}
				}
			}
		}
	}()
	return func() error { <-done; return t.Close() }, nil
}

// spoils is how many changed copies are made of a message.
const spoils = 100

// requestIn is the request that a message carries.
func requestIn(msg []byte) (note string, ok bool) {
	b, err := docket.ParseBundle(msg)
	if err != nil {
		return "", false
	}
	kind, err := consent.Peek(b.Subject())
	return string(b.Subject()), err == nil && kind == request.Kind
}

// spoiled changes a docket's message: without the cosignatures, with one less, in another order, with lines of strangers, with a bit flipped.
func spoiled(msg []byte) (all [][]byte) {
	var b struct {
		Agency     string          `json:"agency"`
		Checkpoint string          `json:"checkpoint"`
		Entries    json.RawMessage `json:"entries"`
	}
	if json.Unmarshal(msg, &b) != nil {
		return nil
	}
	text, signatures, _ := strings.Cut(b.Checkpoint, "\n\n")
	lines := slices.Collect(strings.Lines(signatures))
	agency, lines := lines[0], lines[1:]
	add := func(lines ...string) {
		b.Checkpoint = text + "\n\n" + agency + strings.Join(lines, "")
		if v, err := consent.EncodeStrict(b); err == nil && !bytes.Equal(v, msg) {
			all = append(all, v)
		}
	}
	add()
	for i := range lines {
		add(slices.Delete(slices.Clone(lines), i, i+1)...)
		add(append(slices.Clone(lines[i:]), lines[:i]...)...)
	}
	const flips = 10
	for len(all) < spoils-flips {
		stranger := make([]byte, 4+8+ed25519.SignatureSize)
		rand.Read(stranger)
		stranger[4] = 0 // of a time that there is
		add(append(slices.Clone(lines), "— Mallory "+base64.StdEncoding.EncodeToString(stranger)+"\n")...)
	}
	for i := range flips {
		v := bytes.Clone(msg)
		v[len(v)*(i+1)/(flips+2)] ^= 1
		all = append(all, v)
	}
	return all
}

func (w *World) attacker(name string, link wire.LinkConfig, does attack) *attacker {
	l := w.Join(name, link)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	id, err := host.IDOf(key)
	w.must(err)
	listen := fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", l.IP(), port)
	s := &attacker{addr: listen + "/p2p/" + id, stop: func() {}}
	s.start = func(others []string) {
		h, err := host.New(host.Config{Key: key, Listen: []string{listen}, Role: host.Steward, Stewards: others,
			Log: slog.New(slog.DiscardHandler), Network: l.Network()})
		w.must(err)
		ctx, cancel := context.WithCancel(context.Background())
		leave, err := does(ctx, h, "porchlight/"+string(w.chain.Mesh()))
		w.must(err)
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		s.stop = func() {
			cancel()
			<-ended
			leave()
			h.Close()
		}
		w.tell(name, "starts, an attacker")
	}
	return s
}
