// Package meshcmd is what makes a mesh and gets people into it: `porchlight charter`, `join`,
// `steward` and `observe`.
package meshcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/node"
)

// app is the shared App, with this package's own methods.
type app struct{ *cli.App }

// New is `porchlight charter`, `join`, `steward` and `observe`.
func New(shared *cli.App) []*cobra.Command {
	a := &app{shared}
	return []*cobra.Command{newStewardCommand(a), newObserveCommand(a), newJoinCommand(a), newCharterCommand(a)}
}

func newCharterCommand(a *app) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "charter",
		Short: "Make and keep the shared rules of a mesh",
		Long: `The charter holds a mesh's shared rules: its limits, the agencies it admits, and who signs changes. It is
a folder of signed versions, 000001.note and on. Each version names the one before it, and everybody can
check all of them. Its signers admit agencies, after comparing each agency's fingerprint in person, and
suspend or remove them with a reason that everybody can read.`,
		Example: `  porchlight charter new --mesh "Elm Street" --signer ana.key
  porchlight charter admit agency.card --key ana.key
  porchlight charter propose --key ana.key --suspend 'Elm PD' --reason 'two requests without an outcome'
  porchlight charter publish --node ~/.porchlight/steward
  porchlight charter invite --node ~/.porchlight/steward`,
	})
	cmd.AddCommand(newCharterNewCommand(a), newCharterAdmitCommand(a), newCharterProposeCommand(a), newCharterSignCommand(a), newCharterAddCommand(a), newCharterShowCommand(a),
		newCharterPublishCommand(a), newCharterInviteCommand(a))
	return cmd
}

// readCharter reads a charter folder.
func readCharter(dir string) (charter.Chain, error) {
	chain, err := node.ReadCharter(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, node.WithHint(fmt.Errorf("%s holds no charter", dir), "make one with `porchlight charter new --dir "+dir+"`, or say where it is with --dir")
	}
	return chain, err
}

func newCharterNewCommand(a *app) *cobra.Command {
	var mesh, ends string
	var signers []string
	var lanOnly bool
	cmd := &cobra.Command{
		Use:   "new --mesh NAME --signer KEYFILE",
		Short: "Found a mesh: write and sign version 1 of its charter",
		Long: `Writes version 1 of a charter with the default limits, which follow the strictest published practice
(windows of 15 minutes to 12 hours, at most 2 posts a case, retention of at most 365 days). Federal and
immigration agencies are off until an owner turns them on.

The hash of version 1 is the mesh's id for good. A --signer is a key file of yours, or the .pub file of
somebody else. More than half of the signers have to sign, this version and every later one: where keys
are elsewhere, the version waits in next.note for porchlight charter sign.`,
		Example: `  porchlight key new --name Ana --out ana.key
  porchlight charter new --mesh "Elm Street" --signer ana.key`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(context.Context) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			return a.charterNew(dir, mesh, ends, signers, lanOnly)
		})),
	}
	f := cmd.Flags()
	f.StringVar(&mesh, "mesh", "", "`name` of the mesh")
	f.StringArrayVar(&signers, "signer", nil, "key `file` of a signer, or .pub file of one elsewhere; may be repeated")
	f.StringVar(&ends, "ends", "", "`date` the charter ends (default: in two years)")
	f.BoolVar(&lanOnly, "lan-only", false, "the mesh lives on one local network: private addresses are allowed in requests")
	cli.MustFlags(cmd, "mesh", "signer")
	return cmd
}

