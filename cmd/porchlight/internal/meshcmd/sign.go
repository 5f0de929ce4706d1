package meshcmd

import (
	"bytes"
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
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// nextNote is where a version that lacks signatures waits in a charter folder.
const nextNote = "next.note"

func newCharterSignCommand(a *app) *cobra.Command {
	var key string
	var yes bool
	cmd := &cobra.Command{
		Use:   "sign FILE --key KEYFILE",
		Short: "Sign a version of the charter that another signer wrote",
		Long: `Shows a version that lacks signatures and what it changes against the version that you hold, asks, and
adds your signature to the file. With the last one that is needed, the version goes into your charter
folder; hand the file back, and the others take it in with porchlight charter add.

Several signers can sign copies of the file at the same time: given more than one copy, it gathers their
signatures in the first.`,
		Example: `  porchlight charter sign next.note --key ben.key
  porchlight charter sign next.note from-cleo.note --key ben.key`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			return a.charterSign(dir, args, key, yes)
		}),
	}
	cmd.Flags().StringVar(&key, "key", "", "your key `file`")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask: you have read it")
	cli.MustFlags(cmd, "key")
	return cmd
}

func newCharterAddCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "add FILE",
		Short: "Take a signed version into the charter folder",
		Long: `Checks a version against those in the charter folder and adds it. A first version founds the folder.

Given several copies of one version that others signed, it adds the one with all their signatures.`,
		Example: `  porchlight charter add next.note
  porchlight charter add from-ben.note from-cleo.note`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			chain, err := a.charterAdd(dir, args)
			if err != nil {
				return err
			}
			return a.showCharter(chain)
		}),
	}
}

func (a *app) charterAdd(dir string, files []string) (charter.Chain, error) {
	note, err := readCopies(files)
	if err != nil {
		return nil, err
	}
	if len(files) > 1 {
		c, err := readProposal(note)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[0], err)
		}
		old, err := before(dir, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[0], err)
		}
		if note, err = inOrder(note, c.Signatories(old)); err != nil {
			return nil, err
		}
	}
	chain, err := a.extend(dir, note)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", files[0], err)
	}
	return chain, nil
}

