// Package sync fetches what gossip missed. It pulls only: a node asks a peer how long that peer's logs are, and fetches
// the entries it lacks. It knows nothing of what a log holds; the node behind Source and Sink does.
//
// # Protocol
//
// One stream of /porchlight/sync/1 carries one pull; C is the client that lacks, S the server that has:
//
//	C → S  1 ask      empty
//	S → C  2 heads    count (2 bytes), then for each: log name, size (8 bytes), note
//	C → S  3 want     log name, from (8 bytes), to (8 bytes), with from < to
//	S → C  4 entries  count (2 bytes), then each entry; consecutive from `from`, none when S has nothing to give
//	(want and entries repeat)
//	C closes.
//
// A frame is its kind (1 byte), a length (4 bytes) and that many bytes; numbers are big endian. A log name is a length
// (1 byte, not 0) and UTF-8 text; a note a length (2 bytes) and bytes; an entry a length (4 bytes) and bytes. Nothing
// may follow. The limits are the constants below; a frame over one is refused before memory is taken for it. A server
// whose heads do not fit in one frame tells a random choice of them.
//
// # Behaviour
//
// A server gives one stream at a time to a peer and no more than Burst in a minute, each for at most two minutes and
// MaxPull bytes. When all its streams are taken, the one on which nothing moved for the longest gives way to a newcomer,
// so that peers who read slowly or not at all keep nobody out. A client stops after the same time and bytes and goes on
// at the next pull. Errors of Sink.Take are taken for the peer's fault, unless they wrap ErrOwn: they end the pull and
// are logged as such.
//
// Strangers can connect to a node in any number and let its pulls wait. So pulls give way to those that are due as a
// server's streams do; and those from the peers it chose itself (host.Host.Chosen) wait for no others, are tried again
// soon when they fail, and are every other one of the regular pulls.
package sync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	gosync "sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Protocol is the libp2p protocol id.
const Protocol = "/porchlight/sync/1"

// Limits of the protocol.
const (
	MaxHeads      = 64 << 10 // bytes of a heads frame
	MaxNote       = 16 << 10 // bytes of one head's note
	MaxEntry      = 64 << 10 // bytes of one entry
	MaxBatch      = 1 << 20  // bytes of an entries frame
	MaxBatchCount = 256      // entries in a frame
	MaxPull       = 64 << 20 // bytes of entries in one pull
	Burst         = 20       // pulls a peer may start in a minute
	maxStreams    = 16       // served at once
	maxPulls      = 8        // of our own at once from strangers, and as many from chosen peers
	maxAgain      = 4        // times that a failed pull from one of these is tried again
	maxWants      = 4096     // answered on one stream
	maxWatched    = 4096     // peers whose rate is remembered
)

// Head is the newest state of one append-only log at a peer.
type Head struct {
	Log  string // 1 to 255 bytes
	Size int64  // in entries
	Note []byte // what vouches for the size: a checkpoint, a hash
	Peer string // whose head it is; set for a Sink, not told to others
}

// Range asks for entries [From, To) of a log.
type Range struct {
	Log      string
	From, To int64
}

// Source is what this node serves to others. It is called from many goroutines.
type Source interface {
	Heads() []Head
	// Entries returns at most max entries from index from on; fewer or none is fine. Entries over MaxEntry, and those
	// that would make a batch of more than MaxBatch, are cut off together with what follows them.
	Entries(log string, from int64, max int) ([][]byte, error)
}

// Sink takes in what was fetched. The calls of one Syncer come one at a time.
type Sink interface {
	// Want says which ranges of a peer's logs this node lacks. A range beyond the peer's own size is not asked for.
	Want(remote []Head) []Range
	// Take checks and takes in consecutive entries, which it may keep; head is the peer's head of that log. An error
	// ends the pull and is held against the peer, unless it wraps ErrOwn.
	Take(log string, from int64, entries [][]byte, head Head) error
}

// Syncer serves and pulls.
type Syncer struct {
	h    *host.Host
	src  Source
	sink Sink

	frameTime, pullTime time.Duration
	maxPull             int64

	ctx     context.Context
	cancel  context.CancelFunc
	running gosync.WaitGroup
	fresh   chan turn     // newly connected peers, for Run
	chosen  chan turn     // those of them that this node chose
	hurry   chan struct{} // makes the next regular pull due
	sinkMu  gosync.Mutex

	mu      gosync.Mutex
	closed  bool
	pulling map[peer.ID]*pulling
	served  map[peer.ID]*rate
	streams int
}

// pulling is a pull under way.
type pulling struct {
	chosen bool
	moved  time.Time
	cut    func()
}

