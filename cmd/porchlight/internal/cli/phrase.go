package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/node"
)

// minPhrase is the fewest bytes of a new passphrase: whoever has the file can try them at leisure.
const minPhrase = 12

// Phrase asks for a passphrase, or reads it from the file that --passphrase-file names.
func (a *App) Phrase(question string) (string, error) {
	return a.phrase(question, a.PhraseFile, "give --passphrase-file")
}

// NewPhrase reads a new passphrase from a file, or where that is "" asks for it twice; otherwise names
// what to give in place of an answer.
func (a *App) NewPhrase(question, file, otherwise string) (string, error) {
	words, err := a.phrase(question, file, otherwise)
	if err != nil {
		return "", err
	}
	if file == "" {
		again, err := a.phrase("The same again", "", otherwise)
		if err != nil {
			return "", err
		}
		if again != words {
			return "", errors.New("nothing was done: the two passphrases differ")
		}
	}
	if len(words) < minPhrase {
		return "", node.WithHint(fmt.Errorf("the passphrase has %d characters; it takes at least %d", len(words), minPhrase), "five words drawn at random are good")
	}
	return words, nil
}

func (a *App) phrase(question, file, otherwise string) (words string, err error) {
	if file != "" {
		b, err := ReadSmall(file, 4096)
		if err != nil {
			return "", err
		}
		words, _, _ = strings.Cut(string(b), "\n")
		words = strings.TrimSuffix(words, "\r")
	} else if words, err = ui.AskSecret(a.ctx, a.In, a.Err, question); err != nil {
		return "", node.WithHint(fmt.Errorf("no passphrase: %w", err), "answer at a terminal, or "+otherwise)
	}
	if words == "" {
		return "", errors.New("the passphrase is empty")
	}
	return words, nil
}
