package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// machine is the operating system's file system.
var machine Disk

func TestWriteFileReplacesAllOrNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charter.note")
	for _, text := range []string{"first", "", "a longer second one"} {
		if err := WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	alone(t, path)
	if err := WriteFile(filepath.Join(path, "below"), nil, 0o600); err == nil {
		t.Error("wrote below a file")
	}
	if err := WriteFile(t.TempDir()+"/", nil, 0o600); err == nil {
		t.Error("wrote a file without a name")
	}
}

func alone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside %s: %v, %v", path, entries, err)
	}
}

func TestManyWritersOfOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := WriteFile(path, bytes.Repeat([]byte{byte('a' + i)}, 10_000), 0o600); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(path)
	if err != nil || len(got) != 10_000 || strings.Trim(string(got), string(got[:1])) != "" {
		t.Errorf("a mixture of %d bytes, %v", len(got), err)
	}
	alone(t, path)
}

func TestLeftoversOfACrashAreCleared(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".f.tmp-0", ".f.tmp-1", "f.tmp-0", ".f.tmp-x", ".f.tmp-", ".tmp-0"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal("a left-over file is in the way:", err)
	}
	if err := (Disk{}).RemoveTemporary(dir); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != ".f.tmp- .f.tmp-x .tmp-0 f f.tmp-0" {
		t.Errorf("left: %s", got)
	}
}

