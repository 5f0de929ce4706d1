package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A council runs an observer that serves the dockets, and a reporter who has nothing of Porchlight's checks the
// police's one with a program of her own. She takes its key from the charter, comes back when there is more in it,
// and notices a record that was changed on the council's disk.
func TestAReporterChecksADocketOverHTTP(t *testing.T) {
	t.Parallel()
	v := &village{t: t, dir: t.TempDir()}
	if _, err := os.Stat("../tilecheck"); err != nil {
		t.Skip("the reporter's program is not here: the test does not run in its source tree")
	}
	out, err := exec.Command("go", "build", "-o", v.dir, "../tilecheck").CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("the go command, which builds the reporter's program, is not here")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tilecheck := func(args ...string) (string, error) {
		c := exec.Command("./tilecheck", args...)
		c.Dir = v.dir
		out, err := c.CombinedOutput()
		return string(out), err
	}

	v.write("town.geojson", []byte(`{"type":"Polygon","coordinates":[[[-40.05,43.97],[-39.95,43.97],[-39.95,44.05],[-40.05,44.05],[-40.05,43.97]]]}`))
	for _, name := range []string{"ana", "ruiz", "moss", "stone"} {
		v.run("key", "new", "--no-passphrase", "--name", name, "--out", name+".key")
	}
	v.run("charter", "new", "--dir", "charter", "--mesh", "Elm Street", "--signer", "ana.key", "--lan-only")
	v.run("agency", "init", "--dir", "agency", "--name", "Elmford Police", "--class", "local-police", "--supervisor", "stone.pub",
		"--jurisdiction", "town.geojson", "--policy-url", "https://example.org/video", "--listen", "/ip4/127.0.0.1/tcp/0")
	v.run("charter", "admit", "--dir", "charter", "--key", "ana.key", "--yes", "agency/agency.card")
	v.run("steward", "init", "--dir", "steward", "--charter", "charter", "--listen", "/ip4/127.0.0.1/tcp/0")
	v.configure("steward")
	(&process{v: v, role: "steward", folder: "steward"}).start()
	link := v.eventually(time.Minute, "charter", "invite", "--dir", "charter", "--node", "steward").find(`(porchlight://\S+)`)
	v.run("join", link, "--dir", "agency", "--yes")
	v.run("join", link, "--dir", "council", "--role", "observe", "--listen", "/ip4/127.0.0.1/tcp/0", "--yes")
	v.configure("agency")
	v.configure("council")
	v.set("council", `catch_up = "3m"`, `catch_up = "1s"`)
	(&process{v: v, role: "agency", folder: "agency"}).start()

	// What is no address is said before anything runs; what is taken, at once. By default nothing is served.
	if _, err := v.try("observe", "run", "--dir", "council", "--http", "localhost"); err == nil || !strings.Contains(err.Error(), "hint: write it as in 127.0.0.1:8080") {
		t.Error(err)
	}
	council := v.serves("council")
	v.run("observe", "init", "--dir", "second")
	address := strings.TrimSuffix(strings.TrimPrefix(council.url, "http://"), "/")
	if _, err := v.try("observe", "run", "--dir", "second", "--http", address); err == nil || !strings.Contains(err.Error(), "hint: choose another address with --http") {
		t.Error(err)
	}
	if out := v.run("status", "--dir", "council"); !strings.Contains(out, council.url) {
		t.Errorf("the status does not tell of %s:\n%s", council.url, out)
	}
	if out := v.run("status", "--dir", "steward"); strings.Contains(out, "http") {
		t.Errorf("the steward serves what nobody told it to:\n%s", out)
	}

	enrol := func(name string) {
		v.run("agency", "officer", "enrol", "--name", name, "--key", name+".pub", "--role", "officer", "--by", "stone.key", "--out", name+".note")
		v.run("agency", "publish", "--dir", "agency", name+".note")
	}
	enrol("ruiz")
	key := output{v, council.get(t, "charter/000002.note")}.find(`"key":"(porchlight\.docket/[^"]+)"`)
	prefix := council.url + output{v, key}.find(`docket/(\w+)`)
	v.eventually(time.Minute, "observe", "agencies", "--dir", "council").find(`Elmford Police +local-police +1 `)
	if out, err := tilecheck(prefix, key, "-new", "seen"); err != nil || !regexp.MustCompile(`entries +1\n(.*\n)+ +officer +1\nin order`).MatchString(out) {
		t.Fatalf("%v: %s", err, out)
	}
	enrol("moss")
	v.eventually(time.Minute, "observe", "agencies", "--dir", "council").find(`Elmford Police +local-police +2 `)
	if out, err := tilecheck(prefix, key, "-old", "seen"); err != nil || !regexp.MustCompile(`entries +2\n(.*\n)+before +1 entries, unchanged\nin order`).MatchString(out) {
		t.Fatalf("%v: %s", err, out)
	}
	if page := council.get(t, ""); !strings.Contains(page, "Elmford Police") || !strings.Contains(page, "entries: 2") {
		t.Errorf("the page:\n%s", page)
	}

	entries, err := filepath.Glob(filepath.Join(v.dir, "council", "dockets", "*", "entries"))
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	b, err := os.ReadFile(entries[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(entries[0], []byte(strings.Replace(string(b), "ruiz", "lopa", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := tilecheck(prefix, key); err == nil || !strings.Contains(out, "NOT in order") {
		t.Errorf("a changed record: %v %s", err, out)
	}

	// The server ends with its node.
	if err := council.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := council.cmd.Wait(); err != nil {
		t.Errorf("the observer ended with %v", err)
	}
	council.cmd = nil
	if _, err := http.Get(council.url); err == nil {
		t.Error("the dockets are still served")
	}
}

// A serving process is an observer with its dockets on an address of its choice.
type serving struct {
	process
	url string
}

func (v *village) serves(folder string) *serving {
	v.t.Helper()
	s := &serving{process: process{v: v, role: "observe", folder: folder}}
	log, err := os.Create(s.log())
	if err != nil {
		v.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = v.command(context.Background(), "observe", "run", "--dir", folder, "--http", "127.0.0.1:0")
	s.cmd.Stderr = log
	if err := s.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
	})
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		b, err := os.ReadFile(s.log())
		if err != nil {
			v.t.Fatal(err)
		}
		if m := regexp.MustCompile(`(?m)^  dockets (http://127\.0\.0\.1:\d+/)$`).FindSubmatch(b); m != nil {
			s.url = string(m[1])
			return s
		}
		if time.Now().After(end) {
			v.t.Fatalf("it does not say where the dockets are:\n%s", b)
		}
	}
}

func (s *serving) get(t *testing.T, name string) string {
	t.Helper()
	r, err := http.Get(s.url + name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("%s: %s, %v", name, r.Status, err)
	}
	return string(b)
}