// extend takes a complete version into a folder.
func (a *app) extend(dir string, note []byte) (charter.Chain, error) {
	chain, err := node.ReadCharter(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if chain, err = node.ExtendCharter(chain, note); err != nil {
		return nil, err
	}
	return chain, node.WriteCharter(durable.Disk{}, dir, chain)
}

// proposed is the answer where a version still lacks signatures.
type proposed struct {
	File    string   `json:"file"`
	Version int      `json:"version"`
	Signed  []string `json:"signed"`
	Tallies []tally  `json:"tallies"`
	Changes []string `json:"changes,omitempty"`
}

// tally counts the signatures of those whom one version names as signers.
type tally struct {
	Version int `json:"version"`
	Signed  int `json:"signed"`
	Needed  int `json:"needed"`
}

// settle takes a version into the folder where enough have signed it, and else leaves it in a file
// for the other signers. old is the version that it changes, nil for version 1.
func (a *app) settle(dir, file string, old, c *charter.Charter, note []byte) error {
	chain, err := a.extend(dir, note)
	if err == nil {
		next := "porchlight charter publish --dir " + dir + " --node FOLDER, with the folder of a node in the mesh"
		if old == nil {
			next = "porchlight steward init --charter " + dir
		}
		s := describeCharter(chain)
		return a.Show(s, func(w io.Writer) error {
			err := a.writeCharter(w, s)
			fmt.Fprintln(w)
			ui.Sentence(w, "next: "+next)
			return err
		})
	}
	ids, idErr := consent.SignerIDs(note)
	if consent.ClassOf(err) != consent.BelowQuorum || idErr != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := durable.WriteFile(file, note, 0o644); err != nil {
		return err
	}
	p := proposed{File: file, Version: c.Version}
	for _, id := range ids {
		p.Signed = append(p.Signed, id.Name)
	}
	for _, l := range []*charter.Charter{old, c} {
		if l == nil {
			continue
		}
		t := tally{Version: l.Version, Needed: l.Threshold}
		for _, s := range l.Signers {
			if id, err := s.Key.ID(); err == nil && slices.Contains(ids, id) {
				t.Signed++
			}
		}
		p.Tallies = append(p.Tallies, t)
	}
	if old != nil {
		p.Changes = charter.Changes(old, c)
	}
	return a.Show(p, func(w io.Writer) error { return writeProposed(w, p, old, c) })
}

func writeProposed(w io.Writer, p proposed, old, c *charter.Charter) error {
	signed := ui.Clean(strings.Join(p.Signed, ", "))
	if own := p.Tallies[len(p.Tallies)-1]; old == nil || old.Threshold == c.Threshold && slices.Equal(old.Signers, c.Signers) {
		fmt.Fprintf(w, "version %d has %d of the %d signatures it needs: %s\n", p.Version, own.Signed, own.Needed, signed)
	} else {
		fmt.Fprintf(w, "version %d changes who signs, and has these signatures: %s\n", p.Version, signed)
		for _, t := range p.Tallies {
			fmt.Fprintf(w, "  of the signers of version %d: %d of the %d it needs\n", t.Version, t.Signed, t.Needed)
		}
	}
	_, err := fmt.Fprintf(w, "written to %s\nnext: another signer runs `porchlight charter sign %s --key KEYFILE`\n", p.File, filepath.Base(p.File))
	return err
}

func (a *app) charterSign(dir string, files []string, keyFile string, yes bool) error {
	file := files[0]
	note, err := readCopies(files)
	if err != nil {
		return err
	}
	c, err := readProposal(note)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	k, err := a.ReadKey(keyFile)
	if err != nil {
		return err
	}
	// Before anything else is said of a version that is complete already.
	signed, err := consent.AddSignature(note, k)
	if err != nil {
		return err
	}
	old, err := before(dir, c)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := onlySigners(c.Signatories(old), k); err != nil {
		return err
	}
	if err := a.writeCharter(a.Err, charterShown{Hash: "not final: it lacks signatures", Charter: c}); err != nil {
		return err
	}
	a.Say("")
	if old != nil {
		a.sayChanges(old, c)
	}
	if err := a.Confirm(yes, fmt.Sprintf("Sign version %d of %s as %s?", c.Version, ui.Clean(c.Mesh), k.Name())); err != nil {
		return err
	}
	if note, err = inOrder(signed, c.Signatories(old)); err != nil {
		return err
	}
	if err := durable.WriteFile(file, note, 0o644); err != nil {
		return err
	}
	return a.settle(dir, file, old, c, note)
}

// before returns the version that a proposal changes, nil for version 1. Nobody signs what cannot be compared with
// the version before, and nobody signs a rival of a version that they hold.
func before(dir string, c *charter.Charter) (*charter.Charter, error) {
	chain, err := node.ReadCharter(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.Version == 1:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, node.WithHint(fmt.Errorf("%s does not hold the versions before version %d, so what changes cannot be told", dir, c.Version),
			"take them in first, with `porchlight charter add`")
	case err != nil:
		return nil, err
	case c.Version <= len(chain):
		return nil, node.WithHint(consent.Refuse(consent.WrongPrevious, "version", "%s holds a version %d already, and two that differ would freeze the mesh", dir, c.Version),
			"ask the other signers which of them is meant")
	}
	old, err := chain.Predecessor(c)
	if consent.ClassOf(err) == consent.WrongPrevious {
		err = node.WithHint(err, "add the versions in between first, or ask who wrote this one")
	}
	return old, err
}

// onlySigners refuses keys whose signature would count for nothing.
func onlySigners(may []consent.VerifierKey, keys ...consent.Key) error {
	for _, k := range keys {
		if !slices.Contains(may, k.Verifier()) {
			return node.WithHint(consent.Refuse(consent.BelowQuorum, "signers", "%s is no signer of this charter", k.Name()), "a charter names its signers; only they sign it")
		}
	}
	return nil
}

// readProposal reads a version whose signatures are not all there. It believes none of them.
func readProposal(note []byte) (*charter.Charter, error) {
	kind, err := consent.Peek(note)
	if err != nil {
		return nil, err
	}
	c := new(charter.Charter)
	if kind != c.Kind() {
		return nil, fmt.Errorf("a %s, not a charter", kind)
	}
	_, rest, _ := bytes.Cut(note, []byte("\n"))
	body, _, _ := bytes.Cut(rest, []byte("\n"))
	if err := consent.DecodeStrict(body, c, consent.MaxNote); err != nil {
		return nil, err
	}
	return c, c.Check()
}

// readCopies reads copies of one version and returns it with the signatures of all, each once.
func readCopies(files []string) ([]byte, error) {
	var all []byte
	var have []consent.KeyID
	for _, f := range files {
		note, err := cli.ReadSmall(f, consent.MaxNote)
		if err != nil {
			return nil, err
		}
		if len(files) == 1 {
			return note, nil
		}
		text, lines, ids, err := cut(note)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if all == nil {
			all = bytes.Clone(text)
		} else if !bytes.HasPrefix(all, text) {
			return nil, node.WithHint(fmt.Errorf("%s and %s: %w", files[0], f, errDifferentTexts), "sign one of them")
		}
		for i, id := range ids {
			if !slices.Contains(have, id) {
				have, all = append(have, id), append(all, lines[i]...)
			}
		}
	}
	return all, nil
}

var errDifferentTexts = errors.New("they are no copies of one version")

// cut takes a note apart: its text with the empty line, and its signature lines with their ends.
func cut(note []byte) (text []byte, lines [][]byte, ids []consent.KeyID, err error) {
	if ids, err = consent.SignerIDs(note); err != nil {
		return nil, nil, nil, err
	}
	split := bytes.LastIndex(note, []byte("\n\n")) + 2
	return note[:split], bytes.SplitAfter(note[split:], []byte("\n"))[:len(ids)], ids, nil
}

// inOrder sorts the signature lines as their keys are listed.
func inOrder(note []byte, keys []consent.VerifierKey) ([]byte, error) {
	text, lines, ids, err := cut(note)
	if err != nil {
		return nil, err
	}
	place := map[consent.KeyID]int{}
	for i, k := range keys {
		id, err := k.ID()
		if err != nil {
			return nil, err
		}
		place[id] = i
	}
	order := make([]int, len(ids))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return place[ids[x]] - place[ids[y]] })
	out := bytes.Clone(text)
	for _, i := range order {
		out = append(out, lines[i]...)
	}
	return out, nil
}
