package node

import (
	"context"
	"errors"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent"
)

// What a command answers and why it refuses reaches the CLI whole: the words, the class, the way out.
func TestControlCarriesAnswersAndRefusals(t *testing.T) {
	dir := t.TempDir()
	if err := Create(dir, Observe); err != nil {
		t.Fatal(err)
	}
	c := Dial(dir)
	if err := c.Call(t.Context(), "double", 2, nil); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("nobody serves: %v", err)
	}
	refusal := WithHint(consent.Refuse(consent.AreaTooLarge, "area", "2 km²"), "draw a smaller one")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- ServeControl(ctx, dir, Commands{
			"double": Do(func(_ context.Context, n int) (int, error) { return 2 * n, nil }),
			"refuse": Do(func(context.Context, struct{}) (any, error) { return nil, refusal }),
		})
	}()
	var got int
	for errors.Is(c.Call(t.Context(), "double", 21, &got), ErrNotRunning) {
	}
	if got != 42 {
		t.Errorf("double 21 = %d", got)
	}
	err := c.Call(t.Context(), "refuse", struct{}{}, nil)
	if err == nil || err.Error() != refusal.Error() || consent.ClassOf(err) != consent.AreaTooLarge || HintOf(err) != "draw a smaller one" {
		t.Errorf("refused with %v (class %q, hint %q)", err, consent.ClassOf(err), HintOf(err))
	}
	if err := c.Call(t.Context(), "refuse", map[string]int{"x": 1}, nil); err == nil || consent.ClassOf(err) != "" {
		t.Errorf("an unknown argument: %v", err)
	}
	if err := c.Call(t.Context(), "nonsense", struct{}{}, nil); err == nil || HintOf(err) == "" {
		t.Errorf("an unknown command: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
