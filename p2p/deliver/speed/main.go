//go:build linux

// Command speed measures how fast p2p/deliver moves a clip, beside other ways to move the same bytes: a raw libp2p
// stream, curl from a Go HTTPS server, and scp. Every way runs as two processes on one machine and writes to disk; the
// ways take turns within each round, and what is compared is the median of the rounds' own ratios, so that a machine
// that is busy for a while slows all of them alike.
//
//	go run ./p2p/deliver/speed                                    # loopback: all ways, 1 GiB, 5 rounds
//	go run ./p2p/deliver/speed -link 100Mbit,50ms -size 100MiB    # a slow link, as root
//	go run ./p2p/deliver/speed -link 100Mbit,50ms,loss=0.1% -size 100MiB
//
// SPEED.md, beside p2p/deliver, has tables and what bounds each figure. What is not installed is named and skipped.
// Everything is kept in one temporary folder, which goes away at the end and on Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		if err := child(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "speed:", os.Args[2:], err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "speed:", err)
		os.Exit(1)
	}
}

// bench is one run of the program.
type bench struct {
	dir     string // temporary
	data    string // the file that is moved
	out     string // where receivers write, emptied after each turn
	size    int64
	profile string
	link    *link // nil on loopback
}

// way is one way to move the file. An error of prepare is why it is skipped.
type way struct {
	name    string
	prepare func(context.Context) error
	turn    func(context.Context) (turn, error)
}

// turn is what one transfer took.
type turn struct {
	Bytes          int64
	Seconds        float64
	Sender, Recver side
}

// side is what one end's processes used.
type side struct {
	CPU float64 // seconds, user and system
	RSS int64   // peak, bytes
}

func (t turn) rate() float64 { return float64(t.Bytes) / 1e6 / t.Seconds }

func run(ctx context.Context, args []string) (err error) {
	f := flag.NewFlagSet("speed", flag.ContinueOnError)
	size := f.String("size", "1GiB", "`bytes` of the file, with MiB or GiB")
	rounds := f.Int("rounds", 5, "how often each way takes its turn")
	temp := f.String("dir", "", "`folder` in which the temporary folder is made (default the system's)")
	only := f.String("ways", "", "comma-separated `names` of the ways to measure (default all)")
	links := f.String("link", "", "`rate,round trip[,loss=x%]` of a link between two network namespaces, as 100Mbit,50ms,loss=0.1%")
	cc := f.String("cc", "cubic", "congestion control that is the default inside -link's namespaces")
	sync := f.Bool("sync", true, "sync as a requester's vault does, deliveries and raw streams alike; curl and scp never do")
	profile := f.String("profile", "", "`folder` for CPU profiles of the Go processes of the last round")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "speed measures p2p/deliver beside a raw libp2p stream, curl and scp. Ways:",
			"tcp quic raw-tcp raw-quic curl scp clips\n\nusage: go run ./p2p/deliver/speed [flags]")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || *rounds < 1 {
		f.Usage()
		return errors.New("unknown arguments, or no rounds")
	}
	if !*sync {
		os.Setenv(noSync, "1")
	}
	b := &bench{profile: *profile}
	if b.size, err = parseSize(*size); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(*temp, "porchlight-speed-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.data, b.out = filepath.Join(b.dir, "data"), filepath.Join(b.dir, "out")
	fmt.Fprintf(os.Stderr, "making a file of %d bytes in %s\n", b.size, b.dir)
	if err := b.makeData(ctx); err != nil {
		return err
	}
	ways := b.loopback()
	if *links != "" {
		shape, err := parseShape(*links)
		if err != nil {
			return err
		}
		if b.link, err = newLink(shape, *cc); err != nil {
			fmt.Printf("-link skipped: %v\n", err)
			return nil
		}
		defer b.link.close()
		ways = b.overLink(shape)
	}
	results := map[string][]turn{}
	for _, w := range ways {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), w.name) {
			continue
		}
		if w.prepare != nil {
			if err := w.prepare(ctx); err != nil {
				fmt.Printf("%s skipped: %v\n", w.name, err)
				continue
			}
		}
		results[w.name] = nil
	}
	for r := range *rounds {
		for i := range ways { // another one goes first each round
			w := ways[(i+r)%len(ways)]
			if _, ok := results[w.name]; !ok {
				continue
			}
			if err := b.empty(); err != nil {
				return err
			}
			t, err := w.turn(ctx)
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %-9s %6.1f MB/s\n", r+1, *rounds, w.name, t.rate())
			results[w.name] = append(results[w.name], t)
		}
	}
	if err := b.empty(); err != nil {
		return err
	}
	b.table(ways, results)
	return nil
}

