package agency

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
)

func (a *answer) kept() kept {
	return *a.agency.vault.grants[grant.IDOf(a.note)].releases[a.root]
}

// onRecord counts the acts beside the release and the steps of that name in the custody log.
func (a *answer) onRecord(step string) (acts, steps int) {
	a.Helper()
	_, err := durable.Disk{}.ReadRecords(a.path(".acts"), func([]byte) error { acts++; return nil })
	ok(a, err)
	entries, err := a.agency.custody.Entries()
	ok(a, err)
	for _, e := range entries {
		if e.Step == step {
			steps++
		}
	}
	return acts, steps
}

// Nobody opens a release but an officer whom the docket enrols now, who says why, now, and each time anew.
func TestWhoMayOpenARelease(t *testing.T) {
	d := newDesk(t)
	a := d.opened(nil)
	found, err := d.agency.find(t.Context(), FindArgs{Release: a.root[:20]})
	ok(t, err)
	sign := func(change func(*grant.Act), by consent.Key) string {
		t.Helper()
		act := grant.Act{Agency: found.Agency, Grant: found.Grant, CID: found.Release, Act: grant.ActUse, Reason: "it shows the car", At: consent.At(d.now), Officer: by.Verifier()}
		if change != nil {
			change(&act)
		}
		return string(d.sign(act, by))
	}
	stranger, other := newKey(t, "Mallory"), newKey(t, "Det.Lane")
	for want, note := range map[string]string{
		"no entry enrols":          sign(nil, stranger),
		"signed to view":           sign(func(a *grant.Act) { a.Act = grant.ActView }, d.officer),
		"is for the agency":        sign(func(a *grant.Act) { a.Agency = "00000000000000000000000000000000" }, d.officer),
		"the act was signed at":    sign(func(a *grant.Act) { a.At = consent.At(d.now.Add(-11 * time.Minute)) }, d.officer),
		"at most 10m0s may lie":    sign(func(a *grant.Act) { a.At = consent.At(d.now.Add(11 * time.Minute)) }, d.officer),
		"no release":               sign(func(a *grant.Act) { a.Grant = consent.GrantID(d.id) }, d.officer),
		"no release " + a.root[:4]: sign(func(a *grant.Act) { a.CID = d.opened(nil).grant.Releases[0].CID[:20] + a.CID[20:] }, d.officer),
		"a grant where":            string(a.note),
	} {
		_, err := d.agency.use(t.Context(), Act{Note: note})
		wants(t, err, want)
	}
	if a.kept().Used {
		t.Fatal("used all the same")
	}
	// Two at once with the very same act: one is done.
	note := sign(nil, d.officer)
	var g sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		g.Go(func() { _, errs[i] = d.agency.use(context.Background(), Act{Note: note}) })
	}
	g.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("the same act twice at once: %v, %v", errs[0], errs[1])
	}
	d.restart()
	_, err = d.agency.use(t.Context(), Act{Note: note})
	wants(t, err, "is on record already")
	if acts, steps := a.onRecord("release used"); acts != 1 || steps != 1 || !a.kept().Used {
		t.Errorf("%d acts and %d steps are on record; used %v", acts, steps, a.kept().Used)
	}
	// A supervisor may, too; a key that was revoked may not.
	_, err = d.agency.use(t.Context(), Act{Note: sign(nil, d.supervisor)})
	ok(t, err)
	dk := d.agency.peer.Docket(d.agency.agency)
	for _, action := range []docket.Action{docket.Enrol, docket.Revoke} {
		o := docket.Officer{Action: action, Role: docket.RoleOfficer, Name: "Lane", Key: other.Verifier(), Created: consent.At(d.now), By: d.supervisor.Verifier(), Reason: "a test"}
		if action == docket.Enrol {
			o.Expires = consent.At(d.now.AddDate(0, 1, 0))
		}
		_, err = dk.Append(d.sign(o, d.supervisor), d.agency.key, d.now)
		ok(t, err)
		_, err = d.agency.use(t.Context(), Act{Note: sign(func(a *grant.Act) { a.Reason = string(action) }, other)})
		if action == docket.Enrol {
			ok(t, err)
		} else {
			wants(t, err, "was revoked")
		}
	}
}

