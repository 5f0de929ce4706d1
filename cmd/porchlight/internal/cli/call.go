package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
	"github.com/porchlight-mesh/porchlight/node/observer"
)

// A runner is a node of any role, opened.
type runner interface {
	Run(ctx context.Context) error
	Commands() node.Commands
	Close() error
}

// open opens a folder as the role that it was made for. It touches no network.
func open(ctx context.Context, dir string, opt node.Options) (runner, error) {
	role, err := node.RoleOf(dir)
	if err != nil {
		return nil, err
	}
	// Each role is returned by name: a nil *home.Home in a runner would not be nil.
	switch role {
	case node.Home:
		h, err := home.Open(ctx, dir, opt)
		if err != nil {
			return nil, err
		}
		return h, nil
	case node.Agency:
		g, err := agency.Open(ctx, dir, opt)
		if err != nil {
			return nil, err
		}
		return g, nil
	}
	o, err := observer.Open(ctx, dir, opt)
	if err != nil {
		return nil, err
	}
	return o, nil
}

// HoldsRole is an error unless a folder holds a node of a role.
func HoldsRole(dir string, role node.Role) error {
	held, err := node.RoleOf(dir)
	if err == nil && held != role {
		err = node.WithHint(fmt.Errorf("%s holds a node of role %s, not %s", dir, held, role),
			fmt.Sprintf("name another folder with --dir; `porchlight %s --help` lists what this one's node can do", held))
	}
	return err
}

// knows is an error unless a folder holds a node that knows a command: those of one role alone begin with its name.
func knows(dir, command string) error {
	of, _, _ := strings.Cut(command, ".")
	if role, err := node.ParseRole(of); err == nil {
		return HoldsRole(dir, role)
	}
	_, err := node.RoleOf(dir)
	return err
}

// Call runs a command in the node of a folder, which must be running.
func (a *App) Call(ctx context.Context, dir, command string, args, result any) error {
	if err := knows(dir, command); err != nil {
		return err
	}
	err := node.Dial(dir).Call(ctx, command, args, result)
	if errors.Is(err, node.ErrNotRunning) {
		role, _ := node.RoleOf(dir) // known since it was read above
		return node.WithHint(err, fmt.Sprintf("start it with `porchlight %s run --dir %s`", role, dir))
	}
	return err
}

// lockWait is how long a command waits for another process to let a folder go: another command is
// done with it in moments, and a node that starts answers its socket soon.
const lockWait = 5 * time.Second

