package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
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
)

// A delivery is cut off again and again by killing the home, the agency or both with SIGKILL, each time
// farther into the transfer, and at last when the agency has everything, has signed for it, and has its
// key. The clip arrives all the same, it is the one that the owner saw, and a cut costs no more than two MiB
// sent again.
func TestADeliveryOutlivesKills(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 70 MB between processes, with pauses of some seconds after each failure")
	}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("takes a minute under the race detector, which does not see across processes")
	}
	v := newVillage(t, 9)
	defer func() {
		if t.Failed() {
			v.tell()
		}
	}()
	v.run("home", "approve", v.request, "--dir", "ana", "--camera", "front-door", "--faces-visible", "--address-shown", "--yes")
	v.home.kill()
	t.Logf("cut after the approval: the answer is %s", v.answerState())
	v.home.start()

	amid, left := 0, int64(0)
	for _, cut := range []struct {
		at           float64 // part of the release that has arrived; 1: the agency has given it its final name
		home, agency bool
	}{
		{0.05, true, false},
		{0.15, true, true},
		{0.25, true, false},
		{0.35, false, true},
		{0.45, true, false},
		{0.55, true, true},
		{0.65, true, false},
		{0.80, true, false},
		{1, false, true},
	} {
		least := v.arrives(cut.at)
		if left-least > sentAgain {
			t.Errorf("at %.0f %%: of %d bytes that were there %d were kept", 100*cut.at, left, least)
		}
		if cut.at < 1 && v.exists(v.sealed()) {
			continue // the kill before came late
		}
		if cut.home {
			v.home.kill()
		}
		if cut.agency {
			v.agency.kill()
		} else if got := v.sessionEnds(); got-(v.arrived()-left) > sentAgain {
			t.Errorf("up to %.0f %%: %d bytes came for %d more", 100*cut.at, got, v.arrived()-left)
		}
		left = v.arrived()
		if left < v.total {
			amid++
		}
		t.Logf("cut at %.0f %%, home %t, agency %t: %d bytes of %d are there, receipt %t", 100*cut.at, cut.home, cut.agency, left, v.total, v.exists(v.receipt()))
		if cut.agency {
			v.agency.start()
		}
		if cut.agency && cut.home { // a home that finds nobody would pause, longer each time
			v.eventually(20*time.Second, "status", "--dir", "agency").find(`12D3KooW.* +/ip4`)
		}
		if cut.home {
			v.home.start()
		}
	}
	if amid < 3 {
		t.Errorf("%d cuts were amid the transfer, want 3 or more", amid)
	}

	for _, sign := range []string{v.receipt(), v.key()} {
		v.appears(sign)
		v.home.kill()
		t.Logf("cut at %s: the answer is %s", filepath.Ext(sign), v.answerState())
		v.home.start()
	}

	v.eventually(30*time.Second, "home", "show", v.request, "--dir", "ana").find(`answer \w+: delivered`)
	if got, _ := v.received(); got-(v.total-left) > sentAgain {
		t.Errorf("at the end %d bytes came for %d more", got, v.total-left)
	}
	var opened struct {
		SHA256 string `json:"plain_sha256"`
	}
	root := filepath.Base(strings.TrimSuffix(v.sealed(), ".sealed"))
	out := v.run("agency", "open", root, "--dir", "agency", "--out", "clip.mp4", "--reason", "case 26-1187", "--json")
	if err := json.Unmarshal([]byte(out), &opened); err != nil {
		t.Fatal(err)
	}
	v.run("home", "preview", v.request, "--dir", "ana", "--camera", "front-door", "--out", "look.mp4")
	if look, clip := v.sha256("look.mp4"), v.sha256("clip.mp4"); clip != look || clip != opened.SHA256 {
		t.Errorf("the owner saw %s, signed %s, the agency has %s", look, opened.SHA256, clip)
	}
	v.run("verify", v.sealed(), "--manifest", strings.TrimSuffix(v.sealed(), ".sealed")+".manifest")
	v.run("verify", "ana/ledger", "agency/custody")
}

