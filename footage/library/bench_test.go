package library

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// indexed is a library whose index has a great many recordings, and whose folders are empty.
type indexed struct {
	*Library
	cfg     Config
	cameras []CameraID
	from    time.Time
	span    time.Duration
	rate    float64 // recordings written in a second
	bytes   float64 // on disk for each recording
}

// fill indexes total recordings of twenty cameras, one in a thousand of them 1 to 24 hours long. Continuous
// ones last a minute and follow each other; others last 5 to 65 seconds and are spread over a year.
func fill(b testing.TB, total int, continuous bool) *indexed {
	const cameras = 20
	dir := b.TempDir()
	x := &indexed{from: start, span: time.Duration(total/cameras) * time.Minute}
	if !continuous {
		x.span = 365 * 24 * time.Hour
	}
	x.cfg = Config{Index: filepath.Join(dir, "index.db")}
	for i := range cameras {
		id := CameraID(fmt.Sprint("cam", i))
		x.cameras = append(x.cameras, id)
		x.cfg.Cameras = append(x.cfg.Cameras, Camera{ID: id, Folder: filepath.Join(dir, fmt.Sprint(i))})
	}
	ctx := context.Background()
	l, err := Open(ctx, x.cfg)
	if err != nil {
		b.Fatal(err)
	}
	x.Library = l
	b.Cleanup(func() { x.Close() })
	rng := rand.New(rand.NewPCG(1, 2))
	const perDir = 24 * 60
	began := time.Now()
	for i, f := range l.folders {
		step := x.span / time.Duration(total/cameras)
		for n := 0; n < total/cameras; n += perDir {
			var put []row
			for m := n; m < min(n+perDir, total/cameras); m++ {
				at := x.from.Add(time.Duration(m) * step)
				length := 55*time.Second + time.Duration(rng.IntN(10_000))*time.Millisecond
				if !continuous {
					at = at.Add(time.Duration(rng.Int64N(int64(step))))
					length = 5*time.Second + time.Duration(rng.IntN(60_000))*time.Millisecond
				}
				if rng.IntN(1000) == 0 {
					length = time.Hour + time.Duration(rng.IntN(23*3600))*time.Second
				}
				put = append(put, row{name: at.Format("20060102_150405.000") + ".mp4", size: 5 << 20, mtime: at.UnixMicro(), camera: f.plain.row,
					rec: Recording{Camera: x.cameras[i], Start: at, StartFrom: "name", Duration: length, Codec: "h264", Width: 1920, Height: 1080}})
			}
			if err := l.index.change(ctx, f.path, fmt.Sprint("part", n/perDir), "", put, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	x.rate = float64(total) / time.Since(began).Seconds()
	if _, err := l.index.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(x.cfg.Index)
	if err != nil {
		b.Fatal(err)
	}
	x.bytes = float64(info.Size()) / float64(total)
	return x
}

func million(b *testing.B) int {
	if testing.Short() {
		return 50_000
	}
	return 1_000_000
}

// BenchmarkOverlapping asks for ten minutes of one and of all of twenty cameras, in an index of a million
// recordings (with -short, of fifty thousand).
func BenchmarkOverlapping(b *testing.B) {
	for _, kind := range []string{"events", "continuous"} {
		b.Run(kind, func(b *testing.B) {
			x := fill(b, million(b), kind == "continuous")
			for _, n := range []int{1, 20} {
				b.Run(fmt.Sprintf("cameras=%d", n), func(b *testing.B) {
					rng := rand.New(rand.NewPCG(3, 4))
					var took []time.Duration
					found := 0
					for b.Loop() {
						from := x.from.Add(time.Duration(rng.Int64N(int64(x.span))))
						first := rng.IntN(len(x.cameras) - n + 1)
						t := time.Now()
						recs, err := x.OverlappingAny(b.Context(), x.cameras[first:first+n], from, from.Add(10*time.Minute))
						took = append(took, time.Since(t))
						if err != nil {
							b.Fatal(err)
						}
						found += len(recs)
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-µs")
					b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-µs")
					b.ReportMetric(float64(found)/float64(len(took)), "found/op")
					b.ReportMetric(x.rate, "inserts/s")
					b.ReportMetric(x.bytes, "bytes/recording")
				})
			}
		})
	}
}

// BenchmarkOpen opens an index of a million recordings, asks it something, and counts what it has.
func BenchmarkOpen(b *testing.B) {
	x := fill(b, million(b), true)
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
	open := func(b *testing.B) *Library {
		l, err := Open(b.Context(), x.cfg)
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
	b.Run("until the first answer", func(b *testing.B) {
		for b.Loop() {
			l := open(b)
			if recs, err := l.OverlappingAny(b.Context(), x.cameras, x.from, x.from.Add(10*time.Minute)); err != nil || len(recs) == 0 {
				b.Fatal(len(recs), err)
			}
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first poll, folders not there", func(b *testing.B) {
		for b.Loop() {
			l := open(b)
			if r, err := l.Poll(b.Context()); err != nil || len(r.Folders) != len(x.cameras) {
				b.Fatal(r, err)
			}
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("summaries", func(b *testing.B) {
		l := open(b)
		defer l.Close()
		for b.Loop() {
			if sums, err := l.Summaries(b.Context()); err != nil || len(sums) != len(x.cameras) {
				b.Fatal(sums, err)
			}
		}
	})
	x.Library = open(b)
}

// BenchmarkFirstPoll is what a node does after its start with a single directory of 50,000 recordings (with
// -short, of 2,000) that are all in the index: the worst layout, since a poll has in hand what the index
// knows of one directory.
func BenchmarkFirstPoll(b *testing.B) {
	files := 50_000
	if testing.Short() {
		files = 2_000
	}
	dir := b.TempDir()
	folder := filepath.Join(dir, "flat")
	if err := os.Mkdir(folder, 0o755); err != nil {
		b.Fatal(err)
	}
	movie, err := os.ReadFile("testdata/ten.mp4")
	if err != nil {
		b.Fatal(err)
	}
	first := filepath.Join(dir, "first.mp4")
	if err := os.WriteFile(first, movie, 0o600); err != nil {
		b.Fatal(err)
	}
	for i := range files {
		if i%10_000 == 0 && i > 0 { // a file can have so many links only
			first = filepath.Join(dir, fmt.Sprint("first", i, ".mp4"))
			if err := os.WriteFile(first, movie, 0o600); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.Link(first, filepath.Join(folder, start.Add(time.Duration(i)*10*time.Second).Format("20060102_150405")+".mp4")); err != nil {
			b.Skip("no hard links here:", err)
		}
	}
	now := start
	cfg := Config{Index: filepath.Join(dir, "index.db"), Cameras: []Camera{{ID: "flat", Folder: folder}}, Now: func() time.Time { now = now.Add(time.Second); return now }}
	poll := func(l *Library) Report {
		r, err := l.Poll(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	l, err := Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	poll(l)
	if r := poll(l); r.Added != files {
		b.Fatalf("%+v", r)
	}
	b.Logf("%.0f files read and indexed in a second", float64(files)/time.Since(began).Seconds())
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		l, err := Open(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		if r := poll(l); r.Added != 0 || r.Removed != 0 || r.Waiting != 0 {
			b.Fatalf("%+v", r)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(files), "µs/file")
}
