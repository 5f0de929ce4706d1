package meshcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/node"
)

func newJoinCommand(a *app) *cobra.Command {
	var role string
	var yes bool
	var listen []string
	cmd := &cobra.Command{
		Use:   "join LINK",
		Short: "Join a mesh with an invitation",
		Long: `Fetches the charter that the invitation names from every steward in it, checks all of its versions and
signatures, compares what the stewards show, and shows you the rules before anything is stored. One that
contradicts the others is named; where they show two histories that exclude each other, or another mesh,
nobody joins. Compare the mesh's words with whoever
invited you: a link that came to you by a stranger may lead to another mesh.

Where the folder is new, it is made for the role (a home unless you say otherwise). In a folder that a
node lives in already, the charter and the stewards are added. The stewards that answered go into the
settings (config.toml), where you can change them.`,
		Example: `  porchlight join 'porchlight://join?mesh=…&charter=…&peer=…'
  porchlight join 'porchlight://join?…' --role observe
  porchlight join 'porchlight://join?…' --dir ~/.porchlight/agency`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			inv, err := charter.ParseInvitation(args[0])
			if err != nil {
				return cli.Usage("copy the whole link, and put it in single quotes: it holds '&'", "the invitation: %w", err)
			}
			return a.join(ctx, inv, role, listen, yes)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", "", "what the node is for: home, agency, observe or steward (default home)")
	f.BoolVar(&yes, "yes", false, "do not ask: you know the mesh")
	cli.ListenFlag(cmd, &listen)
	return cmd
}

// joined is the answer of join.
type joined struct {
	Dir      string       `json:"dir"`
	Role     node.Role    `json:"role"`
	Reached  []string     `json:"reached"`
	Stewards []node.Shown `json:"stewards"`
	charterShown
}

func (a *app) join(ctx context.Context, inv charter.Invitation, roleName string, listen []string, yes bool) error {
	dir, role, exists, err := a.joinFolder(roleName)
	if err != nil {
		return err
	}
	if err := cli.CheckAddrs("listen", listen); err != nil {
		return err
	}
	if exists {
		if chain, err := node.ReadCharter(charterDir(dir)); err == nil && chain.Mesh() != inv.Mesh {
			return node.WithHint(fmt.Errorf("%s is in another mesh, %s", dir, chain.Current().Mesh), "a node is in one mesh; choose another folder with --dir")
		}
	}
	a.Say("asking %d peers for the charter…", len(inv.Peers))
	got, err := node.Join(ctx, inv, a.QuietLog())
	for _, p := range got.Peers {
		a.Say("%s", ui.Clean(stewardLine(p)))
	}
	if err != nil {
		return err
	}
	shown := describeCharter(got.Chain)
	if !a.JSON || !yes {
		if err := a.writeCharter(a.Err, shown); err != nil {
			return err
		}
		a.Say("")
	}
	if n := len(got.Peers) - agreeing(got.Peers); n > 0 {
		a.Say("warning: %d of %d stewards do not show this charter; above it says which", n, len(got.Peers))
	} else {
		a.Say("all %d stewards of the invitation show this charter", len(got.Peers))
	}
	if err := a.Confirm(yes, fmt.Sprintf("Join %s as %s?", ui.Clean(shown.Charter.Mesh), role)); err != nil {
		return err
	}
	if !exists {
		if role == node.Agency {
			return node.WithHint(errors.New("an agency's folder is made with its docket key first"), "run `porchlight agency init`, have agency.card admitted, then join")
		}
		if err := cli.CreateNode(dir, role, listen); err != nil {
			return err
		}
	} else if err := cli.SetList(dir, role, "listen", listen); err != nil {
		return err
	}
	if err := storeCharter(dir, got.Chain, got.Addrs); err != nil {
		return err
	}
	return a.Show(joined{dir, role, got.Addrs, got.Peers, shown}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is in mesh %s\nnext: porchlight %s run --dir %s\n", dir, ui.Clean(shown.Charter.Mesh), role, dir)
		return err
	})
}

// stewardLine says what one steward showed.
func stewardLine(p node.Shown) string {
	s := fmt.Sprintf("steward %s %s", p.Peer, p.Standing)
	if p.Why != "" {
		s += ": " + p.Why
	}
	return s
}

func agreeing(peers []node.Shown) (n int) {
	for _, p := range peers {
		if p.Standing == node.Agrees {
			n++
		}
	}
	return n
}

// joinFolder says which folder joins, as what, and whether a node lives in it already.
func (a *app) joinFolder(roleName string) (dir string, role node.Role, exists bool, err error) {
	want := node.Home
	if roleName != "" {
		if want, err = node.ParseRole(roleName); err != nil {
			return "", "", false, cli.Usage("", "--role: %w", err)
		}
	}
	if dir, err = a.Folder(string(want)); err != nil {
		return "", "", false, err
	}
	held, err := node.RoleOf(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, want, false, nil
	case err != nil:
		return "", "", false, err
	case roleName != "" && held != want:
		return "", "", false, node.WithHint(fmt.Errorf("%s holds a node of role %s, not %s", dir, held, want), "leave --role out, or choose another folder with --dir")
	}
	return dir, held, true, nil
}

// storeCharter puts a charter into a node's folder, and the stewards to keep in touch with into its
// settings, where a person can see and change them. The folder must not be in use: a running node
// learns new versions from its peers.
func storeCharter(dir string, chain charter.Chain, stewards []string) (err error) {
	state, err := node.OpenState(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	if err := node.WriteCharter(state.Disk(), state.Path("charter"), chain); err != nil {
		return err
	}
	if len(stewards) == 0 {
		return nil
	}
	if err := node.RememberInvited(state, stewards); err != nil {
		return err
	}
	c, err := node.ReadConfig(state.Path("config.toml"), state.Role())
	if err != nil {
		return err
	}
	for _, s := range stewards {
		if !slices.Contains(c.Stewards, s) {
			c.Stewards = append(c.Stewards, s)
		}
	}
	return cli.SetList(dir, state.Role(), "stewards", c.Stewards)
}
