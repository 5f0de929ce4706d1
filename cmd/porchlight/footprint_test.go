package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// aboveIdle is the most that a node may take, in bytes, beyond what it takes when nothing happens, while it
// prepares, sends, receives, checks or opens a release, whatever the release's size.
const aboveIdle = 64 << 20

// A big release costs both sides no more memory than a small one. By hand, for the figures of FOOTPRINT.md:
//
//	PORCHLIGHT_BIG=5GB go test -count=1 -v -timeout 60m -run TestABigReleaseTakesLittleMemory ./cmd/porchlight
func TestABigReleaseTakesLittleMemory(t *testing.T) {
	realProcesses(t)
	size, hours := int64(160<<20), 1
	if s := os.Getenv("PORCHLIGHT_BIG"); s != "" {
		size = parseSize(t, s)
		hours = 1 + int(size>>30)
	}
	v := &watched{newVillage(t, hours), map[string]int64{}}
	defer func() {
		if t.Failed() {
			v.tell()
		}
	}()
	for n := range hours {
		at := v.first.Add(time.Duration(n) * time.Hour)
		cliptest.Large(t, v.dir, "big/"+at.Format("2006-01-02T15-04-05Z")+".mp4", 3600, size/int64(hours), byte(n))
	}
	v.run("home", "cameras", "add", "big", "--dir", "ana", "--folder", "big", "--at", "44.0003,-40.0004", "--facing", "180", "--view", "110", "--range", "40")
	v.run("home", "cameras", "offer", "big", "--dir", "ana")
	v.eventually(time.Minute, "home", "show", v.request, "--dir", "ana", "--json").find(`"camera": ?"big"`)

	began := time.Now()
	v.watch("idle")
	v.watch("approved, prepared, sent and received", func() {
		v.run("home", "approve", v.request, "--dir", "ana", "--camera", "big", "--faces-visible", "--address-shown", "--yes")
		v.eventually(time.Hour, "home", "show", v.request, "--dir", "ana").find(`answer \w+: delivered`)
	})
	took := time.Since(began)
	root := output{v.village, v.run("agency", "vault", "--dir", "agency", "--json")}.find(`"release": ?"(\w+)"`)
	var opened struct {
		SHA256 string `json:"plain_sha256"`
		Bytes  int64  `json:"bytes"`
	}
	v.watch("opened", func() {
		out := v.run("agency", "export", root, "--dir", "agency", "--out", "clip.mp4", "--officer-key", "ruiz.key", "--reason", "case 26-1187", "--json")
		if err := json.Unmarshal([]byte(out), &opened); err != nil {
			t.Fatal(err)
		}
	})
	if opened.Bytes < size*9/10 {
		t.Errorf("the clip has %d bytes of the %d recorded", opened.Bytes, size)
	}
	v.watch("previewed", func() {
		v.run("home", "preview", v.request, "--dir", "ana", "--camera", "big", "--out", "look.mp4")
	})
	same(t, filepath.Join(v.dir, "clip.mp4"), filepath.Join(v.dir, "look.mp4"))
	t.Logf("%d bytes in %d files from approval to delivery in %v", opened.Bytes, hours, took.Round(time.Second))
}

// mostIdle is the most that a home takes, in bytes, when nothing happens.
const mostIdle = 60e6