// empty clears what the last turn wrote and lets the disk come to rest, so that nothing of it burdens the next.
func (b *bench) empty() error {
	if err := os.RemoveAll(b.out); err != nil {
		return err
	}
	unix.Sync()
	return os.Mkdir(b.out, 0o700)
}

func parseSize(s string) (int64, error) {
	unit := int64(1)
	digits := s
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if cut, ok := strings.CutSuffix(s, suffix); ok {
			digits, unit = cut, n
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > 1<<40/unit {
		return 0, fmt.Errorf("-size %q: give a number of bytes, KiB, MiB or GiB, at most 1024 GiB", s)
	}
	return n * unit, nil
}

// ratios are those of the table, by the names of the ways.
var ratios = [...]struct{ text, a, b string }{
	{"delivery / raw stream, TCP", "tcp", "raw-tcp"},
	{"delivery / raw stream, QUIC", "quic", "raw-quic"},
	{"delivery (TCP) / curl", "tcp", "curl"},
	{"delivery (TCP) / scp", "tcp", "scp"},
	{"clips of 5 MB / one release, TCP", "clips", "tcp"},
	{"delivery / raw stream without loss", "tcp", "raw-tcp-no-loss"},
}

func (b *bench) table(ways []way, results map[string][]turn) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "way\tMB/s\t(min–max)\tCPU s sender\treceiver\tpeak MB sender\treceiver\t")
	for _, y := range ways {
		turns := results[y.name]
		if len(turns) == 0 {
			continue
		}
		rate := pick(turns, turn.rate)
		mb := func(f func(turn) int64) string {
			return fmt.Sprintf("%.0f", pick(turns, func(t turn) float64 { return float64(f(t)) / 1e6 }).max)
		}
		fmt.Fprintf(w, "%s\t%.4g\t(%.4g–%.4g)\t%.2f\t%.2f\t%s\t%s\t\n", y.name, rate.median, rate.min, rate.max,
			pick(turns, func(t turn) float64 { return t.Sender.CPU }).median, pick(turns, func(t turn) float64 { return t.Recver.CPU }).median,
			mb(func(t turn) int64 { return t.Sender.RSS }), mb(func(t turn) int64 { return t.Recver.RSS }))
	}
	w.Flush()
	fmt.Println()
	w = tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "median of the rounds' ratios\t\t(min–max)")
	for _, r := range ratios {
		x, y := results[r.a], results[r.b]
		if len(x) == 0 || len(y) == 0 {
			continue
		}
		var each []float64
		for i := range x {
			each = append(each, x[i].rate()/y[i].rate())
		}
		s := pick(each, func(f float64) float64 { return f })
		fmt.Fprintf(w, "%s\t%.3f\t(%.3f–%.3f)\n", r.text, s.median, s.min, s.max)
	}
	w.Flush()
}

type spread struct{ min, median, max float64 }

func pick[T any](all []T, f func(T) float64) spread {
	var v []float64
	for _, t := range all {
		v = append(v, f(t))
	}
	slices.Sort(v)
	return spread{v[0], (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[len(v)-1]}
}

// command starts a program that dies with this one.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}