// sentAgain is the most that a cut may cost, in bytes: what the vault promises for leaves, and the
// few internal blocks.
const sentAgain = 2<<20 + 64<<10

// A village is a steward, an agency and one home, each a process of its own, and one request.
type village struct {
	t            *testing.T
	dir          string
	home, agency *process
	request      string // the first digits of its id
	total        int64  // bytes of the sealed release, once it is known
	vault        string // path of the release in the vault without its ending, once it is known
	sessions     int    // those whose end was read in the agency's log
}

// newVillage makes one whose camera has that many hours of footage, 8 MB each.
func newVillage(t *testing.T, hours int) *village {
	v := &village{t: t, dir: t.TempDir()}
	first := time.Now().UTC().Add(-36 * time.Hour).Truncate(time.Hour)
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
		v.run("key", "new", "--name", name, "--out", name+".key")
	}
	v.run("charter", "new", "--dir", "charter", "--mesh", "Elm Street", "--signer", "ana.key", "--lan-only")
	// The agency comes back under the address that its request names.
	v.run("agency", "init", "--dir", "agency", "--name", "Elmford Police", "--class", "local-police", "--supervisor", "stone.pub",
		"--jurisdiction", "town.geojson", "--policy-url", "https://example.org/video", "--listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", freePort(t)))
	v.run("charter", "admit", "--dir", "charter", "--key", "ana.key", "--yes", "agency/agency.card")
	v.run("steward", "init", "--dir", "steward", "--charter", "charter", "--listen", "/ip4/127.0.0.1/tcp/0")
	v.configure("steward")
	(&process{v: v, role: "steward", folder: "steward"}).start()
	link := v.eventually(20*time.Second, "charter", "invite", "--dir", "charter", "--node", "steward").find(`(porchlight://\S+)`)
	v.run("join", link, "--dir", "agency", "--yes")
	v.run("join", link, "--dir", "ana", "--listen", "/ip4/127.0.0.1/tcp/0", "--yes")
	v.configure("agency")
	v.configure("ana")
	v.run("home", "cameras", "add", "front-door", "--dir", "ana", "--folder", "footage", "--at", "44.0003,-40.0004", "--facing", "180", "--view", "110", "--range", "40")
	v.run("home", "cameras", "offer", "front-door", "--dir", "ana")

	v.home, v.agency = &process{v: v, role: "home", folder: "ana"}, &process{v: v, role: "agency", folder: "agency"}
	v.agency.start()
	v.home.start()
	for _, node := range []string{"agency", "ana"} {
		v.eventually(20*time.Second, "status", "--dir", node).find(`12D3KooW.* +/ip4`)
	}
	v.eventually(20*time.Second, "home", "cameras", "--dir", "ana").find(fmt.Sprintf(`front-door +yes +outdoor +%d `, hours))
	v.run("agency", "officer", "enrol", "--name", "ruiz", "--key", "ruiz.pub", "--role", "officer", "--expires", "2099-12-31", "--by", "stone.key", "--out", "enrol.note")
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
	v.eventually(20*time.Second, "home", "inbox", "--dir", "ana").find(v.request)
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
	text := strings.NewReplacer("mdns = true", "mdns = false", `poll = "10s"`, `poll = "1s"`, `answer_delay = "5m"`, `answer_delay = "0s"`).
		Replace(string(v.read(folder + "/config.toml")))
	v.write(folder+"/config.toml", []byte(text))
}

// command is porchlight as TestMain has put it on the path.
func (v *village) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "porchlight", args...)
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

