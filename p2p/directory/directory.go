// Package directory is a private Kademlia DHT among stewards, requesters and observers. It holds two kinds of records, and
// believes nothing of either that does not verify by itself:
//
//	key                  value                                          newest is
//	/checkpoint/LOG      what vouches for a log's size: opaque here     what Config.Check ranks highest
//	/steward/PEER        a steward's public addresses, signed by its    the one that ends last
//	                     peer key, for a day (steward.go)
//
// The DHT is a shortcut, never a need: what it says is what gossip and catch-up would have said later, and a mesh works
// when it is empty, when nobody of it can be reached, and when all of its servers lie. Servers can keep a record back; they
// cannot make one, and an old one does not displace a newer one where the newer one is known.
//
// Stewards are servers; all others ask and put, and answer nobody. A home is neither: Open refuses it. The library that
// does the work (go-libp2p-kad-dht) stays behind this package's few functions, so that another can replace it.
//
// # Limits
//
// A stream carries one question and one answer (door.go). A server takes no question of more than 20 KiB, no more than 32 at
// once and 4 of one peer, and of one peer 600 at first and then 2 in a second; it keeps 256 checkpoints and 512 steward
// records, in memory. Who asks takes no answer of more than 128 KiB and waits ten seconds for one of them, and half a minute
// for all of a search.
//
// Nothing about a peer that is no server is handed on: to look for a home's id finds nothing, whether or not the server that
// is asked knows an address of it. Private addresses are neither told nor taken in, except in a mesh of one local network.
//
// The library's filter against many servers of one network (/16) is off: stewards of one town have one provider, and it would
// leave them without each other. Whoever runs many servers can thus hide what the DHT knows, which is what catching up is for.
package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/routing"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/sync/errgroup"

	p2phost "github.com/porchlight-mesh/porchlight/p2p/host"
)

// Protocol is the libp2p protocol id. The library adds the part after the prefix.
const (
	prefix   = protocol.ID("/porchlight")
	Protocol = prefix + "/kad/1.0.0"
)

// MaxValue is the most bytes of a checkpoint's value.
const MaxValue = 16 << 10

const (
	searchTime = 30 * time.Second // for one Put, Newest or Steward
	keepFor    = 36 * time.Hour   // a record that nobody puts again
)

// The errors of a search that ended well. Neither says that there is no such record.
var (
	ErrAlone = errors.New("directory: no server of it is known yet")
	ErrNone  = errors.New("directory: no server that answered has such a record")
)

// Config says what a directory goes by.
type Config struct {
	// Check verifies a checkpoint of a log and ranks it: of two the larger is newer. It is asked from many goroutines, of
	// whatever strangers send, so it must be quick and must not wait for the network. An error refuses the value.
	Check func(log string, value []byte) (rank int64, err error)
	// LAN says that the mesh is one of a local network, whose addresses are private ones.
	LAN bool
}

// Directory is an open DHT.
type Directory struct {
	h    host.Host
	cfg  Config
	log  *slog.Logger
	now  func() time.Time
	role p2phost.Role
	dht  *dht.IpfsDHT
	ask  *pb.ProtocolMessenger
	door *door

	ctx    context.Context // of streams that are served
	cancel context.CancelFunc
}

