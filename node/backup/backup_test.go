package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/home"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put1(t testing.TB, dir, name, text string) {
	t.Helper()
	to := filepath.Join(dir, filepath.FromSlash(name))
	ok(t, os.MkdirAll(filepath.Dir(to), 0o700))
	ok(t, os.WriteFile(to, []byte(text), 0o600))
}

// aHome is a home's folder with something of everything in it.
func aHome(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home [1]")
	ok(t, node.Create(dir, node.Home))
	for name, text := range map[string]string{
		"keys/author.key": "author", "charter/000001.note": "one", "dockets/ab/entries": strings.Repeat("e", maxKept+1), "dockets/ab/checkpoint": "c",
		"inbox/r1.json":        `{"request":"r1","held":true,"state":"declined","cameras":[]}`,
		"answers/a1/grant.key": "g", "answers/a1/0.manifest": "m", "answers/a1/secrets.json": "{}",
		"cameras.json": "[]", "peers.json": "[]", "vault/messages": "m",
		// What may be in no backup.
		"answers/a1/0.sealed": "SEALED", "answers/a1/0.key": "RELEASE-KEY", "answers/a1/0.clip": "CLIP", "keys/release/g-r.key": "RELEASE-KEY", "keys/release/id": "PAIR", "vault/id": "PAIR",
		"vault/g/r.sealed": "SEALED", "vault/g/r.part": "SEALED", "vault/g/r.nodes": "SEALED", "index.sqlite": "INDEX", "lock": "1", "keys/.peer.key.tmp-0": "half",
	} {
		put1(t, dir, name, text)
	}
	for id, state := range map[string]string{"a1": "waiting", "a2": "sending", "a3": "preparing", "a4": "delivered", "a5": "withdrawn"} {
		ok(t, os.MkdirAll(filepath.Join(dir, "answers", id), 0o700))
		ok(t, node.WriteJSON(durable.Disk{}, filepath.Join(dir, "answers", id, "answer.json"), &home.Answer{ID: id, State: state, Releases: []home.Release{{Key: state == "sending"}}}))
	}
	log, err := node.OpenCustody(durable.Disk{}, filepath.Join(dir, "ledger"), time.Now)
	ok(t, err)
	ok(t, log.Note("owner", "approved", "r1", ""))
	ok(t, log.Close())
	return dir
}

func key(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	ok(t, err)
	return id
}

func wants(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want one with %q", err, text)
	}
}