// patiently tries again while another process holds the folder.
func patiently(ctx context.Context, try func() error) error {
	end := time.Now().Add(lockWait)
	for {
		err := try()
		var locked *durable.LockedError
		if !errors.As(err, &locked) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// CallEither runs a command in the running node, or on the folder where none runs.
func (a *App) CallEither(ctx context.Context, dir, command string, args, result any) error {
	if err := knows(dir, command); err != nil {
		return err
	}
	return patiently(ctx, func() error {
		err := node.Dial(dir).Call(ctx, command, args, result)
		if !errors.Is(err, node.ErrNotRunning) {
			return err
		}
		n, err := open(ctx, dir, node.Options{Now: a.Now, Log: a.QuietLog()})
		if err != nil {
			return err
		}
		return errors.Join(n.Commands().Call(ctx, command, args, result), n.Close())
	})
}

// WithNode has work call the running node, or the folder where none runs, as often as it needs.
func (a *App) WithNode(ctx context.Context, dir string, work func(node.Caller) error) error {
	if _, err := node.RoleOf(dir); err != nil {
		return err
	}
	var n runner
	err := patiently(ctx, func() (err error) {
		if err = node.Dial(dir).Call(ctx, "status", nil, nil); errors.Is(err, node.ErrNotRunning) {
			n, err = open(ctx, dir, node.Options{Now: a.Now, Log: a.QuietLog()})
		}
		return err
	})
	if err != nil {
		return err
	}
	if n == nil {
		return work(node.Dial(dir))
	}
	return errors.Join(work(n.Commands()), n.Close())
}

// serve runs the node of a folder until the process is told to end. A set http is where it serves dockets,
// whatever its settings say.
func (a *App) serve(ctx context.Context, dir string, role node.Role, http *string) error {
	held, err := node.RoleOf(dir)
	if err != nil {
		return err
	}
	if held != role {
		return node.WithHint(fmt.Errorf("%s holds a node of role %s, not %s", dir, held, role), fmt.Sprintf("run it with `porchlight %s run --dir %s`", held, dir))
	}
	if err := node.Dial(dir).Call(ctx, "status", nil, nil); err == nil {
		return node.WithHint(fmt.Errorf("the node of %s is running already", dir), "`porchlight status --dir "+dir+"` shows it")
	}
	var n runner
	if err := patiently(ctx, func() (err error) {
		n, err = open(ctx, dir, node.Options{Now: a.Now, Log: a.Log()})
		return err
	}); err != nil {
		return err
	}
	if o, ok := n.(*observer.Observer); ok && http != nil {
		o.HTTP = *http
	}
	ctx, cancel := context.WithCancel(ctx)
	announced := make(chan struct{})
	go func() { // ends with ctx at the latest
		defer close(announced)
		a.announce(ctx, dir)
	}()
	err = n.Run(ctx)
	cancel()
	<-announced
	if err := errors.Join(err, n.Close()); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	a.Say("stopped")
	return nil
}

// announce says, once the node answers its own socket, what runs and where it can be reached.
func (a *App) announce(ctx context.Context, dir string) {
	for ctx.Err() == nil {
		var s node.Status
		if err := node.Dial(dir).Call(ctx, "status", nil, &s); err == nil {
			a.Say("running as %s of mesh %s; press Ctrl-C to stop", s.Role, ui.Clean(s.Mesh))
			for _, addr := range s.Addrs {
				a.Say("  address %s", addr)
			}
			if s.URL != "" {
				a.Say("  dockets %s", s.URL)
			}
			if s.Reach != nil {
				a.Say("  reached %s", ReachText(s.Reach))
			}
			for _, k := range s.Stewards {
				a.Say("  keeps in touch with %s: %s", k.ID, stewardWhy(k))
			}
			if s.Role == node.Steward || s.Role == node.Observe {
				a.Say("  %s", witnessText(s))
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ReachText says whether a steward can be reached from outside, "" for every other node.
func ReachText(r *node.ReachStatus) string {
	if r == nil {
		return ""
	}
	way := ""
	if r.WayOut != "" {
		way = "; " + r.WayOut
	}
	switch r.State {
	case node.Reachable:
		return "from the internet, at " + strings.Join(r.Yes, " ") + way
	case node.Unreachable:
		return "not from the internet: others dialled " + strings.Join(r.No, " ") + " in vain" + way
	case node.LocalOnly:
		return "from this machine alone" + way
	}
	return "not known yet" + way
}

// stewardWhy says why a node keeps in touch with a steward.
func stewardWhy(s node.StewardStatus) string {
	switch s.Why {
	case node.ByInvitation:
		return "came with the invitation"
	case node.ByCache:
		return "reached before"
	}
	return "in your settings"
}

// stewardState says how that goes.
func (a *App) stewardState(s node.StewardStatus) string {
	switch {
	case !s.Since.IsZero():
		return "connected since " + ui.When(s.Since, a.Now())
	case s.Failure != "":
		return fmt.Sprintf("not connected; tried %s, again %s: %s", ui.Relative(s.At, a.Now()), ui.Relative(s.Next, a.Now()), s.Failure)
	}
	return "not connected"
}

// witnessText says whether a steward or an observer is a witness.
func witnessText(s node.Status) string {
	switch w := s.Witness; {
	case w == nil:
		return "no witness of dockets"
	case !w.Named:
		return "no witness of dockets yet: the charter does not name the key of " + w.Key.Name()
	default:
		return "a witness of dockets, as " + w.Key.Name()
	}
}

// OwedText says what an agency owes, "" where that is nothing.
func OwedText(owed []node.Debt, now time.Time) string {
	if len(owed) == 0 {
		return ""
	}
	overdue := 0
	for _, o := range owed {
		if o.Overdue {
			overdue++
		}
	}
	accounts := "1 account"
	if len(owed) > 1 {
		accounts = fmt.Sprintf("%d accounts", len(owed))
	}
	return fmt.Sprintf("%s, %d overdue; due first: the %s of case %s, %s (`porchlight agency owed`)", accounts, overdue, owed[0].What, owed[0].Case, ui.When(owed[0].Due, now))
}

func (a *App) writeStatus(w io.Writer, s node.Status) error {
	mesh := "none yet; join one with `porchlight join LINK --dir " + s.Dir + "`"
	if s.Mesh != "" {
		mesh = fmt.Sprintf("%s (%s, charter version %d)", s.Mesh, ui.Short(s.MeshID), s.Version)
	}
	running := "no; start it with `porchlight " + string(s.Role) + " run --dir " + s.Dir + "`"
	if s.Running {
		running = "yes"
	}
	witness := ""
	if s.Witness != nil {
		witness = witnessText(s)
	}
	if err := ui.Facts(w, "role", string(s.Role), "folder", s.Dir, "running", running, "mesh", mesh, "reached", ReachText(s.Reach), "witness", witness, "owed", OwedText(s.Owed, a.Now()), "clock", s.Clock, "hint", s.ClockHint,
		"requests", fmt.Sprint(s.Requests), "addresses", strings.Join(s.Addrs, " "), "dockets at", s.URL); err != nil {
		return err
	}
	if err := a.writeStewards(w, s.Stewards); err != nil || !s.Running {
		return err
	}
	if len(s.Peers) == 0 {
		fmt.Fprintln(w, "\nconnected to nobody")
		return nil
	}
	fmt.Fprintln(w)
	rows := make([][]string, len(s.Peers))
	for i, p := range s.Peers {
		rows[i] = []string{p.ID, strings.TrimSuffix(p.Addr, "/p2p/"+p.ID)}
	}
	return ui.Table(w, []string{"PEER", "ADDRESS"}, rows)
}

func (a *App) writeStewards(w io.Writer, all []node.StewardStatus) error {
	if len(all) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	rows := make([][]string, len(all))
	for i, s := range all {
		rows[i] = []string{s.ID, stewardWhy(s), a.stewardState(s)}
	}
	return ui.Table(w, []string{"KEEPS IN TOUCH WITH", "WHY", "STATE"}, rows)
}
