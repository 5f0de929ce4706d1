// Package cli is what all commands of porchlight share: the streams, the clock and the global flags
// (App), how a node is reached (over its socket where it runs, on its folder where it does not),
// how results, questions and failures are written, and the commands that every role has.
//
// Every command is a function New… or new… that is handed an App and returns a cobra command. What
// it does is wrapped in App.Do, which tells an error of its work from one of how it was called.
package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
)

// An App is what commands are handed: the streams, the clock, the randomness, and the flags
// that all of them share.
type App struct {
	In       *bufio.Reader
	Out, Err io.Writer
	Now      func() time.Time
	Rand     io.Reader
	Env      func(string) string

	JSON       bool   // print results as JSON
	Verbose    bool   // log more
	Dir        string // the folder named by --dir, "" for the default
	PhraseFile string // the file named by --passphrase-file, "" to ask

	started bool            // a command's own work has begun, so an error is no longer one of usage
	ctx     context.Context // that work's, for what asks at the terminal in the middle of it
}

// Exit codes.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitRefused    = 4
)

// Main runs the command line and returns its exit code.
func (a *App) Main(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	code, hint, text := exitCode(err), hintOf(err), err.Error()
	if gone, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(gone, fs.ErrNotExist) {
		text = strings.Replace(text, gone.Error(), "there is no file "+gone.Path, 1)
		if hint == "" && !filepath.IsAbs(gone.Path) {
			hint = "its name is taken from the folder that you are in"
		}
		if strings.HasSuffix(gone.Path, ".key") {
			hint = "name the .key file of the person who signs; `porchlight key new` makes one"
		}
	}
	if !a.started && code == exitFailed {
		code = exitUsage
	}
	if code == exitUsage && hint == "" {
		hint = "`" + cmd.CommandPath() + " --help` shows how it is used"
	}
	ui.Sentence(a.Err, "porchlight: "+oneLine(text))
	if hint != "" {
		ui.Sentence(a.Err, "  hint: "+hint)
	}
	return code
}

// hintOf is the way out that an error carries, or else the one that its class has.
func hintOf(err error) string {
	if h := node.HintOf(err); h != "" {
		return h
	}
	switch consent.ClassOf(err) {
	case consent.AreaTooLarge, consent.AreaTooSmall, consent.WindowTooLong, consent.WindowTooShort, consent.ExpiryTooLong,
		consent.RetentionTooLong, consent.UnusedTooLong, consent.OutsideJurisdiction, consent.TooManyPosts, consent.DailyArea:
		return "`porchlight charter show --dir FOLDER`, with the node's folder, shows the mesh's limits and the agency's jurisdiction"
	case request.TextPressure, request.TextPersonal, request.TextRaceOnly, request.TextAssembly:
		return "say what happened and what to look for, without it"
	case request.UnknownOffence:
		return "`porchlight agency request offences` lists the codes"
	case request.ReplyNotPublic:
		return "name the node's public address with --reply, or found the mesh with --lan-only"
	case consent.ExpiredOfficer:
		return "a key is enrolled once: make a new one with `porchlight key new`, and a supervisor enrols it"
	case consent.UnknownOfficer:
		return "a supervisor enrols the key first: `porchlight agency officer enrol`, then `porchlight agency publish`"
	case consent.MissingSignature:
		return "a request needs its officer's signature and then its supervisor's: `porchlight agency request sign`; or the file was cut off"
	case consent.Malformed:
		return "it is not the whole of a signed document: copy it again, all of it"
	case consent.BadThreshold:
		return "say with --threshold how many signers have to agree"
	case consent.BelowQuorum:
		return "more signers of the charter have to sign: `porchlight charter sign`"
	case consent.BadSignature, consent.NotCanonical:
		return "the file was changed after it was signed, or it is damaged; ask for it again"
	}
	return ""
}

// oneLine keeps an error, which may quote a stranger, on one line of the terminal.
func oneLine(s string) string {
	return ui.Clean(strings.ReplaceAll(strings.TrimSpace(s), "\n", "; "))
}

// errUsage marks an error as one of how the command was used.
var errUsage = errors.New("wrong usage")

type usageError struct{ error }

func (usageError) Is(target error) bool { return target == errUsage }
func (e usageError) Unwrap() error      { return e.error }

// Usage makes an error of wrong usage, with the way out where hint is not empty.
func Usage(hint, format string, args ...any) error {
	var err error = usageError{fmt.Errorf(format, args...)}
	if hint != "" {
		err = node.WithHint(err, hint)
	}
	return err
}

