package directory

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"
)

// The library takes messages of 4 MB from anybody, as many at once as there are streams, and tells whatever its host knows.
// What stands here is between it and the network on both sides.

const (
	maxQuestion = 20 << 10
	maxAnswer   = 128 << 10
	maxKey      = 128
	patience    = 10 * time.Second // for one question and its answer
	maxBusy     = 32               // questions answered at once
	maxBusyPeer = 4                // a search, a look at who is connected, and a refresh of the table go on beside each other
	burst       = 600              // questions of one peer; a server that comes to know the others asks a lot at first
	perSecond   = 2
	maxWatched  = 4096
)

// A door admits streams within what each peer may ask.
type door struct {
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	busy   int
	peers  map[peer.ID]*allowance
}

type allowance struct {
	busy int
	left float64
	at   time.Time
}

func newDoor() *door { return &door{peers: map[peer.ID]*allowance{}} }

func (d *door) enter(p peer.ID, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.peers[p]
	if a == nil {
		if len(d.peers) >= maxWatched {
			for q, a := range d.peers {
				if a.busy == 0 && now.Sub(a.at) > burst/perSecond*time.Second { // it may ask as much as anybody new
					delete(d.peers, q)
				}
			}
			if len(d.peers) >= maxWatched {
				return false
			}
		}
		a = &allowance{left: burst, at: now}
		d.peers[p] = a
	}
	a.left = min(burst, a.left+now.Sub(a.at).Seconds()*perSecond)
	a.at = now
	if d.closed || d.busy >= maxBusy || a.busy >= maxBusyPeer || a.left < 1 {
		return false
	}
	a.left--
	a.busy++
	d.busy++
	d.running.Add(1)
	return true
}

func (d *door) leave(p peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peers[p].busy--
	d.busy--
	d.running.Done()
}

// shut lets nobody in any more, and waits for those inside.
func (d *door) shut() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.running.Wait()
}

// admit puts the door before the library's handler.
func (d *Directory) admit(serve network.StreamHandler) network.StreamHandler {
	return func(st network.Stream) {
		p := st.Conn().RemotePeer()
		if st.Scope().SetService("porchlight.directory") != nil || !d.door.enter(p, time.Now()) {
			st.Reset()
			return
		}
		defer d.door.leave(p)
		stop := context.AfterFunc(d.ctx, func() { st.Reset() })
		defer stop()
		if st.SetDeadline(time.Now().Add(patience)) != nil {
			st.Reset()
			return
		}
		question, err := readMessage(st, maxQuestion)
		if err == nil {
			err = sound(question)
		}
		if err != nil {
			d.log.Debug("question refused", "peer", p.String(), "protocol", string(Protocol), "error", err)
			st.Reset()
			return
		}
		serve(&oneQuestion{st, bytes.NewReader(append(binary.AppendUvarint(nil, uint64(len(question))), question...))})
	}
}

// sound refuses a question that no directory asks.
func sound(question []byte) error {
	var m pb.Message
	if err := proto.Unmarshal(question, &m); err != nil {
		return fmt.Errorf("no message: %w", err)
	}
	switch m.GetType() {
	case pb.Message_FIND_NODE, pb.Message_GET_VALUE, pb.Message_PUT_VALUE, pb.Message_PING:
	default:
		return fmt.Errorf("a question of type %d", m.GetType())
	}
	if len(m.GetKey()) > maxKey || len(m.GetCloserPeers()) > 0 || len(m.GetProviderPeers()) > 0 {
		return errors.New("a question with a long key, or with peers in it")
	}
	return nil
}

// oneQuestion is a stream whose question was read.
type oneQuestion struct {
	network.Stream
	r *bytes.Reader
}

func (o *oneQuestion) Read(b []byte) (int, error) { return o.r.Read(b) }

// readMessage reads one message, its length before it.
func readMessage(r io.Reader, most int) ([]byte, error) {
	n, err := binary.ReadUvarint(oneByte{r})
	if err != nil {
		return nil, err
	}
	if n > uint64(most) {
		return nil, fmt.Errorf("a message that says %d bytes; the most is %d", n, most)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return b, err
}

type oneByte struct{ io.Reader }

func (o oneByte) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(o.Reader, b[:])
	return b[0], err
}

// A sender asks peers, one question on a stream of its own.
type sender struct{ h host.Host }

// SendRequest asks and waits for the answer.
func (s *sender) SendRequest(ctx context.Context, p peer.ID, question *pb.Message) (*pb.Message, error) {
	b, err := s.send(ctx, p, question, true)
	if err != nil {
		return nil, err
	}
	answer := new(pb.Message)
	if err := proto.Unmarshal(b, answer); err != nil {
		return nil, fmt.Errorf("directory: answer of %s: %w", p, err)
	}
	// The library looks into the record of such an answer without asking whether it has one.
	if question.GetType() == pb.Message_PUT_VALUE && answer.GetRecord() == nil {
		return nil, fmt.Errorf("directory: %s did not take a record", p)
	}
	return answer, nil
}

// SendMessage tells, and waits for nothing.
func (s *sender) SendMessage(ctx context.Context, p peer.ID, m *pb.Message) error {
	_, err := s.send(ctx, p, m, false)
	return err
}

// OnDisconnect has no stream to forget.
func (s *sender) OnDisconnect(context.Context, peer.ID) {}

func (s *sender) send(ctx context.Context, p peer.ID, question *pb.Message, waits bool) ([]byte, error) {
	b, err := proto.Marshal(question)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	st, err := s.h.NewStream(ctx, p, Protocol)
	if err != nil {
		return nil, fmt.Errorf("directory: open a stream to %s: %w", p, err)
	}
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	defer stop()
	var answer []byte
	if _, err = st.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...)); err == nil && waits {
		answer, err = readMessage(st, maxAnswer)
	}
	if err != nil {
		st.Reset()
		return nil, fmt.Errorf("directory: ask %s: %w", p, err)
	}
	_ = st.Close() // the answer is here; over QUIC an error where the server was first
	return answer, nil
}

// discreet is the host as the library gets to see it: its streams pass the door, its peerstore tells addresses of servers
// alone, and only such as may be told, and it keeps no connection for the library's sake: a stranger can choose a peer id
// that is near to this one's.
type discreet struct {
	host.Host
	d *Directory
}

// SetStreamHandler puts the door before a handler.
func (h *discreet) SetStreamHandler(p protocol.ID, serve network.StreamHandler) {
	h.Host.SetStreamHandler(p, h.d.admit(serve))
}

// ConnManager takes no wishes.
func (h *discreet) ConnManager() connmgr.ConnManager { return connmgr.NullConnMgr{} }

// Peerstore is the host's, with less in it.
func (h *discreet) Peerstore() peerstore.Peerstore {
	return &servers{h.Host.Peerstore(), h.d}
}

type servers struct {
	peerstore.Peerstore
	d *Directory
}

// PeerInfo is all that is told of a peer.
func (s *servers) PeerInfo(p peer.ID) peer.AddrInfo {
	info := peer.AddrInfo{ID: p}
	if has, err := s.SupportsProtocols(p, Protocol); err == nil && len(has) > 0 || p == s.d.h.ID() {
		info.Addrs = s.d.tellable(s.Peerstore.Addrs(p))
	}
	return info
}
