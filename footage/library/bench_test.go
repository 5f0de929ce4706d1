package library

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkOverlapping asks for ten minutes of one of twenty cameras, in an index of a million
// recordings, one in a thousand of them 1 to 24 hours long. With -short it has fifty thousand.
func BenchmarkOverlapping(b *testing.B) {
	total := 1_000_000
	if testing.Short() {
		total = 50_000
	}
	const cameras = 20
	dir := b.TempDir()
	var cams []Camera
	for i := range cameras {
		cams = append(cams, Camera{ID: CameraID(fmt.Sprint("cam", i)), Folder: filepath.Join(dir, fmt.Sprint(i))})
	}
	l, err := Open(b.Context(), Config{Index: filepath.Join(dir, "index.db"), Cameras: cams})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	began := time.Now()
	perDay := 24 * 60
	for i, f := range l.folders {
		for n := 0; n < total/cameras; n += perDay {
			day := start.Add(time.Duration(n) * time.Minute)
			var put []row
			for m := range min(perDay, total/cameras-n) {
				at := day.Add(time.Duration(m) * time.Minute)
				length := 55*time.Second + time.Duration(rng.IntN(10_000))*time.Millisecond
				if rng.IntN(1000) == 0 {
					length = time.Hour + time.Duration(rng.IntN(23*3600))*time.Second
				}
				put = append(put, row{name: at.Format("15.04.05.mp4"), size: 5 << 20, mtime: at.UnixMicro(), camera: f.plain.row,
					rec: Recording{Camera: cams[i].ID, Start: at, StartFrom: "name", Duration: length, Codec: "h264", Width: 1920, Height: 1080}})
			}
			if err := l.index.change(b.Context(), f.path, day.Format("2006-01-02"), "", put, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	inserted := time.Since(began)
	span := time.Duration(total/cameras) * time.Minute
	var took []time.Duration
	b.ResetTimer()
	for b.Loop() {
		from := start.Add(time.Duration(rng.Int64N(int64(span))))
		t := time.Now()
		recs, err := l.Overlapping(b.Context(), cams[rng.IntN(cameras)].ID, from, from.Add(10*time.Minute))
		took = append(took, time.Since(t))
		if err != nil || len(recs) == 0 {
			b.Fatal(len(recs), err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(total)/inserted.Seconds(), "inserts/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
