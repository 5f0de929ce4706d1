//go:build linux || darwin

package clip

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/release"
)

// largeBytes is the environment variable with the size of the recording in TestALargeClipInBoundedMemory:
//
//	PORCHLIGHT_CLIP_BYTES=5368709120 go test -run LargeClip -v ./footage/clip
const largeBytes = "PORCHLIGHT_CLIP_BYTES"

// Frames of the large recordings: 3 Mbit/s at 20 frames a second, a keyframe every 2 seconds.
const (
	frameBytes = 18_750
	frameRate  = 20
	gopFrames  = 40
)

// TestALargeClipInBoundedMemory cuts, seals, addresses, verifies and opens nearly all of a recording of 1 GiB,
// or of what the environment says, progressive and in fragments. What it needs of memory follows from the frames, as
// the package comment says, and not from the bytes.
func TestALargeClipInBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes gigabytes")
	}
	if raceEnabled {
		t.Skip("takes minutes under the race detector")
	}
	size := int64(1 << 30)
	if s := os.Getenv(largeBytes); s != "" {
		var err error
		if size, err = strconv.ParseInt(s, 10, 64); err != nil || size < 1<<20 {
			t.Fatalf("%s=%q is no size in bytes", largeBytes, s)
		}
	}
	dir := t.TempDir()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	if free, need := int64(disk.Bavail)*int64(disk.Bsize), size+1<<30; free < need {
		t.Skipf("%s has %d bytes free, the release needs %d", dir, free, need)
	}
	seconds := size / frameBytes / frameRate
	for _, kind := range []string{"progressive", "fragmented"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "fragmented" && os.Getenv(largeBytes) == "" {
				size, seconds = 256<<20, 256<<20/frameBytes/frameRate
			}
			path := filepath.Join(dir, kind+".mp4")
			if kind == "progressive" {
				writeLarge(t, path, int(seconds))
			} else {
				writeLargeFragments(t, path, int(seconds))
			}
			defer os.Remove(path)
			peak := watchHeap()
			began := time.Now()
			releaseLarge(t, path, time.Duration(seconds)*time.Second)
			heap := peak()
			limit := uint64(24<<20) + uint64(seconds)*frameRate*160
			t.Logf("%d bytes, %v of footage: peak heap %.1f MiB of %.1f allowed, peak resident %s, %v", size, time.Duration(seconds)*time.Second,
				float64(heap)/(1<<20), float64(limit)/(1<<20), residentPeak(), time.Since(began).Round(100*time.Millisecond))
			if heap > limit {
				t.Errorf("the heap came to %d bytes, more than %d", heap, limit)
			}
		})
	}
}

