package meshcmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// objectFlags are what an objection is made of, as typed.
type objectFlags struct{ key, reason, out, note string }

// NewObjectCommand is `porchlight home object`.
func NewObjectCommand(shared *cli.App) *cobra.Command {
	return newObjectCommand(&app{shared}, node.Home)
}

// newObjectCommand is the object command of a role.
func newObjectCommand(a *app, role node.Role) *cobra.Command {
	var o objectFlags
	cmd := &cobra.Command{
		Use:   "object ID --key KEYFILE --reason TEXT",
		Short: "Object to a request, in public, as a signer or a witness of the charter",
		Long: `Signs an objection to a request and spreads it: that the request pressures, that it names a victim, that it
asks about a lawful gathering, or whatever the rules cannot tell. It hides nothing and stops nothing; it is
shown with the request, under your name, for good. Each signer and each witness of the charter may object
once to a request. A witness's key is in keys/witness.key of its node's folder.

With --out it only writes the signed objection, so that the key stays on your own machine; --note publishes
one that was written elsewhere. A home publishes nothing itself: it hands the objection to a steward over
another one, after a random delay, so that nobody can tell which home it came from.`,
		Example: fmt.Sprintf(`  porchlight %s object 3f9a0c17b2e4 --key ana.key --reason "It asks about a lawful gathering."
  porchlight %s object 3f9a0c17b2e4 --key ana.key --reason "It names a victim." --out objection.note
  porchlight %s object --note objection.note`, role, role, role),
		Args: cobra.MaximumNArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			dir, err := a.Folder(string(role))
			if err != nil {
				return err
			}
			if o.note != "" {
				if len(args) > 0 {
					return cli.Usage("", "--note holds the request's id; leave the id out")
				}
				note, err := cli.ReadSmall(o.note, consent.MaxNote)
				if err != nil {
					return err
				}
				return a.publishObjection(ctx, dir, note)
			}
			if len(args) == 0 {
				return cli.Usage("`porchlight requests` lists them", "name the request, or give --note with a signed objection")
			}
			return a.object(ctx, role, dir, args[0], o)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "your key `file`, as a signer or a witness of the charter")
	f.StringVar(&o.reason, "reason", "", fmt.Sprintf("why, for the public, in one line of %d to %d characters", request.MinObjection, request.MaxObjection))
	f.StringVar(&o.out, "out", "", "write the signed objection to this `file` and publish nothing")
	f.StringVar(&o.note, "note", "", "publish the signed objection in this `file`")
	cmd.MarkFlagsOneRequired("key", "note")
	cmd.MarkFlagsRequiredTogether("key", "reason")
	for _, flag := range []string{"key", "reason", "out"} {
		cmd.MarkFlagsMutuallyExclusive("note", flag)
	}
	return cmd
}

// objection is the answer of commands that write one.
type objection struct {
	File string            `json:"file"`
	By   string            `json:"by"` // the author's name in the charter
	Body request.Objection `json:"body"`
}

func (a *app) object(ctx context.Context, role node.Role, dir, id string, o objectFlags) error {
	if o.out != "" {
		if err := cli.NewFile(o.out); err != nil {
			return err
		}
	}
	var r node.RequestStatus
	if err := a.CallEither(ctx, dir, "request", node.RequestArg{Request: id}, &r); err != nil {
		return err
	}
	var c charter.Charter
	if err := a.CallEither(ctx, dir, "charter", nil, &c); err != nil {
		return err
	}
	k, err := a.ReadKey(o.key)
	if err != nil {
		return err
	}
	body := request.Objection{Agency: r.AgencyID, Request: r.ID, Reason: o.reason, Created: consent.At(a.Now()), By: k.Verifier()}
	by, err := body.CheckAuthor(&c)
	if err != nil {
		return err
	}
	note, err := consent.Sign(body, k)
	if err != nil {
		return err
	}
	if o.out == "" {
		return a.publishObjection(ctx, dir, note)
	}
	if err := durable.WriteFile(o.out, note, 0o644); err != nil {
		return err
	}
	return a.Show(objection{o.out, by, body}, func(w io.Writer) error {
		if err := ui.Facts(w, "objection to", string(r.ID), "reason", o.reason, "signed by", by); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "written to %s\nnext: `porchlight %s object --note %s`, here or on another node\n", o.out, role, o.out)
		return err
	})
}

func (a *app) publishObjection(ctx context.Context, dir string, note []byte) error {
	var done node.Objected
	if err := a.CallEither(ctx, dir, "object", node.ObjectionNote{Note: string(note)}, &done); err != nil {
		return err
	}
	return a.Show(done, func(w io.Writer) error {
		if !done.Leaves.IsZero() {
			_, err := fmt.Fprintf(w, "the objection of %s to request %s leaves by %s, over two stewards, while this node runs\n", ui.Clean(done.By), ui.Short(done.Request), ui.UTC(done.Leaves))
			return err
		}
		where := fmt.Sprintf("passed on to %d peers", done.Peers)
		if !done.Running {
			where = "it spreads once this node runs"
		}
		_, err := fmt.Fprintf(w, "the objection of %s to request %s is public; %s\n", ui.Clean(done.By), ui.Short(done.Request), where)
		return err
	})
}
