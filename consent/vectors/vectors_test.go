package vectors

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestVectors judges every file by its context.
func TestVectors(t *testing.T) {
	list, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			err := judge(v)
			got := string(consent.ClassOf(err))
			if err == nil {
				got = OK
			}
			if got != v.Expect {
				t.Errorf("%s: %v, want %s", v.Why, err, v.Expect)
			}
		})
		kinds[v.Kind]++
		if v.Expect == OK {
			kinds[v.Kind+" accepted"]++
		}
	}
	for _, kind := range []string{"charter", "agency-card", "officer", "request", "supersede", "resolve", "grant", "manifest", "acceptance", "receipt", "checkpoint", "bundle"} {
		if kinds[kind+" accepted"] == 0 || kinds[kind] <= kinds[kind+" accepted"] {
			t.Errorf("%s: %d vectors, %d of them accepted; at least one of each sort is needed", kind, kinds[kind], kinds[kind+" accepted"])
		}
	}
	if len(list) < 70 && !*update {
		t.Errorf("%d vectors", len(list))
	}
}

// TestTestdata holds the files against the stories they were made of; -update writes them.
func TestTestdata(t *testing.T) {
	want := map[string][]byte{}
	for _, v := range stories() {
		var buf bytes.Buffer
		e := json.NewEncoder(&buf)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", v.Name+".json")
		if want[path] != nil {
			t.Errorf("two vectors are called %s", v.Name)
		}
		want[path] = buf.Bytes()
	}
	have, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		for _, path := range have {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		for path, b := range want {
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if len(have) != len(want) {
		t.Errorf("%d files, %d vectors; run go test ./consent/vectors -update", len(have), len(want))
	}
	for path, b := range want {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s is not what its story makes (%v); run go test ./consent/vectors -update", path, err)
		}
	}
}

// judge is what README.md describes, kind by kind. A broken context is no refusal and has no class.
func judge(v Vector) error {
	msg, ctx := v.Document(), v.Context
	switch v.Kind {
	case "charter":
		_, err := chain(append(ctx.Charters, string(msg)))
		return err
	case "agency-card":
		_, err := charter.OpenCard(msg)
		return err
	case "request":
		return judgeRequest(v)
	case "officer", "supersede", "resolve":
		l, err := log(ctx, v.Now)
		if err != nil {
			return err
		}
		_, err = l.Prepare(msg, v.Now.Time)
		return err
	case "grant":
		g, err := grant.OpenGrant(msg)
		if err != nil || ctx.Request == "" {
			return err
		}
		r, err := request.Open([]byte(ctx.Request))
		if err != nil {
			return fmt.Errorf("context: %v", err)
		}
		return g.Answers(r.Terms)
	case "manifest":
		_, err := grant.OpenManifest(msg, ctx.GrantKey)
		return err
	case "acceptance":
		a, err := grant.OpenAcceptance(msg, ctx.ReceptionKey)
		if err != nil || ctx.Grant == "" {
			return err
		}
		g, err := grant.OpenGrant([]byte(ctx.Grant))
		if err != nil {
			return fmt.Errorf("context: %v", err)
		}
		return a.Answers(grant.IDOf([]byte(ctx.Grant)), g)
	case "receipt":
		_, err := grant.OpenReceipt(msg, ctx.ReceptionKey)
		return err
	case "checkpoint":
		a, err := agency(ctx)
		if err != nil {
			return err
		}
		if _, err := docket.ParseCheckpoint(msg, a); err != nil || ctx.Checkpoint == "" {
			return err
		}
		return docket.CheckFork(a, []byte(ctx.Checkpoint), msg)
	case "bundle":
		b, err := docket.ParseBundle(msg)
		if err != nil {
			return err
		}
		a, err := agency(ctx)
		if err != nil {
			return err
		}
		_, _, _, err = b.Verify(a)
		return err
	}
	return fmt.Errorf("no kind of vector: %q", v.Kind)
}

func judgeRequest(v Vector) error {
	msg := v.Document()
	r, err := request.Open(msg)
	if err != nil || v.Context.Charters == nil {
		return err
	}
	c, err := chain(v.Context.Charters)
	if err != nil {
		return fmt.Errorf("context: %v", err)
	}
	a, _ := c.Agency(v.Context.Agency)
	if err := r.CheckCharter(c.Current(), a); err != nil {
		return err
	}
	if err := r.CheckNow(v.Now.Time); err != nil {
		return err
	}
	l, err := log(v.Context, v.Now)
	if err != nil {
		return err
	}
	if _, err := l.Prepare(msg, v.Now.Time); err != nil {
		return err
	}
	var earlier []request.Seen
	for _, e := range v.Context.Entries {
		if seen, err := request.Open([]byte(e)); err == nil {
			earlier = append(earlier, request.Seen{ID: request.IDOf([]byte(e)), Request: seen})
		}
	}
	return request.CheckHistory(earlier, request.Seen{ID: request.IDOf(msg), Request: r}, c.Current().Limits)
}

func chain(notes []string) (charter.Chain, error) {
	c, err := charter.Start([]byte(notes[0]))
	for i := 1; i < len(notes) && err == nil; i++ {
		c, err = c.Extend([]byte(notes[i]))
	}
	return c, err
}

func agency(ctx Context) (charter.Agency, error) {
	c, err := chain(ctx.Charters)
	if err != nil {
		return charter.Agency{}, fmt.Errorf("context: %v", err)
	}
	a, ok := c.Agency(ctx.Agency)
	if !ok {
		return a, fmt.Errorf("context: no agency %s", ctx.Agency)
	}
	return a, nil
}

func log(ctx Context, now consent.Time) (*docket.Log, error) {
	a, err := agency(ctx)
	if err != nil {
		return nil, err
	}
	l, err := docket.Open(a, charter.Quotas{}, nil, 0)
	if err != nil {
		return nil, err
	}
	for _, e := range ctx.Entries {
		if _, err := l.Append([]byte(e), now.Time); err != nil {
			return nil, fmt.Errorf("context: %v", err)
		}
	}
	return l, nil
}
