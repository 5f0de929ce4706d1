package ui

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// AskSecret asks for one line and, where standard input is a terminal, does not show what is typed.
func AskSecret(in *bufio.Reader, w io.Writer, question string) (string, error) {
	fmt.Fprintf(w, "%s: ", question)
	defer fmt.Fprintln(w)
	defer hideTyping(os.Stdin.Fd())()
	line, err := readLine(in)
	if err != nil && line == "" {
		if errors.Is(err, io.EOF) {
			err = ErrNoAnswer
		}
		return "", err
	}
	return strings.TrimSuffix(line, "\r"), nil
}
