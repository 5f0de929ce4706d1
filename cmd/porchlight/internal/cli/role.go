package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// NewRunCommand is `porchlight ROLE run`.
func NewRunCommand(a *App, role node.Role, does string) *cobra.Command {
	var http string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run this node until it is stopped",
		Long: fmt.Sprintf(`Runs the node in the foreground.
%s

It prints the addresses it listens on and logs to standard error. Ctrl-C or SIGTERM ends it
cleanly; a power cut loses nothing that was decided.`, does),
		Example: fmt.Sprintf("  porchlight %s run\n  porchlight %s run --dir /srv/porchlight", role, role),
		Args:    cobra.NoArgs,
	}
	serves := role == node.Steward || role == node.Observe
	if serves {
		cmd.Flags().StringVar(&http, "http", "", "`address` to serve dockets on as static tiles, as in 127.0.0.1:8080, for this run")
		cmd.Long += "\n\nWith --http it serves the dockets that it keeps, for browsers and for monitors of C2SP logs, to whoever\n" +
			"can reach that address; all of it is public. Without, config.toml says whether it does, under [observe]."
		cmd.Example += fmt.Sprintf("\n  porchlight %s run --http 127.0.0.1:8080", role)
	}
	cmd.RunE = a.Do(Nothing(func(ctx context.Context) error {
		dir, err := a.Folder(string(role))
		if err != nil {
			return err
		}
		if err := node.CheckHTTP(http); err != nil {
			return Usage(node.HintOf(err), "--http: %w", err)
		}
		if !serves || !cmd.Flags().Changed("http") {
			return a.serve(ctx, dir, role, nil)
		}
		return a.serve(ctx, dir, role, &http)
	}))
	return cmd
}

// ListenFlag is the --listen of every init.
func ListenFlag(cmd *cobra.Command, listen *[]string) {
	cmd.Flags().StringArrayVar(listen, "listen", nil, "`multiaddr` to listen on, as in /ip4/0.0.0.0/tcp/4001; may be repeated")
}

// NewInitCommand is `porchlight ROLE init` for the roles that need nothing but a folder.
func NewInitCommand(a *App, role node.Role, long string) *cobra.Command {
	var listen []string
	cmd := &cobra.Command{
		Use:     "init",
		Short:   "Make the folder of a new node",
		Long:    long,
		Example: fmt.Sprintf("  porchlight %s init\n  porchlight join 'porchlight://join?…' --dir ~/.porchlight/%s", role, role),
		Args:    cobra.NoArgs,
		RunE: a.Do(Nothing(func(ctx context.Context) error {
			dir, err := a.Folder(string(role))
			if err != nil {
				return err
			}
			if err := CreateNode(dir, role, listen); err != nil {
				return err
			}
			return a.ShowMade(dir, role, "porchlight join LINK --dir "+dir)
		})),
	}
	ListenFlag(cmd, &listen)
	return cmd
}

// made is the answer of commands that make a node's folder.
type made struct {
	Dir  string    `json:"dir"`
	Role node.Role `json:"role"`
}

// ShowMade says that a folder was made, and what comes next.
func (a *App) ShowMade(dir string, role node.Role, next string) error {
	return a.Show(made{dir, role}, func(w io.Writer) error {
		fmt.Fprintf(w, "made %s, a node of role %s\n", dir, role)
		fmt.Fprintf(w, "settings are in %s\n", filepath.Join(dir, "config.toml"))
		if next != "" {
			fmt.Fprintf(w, "next: %s\n", next)
		}
		return nil
	})
}

// CreateNode makes a folder and writes what the flags say into its config.toml.
func CreateNode(dir string, role node.Role, listen []string) error {
	if err := CheckAddrs("listen", listen); err != nil {
		return err
	}
	if err := node.Create(dir, role); err != nil {
		return err
	}
	return SetList(dir, role, "listen", listen)
}

// CheckAddrs refuses what is no multiaddr, before anything is made.
func CheckAddrs(flag string, addrs []string) error {
	for _, s := range addrs {
		if _, err := multiaddr.NewMultiaddr(s); err != nil {
			return Usage("write it as in /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/udp/4001/quic-v1", "--%s %q: %v", flag, s, err)
		}
	}
	return nil
}

