package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// NewKeyCommand is `porchlight key`.
func NewKeyCommand(a *App) *cobra.Command {
	cmd := Group(&cobra.Command{
		Use:   "key",
		Short: "Make and show a person's signing key",
		Long: `A person who signs (a charter's signer, an officer, a supervisor) has a key of their own
in a file that only they can read. The public half, in the .pub file beside it, is what
they hand to others.`,
		Example: `  porchlight key new --name "Det. Ruiz" --out ruiz.key
  porchlight key show ruiz.pub`,
	})
	cmd.AddCommand(newKeyNewCommand(a), newKeyShowCommand(a))
	return cmd
}

// publicKey is the answer of both key commands.
type publicKey struct {
	Name   string              `json:"name"`
	Key    consent.VerifierKey `json:"key"`
	Secret string              `json:"secret_file,omitempty"`
	Public string              `json:"public_file,omitempty"`
}

func newKeyNewCommand(a *App) *cobra.Command {
	var name, out string
	cmd := &cobra.Command{
		Use:   "new --name NAME --out FILE.key",
		Short: "Make a signing key",
		Long: `Makes an Ed25519 key and writes it to a new file that only you can read; the public half
goes to the same name with .pub. The name stands on every signature. It may hold letters,
digits and signs of plain ASCII; a space becomes a dot, and '+' is not allowed.

Whoever has the file can sign as you. There is no way to get a lost key back: a charter or
docket then has to replace it.`,
		Example: `  porchlight key new --name "Det. Ruiz" --out ruiz.key`,
		Args:    cobra.NoArgs,
		RunE: a.Do(Nothing(func(context.Context) error {
			return a.keyNew(name, out)
		})),
	}
	cmd.Flags().StringVar(&name, "name", "", "`name` to sign under")
	cmd.Flags().StringVar(&out, "out", "", "`file` for the secret key; must not exist")
	MustFlags(cmd, "name", "out")
	return cmd
}

func (a *App) keyNew(name, out string) error {
	k, err := consent.GenerateKey(a.Rand, dotted(name))
	if err != nil {
		return node.WithHint(err, "a name is made of plain ASCII letters, digits and signs without '+'; spaces become dots")
	}
	pub := publicName(out)
	for _, f := range []string{out, pub} {
		if _, err := os.Lstat(f); err == nil {
			return node.WithHint(fmt.Errorf("%s exists already", f), "a key is never overwritten; choose another name")
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := durable.WriteFile(out, []byte(k.Encode()+"\n"), 0o600); err != nil {
		return err
	}
	if err := durable.WriteFile(pub, []byte(string(k.Verifier())+"\n"), 0o644); err != nil {
		return err
	}
	return a.showKey(publicKey{Name: k.Name(), Key: k.Verifier(), Secret: out, Public: pub})
}

// dotted writes a person's name as a key's name: a space becomes a dot, "Det. Ruiz" Det.Ruiz.
func dotted(name string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(name), "."), "..", ".")
}

// publicName names the file of the public half.
func publicName(secret string) string { return strings.TrimSuffix(secret, ".key") + ".pub" }

func (a *App) showKey(k publicKey) error {
	return a.Show(k, func(w io.Writer) error {
		return ui.Facts(w, "name", k.Name, "public key", string(k.Key), "public file", k.Public, "secret file", k.Secret)
	})
}

func newKeyShowCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "Show the public half of a key",
		Long:  `Shows whose key a .key or .pub file holds. The secret is never printed.`,
		Example: `  porchlight key show ruiz.key
  porchlight key show ruiz.pub`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error {
			k, err := ReadPublic(args[0])
			if err != nil {
				return err
			}
			return a.showKey(publicKey{Name: k.Name(), Key: k})
		}),
	}
}

// maxKeyFile bounds a key file, in bytes; a key has under 300.
const maxKeyFile = 4096

// ReadPublic takes a public key from a .pub file, from a .key file, or from the text itself.
func ReadPublic(s string) (consent.VerifierKey, error) {
	text := s
	b, err := ReadSmall(s, maxKeyFile)
	switch {
	case err == nil:
		text = strings.TrimSpace(string(b))
	case !errors.Is(err, fs.ErrNotExist) && !strings.Contains(s, "+"):
		return "", err
	case !strings.Contains(s, "+"):
		return "", node.WithHint(err, "give a .pub file or a public key itself")
	}
	if strings.HasPrefix(text, "PRIVATE+KEY+") {
		k, err := consent.ParseKey(text)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s, err)
		}
		return k.Verifier(), nil
	}
	k := consent.VerifierKey(text)
	if _, err := k.Public(); err != nil {
		return "", err
	}
	return k, nil
}

// ReadKey reads a secret key's file and says so when others can read it too.
func (a *App) ReadKey(path string) (consent.Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return consent.Key{}, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		a.Say("warning: %s can be read by others on this machine; `chmod 600 %s` ends that", path, path)
	}
	k, err := node.ReadKey(path)
	if err != nil && strings.HasSuffix(path, ".pub") {
		return k, node.WithHint(err, "this is the public half; the .key file signs")
	}
	return k, err
}

// ReadSmall reads a file of at most most bytes.
func ReadSmall(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return b, nil
}

// MustFlags marks flags as required. The names are this program's own, so an unknown one is a
// programming error.
func MustFlags(cmd *cobra.Command, names ...string) {
	for _, n := range names {
		if err := cmd.MarkFlagRequired(n); err != nil {
			panic(err)
		}
	}
}
