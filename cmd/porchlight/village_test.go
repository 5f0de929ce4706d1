package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/p2p/relaytest"
)

// A village is a steward, an agency and one home, each a process of its own, and one request.
type village struct {
	t            *testing.T
	dir          string
	home, agency *process
	request      string    // the first digits of its id
	first        time.Time // when the footage begins
	total        int64     // bytes of the sealed release, once it is known
	vault        string    // path of the release in the vault without its ending, once it is known
	sessions     int       // those whose end was read in the agency's log
	port         int       // the agency's

	line *relaytest.Relay // between home and agency, where the plan has one
	plan
}

// A plan is what is special about a village. The zero plan has a home without footage on one machine.
type plan struct {
	hours  int                     // of footage; 8 MB each
	relay  bool                    // answers go over a relay of the test
	at     map[string]string       // a node's address by its folder; 127.0.0.1 if not named
	inside map[string]string       // the network namespace a node lives in, by its folder
	reply  func(port int) []string // addresses that requests name, where they are not the agency's own
	early  func(*village)          // called before there is anything
	ready  func(*village)          // called before home and agency start
}

// newVillage makes one whose camera has that many hours of footage, 8 MB each.
func newVillage(t *testing.T, hours int) *village { return build(t, plan{hours: hours}) }

// build makes a village and starts it; a request is in the home's inbox.
func build(t *testing.T, p plan) *village {
	v := &village{t: t, dir: t.TempDir(), plan: p}
	hours := p.hours
	if p.early != nil {
		p.early(v)
	}
	first := time.Now().UTC().Add(-36 * time.Hour).Truncate(time.Hour)
	v.first = first
	hour, err := os.ReadFile(cliptest.Recording(t, v.dir, "hour.mp4", 3600))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(v.dir, "footage"), 0o700); err != nil {
		t.Fatal(err)
	}
	for n := range hours {
		at := first.Add(time.Duration(n) * time.Hour)
		v.write("footage/"+at.Format("2006-01-02T15-04-05Z")+".mp4", hour)
	}
	v.write("town.geojson", []byte(`{"type":"Polygon","coordinates":[[[-40.05,43.97],[-39.95,43.97],[-39.95,44.05],[-40.05,44.05],[-40.05,43.97]]]}`))

	for _, name := range []string{"ana", "ruiz", "stone"} {
		v.run("key", "new", "--no-passphrase", "--name", name, "--out", name+".key")
	}
	v.run("charter", "new", "--dir", "charter", "--mesh", "Elm Street", "--signer", "ana.key", "--lan-only")
	// The agency comes back under the address that its request names.
	v.port = freePort(t)
	v.run("agency", "init", "--dir", "agency", "--name", "Elmford Police", "--class", "local-police", "--supervisor", "stone.pub",
		"--jurisdiction", "town.geojson", "--policy-url", "https://example.org/video", "--listen", fmt.Sprintf("/ip4/%s/tcp/%d", v.ip("agency"), v.port))
	v.run("charter", "admit", "--dir", "charter", "--key", "ana.key", "--yes", "agency/agency.card")
	v.run("steward", "init", "--dir", "steward", "--charter", "charter", "--listen", "/ip4/"+v.ip("steward")+"/tcp/0")
	v.configure("steward")
	(&process{v: v, role: "steward", folder: "steward"}).start()
	link := v.eventually(time.Minute, "charter", "invite", "--dir", "charter", "--node", "steward").find(`(porchlight://\S+)`)
	v.run("join", link, "--dir", "agency", "--yes")
	v.run("join", link, "--dir", "ana", "--listen", "/ip4/"+v.ip("ana")+"/tcp/0", "--yes")
	v.configure("agency")
	v.configure("ana")
	var reply []string
	if p.relay {
		v.line = relaytest.New(t, fmt.Sprintf("127.0.0.1:%d", v.port))
		reply = append(reply, "/ip4/127.0.0.1/tcp/"+v.line.Port())
	}
	if p.reply != nil {
		reply = append(reply, p.reply(v.port)...)
	}
	v.set("agency", "reply = []", fmt.Sprintf("reply = [%s]", quoted(reply)))
	v.run("home", "cameras", "add", "front-door", "--dir", "ana", "--folder", "footage", "--at", "44.0003,-40.0004", "--facing", "180", "--view", "110", "--range", "40")
	v.run("home", "cameras", "offer", "front-door", "--dir", "ana")

	if p.ready != nil {
		p.ready(v)
	}
	v.home, v.agency = &process{v: v, role: "home", folder: "ana"}, &process{v: v, role: "agency", folder: "agency"}
	v.agency.start()
	v.home.start()
	for _, node := range []string{"agency", "ana"} {
		v.eventually(time.Minute, "status", "--dir", node).find(`12D3KooW.* +/ip4`)
	}
	v.eventually(time.Minute, "home", "cameras", "--dir", "ana").find(fmt.Sprintf(`front-door +yes +outdoor +%d `, hours))
	v.run("agency", "officer", "enrol", "--name", "ruiz", "--key", "ruiz.pub", "--role", "officer", "--by", "stone.key", "--out", "enrol.note")
	v.run("agency", "publish", "--dir", "agency", "enrol.note")
	const minute = "2006-01-02 15:04"
	v.run("agency", "request", "draft", "--dir", "agency", "--out", "request.note", "--case", "26-1187", "--offence", "220", "--basis", "exigent",
		"--incident-at", first.Add(time.Hour).Format(minute), "--incident-place", "44.0,-40.0", "--around", "44.0,-40.0", "--radius", "250",
		"--from", first.Format(minute), "--until", first.Add(time.Duration(hours)*time.Hour).Format(minute),
		"--text", "The corner shop was broken into. We look for a person who left by car.", "--contact", "Ruiz, +44 1632 960000",
		"--officer", "ruiz.pub", "--supervisor", "stone.pub")
	v.run("agency", "request", "sign", "request.note", "--key", "ruiz.key", "--yes")
	v.run("agency", "request", "sign", "request.note", "--key", "stone.key", "--yes")
	published := v.run("agency", "request", "publish", "--dir", "agency", "request.note", "--json")
	v.request = output{v, published}.find(`"request": "(\w{12})`)
	v.eventually(time.Minute, "home", "inbox", "--dir", "ana").find(v.request)
	return v
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (v *village) write(name string, b []byte) {
	v.t.Helper()
	if err := os.WriteFile(filepath.Join(v.dir, filepath.FromSlash(name)), b, 0o600); err != nil {
		v.t.Fatal(err)
	}
}

