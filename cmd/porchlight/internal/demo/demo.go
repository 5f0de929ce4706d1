// Package demo tells the main job as a story on one machine: real nodes, each a process of its
// own, on loopback, with small real recordings. Every step is a command that a person could type;
// the demo types them and says in plain words what happens.
package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options says how the story is told.
type Options struct {
	Exe  string    // the porchlight program to run
	Out  io.Writer // where the story goes
	JSON bool      // one object a step instead of prose
	Stay bool      // keep the nodes running until ctx ends
	Dir  string    // folder for everything; "" makes a temporary one, which stays for a look around
}

// A Step is one line of the story. The last one has OK set when all went as told.
type Step struct {
	Step    string `json:"step"`
	Text    string `json:"text"`
	Command string `json:"command,omitempty"`
	Data    any    `json:"data,omitempty"`
	OK      *bool  `json:"ok,omitempty"`
}

type story struct {
	Options
	start time.Time
	mu    sync.Mutex
	runs  []*run
}

// run is one node's process.
type run struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Run tells the story. It ends by itself within a minute unless Stay is set.
func Run(ctx context.Context, opt Options) error {
	if opt.Dir == "" {
		dir, err := os.MkdirTemp("", "porchlight-demo-")
		if err != nil {
			return err
		}
		opt.Dir = dir
	} else if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return err
	} else if entries, err := os.ReadDir(opt.Dir); err != nil {
		return err
	} else if len(entries) > 0 {
		return fmt.Errorf("%s is not empty; the demo wants a folder of its own", opt.Dir)
	}
	s := &story{Options: opt, start: time.Now()}
	limit := 8 * time.Minute
	tell, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer s.stopAll()
	err := s.tell(tell)
	if errors.Is(tell.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("the story was not over after %s: %w", limit, err)
	}
	if err != nil {
		ok := false
		s.say(Step{Step: "end", Text: "The demo failed: " + err.Error() + ". Everything is in " + s.Dir + ", each node's log beside its folder.", OK: &ok})
		return err
	}
	took := time.Since(s.start).Seconds()
	if opt.Stay {
		s.say(Step{Step: "stay", Text: "The nodes keep running, by the story's calendar, which is ahead of this machine's. Look around in another terminal; press Ctrl-C here to stop."})
		s.lookAround(s.Exe)
		<-ctx.Done()
	}
	s.stopAll()
	ok := true
	s.say(Step{Step: "end", Text: fmt.Sprintf("Done in %.0f s. Everything can be looked at in %s, by the story's calendar:", took, s.Dir), Data: map[string]string{"dir": s.Dir}, OK: &ok})
	s.lookAround("porchlight")
	return nil
}

// lookAround says what to type so that a command goes by the story's calendar, and shows some.
func (s *story) lookAround(exe string) {
	if s.JSON {
		return
	}
	fmt.Fprintf(s.Out, "    $ cd %s\n    $ alias porchlight='%s %s %s'\n", s.Dir, exe, CalendarArg, s.path("calendar"))
	for _, show := range []string{"home given --dir ben", "home inbox --dir chloe --all", "observe record --dir observer", "agencies --dir edith"} {
		fmt.Fprintf(s.Out, "    $ porchlight %s\n", show)
	}
}

func (s *story) say(st Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.JSON {
		json.NewEncoder(s.Out).Encode(st) // an output that went away ends the demo by SIGPIPE
		return
	}
	if st.Command != "" {
		fmt.Fprintf(s.Out, "    $ %s\n", st.Command)
	}
	if st.Text != "" {
		fmt.Fprintf(s.Out, "%5.1f s  %s\n", time.Since(s.start).Seconds(), wrap(st.Text, 92, "         "))
	}
}

// wrap breaks text at spaces into lines of at most width runes.
func wrap(text string, width int, indent string) string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(w)) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return strings.Join(append(lines, line), "\n"+indent)
}

func (s *story) path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

// do runs one command of the CLI and decodes its result.
func (s *story) do(ctx context.Context, result any, args ...string) error {
	c := exec.CommandContext(ctx, s.Exe, append([]string{CalendarArg, s.path("calendar")}, append(args, "--json")...)...)
	c.Dir = s.Dir
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return fmt.Errorf("porchlight %s: %s", strings.Join(args, " "), strings.TrimSpace(errs.String()+" "+out.String()))
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(out.Bytes(), result); err != nil {
		return fmt.Errorf("porchlight %s: result %.200q: %w", strings.Join(args, " "), out.String(), err)
	}
	return nil
}

// line is a command as a person would type it.
func line(args ...string) string {
	for i, a := range args {
		if strings.ContainsAny(a, " ?&") {
			args[i] = "'" + a + "'"
		}
	}
	return "porchlight " + strings.Join(args, " ")
}

// run starts a node's process; its log goes to NAME.log.
func (s *story) run(role, name string) error {
	log, err := os.OpenFile(s.path(name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command(s.Exe, CalendarArg, s.path("calendar"), role, "run", "--dir", s.path(name), "--verbose")
	c.Dir, c.Stdout, c.Stderr = s.Dir, log, log
	if err := c.Start(); err != nil {
		return err
	}
	r := &run{name: name, cmd: c, done: make(chan struct{})}
	go func() { // ends with the process, which stopAll ends
		r.err = c.Wait()
		close(r.done)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, r)
	return nil
}

// stop ends one node.
func (s *story) stop(name string) {
	s.mu.Lock()
	i := slices.IndexFunc(s.runs, func(r *run) bool { return r.name == name })
	if i < 0 {
		s.mu.Unlock()
		return
	}
	r := s.runs[i]
	s.runs = slices.Delete(s.runs, i, i+1)
	s.mu.Unlock()
	end(r)
}

func end(r *run) {
	r.cmd.Process.Signal(syscall.SIGTERM) // one that ended already needs no signal
	select {
	case <-r.done:
	case <-time.After(10 * time.Second):
		r.cmd.Process.Kill()
		<-r.done
	}
}

// stopAll ends the nodes, the polite way first.
func (s *story) stopAll() {
	s.mu.Lock()
	runs := s.runs
	s.runs = nil
	s.mu.Unlock()
	for _, r := range runs {
		r.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, r := range runs {
		end(r)
	}
}

// until polls until done says so. A node that ended meanwhile ends the wait.
func (s *story) until(ctx context.Context, what string, done func() (bool, error)) error {
	var last error
	for {
		ok, err := done()
		if ok {
			return nil
		}
		last = err
		s.mu.Lock()
		for _, r := range s.runs {
			select {
			case <-r.done:
				s.mu.Unlock()
				return fmt.Errorf("%s ended while the story waited for %s (%v); see %s", r.name, what, r.err, s.path(r.name+".log"))
			default:
			}
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, errors.Join(ctx.Err(), last))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