func TestThereAndBack(t *testing.T) {
	dir, id := aHome(t), key(t)
	out := filepath.Join(t.TempDir(), "home.age")
	made := time.Date(2026, 11, 23, 12, 0, 0, 5, time.UTC)
	m, err := Save(dir, out, false, made, id.Recipient())
	ok(t, err)
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v, %v", info.Mode(), err)
	}
	if _, err := Save(dir, out, false, made, id.Recipient()); err == nil {
		t.Error("an old backup is overwritten unasked")
	}
	_, err = Save(dir, out, true, made, id.Recipient())
	ok(t, err)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, f := range m.Files {
		for _, secret := range []string{".sealed", ".clip", ".part", ".nodes", "keys/release", "a1/0.key", "vault/id", "sqlite", "lock", "tmp"} {
			if strings.Contains(f.Name, secret) {
				t.Errorf("the backup holds %s", f.Name)
			}
		}
	}
	to := filepath.Join(t.TempDir(), "new")
	r, err := Restore(out, to, Options{}, id)
	ok(t, err)
	slices.Sort(r.Stopped)
	if !slices.Equal(r.Stopped, []string{"a1", "a2", "a3"}) {
		t.Errorf("stopped: %v", r.Stopped)
	}
	for _, f := range m.Files {
		was, err := os.ReadFile(filepath.Join(dir, f.Name))
		ok(t, err)
		is, err := os.ReadFile(filepath.Join(to, f.Name))
		ok(t, err)
		changed := strings.HasSuffix(f.Name, "answer.json") || f.Name == "inbox/r1.json" || f.Name == "ledger"
		if !changed && !bytes.Equal(was, is) || f.Name == "ledger" && !bytes.HasPrefix(is, was) {
			t.Errorf("%s came back as another", f.Name)
		}
	}
	for id, want := range map[string]string{"a1": "stopped", "a2": "stopped", "a3": "stopped", "a4": "delivered", "a5": "withdrawn"} {
		var a home.Answer
		ok(t, node.ReadJSON(filepath.Join(to, "answers", id, "answer.json"), &a))
		if a.State != want || want == "stopped" && !strings.Contains(a.Problem, "restored from the backup of 2026-11-23T12:00:00Z") {
			t.Errorf("answer %s is %s: %s", id, a.State, a.Problem)
		}
		if id == "a2" && !strings.Contains(a.Problem, "1 of 1 releases had left") {
			t.Errorf("answer a2: %s", a.Problem)
		}
	}
	var item home.Item
	ok(t, node.ReadJSON(filepath.Join(to, "inbox", "r1.json"), &item))
	if item.State != "declined" || item.Held {
		t.Errorf("the inbox has %+v", item)
	}
	if last, err := node.VerifyCustody(filepath.Join(to, "ledger")); err != nil || last.Step != "restored" || last.Seq != 2 {
		t.Errorf("the ledger ends with %+v, %v", last, err)
	}
	if _, err := os.Stat(filepath.Join(to, node.BackupManifest)); err == nil {
		t.Error("the manifest lies in the node's folder")
	}
	_, err = Restore(out, to, Options{}, id)
	wants(t, err, "already holds a node (home)")
}

// What `age` and `tar` see is what this program wrote, and what they unpack is no node.
func TestOrdinaryTools(t *testing.T) {
	if _, err := exec.LookPath("age"); err != nil {
		t.Skip("age is not installed")
	}
	dir, id := aHome(t), key(t)
	work := t.TempDir()
	_, err := Save(dir, filepath.Join(work, "b.age"), false, time.Now(), id.Recipient())
	ok(t, err)
	put1(t, work, "key.txt", id.String()+"\n")
	got, err := exec.Command("sh", "-c", "mkdir '"+work+"/by-hand' && age -d -i '"+work+"/key.txt' '"+work+"/b.age' | tar xv -C '"+work+"/by-hand'").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(got), node.BackupManifest+"\n") {
		t.Fatalf("%v: %s", err, got)
	}
	_, err = node.OpenState(filepath.Join(work, "by-hand"))
	wants(t, err, "unpacked by hand")
}