func (v *village) read(name string) []byte {
	v.t.Helper()
	b, err := os.ReadFile(filepath.Join(v.dir, filepath.FromSlash(name)))
	if err != nil {
		v.t.Fatal(err)
	}
	return b
}

func (v *village) sha256(name string) string {
	v.t.Helper()
	sum := sha256.Sum256(v.read(name))
	return hex.EncodeToString(sum[:])
}

func (v *village) configure(folder string) {
	v.t.Helper()
	v.set(folder, "mdns = true", "mdns = false", `poll = "10s"`, `poll = "1s"`, `answer_delay = "5m"`, `answer_delay = "0s"`)
}

// set replaces words in a node's settings.
func (v *village) set(folder string, words ...string) {
	v.t.Helper()
	v.write(folder+"/config.toml", []byte(strings.NewReplacer(words...).Replace(string(v.read(folder+"/config.toml")))))
}

func quoted(words []string) string {
	var q []string
	for _, w := range words {
		q = append(q, strconv.Quote(w))
	}
	return strings.Join(q, ", ")
}

// ip is where a node listens.
func (v *village) ip(folder string) string { return cmp.Or(v.at[folder], "127.0.0.1") }

// command is porchlight as TestMain has put it on the path, run where the node that it names lives.
func (v *village) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "porchlight", args...)
	for folder, namespace := range v.inside {
		if i := slices.Index(args, "--dir"); i >= 0 && args[i+1] == folder {
			c = exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", namespace, "porchlight"}, args...)...)
		}
	}
	c.Dir, c.Env = v.dir, append(os.Environ(), "HOME="+v.dir)
	return c
}

func (v *village) try(args ...string) (string, error) {
	var out, problem bytes.Buffer
	c := v.command(v.t.Context(), args...)
	c.Stdout, c.Stderr = &out, &problem
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("porchlight %s: %w\n%s", strings.Join(args, " "), err, problem.String())
	}
	return out.String(), nil
}

func (v *village) run(args ...string) string {
	v.t.Helper()
	out, err := v.try(args...)
	if err != nil {
		v.t.Fatal(err)
	}
	return out
}

// eventually runs a command until its output is as wanted.
func (v *village) eventually(within time.Duration, args ...string) patience {
	return patience{v, within, args}
}

type patience struct {
	v      *village
	within time.Duration
	args   []string
}

func (p patience) find(want string) string {
	p.v.t.Helper()
	for end := time.Now().Add(p.within); ; time.Sleep(100 * time.Millisecond) {
		out, err := p.v.try(p.args...)
		if err == nil && regexp.MustCompile(want).MatchString(out) {
			return output{p.v, out}.find(want)
		}
		if time.Now().After(end) {
			p.v.t.Fatalf("not within %v: %s\n%s%v", p.within, want, out, err)
		}
	}
}

type output struct {
	v    *village
	text string
}

// find returns the first group that matches, or all of the match.
func (o output) find(want string) string {
	o.v.t.Helper()
	m := regexp.MustCompile(want).FindStringSubmatch(o.text)
	if m == nil {
		o.v.t.Fatalf("%s does not match %s", want, o.text)
	}
	return m[len(m)-1]
}

// A process is a node that runs, is killed, and is started again on the same folder.
type process struct {
	v            *village
	role, folder string
	cmd          *exec.Cmd
}

func (p *process) log() string { return filepath.Join(p.v.dir, p.folder+".log") }

func (p *process) start() {
	p.v.t.Helper()
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.v.t.Fatal(err)
	}
	defer log.Close()
	c := p.v.command(context.Background(), p.role, "run", "--dir", p.folder)
	c.Stderr = log
	if err := c.Start(); err != nil {
		p.v.t.Fatal(err)
	}
	p.cmd = c
	p.v.t.Cleanup(func() {
		if p.cmd == c {
			p.kill()
		}
	})
}

// kill ends the process as a power failure does: it gets to do nothing more.
func (p *process) kill() {
	p.v.t.Helper()
	err := p.cmd.Process.Kill()
	p.cmd.Wait() // says that it was killed
	if err != nil {
		p.v.t.Errorf("the %s of %s ended by itself: %v", p.role, p.folder, err)
	}
	p.cmd = nil
}

// tell shows what the nodes said.
func (v *village) tell() {
	for _, p := range []*process{v.home, v.agency} {
		if b, err := os.ReadFile(p.log()); err == nil {
			v.t.Logf("%s:\n%s", p.folder, b)
		}
	}
}

// slow skips what moves many bytes between processes.
func slow(t *testing.T) {
	if testing.Short() {
		t.Skip("moves many MB between processes, with pauses after each failure")
	}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("takes minutes under the race detector, which does not see across processes")
	}
}