// SetList rewrites one list of config.toml in place, so that its comments stay. An empty list
// leaves the file as it is.
func SetList(dir string, role node.Role, key string, values []string) error {
	if len(values) == 0 {
		return nil
	}
	path := filepath.Join(dir, "config.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = fmt.Sprintf("%q", v)
	}
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + ` = \[.*\]$`)
	at := line.FindIndex(text)
	if at == nil {
		return fmt.Errorf("%s has no line %q to set", path, key+" = […]")
	}
	text = append(text[:at[0]:at[0]], append([]byte(key+" = ["+strings.Join(quoted, ", ")+"]"), text[at[1]:]...)...)
	if err := durable.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	_, err = node.ReadConfig(path, role)
	return err
}

// NewStatusOf is `porchlight ROLE status`.
func NewStatusOf(a *App, role node.Role) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show the mesh, the addresses and the peers of this node",
		Long:    `Shows what the node is, whether it runs, where it can be reached and who it is connected to.`,
		Example: fmt.Sprintf("  porchlight %s status", role),
		Args:    cobra.NoArgs,
		RunE: a.Do(Nothing(func(ctx context.Context) error {
			dir, err := a.Folder(string(role))
			if err != nil {
				return err
			}
			return a.status(ctx, dir)
		})),
	}
}

func (a *App) status(ctx context.Context, dir string) error {
	var s node.Status
	if err := a.CallEither(ctx, dir, "status", nil, &s); err != nil {
		return err
	}
	return a.Show(s, func(w io.Writer) error { return a.writeStatus(w, s) })
}

// NewStatusCommand is `porchlight status`, for a machine with one node on it.
func NewStatusCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the node on this machine",
		Long: `Shows the node in --dir. Without it, the one that is found under ~/.porchlight; where there are
several, name one.`,
		Example: "  porchlight status\n  porchlight status --dir /srv/porchlight --json",
		Args:    cobra.NoArgs,
		RunE: a.Do(Nothing(func(ctx context.Context) error {
			dir, err := a.OnlyFolder()
			if err != nil {
				return err
			}
			return a.status(ctx, dir)
		})),
	}
}

// OnlyFolder is --dir, else the one node under ~/.porchlight.
func (a *App) OnlyFolder() (string, error) {
	var found []string
	for _, role := range []node.Role{node.Home, node.Agency, node.Steward, node.Observe} {
		dir, err := a.Folder(string(role))
		if err != nil {
			return "", err
		}
		if a.Dir != "" || a.Env("PORCHLIGHT_DIR") != "" {
			return dir, nil
		}
		if _, err := node.RoleOf(dir); err == nil {
			found = append(found, dir)
		}
	}
	switch len(found) {
	case 0:
		return "", node.WithHint(fmt.Errorf("there is no node under ~/.porchlight"), "join a mesh with `porchlight join LINK`, or say where the node is with --dir")
	case 1:
		return found[0], nil
	}
	return "", Usage("name one with --dir", "there are several nodes: %s", strings.Join(found, ", "))
}

// folderOf is the folder of a role's node; without a role, of the one node on this machine.
func (a *App) folderOf(role node.Role) (string, error) {
	if role == "" {
		return a.OnlyFolder()
	}
	return a.Folder(string(role))
}

func ofRole(role node.Role) string {
	if role == "" {
		return ""
	}
	return string(role) + " "
}

