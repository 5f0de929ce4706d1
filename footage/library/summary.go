package library

import (
	"context"
	"path"
	"time"
)

// Summary is what the index has of one camera.
type Summary struct {
	Recordings int       // as many as Overlapping would give over all time
	First      time.Time // start of the earliest; zero if there is none
	Last       time.Time // end of the one that ends last
	From       string    // what the newest one's start is from, as Recording.StartFrom
}

// Summaries tells what the index has of each camera, without reading out every recording. A camera
// without recordings is left out.
func (l *Library) Summaries(ctx context.Context) (map[CameraID]Summary, error) {
	var sums map[CameraID]Summary
	return sums, l.ask(ctx, func(ix *index) (err error) {
		sums, err = ix.summaries(ctx)
		return err
	})
}

// The last to end began within the length of its class of the last to start.
const summaries = `SELECT c.name,
	(SELECT count(*) FROM file f WHERE f.camera = k.camera AND f.class = k.class),
	(SELECT min(f.start) FROM file f WHERE f.camera = k.camera AND f.class = k.class),
	(SELECT max(f.start + f.duration) FROM file f WHERE f.camera = k.camera AND f.class = k.class AND f.start >
		(SELECT max(g.start) FROM file g WHERE g.camera = k.camera AND g.class = k.class) - (1 << 3 * k.class)),
	(SELECT f.start FROM file f WHERE f.camera = k.camera AND f.class = k.class ORDER BY f.start DESC LIMIT 1),
	(SELECT f.flags FROM file f WHERE f.camera = k.camera AND f.class = k.class ORDER BY f.start DESC LIMIT 1)
	FROM class k JOIN camera c ON c.id = k.camera`

func (ix *index) summaries(ctx context.Context) (map[CameraID]Summary, error) {
	rows, err := ix.db.QueryContext(ctx, summaries)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	sums := map[CameraID]Summary{}
	newest := map[CameraID]int64{}
	for rows.Next() {
		var camera CameraID
		var count int
		var first, last, begun, flags *int64 // of a class that no recording has any more there are none
		if err := rows.Scan(&camera, &count, &first, &last, &begun, &flags); err != nil {
			return nil, err
		}
		if count == 0 || first == nil || last == nil || begun == nil || flags == nil {
			continue
		}
		s := sums[camera]
		if s.From == "" || *begun > newest[camera] {
			newest[camera], s.From = *begun, origins[*flags>>1]
		}
		if at := time.UnixMicro(*first).UTC(); s.Recordings == 0 || at.Before(s.First) {
			s.First = at
		}
		if at := time.UnixMicro(*last).UTC(); s.Recordings == 0 || at.After(s.Last) {
			s.Last = at
		}
		s.Recordings += count
		sums[camera] = s
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return sums, ix.countOnce(ctx, sums)
}

// countOnce takes off what is counted twice: a held file whose original is there, or that is in several holds.
func (ix *index) countOnce(ctx context.Context, sums map[CameraID]Summary) error {
	rows, err := ix.db.QueryContext(ctx, `SELECT c.name, d.folder, d.path, f.name, f.size, f.mtime
		FROM dir d CROSS JOIN file f ON f.dir = d.id JOIN camera c ON c.id = f.camera WHERE d.hold <> '' AND f.class >= 0`)
	if err != nil {
		return err
	}
	defer rows.Close()
	type file struct {
		camera            CameraID
		folder, dir, name string
		size, mtime       int64
	}
	seen := map[file]bool{}
	var first []file
	for rows.Next() {
		var f file
		if err := rows.Scan(&f.camera, &f.folder, &f.dir, &f.name, &f.size, &f.mtime); err != nil {
			return err
		}
		if _, rest, ok := inHold(path.Join(f.dir, f.name)); ok {
			f.dir = path.Dir(rest)
		}
		if seen[f] {
			s := sums[f.camera]
			s.Recordings--
			sums[f.camera] = s
			continue
		}
		seen[f] = true
		first = append(first, f)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, f := range first {
		var there int
		if err := ix.db.QueryRowContext(ctx, `SELECT count(*) FROM file WHERE dir = (SELECT id FROM dir WHERE folder = ? AND path = ?)
			AND name = ? AND size = ? AND mtime = ? AND class >= 0`, f.folder, f.dir, f.name, f.size, f.mtime).Scan(&there); err != nil {
			return err
		}
		s := sums[f.camera]
		s.Recordings -= there
		sums[f.camera] = s
	}
	return nil
}
