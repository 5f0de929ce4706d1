package meshcmd

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/node"
)

func newCharterProposeCommand(a *app) *cobra.Command {
	var p proposal
	cmd := &cobra.Command{
		Use:   "propose --key KEYFILE",
		Short: "Propose changes: signers, agencies, witnesses, dates",
		Long: `Writes and signs the next version of the charter with any number of changes. Where it needs more
signatures than the keys at hand, it waits in next.note: each signer reads the changes and adds a signature
with porchlight charter sign. Where signers change, enough of the old ones and enough of the new ones sign.

AGENCY is the beginning of an agency's id, or its name. Whoever is suspended or removed is so for a --reason,
which stands in the charter for everybody to read; it follows the change that it is about.

An agency that lost its docket or the docket's key makes another docket and another card. --succeed names the
lost one and the new card, and --checkpoint the last checkpoint of the lost docket, which every node that
follows it has in its folder (dockets/ID/checkpoint). You compare the card's fingerprint as in admit.

Where two versions exclude each other and the charter is frozen, what is proposed follows the version before
them and names all of them, and so heals the charter, with or without changes.`,
		Example: `  porchlight charter propose --key ana.key --add-signer dee.pub --remove-signer Cleo --threshold 2
  porchlight charter propose --key ana.key --suspend 'Elm PD' --reason 'no report of the exigent request of 3 May'
  porchlight charter propose --key ana.key --remove 3f9a0c17b2e4 --reason 'it asked for a lawful assembly'
  porchlight charter propose --key ana.key --succeed 3f9a0c17b2e4=new.card --checkpoint checkpoint
  porchlight charter propose --key ana.key --ends 2028-06-01`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(context.Context) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			return a.propose(dir, p)
		})),
	}
	f := cmd.Flags()
	f.StringArrayVar(&p.keys, "key", nil, "key `file` of a signer; may be repeated")
	for _, c := range []struct{ name, arg, usage string }{
		{"add-signer", "file", "public key `file` of somebody who signs from now on"},
		{"remove-signer", "name", "`name` of a signer who no longer does"},
		{"threshold", "number", "`number` of signers who have to agree from now on, over half"},
		{"ends", "date", "`date` the charter ends"},
		{"suspend", "agency", "`agency` whose requests are shown nowhere for now; say why with --reason"},
		{"resume", "agency", "`agency` that is suspended no longer"},
		{"remove", "agency", "`agency` that is admitted no longer; say why with --reason"},
		{"reason", "text", "`text`, one line, why the agency just named is suspended or removed"},
		{"succeed", "agency=card", "`AGENCY=CARD` of an agency that lost its docket, and the card of its new one"},
		{"checkpoint", "file", "`file` with the last checkpoint of the docket just named as lost"},
		{"fingerprint", "words", "the `words` the agency told you of the card just named"},
		{"add-witness", "file", "public key `file` of a witness of dockets"},
		{"remove-witness", "name", "`name` of a witness who no longer is one"},
		{"quorum", "number", "`number` of witnesses that have to cosign a docket's checkpoint"},
	} {
		f.Var(&changeFlag{&p.changes, c.name, c.arg}, c.name, c.usage)
	}
	f.Var(&changeFlag{&p.changes, "lan-only", "bool"}, "lan-only", "the mesh lives on one local network (--lan-only=false: no longer)")
	f.Lookup("lan-only").NoOptDefVal = "true"
	f.BoolVar(&p.yes, "yes", false, "do not ask: the fingerprint was compared before")
	cli.MustFlags(cmd, "key")
	return cmd
}

type proposal struct {
	keys    []string
	changes []change
	yes     bool
}

// A change is one flag of propose, in the order in which they were typed: some say more about the one before.
type change struct{ flag, value string }

type changeFlag struct {
	list      *[]change
	name, arg string
}

var _ pflag.Value = &changeFlag{}

func (c *changeFlag) String() string { return "" }
func (c *changeFlag) Type() string   { return c.arg }
func (c *changeFlag) Set(value string) error {
	*c.list = append(*c.list, change{c.name, value})
	return nil
}