func TestWhatDoesNotOpen(t *testing.T) {
	dir, id := aHome(t), key(t)
	work := t.TempDir()
	out := filepath.Join(work, "b.age")
	_, err := Save(dir, out, false, time.Now(), id.Recipient())
	ok(t, err)
	phrase, err := age.NewScryptRecipient("five words drawn at random")
	ok(t, err)
	phrase.SetWorkFactor(10)
	byPhrase := filepath.Join(work, "p.age")
	_, err = Save(dir, byPhrase, false, time.Now(), phrase)
	ok(t, err)
	right, err := age.NewScryptIdentity("five words drawn at random")
	ok(t, err)
	wrong, err := age.NewScryptIdentity("five words")
	ok(t, err)
	to := filepath.Join(work, "sub", "new")
	ok(t, os.MkdirAll(filepath.Dir(to), 0o700))
	nothing := func(err error, text string) {
		t.Helper()
		wants(t, err, text)
		if left, _ := os.ReadDir(filepath.Dir(to)); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
	}
	restore := func(file string, who age.Identity) error {
		_, err := Restore(file, to, Options{}, who)
		return err
	}
	nothing(restore(byPhrase, wrong), "the passphrase is wrong")
	nothing(restore(byPhrase, id), "sealed with a passphrase")
	nothing(restore(out, right), "sealed to an age key")
	nothing(restore(out, key(t)), "another age key")
	nothing(restore(filepath.Join(dir, "role"), id), "is no backup")
	nothing(restore(filepath.Join(dir, "none"), id), "no such file")
	whole, err := os.ReadFile(out)
	ok(t, err)
	bad := filepath.Join(work, "bad.age")
	for _, n := range []int{0, 20, 150, 200, 300, 70_000, len(whole) - 1} {
		ok(t, os.WriteFile(bad, whole[:n], 0o600))
		nothing(restore(bad, id), "bad.age")
	}
	for _, at := range []int{0, 60, 190, 250, 70_000, len(whole) - 1} {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1
		ok(t, os.WriteFile(bad, flipped, 0o600))
		nothing(restore(bad, id), "bad.age")
		if err := restore(bad, id); node.HintOf(err) == "" && !strings.Contains(err.Error(), "another age key") {
			t.Errorf("flipped at %d: no way out: %v", at, err)
		}
	}
	ok(t, os.WriteFile(bad, append(bytes.Clone(whole), 'x'), 0o600))
	nothing(restore(bad, id), "damaged")
	ok(t, os.MkdirAll(filepath.Join(work, "full", "x"), 0o700))
	_, err = Restore(out, filepath.Join(work, "full"), Options{}, id)
	wants(t, err, "is not empty")
	// A restore that was interrupted leaves a folder that is no node and in nobody's way.
	put1(t, work, "sub/.new.restoring/keys/peer.key", "half")
	ok(t, restore(byPhrase, right))
	if _, err := node.OpenState(to); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	// A folder that is there and empty will do.
	ok(t, os.Mkdir(filepath.Join(work, "empty"), 0o700))
	_, err = Restore(out, filepath.Join(work, "empty"), Options{}, id)
	ok(t, err)
}

// archive makes what a hostile maker of backups would: a manifest and entries that need not agree.
func archive(t testing.TB, m any, entries ...any) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	text, err := consent.EncodeStrict(m)
	if s, is := m.(string); is {
		text, err = []byte(s), nil
	}
	ok(t, err)
	ok(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: node.BackupManifest, Size: int64(len(text)), Mode: 0o600}))
	_, err = w.Write(text)
	ok(t, err)
	for i := 0; i < len(entries); i += 2 {
		h, text := entries[i].(tar.Header), entries[i+1].(string)
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		h.Size = int64(len(text))
		ok(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, text)
		ok(t, err)
	}
	ok(t, w.Close())
	return buf.Bytes()
}

func file(name, text string) File {
	sum := sha256.Sum256([]byte(text))
	return File{Name: name, Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:])}
}

func manifest(files ...File) Manifest {
	return Manifest{Format: Format, Role: node.Home, Peer: "12D3", Made: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Files: files}
}

