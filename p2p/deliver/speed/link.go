//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// shape is what a link does to packets.
type shape struct {
	bits  int64         // a second, each way
	round time.Duration // round trip on an empty link
	loss  float64       // share of packets, each way
}

func parseShape(s string) (shape, error) {
	bad := fmt.Errorf("-link %q: write rate, round trip and perhaps loss, as 100Mbit,50ms,loss=0.1%%", s)
	parts := strings.Split(s, ",")
	if len(parts) < 2 || len(parts) > 3 {
		return shape{}, bad
	}
	mbit, ok := strings.CutSuffix(parts[0], "Mbit")
	rate, err := strconv.ParseFloat(mbit, 64)
	round, rerr := time.ParseDuration(parts[1])
	out := shape{bits: int64(rate * 1e6), round: round}
	if !ok || err != nil || rerr != nil || out.bits < 1 || round < 0 {
		return shape{}, bad
	}
	if len(parts) == 3 {
		text, ok := strings.CutPrefix(parts[2], "loss=")
		percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
		if !ok || err != nil || percent < 0 || percent > 100 {
			return shape{}, bad
		}
		out.loss = percent / 100
	}
	return out, nil
}

// link joins two network namespaces by a TUN device in each and this process between them. It does what tc's netem
// does, which many kernels are built without.
type link struct {
	shape
	lost  atomic.Int64 // of shape.loss, in millionths
	names [2]string    // of the namespaces; 0 is the receiver's
	ips   [2]string
	tuns  [2]*os.File
	pumps sync.WaitGroup
}

// newLink needs root, iproute2 and /dev/net/tun; the error says what is missing.
func newLink(s shape, congestion string) (_ *link, err error) {
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, err
	}
	l := &link{shape: s, ips: [2]string{"10.77.77.1", "10.77.77.2"}}
	l.setLoss(s.loss)
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for i := range 2 {
		name := fmt.Sprintf("plspeed%d%c", os.Getpid(), 'a'+i)
		if err := ip("netns", "add", name); err != nil {
			return nil, err
		}
		l.names[i] = name
		dev := name[2:]
		if l.tuns[i], err = openTUN(dev); err != nil {
			return nil, err
		}
		for _, args := range [][]string{
			{"link", "set", dev, "netns", name},
			{"-n", name, "addr", "add", l.ips[i], "peer", l.ips[1-i], "dev", dev},
			{"-n", name, "link", "set", dev, "up", "mtu", "1500"},
			{"-n", name, "link", "set", "lo", "up"},
		} {
			if err := ip(args...); err != nil {
				return nil, err
			}
		}
		// The file of /proc is that of the namespace that ip enters.
		if err := ip("netns", "exec", name, "sh", "-c", "echo "+congestion+" >/proc/sys/net/ipv4/tcp_congestion_control"); err != nil {
			return nil, fmt.Errorf("-cc %s: net.ipv4.tcp_allowed_congestion_control has to name it: %w", congestion, err)
		}
	}
	for i := range 2 {
		l.pumps.Go(func() { l.pump(l.tuns[i], l.tuns[1-i], rand.New(rand.NewPCG(uint64(i), 7))) })
	}
	return l, nil
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make a TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (l *link) setLoss(share float64) { l.lost.Store(int64(share * 1e6)) }

// pump carries packets one way until its device closes. Packets wait for the line in a queue of 100 ms, which is two
// round trips of the link that the tables are about; what finds it full is dropped, as a router does.
func (l *link) pump(from, to *os.File, random *rand.Rand) {
	type packet struct {
		due  time.Time
		data []byte
	}
	const queue = 100 * time.Millisecond
	held := make(chan packet, 1+int((queue+l.round)*time.Duration(l.bits/8/40)/time.Second))
	var writing sync.WaitGroup
	writing.Go(func() {
		for p := range held {
			time.Sleep(time.Until(p.due))
			to.Write(p.data) // a full or closed device loses it, as a wire would
		}
	})
	defer writing.Wait()
	defer close(held)
	buf := make([]byte, 64<<10)
	var free time.Time // when the line is idle
	for {
		n, err := from.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil { // the device is not up yet
			time.Sleep(time.Millisecond)
			continue
		}
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		if random.Int64N(1e6) < l.lost.Load() || free.Sub(now) > queue {
			continue
		}
		free = free.Add(time.Duration(int64(n) * 8 * int64(time.Second) / l.bits))
		held <- packet{free.Add(l.round / 2), append([]byte(nil), buf[:n]...)}
	}
}

// close removes the namespaces, and the devices with them.
func (l *link) close() {
	for _, t := range l.tuns {
		if t != nil {
			t.Close()
		}
	}
	l.pumps.Wait()
	for _, name := range l.names {
		if name == "" {
			continue
		}
		if err := ip("netns", "del", name); err != nil {
			fmt.Fprintln(os.Stderr, "speed:", err)
		}
	}
}