func (a *app) propose(dir string, p proposal) error {
	chain, err := readCharter(dir)
	if err != nil {
		return err
	}
	next := nextVersion(chain, a.Now())
	for i := 0; i < len(p.changes); i++ {
		// What says more about a change comes right after it.
		more := map[string]string{}
		c := p.changes[i]
		for ; i+1 < len(p.changes) && slices.Contains(details[c.flag], p.changes[i+1].flag); i++ {
			more[p.changes[i+1].flag] = p.changes[i+1].value
		}
		if err := a.change(next, c, more, p.yes); err != nil {
			return err
		}
	}
	if len(charter.Changes(chain.Current(), next)) == 0 {
		return cli.Usage("say what to change; `porchlight charter propose --help` lists it", "the charter says that already")
	}
	return a.signNext(dir, chain, next, p.keys)
}

// details are the flags that say more about another.
var details = map[string][]string{"suspend": {"reason"}, "remove": {"reason"}, "succeed": {"checkpoint", "fingerprint"}}

// change makes one change.
func (a *app) change(next *charter.Charter, c change, more map[string]string, yes bool) error {
	number := func(to *int) error {
		n, err := strconv.Atoi(c.value)
		if err != nil {
			return cli.Usage("", "--%s %q is no number", c.flag, c.value)
		}
		*to = n
		return nil
	}
	switch c.flag {
	case "add-signer", "add-witness":
		k, err := cli.ReadPublic(c.value)
		if err != nil {
			return err
		}
		if c.flag == "add-signer" {
			next.Signers = append(next.Signers, charter.Signer{Name: k.Name(), Key: k})
		} else {
			next.Witnesses = append(next.Witnesses, charter.Witness{Name: k.Name(), Key: k})
		}
	case "remove-signer":
		had := len(next.Signers)
		next.Signers = slices.DeleteFunc(next.Signers, func(s charter.Signer) bool { return s.Name == c.value })
		if len(next.Signers) == had {
			return cli.Usage("`porchlight charter show` names them", "--remove-signer: nobody called %q signs this charter", c.value)
		}
	case "remove-witness":
		had := len(next.Witnesses)
		next.Witnesses = slices.DeleteFunc(next.Witnesses, func(w charter.Witness) bool { return w.Name == c.value })
		if len(next.Witnesses) == had {
			return cli.Usage("`porchlight charter show` names them", "--remove-witness: this charter has no witness called %q", c.value)
		}
	case "threshold":
		return number(&next.Threshold)
	case "quorum":
		return number(&next.Quorum)
	case "lan-only":
		if c.value != "true" && c.value != "false" {
			return cli.Usage("", "--lan-only is true or false, not %q", c.value)
		}
		next.LANOnly = c.value == "true"
	case "ends":
		end, err := cli.ParseTime("ends", c.value)
		if err != nil {
			return err
		}
		next.Ends = consent.At(end)
	case "suspend", "resume", "remove", "succeed":
		return a.changeAgency(next, c, more, yes)
	default:
		return cli.Usage("--reason follows --suspend or --remove, --checkpoint and --fingerprint follow --succeed", "--%s says more about nothing", c.flag)
	}
	return nil
}

func (a *app) changeAgency(next *charter.Charter, c change, more map[string]string, yes bool) error {
	name, cardFile, hasCard := c.value, "", false
	if c.flag == "succeed" {
		if name, cardFile, hasCard = strings.Cut(c.value, "="); !hasCard {
			return cli.Usage("write --succeed AGENCY=CARD, with the new card's file", "--succeed %q names no card", c.value)
		}
	}
	i, err := findAgency(next, c.flag, name)
	if err != nil {
		return err
	}
	g := &next.Agencies[i]
	if _, ok := more["reason"]; !ok && (c.flag == "suspend" || c.flag == "remove") {
		return cli.Usage("everybody can read it: --reason TEXT, right after the agency", "--%s %q needs a reason", c.flag, name)
	}
	switch c.flag {
	case "suspend":
		if more["reason"] == "" {
			return cli.Usage("", "an empty reason is none")
		}
		g.Suspended = more["reason"]
	case "resume":
		if g.Suspended == "" {
			return cli.Usage("", "--resume: %s is not suspended", g.Name)
		}
		g.Suspended = ""
	case "remove":
		next.Removed = append(next.Removed, charter.Removal{Agency: g.ID(), Name: g.Name, Reason: more["reason"]})
		next.Agencies = slices.Delete(next.Agencies, i, i+1)
	case "succeed":
		heir, err := a.heir(*g, cardFile, more, yes)
		if err != nil {
			return err
		}
		*g = heir
	}
	return nil
}