// arrives waits until that part of the release is in the vault, and returns the fewest bytes that were
// seen there meanwhile.
func (v *village) arrives(part float64) (least int64) {
	v.t.Helper()
	least = 1 << 62
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		if v.vault == "" {
			names, err := filepath.Glob(filepath.Join(v.dir, "agency", "vault", "*", "*.part"))
			if err != nil {
				v.t.Fatal(err)
			}
			if len(names) == 0 {
				continue
			}
			v.vault = strings.TrimSuffix(names[0], ".part")
			v.total = v.sealedSize()
		}
		have := v.arrived()
		least = min(least, have)
		if v.exists(v.sealed()) || part < 1 && float64(have) >= part*float64(v.total) {
			return least
		}
	}
	v.t.Fatalf("%.0f %% of the release did not arrive; there are %d bytes of %d", 100*part, v.arrived(), v.total)
	return 0
}

// appears waits for a file of the agency's.
func (v *village) appears(path string) {
	v.t.Helper()
	for end := time.Now().Add(40 * time.Second); !v.exists(path); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			v.t.Fatalf("no %s", path)
		}
	}
}

func (v *village) exists(path string) bool {
	v.t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		v.t.Fatal(err)
	}
	return err == nil
}

func (v *village) sealed() string  { return v.vault + ".sealed" }
func (v *village) receipt() string { return v.vault + ".receipt" }
func (v *village) key() string {
	return filepath.Join(v.dir, "agency", "keys", "release", filepath.Base(filepath.Dir(v.vault))+"-"+filepath.Base(v.vault)+".key")
}

// answerState is what the home's disk says.
func (v *village) answerState() string {
	v.t.Helper()
	names, err := filepath.Glob(filepath.Join(v.dir, "ana", "answers", "*", "answer.json"))
	if err != nil || len(names) != 1 {
		v.t.Fatalf("answers at home: %v, %v", names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		v.t.Fatal(err)
	}
	return output{v, string(b)}.find(`"state": ?"(\w+)"`)
}

// sealedSize is how long the release is at home.
func (v *village) sealedSize() int64 {
	v.t.Helper()
	names, err := filepath.Glob(filepath.Join(v.dir, "ana", "answers", "*", "0.sealed"))
	if err != nil || len(names) != 1 {
		v.t.Fatalf("sealed releases at home: %v, %v", names, err)
	}
	info, err := os.Stat(names[0])
	if err != nil {
		v.t.Fatal(err)
	}
	return info.Size()
}

// arrived is how many bytes of the release the vault holds.
func (v *village) arrived() int64 {
	v.t.Helper()
	// The file changes its name at the end, maybe between two looks.
	for _, ending := range []string{".part", ".sealed", ".part"} {
		info, err := os.Stat(v.vault + ending)
		if err == nil {
			return info.Size()
		}
		if !errors.Is(err, os.ErrNotExist) {
			v.t.Fatal(err)
		}
	}
	v.t.Fatalf("%s: neither .part nor .sealed", v.vault)
	return 0
}

var ended = regexp.MustCompile(`msg="delivery ended".* bytes=(\d+) `)

// received is how many bytes of blocks came in the sessions that ended since it was last asked, and
// how many those are.
func (v *village) received() (n int64, sessions int) {
	v.t.Helper()
	log, err := os.ReadFile(v.agency.log())
	if err != nil {
		v.t.Fatal(err)
	}
	found := ended.FindAllSubmatch(log, -1)[v.sessions:]
	for _, m := range found {
		one, err := strconv.ParseInt(string(m[1]), 10, 64)
		if err != nil {
			v.t.Fatal(err)
		}
		n += one
	}
	v.sessions += len(found)
	return n, len(found)
}

// sessionEnds waits until the agency has closed the session that its home broke off, and returns the
// bytes of blocks that came in it.
func (v *village) sessionEnds() int64 {
	v.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if n, sessions := v.received(); sessions > 0 {
			return n
		}
	}
	v.t.Fatal("the agency's log does not tell of the session's end")
	return 0
}

// tell shows what the nodes said.
func (v *village) tell() {
	for _, p := range []*process{v.home, v.agency} {
		if b, err := os.ReadFile(p.log()); err == nil {
			v.t.Logf("%s:\n%s", p.folder, b)
		}
	}
}