// Open joins the directory over a host: as a server with a steward's, else as one who asks. A home's host is refused. It
// runs until Close.
func Open(h *p2phost.Host, cfg Config) (*Directory, error) {
	if h.Role() == p2phost.Home {
		return nil, errors.New("directory: a home never speaks it")
	}
	if cfg.Check == nil {
		return nil, errors.New("directory: nothing given to verify checkpoints by")
	}
	d := &Directory{h: h.Libp2p(), cfg: cfg, log: h.Log(), now: time.Now, role: h.Role(), door: newDoor()}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	mode := dht.ModeClient
	if d.role == p2phost.Steward {
		mode = dht.ModeServer
	}
	send := &sender{d.h}
	var err error
	if d.ask, err = pb.NewProtocolMessenger(send); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	d.dht, err = dht.New(&discreet{d.h, d}, dht.ProtocolPrefix(prefix), dht.Mode(mode), dht.DisableProviders(),
		dht.Validator(record.NamespacedValidator{checkpoints: checkpointRecords{d}, stewards: stewardRecords{d}}),
		dht.Datastore(newShelf()), dht.MaxRecordAge(keepFor), dht.AddressFilter(d.tellable),
		dht.RoutingTableRefreshPeriod(30*time.Minute), dht.BootstrapPeers(),
		dht.WithCustomMessageSender(func(host.Host, []protocol.ID) pb.MessageSenderWithDisconnect { return send }))
	if err != nil {
		d.cancel()
		return nil, fmt.Errorf("directory: open: %w", err)
	}
	return d, nil
}

// Close leaves the directory, and waits for those whose questions are being answered.
func (d *Directory) Close() error {
	d.h.RemoveStreamHandler(Protocol)
	d.cancel()
	d.door.shut()
	if err := d.dht.Close(); err != nil {
		return fmt.Errorf("directory: close: %w", err)
	}
	return nil
}

// Servers counts those this directory knows by now.
func (d *Directory) Servers() int { return d.dht.RoutingTable().Size() }

// Put stores a checkpoint with the servers that are nearest to the log, and looks whether one of them has it then: what they
// say to having taken it proves nothing. ErrAlone where there is none. A newer one that they have is as good.
func (d *Directory) Put(ctx context.Context, log string, value []byte) error {
	return d.put(ctx, "/"+checkpoints+"/"+log, value)
}

// Newest is the newest checkpoint of a log that the servers nearest to it have, verified. ErrAlone and ErrNone say that there
// was none to have.
func (d *Directory) Newest(ctx context.Context, log string) ([]byte, error) {
	return d.newest(ctx, "/"+checkpoints+"/"+log)
}

func (d *Directory) put(ctx context.Context, key string, value []byte) error {
	if err := d.dht.Validator.Validate(key, value); err != nil {
		return fmt.Errorf("directory: put %s: %w", key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	// It is kept here in any case, which is how a server begins to have it.
	searched := d.dht.PutValue(ctx, key, value)
	var near []peer.ID
	if searched == nil {
		near, searched = d.dht.GetClosestPeers(ctx, key)
	}
	for _, p := range d.connected() {
		if !slices.Contains(near, p) {
			near = append(near, p)
		}
	}
	if len(near) == 0 {
		return ErrAlone
	}
	has := make(chan bool, len(near)) // so that nobody waits to write to it
	d.each(ctx, near, func(ctx context.Context, p peer.ID) bool {
		got, _, err := d.ask.GetValue(ctx, p, key)
		if err != nil || !d.asGood(key, got.GetValue(), value) {
			if d.ask.PutValue(ctx, p, record.MakePutRecord(key, value)) != nil {
				return false
			}
			if got, _, err = d.ask.GetValue(ctx, p, key); err != nil || !d.asGood(key, got.GetValue(), value) {
				return false
			}
		}
		has <- true
		return true
	})
	if len(has) == 0 {
		return errors.Join(fmt.Errorf("directory: put %s: none of %d servers has it", key, len(near)), searched)
	}
	return nil
}

// each asks peers, a few at a time, until they have all answered, or one in the way that was hoped for.
func (d *Directory) each(ctx context.Context, peers []peer.ID, ask func(context.Context, peer.ID) (enough bool)) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.SetLimit(4)
	for _, p := range peers {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if ctx.Err() == nil && ask(ctx, p) {
				stop()
			}
			return nil
		})
	}
	_ = g.Wait() // no error is returned above
}

