package node_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/node"
)

// What one peer may cost a node, in bytes of live heap: while it does its worst, and once it is gone.
const (
	maxStrain = 16 << 20
	maxScar   = 2 << 20
)

// A peer that floods a node with topics, protocols, addresses, large messages, streams, heads of dockets and grants makes
// it hold no more than so much, and nothing once it is gone. The nodes are in a process of their own, so that
// what the attacker holds itself does not count.
func TestStrangerTakesLittleMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("floods real nodes for half a minute, and measures their memory")
	}
	t.Parallel()
	s := newStrained(t)
	for _, c := range []struct {
		role, over string
		nightly    bool
	}{{"steward", "tcp", false}, {"steward", "quic-v1", true}, {"home", "tcp", false}, {"home", "quic-v1", true}, {"police", "tcp", false}, {"police", "quic-v1", true}} {
		t.Run(c.role+" over "+c.over, func(t *testing.T) {
			if c.nightly && os.Getenv("PORCHLIGHT_NIGHTLY") == "" {
				t.Skip("takes half a minute more: PORCHLIGHT_NIGHTLY=1 go test -run " + t.Name() + " ./node")
			}
			for _, w := range weapons(c.role) {
				t.Run(w.name, func(t *testing.T) {
					before := s.ask(t, "heap")
					s.ask(t, "watch")
					a := newAttacker(t, s.told, s.told.Addrs[c.role], c.over)
					w.attack(a, t)
					peak := s.ask(t, "peak")
					a.close()
					t.Logf("%.1f MiB, at most %.1f MiB more", mib(before), mib(peak-before))
					if peak-before > maxStrain {
						t.Errorf("one peer made the node hold %.1f MiB more, the most is %d", mib(peak-before), maxStrain>>20)
						s.ask(t, "profile "+strings.NewReplacer(" ", "-", "/", "-").Replace(t.Name()))
					}
				})
			}
			if c.role == "police" {
				s.ask(t, "hours")
			}
			s.calm(t)
		})
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// strained is the other process with the nodes.
type strained struct {
	told  told
	in    io.Writer
	out   *bufio.Scanner
	start int64
}

// told is what the nodes' process says of them.
type told struct {
	Topic   string
	Addrs   map[string][]string // by role
	Request node.RequestStatus
}

const strainedNodes = "PORCHLIGHT_STRAINED_NODES"

func newStrained(t *testing.T) *strained {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStrainedNodes$", "-test.timeout=10m")
	// What is allocated while the collector marks counts as live, and under load that takes long: the world stands still meanwhile.
	c.Env = append(os.Environ(), strainedNodes+"=1", "GODEBUG=gcstoptheworld=1")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	ok(t, err)
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	t.Cleanup(func() { in.Close(); c.Wait() })
	s := &strained{in: in, out: bufio.NewScanner(out)}
	s.out.Buffer(nil, 1<<20)
	ok(t, json.Unmarshal([]byte(s.answer(t)), &s.told))
	s.start = s.ask(t, "heap")
	return s
}

// answer is the next line that is one of ours.
func (s *strained) answer(t *testing.T) string {
	t.Helper()
	for s.out.Scan() {
		if line, ours := strings.CutPrefix(s.out.Text(), "strained "); ours {
			return line
		}
	}
	t.Fatal("the process with the nodes ended")
	return ""
}

func (s *strained) ask(t *testing.T, what string) (n int64) {
	t.Helper()
	fmt.Fprintln(s.in, what)
	_, err := fmt.Sscan(s.answer(t), &n)
	ok(t, err)
	return n
}

// calm waits until the nodes hold what they held at the start. The peer store forgets a peer a minute or so after it left.
func (s *strained) calm(t *testing.T) {
	t.Helper()
	var now int64
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		if now = s.ask(t, "heap"); now <= s.start+maxScar {
			t.Logf("back at %.1f MiB, after %.1f at the start", mib(now), mib(s.start))
			return
		}
	}
	s.ask(t, "profile scar")
	t.Fatalf("the node holds %.1f MiB after the peer left, %.1f before", mib(now), mib(s.start))
}

// TestStrainedNodes is the process with the nodes: a neighbourhood with a live request. It does what it is told on its standard input.
func TestStrainedNodes(t *testing.T) {
	if os.Getenv(strainedNodes) == "" {
		t.Skip("the other half of TestStrangerTakesLittleMemory, which starts it")
	}
	n := newNeighbourhood(t, "library")
	ana := n.home("ana", near, 0)
	id := n.policeAsk(n.draft())
	ana.shown(id)
	say := told{Topic: "porchlight/" + string(n.chain.Mesh()),
		Addrs: map[string][]string{"steward": n.steward.addrs(), "home": ana.addrs(), "police": n.police.addrs()}}
	n.police.do("request", node.RequestArg{Request: id}, &say.Request)
	b, err := json.Marshal(say)
	ok(t, err)
	fmt.Printf("strained %s\n", b)
	var watching atomic.Bool
	var peak atomic.Int64
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(40 * time.Millisecond):
			}
			if watching.Load() {
				runtime.GC()
				peak.Store(max(peak.Load(), live()))
			}
		}
	}()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		what, arg, _ := strings.Cut(in.Text(), " ")
		var answer int64
		switch what {
		case "heap":
			runtime.GC()
			runtime.GC()
			answer = live()
		case "watch":
			peak.Store(0)
			watching.Store(true)
		case "peak":
			runtime.GC()
			answer = max(peak.Load(), live())
			watching.Store(false)
		case "hours":
			n.now.add(90 * time.Minute) // a grant of which nothing comes is kept for one
		case "profile":
			if dir := os.Getenv("PORCHLIGHT_PROFILES"); dir != "" {
				f, err := os.Create(dir + "/" + arg + ".pprof")
				ok(t, err)
				pprof.Lookup("heap").WriteTo(f, 0)
				f.Close()
			}
		}
		fmt.Printf("strained %d\n", answer)
	}
}

// live is what the last collection found in use, in bytes.
func live() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