// A turn is a peer to pull from, and how often that failed.
type turn struct {
	peer   string
	failed int
}

// ErrOwn marks an error of Sink.Take that is no fault of the peer's, such as a full disk.
var ErrOwn = errors.New("sync: this node cannot take entries in")

// ErrBusy is returned by Pull while another pull from that peer is under way.
var ErrBusy = errors.New("sync: a pull from this peer is under way")

// Serve starts answering pulls. sink may be nil for a node that only serves, and src for one that only pulls.
func Serve(h *host.Host, src Source, sink Sink) (*Syncer, error) {
	if src == nil && sink == nil {
		return nil, errors.New("sync: neither a source nor a sink given")
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Syncer{h: h, src: src, sink: sink, frameTime: 30 * time.Second, pullTime: 2 * time.Minute, maxPull: MaxPull,
		ctx: ctx, cancel: cancel, fresh: make(chan turn, 64), chosen: make(chan turn, 64), hurry: make(chan struct{}, 1),
		pulling: map[peer.ID]*pulling{}, served: map[peer.ID]*rate{}}
	if src != nil {
		h.Libp2p().SetStreamHandler(Protocol, s.serve)
	}
	if sink != nil {
		h.OnPeer(func(id string) { s.queue(turn{peer: id}) })
	}
	return s, nil
}

// Run pulls from each new peer, and from one random peer every interval (0 means 5 minutes), until ctx ends.
func (s *Syncer) Run(ctx context.Context, every time.Duration) error {
	if s.sink == nil {
		return errors.New("sync: there is no sink to pull into")
	}
	if every <= 0 {
		every = 5 * time.Minute
	}
	var queues gosync.WaitGroup
	defer queues.Wait() // every pull has ended before Run does
	queues.Go(func() { s.pulls(ctx, s.fresh, false) })
	queues.Go(func() { s.pulls(ctx, s.chosen, true) })
	// The first one comes soon: what passed between the pull from the first peer and the moment at which gossip began to reach this node
	// came by neither.
	wait := min(every/2, firstPull/2) + rand.N(min(every, firstPull))
	for strangers := false; ; strangers = !strangers {
		select {
		case <-ctx.Done():
			return nil
		case <-s.hurry:
		case <-time.After(wait):
		}
		// Half to one and a half of the interval, so that a mesh does not fall into step.
		wait = every/2 + rand.N(every)
		if id := s.anyPeer(strangers); id != "" {
			s.queue(turn{peer: id})
		}
	}
}

// firstPull is about how long after its start a node pulls for the first time from any peer, beside those that it connects to.
const firstPull = 8 * time.Second

// Soon makes Run pull from a peer.
func (s *Syncer) Soon(peerID string) { s.queue(turn{peer: peerID}) }

// Hurry makes Run pull from a peer now, a chosen one where there is one, as something may have been missed.
func (s *Syncer) Hurry() {
	select {
	case s.hurry <- struct{}{}:
	default:
	}
}

func (s *Syncer) queue(t turn) {
	to := s.fresh
	if s.h.Chosen(t.peer) {
		to = s.chosen
	}
	select {
	case to <- t:
	default: // so many at once that the regular pulls will do
	}
}

// pulls works a queue off, some at once, until ctx ends.
func (s *Syncer) pulls(ctx context.Context, queue <-chan turn, chosen bool) {
	slots := make(chan struct{}, maxPulls)
	var running gosync.WaitGroup
	defer running.Wait()
	for {
		var t turn
		select {
		case <-ctx.Done():
			return
		case t = <-queue:
		}
		for in := false; !in; {
			select {
			case <-ctx.Done():
				return
			case slots <- struct{}{}:
				in = true
			case <-time.After(idleTime / 4):
				s.giveWay(chosen, time.Now())
			}
		}
		running.Go(func() {
			defer func() { <-slots }()
			err := s.Pull(ctx, t.peer)
			if err == nil || ctx.Err() != nil || errors.Is(err, ErrBusy) {
				return
			}
			s.h.Log().Debug("pull ended early", "peer", t.peer, "error", err)
			if t.failed++; t.failed <= maxAgain && s.h.Chosen(t.peer) {
				time.AfterFunc(time.Second<<t.failed+rand.N(time.Second), func() { s.queue(t) })
			}
		})
	}
}

// giveWay ends the pull on which nothing moved for the longest, if that is long.
func (s *Syncer) giveWay(chosen bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle *pulling
	for _, p := range s.pulling {
		if p.chosen == chosen && now.Sub(p.moved) > idleTime && (idle == nil || p.moved.Before(idle.moved)) {
			idle = p
		}
	}
	if idle != nil {
		idle.cut()
	}
}

// anyPeer draws one that can be pulled from: among the chosen ones if there are any, or else among all.
func (s *Syncer) anyPeer(strangers bool) string {
	var ids, chosen []string
	for _, p := range s.h.Peers() {
		if !s.h.Mesh(p.ID) {
			continue
		}
		if id, err := peer.Decode(p.ID); err == nil {
			if sup, _ := s.h.Libp2p().Peerstore().SupportsProtocols(id, Protocol); len(sup) > 0 {
				ids = append(ids, p.ID)
				if s.h.Chosen(p.ID) {
					chosen = append(chosen, p.ID)
				}
			}
		}
	}
	if len(chosen) > 0 && !strangers {
		ids = chosen
	}
	if len(ids) == 0 {
		return ""
	}
	return ids[rand.IntN(len(ids))]
}

// Pull fetches from a connected peer what it has and this node lacks, within the limits of one pull.
func (s *Syncer) Pull(ctx context.Context, peerID string) error {
	if s.sink == nil {
		return errors.New("sync: there is no sink to pull into")
	}
	p, err := peer.Decode(peerID)
	if err != nil {
		return fmt.Errorf("sync: peer id %q: %w", peerID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.pullTime)
	defer cancel()
	s.mu.Lock()
	if s.closed || s.pulling[p] != nil {
		s.mu.Unlock()
		return ErrBusy
	}
	now := &pulling{s.h.Chosen(peerID), time.Now(), cancel}
	s.pulling[p] = now
	s.running.Add(1)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pulling, p)
		s.mu.Unlock()
		s.running.Done()
	}()
	defer context.AfterFunc(s.ctx, cancel)()
	st, err := s.h.Libp2p().NewStream(network.WithNoDial(ctx, "sync"), p, Protocol)
	if err != nil {
		return fmt.Errorf("sync: open a stream to %s: %w", peerID, err)
	}
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	defer stop()
	moved := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		now.moved = time.Now()
	}
	if err := s.pull(&wire{moving{st, moved}, s.frameTime}, st.Conn().RemotePeer().String()); err != nil {
		st.Reset()
		var bad *badPeer
		if errors.As(err, &bad) && ctx.Err() == nil {
			s.h.Misbehaved(peerID, Protocol, err)
		}
		return fmt.Errorf("sync: pull from %s: %w", peerID, err)
	}
	return st.Close()
}