// heir is the entry of an agency that goes on under another docket. It is suspended for as long as it was.
func (a *app) heir(lost charter.Agency, cardFile string, more map[string]string, yes bool) (charter.Agency, error) {
	if more["checkpoint"] == "" {
		return lost, cli.Usage("a node that follows the docket has it as dockets/"+string(lost.ID())+"/checkpoint in its folder", "--succeed needs --checkpoint, with the lost docket's last checkpoint")
	}
	card, err := readCard(cardFile)
	if err != nil {
		return lost, err
	}
	note, err := cli.ReadSmall(more["checkpoint"], docket.MaxCheckpoint)
	if err != nil {
		return lost, err
	}
	last, err := docket.ParseCheckpoint(note, lost)
	if err != nil {
		return lost, fmt.Errorf("%s: %w", more["checkpoint"], err)
	}
	if err := a.compared(card, more["fingerprint"], yes); err != nil {
		return lost, err
	}
	heir := charter.Agency(card)
	heir.Suspended = lost.Suspended
	heir.Succeeds = &charter.Succession{Agency: lost.ID(), Size: last.Size, Root: last.Root}
	return heir, nil
}

// findAgency finds the agency of that name, or whose id begins so.
func findAgency(c *charter.Charter, flag, name string) (int, error) {
	var found []int
	for i, g := range c.Agencies {
		if g.Name == name {
			return i, nil
		}
		if name != "" && strings.HasPrefix(string(g.ID()), name) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, cli.Usage("`porchlight charter show` names them, with their ids", "--%s: the charter lists no agency %q", flag, name)
	}
	return 0, cli.Usage("give more digits", "--%s: the ids of %d agencies begin with %q", flag, len(found), name)
}

// nextVersion is the version that counts, as a proposal for the next one without any change. What it holds may be
// changed freely. Of a frozen chain it names all rivals.
func nextVersion(chain charter.Chain, now time.Time) *charter.Charter {
	next := *chain.Current()
	last := chain[len(chain)-1]
	next.Version, next.Created = len(chain)+1, consent.At(now)
	next.Previous, next.Also, next.Removed = last.Hash, nil, nil
	for _, r := range last.Rivals {
		next.Also = append(next.Also, consent.HashText(r))
	}
	slices.Sort(next.Also)
	next.Signers, next.Agencies, next.Witnesses = slices.Clone(next.Signers), slices.Clone(next.Agencies), slices.Clone(next.Witnesses)
	return &next
}

// signNext tells what a proposal changes, signs it, and takes it in or leaves it for the other signers.
func (a *app) signNext(dir string, chain charter.Chain, next *charter.Charter, keyFiles []string) error {
	old := chain.Current()
	if !next.Ends.After(next.Created.Time) {
		return node.WithHint(consent.Refuse(consent.BadValue, "ends", "the charter ended %s", next.Ends), "say when the next version ends: `porchlight charter propose --ends DATE`")
	}
	if _, err := chain.Predecessor(next); err != nil {
		return err
	}
	keys, err := a.readKeys(keyFiles)
	if err != nil {
		return err
	}
	may := next.Signatories(old)
	if err := onlySigners(may, keys...); err != nil {
		return err
	}
	a.sayChanges(old, next)
	slices.SortStableFunc(keys, func(x, y consent.Key) int { return slices.Index(may, x.Verifier()) - slices.Index(may, y.Verifier()) })
	note, err := consent.Sign(next, keys...)
	if err != nil {
		return err
	}
	return a.settle(dir, filepath.Join(dir, nextNote), old, next, note)
}

func (a *app) sayChanges(old, next *charter.Charter) {
	a.Say("version %d against version %d:", next.Version, old.Version)
	list := charter.Changes(old, next)
	for _, c := range list {
		a.Say("- %s", ui.Clean(c))
	}
	if len(list) == 0 {
		a.Say("- nothing changes")
	}
}
