// Command porchlight is a neighbourhood mesh on the command line: a home that keeps its own
// footage, an agency that asks for some of it in public, the stewards who carry the asking, the
// observers who keep the record, and the tools to make and check what they sign.
//
// # How it is put together
//
// Each role's commands are a package under internal: homecmd, agencycmd, and meshcmd for charters,
// joining, stewards and observers; cli is what they share. A command is a function that is handed
// the streams, the clock and the global flags (cli.App) and returns a cobra command. What it does to
// a node goes through the node's command table (node.Commands): over the unix socket where the node
// is running, and on the folder itself where it is not and that makes sense. The command line holds
// no rules of its own; it says in words what the packages below decided.
//
// # Its rules
//
// Results go to standard output; questions, progress and the log to standard error. A failure is
// one line that says what failed and, where there is one, a second line with the way out.
// Nothing leaves without having been shown. The exit codes are part of the interface and stand
// in the help.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/demo"
)

func main() { os.Exit(realMain()) }

func realMain() int {
	// A node runs beside what its machine is really for, often a small one, and what it keeps is a few MB: to collect
	// garbage twice as often as Go's default costs it some thousandths of a core and saves a tenth of its memory.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	a := &cli.App{
		In: bufio.NewReader(os.Stdin), Out: os.Stdout, Err: os.Stderr,
		Now: time.Now, Rand: rand.Reader, Env: os.Getenv,
	}
	args := os.Args[1:]
	if len(args) > 1 && args[0] == demo.CalendarArg {
		a.Now, args = demo.Calendar(args[1]), args[2:]
	}
	return a.Main(ctx, newRootCommand(a), args)
}
