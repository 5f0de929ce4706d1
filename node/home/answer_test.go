package home

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

func openHome(t *testing.T) (*Home, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := node.Create(dir, node.Home); err != nil {
		t.Fatal(err)
	}
	return reopen(t, dir), dir
}

func reopen(t *testing.T, dir string) *Home {
	t.Helper()
	h, err := Open(t.Context(), dir, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// put gives a home an answer in some state.
func (h *Home) put(t *testing.T, id, state string) {
	t.Helper()
	a := &Answer{ID: id, Request: consent.RequestID(strings.Repeat("ab", 32)), State: state, Releases: []Release{{Key: true}, {}}}
	if err := os.MkdirAll(h.file(a, ""), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := node.WriteJSON(durable.Disk{}, h.file(a, "answer.json"), a); err != nil {
		t.Fatal(err)
	}
	h.answers[id] = a
	if h.inbox[a.Request] == nil {
		h.inbox[a.Request] = &Item{Request: a.Request, State: "new"}
	}
}

// A folder may have any name, and what was decided in it is found again.
func TestFolderWithAnyName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home [a-c]*?")
	if err := node.Create(dir, node.Home); err != nil {
		t.Fatal(err)
	}
	h := reopen(t, dir)
	h.put(t, "1", "waiting")
	item := &Item{Request: consent.RequestID(strings.Repeat("cd", 32)), State: "declined"}
	if err := h.saveItem(item); err != nil {
		t.Fatal(err)
	}
	h.Close()
	again := reopen(t, dir)
	if again.answers["1"] == nil || again.inbox[item.Request] == nil || again.inbox[item.Request].State != "declined" {
		t.Errorf("answers %v, inbox %v", again.answers, again.inbox)
	}
}

// Whatever the node was at when its owner took an answer back, its next step fails: a clip that is
// ready does not wait, one that waits is not sent, and the key of one that arrived is not given.
func TestWithdrawnStopsEveryStep(t *testing.T) {
	for _, tt := range []struct{ from, to string }{{"preparing", "waiting"}, {"waiting", "sending"}, {"sending", "sending"}, {"sending", "delivered"}} {
		h, dir := openHome(t)
		h.put(t, "1", tt.from)
		back, err := h.withdraw(t.Context(), RequestArg{Request: "abababab"})
		if err != nil || len(back) != 1 || back[0].State != "withdrawn" || !strings.Contains(back[0].Problem, "1 of 2 releases had left") {
			t.Fatalf("withdraw = %+v, %v", back, err)
		}
		changed := false
		if err := h.step("1", tt.from, tt.to, func(*Answer) error { changed = true; return nil }); err == nil || changed {
			t.Errorf("from %s to %s after it was taken back: %v, changed %v", tt.from, tt.to, err, changed)
		}
		h.Close()
		if a := reopen(t, dir).snapshot("1"); a.State != "withdrawn" {
			t.Errorf("after a restart the answer is %s", a.State)
		}
	}
}

// The disk takes no record. Nothing goes on that is not recorded, and what was taken back stops
// all the same, also for the next run of the node.
func TestAnswerThatCannotBeRecorded(t *testing.T) {
	h, dir := openHome(t)
	h.put(t, "1", "waiting")
	blocked := h.file(h.answers["1"], "answer.json")
	if err := errors.Join(os.Remove(blocked), os.MkdirAll(filepath.Join(blocked, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := h.step("1", "waiting", "sending", nil); err == nil || h.snapshot("1").State != "waiting" {
		t.Errorf("unrecorded, the answer is %s: %v", h.snapshot("1").State, err)
	}
	if _, err := h.withdraw(t.Context(), RequestArg{Request: "abababab"}); err == nil || h.snapshot("1").State != "withdrawn" {
		t.Errorf("taken back, the answer is %s: %v", h.snapshot("1").State, err)
	}
	h.Close()
	if h = reopen(t, dir); len(h.due()) != 0 {
		t.Errorf("the next run finds %d answers to send", len(h.due()))
	}
}

// A damaged inbox item does not keep its owner from taking an answer back.
func TestWithdrawWithoutInboxItem(t *testing.T) {
	h, dir := openHome(t)
	h.put(t, "1", "waiting")
	h.Close()
	h = reopen(t, dir)
	if _, err := h.decline(t.Context(), RequestArg{Request: "abababab"}); err == nil {
		t.Error("declined although an answer waits")
	}
	if _, err := h.withdraw(t.Context(), RequestArg{Request: "abababab"}); err != nil {
		t.Error(err)
	}
	if item, _ := h.itemOf(h.answers["1"].Request); item.State != "declined" {
		t.Errorf("the request is %s", item.State)
	}
}

// An anonymous grant says no more of its making than the hour in which it may leave; no grant is
// dated before its request or at its end.
func TestDates(t *testing.T) {
	made := time.Date(2026, 11, 23, 9, 41, 7, 0, time.UTC)
	r := request.Request{Created: consent.At(made), Expires: consent.At(made.Add(24 * time.Hour))}
	for _, tt := range []struct {
		leaves   time.Duration
		identity grant.Identity
		want     string
	}{
		{5*time.Hour + 11*time.Second, grant.Anonymous, "2026-11-23T14:00:00Z"},
		{time.Minute, grant.Anonymous, "2026-11-23T09:41:07Z"},
		{5*time.Hour + 11*time.Second, grant.Named, "2026-11-23T14:41:18Z"},
	} {
		if got := dated(made.Add(tt.leaves), tt.identity, r).String(); got != tt.want {
			t.Errorf("%s later, %s: %s, want %s", tt.leaves, tt.identity, got, tt.want)
		}
	}
	h, _ := openHome(t)
	h.peer.Now = func() time.Time { return made }
	h.peer.Config.Home.AnswerDelay = node.Duration(1000 * time.Hour)
	for range 100 {
		if at := h.leaves(r); at.Before(made) || at.After(made.Add(12*time.Hour)) {
			t.Fatalf("an answer leaves at %s, its request lives until %s", at, r.Expires)
		}
	}
}
