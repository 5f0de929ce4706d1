// Package simcmd is `porchlight sim`: whole neighbourhoods in virtual time, by scenario files.
//
// Virtual time is testing/synctest's, and that wants a *testing.T. So the command starts itself again as a hidden
// subcommand, which hands its only test to testing.Main: the job comes on standard input, the result goes to standard
// output, and what the testing package prints is shown only where the world failed. No test flag is on anybody's
// command line.
package simcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/simnet"
)

// New is the command.
func New(a *cli.App) *cobra.Command {
	var list bool
	var page string
	var seed uint64
	var model int
	cmd := &cobra.Command{
		Use:   "sim [SCENARIO]",
		Short: "Run a neighbourhood in virtual time and measure how requests spread",
		Long: `Runs a scenario: homes, stewards, links, and what people do, by a timetable. Every home and steward is a
whole node, as in the real mesh; only the network between them, and time, are simulated. The result is a table:
for each request how many homes it reached, how fast, in how many copies and for how many bytes.

SCENARIO is one that comes with the program (--list tells them) or a file; --print shows one as a file to start
from. Where a scenario's bounds are not kept, the command says which, and fails. --model replaces the nodes by a
graph, for up to ten million homes. Progress goes to standard error.`,
		Example: `  porchlight sim --list
  porchlight sim fifty
  porchlight sim nat --html nat.html
  porchlight sim --print split > mine.toml
  porchlight sim mine.toml --seed 7
  porchlight sim --model 1000000`,
		Args: cobra.MaximumNArgs(1),
	}
	var print bool
	cmd.RunE = a.Do(func(ctx context.Context, args []string) error {
		if list {
			return showList(a)
		}
		j := job{Verbose: a.Verbose}
		switch {
		case model > 0 && len(args) == 0:
			j.Name, j.Text = "model", fmt.Sprintf(modelText, model)
		case len(args) == 0:
			return cli.Usage("`porchlight sim --list` tells those that come with the program", "no scenario named")
		default:
			var err error
			if j.Name, j.Text, err = find(args[0]); err != nil {
				return err
			}
		}
		if print {
			_, err := io.WriteString(a.Out, j.Text)
			return err
		}
		if cmd.Flags().Changed("seed") {
			j.Seed = &seed
		}
		s, err := j.scenario()
		if err != nil {
			return node.WithHint(err, "`porchlight sim --print fifty` shows a scenario that works")
		}
		if page != "" {
			if err := newPage(page); err != nil {
				return err
			}
		}
		var r simnet.Result
		if s.Model {
			r, err = s.Imagine()
		} else {
			r, err = play(ctx, a, j)
		}
		if err != nil {
			return err
		}
		return show(a, r, page)
	})
	f := cmd.Flags()
	f.BoolVar(&list, "list", false, "tell the scenarios that come with the program")
	f.BoolVar(&print, "print", false, "print the scenario's file and do nothing")
	f.StringVar(&page, "html", "", "also write a page about the run to this `file`")
	f.Uint64Var(&seed, "seed", 0, "another `number` to draw links, NAT and loss from")
	f.IntVar(&model, "model", 0, "a graph of this many `homes` in place of a scenario")
	cmd.MarkFlagsMutuallyExclusive("list", "print", "html")
	return cmd
}

// modelText is the scenario of --model.
const modelText = `about = "Homes as the nodes of a graph. Each keeps four stewards."
homes = %d
model = true
[network]
min_latency = "20ms"
max_latency = "60ms"
[[do]]
at = "0s"
who = "police"
what = "asks"
`

type listed struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

func showList(a *cli.App) error {
	var all []listed
	for _, name := range simnet.Shipped() {
		text, err := simnet.ShippedScenario(name)
		if err != nil {
			return err
		}
		s, err := simnet.ParseScenario(name, text)
		if err != nil {
			return err
		}
		all = append(all, listed{name, strings.Join(strings.Fields(s.About), " ")})
	}
	return a.Show(all, func(w io.Writer) error {
		for i, l := range all {
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, l.Name)
			ui.Wrap(w, "  ", l.About, 92)
		}
		return nil
	})
}

