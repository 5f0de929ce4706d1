//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// loopback lists all ways between two processes of this machine.
func (b *bench) loopback() []way {
	s := &scp{b: b}
	return []way{
		b.libp2p("tcp", "ours", "tcp", "whole"),
		b.libp2p("raw-tcp", "raw", "tcp", "whole"),
		b.libp2p("quic", "ours", "udp", "whole"),
		b.libp2p("raw-quic", "raw", "udp", "whole"),
		{name: "curl", prepare: hasCurl, turn: b.curl},
		{name: "scp", prepare: s.start, turn: s.turn},
		b.libp2p("clips", "ours", "tcp", "clips"),
	}
}

// overLink lists the ways over b.link.
func (b *bench) overLink(s shape) []way {
	ways := []way{b.libp2p("tcp", "ours", "tcp", "whole"), b.libp2p("raw-tcp", "raw", "tcp", "whole"), b.libp2p("quic", "ours", "udp", "whole"),
		b.libp2p("raw-quic", "raw", "udp", "whole")}
	if s.loss > 0 {
		w := b.libp2p("raw-tcp-no-loss", "raw", "tcp", "whole")
		lossy := w.turn
		w.turn = func(ctx context.Context) (turn, error) {
			b.link.setLoss(0)
			defer b.link.setLoss(s.loss)
			return lossy(ctx)
		}
		ways = append(ways, w)
	}
	return ways
}

// process is a child that speaks JSON lines.
type process struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// start starts this program as a child, at end 0 (receiver) or 1 (sender) of the link where there is one.
func (b *bench) start(ctx context.Context, end int, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args = append([]string{self, "child"}, args...)
	if b.link != nil {
		args = append([]string{"ip", "netns", "exec", b.link.names[end]}, args...)
	}
	p := &process{cmd: command(ctx, args[0], args[1:]...)}
	if b.profile != "" {
		p.cmd.Env = append(os.Environ(), "SPEED_PROFILE="+filepath.Join(b.profile, name+"-"+[]string{"receiver", "sender"}[end]+".pprof"))
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

func (p *process) hear(v any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a child ended early: %w", errors.Join(err, p.cmd.Wait()))
	}
	return json.Unmarshal(line, v)
}

// end closes the child's input and hears its last word.
func (p *process) end(v any) error {
	p.in.Close()
	if err := p.hear(v); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// kill is for a child that may have ended already.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func (b *bench) libp2p(name, how, transport, list string) way {
	list = filepath.Join(b.dir, list+".json")
	return way{name: name, turn: func(ctx context.Context) (t turn, err error) {
		ip := "127.0.0.1"
		if b.link != nil {
			ip = b.link.ips[0]
		}
		r, err := b.start(ctx, 0, name, "receive", ip, b.out, list)
		if err != nil {
			return t, err
		}
		defer r.kill()
		var addrs []string
		if err := r.hear(&addrs); err != nil {
			return t, err
		}
		var addr string
		for _, a := range addrs {
			if strings.Contains(a, "/"+transport+"/") {
				addr = a
			}
		}
		s, err := b.start(ctx, 1, name, "send", how, list, b.data, addr)
		if err != nil {
			return t, err
		}
		defer s.kill()
		if err := s.end(&t); err != nil {
			return t, err
		}
		return t, r.end(&t.Recver)
	}}
}

func hasCurl(context.Context) error {
	_, err := exec.LookPath("curl")
	return err
}

// curl speaks HTTP/1.1, which is the faster one for one large file.
func (b *bench) curl(ctx context.Context) (t turn, err error) {
	cert := filepath.Join(b.dir, "cert.pem")
	s, err := b.start(ctx, 1, "curl", "https", b.data, cert)
	if err != nil {
		return t, err
	}
	defer s.kill()
	var url string
	if err := s.hear(&url); err != nil {
		return t, err
	}
	c := command(ctx, "curl", "-sS", "--fail", "--http1.1", "--cacert", cert, "-o", filepath.Join(b.out, "curl"), url)
	t.Bytes = b.size
	if t.Seconds, t.Recver, err = watch(c); err != nil {
		return t, err
	}
	return t, s.end(&t.Sender)
}

// watch runs a command and says how long it took and what it and its children used.
func watch(c *exec.Cmd) (seconds float64, s side, err error) {
	began := time.Now()
	if err := c.Start(); err != nil {
		return 0, s, err
	}
	stop := sample(c.Process.Pid)
	err = c.Wait()
	seconds = time.Since(began).Seconds()
	s.RSS = stop()
	if p := c.ProcessState; p != nil {
		s.CPU = (p.UserTime() + p.SystemTime()).Seconds()
	}
	return seconds, s, err
}

// sample looks at the peak memory of a process and its descendants every 50 ms, and sums it over the processes. The
// result ends it.
func sample(pid int) (stop func() int64) {
	done, total := make(chan struct{}), make(chan int64)
	go func() {
		peaks := map[string]int64{}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				for _, p := range family(strconv.Itoa(pid)) {
					peaks[p] = max(peaks[p], peakRSS(p))
				}
			case <-done:
				var sum int64
				for _, n := range peaks {
					sum += n
				}
				total <- sum
				return
			}
		}
	}()
	return func() int64 { close(done); return <-total }
}

