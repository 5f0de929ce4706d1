// Package backupcmd is `porchlight backup` and `porchlight restore`: a node's keys, charter and
// decisions in one sealed file, and a node made of such a file again.
package backupcmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/backup"
)

type app struct{ *cli.App }

// New is the two commands.
func New(shared *cli.App) []*cobra.Command {
	a := &app{shared}
	return []*cobra.Command{newBackupCommand(a), newRestoreCommand(a)}
}

func newBackupCommand(a *app) *cobra.Command {
	var to []string
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "backup --out FILE.age",
		Short: "Copy a node's keys, charter and decisions into one sealed file",
		Long: `Writes what a node cannot get again into one file in the age format, sealed with a passphrase or to an
age key: keys, charter, dockets, decisions, inbox, cameras, signed papers, custody logs and settings. The
node may run or not. Where there are several nodes on this machine, name one with --dir.

Not in it, by design: recordings, clips and sealed releases, and every release key. An agency's node destroys
those keys at their deadlines, and a copy in a drawer would undo that: keep keys/release out of whatever
else copies its disk, too. The .key files of persons are in no node's folder; copy them by hand.

Whoever has the file and what opens it can be this node: sign its docket, answer in its name. Keep
the two apart. Any age program opens it: age -d FILE.age | tar t`,
		Example: `  porchlight backup --dir ~/.porchlight/home --out home.age
  porchlight backup --out home.age --to age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  porchlight backup --dir /srv/porchlight --out /media/usb/agency.age --passphrase-file ~/phrase --force`,
		Args: cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(context.Context) error { return a.backup(out, to, force) })),
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "`file` to write")
	f.StringArrayVar(&to, "to", nil, "age `recipient` (age1…) to seal to instead of a passphrase; may be repeated")
	f.BoolVar(&force, "force", false, "replace the file if it exists")
	cli.MustFlags(cmd, "out")
	return cmd
}

// saved is the answer of backup.
type saved struct {
	Out   string    `json:"out"`
	Role  node.Role `json:"role"`
	Peer  string    `json:"peer"`
	Made  time.Time `json:"made"`
	Files int       `json:"files"`
	Bytes int64     `json:"bytes"`
	Holds []string  `json:"holds"`
	Lacks []string  `json:"lacks"`
}

func (a *app) backup(out string, to []string, force bool) error {
	dir, err := a.OnlyFolder()
	if err != nil {
		return err
	}
	if _, err := node.RoleOf(dir); err != nil {
		return err
	}
	if len(to) > 0 && a.PhraseFile != "" {
		return cli.Usage("", "give --to or --passphrase-file, not both")
	}
	if _, err := os.Lstat(out); err == nil && !force { // before anybody is asked anything
		return node.WithHint(fmt.Errorf("%s exists already", out), "choose another name, or give --force to replace it")
	}
	var recipients []age.Recipient
	for _, r := range to {
		parsed, err := age.ParseRecipients(strings.NewReader(r))
		if err != nil || len(parsed) != 1 {
			return cli.Usage("it begins with age1, as `age-keygen` prints it after \"public key\"", "--to %q is no age recipient", r)
		}
		recipients = append(recipients, parsed...)
	}
	if len(to) == 0 {
		words, err := a.NewPhrase("Passphrase of the backup", a.PhraseFile, "give --passphrase-file or --to")
		if err != nil {
			return err
		}
		r, err := age.NewScryptRecipient(words)
		if err != nil {
			return err
		}
		recipients = append(recipients, r)
	}
	m, err := backup.Save(dir, out, force, a.Now(), recipients...)
	if err != nil {
		return err
	}
	s := saved{Out: out, Role: m.Role, Peer: m.Peer, Made: m.Made, Files: len(m.Files), Bytes: m.Bytes(),
		Holds: holds(m), Lacks: lacks(m.Role)}
	return a.Show(s, func(w io.Writer) error {
		if err := ui.Facts(w, "backup", out, "of", fmt.Sprintf("%s, %s", m.Role, m.Peer), "files", fmt.Sprintf("%d, %s", s.Files, ui.MB(s.Bytes)),
			"holds", strings.Join(s.Holds, ", "), "does not hold", strings.Join(s.Lacks, ", ")); err != nil {
			return err
		}
		_, err := fmt.Fprintln(w, "whoever has this file and what opens it can be this node: keep the two apart")
		return err
	})
}

// kinds are the parts of a backup in words, by how their names begin.
func kinds() [][2]string {
	return [][2]string{{"keys/", "keys"}, {"charter/", "charter versions"}, {"dockets/", "docket files"}, {"cameras.json", "the cameras"},
		{"inbox/", "requests in the inbox"}, {"answers/", "files of answers"}, {"vault/", "signed papers of the vault"},
		{"ledger", "the ledger"}, {"custody", "the custody log"}, {"config.toml", "the settings"}}
}

