package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/keyfile"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// NewKeyCommand is `porchlight key`.
func NewKeyCommand(a *App) *cobra.Command {
	cmd := Group(&cobra.Command{
		Use:   "key",
		Short: "Make, show and seal a person's signing key",
		Long: `A person who signs (a charter's signer, an officer, a supervisor) has a key of their own
in a file that only they can read, sealed with a passphrase. The public half, in the .pub file
beside it, is what they hand to others.`,
		Example: `  porchlight key new --name "Det. Ruiz" --out ruiz.key
  porchlight key show ruiz.pub`,
	})
	cmd.AddCommand(newKeyNewCommand(a), newKeyShowCommand(a), newKeyPassphraseCommand(a))
	return cmd
}

// publicKey is the answer of the key commands.
type publicKey struct {
	Name   string              `json:"name"`
	Key    consent.VerifierKey `json:"key"`
	Secret string              `json:"secret_file,omitempty"`
	Public string              `json:"public_file,omitempty"`
	Sealed bool                `json:"sealed,omitempty"` // the secret file has a passphrase
}

func newKeyNewCommand(a *App) *cobra.Command {
	var name, out string
	var open bool
	cmd := &cobra.Command{
		Use:   "new --name NAME --out FILE.key",
		Short: "Make a signing key",
		Long: `Makes an Ed25519 key and writes it to a new file that only you can read, sealed with a passphrase that
it asks for; the public half goes to the same name with .pub. The name stands on every signature. It may
hold letters, digits and signs of plain ASCII; a space becomes a dot, and '+' is not allowed.

Whoever has the file and its passphrase can sign as you. With --no-passphrase the file alone is enough:
a stolen laptop, a backup or a shared folder then signs in your name. Use it for trying things out.

There is no way to get a lost key or passphrase back: a charter or docket then has to replace the key.
Should this program be gone, any age program opens the file: age -d ruiz.key`,
		Example: `  porchlight key new --name "Det. Ruiz" --out ruiz.key`,
		Args:    cobra.NoArgs,
		RunE: a.Do(Nothing(func(context.Context) error {
			if open && a.PhraseFile != "" {
				return Usage("", "give --no-passphrase or --passphrase-file, not both")
			}
			return a.keyNew(name, out, open)
		})),
	}
	cmd.Flags().StringVar(&name, "name", "", "`name` to sign under")
	cmd.Flags().StringVar(&out, "out", "", "`file` for the secret key; must not exist")
	cmd.Flags().BoolVar(&open, "no-passphrase", false, "write the key in the clear: whoever can read the file can then sign as you")
	MustFlags(cmd, "name", "out")
	return cmd
}

func (a *App) keyNew(name, out string, open bool) error {
	k, err := consent.GenerateKey(a.Rand, Dotted(name))
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
	file, err := a.sealed(k, out, a.PhraseFile, "give --passphrase-file or --no-passphrase", open)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(out, file, 0o600); err != nil {
		return err
	}
	if err := durable.WriteFile(pub, []byte(string(k.Verifier())+"\n"), 0o644); err != nil {
		return err
	}
	return a.showKey(publicKey{Name: k.Name(), Key: k.Verifier(), Secret: out, Public: pub, Sealed: !open})
}

// Dotted writes a person's name as a key's name: a space becomes a dot, "Det. Ruiz" Det.Ruiz.
func Dotted(name string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(name), "."), "..", ".")
}

// publicName names the file of the public half.
func publicName(secret string) string { return strings.TrimSuffix(secret, ".key") + ".pub" }

func (a *App) showKey(k publicKey) error {
	return a.Show(k, func(w io.Writer) error {
		secret := k.Secret
		if secret != "" && !k.Sealed {
			secret += ", without a passphrase: whoever can read it can sign"
		}
		return ui.Facts(w, "name", k.Name, "public key", string(k.Key), "public file", k.Public, "secret file", secret)
	})
}

func newKeyShowCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "Show the public half of a key",
		Long: `Shows whose key a .key or .pub file holds. The secret is never printed. Of a key with a passphrase it
shows what the .pub file beside it says, and asks for the passphrase only where that file is missing.`,
		Example: `  porchlight key show ruiz.key
  porchlight key show ruiz.pub`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error { return a.keyShow(args[0]) }),
	}
}

func (a *App) keyShow(file string) error {
	b, err := ReadSmall(file, keyfile.Max)
	sealed := err == nil && keyfile.Sealed(b)
	pub, err := ReadPublic(file)
	switch {
	case sealed && err == nil:
		a.Say("%s has a passphrase and was not opened; this is what %s beside it says", file, publicName(file))
	case sealed && errors.Is(err, fs.ErrNotExist):
		var k consent.Key
		k, err = a.unseal(file, b)
		pub = k.Verifier()
	}
	if err != nil {
		return err
	}
	return a.showKey(publicKey{Name: pub.Name(), Key: pub, Sealed: sealed})
}

