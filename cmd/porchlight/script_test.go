package main

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/demo/recordings"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "4") // they wait for nodes more than they compute; a flag of the command line still counts
	testscript.Main(m, map[string]func(){"porchlight": func() { os.Exit(realMain()) }})
}

// The command line is tested as a person uses it, by scripts of commands; nodes run as processes
// of their own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home-of-user"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "waitfor": waitFor, "take": take, "config": config, "recordings": record, "tamper": tamper, "terminate": terminate, "shorten": shorten,
		},
	})
}

// exits CODE COMMAND… runs a command that must end with this very exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// waitfor SECONDS REGEXP COMMAND… runs a command again and again until it ends well and its
// output matches.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: waitfor SECONDS REGEXP COMMAND...")
	}
	seconds, err := strconv.Atoi(args[0])
	ts.Check(err)
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	seconds = max(seconds, 60) // a machine that does much else
	for end := time.Now().Add(time.Duration(seconds) * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if err := ts.Exec(args[2], args[3:]...); err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("not within %d s: %s", seconds, want)
		}
	}
}

// take NAME REGEXP sets a variable to what the expression's group matches in the last output.
func take(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: take NAME REGEXP")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("%s does not match the output", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// config FOLDER KEY VALUE sets a line of a node's config.toml.
func config(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: config FOLDER KEY VALUE")
	}
	path := filepath.Join(ts.MkAbs(args[0]), "config.toml")
	text, err := os.ReadFile(path)
	ts.Check(err)
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(args[1]) + ` = .*$`)
	if !line.Match(text) {
		ts.Fatalf("%s has no key %s", path, args[1])
	}
	ts.Check(os.WriteFile(path, line.ReplaceAllLiteral(text, []byte(args[1]+" = "+args[2])), 0o600))
}

// recordings CAMERA FOLDER copies one camera's recordings of the demonstration.
func record(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: recordings CAMERA FOLDER")
	}
	camera, err := fs.Sub(recordings.Files(), args[0])
	ts.Check(err)
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), camera))
}

// tamper FILE FROM TO replaces the first FROM in a file.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: tamper FILE FROM TO")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	if !strings.Contains(string(b), args[1]) {
		ts.Fatalf("%s does not hold %q", path, args[1])
	}
	ts.Check(os.WriteFile(path, []byte(strings.Replace(string(b), args[1], args[2], 1)), 0o600))
}

// shorten FILE takes its last byte away.
func shorten(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: shorten FILE")
	}
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()-1))
}

// terminate FOLDER sends SIGTERM to the background command that was started with that folder.
func terminate(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: terminate FOLDER")
	}
	for _, c := range ts.BackgroundCmds() {
		if slices.Contains(c.Args, args[0]) {
			ts.Check(c.Process.Signal(syscall.SIGTERM))
			return
		}
	}
	ts.Fatalf("no background command has %s", args[0])
}
