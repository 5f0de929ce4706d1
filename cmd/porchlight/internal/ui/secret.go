package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// AskSecret asks for one line and, where standard input is a terminal, does not show what is typed. The
// terminal shows it again once ctx ends, since whoever interrupts twice ends the process here.
func AskSecret(ctx context.Context, in *bufio.Reader, w io.Writer, question string) (string, error) {
	fmt.Fprintf(w, "%s: ", question)
	defer fmt.Fprintln(w)
	show := sync.OnceFunc(hideTyping(os.Stdin.Fd()))
	defer show()
	defer context.AfterFunc(ctx, show)()
	line, err := readLine(in)
	if err != nil && line == "" {
		if errors.Is(err, io.EOF) {
			err = ErrNoAnswer
		}
		return "", err
	}
	return strings.TrimSuffix(line, "\r"), nil
}
