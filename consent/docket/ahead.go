package docket

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
)

// A reading is what can be said of an entry without the log.
type reading struct {
	hash  tlog.Hash // of the leaf
	kind  string
	entry entry
	err   error
}

// ahead is how many entries are read at a time.
const ahead = 256

// takeAll takes in n entries, one after the other, and reads those that follow meanwhile.
func (l *Log) takeAll(n int64, entry func(i int64) ([]byte, error)) error {
	type chunk struct {
		msgs [][]byte
		read []reading
		err  error
	}
	start := func(from int64) chan chunk {
		done := make(chan chunk, 1)
		go func() {
			var c chunk
			for i := from; i < min(from+ahead, n) && c.err == nil; i++ {
				var msg []byte
				msg, c.err = entry(i)
				c.msgs = append(c.msgs, msg)
			}
			if c.err == nil {
				c.read = l.readAll(c.msgs)
			}
			done <- c
		}()
		return done
	}
	if n == 0 {
		return nil
	}
	next := start(0)
	for from := int64(0); from < n; from += ahead {
		c := <-next
		if c.err != nil {
			return c.err
		}
		if from+ahead < n {
			next = start(from + ahead)
		}
		for i, r := range c.read {
			if _, err := l.takeRead(c.msgs[i], r); err != nil {
				if from+ahead < n {
					<-next // it uses what the caller has locked
				}
				return fmt.Errorf("entry %d of the docket of %s: %w", l.size, l.agency.Name, err)
			}
		}
	}
	return nil
}

// readAll reads entries on all cores: verifying signatures is nearly all the work, and needs nothing of the log.
func readAll(msgs [][]byte) []reading {
	all := make([]reading, len(msgs))
	var next atomic.Int64
	var g sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(msgs)) {
		g.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(msgs)); i = next.Add(1) - 1 {
				all[i].hash, _ = leafOf(msgs[i])
				all[i].kind, _ = consent.Peek(msgs[i])
				all[i].entry, all[i].err = read(msgs[i])
			}
		})
	}
	g.Wait()
	return all
}