func newKeyPassphraseCommand(a *App) *cobra.Command {
	var open bool
	var fresh string
	cmd := &cobra.Command{
		Use:   "passphrase FILE.key",
		Short: "Set, change or remove the passphrase of a key",
		Long: `Asks for the passphrase of a key, where it has one, and for the new one twice, and writes the file anew. The
key itself stays the same: whoever has an old copy of the file opens it as before, and the disk may
keep the old bytes for a while. A key that somebody else may have read is revoked, not sealed.`,
		Example: `  porchlight key passphrase ruiz.key
  porchlight key passphrase ruiz.key --no-passphrase
  porchlight key passphrase ruiz.key --passphrase-file old --new-passphrase-file new`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(_ context.Context, args []string) error {
			if open && fresh != "" {
				return Usage("", "give --no-passphrase or --new-passphrase-file, not both")
			}
			return a.keyPassphrase(args[0], fresh, open)
		}),
	}
	cmd.Flags().BoolVar(&open, "no-passphrase", false, "remove it: whoever can read the file can then sign")
	cmd.Flags().StringVar(&fresh, "new-passphrase-file", "", "read the new passphrase from the first line of this `file` instead of asking")
	return cmd
}

func (a *App) keyPassphrase(file, fresh string, open bool) error {
	path, err := filepath.EvalSymlinks(file) // what a link points to is replaced, not the link
	if err != nil {
		return err
	}
	k, err := a.ReadKey(path)
	if err != nil {
		return err
	}
	sealed, err := a.sealed(k, path, fresh, "give --new-passphrase-file or --no-passphrase", open)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, sealed, 0o600); err != nil {
		return err
	}
	return a.showKey(publicKey{Name: k.Name(), Key: k.Verifier(), Secret: file, Sealed: !open})
}

// sealed is what a key's file holds: the key in the clear, or under a new passphrase.
func (a *App) sealed(k consent.Key, path, phraseFile, otherwise string, open bool) ([]byte, error) {
	if open {
		return keyfile.Encode(k), nil
	}
	phrase, err := a.NewPhrase("New passphrase of "+path, phraseFile, otherwise)
	if err != nil {
		return nil, err
	}
	return keyfile.Seal(k, phrase)
}

// ReadPublic takes a public key from a .pub file, from a .key file, or from the text itself. For a .key file
// with a passphrase the .pub file beside it answers; where that is missing, the error is one that
// errors.Is(err, fs.ErrNotExist) recognises.
func ReadPublic(s string) (consent.VerifierKey, error) {
	text := s
	b, err := ReadSmall(s, keyfile.Max)
	if err == nil && keyfile.Sealed(b) {
		if b, err = ReadSmall(publicName(s), keyfile.Max); err != nil {
			return "", node.WithHint(fmt.Errorf("%s has a passphrase, and its public half is not beside it: %w", s, err), "`porchlight key show "+s+"` asks for the passphrase and shows it")
		}
	}
	switch {
	case err == nil:
		text = strings.TrimSpace(string(b))
	case !errors.Is(err, fs.ErrNotExist) && !strings.Contains(s, "+"):
		return "", err
	case !strings.Contains(s, "+"):
		return "", node.WithHint(err, "give a .pub file or a public key itself")
	}
	if strings.HasPrefix(text, "PRIVATE+KEY+") {
		k, err := keyfile.Parse([]byte(text))
		if err != nil {
			return "", fmt.Errorf("%s: %w", s, err)
		}
		return k.Verifier(), nil
	}
	k := consent.VerifierKey(text)
	if _, err := k.Public(); err != nil {
		return "", node.WithHint(err, "ask for the .pub file again, all of it")
	}
	return k, nil
}

// damagedKey is the way out where a key's file holds none.
const damagedKey = "the file is damaged or cut off, or no key: take another copy of it; where there is none, the key is lost"

// ReadKey reads a secret key's file, asks for its passphrase where it has one, and says so when others can
// read the file too.
func (a *App) ReadKey(path string) (consent.Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return consent.Key{}, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		a.Say("warning: %s can be read by others on this machine; `chmod 600 %s` ends that", path, path)
	}
	b, err := ReadSmall(path, keyfile.Max)
	if err != nil {
		return consent.Key{}, err
	}
	if keyfile.Sealed(b) {
		return a.unseal(path, b)
	}
	k, err := keyfile.Parse(b)
	if err != nil {
		hint := damagedKey
		if strings.HasSuffix(path, ".pub") {
			hint = "this is the public half; the .key file signs"
		}
		err = node.WithHint(fmt.Errorf("%s: %w", path, err), hint)
	}
	return k, err
}

// phraseTries is how often a passphrase may be mistyped before the command ends.
const phraseTries = 3

// unseal asks for the passphrase of a sealed key until it opens.
func (a *App) unseal(path string, file []byte) (consent.Key, error) {
	wrong := node.WithHint(fmt.Errorf("%s: %w", path, keyfile.ErrPhrase), "type it as it was when it was set; nothing else opens the file")
	for try := range phraseTries {
		phrase, err := a.Phrase("Passphrase of " + path)
		if try > 0 && errors.Is(err, ui.ErrNoAnswer) {
			return consent.Key{}, wrong // a script had one answer
		}
		if err != nil {
			return consent.Key{}, err
		}
		k, err := keyfile.Open(file, phrase)
		switch {
		case err == nil:
			return k, nil
		case !errors.Is(err, keyfile.ErrPhrase):
			return consent.Key{}, node.WithHint(fmt.Errorf("%s: %w", path, err), damagedKey)
		case a.PhraseFile != "":
			return consent.Key{}, wrong
		}
		a.Say("that is not its passphrase")
	}
	return consent.Key{}, wrong
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