// family is a process and its descendants.
func family(pid string) []string {
	out := []string{pid}
	b, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	for _, c := range strings.Fields(string(b)) {
		out = append(out, family(c)...)
	}
	return out
}

// scp pushes to an sshd of its own, with keys and settings of its own.
type scp struct {
	b    *bench
	dir  string
	port int
	sshd *exec.Cmd
}

func (s *scp) start(ctx context.Context) error {
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd"
	}
	for _, p := range []string{sshd, "scp", "ssh-keygen"} {
		if _, err := exec.LookPath(p); err != nil {
			return err
		}
	}
	if _, err := os.Stat("/run/sshd"); err != nil && os.Geteuid() == 0 {
		return errors.New("sshd wants the folder /run/sshd: make it, or start the ssh service once")
	}
	s.dir = filepath.Join(s.b.dir, "ssh")
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	for _, k := range []string{"host", "user"} {
		if err := command(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(s.dir, k)).Run(); err != nil {
			return fmt.Errorf("ssh-keygen: %w", err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	config := fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %q\nAuthorizedKeysFile %q\nPidFile none\nStrictModes no\nUsePAM no\n"+
		"PasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nLogLevel FATAL\n",
		s.port, filepath.Join(s.dir, "host"), filepath.Join(s.dir, "user.pub"))
	if err := os.WriteFile(filepath.Join(s.dir, "sshd_config"), []byte(config), 0o600); err != nil {
		return err
	}
	s.sshd = command(ctx, sshd, "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config"))
	if err := s.sshd.Start(); err != nil {
		return err
	}
	go s.sshd.Wait() // ends with the context
	for range 100 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port)); err == nil {
			c.Close()
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("sshd does not answer")
}

func (s *scp) turn(ctx context.Context) (t turn, err error) {
	u, err := user.Current()
	if err != nil {
		return t, err
	}
	before := waitedFor(s.sshd.Process.Pid)
	stop := sample(s.sshd.Process.Pid)
	c := command(ctx, "scp", "-q", "-F", "/dev/null", "-P", strconv.Itoa(s.port), "-i", filepath.Join(s.dir, "user"),
		"-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+filepath.Join(s.dir, "known"), "-o", "LogLevel=ERROR",
		s.b.data, u.Username+"@127.0.0.1:"+filepath.Join(s.b.out, "scp"))
	t.Bytes = s.b.size
	t.Seconds, t.Sender, err = watch(c)
	t.Recver.RSS = stop()
	for range 40 { // sshd collects its session a moment later
		if t.Recver.CPU = waitedFor(s.sshd.Process.Pid) - before; t.Recver.CPU > 0 {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	return t, err
}

// waitedFor is the CPU time in seconds of the children that a process has waited for.
func waitedFor(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 15 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[13], 64)
	system, _ := strconv.ParseFloat(f[14], 64)
	return (user + system) / 100 // USER_HZ is 100 on every Linux
}