// find reads a scenario that comes with the program, or a file.
func find(arg string) (name, text string, err error) {
	if b, err := simnet.ShippedScenario(arg); err == nil {
		return arg, string(b), nil
	}
	b, err := os.ReadFile(arg)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", node.WithHint(fmt.Errorf("no scenario %q, and no such file", arg), "`porchlight sim --list` tells those that come with the program")
	}
	return filepath.Base(arg), string(b), err
}

// newPage makes sure before a long run that its page can be written.
func newPage(path string) error {
	if err := cli.NewFile(path); err != nil {
		return node.WithHint(err, "choose another name with --html")
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return f.Close()
}

func show(a *cli.App, r simnet.Result, page string) error {
	if page != "" {
		var b bytes.Buffer
		if err := r.HTML(&b); err != nil {
			return err
		}
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if err := a.Show(r, r.Table); err != nil {
		return err
	}
	if n := len(r.Broken); n > 0 {
		return fmt.Errorf("%d of the scenario's bounds were not kept: %s", n, strings.Join(r.Broken, "; "))
	}
	return nil
}

// hidden is the name of the subcommand that runs the world.
const hidden = "sim-world"

// reportName is the file in the job's folder that takes what the testing package prints.
const reportName = "testing.log"

// A job is what the process that runs the world is told.
type job struct {
	Name, Text string
	Seed       *uint64
	Folder     string // for what the nodes keep
	Verbose    bool
}

func (j job) scenario() (simnet.Scenario, error) {
	s, err := simnet.ParseScenario(j.Name, []byte(j.Text))
	if j.Seed != nil {
		s.Seed = *j.Seed
	}
	return s, err
}

// play runs the world in a process of its own.
func play(ctx context.Context, a *cli.App, j job) (r simnet.Result, err error) {
	exe, err := os.Executable()
	if err != nil {
		return r, err
	}
	if j.Folder, err = os.MkdirTemp("", "porchlight-sim-"); err != nil {
		return r, err
	}
	defer os.RemoveAll(j.Folder)
	in, err := json.Marshal(j)
	if err != nil {
		return r, err
	}
	c := exec.CommandContext(ctx, exe, hidden)
	var out bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(in), &out, a.Err
	if err := c.Run(); err != nil {
		if report, err := os.ReadFile(filepath.Join(j.Folder, reportName)); err == nil {
			a.Err.Write(report)
		}
		return r, fmt.Errorf("the simulation did not end well: %w", errors.Join(err, ctx.Err()))
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

// NewWorld is the hidden subcommand.
func NewWorld(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use: hidden, Short: "Run a world for sim", Hidden: true, Args: cobra.NoArgs,
		RunE: a.Do(func(context.Context, []string) error {
			var j job
			if err := json.NewDecoder(a.In).Decode(&j); err != nil {
				return err
			}
			s, err := j.scenario()
			if err != nil {
				return err
			}
			// testing reads its flags from the command line and reports on standard output; neither is its own here.
			report, err := os.Create(filepath.Join(j.Folder, reportName))
			if err != nil {
				return err
			}
			os.Args, os.Stdout = os.Args[:1], report
			testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: j.Name, F: func(t *testing.T) {
				r := run(t, a.Err, s, j)
				if err := json.NewEncoder(a.Out).Encode(r); err != nil {
					t.Fatal(err)
				}
			}}}, nil, nil)
			return nil // testing.Main has ended the process
		}),
	}
}

// run plays the scenario and tells how far it is, by the machine's clock: the world has one of its own.
func run(t *testing.T, progress io.Writer, s simnet.Scenario, j job) simnet.Result {
	var virtual, all atomic.Int64
	began, done, told := time.Now(), make(chan struct{}), make(chan struct{})
	go func() { // ends with done
		defer close(told)
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				fmt.Fprintf(progress, "%4.0f s: %s of %s of virtual time\n", time.Since(began).Seconds(),
					ui.Length(time.Duration(virtual.Load())), ui.Length(time.Duration(all.Load())))
			}
		}
	}()
	defer func() { close(done); <-told }()
	var story io.Writer
	if j.Verbose {
		story = progress
	}
	return s.Play(t, j.Folder, story, func(v, a time.Duration) { virtual.Store(int64(v)); all.Store(int64(a)) })
}
