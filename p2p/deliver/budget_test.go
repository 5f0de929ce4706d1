package deliver

import (
	"context"
	"crypto/ed25519"
	"runtime"
	"sync"
	"testing"
	"time"
)

// atBlock is a vault whose every session stops at a block until it may go on.
type atBlock struct {
	*vault
	f       *film
	stopped chan struct{}
	goOn    chan struct{}
}

type stoppingShelf struct {
	*shelf
	v *atBlock
}

func (v *atBlock) Begin(context.Context, ed25519.PublicKey, string) (Sink, error) {
	return &stoppingShelf{newVault(v.f).shelf[v.f.root.String()], v}, nil
}

func (s *stoppingShelf) Write(i int64, leaf bool, data []byte) error {
	if i == 1 {
		s.v.stopped <- struct{}{}
		<-s.v.goOn
	}
	return s.shelf.Write(i, leaf, data)
}

// A delivery in full swing holds four blocks at the home and two at the requester, and what its connection has in flight; once it is over it
// holds nothing. The bounds are about twice what is measured.
func TestSessionBudget(t *testing.T) {
	const (
		sessions   = 4
		maxHeap    = 24 << 20 // bytes per session, both ends
		goroutines = 36
	)
	usage := func() (heap int64, routines int) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc), runtime.NumGoroutine()
	}
	for _, kind := range []string{"tcp", "quic-v1"} {
		t.Run(kind, func(t *testing.T) {
			f := newFilm(t, 24<<20)
			v := &atBlock{vault: newVault(f), f: f, stopped: make(chan struct{}, sessions), goOn: make(chan struct{})}
			h := requester(t, v, Limits{})
			heap, routines := usage()
			var running sync.WaitGroup
			for range sessions {
				cfg := sendConfig(h, kind)
				cfg.Timing = Timing{}
				running.Go(func() {
					if err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting()); err != nil {
						t.Error(err)
					}
				})
			}
			for range sessions {
				select {
				case <-v.stopped:
				case <-time.After(time.Minute):
					t.Fatal("a session never came to its second block")
				}
			}
			// Here the senders fill what windows and buffers take.
			var per int64
			for same := 0; same < 5; time.Sleep(50 * time.Millisecond) {
				now, _ := usage()
				if now = (now - heap) / sessions; now > per+per/50 {
					per, same = now, 0
				}
				same++
			}
			_, n := usage()
			n = (n - routines) / sessions
			t.Logf("per session, both ends: heap %.1f MiB, %d goroutines", float64(per)/(1<<20), n)
			if per > maxHeap || n > goroutines {
				t.Errorf("over the budget of %d MiB and %d goroutines", maxHeap>>20, goroutines)
			}
			close(v.goOn)
			running.Wait()
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
				left, n := usage()
				if left-heap < 4<<20 && n-routines < 8 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("once all is over %d KiB and %d goroutines are left", (left-heap)>>10, n-routines)
				}
			}
		})
	}
}
