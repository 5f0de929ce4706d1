package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// Five nodes, each on a machine of its own with its own address, on one street: a steward, the police, Ana who agrees,
// Ben who says nothing, and a reporter. Ana's node is killed amid the delivery and comes back; Ben's cable is out while
// a second request is asked, and he has it once it is in again; the reporter is told the same as everybody.
func TestAStreetOfFive(t *testing.T) {
	slow(t)
	t.Parallel()
	s := newStreet(t, "steward", "agency", "ana", "ben", "reporter")
	v := build(t, plan{hours: 2, at: s.ips, inside: s.spaces})
	defer func() {
		if t.Failed() {
			v.tell()
		}
	}()
	link := output{v, v.run("charter", "invite", "--dir", "charter", "--node", "steward")}.find(`(porchlight://\S+)`)
	v.run("join", link, "--dir", "ben", "--listen", "/ip4/"+v.ip("ben")+"/tcp/0", "--yes")
	v.run("join", link, "--dir", "reporter", "--role", "observe", "--listen", "/ip4/"+v.ip("reporter")+"/tcp/0", "--yes")
	v.configure("ben")
	v.set("ben", `catch_up = "3m"`, `catch_up = "2s"`)
	v.set("reporter", "mdns = true", "mdns = false")
	cliptest.Recording(t, v.dir, "ben-footage/"+time.Now().UTC().Add(-36*time.Hour).Truncate(time.Hour).Format("2006-01-02T15-04-05Z")+".mp4", 60)
	v.run("home", "cameras", "add", "drive", "--dir", "ben", "--folder", "ben-footage", "--at", "44.0002,-40.0003", "--facing", "180", "--view", "110", "--range", "40")
	v.run("home", "cameras", "offer", "drive", "--dir", "ben")
	for _, p := range []*process{{v: v, role: "home", folder: "ben"}, {v: v, role: "observe", folder: "reporter"}} {
		p.start()
	}
	v.eventually(30*time.Second, "home", "inbox", "--dir", "ben").find(v.request)
	v.eventually(30*time.Second, "observe", "requests", "--dir", "reporter").find(v.request)

	v.run("home", "approve", v.request, "--dir", "ana", "--camera", "front-door", "--faces-visible", "--address-shown", "--yes")
	v.arrives(0.3)
	v.home.kill()
	v.home.start()
	v.answerIs("the end", func(a home.AnswerStatus) bool { return a.State == "delivered" })
	v.sameClip()

	s.link("ben", "down")
	v.run("agency", "request", "resolve", "--dir", "agency", v.request, "--reason", "the case is closed", "--key", "ruiz.key")
	v.eventually(30*time.Second, "observe", "requests", "--dir", "reporter").find(`resolved`)
	time.Sleep(time.Second) // long enough for word to have come, were there a way
	if out := v.run("home", "inbox", "--all", "--dir", "ben"); strings.Contains(out, "resolved") {
		t.Errorf("Ben was told over a cable that is out:\n%s", out)
	}
	s.link("ben", "up")
	v.eventually(60*time.Second, "home", "inbox", "--all", "--dir", "ben").find(`resolved`)
	if out := v.run("home", "ledger", "--dir", "ben"); strings.Contains(out, "delivery") {
		t.Errorf("Ben said nothing, and his ledger tells of a delivery:\n%s", out)
	}
}

// A street is a bridge in a network namespace of its own, with a cable to each of some others.
type street struct {
	t      *testing.T
	bridge string
	spaces map[string]string // by folder
	ips    map[string]string // by folder
	cables map[string]string // the bridge's end, by folder
}

func newStreet(t *testing.T, folders ...string) *street {
	pid := os.Getpid()
	s := &street{t: t, bridge: fmt.Sprintf("porch-s%d", pid), spaces: map[string]string{}, ips: map[string]string{}, cables: map[string]string{}}
	namespace(t, s.bridge)
	if out, err := exec.Command("ip", "-n", s.bridge, "link", "add", "street", "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("no bridge can be made here: %v: %s", err, out)
	}
	do(s.t, "ip", "-n", s.bridge, "link", "set", "street", "up")
	for i, folder := range folders {
		name, end := fmt.Sprintf("porch-%d-%d", i, pid), fmt.Sprintf("house%d", i)
		namespace(t, name)
		s.spaces[folder], s.cables[folder], s.ips[folder] = name, end, fmt.Sprintf("10.214.%d.%d", pid%250, i+1)
		do(s.t, "ip", "-n", s.bridge, "link", "add", end, "type", "veth", "peer", "name", "cable", "netns", name)
		do(s.t, "ip", "-n", s.bridge, "link", "set", end, "master", "street", "up")
		do(s.t, "ip", "-n", name, "addr", "add", s.ips[folder]+"/24", "dev", "cable")
		do(s.t, "ip", "-n", name, "link", "set", "lo", "up")
		do(s.t, "ip", "-n", name, "link", "set", "cable", "up")
	}
	return s
}

// link pulls a house's cable, or puts it back.
func (s *street) link(folder, state string) {
	s.t.Helper()
	do(s.t, "ip", "-n", s.bridge, "link", "set", s.cables[folder], state)
}
