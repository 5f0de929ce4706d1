package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/verify"
)

func newVerifyCommand(a *cli.App) *cobra.Command {
	var with verify.With
	cmd := &cobra.Command{
		Use:   "verify FILE|FOLDER...",
		Short: "Check signed documents, custody logs and sealed releases",
		Long: `Checks files with no node and no network, and says what the check proved and what it did not. It knows
every signed document (charter, agency card, officer, request and its end, report, outcome, objection, grant,
manifest, acceptance, receipt, what both sides said since, breach record), charter folders, a docket's
self-contained messages and its checkpoints with their witnesses, proofs of an agency's misconduct, custody
logs, and sealed releases. What is about a docket takes the charter.

Of the folder that porchlight home ledger export wrote it checks every document, each against the request and
the grant beside it, and says of each on one line what it proves.

A sealed release is held against its manifest: SHA-256 and address are worked out anew. With its key, the
clip inside is checked too, and not written anywhere.`,
		Example: `  porchlight verify charter/ agency.card
  porchlight verify request.note --charter ~/.porchlight/home/charter
  porchlight verify ~/.porchlight/observe/dockets/*/checkpoint --charter ~/.porchlight/observe/charter
  porchlight verify clip.age --manifest manifest.note --grant grant.note
  porchlight verify ~/.porchlight/home/ledger
  porchlight verify for-my-lawyer`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			return verifyFiles(ctx, a, args, with)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&with.Charter, "charter", "", "`folder` of the charter to check against")
	f.StringVar(&with.Manifest, "manifest", "", "manifest `file` of a sealed release")
	f.StringVar(&with.Grant, "grant", "", "grant `file` that the document belongs to")
	f.StringVar(&with.Request, "request", "", "request `file` that the document answers")
	f.StringVar(&with.Key, "key", "", "release key `file`")
	return cmd
}

// verifyFiles checks all files even when one is wrong, so that the result is complete.
func verifyFiles(ctx context.Context, a *cli.App, files []string, with verify.With) error {
	results := []verify.Result{}
	var errs []error
	of := map[string]bool{} // those of a folder, which take a line each
	for _, f := range files {
		if verify.IsExport(f) {
			all, err := verify.Folder(ctx, f, with)
			for _, r := range all {
				of[r.File] = true
			}
			results, errs = append(results, all...), append(errs, err)
			continue
		}
		r, err := verify.File(ctx, f, with)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		results = append(results, r)
	}
	if err := a.Show(results, func(w io.Writer) error {
		for i, r := range results {
			if of[r.File] {
				fmt.Fprintf(w, "%s: %s, verified: %s\n", ui.Clean(r.File), r.Kind, ui.Clean(r.Proven[0]))
				continue
			}
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintf(w, "%s: %s, verified\n", ui.Clean(r.File), r.Kind)
			for _, s := range r.Proven {
				fmt.Fprintf(w, "  proven      %s\n", ui.Clean(s))
			}
			for _, s := range r.Open {
				fmt.Fprintf(w, "  not proven  %s\n", ui.Clean(s))
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return errors.Join(errs...)
}