// refusal says whether a class is a no to a document that is well formed: by the charter's
// limits, the docket or its history. The other classes name a document that is damaged.
func refusal(c consent.Class) bool {
	switch c {
	case consent.Expired, consent.NotYetValid,
		consent.AreaTooLarge, consent.AreaTooSmall, consent.OutsideJurisdiction, consent.WindowTooLong, consent.WindowTooShort,
		consent.ExpiryTooLong, consent.RetentionTooLong, consent.UnusedTooLong, consent.TooManyPosts, consent.DailyArea,
		consent.TermsWider, consent.SameSigner,
		request.PlaceOutsideArea, request.WindowInFuture, request.ReplyNotPublic, request.WrongAgency, request.OrderMissing,
		request.TextPressure, request.TextPersonal, request.TextRaceOnly, request.TextAssembly,
		consent.BelowQuorum, consent.WrongPrevious, consent.Frozen, consent.UnknownAgency, consent.Unaccounted, consent.Suspended,
		consent.UnknownOfficer, consent.RevokedOfficer, consent.ExpiredOfficer, consent.WrongRole,
		consent.DuplicateEntry, consent.UnknownRequest, consent.ClosedRequest, consent.Fork, consent.Unwitnessed, consent.OverQuota:
		return true
	}
	return false
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, node.ErrNotRunning):
		return exitNotRunning
	case refusal(consent.ClassOf(err)):
		return exitRefused
	}
	return exitFailed
}

// Do wraps what a command does.
func (a *App) Do(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started, a.ctx = true, cmd.Context()
		return f(cmd.Context(), args)
	}
}

// Show prints a result: the object itself with --json, else what text writes.
func (a *App) Show(v any, text func(w io.Writer) error) error {
	if !a.JSON {
		return text(a.Out)
	}
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Say writes progress for the person at the terminal.
func (a *App) Say(format string, args ...any) {
	for _, l := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		ui.Sentence(a.Err, l)
	}
}

// Confirm asks before something that cannot be taken back. Without a yes it is an error, so that
// the command ends there.
func (a *App) Confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	ok, err := ui.Ask(a.In, a.Err, question)
	if errors.Is(err, ui.ErrNoAnswer) {
		return node.WithHint(errors.New("nothing was done: there was nobody to ask"), "answer y at a terminal, or give --yes if this was decided before")
	}
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("nothing was done: you answered no")
	}
	return nil
}

// Log is the log of a running node.
func (a *App) Log() *slog.Logger {
	level := slog.LevelInfo
	if a.Verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: level}))
}

// QuietLog is the log of a command that only looks into a folder: silent unless asked for.
func (a *App) QuietLog() *slog.Logger {
	if a.Verbose {
		return a.Log()
	}
	return slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// CharterFolder stands for a role where a command works on a charter's folder.
const CharterFolder = "charter"

// Folder is the folder that a command works on: --dir, else PORCHLIGHT_DIR, else
// ~/.porchlight/<what>. PORCHLIGHT_DIR names a node's folder, so it is no charter's.
func (a *App) Folder(what string) (string, error) {
	if a.Dir != "" {
		return a.Dir, nil
	}
	if d := a.Env("PORCHLIGHT_DIR"); d != "" && what != CharterFolder {
		return d, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", node.WithHint(err, "say where with --dir")
	}
	return filepath.Join(home, ".porchlight", what), nil
}

// Absolute makes a path one that the node, whose own folder is another, understands.
func Absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// NewFile refuses a name that is taken: what a command writes never replaces what was there.
func NewFile(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return node.WithHint(fmt.Errorf("%s exists already", path), "choose another name with --out")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ParseTime reads a moment as people type one: RFC 3339, or date and time in UTC.
func ParseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Truncate(time.Second), nil
		}
	}
	return time.Time{}, Usage("write UTC as 2026-11-22T19:04:00Z or '2026-11-22 19:04'", "--%s %q is not a time", flag, s)
}

// ParsePoint reads a place as people copy it from a map: latitude, longitude.
func ParsePoint(flag, s string) (geo.Point, error) {
	lat, lon, ok := strings.Cut(s, ",")
	la, err1 := strconv.ParseFloat(strings.TrimSpace(lat), 64)
	lo, err2 := strconv.ParseFloat(strings.TrimSpace(lon), 64)
	p := geo.Point{Lat: la, Lon: lo}
	if !ok || err1 != nil || err2 != nil || !p.Valid() {
		return geo.Point{}, Usage("write latitude, then longitude, in degrees: 51.5007,-0.1246", "--%s %q is not a place", flag, s)
	}
	return p, nil
}