func (a *app) charterNew(dir, mesh, ends string, signers []string, lanOnly bool) error {
	if _, err := node.ReadCharter(dir); !errors.Is(err, fs.ErrNotExist) {
		return node.WithHint(fmt.Errorf("%s holds a charter already", dir), "choose another folder with --dir")
	}
	now := a.Now()
	end, err := cli.ParseTime("ends", ends)
	if err != nil {
		return err
	}
	if end.IsZero() {
		end = now.AddDate(2, 0, 0)
	}
	c := &charter.Charter{
		Mesh: mesh, Version: 1, Created: consent.At(now), Ends: consent.At(end), Threshold: len(signers)/2 + 1,
		Limits: charter.DefaultLimits(), Daily: charter.DefaultDaily(charter.DefaultLimits()),
		Quotas: charter.DefaultQuotas(), OffByDefault: charter.DefaultOff(), LANOnly: lanOnly,
	}
	var keys []consent.Key
	for _, s := range signers {
		var pub consent.VerifierKey
		if strings.HasSuffix(s, ".pub") || strings.Contains(s, "+") {
			if pub, err = cli.ReadPublic(s); err != nil {
				return err
			}
		} else {
			k, err := a.ReadKey(s)
			if err != nil {
				return err
			}
			keys, pub = append(keys, k), k.Verifier()
		}
		c.Signers = append(c.Signers, charter.Signer{Name: pub.Name(), Key: pub})
	}
	if len(keys) == 0 {
		return cli.Usage("give the .key file of at least one signer", "--signer names public keys only: nobody can sign here")
	}
	note, err := consent.Sign(c, keys...)
	if err != nil {
		return err
	}
	return a.settle(dir, filepath.Join(dir, nextNote), nil, c, note)
}

func readCard(file string) (charter.Card, error) {
	note, err := cli.ReadSmall(file, consent.MaxNote)
	if err != nil {
		return charter.Card{}, err
	}
	card, err := charter.OpenCard(note)
	if err != nil {
		return charter.Card{}, fmt.Errorf("%s: %w", file, err)
	}
	return card, nil
}

func (a *app) readKeys(files []string) ([]consent.Key, error) {
	var keys []consent.Key
	for _, f := range files {
		k, err := a.ReadKey(f)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func newCharterAdmitCommand(a *app) *cobra.Command {
	var keys []string
	var words string
	var yes bool
	cmd := &cobra.Command{
		Use:   "admit CARD --key KEYFILE",
		Short: "Admit an agency: sign a version of the charter that names it",
		Long: `Shows an agency's card and its fingerprint in words, asks whether you compared them with the agency in
person or by a telephone number you found yourself, and signs the next version of the charter.

With --fingerprint it takes the words that the agency read to you, and compares them itself.

Where the charter needs more signatures than the keys at hand, the version waits in next.note.`,
		Example: `  porchlight charter admit agency.card --key ana.key
  porchlight charter admit agency.card --key ana.key --fingerprint "…twelve words…"`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			return a.admit(dir, args[0], keys, words, yes)
		}),
	}
	f := cmd.Flags()
	f.StringArrayVar(&keys, "key", nil, "key `file` of a signer; may be repeated")
	f.StringVar(&words, "fingerprint", "", "the `words` the agency told you")
	f.BoolVar(&yes, "yes", false, "do not ask: the fingerprint was compared before")
	cli.MustFlags(cmd, "key")
	return cmd
}

func (a *app) admit(dir, cardFile string, keyFiles []string, words string, yes bool) error {
	chain, err := readCharter(dir)
	if err != nil {
		return err
	}
	card, err := readCard(cardFile)
	if err != nil {
		return err
	}
	if chain.Frozen() {
		return node.WithHint(consent.Refuse(consent.Frozen, "", "the charter is frozen and admits nobody"), "`porchlight charter propose` heals it first; `porchlight charter show` says more")
	}
	g := charter.Agency(card)
	if err := a.compared(card, words, yes); err != nil {
		return err
	}
	// What the charter's signers said of it before stays.
	if last, ok := chain.LastEntry(g.ID()); ok {
		g.Suspended, g.Succeeds = last.Suspended, last.Succeeds
	}
	next := nextVersion(chain, a.Now())
	if i := slices.IndexFunc(next.Agencies, func(o charter.Agency) bool { return o.ID() == g.ID() }); i >= 0 {
		next.Agencies[i] = g
	} else {
		next.Agencies = append(next.Agencies, g)
	}
	return a.signNext(dir, chain, next, keyFiles)
}

// compared shows an agency's card and ends well when the fingerprint was compared with the agency.
func (a *app) compared(card charter.Card, words string, yes bool) error {
	if err := writeAgency(a.Err, charter.Agency(card)); err != nil {
		return err
	}
	if words == "" {
		return a.Confirm(yes, "Did you compare this fingerprint with the agency in person, and does it match?")
	}
	told, err := consent.ParseFingerprint(words)
	if err != nil {
		return cli.Usage("", "--fingerprint: %w", err)
	}
	if string(told) != card.Fingerprint() {
		return node.WithHint(fmt.Errorf("the fingerprint is another: this is not the card of the agency you spoke with"), "do not admit it; ask the agency for its card again, and compare in person")
	}
	a.Say("the fingerprint is the one you were told")
	return nil
}