func TestHostileArchives(t *testing.T) {
	k, r := file("keys/peer.key", "k"), file("role", "home\n")
	kh, rh := tar.Header{Name: "keys/peer.key"}, tar.Header{Name: "role"}
	named := func(name string) []byte {
		return archive(t, manifest(file(name, "x"), k, r), tar.Header{Name: name}, "x", kh, "k", rh, "home\n")
	}
	huge, future, wide := r, manifest(k, r), manifest(k, r)
	huge.Size, future.Format, wide.Role = maxBytes+1, 2, "king"
	good := archive(t, manifest(k, r), kh, "k", rh, "home\n")
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"empty":               {nil, "not a backup"},
		"no archive":          {[]byte(strings.Repeat("x", 4096)), "not a backup"},
		"another archive":     {archive(t, "x")[512:], "not a backup"},
		"no JSON":             {archive(t, "{"), "manifest"},
		"from the future":     {archive(t, future, kh, "k", rh, "home\n"), "format 2"},
		"unknown member":      {archive(t, `{"format":1,"extra":1}`), "manifest"},
		"unknown role":        {archive(t, wide, kh, "k", rh, "home\n"), "role"},
		"up":                  {named("../role"), "belongs in no backup"},
		"up inside":           {named("answers/../answer.json"), "belongs in no backup"},
		"absolute":            {named("/etc/passwd"), "belongs in no backup"},
		"backslash":           {named(`inbox\..\..\x.json`), "belongs in no backup"},
		"socket":              {named("control.sock"), "belongs in no backup"},
		"release key":         {named("keys/release/g-r.key"), "belongs in no backup"},
		"own mark":            {named("dockets/ab/restored"), "belongs in no backup"},
		"sealed":              {named("vault/g/r.sealed"), "belongs in no backup"},
		"twice":               {archive(t, manifest(k, k, r), kh, "k", kh, "k", rh, "home\n"), "two files"},
		"too large":           {archive(t, manifest(k, huge), kh, "k", rh, "home\n"), "bytes"},
		"too large together":  {archive(t, manifest(File{"ledger", maxBytes, k.SHA256, nil}, k, r)), "more than"},
		"negative":            {archive(t, manifest(k, File{"role", -1, k.SHA256, nil})), "-1 bytes"},
		"no hash":             {archive(t, manifest(k, File{"role", 5, "xy", nil}), kh, "k", rh, "home\n"), "SHA-256"},
		"no key":              {archive(t, manifest(r), rh, "home\n"), "no file keys/peer.key"},
		"no role":             {archive(t, manifest(k), kh, "k"), "no file role"},
		"missing entry":       {archive(t, manifest(k, r), kh, "k"), "ends before role"},
		"other order":         {archive(t, manifest(k, r), rh, "home\n", kh, "k"), "where keys/peer.key is due"},
		"unnamed entry":       {archive(t, manifest(k, r), kh, "k", rh, "home\n", tar.Header{Name: "ledger"}, "x"), "does not name"},
		"other content":       {archive(t, manifest(k, r), kh, "K", rh, "home\n"), "has the SHA-256"},
		"shorter":             {archive(t, manifest(k, r), kh, "k", rh, "home"), "the manifest says 5"},
		"symbolic link":       {archive(t, manifest(k, r), tar.Header{Name: "keys/peer.key", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, "", rh, "home\n"), "type '2'"},
		"hard link":           {archive(t, manifest(k, r), tar.Header{Name: "keys/peer.key", Typeflag: tar.TypeLink, Linkname: "role"}, "", rh, "home\n"), "type '1'"},
		"folder":              {archive(t, manifest(k, r), tar.Header{Name: "keys/peer.key", Typeflag: tar.TypeDir}, "", rh, "home\n"), "type '5'"},
		"cut":                 {good[:len(good)-1024-512-5], "unexpected EOF"},
		"something behind it": {append(bytes.Clone(good), make([]byte, 2<<20)...), "something follows"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(c.archive), discard)
			wants(t, err, c.want)
		})
	}
	if _, err := Read(bytes.NewReader(good), discard); err != nil {
		t.Error(err)
	}
}

func discard(_ File, content io.Reader) error {
	_, err := io.Copy(io.Discard, content)
	return err
}

// A backup whose files are another node's than its manifest says is not restored.
func TestManifestOfAnother(t *testing.T) {
	seed := strings.Repeat("00", 32) + "\n"
	k, r, id := file("keys/peer.key", seed), file("role", "home\n"), key(t)
	work := t.TempDir()
	for _, m := range []Manifest{manifest(k, r), {Format: Format, Role: node.Steward, Peer: must(peerID([]byte(seed))), Made: time.Now().UTC().Truncate(time.Second), Files: []File{k, r}}} {
		f, err := os.Create(filepath.Join(work, "b.age"))
		ok(t, err)
		w, err := age.Encrypt(f, id.Recipient())
		ok(t, err)
		_, err = w.Write(archive(t, m, tar.Header{Name: k.Name}, seed, tar.Header{Name: r.Name}, "home\n"))
		ok(t, errors.Join(err, w.Close(), f.Close()))
		_, err = Restore(f.Name(), filepath.Join(work, "new"), Options{}, id)
		wants(t, err, "the manifest is of another node")
	}
	if left, _ := os.ReadDir(work); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A folder that cannot be read is said, since a backup without it would look whole.
func TestUnreadableFolder(t *testing.T) {
	dir := aHome(t)
	ok(t, os.RemoveAll(filepath.Join(dir, "inbox")))
	put1(t, dir, "inbox", "a file")
	_, err := Save(dir, filepath.Join(t.TempDir(), "b.age"), false, time.Now(), key(t).Recipient())
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a backup without the inbox: %v", err)
	}
}

