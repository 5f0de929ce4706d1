package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Home and requester are killed with SIGKILL ten times each and more, alone and together, at every stage of a
// delivery. It goes on by itself, the clip that arrives is the one that the owner saw, no block that the requester
// has recorded is fetched again, and what it had read and reads again is at most two MiB for each cut. What it read
// is counted on the line between them, at the rate of a home's uplink.
func TestADeliveryOutlivesKills(t *testing.T) {
	slow(t)
	t.Parallel()
	v := build(t, plan{hours: 9, relay: true})
	defer func() {
		if t.Failed() {
			v.tell()
		}
	}()
	k := &killer{village: v}
	v.line.Rate(100e6 / 8)
	v.line.Silence(true)
	v.run("home", "approve", v.request, "--dir", "ana", "--camera", "front-door", "--faces-visible", "--address-shown", "--yes")
	k.cut("while it is prepared", true, false)
	v.eventually(60*time.Second, "home", "show", v.request, "--dir", "ana").find(`answer \w+: sending`)
	k.cut("before the requester hears of it", true, true)
	v.line.Silence(false)
	k.until(0)
	k.cut("once its terms are accepted", true, true)
	for _, c := range []struct {
		at           float64 // part of the release that has arrived
		home, agency bool
	}{
		{0.10, true, false},
		{0.20, false, true},
		{0.30, true, false},
		{0.40, true, true},
		{0.50, true, false},
		{0.60, false, true},
		{0.70, true, false},
		{0.80, true, true},
		{0.90, false, true},
	} {
		k.until(c.at)
		k.cut(fmt.Sprintf("at %.0f %%", 100*c.at), c.home, c.agency)
	}
	if v.exists(v.sealed()) {
		t.Error("all of it arrived before the last cut amid the blocks")
	}
	v.line.Rate(0)
	k.until(1)
	k.cut("when all of it is there", false, true)
	v.appears(v.receipt())
	k.cut("at the receipt", true, true)
	v.appears(v.key())
	k.cut("at the key", true, true)

	v.eventually(60*time.Second, "home", "show", v.request, "--dir", "ana").find(`answer \w+: delivered`)
	if k.homes < 10 || k.agencies < 10 {
		t.Errorf("%d kills of the home, %d of the requester", k.homes, k.agencies)
	}
	t.Logf("%d kills of the home, %d of the requester; %d bytes were read for the %d of the release, %d the most for one cut",
		k.homes, k.agencies, k.read, v.total, k.most)
	v.sameClip()
}

// sameClip compares the clip that the requester can open with the one that the owner looks at, and checks every
// signature and log.
func (v *village) sameClip() {
	v.t.Helper()
	var opened struct {
		SHA256 string `json:"plain_sha256"`
	}
	root := filepath.Base(strings.TrimSuffix(v.sealed(), ".sealed"))
	out := v.run("agency", "export", root, "--dir", "agency", "--out", "clip.mp4", "--officer-key", "ruiz.key", "--reason", "case 26-1187", "--json")
	if err := json.Unmarshal([]byte(out), &opened); err != nil {
		v.t.Fatal(err)
	}
	v.run("home", "preview", v.request, "--dir", "ana", "--camera", "front-door", "--out", "look.mp4")
	if look, clip := v.sha256("look.mp4"), v.sha256("clip.mp4"); clip != look || clip != opened.SHA256 {
		v.t.Errorf("the owner saw %s, signed %s, the agency has %s", look, opened.SHA256, clip)
	}
	v.run("verify", v.sealed(), "--manifest", strings.TrimSuffix(v.sealed(), ".sealed")+".manifest")
	v.run("verify", "ana/ledger", "agency/custody")
}

const (
	leaf      = 1 << 20 // bytes of a block that holds footage
	sentAgain = 2 << 20 // the most that a cut may cost
	framing   = 128 << 10
)

// A killer ends processes amid a delivery and holds against each other what came over the line and what is kept.
type killer struct {
	*village
	homes, agencies int   // kills
	mark, have      int64 // on the line, and in the vault, when the last cut was over
	read, most      int64 // by the requester; in all, and for nothing in one cut
}

// until waits for that part of the release. What was recorded before may not go away again meanwhile.
func (k *killer) until(part float64) {
	k.t.Helper()
	if least := k.arrives(part); least < k.have/leaf*leaf {
		k.t.Errorf("%d bytes were in the vault and only %d were kept", k.have, least)
	}
}

func (k *killer) cut(when string, home, agency bool) {
	k.t.Helper()
	unread, exact := int64(0), true
	if agency {
		k.line.Silence(true)
		unread, exact = k.freeze()
		k.agency.kill()
		k.agencies++
	}
	if home {
		k.home.kill()
		k.homes++
	}
	if !agency && k.vault != "" {
		k.sessionEnds()
	}
	read := k.line.Sent() - k.mark - unread
	have := int64(0)
	if k.vault != "" {
		have = k.arrived()
	}
	lost := read - (have - k.have)
	k.read += read
	k.most = max(k.most, lost)
	if exact && lost > sentAgain+framing {
		k.t.Errorf("cut %s: the requester read %d bytes and kept %d", when, read, have-k.have)
	}
	k.t.Logf("cut %s, home %t, requester %t: %d bytes read, %d of %d are there, the answer is %s", when, home, agency, read, have, k.total, k.answerState())
	k.have = have
	if agency {
		k.line.Cut()
		k.mark = k.line.Sent()
		k.line.Silence(false)
		k.agency.start()
		k.agency.listens()
	}
	k.mark = k.line.Sent()
	if home {
		k.home.start()
	}
}

// freeze stops the requester's process where it stands and returns the bytes that are on their way to it and that it
// has not read; false where the system does not tell.
func (k *killer) freeze() (unread int64, known bool) {
	k.t.Helper()
	pid := k.agency.cmd.Process.Pid
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		k.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, false
		}
		if _, state, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(state, "T") {
			break
		}
	}
	time.Sleep(60 * time.Millisecond) // acknowledgements may be on their way; what has one is not counted twice
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, false
	}
	port := fmt.Sprintf(":%04X", k.port)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 5 || f[3] == "0A" {
			continue
		}
		tx, rx, ok := strings.Cut(f[4], ":")
		if ok && strings.HasSuffix(f[1], port) {
			unread += fromHex(k.t, rx)
		}
		if ok && strings.HasSuffix(f[2], port) {
			unread += fromHex(k.t, tx)
		}
	}
	return unread, true
}

func fromHex(t *testing.T, s string) int64 {
	n, err := strconv.ParseInt(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// listens waits until the node takes connections.
func (p *process) listens() {
	p.v.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", p.v.port))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			p.v.t.Fatalf("the %s does not listen: %v", p.role, err)
		}
	}
}

// arrives waits until that part of the release is in the vault, and returns the fewest bytes that were
// seen there meanwhile.
func (v *village) arrives(part float64) (least int64) {
	v.t.Helper()
	least = 1 << 62
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
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
	for end := time.Now().Add(60 * time.Second); !v.exists(path); time.Sleep(time.Millisecond) {
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
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if n, sessions := v.received(); sessions > 0 {
			return n
		}
	}
	v.t.Fatal("the agency's log does not tell of the session's end")
	return 0
}