// Its owner is told that a release is used, also where a crash or a bad disk came between the receipt and its place among the messages.
func TestAnOwnerIsToldOfAUseAfterACrash(t *testing.T) {
	d := newDesk(t)
	a := d.opened(nil)
	messages := d.agency.vault.messagesPath()
	ok(t, os.Mkdir(messages, 0o700)) // no file can be written there
	u, err := d.agency.use(t.Context(), Act{Note: a.act(grant.ActUse, "it shows the car")})
	ok(t, err)
	ok(t, d.agency.Close())
	ok(t, os.Remove(messages))
	d.open()
	for range 2 {
		ok(t, d.agency.expire())
	}
	if m := d.agency.vault.messages; len(m) != 1 || m[0].Note != u.Receipt || m[0].Reach != a.grant.Reach {
		t.Errorf("messages wait: %+v", m)
	}
}

// What is used is kept for longer, under one receipt; what is exported is used.
func TestUseAndExport(t *testing.T) {
	d := newDesk(t)
	a, b, idle := d.opened(nil), d.opened(nil), d.opened(nil)
	u, err := d.agency.use(t.Context(), Act{Note: a.act(grant.ActUse, "it shows the car")})
	ok(t, err)
	if !u.KeyUntil.Equal(a.grant.Terms.RetainUntil.Time) {
		t.Errorf("used, its key is destroyed at %s", u.KeyUntil)
	}
	again, err := d.agency.use(t.Context(), Act{Note: a.act(grant.ActUse, "it shows it well")})
	ok(t, err)
	if again.Receipt != u.Receipt {
		t.Error("a second receipt was signed")
	}
	r, err := grant.OpenReceipt([]byte(u.Receipt), d.ask.ReceptionKey)
	if err != nil || r.State != grant.Used || r.Grant != grant.IDOf(a.note) || string(r.CID) != a.root {
		t.Errorf("receipt: %+v, %v", r, err)
	}
	out := filepath.Join(t.TempDir(), "clip")
	_, err = d.agency.export(t.Context(), Act{Note: b.act(grant.ActExport, "for the prosecutor"), Out: "clip"})
	wants(t, err, "absolute path")
	wants(t, b.exported(filepath.Join(out, "no", "folder")), "no such file")
	if k := b.kept(); k.Used || k.Exported {
		t.Errorf("nothing was written, and on record is %+v", k)
	}
	ok(t, b.exported(out))
	d.skip(31 * 24 * time.Hour)
	ok(t, d.agency.expire())
	d.restart()
	for row, want := range map[*answer]string{a: "open", b: "open", idle: "deleted"} {
		if got := row.state(); got != want {
			t.Errorf("after a month it is %s, want %s", got, want)
		}
	}
	if k := b.kept(); !k.Used || !k.Exported {
		t.Errorf("exported, and on record is %+v", k)
	}
	_, err = d.agency.use(t.Context(), Act{Note: idle.act(grant.ActUse, "too late")})
	wants(t, err, "it is deleted")
}

// What a crash leaves of a clip that was being written to another disk is removed by the next start that finds the disk, and nothing else is.
func TestNothingIsLeftOfAnExportThatWasCutShort(t *testing.T) {
	d := newDesk(t)
	stick := filepath.Join(t.TempDir(), "stick")
	ok(t, os.Mkdir(stick, 0o700))
	files := func() (all []string) {
		for _, dir := range []string{stick, filepath.Join(d.dir, "vault", "exporting")} {
			in, err := os.ReadDir(dir)
			ok(t, err)
			for _, e := range in {
				all = append(all, filepath.Join(dir, e.Name()))
			}
		}
		return all
	}
	left := map[string][]byte{}
	broken := errors.New("the power fails")
	_, err := d.agency.vault.writeAs(filepath.Join(stick, "clip"), func(f *os.File) error {
		_, err := f.WriteString("what the camera saw")
		ok(t, err)
		for _, name := range files() {
			left[name], err = os.ReadFile(name)
			ok(t, err)
		}
		return broken
	})
	if !errors.Is(err, broken) || len(left) != 2 || len(files()) != 0 {
		t.Fatalf("%v; %d files meanwhile, then %v", err, len(left), files())
	}
	mine := filepath.Join(stick, ".porchlight-mine")
	left[mine], left[filepath.Join(d.dir, "vault", "exporting", "other")] = []byte("mine"), []byte(mine)
	for name, text := range left {
		ok(t, os.WriteFile(name, text, 0o600))
	}
	ok(t, os.Rename(stick, stick+" elsewhere"))
	d.restart()
	ok(t, os.Rename(stick+" elsewhere", stick))
	if n := len(files()); n != 4 {
		t.Errorf("without the disk %d files are left", n)
	}
	d.restart()
	if all := files(); len(all) != 2 || all[0] != mine {
		t.Errorf("left are %v", all)
	}
}

