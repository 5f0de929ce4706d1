package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
)

// clip is a plain file of n bytes that compresses to nothing and repeats nowhere nearby.
func clip(n int64) io.Reader { return &words{left: n} }

func seal(t testing.TB, n int64) (sealed []byte, key ReleaseKey, sums Sums) {
	t.Helper()
	var out bytes.Buffer
	key, sums, err := Seal(t.Context(), &out, clip(n))
	if err != nil {
		t.Fatalf("seal %d bytes: %v", n, err)
	}
	return out.Bytes(), key, sums
}

// sealedSize is what the package comment says of the length.
func sealedSize(plain int64) int64 {
	return headerSize + nonceSize + plain + max(1, (plain+sealChunk-1)/sealChunk)*tagSize
}

func TestSealedClipOpensWithItsKeyAlone(t *testing.T) {
	for _, n := range []int64{0, 1, 65535, 65536, 65537, 131072, 1 << 20, 3<<20 + 7} {
		sealed, key, sums := seal(t, n)
		plain, _ := io.ReadAll(clip(n))
		if got := int64(len(sealed)); got != sealedSize(n) || got != sums.SealedBytes {
			t.Errorf("%d bytes sealed to %d, the format says %d, Sums %d", n, got, sealedSize(n), sums.SealedBytes)
		}
		if sums.PlainBytes != n || sums.PlainSHA256 != hexSum(plain) || sums.SealedSHA256 != hexSum(sealed) {
			t.Errorf("%d bytes: sums are wrong: %+v", n, sums)
		}
		var out bytes.Buffer
		if err := Open(t.Context(), &out, bytes.NewReader(sealed), key); err != nil {
			t.Fatalf("open %d bytes: %v", n, err)
		}
		if !bytes.Equal(out.Bytes(), plain) {
			t.Errorf("%d bytes came back changed", n)
		}
		_, other, _ := seal(t, 1)
		if err := Open(t.Context(), io.Discard, bytes.NewReader(sealed), other); !errors.Is(err, ErrKey) {
			t.Errorf("another release's key: %v", err)
		}
		if err := CheckKey(bytes.NewReader(sealed), other); !errors.Is(err, ErrKey) {
			t.Errorf("another release's key against the header: %v", err)
		}
		if err := CheckKey(bytes.NewReader(sealed), key); err != nil {
			t.Errorf("its own key against the header: %v", err)
		}
	}
}

func TestPromiseSealedEachReleaseHasItsOwnKey(t *testing.T) {
	first, k1, _ := seal(t, 100)
	second, k2, _ := seal(t, 100)
	if k1 == k2 || bytes.Equal(first, second) {
		t.Error("two seals of one clip share a key or bytes")
	}
}

// Whatever is cut off, added or flipped, Open fails, and what it wrote before that is a beginning of
// the clip.
func TestPromiseNothingIsLostDamagedReleaseIsNamed(t *testing.T) {
	const n = 2*sealChunk + 100
	sealed, key, _ := seal(t, n)
	plain, _ := io.ReadAll(clip(n))
	open := func(b []byte) ([]byte, error) {
		var out bytes.Buffer
		err := Open(t.Context(), &out, bytes.NewReader(b), key)
		if !bytes.HasPrefix(plain, out.Bytes()) {
			t.Error("bytes that are not the clip's were written")
		}
		return out.Bytes(), err
	}
	head := int64(headerSize + nonceSize)
	for _, cut := range []int64{0, 1, 21, 22, 60, headerSize - 1, headerSize, head - 1, head, head + 1, head + tagSize,
		head + sealChunk + tagSize, head + 2*(sealChunk+tagSize), int64(len(sealed)) - 1} {
		_, err := open(sealed[:cut])
		whole := errors.Is(err, ErrTruncated)
		// A cut inside a chunk leaves bytes that do not authenticate; that they were cut cannot be told.
		if !whole && !(cut > head && errors.Is(err, ErrDamaged)) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
	for at := int64(0); at < int64(len(sealed)); at += 37 {
		bad := bytes.Clone(sealed)
		bad[at] ^= 0x20
		if out, err := open(bad); err == nil {
			t.Errorf("a flipped bit at %d went unseen", at)
		} else if at >= headerSize && !errors.Is(err, ErrDamaged) {
			t.Errorf("a flipped bit at %d: %v", at, err)
		} else if len(out) == len(plain) {
			t.Errorf("a flipped bit at %d left a whole clip", at)
		}
	}
	if _, err := open(append(bytes.Clone(sealed), 'x')); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte after the end: %v", err)
	}
	full, fullKey, _ := seal(t, sealChunk)
	if err := Open(t.Context(), io.Discard, io.MultiReader(bytes.NewReader(full), strings.NewReader("x")), fullKey); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte after a full last chunk: %v", err)
	}
}

