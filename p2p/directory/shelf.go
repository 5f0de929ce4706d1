package directory

import (
	"context"
	"fmt"
	"strings"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// room is how many records of a kind a shelf keeps, and of how many bytes each, with the library's own around the value.
var room = map[string]struct{ records, bytes int }{
	checkpoints: {256, MaxValue + 1<<10},
	stewards:    {512, maxSteward + 1<<10},
}

// A shelf is the library's datastore, in memory and bounded. Where a kind is full a record of it, whichever, makes place for a
// new one: a stranger can make steward records without end, and is then no worse to the true ones than to his own, which come
// again within the hour. Checkpoints are of the charter's agencies alone and do not fill their place.
type shelf struct {
	mu   sync.Mutex
	kind map[string]map[ds.Key][]byte
}

func newShelf() *shelf { return &shelf{kind: map[string]map[ds.Key][]byte{}} }

func kindOf(k ds.Key) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(k.String(), "/"), "/")
	return kind
}

// Put keeps a record.
func (s *shelf) Put(_ context.Context, k ds.Key, value []byte) error {
	kind := kindOf(k)
	room, ok := room[kind]
	if !ok || len(value) > room.bytes {
		return fmt.Errorf("directory: a record of kind %.20q with %d bytes is not kept", kind, len(value))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.kind[kind]
	if all == nil {
		all = map[ds.Key][]byte{}
		s.kind[kind] = all
	}
	if _, ok := all[k]; !ok && len(all) >= room.records {
		for other := range all { // in no order
			delete(all, other)
			break
		}
	}
	all[k] = append([]byte(nil), value...)
	return nil
}

// Get reads a record.
func (s *shelf) Get(_ context.Context, k ds.Key) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.kind[kindOf(k)][k]
	if !ok {
		return nil, ds.ErrNotFound
	}
	return append([]byte(nil), v...), nil
}

// Has says whether there is one.
func (s *shelf) Has(ctx context.Context, k ds.Key) (bool, error) {
	_, err := s.Get(ctx, k)
	return err == nil, nil
}

// GetSize is its size in bytes.
func (s *shelf) GetSize(ctx context.Context, k ds.Key) (int, error) {
	v, err := s.Get(ctx, k)
	if err != nil {
		return -1, err
	}
	return len(v), nil
}

// Delete forgets one.
func (s *shelf) Delete(_ context.Context, k ds.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kind[kindOf(k)], k)
	return nil
}

// Query lists what there is; the library looks for what is too old.
func (s *shelf) Query(_ context.Context, q query.Query) (query.Results, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []query.Entry
	for _, kind := range s.kind {
		for k, v := range kind {
			all = append(all, query.Entry{Key: k.String(), Value: append([]byte(nil), v...), Size: len(v)})
		}
	}
	return query.NaiveQueryApply(q, query.ResultsWithEntries(q, all)), nil
}

// Batch is several at once.
func (s *shelf) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(s), nil }

// Sync and Close have nothing to do in memory.
func (s *shelf) Sync(context.Context, ds.Key) error { return nil }

// Close does nothing.
func (s *shelf) Close() error { return nil }