func TestFoldersAndRemoval(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(deep, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(deep, "f")
	if err := WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(filepath.Join(file, "d"), 0o755); err == nil {
		t.Error("made a folder below a file")
	}
	if err := MkdirAll(file, 0o755); err == nil {
		t.Error("a file passed for a folder")
	}
	if err := machine.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := machine.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestRecordsSurviveATornAppend(t *testing.T) {
	var whole []byte
	for _, r := range []string{"one", "", "three"} {
		whole = AppendRecord(whole, []byte(r))
	}
	last := AppendRecord(nil, bytes.Repeat([]byte("four"), 50))
	for cut := range last {
		for fill, rest := range map[string][]byte{"short": nil, "zeros": make([]byte, len(last)-cut), "old bytes": bytes.Repeat([]byte{0x5a}, len(last)-cut)} {
			path := filepath.Join(t.TempDir(), "log")
			torn := append(append(bytes.Clone(whole), last[:cut]...), rest...)
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			got, records := read(t, path)
			if got != "one||three|" || records.Count != 3 || records.Size != int64(len(whole)) {
				t.Fatalf("cut at %d, %s: %q %+v", cut, fill, got, records)
			}
			if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, whole) {
				t.Fatalf("cut at %d, %s: the file holds %q, %v", cut, fill, left, err)
			}
			log, err := machine.OpenAppend(path, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(log.Append(AppendRecord(nil, []byte("again"))), log.Close()); err != nil {
				t.Fatal(err)
			}
			if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, AppendRecord(bytes.Clone(whole), []byte("again"))) {
				t.Fatalf("cut at %d, %s, then appended: the file holds %q, %v", cut, fill, left, err)
			}
			if testing.Short() {
				return
			}
		}
	}
}

func read(t *testing.T, path string) (string, Records) {
	t.Helper()
	var got strings.Builder
	records, err := machine.ReadRecords(path, func(r []byte) error {
		got.Write(r)
		got.WriteByte('|')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got.String(), records
}

func TestAFlippedBitIsNamedAndNothingIsCut(t *testing.T) {
	var whole []byte
	for _, r := range []string{"one", "two", "three"} {
		whole = AppendRecord(whole, []byte(r))
	}
	lastAt := len(whole) - len(AppendRecord(nil, []byte("three")))
	for bit := range lastAt * 8 {
		path := filepath.Join(t.TempDir(), "log")
		flipped := bytes.Clone(whole)
		flipped[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := machine.ReadRecords(path, func([]byte) error { return nil })
		var damage *DamagedError
		if !errors.As(err, &damage) || damage.Offset > int64(bit/8) {
			t.Fatalf("bit %d: %v", bit, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, flipped) {
			t.Fatalf("bit %d: the file was changed", bit)
		}
	}
}

func TestReadingStopsWhenAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if records, err := machine.ReadRecords(path, nil); err != nil || records.Count != 0 {
		t.Errorf("no log: %+v %v", records, err)
	}
	if err := os.WriteFile(path, AppendRecord(AppendRecord(nil, []byte("a")), []byte("b")), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	if records, err := machine.ReadRecords(path, func([]byte) error { return stop }); err != stop || records.Count != 0 {
		t.Errorf("%+v %v", records, err)
	}
}

func TestAppendAfterClose(t *testing.T) {
	log, err := machine.OpenAppend(filepath.Join(t.TempDir(), "log"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(log.Append([]byte("abc")), log.Close()); err != nil {
		t.Fatal(err)
	}
	if err := log.Append([]byte("d")); !errors.Is(err, fs.ErrClosed) || log.Size() != 3 {
		t.Errorf("%v, size %d", err, log.Size())
	}
}

// failing is a disk on which the named operation fails, before or after it took effect.
type failing struct {
	osFS
	op    *string
	after bool
}

var errDisk = errors.New("the disk is broken")

func (f failing) do(op string, work func() error) error {
	if *f.op != op {
		return work()
	}
	if f.after {
		_ = work()
	}
	return errDisk
}

func (f failing) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	file, err := f.osFS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return failingFile{file, f}, nil
}
func (f failing) Rename(from, to string) error {
	return f.do("rename", func() error { return f.osFS.Rename(from, to) })
}

type failingFile struct {
	File
	f failing
}

func (f failingFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.f.do("write", func() error { n, err = f.File.WriteAt(p[:len(p)/2], at); return err })
	if err == nil {
		n, err = f.File.WriteAt(p, at)
	}
	return n, err
}
func (f failingFile) Sync() error     { return f.f.do("sync", f.File.Sync) }
func (f failingFile) Datasync() error { return f.f.do("datasync", f.File.Datasync) }
func (f failingFile) Truncate(size int64) error {
	return f.f.do("truncate", func() error { return f.File.Truncate(size) })
}

func TestAFailedWriteLeavesOldOrNewContent(t *testing.T) {
	for _, op := range []string{"write", "sync", "rename"} {
		for _, after := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "f")
			if err := WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Disk{failing{op: &op, after: after}}.WriteFile(path, []byte("new content"), 0o600)
			if !errors.Is(err, errDisk) {
				t.Errorf("%s: error %v", op, err)
			}
			got, _ := os.ReadFile(path)
			if want := map[bool]string{false: "old", true: "new content"}[op == "rename" && after]; string(got) != want {
				t.Errorf("%s, took effect %v: %q", op, after, got)
			}
			alone(t, path)
		}
	}
}

func TestAFailedAppendIsTakenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	op := ""
	log, err := Disk{failing{op: &op, after: true}}.OpenAppend(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	one := AppendRecord(nil, []byte("one"))
	if err := log.Append(one); err != nil {
		t.Fatal(err)
	}
	op = "write"
	if err := log.Append(one); !errors.Is(err, errDisk) {
		t.Fatalf("full disk: %v", err)
	}
	if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, one) {
		t.Fatalf("the half that was written is still there: %q, %v", left, err)
	}
	op = ""
	if err := log.Append(one); err != nil {
		t.Fatalf("there is room again: %v", err)
	}
	op = "datasync"
	if err := log.Append(one); !errors.Is(err, errDisk) {
		t.Fatalf("unconfirmed: %v", err)
	}
	op = ""
	if err := log.Append(one); err != nil || log.Size() != 3*int64(len(one)) {
		t.Fatalf("the disk confirms again: %v, size %d", err, log.Size())
	}
	if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, bytes.Repeat(one, 3)) {
		t.Fatalf("the one that was not confirmed is still there: %q, %v", left, err)
	}
}

func TestLockBetweenProcesses(t *testing.T) {
	if path := os.Getenv("DURABLE_LOCK"); path != "" {
		var locked *LockedError
		if _, err := Lock(path); errors.As(err, &locked) && locked.PID != "" {
			os.Exit(7)
		}
		os.Exit(0)
	}
	path := filepath.Join(t.TempDir(), "lock")
	other := func() int {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLockBetweenProcesses$")
		cmd.Env = append(os.Environ(), "DURABLE_LOCK="+path)
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode()
	}
	held, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if code := other(); code != 7 {
		t.Errorf("another process was not refused: %d", code)
	}
	if _, err := Lock(path); err == nil || !strings.Contains(err.Error(), "stop it") {
		t.Errorf("a second lock in this process: %v", err)
	}
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	if code := other(); code != 0 {
		t.Errorf("another process was refused: %d", code)
	}
}

func FuzzReadRecords(f *testing.F) {
	f.Add(AppendRecord(AppendRecord(nil, []byte("a")), []byte("bc")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var again []byte
		records, err := machine.ReadRecords(path, func(r []byte) error { again = AppendRecord(again, r); return nil })
		if !bytes.HasPrefix(data, again) || records.Size != int64(len(again)) {
			t.Fatalf("read %x from %x: %+v", again, data, records)
		}
		after, _ := os.ReadFile(path)
		if err == nil && !bytes.Equal(after, again) || err != nil && !bytes.Equal(after, data) {
			t.Fatalf("left %x of %x, read %x: %v", after, data, again, err)
		}
	})
}