// connected are servers that this host is connected to, at most 16 of them. They are asked beside the search: whoever makes
// peer ids that are near to a log can crowd the search, and not push out the stewards that this node chose.
func (d *Directory) connected() (all []peer.ID) {
	for _, p := range d.h.Network().Peers() {
		if has, err := d.h.Peerstore().SupportsProtocols(p, Protocol); err == nil && len(has) > 0 {
			all = append(all, p)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), 16)]
}

// asGood says whether a value from elsewhere is that one or a newer one.
func (d *Directory) asGood(key string, got, put []byte) bool {
	if bytes.Equal(got, put) {
		return true
	}
	if d.dht.Validator.Validate(key, got) != nil {
		return false
	}
	first, err := d.dht.Validator.Select(key, [][]byte{got, put})
	return err == nil && first == 0
}

func (d *Directory) newest(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	near := d.connected()
	alone := len(near) == 0 && d.Servers() == 0
	found := make(chan []byte, len(near)+1)
	var direct sync.WaitGroup
	direct.Go(func() {
		d.each(ctx, near, func(ctx context.Context, p peer.ID) bool {
			if got, _, err := d.ask.GetValue(ctx, p, key); err == nil {
				found <- got.GetValue()
			}
			return false
		})
	})
	// Without a quorum: all that the search comes by are heard. What it has when time runs out counts too.
	best, err := d.dht.GetValue(ctx, key)
	direct.Wait()
	found <- best
	close(found)
	var all [][]byte
	for v := range found {
		if d.dht.Validator.Validate(key, v) == nil {
			all = append(all, v)
		}
	}
	switch {
	case len(all) > 0:
		i, err := d.dht.Validator.Select(key, all)
		if err != nil {
			return nil, fmt.Errorf("directory: look for %s: %w", key, err)
		}
		return all[i], nil
	case alone:
		return nil, ErrAlone
	case err == nil || errors.Is(err, routing.ErrNotFound) || ctx.Err() == nil:
		return nil, ErrNone
	}
	return nil, fmt.Errorf("directory: look for %s: %w", key, err)
}

// tellable leaves what may be said of where a server is, and be believed of it.
func (d *Directory) tellable(addrs []ma.Multiaddr) (out []ma.Multiaddr) {
	for _, a := range addrs {
		if d.cfg.LAN || manet.IsPublicAddr(a) {
			out = append(out, a)
		}
	}
	return out
}

const checkpoints, stewards = "checkpoint", "steward"

// checkpointRecords verifies values of /checkpoint/LOG.
type checkpointRecords struct{ d *Directory }

func (c checkpointRecords) rank(key string, value []byte) (int64, error) {
	_, log, err := record.SplitKey(key)
	if err != nil {
		return 0, err
	}
	if len(value) > MaxValue {
		return 0, fmt.Errorf("a checkpoint of %d bytes; the most is %d", len(value), MaxValue)
	}
	return c.d.cfg.Check(log, value)
}

func (c checkpointRecords) Validate(key string, value []byte) error {
	_, err := c.rank(key, value)
	return err
}

func (c checkpointRecords) Select(key string, values [][]byte) (int, error) {
	return highest(key, values, c.rank)
}

// highest picks the value of the highest rank, of equal ones the first in the order of bytes, so that all servers pick the same.
func highest(key string, values [][]byte, rank func(string, []byte) (int64, error)) (best int, err error) {
	best = -1
	var top int64
	var last error
	for i, v := range values {
		r, err := rank(key, v)
		if err != nil {
			last = err
			continue
		}
		if best < 0 || r > top || r == top && bytes.Compare(v, values[best]) < 0 {
			best, top = i, r
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("no value is good: %w", last)
	}
	return best, nil
}

// id reads the peer that a key names.
func id(key string) (peer.ID, error) {
	_, text, err := record.SplitKey(key)
	if err != nil {
		return "", err
	}
	p, err := peer.Decode(text)
	if err != nil || p.String() != text {
		return "", fmt.Errorf("%q is no peer id", text)
	}
	return p, nil
}