// NewAgenciesCommand is `porchlight ROLE agencies`, and without a role `porchlight agencies`.
func NewAgenciesCommand(a *App, role node.Role) *cobra.Command {
	return &cobra.Command{
		Use:   "agencies",
		Short: "List the agencies the charter admits and their record",
		Long: `Lists every agency of the charter with what its docket holds, as this node has checked it, and how it
stands:

  in order                  its requests are shown
  in order, not witnessed   likewise; the charter asks no witness to confirm that all see the same docket
  promises not kept         likewise; deletions are overdue, its docket is silent, or owners showed a breach
  withheld                  it signed more entries than anybody gives; no new one is shown until they come
  suspended by the charter  it may ask nothing, for the reason that the charter gives
  suspended: misconduct     it signed two versions of its docket; porchlight observe record has the proof

OVERDUE counts deletions that its docket promised and does not say (porchlight observe overdue), BREACHES what
owners showed with its own signature that the docket does not keep.`,
		Example: "  porchlight " + ofRole(role) + "agencies",
		Args:    cobra.NoArgs,
		RunE: a.Do(Nothing(func(ctx context.Context) error {
			dir, err := a.folderOf(role)
			if err != nil {
				return err
			}
			var list []node.AgencyStatus
			if err := a.CallEither(ctx, dir, "agencies", nil, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error {
				return ui.List(w, list, "the charter admits no agency", []string{"ID", "AGENCY", "CLASS", "ENTRIES", "REQUESTS", "STATE", "OVERDUE", "BREACHES", "POLICY"}, func(g node.AgencyStatus) []string {
					return []string{ui.Short(g.ID), g.Name, g.Class, fmt.Sprint(g.Entries), fmt.Sprint(g.Requests), g.Standing.Words(),
						fmt.Sprint(g.Promises.Overdue), fmt.Sprint(g.Promises.BreachesStand), g.PolicyURL}
				})
			})
		})),
	}
}

// NewRequestsCommand is `porchlight ROLE requests`, and without a role `porchlight requests`.
func NewRequestsCommand(a *App, role node.Role) *cobra.Command {
	return &cobra.Command{
		Use:     "requests",
		Short:   "List all requests of the mesh",
		Long:    `Lists every request this node has admitted, newest first: live ones and those that are over.`,
		Example: "  porchlight " + ofRole(role) + "requests",
		Args:    cobra.NoArgs,
		RunE: a.Do(Nothing(func(ctx context.Context) error {
			dir, err := a.folderOf(role)
			if err != nil {
				return err
			}
			var list []node.RequestStatus
			if err := a.CallEither(ctx, dir, "requests", nil, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error {
				return ui.List(w, list, "no requests so far", []string{"ID", "AGENCY", "CASE", "OFFENCE", "WINDOW", "STATE"}, func(r node.RequestStatus) []string {
					return []string{ui.Short(r.ID), r.Agency, r.Case, r.Offence, ui.Span(r.From, r.Until), requestState(r, a)}
				})
			})
		})),
	}
}

func requestState(r node.RequestStatus, a *App) string {
	switch {
	case r.Ended != "":
		return r.Ended
	case r.Live:
		return "live, expires " + ui.Relative(r.Expires, a.Now())
	}
	return "expired"
}

// NewRequestCommand is `porchlight ROLE request ID`.
func NewRequestCommand(a *App, role node.Role) *cobra.Command {
	var note bool
	cmd := &cobra.Command{
		Use:   "request ID",
		Short: "Show one request",
		Long: `Shows one request as it stands in its agency's docket. With --note it prints the signed document
itself, which anybody can check with ` + "`porchlight verify`.",
		Example: fmt.Sprintf("  porchlight %s request 3f9a0c17b2e4\n  porchlight %s request 3f9a0c17b2e4 --note > request.note", role, role),
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			dir, err := a.Folder(string(role))
			if err != nil {
				return err
			}
			var r node.RequestStatus
			if err := a.CallEither(ctx, dir, "request", node.RequestArg{Request: args[0]}, &r); err != nil {
				return err
			}
			return a.Show(r, func(w io.Writer) error {
				if note {
					_, err := io.WriteString(w, r.Note)
					return err
				}
				if err := ui.Facts(w, "request", string(r.ID), "agency", r.Agency, "docket entry", fmt.Sprint(r.Index), "case", r.Case,
					"offence", r.Offence, "basis", r.Basis, "window", ui.Span(r.From, r.Until), "area", ui.Area(r.AreaM2),
					"expires", ui.When(r.Expires, a.Now()), "made", ui.When(r.Created, a.Now()), "state", requestState(r, a),
					"report", ReportText(r.Report), "outcome", OutcomeText(r.Outcome), "their deletions", DeletionsText(r.Promises)); err != nil {
					return err
				}
				fmt.Fprintln(w, "text")
				ui.Wrap(w, "  ", r.Text, 90)
				WriteObjections(w, r.Objections)
				WriteBreaches(w, r.Breaches)
				return nil
			})
		}),
	}
	cmd.Flags().BoolVar(&note, "note", false, "print the signed document")
	return cmd
}
