package library

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// class is the duration class of a length in microseconds: every length in class n is under 8^n.
func class(duration int64) int { return (bits.Len64(uint64(max(duration, 0))) + 2) / 3 }

func (ix *index) overlapping(ctx context.Context, cameras []CameraID, from, until time.Time) ([]Recording, error) {
	order := map[CameraID]int{}
	var keys []byte
	ix.mu.RLock()
	for i, c := range cameras {
		key, known := ix.cameras[c]
		if !known {
			ix.mu.RUnlock()
			return nil, fmt.Errorf("no camera %q is configured", c)
		}
		if _, twice := order[c]; !twice {
			order[c] = i
			keys = strconv.AppendInt(append(keys, ','), key, 10)
		}
	}
	ix.mu.RUnlock()
	if len(keys) == 0 {
		return nil, nil
	}
	keys[0] = '['
	rows, err := ix.over.QueryContext(ctx, string(append(keys, ']')), from.UnixMicro(), until.UnixMicro())
	if err != nil {
		return nil, err
	}
	recs, err := ix.scan(ctx, rows)
	if err != nil {
		return nil, err
	}
	recs = once(recs)
	if len(order) > 1 {
		sort.SliceStable(recs, func(i, j int) bool { return order[recs[i].Camera] < order[recs[j].Camera] })
	}
	return recs, nil
}

func (ix *index) damaged(ctx context.Context) ([]Recording, error) {
	rows, err := ix.db.QueryContext(ctx, `SELECT `+columns+`
		FROM camera c CROSS JOIN file f ON f.camera = c.id AND f.class = -1 CROSS JOIN dir d ON d.id = f.dir WHERE d.hold = ''`)
	if err != nil {
		return nil, err
	}
	recs, err := ix.scan(ctx, rows)
	sort.Slice(recs, func(i, j int) bool { return recs[i].Path < recs[j].Path })
	return recs, err
}

// scan reads the recordings of a query for columns. One whose directory left the index just then is left out.
func (ix *index) scan(ctx context.Context, rows *sql.Rows) ([]Recording, error) {
	defer rows.Close()
	var recs []Recording
	var keys [][3]int64 // camera, directory, format
	// Scanning into any spares the detour over text that database/sql makes for numbers.
	var camera, dir, name, size, mtime, start, duration, flags, format, damaged any
	into := []any{&camera, &dir, &name, &size, &mtime, &start, &duration, &flags, &format, &damaged}
	number := func(v any) int64 { n, _ := v.(int64); return n }
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		r := Recording{Size: number(size), ModTime: time.UnixMicro(number(mtime)).UTC(),
			Duration: time.Duration(number(duration)) * time.Microsecond, Ambiguous: number(flags)&1 != 0}
		r.Path, _ = name.(string)
		r.Damaged, _ = damaged.(string)
		if from := number(flags) >> 1; from > 0 && from < int64(len(origins)) {
			r.StartFrom, r.Start = origins[from], time.UnixMicro(number(start)).UTC()
		}
		recs, keys = append(recs, r), append(keys, [3]int64{number(camera), number(dir), number(format)})
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	rows.Close()
	kept := recs[:0]
	for i, r := range recs {
		d, err := ix.directory(ctx, keys[i][1])
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f, err := ix.format(ctx, keys[i][2])
		if err != nil {
			return nil, err
		}
		r.Camera, r.Path, r.Hold = ix.name(keys[i][0]), d.path+r.Path, d.hold
		r.Codec, r.Width, r.Height = f.Codec, f.Width, f.Height
		kept = append(kept, r)
	}
	return kept, nil
}

func (ix *index) name(camera int64) CameraID {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.names[camera]
}

// directory is what a key of table dir stands for.
func (ix *index) directory(ctx context.Context, id int64) (directory, error) {
	ix.mu.RLock()
	d, ok := ix.places[id]
	ix.mu.RUnlock()
	if ok {
		return d, nil
	}
	var folder, rel string
	if err := ix.db.QueryRowContext(ctx, `SELECT folder, path, hold FROM dir WHERE id = ?`, id).Scan(&folder, &rel, &d.hold); err != nil {
		return d, err
	}
	const separator = string(filepath.Separator)
	d.path = strings.TrimSuffix(filepath.Join(folder, filepath.FromSlash(rel)), separator) + separator
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.places == nil || len(ix.places) >= maxDirs {
		ix.places = map[int64]directory{}
	}
	ix.places[id] = d
	return d, nil
}

// format is what a key of table format stands for.
func (ix *index) format(ctx context.Context, id int64) (r Recording, err error) {
	ix.mu.RLock()
	r, ok := ix.formats[id]
	ix.mu.RUnlock()
	if ok || id == 0 {
		return r, nil
	}
	if err := ix.db.QueryRowContext(ctx, `SELECT codec, width, height FROM format WHERE id = ?`, id).Scan(&r.Codec, &r.Width, &r.Height); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = errTorn
		}
		return r, err
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.formats == nil || len(ix.formats) >= maxDirs {
		ix.formats = map[int64]Recording{}
	}
	ix.formats[id] = r
	return r, nil
}

// once orders recordings by start and leaves one of each file, the held one if there is one.
func once(recs []Recording) []Recording {
	sort.Slice(recs, func(i, j int) bool {
		a, b := &recs[i], &recs[j]
		if !a.Start.Equal(b.Start) {
			return a.Start.Before(b.Start)
		}
		return a.Path < b.Path
	})
	held := false
	for i := range recs {
		held = held || recs[i].Hold != ""
	}
	if !held {
		return recs
	}
	type file struct {
		path        string
		size, mtime int64
	}
	first := map[file]int{}
	kept := recs[:0]
	for _, r := range recs {
		key := file{original(r.Path), r.Size, r.ModTime.UnixMicro()}
		at, ok := first[key]
		switch {
		case !ok:
			first[key] = len(kept)
			kept = append(kept, r)
		case kept[at].Hold == "":
			kept[at] = r
		}
	}
	return kept
}