// badPeer marks an error that is the other side's fault.
type badPeer struct{ error }

func (b *badPeer) Unwrap() error { return b.error }

func blame(format string, args ...any) error { return &badPeer{fmt.Errorf(format, args...)} }

func (s *Syncer) pull(w *wire, from string) error {
	if err := w.send(kindAsk, nil); err != nil {
		return err
	}
	b, err := w.expect(kindHeads)
	if err != nil {
		return err
	}
	heads, err := decodeHeads(b)
	if err != nil {
		return err
	}
	byLog := map[string]Head{}
	for i, h := range heads {
		h.Peer = from
		heads[i] = h
		if _, twice := byLog[h.Log]; twice {
			return blame("head of log %q told twice", h.Log)
		}
		byLog[h.Log] = h
	}
	s.sinkMu.Lock()
	ranges := s.sink.Want(heads)
	s.sinkMu.Unlock()
	var got int64
	for _, r := range ranges {
		head, ok := byLog[r.Log]
		r.To = min(r.To, head.Size)
		for ok && r.From >= 0 && r.From < r.To {
			if got >= s.maxPull {
				return nil
			}
			if err := w.send(kindWant, encodeWant(r)); err != nil {
				return err
			}
			b, err := w.expect(kindEntries)
			if err != nil {
				return err
			}
			entries, err := decodeEntries(b)
			if err != nil {
				return err
			}
			if int64(len(entries)) > r.To-r.From {
				return blame("%d entries of log %q where %d were asked for", len(entries), r.Log, r.To-r.From)
			}
			if len(entries) == 0 {
				break
			}
			s.sinkMu.Lock()
			err = s.sink.Take(r.Log, r.From, entries, head)
			s.sinkMu.Unlock()
			if errors.Is(err, ErrOwn) {
				return err
			}
			if err != nil {
				return blame("entries of log %q from %d on were refused: %w", r.Log, r.From, err)
			}
			r.From += int64(len(entries))
			got += int64(len(b))
		}
	}
	return nil
}

// Close stops answering, ends pulls under way and waits for them.
func (s *Syncer) Close() error {
	if s.src != nil {
		s.h.Libp2p().RemoveStreamHandler(Protocol)
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	return nil
}