func TestOpenRefusesWhatIsNoRelease(t *testing.T) {
	sealed, key, _ := seal(t, 10)
	me, err := age.ParseX25519Identity(string(key))
	if err != nil {
		t.Fatal(err)
	}
	second, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var two bytes.Buffer
	w, err := age.Encrypt(&two, me.Recipient(), second.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "a clip two keys open")
	w.Close()
	for name, b := range map[string][]byte{
		"an MP4":         append([]byte("\x00\x00\x00\x20ftypisom"), make([]byte, 500)...),
		"zeros":          make([]byte, 4096),
		"two recipients": two.Bytes(),
		"ASCII armour":   []byte("-----BEGIN AGE ENCRYPTED FILE-----\n" + strings.Repeat("A", 300)),
		"a version line": []byte("age-encryption.org/v2\n" + strings.Repeat("A", 300)),
	} {
		var out bytes.Buffer
		if err := Open(t.Context(), &out, bytes.NewReader(b), key); !errors.Is(err, ErrNotRelease) || out.Len() != 0 {
			t.Errorf("%s: %v, %d bytes written", name, err, out.Len())
		}
	}
	for _, bad := range []ReleaseKey{"", "AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1QQQQ", ReleaseKey(strings.ToLower(string(key)) + "x"), "age1abc"} {
		err := Open(t.Context(), io.Discard, bytes.NewReader(sealed), bad)
		if !errors.Is(err, ErrKey) {
			t.Errorf("key of %d characters: %v", len(bad), err)
		}
		if bad != "" && strings.Contains(err.Error(), string(bad)) && len(bad) > 20 {
			t.Error("the error repeats the key")
		}
	}
}

func TestFailuresOfDisksAndPeopleAreToldApart(t *testing.T) {
	disk := errors.New("input/output error")
	// io.ErrUnexpectedEOF from a disk must not be taken for the file's end.
	for _, fault := range []error{disk, io.ErrUnexpectedEOF} {
		broken := func(n int64) io.Reader { return io.MultiReader(clip(n), iotest.ErrReader(fault)) }
		if _, _, err := Seal(t.Context(), io.Discard, broken(100)); !errors.Is(err, fault) {
			t.Errorf("seal: %v", err)
		}
		if _, err := BuildDAG(t.Context(), broken(ChunkSize+5), ChunkSize+5); !errors.Is(err, fault) {
			t.Errorf("build: %v", err)
		}
		if err := Verify(t.Context(), broken(ChunkSize+5), emptyRoot(t)); !errors.Is(err, fault) {
			t.Errorf("verify: %v", err)
		}
		sealed, key, _ := seal(t, 200_000)
		for _, at := range []int{0, 50, 170, 100_000, len(sealed)} {
			in := io.MultiReader(bytes.NewReader(sealed[:at]), iotest.ErrReader(fault))
			if err := Open(t.Context(), io.Discard, in, key); !errors.Is(err, fault) {
				t.Errorf("open, failing at %d: %v", at, err)
			}
		}
	}
	full := errors.New("no space left on device")
	if _, _, err := Seal(t.Context(), failingWriter{full}, clip(10)); !errors.Is(err, full) {
		t.Errorf("seal to a full disk: %v", err)
	}
	sealed, key, _ := seal(t, 10)
	if err := Open(t.Context(), failingWriter{full}, bytes.NewReader(sealed), key); !errors.Is(err, full) {
		t.Errorf("open to a full disk: %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Seal(stopped, io.Discard, clip(10)); !errors.Is(err, context.Canceled) {
		t.Errorf("seal, stopped: %v", err)
	}
	if err := Open(stopped, io.Discard, bytes.NewReader(sealed), key); !errors.Is(err, context.Canceled) {
		t.Errorf("open, stopped: %v", err)
	}
	if _, err := BuildDAG(stopped, clip(10), 10); !errors.Is(err, context.Canceled) {
		t.Errorf("build, stopped: %v", err)
	}
}

func TestKeysDoNotShowThemselves(t *testing.T) {
	_, key, _ := seal(t, 0)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("sealed", "key", key)
	shown := log.String() + fmt.Sprintf("%v %s %+v %#v %v", key, key, key, key, struct{ K ReleaseKey }{key})
	if strings.Contains(shown, "AGE-SECRET") {
		t.Errorf("the key shows: %s", shown)
	}
	stored, err := json.Marshal(key)
	if err != nil || !strings.Contains(string(stored), string(key)) {
		t.Errorf("JSON does not keep the key: %s %v", stored, err)
	}
}

func TestSealingAndOpeningHoldLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("seals 64 MiB")
	}
	peak := heapGrowth(func() {
		r, w := io.Pipe()
		keys := make(chan ReleaseKey, 1)
		go func() {
			key, _, err := Seal(t.Context(), w, clip(64<<20))
			w.CloseWithError(err)
			keys <- key
		}()
		io.Copy(io.Discard, onlyReader{r})
		<-keys
	})
	if peak > 16<<20 {
		t.Errorf("sealing 64 MiB allocated live heap of %d bytes", peak)
	}
}

