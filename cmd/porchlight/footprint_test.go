package main

import (
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
	"sync"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/clip/cliptest"
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
	first, err := time.Parse("2006-01-02T15-04-05Z.mp4", filepath.Base(v.oldest("footage")))
	if err != nil {
		t.Fatal(err)
	}
	for n := range hours {
		at := first.Add(time.Duration(n) * time.Hour)
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
		out := v.run("agency", "open", root, "--dir", "agency", "--out", "clip.mp4", "--reason", "case 26-1187", "--json")
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

// realProcesses skips where the memory of other processes cannot be told, or means nothing.
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

func (v *village) oldest(folder string) string {
	v.t.Helper()
	names, err := filepath.Glob(filepath.Join(v.dir, folder, "*.mp4"))
	if err != nil || len(names) == 0 {
		v.t.Fatalf("%s: %v, %v", folder, names, err)
	}
	return names[0]
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
