// Package relaytest is a TCP line between two nodes of a test, on loopback: it counts what it carries,
// and a test cuts it, lets it go silent, slows it down, and lays it to another address.
package relaytest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// A Relay listens on a port of 127.0.0.1 and carries each connection on to the target.
type Relay struct {
	t testing.TB

	mu       sync.Mutex
	changed  *sync.Cond
	listener net.Listener
	addr     string
	target   string
	rate     int64 // bytes a second towards the target; 0: as fast as it goes
	limit    int64 // of sent; below 0: none
	silent   bool
	sent     int64 // bytes handed to the target's side
	conns    map[net.Conn]bool
}

// New starts a relay to a target, "127.0.0.1:4001", that ends with the test.
func New(t testing.TB, target string) *Relay {
	t.Helper()
	r := &Relay{t: t, target: target, limit: -1, conns: map[net.Conn]bool{}, addr: "127.0.0.1:0"}
	r.changed = sync.NewCond(&r.mu)
	r.Open()
	t.Cleanup(func() {
		r.Shut()
		r.Cut()
	})
	return r
}

// Addr is where the relay listens, also while it is shut.
func (r *Relay) Addr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addr
}

// Port is the port of Addr.
func (r *Relay) Port() string {
	_, port, err := net.SplitHostPort(r.Addr())
	if err != nil {
		r.t.Error(err)
	}
	return port
}

func (r *Relay) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	r.changed.Broadcast()
}

// Target leads new connections elsewhere.
func (r *Relay) Target(addr string) { r.set(func() { r.target = addr }) }

// Rate bounds what goes towards the target to that many bytes a second; 0 lifts it.
func (r *Relay) Rate(bytes int64) { r.set(func() { r.rate = bytes }) }

// StopAt lets no byte towards the target once that many were carried in all; below 0 lifts it.
func (r *Relay) StopAt(bytes int64) { r.set(func() { r.limit = bytes }) }

// Silence lets nothing through in either direction, without a word to anybody.
func (r *Relay) Silence(on bool) { r.set(func() { r.silent = on }) }

// Sent is how many bytes went towards the target in all.
func (r *Relay) Sent() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent
}

// Cut breaks every connection that stands.
func (r *Relay) Cut() {
	r.set(func() {
		for c := range r.conns {
			if t, ok := c.(*net.TCPConn); ok {
				t.SetLinger(0)
			}
			c.Close()
		}
		clear(r.conns)
	})
}

// Shut refuses new connections; Open takes them again, at the same address.
func (r *Relay) Shut() {
	r.set(func() {
		if r.listener != nil {
			r.listener.Close()
			r.listener = nil
		}
	})
}

// Open takes connections again after Shut.
func (r *Relay) Open() {
	r.t.Helper()
	l, err := net.Listen("tcp4", r.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.set(func() { r.listener, r.addr = l, l.Addr().String() })
	go func() { // ends when the listener is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.carry(c)
		}
	}()
}

// carry ends when both directions do.
func (r *Relay) carry(in net.Conn) {
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	out, err := net.DialTimeout("tcp4", target, 10*time.Second)
	if err != nil {
		if t, ok := in.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		in.Close()
		return
	}
	r.set(func() { r.conns[in], r.conns[out] = true, true })
	var both sync.WaitGroup
	both.Go(func() { r.copy(out, in, true) })
	both.Go(func() { r.copy(in, out, false) })
	both.Wait()
	in.Close()
	out.Close()
	r.set(func() { delete(r.conns, in); delete(r.conns, out) })
}

func (r *Relay) copy(to, from net.Conn, forth bool) {
	buf := make([]byte, 32<<10)
	var due time.Time // what is late may catch up on a little
	for {
		n, err := from.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			room, rate := r.room(to, len(b), forth)
			if room == 0 {
				return
			}
			if _, err := to.Write(b[:room]); err != nil {
				from.Close() // what one side has broken the other hears of
				return
			}
			if forth {
				r.set(func() { r.sent += int64(room) })
			}
			if rate > 0 {
				now := time.Now()
				if late := now.Add(-50 * time.Millisecond); due.Before(late) {
					due = late
				}
				due = due.Add(time.Duration(float64(room) / float64(rate) * float64(time.Second)))
				time.Sleep(due.Sub(now))
			}
			b = b[room:]
		}
		if err != nil {
			if t, ok := to.(*net.TCPConn); ok {
				t.CloseWrite()
			}
			return
		}
	}
}

// room waits until some of n bytes may go; 0 when the connection was cut meanwhile.
func (r *Relay) room(to net.Conn, n int, forth bool) (int, int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if !r.conns[to] {
			return 0, 0
		}
		switch {
		case r.silent, forth && r.limit >= 0 && r.sent >= r.limit:
			r.changed.Wait()
			continue
		case !forth:
			return n, 0
		case r.limit >= 0:
			n = int(min(int64(n), r.limit-r.sent))
		}
		return n, r.rate
	}
}
