package homecmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/node/home"
)

func newRulesCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Show your rules: what you see, and what is done with it",
		Long: `Shows the rules of this home in plain words: what it does not show at all, and the switches that say what
is done with the rest. They stand in config.toml in the node's folder, in the table [home], and count from
the next start of the node.

Of the switches that are about a request the one that does least counts, so that one more of them never
lets something through. A request that no switch is about is told. No rule lets anything leave.

A switch with breaches = true is about agencies only of which owners showed, with the agency's own signature,
that its docket does not keep what it signed, such as a deletion; it counts for as long as that stands.`,
		Example: "  porchlight home rules",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var r home.Rules
			if err := a.atHome(ctx, "home.rules", nil, &r); err != nil {
				return err
			}
			return a.Show(r, func(w io.Writer) error { return writeRules(w, r) })
		})),
	}
	cmd.AddCommand(newRulesTestCommand(a))
	return cmd
}

func writeRules(w io.Writer, r home.Rules) error {
	offences := []string{}
	for _, o := range r.OffencesOff {
		offences = append(offences, fmt.Sprintf("%s (%s)", o.Title(), o))
	}
	never := []string{words("agencies of the class", r.ClassesOff), words("requests about", offences), words("requests on the basis", r.BasesOff)}
	if r.MaxRetentionDays > 0 {
		never = append(never, fmt.Sprintf("requests that would keep footage for more than %d days", r.MaxRetentionDays))
	}
	never = slices.DeleteFunc(never, func(s string) bool { return s == "" })
	fmt.Fprintln(w, "Of what the charter of your mesh lets anybody ask, this home")
	if err := ui.Facts(w, "  shows also", cmp.Or(words("agencies of the class", r.ClassesOn), "nothing that the charter leaves off"),
		"  never shows", cmp.Or(strings.Join(never, "; "), "- (it shows all of it)")); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nWhat is done with the rest; of several switches the one that does least counts")
	var rows [][]string
	for i, s := range r.Switches {
		rows = append(rows, []string{fmt.Sprintf("  %d", i+1), s.String(), s.Do.Words()})
	}
	rows = append(rows, []string{"  -", "what no switch is about", "tell me"})
	return ui.Table(w, []string{"  SWITCH", "REQUESTS", "DO"}, rows)
}

func words[T ~string](what string, list []T) string {
	if len(list) == 0 {
		return ""
	}
	all := make([]string, len(list))
	for i, v := range list {
		all[i] = string(v)
	}
	return what + " " + strings.Join(all, " or ")
}

func newRulesTestCommand(a *app) *cobra.Command {
	var t home.RulesTest
	var since string
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Show what your rules would have done with past requests",
		Long: `Goes through all requests in the dockets that this home holds and says for each what the rules would have
done at the time it was made, and why: told, prepared, held, ignored, or not shown at all. Charter, breaches,
cameras and recordings are those of now. With --config it takes another config.toml, so that you can try a
change before you make it. Nothing is changed and nothing is sent.`,
		Example: `  porchlight home rules test
  porchlight home rules test --since 2026-11-01 --config try.toml`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) (err error) {
			if t.Since, err = cli.ParseTime("since", since); err != nil {
				return err
			}
			if t.Config, err = cli.Absolute(t.Config); err != nil {
				return err
			}
			list := []home.Replayed{}
			if err := a.atHome(ctx, "home.rules.test", t, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error { return writeReplayed(w, list, t) })
		})),
	}
	cmd.Flags().StringVar(&t.Config, "config", "", "another config.toml, a `file`, instead of this home's")
	cmd.Flags().StringVar(&since, "since", "", "only requests made at or after this time, `UTC`")
	return cmd
}

func writeReplayed(w io.Writer, list []home.Replayed, t home.RulesTest) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "nobody has asked for anything")
		return err
	}
	changed := 0
	for i, r := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		done := outcome(r.Outcome)
		if b := r.Before; b != nil && (b.Done != r.Done || b.Then != r.Then || !b.After.Equal(r.After)) {
			changed++
			done += "; with the rules of now: " + outcome(*b)
		}
		if err := ui.Facts(w, ui.Short(r.Request), fmt.Sprintf("%s (%s), made %s", r.Agency, r.Class, ui.UTC(r.Created)),
			"  about", fmt.Sprintf("%s, %s", r.Offence, r.Basis), "  cameras", footageText(r), "  would be", done, "  because", ui.Clean(r.Why)); err != nil {
			return err
		}
	}
	if t.Config != "" {
		_, err := fmt.Fprintf(w, "\nwith %s %d of %d would be treated otherwise than with the rules of now; nothing was changed\n", t.Config, changed, len(list))
		return err
	}
	return nil
}

func outcome(o home.Outcome) string {
	if o.Then == "" {
		return o.Done
	}
	return fmt.Sprintf("%s, then %s at %s", o.Done, o.Then, ui.UTC(o.After))
}

// footageText names the cameras that see the place and says whether they still have something of it.
func footageText(r home.Replayed) string {
	var all []string
	for _, m := range r.Cameras {
		has := "no footage of it there"
		if m.Recordings > 0 {
			has = fmt.Sprintf("footage still there, %s", ui.Span(m.From, m.Until))
		}
		all = append(all, fmt.Sprintf("%s: %s", m.Camera, has))
	}
	return strings.Join(all, "; ")
}