// A home at which nothing happens is no burden to the machine, however much its cameras have recorded, and
// serves at once when it is started. By hand, for the figures of FOOTPRINT.md, with the processor's time held
// against its bound, too:
//
//	PORCHLIGHT_FILES=1000000 go test -count=1 -v -timeout 30m -run TestAnIdleHomeIsNoBurden ./cmd/porchlight
func TestAnIdleHomeIsNoBurden(t *testing.T) {
	realProcesses(t)
	const cameras = 20
	files, byHand := 10_000, false
	if s := os.Getenv("PORCHLIGHT_FILES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < cameras {
			t.Fatalf("PORCHLIGHT_FILES=%s", s)
		}
		files, byHand = n, true
	}
	v := newVillage(t, 1)
	defer func() {
		if t.Failed() {
			v.tell()
		}
	}()
	p := v.home
	p.kill()
	v.record("many", cameras, files/cameras)
	for c := range cameras {
		v.run("home", "cameras", "add", fmt.Sprintf("cam%02d", c), "--dir", "ana", "--folder", fmt.Sprintf("many/cam%02d", c),
			"--at", "44.0003,-40.0004", "--facing", "180", "--view", "110", "--range", "40")
	}
	p.start()
	v.eventually(5*time.Minute, "home", "cameras", "--dir", "ana").find(fmt.Sprintf(`cam%02d .* %d `, cameras-1, files/cameras))
	t.Logf("%d files of %d cameras were read for the first time in %v of processor time, with a peak of %s", files, cameras, p.busy(), mib(p.memory().peak))
	p.kill()

	v.write("ana/config.toml", []byte(strings.Replace(string(v.read("ana/config.toml")), `poll = "1s"`, `poll = "10s"`, 1)))
	ana := node.Dial(filepath.Join(v.dir, "ana"))
	look := home.Preview{Request: v.request, Camera: "front-door", Out: filepath.Join(v.dir, "look.mp4")}
	began := time.Now()
	p.start()
	for ana.Call(t.Context(), "status", nil, nil) != nil {
		if time.Since(began) > time.Minute {
			t.Fatal("the home does not answer")
		}
		time.Sleep(5 * time.Millisecond)
	}
	answers := time.Since(began)
	look.From = v.first.Add(time.Minute)
	look.Until = look.From.Add(10 * time.Second)
	if err := ana.Call(t.Context(), "home.preview", look, nil); err != nil {
		t.Fatal(err)
	}
	serves := time.Since(began)
	t.Logf("started, it answered after %v and had cut a clip after %v", answers.Round(time.Millisecond), serves.Round(time.Millisecond))

	// The first look through all folders goes on meanwhile.
	slowest := time.Duration(0)
	for last, still := time.Duration(-1), 0; still < 20; time.Sleep(100 * time.Millisecond) {
		asked := time.Now()
		if err := ana.Call(t.Context(), "home.preview", look, nil); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(asked))
		now := p.busy()
		if now-last > 30*time.Millisecond {
			still = 0
		} else {
			still++
		}
		last = now
		if time.Since(began) > 5*time.Minute {
			break
		}
	}
	m := p.memory()
	t.Logf("the first look took %v of processor time, with a peak of %s; a clip was cut in %v at most meanwhile", p.busy(), mib(m.peak), slowest.Round(time.Millisecond))
	asked := time.Now()
	if err := ana.Call(t.Context(), "home.cameras", nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("the cameras were listed in %v", time.Since(asked).Round(time.Millisecond))

	if byHand {
		if serves > time.Second {
			t.Errorf("it served after %v, later than a second", serves)
		}
		before, began := p.busy(), time.Now()
		time.Sleep(90 * time.Second)
		share := float64(p.busy()-before) / float64(time.Since(began))
		t.Logf("idle it took %.2f %% of a core", 100*share)
		if share > 0.01 {
			t.Errorf("it took %.2f %% of a core; the most is 1 %%", 100*share)
		}
	}
	m = p.memory()
	t.Logf("idle it had %s resident, %s of it memory of its own, the rest pages of the program's file", mib(m.now), mib(m.anon))
	if m.now > mostIdle {
		t.Errorf("idle it had %s resident; the most is %s", mib(m.now), mib(mostIdle))
	}
}

// record fills a folder for each camera with that many recordings of ten seconds, one a minute in folders by
// day and hour, which came to their end weeks ago.
func (v *village) record(folder string, cameras, each int) {
	v.t.Helper()
	const links = 30_000 // of one file: file systems bound them
	old := v.first.AddDate(0, 0, -20)
	first := old.Add(-time.Duration(each) * time.Minute)
	check := func(err error) {
		if err != nil {
			v.t.Fatal(err)
		}
	}
	source, n := "", 0
	for c := range cameras {
		dirs := []string{}
		for i := range each {
			if n%links == 0 {
				source = cliptest.Recording(v.t, v.dir, fmt.Sprintf("sources/%d.mp4", n/links), 10)
				check(os.Chtimes(source, old, old))
			}
			n++
			at := first.Add(time.Duration(i) * time.Minute)
			dir := filepath.Join(v.dir, folder, fmt.Sprintf("cam%02d", c), at.Format("2006-01-02"), at.Format("15"))
			if len(dirs) == 0 || dirs[len(dirs)-1] != dir {
				check(os.MkdirAll(dir, 0o700))
				dirs = append(dirs, dir)
			}
			check(os.Link(source, filepath.Join(dir, at.Format("2006-01-02T15-04-05Z")+".mp4")))
		}
		for _, d := range dirs {
			check(os.Chtimes(d, old, old))
			check(os.Chtimes(filepath.Dir(d), old, old))
		}
		check(os.Chtimes(filepath.Join(v.dir, folder, fmt.Sprintf("cam%02d", c)), old, old))
	}
}

