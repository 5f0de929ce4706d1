package simnet

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/home"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// A carried stream is one that somebody who is on a path took: what came and went on it, as libp2p hands it over, below which
// nothing is in the clear but what the sender wrote so.
type carried struct {
	from  peer.ID // who opened it
	addr  string  // and the address that it came from
	mu    sync.Mutex
	bytes bytes.Buffer // both ways
	in    int64
}

type recorded struct {
	network.Stream
	c *carried
}

func (r recorded) Read(b []byte) (int, error) {
	n, err := r.Stream.Read(b)
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.bytes.Write(b[:n])
	r.c.in += int64(n)
	return n, err
}

func (r recorded) Write(b []byte) (int, error) {
	n, err := r.Stream.Write(b)
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.bytes.Write(b[:n])
	return n, err
}

// A diarist writes down the streams of one protocol that a node takes.
type diarist struct {
	mu      sync.Mutex
	streams []*carried
}

// writesDown puts a diarist between a node and the streams of a protocol that it serves.
func writesDown(w *World, h *host.Host, proto protocol.ID) *diarist {
	_, serve, err := h.Libp2p().Mux().Negotiate(&opening{in: *bytes.NewBufferString(token("/multistream/1.0.0") + token(string(proto)))})
	w.must(err)
	d := &diarist{}
	h.Libp2p().Mux().AddHandler(proto, func(p protocol.ID, st io.ReadWriteCloser) error {
		s := st.(network.Stream)
		c := &carried{from: s.Conn().RemotePeer(), addr: s.Conn().RemoteMultiaddr().String()}
		d.mu.Lock()
		d.streams = append(d.streams, c)
		d.mu.Unlock()
		return serve(p, recorded{s, c})
	})
	return d
}

// all are the streams so far.
func (d *diarist) all() []*carried {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]*carried(nil), d.streams...)
}

// opening is the beginning of a stream of some protocol. To negotiate it is to get hold of what the node serves such streams with.
type opening struct{ in bytes.Buffer }

func (o *opening) Read(b []byte) (int, error)  { return o.in.Read(b) }
func (o *opening) Write(b []byte) (int, error) { return len(b), nil }
func (o *opening) Close() error                { return nil }

// token is a word as multistream-select frames it.
func token(s string) string { return string(byte(len(s)+1)) + s + "\n" }

// A view is all that one observer can go through: texts by where they stand, amounts that it saw a home send, and amounts that came to
// the requester.
type view struct {
	texts map[string][]byte
	sent  map[string]int64 // by the home's name
	came  map[string]int64 // by what the observer calls it: a release, or a stream of the path
}

func newView() view { return view{map[string][]byte{}, map[string]int64{}, map[string]int64{}} }

// and is what two observers have who tell each other everything.
func (v view) and(o view) view {
	both := newView()
	for _, one := range []view{v, o} {
		for k, t := range one.texts {
			both.texts[k] = append(both.texts[k], t...)
		}
		for k, n := range one.sent {
			both.sent[k] = n
		}
		for k, n := range one.came {
			both.came[k] = n
		}
	}
	return both
}

// where says in which of its texts some word stands.
func (v view) where(words ...[]byte) (places []string) {
	for place, text := range v.texts {
		for _, word := range words {
			if bytes.Contains(text, word) {
				places = append(places, place)
				break
			}
		}
	}
	return places
}

// whose is the one amount among those that came to the requester which is nearest to what a home sent, where they differ by no more than a
// fifth: the forms of the network add so much. "" where nothing fits.
func (v view) whose(home string) string {
	sent, best, by := v.sent[home], "", 0.2
	for what, n := range v.came {
		if d := float64(sent-n) / float64(n); sent > 0 && d > -0.02 && d < by {
			best, by = what, d
		}
	}
	return best
}

// state is everything that a node keeps, wrote to its log, or knows of others.
func (v view) state(n *Node) {
	w := n.w
	w.must(filepath.WalkDir(n.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type()&fs.ModeSocket != 0 {
			return err
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // of the moment only
		}
		v.texts["the folder of "+n.Name] = append(v.texts["the folder of "+n.Name], b...)
		return err
	}))
	w.mu.Lock()
	var log []string
	for _, line := range w.told {
		if _, said, ok := strings.Cut(line, fmt.Sprintf("  %-10s | ", n.Name)); ok {
			log = append(log, said)
		}
	}
	w.mu.Unlock()
	v.texts["the log of "+n.Name] = []byte(strings.Join(log, "\n"))
	store := n.peer.Host().Libp2p().Peerstore()
	known := &bytes.Buffer{}
	for _, p := range store.Peers() {
		fmt.Fprintln(known, p, store.Addrs(p))
	}
	for _, c := range n.peer.Host().Libp2p().Network().Conns() {
		fmt.Fprintln(known, c.RemotePeer(), c.RemoteMultiaddr())
	}
	v.texts["the peers of "+n.Name] = known.Bytes()
}

// streams adds what a diarist wrote down: the texts of the first ones, and all amounts. homes are names by peer id; a stream from one of
// them is something that a home sent.
func (v view) streams(of string, d *diarist, first int, homes map[peer.ID]string) {
	for i, c := range d.all() {
		c.mu.Lock()
		what := fmt.Sprintf("stream %d of %s", i+1, of)
		if i < first {
			v.texts["the path at "+of] = append(v.texts["the path at "+of], fmt.Sprintf("%s %s\n%s\n", c.from, c.addr, c.bytes.Bytes())...)
		}
		if name, ok := homes[c.from]; ok {
			v.sent[name] += c.in
		} else {
			v.came[what] = c.in
		}
		c.mu.Unlock()
	}
}

// names are the forms in which a peer id may stand somewhere.
func names(id peer.ID) (all [][]byte) {
	all = [][]byte{[]byte(id.String()), []byte(id)}
	if key, err := id.ExtractPublicKey(); err == nil {
		if raw, err := key.Raw(); err == nil {
			all = append(all, raw, []byte(hex.EncodeToString(raw)))
		}
	}
	return all
}

// path is the guard and the second steward of an owner's answer, as the home keeps it.
func (o *Owner) path(a home.AnswerStatus) (guard, second *Node) {
	o.w.t.Helper()
	var kept home.Answer
	o.w.must(node.ReadJSON(filepath.Join(o.dir, "answers", a.ID, "answer.json"), &kept))
	for _, s := range o.w.Stewards {
		if s.id == kept.Guard {
			guard = s
		}
		if len(kept.Over) > 0 && s.id == kept.Over[len(kept.Over)-1] {
			second = s
		}
	}
	if guard == nil || second == nil {
		o.w.fail("%s has no path: %+v", o.Name, kept)
	}
	return guard, second
}

// address is a link's, as it stands in texts.
func address(l *wire.Link) []byte { return []byte(l.IP().String()) }
