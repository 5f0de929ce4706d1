package meshcmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/node"
)

func newCharterShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the charter, checked from its first version on",
		Long: `Reads every version in a charter's or a node's folder, checks signatures and chain, and shows the newest,
with what was said of agencies: suspended, removed, gone on under another docket. Where two versions exclude
each other, the charter is frozen: it shows the version before them, and what to do.`,
		Example: "  porchlight charter show\n  porchlight charter show --dir ~/.porchlight/home",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(context.Context) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			if _, err := node.RoleOf(dir); err == nil {
				dir = charterDir(dir)
			}
			chain, err := readCharter(dir)
			if err != nil {
				return err
			}
			return a.showCharter(chain)
		})),
	}
}

// charterShown is the answer of commands that show a charter.
type charterShown struct {
	MeshID  consent.MeshID      `json:"mesh_id"`
	Words   string              `json:"mesh_words"`
	Hash    string              `json:"hash"`
	Rivals  []string            `json:"rivals,omitempty"` // hashes of the versions that exclude each other: frozen
	Removed []charter.Departure `json:"removed,omitempty"`
	Charter *charter.Charter    `json:"charter"`
}

func describeCharter(chain charter.Chain) charterShown {
	s := charterShown{MeshID: chain.Mesh(), Hash: chain.CurrentHash(), Removed: chain.Departures(), Charter: chain.Current()}
	if chain.Frozen() {
		last := chain[len(chain)-1]
		s.Rivals = []string{last.Hash}
		for _, r := range last.Rivals {
			s.Rivals = append(s.Rivals, consent.HashText(r))
		}
	}
	if h, err := consent.ParseHash(string(chain.Mesh())); err == nil {
		s.Words = consent.Words(h)
	}
	return s
}

func (a *app) showCharter(chain charter.Chain) error {
	s := describeCharter(chain)
	return a.Show(s, func(w io.Writer) error { return a.writeCharter(w, s) })
}

func (a *app) writeCharter(w io.Writer, s charterShown) error {
	c := s.Charter
	signers := make([]string, len(c.Signers))
	for i, g := range c.Signers {
		signers[i] = g.Name
	}
	reach := "the internet"
	if c.LANOnly {
		reach = "one local network"
	}
	witnesses := make([]string, len(c.Witnesses))
	for i, n := range c.Witnesses {
		witnesses[i] = n.Name
	}
	witnessed := fmt.Sprintf("%d of %d named witnesses must confirm", c.Quorum, len(c.Witnesses))
	if c.Quorum == 0 {
		witnessed = "no: nobody confirms that all see the same docket"
	}
	off := make([]string, len(c.OffByDefault))
	for i, k := range c.OffByDefault {
		off[i] = string(k)
	}
	l := c.Limits
	if err := ui.Facts(w, "mesh", c.Mesh, "mesh id", string(s.MeshID), "in words", s.Words, "version", fmt.Sprint(c.Version), "version's hash", s.Hash,
		"made", ui.When(c.Created.Time, a.Now()), "ends", ui.When(c.Ends.Time, a.Now()),
		"signed by", fmt.Sprintf("%d of %s", c.Threshold, strings.Join(signers, ", ")), "reach", reach, "witnessed", witnessed,
		"witnesses", strings.Join(witnesses, ", "),
		"off by default", strings.Join(off, ", "),
		"windows", fmt.Sprintf("%d minutes to %d hours", l.MinWindowMinutes, l.MaxWindowMinutes/60), "areas", ui.Area(l.MinAreaM2)+" to "+ui.Area(l.MaxAreaM2),
		"posts a case", fmt.Sprint(l.PostsPerCase), "requests expire", fmt.Sprintf("within %d days", l.MaxExpiryDays),
		"clips are kept", fmt.Sprintf("at most %d days, %d if not used", l.MaxRetentionDays, l.MaxUnusedDays)); err != nil {
		return err
	}
	if len(s.Rivals) > 0 {
		fmt.Fprintf(w, "\nfrozen: %d versions after version %d exclude each other, so none of them counts:\n", len(s.Rivals), c.Version)
		for _, h := range s.Rivals {
			fmt.Fprintf(w, "  %s\n", h)
		}
		fmt.Fprintf(w, "`porchlight charter propose` makes a version that names all of them; %d of the signers named above have to sign it\n", c.Threshold)
	}
	if c.Ended(a.Now()) {
		fmt.Fprintln(w, "\nended: no agency may ask. `porchlight charter propose --ends DATE` makes a version that goes on")
	}
	if len(c.Agencies) == 0 {
		fmt.Fprintln(w, "\nno agency is admitted")
	}
	for _, g := range c.Agencies {
		fmt.Fprintln(w)
		if err := writeAgency(w, g); err != nil {
			return err
		}
	}
	if len(s.Removed) > 0 {
		fmt.Fprintln(w)
	}
	for _, r := range s.Removed {
		fmt.Fprintf(w, "version %d removed %s (%s): %s\n", r.Version, ui.Clean(r.Name), r.Agency, ui.Clean(r.Reason))
	}
	return nil
}

func writeAgency(w io.Writer, g charter.Agency) error {
	names := make([]string, len(g.Supervisors))
	for i, k := range g.Supervisors {
		names[i] = k.Name()
	}
	lost := ""
	if s := g.Succeeds; s != nil {
		lost = fmt.Sprintf("the lost docket %s, of size %d", s.Agency, s.Size)
	}
	return ui.Facts(w, "agency", g.Name, "  suspended", g.Suspended, "  class", string(g.Class), "  succeeds", lost, "  id", string(g.ID()), "  first supervisors", strings.Join(names, ", "),
		"  jurisdiction", ui.Area(g.Jurisdiction.AreaM2()), "  policy", g.PolicyURL, "  fingerprint", charter.Card(g).Fingerprint())
}
