package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/node"
)

// try runs a command whose work is f, and returns its exit code and what it wrote.
func try(t *testing.T, f func() error, args ...string) (code int, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &App{In: bufio.NewReader(strings.NewReader("")), Out: &out, Err: &errs, Now: time.Now, Env: func(string) string { return "" }}
	root := &cobra.Command{Use: "porchlight", SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: a.Do(Nothing(func(context.Context) error { return f() }))}
	return a.Main(context.Background(), root, args), errs.String()
}

func TestExitCodesAndWaysOut(t *testing.T) {
	tooLarge := consent.Refuse(consent.AreaTooLarge, "area", "2 km²")
	for _, c := range []struct {
		name string
		err  error
		code int
		says string
	}{
		{"done", nil, 0, ""},
		{"failed", errors.New("disk full"), 1, "porchlight: disk full\n"},
		{"with a hint", node.WithHint(errors.New("disk full"), "make room"), 1, "porchlight: disk full\n  hint: make room\n"},
		{"usage", Usage("write 1", "--n %q", "x"), 2, "porchlight: --n \"x\"\n  hint: write 1\n"},
		{"usage without a hint", Usage("", "no"), 2, "porchlight: no\n  hint: `porchlight --help` shows how it is used\n"},
		{"not running", fmt.Errorf("home: %w", node.ErrNotRunning), 3, "porchlight: home: the node is not running\n"},
		{"refused", fmt.Errorf("draft: %w", tooLarge), 4, "porchlight: draft: area-too-large (area): 2 km²\n  hint: `porchlight charter show"},
		{"damaged", consent.Refuse(consent.BadSignature, "", "no"), 1, "porchlight: bad-signature: no\n  hint: the file was changed"},
		{"a stranger's text", errors.New("a\x1b[2Jb\nc"), 1, "porchlight: a\ufffd[2Jb; c\n"},
	} {
		code, says := try(t, func() error { return c.err })
		if code != c.code || !strings.HasPrefix(says, c.says) || c.says == "" && says != "" {
			t.Errorf("%s: exit code %d and %q, want %d and %q", c.name, code, says, c.code, c.says)
		}
	}
	if code, _ := try(t, func() error { return nil }, "--bogus"); code != 2 {
		t.Errorf("an unknown flag: exit code %d, want 2", code)
	}
}

func TestTimesAsTyped(t *testing.T) {
	want := time.Date(2026, 11, 22, 19, 4, 0, 0, time.UTC)
	for _, s := range []string{"2026-11-22T19:04:00Z", "2026-11-22 19:04:00", "2026-11-22 19:04", "2026-11-22T19:04Z", "2026-11-22T20:04:00+01:00"} {
		if got, err := ParseTime("from", s); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"yesterday", "22.11.2026", "2026-11-22 25:00", "19:04"} {
		if _, err := ParseTime("from", s); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v, want an error of usage", s, err)
		}
	}
}

func TestPlacesAsTyped(t *testing.T) {
	if p, err := ParsePoint("at", " 51.5, -0.12"); err != nil || p.Lat != 51.5 || p.Lon != -0.12 {
		t.Errorf("got %v, %v", p, err)
	}
	for _, s := range []string{"", "51.5", "51.5;0", "91,0", "0,181", "NaN,0", "1,2,3"} {
		if _, err := ParsePoint("at", s); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v, want an error of usage", s, err)
		}
	}
}

// Settings that a person commented stay commented when a flag changes one of them.
func TestOneSettingChangesAndTheRestStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	if err := CreateNode(dir, node.Home, []string{"/ip4/127.0.0.1/tcp/4001"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.toml")
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before := strings.Split(node.DefaultConfig(node.Home), "\n")
	for i, line := range strings.Split(string(got), "\n") {
		if strings.HasPrefix(line, "listen = ") {
			if line != `listen = ["/ip4/127.0.0.1/tcp/4001"]` {
				t.Errorf("got %s", line)
			}
		} else if line != before[i] {
			t.Errorf("line %d changed to %q", i+1, line)
		}
	}
	if err := SetList(dir, node.Home, "unheard_of", []string{"x"}); err == nil {
		t.Error("a setting that is not there was set")
	}
	if err := CreateNode(filepath.Join(t.TempDir(), "x"), node.Home, []string{"localhost"}); !errors.Is(err, errUsage) {
		t.Errorf("got %v, want an error of usage", err)
	}
}

// How long something is overdue is the node's to say: the clock of the machine that shows it may be another.
func TestOverdueIsCountedByTheNodesClock(t *testing.T) {
	var out bytes.Buffer
	list := []node.AgencyOverdue{{Name: "Elmford Police", On: "2031-05-04", Overdue: []node.Overdue{{Commitment: "c", Made: "2031-04-01", Due: "2031-05-01"}, {Commitment: "d", Made: "2031-04-02", Due: "2031-05-02"}}}}
	if err := writeOverdue(&out, list); err != nil || !strings.Contains(out.String(), "2031-05-01  3 days ") || !strings.Contains(out.String(), "2031-05-02  2 days ") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
