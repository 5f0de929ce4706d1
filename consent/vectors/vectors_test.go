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
	for _, kind := range []string{"charter", "agency-card", "officer", "request", "supersede", "resolve", "grant", "manifest", "acceptance", "receipt", "checkpoint", "bundle",
		"report", "outcome", "daily", "objection", "leaf", "cosigned", "add", "misconduct"} {
		if kinds[kind+" accepted"] == 0 || kinds[kind] <= kinds[kind+" accepted"] {
			t.Errorf("%s: %d vectors, %d of them accepted; at least one of each sort is needed", kind, kinds[kind], kinds[kind+" accepted"])
		}
	}
	if len(list) < 140 && !*update {
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
	case "officer", "supersede", "resolve", "report", "outcome", "hold", "transfer", "daily":
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
	case "withdrawal", "extension", "statement", "onward":
		return judgeWord(v.Kind, msg, ctx)
	case "message":
		_, err := grant.OpenMessage(msg, ctx.ReceptionKey)
		return err
	case "taking":
		_, err := grant.OpenTaking(msg)
		return err
	case "breach":
		x, err := grant.OpenBreach(msg)
		if err == nil {
			_, err = x.OpenReceipt(ctx.ReceptionKey)
		}
		return err
	case "checkpoint", "cosigned", "add", "misconduct", "bundle":
		c, a, err := mesh(ctx)
		if err != nil {
			return err
		}
		return judgeLog(v.Kind, msg, ctx, c, a)
	case "leaf":
		return judgeLeaf(msg, ctx)
	case "objection":
		return judgeObjection(v)
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

func mesh(ctx Context) (*charter.Charter, charter.Agency, error) {
	c, err := chain(ctx.Charters)
	if err != nil {
		return nil, charter.Agency{}, fmt.Errorf("context: %v", err)
	}
	a, ok := c.Agency(ctx.Agency)
	if !ok {
		return nil, a, fmt.Errorf("context: no agency %s", ctx.Agency)
	}
	return c.Current(), a, nil
}

func log(ctx Context, now consent.Time) (*docket.Log, error) {
	_, a, err := mesh(ctx)
	if err != nil {
		return nil, err
	}
	l, err := docket.Open(a, quotas(ctx), nil, 0, plans(ctx)...)
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

// quotas are the largest that a version of the charter gave.
func quotas(ctx Context) (q charter.Quotas) {
	c, _ := chain(ctx.Charters)
	for _, l := range c {
		q.EntriesPerDay = max(q.EntriesPerDay, l.Charter.Quotas.EntriesPerDay)
		q.BytesPerDay = max(q.BytesPerDay, l.Charter.Quotas.BytesPerDay)
	}
	return q
}

// plans are those of daily entries.
func plans(ctx Context) []charter.Plan {
	c, _ := chain(ctx.Charters)
	return c.Plans()
}

// judgeLeaf takes an entry in as a peer does that follows the docket, and says what it counts for.
func judgeLeaf(msg []byte, ctx Context) error {
	_, a, err := mesh(ctx)
	if err != nil {
		return err
	}
	var store memory
	for _, e := range ctx.Entries {
		store = append(store, []byte(e))
	}
	last := int64(len(store))
	l, err := docket.Open(a, quotas(ctx), append(store, msg), last+1, plans(ctx)...)
	if err != nil {
		return err
	}
	for i := range last {
		if l.Refused(i) != "" {
			return fmt.Errorf("context: entry %d is refused: %s", i, l.Refused(i))
		}
	}
	if class := l.Refused(last); class != "" {
		return consent.Refuse(class, "", "the entry does not count")
	}
	return nil
}

func judgeObjection(v Vector) error {
	o, err := request.OpenObjection(v.Document())
	if err != nil {
		return err
	}
	c, err := chain(v.Context.Charters)
	if err != nil {
		return fmt.Errorf("context: %v", err)
	}
	if _, err := o.CheckAuthor(c.Current()); err != nil {
		return err
	}
	if o.Created.After(v.Now.Add(request.ClockSkew)) {
		return consent.Refuse(consent.NotYetValid, "created", "dated %s", o.Created)
	}
	return nil
}

// judgeLog judges what is no document of an envelope's kind: the words of a log and of its witnesses.
func judgeLog(kind string, msg []byte, ctx Context, c *charter.Charter, a charter.Agency) error {
	switch kind {
	case "checkpoint":
		_, err := docket.ParseCheckpoint(msg, a)
		return err
	case "bundle":
		b, err := docket.ParseBundle(msg)
		if err != nil {
			return err
		}
		if _, _, _, err = b.Verify(a); err != nil {
			return err
		}
		return judgeLog("cosigned", b.Checkpoint(), ctx, c, a)
	case "cosigned":
		cp, err := docket.OpenCosigned(msg, a, c.Witnesses)
		switch {
		case err != nil:
			return err
		case len(cp.By) < c.Quorum:
			return consent.Refuse(consent.Unwitnessed, "", "%d witnesses", len(cp.By))
		case !bytes.Equal(cp.Note, msg):
			return consent.Refuse(consent.ExtraSignature, "", "other lines, or another order")
		}
		return nil
	case "misconduct":
		m, err := docket.ParseMisconduct(msg)
		if err != nil {
			return err
		}
		return m.Verify(a)
	}
	q, err := docket.ParseAdd(msg)
	if err != nil {
		return err
	}
	var w docket.Witness
	if ctx.Checkpoint != "" {
		cp, err := docket.ParseCheckpoint([]byte(ctx.Checkpoint), a)
		if err != nil {
			return fmt.Errorf("context: %v", err)
		}
		w = docket.Witness{Size: cp.Size, Root: cp.Root, Note: ctx.Checkpoint}
	}
	_, err = w.Admit(q, a)
	return err
}
