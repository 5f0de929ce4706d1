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
		Long: `Shows a version that lacks signatures, asks, and adds yours to the file. With the last one that is
needed, the version goes into your charter folder; hand the file back, and the others take it in with
porchlight charter add.`,
		Example: `  porchlight charter sign next.note --key ben.key`,
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			return a.charterSign(dir, args[0], key, yes)
		}),
	}
	cmd.Flags().StringVar(&key, "key", "", "your key `file`")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask: you have read it")
	cli.MustFlags(cmd, "key")
	return cmd
}

func newCharterAddCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "add FILE",
		Short:   "Take a signed version into the charter folder",
		Long:    `Checks a version against those in the charter folder and adds it. A first version founds the folder.`,
		Example: `  porchlight charter add next.note`,
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error {
			dir, err := a.Folder(cli.CharterFolder)
			if err != nil {
				return err
			}
			note, err := cli.ReadSmall(args[0], consent.MaxNote)
			if err != nil {
				return err
			}
			chain, err := a.extend(dir, note)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return a.showCharter(chain)
		}),
	}
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
	Needed  int      `json:"needed"`
}

// settle takes a version into the folder where enough have signed it, and else leaves it in a file
// for the other signers.
func (a *app) settle(dir, file string, c *charter.Charter, note []byte) error {
	chain, err := a.extend(dir, note)
	if err == nil {
		return a.showCharter(chain)
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
	p := proposed{File: file, Version: c.Version, Needed: c.Threshold}
	for _, id := range ids {
		p.Signed = append(p.Signed, id.Name)
	}
	return a.Show(p, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "version %d has %d of the %d signatures it needs: %s\nwritten to %s\nnext: another signer runs `porchlight charter sign %s --key KEYFILE`\n",
			p.Version, len(p.Signed), p.Needed, strings.Join(p.Signed, ", "), file, filepath.Base(file))
		return err
	})
}

func (a *app) charterSign(dir, file, keyFile string, yes bool) error {
	note, err := cli.ReadSmall(file, consent.MaxNote)
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
	if err := onlySigners(c, k); err != nil {
		return err
	}
	if err := a.writeCharter(a.Err, charterShown{Hash: "not final: it lacks signatures", Charter: c}); err != nil {
		return err
	}
	// A version is read against the one before it, where the folder has that.
	if chain, err := node.ReadCharter(dir); err == nil {
		if c.Version > 1 && c.Previous != chain.CurrentHash() {
			return node.WithHint(fmt.Errorf("%s does not follow version %d, which %s holds", file, chain.Current().Version, dir), "add the versions in between first, or ask who wrote this one")
		}
		a.Say("\nit follows version %d, which you hold", chain.Current().Version)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if c.Version > 1 {
		a.Say("\nwarning: %s does not hold the version before this one, so what changed cannot be told", dir)
	}
	if err := a.Confirm(yes, fmt.Sprintf("Sign version %d of %s as %s?", c.Version, ui.Clean(c.Mesh), k.Name())); err != nil {
		return err
	}
	if note, err = consent.AddSignature(note, k); err != nil {
		return err
	}
	if note, err = inOrder(note, c.Signers); err != nil {
		return err
	}
	if err := durable.WriteFile(file, note, 0o644); err != nil {
		return err
	}
	return a.settle(dir, file, c, note)
}

// onlySigners refuses keys whose signature would count for nothing.
func onlySigners(c *charter.Charter, keys ...consent.Key) error {
	for _, k := range keys {
		if !slices.ContainsFunc(c.Signers, func(s charter.Signer) bool { return s.Key == k.Verifier() }) {
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

// inOrder sorts the signature lines as the charter lists its signers.
func inOrder(note []byte, signers []charter.Signer) ([]byte, error) {
	ids, err := consent.SignerIDs(note)
	if err != nil {
		return nil, err
	}
	split := bytes.LastIndex(note, []byte("\n\n")) + 2
	lines := bytes.SplitAfter(note[split:], []byte("\n"))[:len(ids)]
	place := map[consent.KeyID]int{}
	for i, s := range signers {
		id, err := s.Key.ID()
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
	out := bytes.Clone(note[:split])
	for _, i := range order {
		out = append(out, lines[i]...)
	}
	return out, nil
}
