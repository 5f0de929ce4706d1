package docket_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
)

const benchmarked = 100_000 // entries of the docket

// decade is a docket of many requests, signed once for all benchmarks of a run.
var decade = sync.OnceValue(func() shelf {
	notes := make(shelf, benchmarked)
	notes[0] = mustSign(enrol(kim, RoleOfficer, moss, 0), moss)
	var g sync.WaitGroup
	for core := range runtime.GOMAXPROCS(0) {
		g.Go(func() {
			for i := 1 + core; i < len(notes); i += runtime.GOMAXPROCS(0) {
				notes[i] = request(fmt.Sprint("case ", i), kim, moss, i%1000)
			}
		})
	}
	g.Wait()
	return notes
})

// openDecade takes the signatures for granted: the tree, the officers and the requests are what is measured.
func openDecade(b *testing.B) *Log {
	b.Helper()
	notes := decade()
	l, err := trusting(notes).Open(police(), charter.Quotas{}, &notes, int64(len(notes)))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := l.SignCheckpoint(docketKey()); err != nil {
		b.Fatal(err)
	}
	l.Fresh()
	return l
}

// trusting has read the first request in the place of all.
func trusting(notes shelf) Library {
	m := Library{}
	for i, n := range notes {
		m.TakeFor(n, notes[min(i, 1)])
	}
	return m
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkAppend(b *testing.B) {
	l := openDecade(b)
	more := make([][]byte, b.N)
	for i := range more {
		more[i] = request(fmt.Sprint("another ", i), kim, moss, i%1000)
	}
	for b.ResetTimer(); len(more) > 0; more = more[1:] {
		if _, err := l.Append(more[0], nextDay()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignCheckpoint(b *testing.B) {
	l, k := openDecade(b), docketKey()
	for b.Loop() {
		if _, err := l.SignCheckpoint(k); err != nil {
			b.Fatal(err)
		}
	}
}

// The message for an entry, with its proofs.
func BenchmarkProveInclusion(b *testing.B) {
	l := openDecade(b)
	i := int64(0)
	for b.Loop() {
		if i = (i + 7919) % l.Size(); i == 0 {
			i++
		}
		if _, err := l.Bundle(i, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyInclusion(b *testing.B) {
	msg, err := openDecade(b).Bundle(benchmarked/2, nil)
	if err != nil {
		b.Fatal(err)
	}
	a := police()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		got, err := ParseBundle(msg)
		if err == nil {
			_, _, _, err = got.Verify(a)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProveConsistency(b *testing.B) {
	l := openDecade(b)
	i := int64(1)
	for b.Loop() {
		if _, err := l.Prove(i, l.Size()); err != nil {
			b.Fatal(err)
		}
		i = i%(l.Size()-8000) + 7919
	}
}

func BenchmarkVerifyConsistency(b *testing.B) {
	l, notes := openDecade(b), decade()
	older, err := Open(police(), charter.Quotas{}, &notes, 5000)
	if err != nil {
		b.Fatal(err)
	}
	proof, err := l.Prove(5000, l.Size())
	if err != nil {
		b.Fatal(err)
	}
	one, two := Checkpoint{police().ID(), 5000, older.Root()}, Checkpoint{police().ID(), l.Size(), l.Root()}
	for b.Loop() {
		if err := CheckConsistency(one, two, proof); err != nil {
			b.Fatal(err)
		}
	}
}

// Reading a docket anew, signatures and all, and what its log then holds in memory by the entry.
func BenchmarkOpen(b *testing.B) {
	notes := decade()
	for b.Loop() {
		before := heap()
		l, err := Open(police(), charter.Quotas{}, &notes, int64(len(notes)))
		if err != nil {
			b.Fatal(err)
		}
		l.Fresh()
		b.ReportMetric(float64(heap()-before)/benchmarked, "B/entry")
		runtime.KeepAlive(l)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchmarked, "µs/entry")
}
