package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// The disk of the home fills up while a clip is prepared, so far that not even the ledger can be written; later
// the requester's does amid the transfer. Both say so, nothing leaves and nothing is lost, and when there is room
// it goes on by itself where it was.
func TestFullDisks(t *testing.T) {
	slow(t)
	t.Parallel()
	mount := func(v *village, folder, size string) {
		dir := filepath.Join(v.dir, filepath.FromSlash(folder))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "porchlight-test", dir).CombinedOutput(); err != nil {
			t.Skipf("no small disk can be mounted here, which takes root on Linux: %v: %s", err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("mounts two small disks, which takes root on Linux")
	}
	v := build(t, plan{hours: 1, relay: true, early: func(v *village) { mount(v, "ana", "40m") }, ready: func(v *village) { mount(v, "agency/vault", "6m") }})
	defer func() {
		if t.Failed() {
			v.tell()
		}
	}()
	v.line.Rate(100e6 / 8)

	v.fill("ana", "half", 12<<20) // the clip finds room, its sealed copy does not
	v.run("home", "approve", v.request, "--dir", "ana", "--camera", "front-door", "--faces-visible", "--address-shown", "--yes")
	a := v.answerIs("a home without room", func(a home.AnswerStatus) bool { return a.Reason == home.DiskFull })
	if a.State != "preparing" || a.Since.IsZero() || !a.NotBefore.After(a.Since) {
		t.Errorf("the answer is %+v", a)
	}
	v.eventually(60*time.Second, "home", "ledger", "--dir", "ana").find(`paused .*disk-full`)
	v.fill("ana", "rest", 0)
	tried := a.Attempts
	v.answerIs("another attempt", func(a home.AnswerStatus) bool { return a.Attempts > tried && a.Reason == home.DiskFull })
	v.eventually(60*time.Second, "home", "show", v.request, "--dir", "ana").find(`: preparing: disk-full\n +why +the disk of this home's node is full`)
	v.eventually(60*time.Second, "home", "inbox", "--dir", "ana").find(`approved, preparing: disk-full`)
	if n := v.line.Sent(); n > 8<<10 {
		t.Errorf("%d bytes went to the requester before there was a ledger to write them down in", n)
	}
	for _, name := range []string{"half", "rest"} {
		if err := os.Remove(filepath.Join(v.dir, "ana", name)); err != nil {
			t.Fatal(err)
		}
	}

	a = v.answerIs("a requester without room", func(a home.AnswerStatus) bool { return a.Reason == home.RequesterFull })
	if a.State != "waiting" || a.Releases[0].SentBlocks == 0 {
		t.Errorf("the answer is %+v", a)
	}
	v.eventually(60*time.Second, "home", "ledger", "--dir", "ana").find(`goes on .*after disk-full since`)
	v.eventually(60*time.Second, "home", "ledger", "--dir", "ana").find(`paused .*requester-full`)
	v.arrives(0.3)
	kept := v.arrived() / leaf * leaf
	var held []agency.Held
	v.json(&held, "agency", "vault", "--dir", "agency")
	if held[0].State != "arriving" || held[0].Reason != "disk-full" {
		t.Errorf("the requester's vault shows %+v", held)
	}
	var got []agency.Received
	v.json(&got, "agency", "received", "--dir", "agency")
	if last := got[len(got)-1]; last.Name != "disk-full" || last.Grant != held[0].Grant {
		t.Errorf("the requester's list shows %+v", got)
	}
	tried = a.Attempts
	v.answerIs("another attempt", func(a home.AnswerStatus) bool { return a.Attempts > tried })
	if again := v.arrived(); again < kept {
		t.Errorf("of %d bytes that were there %d were kept", kept, again)
	}
	if out, err := exec.Command("mount", "-o", "remount,size=40m", filepath.Join(v.dir, "agency", "vault")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	v.eventually(60*time.Second, "home", "show", v.request, "--dir", "ana").find(`answer \w+: delivered`)
	if n, _ := v.received(); n > v.total+framing {
		t.Errorf("%d bytes of blocks were taken in for a release of %d", n, v.total)
	}
	t.Logf("%d bytes went over the line for a release of %d", v.line.Sent(), v.total)
	var open []agency.Held
	v.json(&open, "agency", "vault", "--dir", "agency")
	if open[0].State != "open" || open[0].Reason != "" {
		t.Errorf("at the end the requester's vault shows %+v", open)
	}
	v.sameClip()
}

// fill makes a file as large as leaves that many bytes free.
func (v *village) fill(folder, name string, leave int64) {
	v.t.Helper()
	dir := filepath.Join(v.dir, folder)
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		v.t.Fatal(err)
	}
	err := os.WriteFile(filepath.Join(dir, name), make([]byte, max(0, int64(s.Bavail)*int64(s.Bsize)-leave)), 0o600)
	if err != nil && !strings.Contains(err.Error(), "no space") {
		v.t.Fatal(err)
	}
}

// json runs a command with --json.
func (v *village) json(result any, args ...string) {
	v.t.Helper()
	if err := json.Unmarshal([]byte(v.run(append(args, "--json")...)), result); err != nil {
		v.t.Fatal(err)
	}
}

// answerIs waits for the home's one answer to be like that.
func (v *village) answerIs(what string, like func(home.AnswerStatus) bool) home.AnswerStatus {
	v.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var c home.Card // what JSON leaves out would stay as it was
		v.json(&c, "home", "show", v.request, "--dir", "ana")
		if len(c.Answers) == 1 && like(c.Answers[0]) {
			return c.Answers[0]
		}
		if time.Now().After(end) {
			v.t.Fatalf("waited in vain for %s: %+v", what, c.Answers)
		}
	}
}
