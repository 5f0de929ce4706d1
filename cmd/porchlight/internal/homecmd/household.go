package homecmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// asFlag lets a person of a household say who they are.
func asFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "as", "", "your key `file`, in a household of several owners")
}

// order is a person's signed order for what is wanted; "" where no key is named, as with one owner.
func (a *app) order(keyFile, what string, request consent.RequestID, of string) (string, error) {
	if keyFile == "" {
		return "", nil
	}
	k, err := a.ReadKey(keyFile)
	if err != nil {
		return "", err
	}
	return home.Signed(what, request, of, a.Now(), k)
}

// mayOrder says, before anybody is asked anything, whether a person of a household has to say who they are.
func (a *app) mayOrder(ctx context.Context, as string) error {
	var h home.Household
	if as != "" {
		return nil
	}
	if err := a.atHome(ctx, "home.household", nil, &h); err != nil || len(h.Persons) == 0 {
		return err
	}
	return node.WithHint(fmt.Errorf("this home has %d owners, and each orders with a key of their own", len(h.Persons)), "give yours with --as KEYFILE")
}

// writeMissing says who signed and how many more have to.
func writeMissing(w io.Writer, by []string, missing int) error {
	_, err := fmt.Fprintf(w, "signed by %s; %d more of the household have to give the same command before it counts\n", strings.Join(by, ", "), missing)
	return err
}

func newHouseholdCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "household",
		Short: "Show or say who the owners of this home are, and how many approve",
		Long: `A home has one owner, who is whoever uses its node, unless it names several. Then as many as it says have to
approve the very same thing before anything leaves, or is extended, passed on or made public. Any one of them
declines for all, and takes back. Each orders with a key of their own (porchlight key new), sealed with their
passphrase, which --as names.

That keeps somebody else at the same machine from approving. Whoever controls the machine's disk controls
the node, whatever is signed.`,
		Example: "  porchlight home household\n  porchlight home household set --approvals 2 --person Ana=ana.pub --person Ben=ben.pub",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var h home.Household
			if err := a.atHome(ctx, "home.household", nil, &h); err != nil {
				return err
			}
			return a.Show(h, func(w io.Writer) error { return writeHousehold(w, h) })
		})),
	}
	cmd.AddCommand(newHouseholdSetCommand(a))
	return cmd
}

func writeHousehold(w io.Writer, h home.Household) error {
	if len(h.Persons) == 0 {
		_, err := fmt.Fprintln(w, "one owner, who is whoever uses this node")
		return err
	}
	fmt.Fprintf(w, "%d of %d owners approve; any one declines and takes back\n\n", h.Approvals, len(h.Persons))
	var rows [][]string
	for _, p := range h.Persons {
		rows = append(rows, []string{p.Name, string(p.Key)})
	}
	return ui.Table(w, []string{"OWNER", "KEY"}, rows)
}

func newHouseholdSetCommand(a *app) *cobra.Command {
	var s home.SetHousehold
	var persons []string
	var as string
	cmd := &cobra.Command{
		Use:   "set --approvals K --person NAME=KEY …",
		Short: "Say who the owners of this home are, and how many approve",
		Long: `Names all owners and how many of them have to approve. Where several are named already, as many of those as have
to approve give this same command, each with --as; then it counts.

It is undone with the same command and no --person: the home has one owner again, who is whoever uses its
node. Where so many keys are lost that nobody can order that any more, stop the node and remove
household.json from its folder; what only some have approved is forgotten then.`,
		Example: `  porchlight home household set --approvals 2 --person Ana=ana.pub --person Ben=ben.pub --person Cleo=cleo.pub
  porchlight home household set --approvals 2 --person Ana=ana.pub --person Ben=ben.pub --as ana.key
  porchlight home household set --as ana.key     # and --as ben.key: one owner again`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			for _, p := range persons {
				name, file, ok := strings.Cut(p, "=")
				if !ok {
					return cli.Usage("write it as in --person Ana=ana.pub", "--person %q names no key", p)
				}
				k, err := cli.ReadPublic(file)
				if err != nil {
					return fmt.Errorf("--person %s: %w", name, err)
				}
				s.Persons = append(s.Persons, home.Person{Name: name, Key: k})
			}
			if err := a.mayOrder(ctx, as); err != nil {
				return err
			}
			var err error
			if s.Order, err = a.order(as, "household", "", s.Household.Digest()); err != nil {
				return err
			}
			var got home.HouseholdSet
			if err := a.atHome(ctx, "home.household.set", s, &got); err != nil {
				return err
			}
			return a.Show(got, func(w io.Writer) error {
				if got.Missing > 0 {
					return writeMissing(w, got.By, got.Missing)
				}
				if err := writeHousehold(w, got.Household); err != nil || len(got.Persons) == 0 {
					return err
				}
				_, err := fmt.Fprintf(w, "\n`porchlight home household set --as KEYFILE`, given by %d of them, undoes this\n", got.Approvals)
				return err
			})
		})),
	}
	cmd.Flags().IntVar(&s.Approvals, "approvals", 0, "how many `owners` have to approve")
	cmd.Flags().StringArrayVar(&persons, "person", nil, "`NAME=KEY` of an owner, KEY a public key or its .pub file; may be repeated")
	asFlag(cmd, &as)
	return cmd
}