// releaseLarge does what a home and a requester do with a clip, and looks whether it is the recording's.
func releaseLarge(t *testing.T, path string, length time.Duration) {
	ctx, dir := t.Context(), t.TempDir()
	create := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	plain, sealed := create("clip.mp4"), create("sealed")
	from, until := noon.Add(3*time.Second), noon.Add(length-time.Second)
	res, err := Cut(ctx, &thin{f: plain}, []Input{{Path: path, Start: noon}}, from, until, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := noon.Add(2 * time.Second); res.From != want || res.Until != until || res.LeadIn != time.Second || len(res.Gaps) != 0 {
		t.Fatalf("%+v, want it from %v to %v", res, want, until)
	}
	key, sums, err := release.Seal(ctx, sealed, io.NewSectionReader(plain, 0, 1<<62))
	if err != nil {
		t.Fatal(err)
	}
	plain.Close()
	if err := os.Remove(plain.Name()); err != nil {
		t.Fatal(err)
	}
	if sums.SealedBytes != 168+16+sums.PlainBytes+(sums.PlainBytes+65535)/65536*16 || sums.PlainBytes < int64(res.Frames)*frameBytes {
		t.Fatalf("%+v", sums)
	}
	all := io.NewSectionReader(sealed, 0, sums.SealedBytes)
	dag, err := release.BuildDAG(ctx, all, sums.SealedBytes)
	if err != nil {
		t.Fatal(err)
	}
	leaves := (sums.SealedBytes + release.ChunkSize - 1) / release.ChunkSize
	nodes := (leaves + release.MaxLinks - 1) / release.MaxLinks
	if nodes > 1 {
		nodes++
	}
	if dag.Blocks() != leaves+nodes || dag.Layout().Nodes() != int(nodes) {
		t.Fatalf("%d blocks, %d of them nodes, over %d leaves", dag.Blocks(), dag.Layout().Nodes(), leaves)
	}
	again, err := release.Load(dag.Marshal())
	if err != nil || again.Root != dag.Root {
		t.Fatalf("the nodes file gives %v, %v", again, err)
	}
	for _, i := range []int64{0, 1, 1 + release.MaxLinks, dag.Blocks() / 2, dag.Blocks() - 1} {
		if i >= dag.Blocks() {
			continue
		}
		if _, err := again.Block(i, sealed, nil); err != nil {
			t.Fatalf("block %d: %v", i, err)
		}
	}
	all.Seek(0, io.SeekStart)
	if err := release.Verify(ctx, all, dag.Root); err != nil {
		t.Fatal(err)
	}
	// At the requester.
	opened := create("opened.mp4")
	all.Seek(0, io.SeekStart)
	if err := release.Open(ctx, &thin{f: opened}, all, key); err != nil {
		t.Fatal(err)
	}
	m, err := Probe(opened, sums.PlainBytes)
	if err != nil || len(m.samples) != res.Frames || m.Truncated || m.Duration != until.Sub(noon)-2*time.Second {
		t.Fatalf("%+v, %v", m, err)
	}
	for i := 0; i < len(m.samples); i += gopFrames {
		var mark [8]byte
		if _, err := opened.ReadAt(mark[:], m.samples[i].off); err != nil || binary.BigEndian.Uint64(mark[:]) != uint64(i+gopFrames) || !m.samples[i].sync {
			t.Fatalf("frame %d at byte %d is marked %x, %v", i, m.samples[i].off, mark, err)
		}
	}
}

// thin writes a file and leaves out what is all zeros, so that the recording's empty pictures take no room and
// no time.
type thin struct {
	f   *os.File
	off int64
}

var zeros [256 << 10]byte

func (w *thin) Write(p []byte) (int, error) {
	w.off += int64(len(p))
	if len(p) <= len(zeros) && bytes.Equal(p, zeros[:len(p)]) {
		return len(p), w.f.Truncate(w.off)
	}
	return w.f.WriteAt(p, w.off-int64(len(p)))
}

// largeMovie is a movie of so many seconds with the parameter sets of a small one.
func largeMovie(t *testing.T, seconds int) *Movie {
	m, err := probe(read(t, "simple.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	frame := m.timescale / frameRate
	m.samples = make([]sample, seconds*frameRate)
	for i := range m.samples {
		m.samples[i] = sample{dts: int64(i) * int64(frame), size: frameBytes, dur: frame, sync: i%gopFrames == 0}
	}
	return m
}

// writeLarge writes a progressive recording, whose media are zeros but for the numbers of its keyframes.
func writeLarge(t *testing.T, path string, seconds int) {
	m := largeMovie(t, seconds)
	r := &run{movie: m, samples: m.samples, end: time.Duration(seconds) * time.Second}
	p := &plan{from: noon, until: noon.Add(r.end), runs: []*run{r}, frames: len(m.samples)}
	head, err := p.head()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(head); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(m.samples); i += gopFrames {
		if _, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(i)), int64(len(head))+int64(i)*frameBytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(int64(len(head)) + int64(len(m.samples))*frameBytes); err != nil {
		t.Fatal(err)
	}
}

// writeLargeFragments writes the same recording as recorders do that survive a power cut: a moov box without
// frames, then a fragment for each two seconds.
func writeLargeFragments(t *testing.T, path string, seconds int) {
	small := read(t, "fragmented.mp4")
	head := small[:at(t, small, "moof")]
	m, err := probe(small)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(head); err != nil {
		t.Fatal(err)
	}
	off := int64(len(head))
	dur := m.timescale / frameRate
	for i := 0; i < seconds*frameRate; i += gopFrames {
		n := min(gopFrames, seconds*frameRate-i)
		b := &boxes{}
		b.begin("moof")
		b.full("mfhd", 0, 0)
		b.u32(uint32(i/gopFrames + 1))
		b.close()
		b.begin("traf")
		b.full("tfhd", 0, tfhdFromMoof|tfhdDur|tfhdSize|tfhdFlags)
		b.u32(1, dur, frameBytes, notSync)
		b.close()
		b.full("tfdt", 1, 0)
		b.word(1, int64(i)*int64(dur))
		b.close()
		b.full("trun", 0, trunOffset|trunFirst)
		offset := len(b.b) + 4
		b.u32(uint32(n), 0, 0)
		b.close()
		b.close()
		b.close()
		binary.BigEndian.PutUint32(b.b[offset:], uint32(len(b.b)+8))
		b.b = appendHeader(b.b, "mdat", n*frameBytes)
		b.b = binary.BigEndian.AppendUint64(b.b, uint64(i))
		if _, err := f.WriteAt(b.b, off); err != nil {
			t.Fatal(err)
		}
		off += int64(len(b.b)) - 8 + int64(n)*frameBytes
	}
	if err := f.Truncate(off); err != nil {
		t.Fatal(err)
	}
}

// watchHeap samples the heap until the function it returns is called, which gives the largest it was.
func watchHeap() func() uint64 {
	runtime.GC()
	var peak atomic.Uint64
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	return func() uint64 {
		close(stop)
		done.Wait()
		return peak.Load()
	}
}

// residentPeak is what the system says, where it says it.
func residentPeak() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "not known here"
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			return strings.Join(strings.Fields(string(rest)), " ")
		}
	}
	return "not known here"
}