// busy is the processor time that a process took so far, in the kernel and out of it.
func (p *process) busy() time.Duration {
	p.v.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.v.t.Fatal(err)
	}
	// Behind the name, which may hold anything, utime and stime are the 12th and 13th, in hundredths of a second.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			p.v.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// realProcesses skips where the memory of other processes cannot be told, or means nothing. What is measured is
// each process's own, so that other tests may run beside.
func realProcesses(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs nodes as processes of their own for some seconds")
	}
	if runtime.GOOS != "linux" {
		t.Skip("reads the memory of processes from /proc")
	}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector takes several times the memory")
	}
	t.Parallel()
}

func parseSize(t *testing.T, s string) int64 {
	t.Helper()
	m := regexp.MustCompile(`^(\d+) ?(MB|MiB|GB|GiB)$`).FindStringSubmatch(s)
	if m == nil {
		t.Fatalf("size %q: write it as in 5GB or 256MiB", s)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * map[string]int64{"MB": 1e6, "MiB": 1 << 20, "GB": 1e9, "GiB": 1 << 30}[m[2]]
}

// memory of a process, from /proc/PID/status, in bytes.
type memory struct{ now, peak, anon int64 }

var statusLine = regexp.MustCompile(`(?m)^(VmRSS|VmHWM|RssAnon):\s+(\d+) kB$`)

func (p *process) memory() (m memory) {
	p.v.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.v.t.Fatal(err)
	}
	for _, f := range statusLine.FindAllSubmatch(b, -1) {
		kb, err := strconv.ParseInt(string(f[2]), 10, 64)
		if err != nil {
			p.v.t.Fatal(err)
		}
		switch string(f[1]) {
		case "VmRSS":
			m.now = kb << 10
		case "VmHWM":
			m.peak = kb << 10
		case "RssAnon":
			m.anon = kb << 10
		}
	}
	if m.now == 0 || m.peak == 0 {
		p.v.t.Fatalf("no memory in the status of process %d:\n%s", p.cmd.Process.Pid, b)
	}
	return m
}

// resetPeak makes the peak what is resident now, where the system allows it.
func (p *process) resetPeak() {
	os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0) // else the peak is since the start
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// watched is a village whose nodes' memory is watched.
type watched struct {
	*village
	idle map[string]int64 // bytes, by role
}

// watch does something and holds the peak of home and agency meanwhile against what they took at the
// first watch, at which nothing happens.
func (v *watched) watch(what string, do ...func()) {
	v.t.Helper()
	nodes := []*process{v.home, v.agency}
	for _, p := range nodes {
		p.resetPeak()
	}
	for _, f := range do {
		f()
	}
	for _, p := range nodes {
		m := p.memory()
		if len(do) == 0 {
			v.idle[p.role] = m.now
			v.t.Logf("%-38s %-7s %10s", what, p.role, mib(m.now))
			continue
		}
		v.t.Logf("%-38s %-7s %10s, %s above idle", what, p.role, mib(m.peak), mib(m.peak-v.idle[p.role]))
		if m.peak-v.idle[p.role] > aboveIdle {
			v.t.Errorf("%s, the %s took %s, %s above idle; the most is %s", what, p.role, mib(m.peak), mib(m.peak-v.idle[p.role]), mib(aboveIdle))
		}
	}
}

// same compares two files without holding them.
func same(t *testing.T, a, b string) {
	t.Helper()
	var sums [2]string
	var g sync.WaitGroup
	for i, path := range []string{a, b} {
		g.Go(func() { sums[i] = sumOf(t, path) })
	}
	g.Wait()
	if sums[0] != sums[1] || sums[0] == "" {
		t.Errorf("%s and %s differ: %s and %s", a, b, sums[0], sums[1])
	}
}

func sumOf(t *testing.T, path string) string {
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Error(err)
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