func get(t *testing.T, url, span string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	ok(t, err)
	if span != "" {
		req.Header.Set("Range", span)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	ok(t, err)
	if res.StatusCode < 300 && res.Header.Get("Cache-Control") != "no-store" {
		t.Error("a browser may keep the clip")
	}
	return res.StatusCode, b
}

// A view is there for as long as it is looked at, on this machine, and leaves nothing.
func TestAView(t *testing.T) {
	d := newDesk(t)
	a := d.opened(nil)
	v, err := d.agency.view(t.Context(), Act{Note: a.act(grant.ActView, "is it the car?")})
	ok(t, err)
	if acts, steps := a.onRecord("release viewed"); acts != 1 || steps != 1 || a.kept().Used {
		t.Errorf("%d acts and %d steps are on record; used %v", acts, steps, a.kept().Used)
	}
	code, b := get(t, v.URL, "")
	if code != 200 || int64(len(b)) != v.Clip.Bytes || len(bytes.Trim(b, "\x00")) > 0 {
		t.Errorf("%d, %d bytes", code, len(b))
	}
	if code, b = get(t, v.URL, "bytes=0-0"); code != 206 || len(b) != 1 {
		t.Errorf("a part: %d, %d bytes", code, len(b))
	}
	if code, _ = get(t, v.URL+"x", ""); code != 404 {
		t.Errorf("another path: %d", code)
	}
	if left, _ := filepath.Glob(filepath.Join(d.dir, "keys", ".view*")); len(left) > 0 {
		t.Errorf("the clip has a name: %v", left)
	}
	ctx, end := context.WithCancel(t.Context())
	held := make(chan error)
	go func() {
		_, err := d.agency.hold(ctx, Hold{v.ID})
		held <- err
	}()
	end()
	ok(t, <-held)
	if code, _ = get(t, v.URL, ""); code != 0 {
		t.Errorf("after its end: %d", code)
	}
	_, err = d.agency.hold(t.Context(), Hold{v.ID})
	wants(t, err, "no such view")
	// It ends with its deadline, also where the clock was set forward.
	v, err = d.agency.view(t.Context(), Act{Note: a.act(grant.ActView, "and again")})
	ok(t, err)
	d.now = d.now.AddDate(0, 0, 31)
	if code, _ = get(t, v.URL, ""); code != 404 {
		t.Errorf("past its deadline: %d", code)
	}
	_, err = d.agency.hold(t.Context(), Hold{v.ID})
	wants(t, err, "past its deadline")
	_, err = d.agency.view(t.Context(), Act{Note: a.act(grant.ActView, "too late")})
	wants(t, err, "past its deadline")
	ok(t, os.WriteFile(filepath.Join(d.dir, "keys", ".view.tmp-0"), b, 0o600))
	d.restart()
	if left, _ := filepath.Glob(filepath.Join(d.dir, "keys", ".view*")); len(left) > 0 {
		t.Errorf("what a crash left is there: %v", left)
	}
}

// One promise does not hide behind another: a release comes once under one commitment.
func TestTwoGrantsShareNoCommitment(t *testing.T) {
	d := newDesk(t)
	a := d.opened(nil)
	b := d.answer(1, func(g *grant.Grant) { g.Releases = a.grant.Releases })
	_, _, err := b.receiver().Grant(t.Context(), b.from, b.note)
	wants(t, err, "the same commitment secret")
	_, _, err = a.receiver().Grant(t.Context(), a.from, a.note)
	ok(t, err)
}
