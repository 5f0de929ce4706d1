package attack

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
	"github.com/porchlight-mesh/porchlight/p2p/host"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// Turncoat behaves that long, and answers whoever catches up from it. Then it goes on listening, hands on nothing, and
// keeps open every stream on which it is asked.
func Turncoat(good time.Duration) Program {
	return func(ctx context.Context, h *host.Host, topic string) (func() error, error) {
		turns := time.Now().Add(good)
		b, err := keepBooks(ctx, h, func(consent.AgencyID) bool { return false })
		if err != nil {
			return nil, err
		}
		turned := make(chan struct{})
		go func() { // until ctx ends
			defer close(turned)
			select {
			case <-ctx.Done():
			case <-time.After(good):
			}
			b.close()
			stall(ctx, h, p2psync.Protocol)
		}()
		leave, err := judges(ctx, h, topic, func(_ string, msg []byte) gossip.Verdict {
			if time.Now().After(turns) {
				return gossip.Ignore
			}
			return plausible(msg)
		})
		return func() error { <-turned; return leave() }, err
	}
}

// Censor hands on everything but the requests of some agencies. Whoever catches up from it is told such an agency's
// docket as it was before its first request.
func Censor(of func(consent.AgencyID) bool) Program {
	return func(ctx context.Context, h *host.Host, topic string) (func() error, error) {
		b, err := keepBooks(ctx, h, of)
		if err != nil {
			return nil, err
		}
		leave, err := judges(ctx, h, topic, func(_ string, msg []byte) gossip.Verdict {
			if _, asks := RequestIn(msg); asks {
				if b, err := docket.ParseBundle(msg); err == nil && of(b.Agency()) {
					return gossip.Ignore
				}
			}
			return plausible(msg)
		})
		return func() error { b.close(); return leave() }, err
	}
}

// books are logs as peers tell them, taken in unchecked and told on. Those of censored agencies end before their first
// request.
type books struct {
	censored func(consent.AgencyID) bool
	syncer   *p2psync.Syncer
	ran      chan struct{}
	stop     context.CancelFunc

	mu     sync.Mutex
	told   map[string]book
	coming map[string][][]byte
}

type book struct {
	head    p2psync.Head
	entries [][]byte
}

func keepBooks(ctx context.Context, h *host.Host, censored func(consent.AgencyID) bool) (*books, error) {
	b := &books{censored: censored, ran: make(chan struct{}), told: map[string]book{}, coming: map[string][][]byte{}}
	var err error
	if b.syncer, err = p2psync.Serve(h, b, b); err != nil {
		return nil, err
	}
	ctx, b.stop = context.WithCancel(ctx)
	go func() { // until close
		defer close(b.ran)
		b.syncer.Run(ctx, 5*time.Second)
	}()
	return b, nil
}

func (b *books) close() {
	b.stop()
	<-b.ran
	b.syncer.Close()
}

// Heads tells what is in the books.
func (b *books) Heads() (heads []p2psync.Head) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.told {
		heads = append(heads, l.head)
	}
	return heads
}

// Entries reads from them.
func (b *books) Entries(log string, from int64, most int) ([][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.told[log].entries
	if from < 0 || from > int64(len(all)) {
		return nil, errors.New("no such entry")
	}
	return all[from:min(from+int64(most), int64(len(all)))], nil
}

// Want asks for the whole of every log that is longer, or another one of the same length.
func (b *books) Want(remote []p2psync.Head) (want []p2psync.Range) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range remote {
		if l := b.told[h.Log]; h.Size > l.head.Size || h.Size == l.head.Size && string(h.Note) != string(l.head.Note) {
			want = append(want, p2psync.Range{Log: h.Log, From: 0, To: h.Size})
		}
	}
	return want
}

// Take keeps what came once the head is reached.
func (b *books) Take(log string, from int64, entries [][]byte, head p2psync.Head) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := append(b.coming[log][:min(from, int64(len(b.coming[log]))):from], entries...)
	b.coming[log] = all
	if int64(len(all)) < head.Size {
		return nil
	}
	delete(b.coming, log)
	if b.censored(consent.AgencyID(log)) && slices.ContainsFunc(all, isRequest) {
		return nil
	}
	b.told[log] = book{head, all}
	return nil
}

func isRequest(entry []byte) bool {
	kind, err := consent.Peek(entry)
	return err == nil && kind == request.Kind
}

// stall takes streams of a protocol and says nothing on them until ctx ends.
func stall(ctx context.Context, h *host.Host, protocols ...string) {
	for _, p := range protocols {
		h.Libp2p().SetStreamHandler(protocol.ID(p), func(st network.Stream) {
			<-ctx.Done()
			st.Reset()
		})
	}
}
