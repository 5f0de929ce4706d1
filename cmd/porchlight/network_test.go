package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/node/home"
)

// Home and requester live in two network namespaces with a cable between them. Amid a delivery the cable is pulled
// and put back, so that nothing arrives and nobody is told; then both move to other addresses at once, which leaves
// their connection dead without a word. The home needs nothing for it; the requester is found at the second of the
// addresses that its request names.
func TestTheNetworkChanges(t *testing.T) {
	slow(t)
	t.Parallel()
	n := newCable(t)
	v := build(t, plan{hours: 4,
		at:     map[string]string{"agency": "0.0.0.0", "steward": n.ip(9), "ana": "0.0.0.0"},
		inside: map[string]string{"agency": n.police, "steward": n.police, "ana": n.home},
		reply: func(port int) []string {
			return []string{fmt.Sprintf("/ip4/%s/tcp/%d", n.ip(1), port), fmt.Sprintf("/ip4/%s/tcp/%d", n.ip(11), port)}
		}})
	defer func() {
		if t.Failed() {
			v.tell()
		}
	}()
	v.run("home", "approve", v.request, "--dir", "ana", "--camera", "front-door", "--faces-visible", "--address-shown", "--yes")

	v.arrives(0.15)
	n.do("ip", "-n", n.police, "link", "set", "cable", "down")
	left := v.arrived()
	time.Sleep(1500 * time.Millisecond) // how long the cable is out, not how long something takes
	if more := v.arrived() - left; more > 2*leaf {
		t.Errorf("%d bytes came while the cable was out", more)
	}
	n.do("ip", "-n", n.police, "link", "set", "cable", "up")

	v.arrives(0.5)
	left = v.arrived()
	n.do("ip", "-n", n.home, "addr", "add", n.ip(3)+"/24", "dev", "cable")
	n.do("ip", "-n", n.police, "addr", "add", n.ip(11)+"/24", "dev", "cable")
	n.do("ip", "-n", n.home, "addr", "del", n.ip(2)+"/24", "dev", "cable")
	n.do("ip", "-n", n.police, "addr", "del", n.ip(1)+"/24", "dev", "cable")
	v.answerIs("the loss of the connection", func(a home.AnswerStatus) bool { return a.Reason == home.ConnectionLost || a.State == "delivered" })
	if least := v.arrives(1); least < left/leaf*leaf {
		t.Errorf("of %d bytes that were there %d were kept", left, least)
	}
	v.answerIs("the end", func(a home.AnswerStatus) bool { return a.State == "delivered" })
	v.eventually(60*time.Second, "home", "ledger", "--dir", "ana").find(`goes on .*after connection-lost`)
	got, sessions := v.received()
	if got > v.total+int64(sessions)*(sentAgain+framing) {
		t.Errorf("%d bytes of blocks came in %d sessions for a release of %d", got, sessions, v.total)
	}
	t.Logf("%d bytes of blocks came in %d sessions for a release of %d", got, sessions, v.total)
	v.sameClip()
}

// A cable joins two network namespaces; both call their end of it "cable".
type cable struct {
	t            *testing.T
	home, police string
	net          string
}

func newCable(t *testing.T) *cable {
	pid := os.Getpid()
	n := &cable{t: t, home: fmt.Sprintf("porch-h%d", pid), police: fmt.Sprintf("porch-p%d", pid), net: fmt.Sprintf("10.213.%d.", pid%250)}
	for _, name := range []string{n.home, n.police} {
		namespace(t, name)
	}
	if out, err := exec.Command("ip", "-n", n.home, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", n.police).CombinedOutput(); err != nil {
		t.Skipf("no pair of network devices can be made here: %v: %s", err, out)
	}
	if out, err := exec.Command("tc", "-n", n.home, "qdisc", "add", "dev", "cable", "root", "tbf", "rate", "60mbit", "burst", "64kb", "latency", "50ms").CombinedOutput(); err != nil {
		t.Skipf("no device can be slowed down to a home's uplink here: %v: %s", err, out)
	}
	for ns, ips := range map[string][]int{n.home: {2}, n.police: {1, 9}} {
		for _, ip := range ips {
			n.do("ip", "-n", ns, "addr", "add", n.ip(ip)+"/24", "dev", "cable")
		}
		n.do("ip", "-n", ns, "link", "set", "lo", "up")
		n.do("ip", "-n", ns, "link", "set", "cable", "up")
		n.do("ip", "netns", "exec", ns, "sysctl", "-q", "-w", "net.ipv4.conf.cable.promote_secondaries=1")
	}
	return n
}

func (n *cable) ip(host int) string { return n.net + fmt.Sprint(host) }

func (n *cable) do(args ...string) {
	n.t.Helper()
	do(n.t, args...)
}

// namespace makes a network namespace until the test ends, or skips the test where that is not allowed.
func namespace(t *testing.T, name string) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("makes network namespaces, which takes root on Linux")
	}
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made here: %v: %s", err, out)
	}
	t.Cleanup(func() { do(t, "ip", "netns", "del", name) })
}

// do runs a command that must succeed.
func do(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}
