package meshcmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// witnessReach is what a witness that is no steward has to know.
const witnessReach = `

Agencies have to reach an observer that is a witness: listen on an address that they can dial, and have
each of them name it, with its /p2p/ID, among the stewards in the config.toml of its node.`

// newWitnessCommand is `porchlight steward witness` and `porchlight observe witness`.
func newWitnessCommand(a *app, role node.Role) *cobra.Command {
	var name, out string
	long := `Makes this node's key as a witness, where it has none, and shows its public half. A witness cosigns what
agencies sign of their dockets, after checking that each one follows from what it cosigned before, so that
everybody is shown the same docket. It counts once a charter names its key; how many witnesses have to cosign
before anybody is shown a request, the charter says too.

The node must not be running; it cosigns from its next start on. Should the folder be lost, do not bring the
key back from a copy: it could cosign another version of what it cosigned before. Make a new one, and let the
charter name that.`
	if role == node.Observe {
		long += witnessReach
	}
	cmd := &cobra.Command{
		Use:   "witness",
		Short: "Make or show this node's key as a witness of dockets",
		Long:  long,
		Example: fmt.Sprintf(`  porchlight %s witness --name "Elm Library" --out library.pub
  porchlight %s witness`, role, role),
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(context.Context) error {
			dir, err := a.Folder(string(role))
			if err != nil {
				return err
			}
			return a.witness(dir, role, cli.Dotted(name), out)
		})),
	}
	cmd.Flags().StringVar(&name, "name", "", "`name` to cosign under, for a new key")
	cmd.Flags().StringVar(&out, "out", "", "`file` to write the public key to; must not exist")
	return cmd
}

// witnessKey is the answer of the witness commands.
type witnessKey struct {
	Name     string              `json:"name"`
	Key      consent.VerifierKey `json:"key"`
	Cosigner string              `json:"cosigner_key"` // as other software of transparency logs has it
	File     string              `json:"public_file,omitempty"`
}

func (a *app) witness(dir string, role node.Role, name, out string) error {
	if out != "" {
		if err := cli.NewFile(out); err != nil {
			return err
		}
	}
	k, err := node.MakeWitness(dir, name)
	if _, locked := errors.AsType[*durable.LockedError](err); locked {
		if err := cli.HoldsRole(dir, role); err != nil {
			return err
		}
		return node.WithHint(fmt.Errorf("the node of %s is running", dir), fmt.Sprintf("stop it, and start it again afterwards with `porchlight %s run --dir %s`", role, dir))
	}
	if err != nil {
		return err
	}
	w := witnessKey{Name: k.Name(), Key: k, File: out}
	if w.Cosigner, err = docket.CosignerKey(k); err != nil {
		return err
	}
	if out != "" {
		if err := durable.WriteFile(out, []byte(string(k)+"\n"), 0o644); err != nil {
			return err
		}
	}
	return a.Show(w, func(to io.Writer) error {
		if err := ui.Facts(to, "witness", w.Name, "public key", string(w.Key), "for other logs", w.Cosigner, "public file", w.File); err != nil {
			return err
		}
		file := w.File
		if file == "" {
			file = "KEY"
		}
		fmt.Fprintf(to, "next: hand the public key to the signers of the charter, who name it with\n  porchlight charter propose --add-witness %s --quorum N\n", file)
		_, err := fmt.Fprintf(to, "then run the node: porchlight %s run --dir %s\n", role, dir)
		return err
	})
}