// heapGrowth runs f and returns by how much the live heap had grown when it ended.
func heapGrowth(f func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// A court's expert has age and no Porchlight.
func TestOrdinaryAgeOpensARelease(t *testing.T) {
	program, err := exec.LookPath("age")
	if err != nil {
		t.Skip("needs the age program (Debian: apt-get install age)")
	}
	dir := t.TempDir()
	sealed, key, sums := seal(t, 300_000)
	for name, content := range map[string][]byte{"key.txt": []byte(string(key) + "\n"), "sealed.age": sealed} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), program, "--decrypt", "--identity",
		filepath.Join(dir, "key.txt"), filepath.Join(dir, "sealed.age")).Output()
	if err != nil {
		t.Fatalf("age: %v", err)
	}
	if hexSum(out) != sums.PlainSHA256 {
		t.Error("age opened it to other bytes")
	}
}

func TestMeasure(t *testing.T) {
	plain, _ := io.ReadAll(clip(1000))
	sum, n, err := Measure(t.Context(), clip(1000))
	if err != nil || n != 1000 || sum != hexSum(plain) {
		t.Errorf("%s %d %v", sum, n, err)
	}
	if _, _, err := Measure(t.Context(), iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a failing read: %v", err)
	}
}

// kept is a release of 1,000 bytes that was sealed once and committed with its key, which guards nothing
// else.
func kept(t testing.TB) (sealed []byte, key ReleaseKey) {
	t.Helper()
	sealed, err := os.ReadFile("testdata/kept.age")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/kept.key")
	if err != nil {
		t.Fatal(err)
	}
	return sealed, ReleaseKey(strings.TrimSpace(string(text)))
}

// What was sealed years ago has to open in court.
func TestAnOldReleaseStillOpens(t *testing.T) {
	sealed, key := kept(t)
	var out bytes.Buffer
	if err := Open(t.Context(), &out, bytes.NewReader(sealed), key); err != nil {
		t.Fatal(err)
	}
	if plain, _ := io.ReadAll(clip(1000)); !bytes.Equal(out.Bytes(), plain) {
		t.Error("it opens to other bytes")
	}
}

func FuzzOpen(f *testing.F) {
	sealed, key := kept(f)
	f.Add(sealed)
	f.Add(sealed[:200])
	f.Add([]byte("age-encryption.org/v1\n-> X25519 "))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		err := Open(t.Context(), &out, bytes.NewReader(b), key)
		if err == nil && !bytes.Equal(b, sealed) {
			t.Error("bytes that were never sealed opened")
		}
		if err != nil && out.Len() != 0 {
			t.Error("part of a one-chunk release came out")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	plain, _ := io.ReadAll(clip(16 << 20))
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Seal(b.Context(), io.Discard, bytes.NewReader(plain)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	sealed, key, _ := seal(b, 16<<20)
	b.SetBytes(16 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if err := Open(b.Context(), io.Discard, bytes.NewReader(sealed), key); err != nil {
			b.Fatal(err)
		}
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