func holds(m backup.Manifest) (out []string) {
	for _, k := range kinds() {
		n := 0
		for _, f := range m.Files {
			if strings.HasPrefix(f.Name, k[0]) {
				n++
			}
		}
		switch {
		case n > 0 && strings.HasPrefix(k[1], "the "):
			out = append(out, k[1])
		case n > 0:
			out = append(out, fmt.Sprintf("%s (%d)", k[1], n))
		}
	}
	return out
}

func lacks(role node.Role) []string {
	switch role {
	case node.Home:
		return []string{"recordings", "clips and sealed releases", "release keys"}
	case node.Agency:
		return []string{"sealed releases", "release keys (keys/release)", "the keys of officers and supervisors"}
	}
	return []string{}
}

func newRestoreCommand(a *app) *cobra.Command {
	var identity string
	cmd := &cobra.Command{
		Use:   "restore FILE.age --dir FOLDER",
		Short: "Make a node of a backup",
		Long: `Makes the folder of a node from a backup, all of it or nothing. The folder must be new or empty.

The node is the one of the day the backup was made, so some of it comes back tied:
  - answers that were under way are stopped; their owner approves again what still counts
  - an agency's docket signs nothing until its stewards told the newest checkpoint that they know;
    ` + "`porchlight agency docket resume`" + ` shows how far that is
  - releases that an agency held are listed as lost: sealed releases and their keys are in no backup

The machine that the backup is of must not run any more: two nodes with one key get in each
other's way, and two dockets with one key prove misconduct.`,
		Example: `  porchlight restore home.age --dir ~/.porchlight/home
  porchlight restore home.age --dir ~/.porchlight/home --identity key.txt
  porchlight restore /media/usb/agency.age --dir /srv/porchlight --passphrase-file ~/phrase`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error { return a.restore(args[0], identity) }),
	}
	cmd.Flags().StringVar(&identity, "identity", "", "`file` with the age key that the backup is sealed to")
	return cmd
}

// restored is the answer of restore.
type restored struct {
	Dir     string           `json:"dir"`
	Role    node.Role        `json:"role"`
	Peer    string           `json:"peer"`
	Made    time.Time        `json:"made"`
	Files   int              `json:"files"`
	Stopped []string         `json:"stopped_answers"`
	Docket  consent.AgencyID `json:"docket_on_hold,omitempty"`
}

func (a *app) restore(file, identity string) error {
	dir := a.Dir
	if dir == "" {
		dir = a.Env("PORCHLIGHT_DIR")
	}
	if dir == "" {
		return cli.Usage("name it with --dir, as in --dir ~/.porchlight/home", "which folder shall the node live in?")
	}
	if _, err := os.Stat(file); err != nil {
		return err
	}
	var who []age.Identity
	switch {
	case identity != "" && a.PhraseFile != "":
		return cli.Usage("", "give --identity or --passphrase-file, not both")
	case identity != "":
		b, err := cli.ReadSmall(identity, 1<<20)
		if err != nil {
			return err
		}
		if who, err = age.ParseIdentities(strings.NewReader(string(b))); err != nil {
			return node.WithHint(fmt.Errorf("%s holds no age key: %w", identity, err), "`age-keygen -o key.txt` makes one; its file is what is meant")
		}
	default:
		words, err := a.Phrase("Passphrase of the backup")
		if err != nil {
			return err
		}
		id, err := age.NewScryptIdentity(words)
		if err != nil {
			return err
		}
		who = append(who, id)
	}
	r, err := backup.Restore(file, dir, backup.Options{Now: a.Now}, who...)
	if err != nil {
		return err
	}
	out := restored{Dir: dir, Role: r.Role, Peer: r.Peer, Made: r.Made, Files: len(r.Files), Stopped: append([]string{}, r.Stopped...), Docket: r.Docket}
	return a.Show(out, func(w io.Writer) error {
		if err := ui.Facts(w, "restored", dir, "is", fmt.Sprintf("%s, %s", r.Role, r.Peer), "as of", ui.When(r.Made, a.Now())); err != nil {
			return err
		}
		fmt.Fprintln(w, "the machine that this backup is of must not run any more: two nodes with one key do harm")
		if n := len(r.Stopped); n > 0 {
			fmt.Fprintf(w, "answers stopped: %d. Look at `porchlight home inbox --dir %s`, and approve again what you still agree to\n", n, dir)
		}
		if r.Role == node.Home {
			fmt.Fprintf(w, "cameras are offered as they were then: `porchlight home cameras --dir %s`\n", dir)
		}
		if r.Docket != "" {
			fmt.Fprintf(w, "the docket signs nothing until its stewards have answered: `porchlight agency docket resume --dir %s`\n", dir)
		}
		_, err := fmt.Fprintf(w, "next: porchlight %s run --dir %s\n", r.Role, dir)
		return err
	})
}