// A log that grows while it is copied is copied as it was; one that is replaced is not mixed.
func TestLogsThatChange(t *testing.T) {
	dir := aHome(t)
	m, err := collect(dir, time.Now())
	ok(t, err)
	entries := filepath.Join(dir, "dockets", "ab", "entries")
	log, err := os.OpenFile(entries, os.O_APPEND|os.O_WRONLY, 0)
	ok(t, err)
	_, err = log.WriteString("more")
	ok(t, errors.Join(err, log.Close()))
	var buf bytes.Buffer
	ok(t, m.write(dir, &buf))
	_, err = Read(&buf, discard)
	ok(t, err)
	for _, text := range []string{strings.Repeat("f", maxKept+1), "short"} {
		ok(t, os.WriteFile(entries, []byte(text), 0o600))
		wants(t, m.write(dir, io.Discard), "changed while it was read")
	}
}

// What follows the seal may be anything that a hostile maker of backups likes.
func FuzzRead(f *testing.F) {
	k, r := file("keys/peer.key", "k"), file("role", "home\n")
	f.Add(archive(f, manifest(k, r), tar.Header{Name: "keys/peer.key"}, "k", tar.Header{Name: "role"}, "home\n"))
	f.Add(archive(f, manifest(k, r), tar.Header{Name: "keys/peer.key", Typeflag: tar.TypeSymlink, Linkname: "x"}, "", tar.Header{Name: "role"}, "home\n"))
	f.Add(archive(f, `{"format":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := map[string]string{}
		m, err := Read(bytes.NewReader(b), func(f File, content io.Reader) error {
			if !belongs(f.Name) || !filepath.IsLocal(f.Name) || strings.HasPrefix(f.Name, "keys/release") {
				t.Errorf("a file %q", f.Name)
			}
			text, err := io.ReadAll(content)
			got[f.Name] = string(text)
			return err
		})
		if err != nil {
			return
		}
		if len(got) != len(m.Files) || m.Format != Format || got["role"] == "" && m.Bytes() > 0 && !slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == "role" }) {
			t.Errorf("taken in: %+v", m)
		}
		for _, f := range m.Files {
			if file(f.Name, got[f.Name]).SHA256 != f.SHA256 {
				t.Errorf("%s has other content than its hash", f.Name)
			}
		}
	})
}

// Whatever goes wrong with the disk, and wherever the process ends: there is a whole node or none, and
// where there is none, restoring once more makes it.
func TestAllOrNothing(t *testing.T) {
	dir, id := aHome(t), key(t)
	for _, name := range []string{"dockets/ab/entries", "answers/a2/answer.json", "answers/a3/answer.json", "answers/a4/answer.json", "answers/a5/answer.json"} {
		ok(t, os.Remove(filepath.Join(dir, filepath.FromSlash(name)))) // the table is long enough
	}
	folder := t.TempDir()
	_, err := Save(dir, filepath.Join(folder, "b.age"), false, time.Now(), id.Recipient())
	ok(t, err)
	tried := durabletest.Table(t, folder, 7, func(t *testing.T, r *durabletest.Run) {
		if r.Row != nil && r.Row.End > durabletest.Killed {
			return // the model of the disk does not follow what is in a renamed folder
		}
		file, to := filepath.Join(r.Dir, "b.age"), filepath.Join(r.Dir, "new")
		restore := func() error {
			_, err := Restore(file, to, Options{Disk: r.Disk.Disk()}, id)
			return err
		}
		r.Begin()
		err := restore()
		r.Done(err)
		if _, none := os.Stat(to); none != nil {
			if err == nil {
				t.Fatal("it says that it restored the node")
			}
			ok(t, restore())
		}
		s, err := node.OpenState(to)
		ok(t, err)
		ok(t, s.Close())
		var a home.Answer
		ok(t, node.ReadJSON(filepath.Join(to, "answers", "a1", "answer.json"), &a))
		if a.State != "stopped" {
			t.Errorf("the answer is %s", a.State)
		}
		if last, err := node.VerifyCustody(filepath.Join(to, "ledger")); err != nil || last.Step != "restored" {
			t.Errorf("the ledger ends with %+v, %v", last, err)
		}
		for _, name := range []string{"keys/peer.key", "keys/author.key", "charter/000001.note", "inbox/r1.json", "cameras.json"} {
			if _, err := os.Stat(filepath.Join(to, filepath.FromSlash(name))); err != nil {
				t.Error(err)
			}
		}
	})
	t.Logf("%d rows", tried)
}

// A node makes what is named before the file that names it. Reading has to go the other way round, or
// a backup made between the two lacks what its files name.
func TestReadingOrder(t *testing.T) {
	for _, pair := range [][2]string{
		{"dockets/*/checkpoint", "dockets/*/entries"},     // signed over the entries that are there
		{"dockets/*/entries", "keys/reception/*.key"},     // a request names a key made before it
		{"dockets/*/entries", "charter/*.note"},           // a docket is begun when the charter admits its agency
		{"answers/*/answer.json", "answers/*/grant.note"}, // an answer waits once its grant is made
		{"answers/*/answer.json", "answers/*/*.manifest"}, // and its manifests
		{"answers/*/answer.json", "answers/*/*.receipt"},  // a key was given against a receipt
		{"answers/*/answer.json", "ledger"},               // and stands in the ledger by then
		{"answers/*/answer.json", "dockets/*/entries"},    // what is answered was asked
		{"vault/*/*.json", "vault/*/*.receipt"},           // sealed: the receipt was signed
		{"vault/*/*.json", "vault/*/*.manifest"},          // against a manifest
		{"vault/*/grant.note", "vault/*/acceptance.note"}, // a grant counts once it was accepted
		{"vault/*/grant.note", "custody"},                 // which the log says first
		{"keys/*.key", "role"}, {"config.toml", "role"},   // a folder with a role is whole
		{"answers/*/answer.json", "answers/*/answer.json.old"}, // put aside, it is under one of both names
	} {
		if i, j := slices.Index(contents(), pair[0]), slices.Index(contents(), pair[1]); i < 0 || j < 0 || i > j {
			t.Errorf("%s (place %d) is to be read before %s (place %d)", pair[0], i, pair[1], j)
		}
	}
}

// A large agency's records: 400 releases of which all papers are signed, and a docket of 10 MB.
func BenchmarkSaveAndRestore(b *testing.B) {
	dir, id := filepath.Join(b.TempDir(), "police"), key(b)
	ok(b, node.Create(dir, node.Steward))
	for i := range 400 {
		at := fmt.Sprintf("vault/g%04d/", i)
		for _, name := range []string{"grant.note", "acceptance.note", "r.json", "r.manifest", "r.receipt"} {
			put1(b, dir, at+name, strings.Repeat("x", 1500))
		}
	}
	put1(b, dir, "dockets/ab/entries", strings.Repeat("e", 10<<20))
	work := b.TempDir()
	b.Run("save", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := Save(dir, filepath.Join(work, "b.age"), true, time.Now(), id.Recipient())
			ok(b, err)
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := Restore(filepath.Join(work, "b.age"), filepath.Join(work, "new"), Options{}, id)
			ok(b, err)
			ok(b, os.RemoveAll(filepath.Join(work, "new")))
		}
	})
}