func newCharterPublishCommand(a *app) *cobra.Command {
	var nodeDir string
	cmd := &cobra.Command{
		Use:   "publish --node FOLDER",
		Short: "Spread the charter's versions through a node of yours",
		Long: `Hands the versions in the charter folder to a node, which passes on what the mesh does not have yet. A
node that is not running takes them in and shows them to its peers when it runs.`,
		Example: "  porchlight charter publish --node ~/.porchlight/steward",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			chain, err := readCharter(dir)
			if err != nil {
				return err
			}
			var args node.CharterNote
			for _, n := range chain.Notes() {
				args.Notes = append(args.Notes, string(n))
			}
			var s node.Status
			if err := a.CallEither(ctx, nodeDir, "charter.publish", args, &s); err != nil {
				return err
			}
			return a.Show(s, func(w io.Writer) error {
				if !s.Running {
					_, err := fmt.Fprintf(w, "the node holds charter version %d now; it is passed on when the node runs\n", s.Version)
					return err
				}
				_, err := fmt.Fprintf(w, "charter version %d passed on to %d peers\n", s.Version, len(s.Peers))
				return err
			})
		})),
	}
	cmd.Flags().StringVar(&nodeDir, "node", "", "`folder` of the node")
	cli.MustFlags(cmd, "node")
	return cmd
}

// invitation is the answer of charter invite.
type invitation struct {
	Link string `json:"link"`
}

func newCharterInviteCommand(a *app) *cobra.Command {
	var peers, nodeDirs []string
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Print an invitation to the mesh",
		Long: `Prints a link with the mesh's id, the hash of the newest version of the charter, and the addresses of
stewards to connect to first. Who has the link can join; there is no secret in it. It names no home.

The addresses come from --peer, or from stewards that run on this machine (--node). Name two or more that
different people run: a home's answers go over two, so that neither sees who answers whom.`,
		Example: `  porchlight charter invite --node ~/.porchlight/steward
  porchlight charter invite --peer /ip4/203.0.113.5/tcp/4001/p2p/12D3KooW…`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			chain, err := readCharter(dir)
			if err != nil {
				return err
			}
			if err := cli.CheckAddrs("peer", peers); err != nil {
				return err
			}
			for _, dir := range nodeDirs {
				more, err := a.stewardAddrs(ctx, dir)
				if err != nil {
					return err
				}
				peers = append(peers, more...)
			}
			if len(peers) == 0 {
				return cli.Usage("give --peer with a steward's address, or --node with a steward's folder", "an invitation needs a steward to connect to")
			}
			inv := charter.Invitation{Mesh: chain.Mesh(), Charter: chain.CurrentHash(), Peers: peers}
			return a.Show(invitation{inv.String()}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, inv.String())
				return err
			})
		})),
	}
	cmd.Flags().StringArrayVar(&peers, "peer", nil, "`address` of a steward, ending in /p2p/ID; may be repeated")
	cmd.Flags().StringArrayVar(&nodeDirs, "node", nil, "`folder` of a steward that runs on this machine; may be repeated")
	return cmd
}

// stewardAddrs lists where a running steward can be reached. A home's address is in no
// invitation: nobody hands it on.
func (a *app) stewardAddrs(ctx context.Context, dir string) ([]string, error) {
	if role, err := node.RoleOf(dir); err != nil {
		return nil, err
	} else if role != node.Steward {
		return nil, node.WithHint(fmt.Errorf("%s holds a node of role %s; an invitation names stewards only", dir, role), "give a steward's address with --peer")
	}
	var s node.Status
	if err := a.Call(ctx, dir, "status", nil, &s); err != nil {
		return nil, err
	}
	var out, local []string
	for _, addr := range s.Addrs {
		if strings.HasPrefix(addr, "/ip4/127.") || strings.HasPrefix(addr, "/ip6/::1/") {
			local = append(local, addr)
		} else {
			out = append(out, addr)
		}
	}
	if len(out) == 0 {
		out = local
	}
	return out, nil
}

// charterDir is where a node's folder keeps its charter.
func charterDir(dir string) string { return filepath.Join(dir, "charter") }
