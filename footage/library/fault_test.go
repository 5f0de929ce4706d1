package library

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
)

// The index at every state that a kill or a power cut may leave it in: its files as they were between
// and after some polls, each cut off or blank from some point on. It is a cache, so that whatever the
// state, the library opens, and some polls later it knows the same recordings.
func TestIndexAfterACrash(t *testing.T) {
	h := newHome(t)
	h.index = filepath.Join(durabletest.TempDir(t), "index.db")
	h.lib.Close()
	h.open([]Camera{{ID: front, Folder: h.folder}})
	type image struct{ main, wal []byte }
	var images []image
	crash := func() {
		main, err := os.ReadFile(h.index)
		if err != nil {
			t.Fatal(err)
		}
		wal, err := os.ReadFile(h.index + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, image{main, wal})
	}
	var want []string
	for i := range 3 {
		name := fmt.Sprintf("20261122_190%d05.mp4", i)
		h.write(name, h.created(time.Time{}))
		want = append(want, fmt.Sprintf("%s 2026-11-22T19:0%d:05Z", name, i))
		h.settle()
		h.poll()
		crash()
		if i == 0 { // what is written later stands in the log alone
			h.restart(func() {})
		}
	}
	h.expect(front, want...)

	rows := 0
	row := func(name string, main, wal []byte) {
		if rows++; testing.Short() && rows%5 != 0 {
			return
		}
		t.Run(name, func(t *testing.T) {
			c := *h
			c.T, c.index = t, filepath.Join(durabletest.TempDir(t), "index.db")
			if err := errors.Join(os.WriteFile(c.index, main, 0o600), os.WriteFile(c.index+"-wal", wal, 0o600)); err != nil {
				t.Fatal(err)
			}
			c.open([]Camera{{ID: front, Folder: h.folder}})
			defer func() { c.lib.Close() }()
			for range 4 {
				c.poll()
				recs, err := c.lib.Overlapping(c.ctx, front, start.AddDate(0, 0, -1), start.AddDate(0, 0, 1))
				if err != nil && !errors.Is(err, ErrRebuilding) {
					t.Fatal(err)
				}
				if len(recs) == len(want) {
					break
				}
			}
			c.expect(front, want...)
			aside, _ := filepath.Glob(filepath.Join(filepath.Dir(c.index), "*"))
			for _, f := range aside {
				if ext := strings.TrimPrefix(f, c.index); ext != "" && ext != "-wal" && ext != "-shm" && ext != ".corrupt" {
					t.Errorf("left behind: %s", f)
				}
			}
		})
	}
	// A page of the database; a frame of its log is a page and a head, behind the log's own.
	const page, logHead, frame = 4096, 32, 4096 + 24
	for i, m := range images {
		row(fmt.Sprintf("%d, killed", i), m.main, m.wal)
		row(fmt.Sprintf("%d, log gone", i), m.main, nil)
		row(fmt.Sprintf("%d, database gone", i), nil, m.wal)
		for at := 0; at < len(m.main); at += page {
			for _, cut := range []int{at, at + page/2} {
				row(fmt.Sprintf("%d, database cut at %d", i, cut), m.main[:cut], m.wal)
			}
			row(fmt.Sprintf("%d, database blank from %d", i, at), append(m.main[:at:at], make([]byte, len(m.main)-at)...), m.wal)
			blank := append([]byte{}, m.main...)
			clear(blank[at : at+page])
			row(fmt.Sprintf("%d, database with a blank page at %d", i, at), blank, nil)
		}
		for at := logHead; at < len(m.wal); at += frame {
			row(fmt.Sprintf("%d, log cut at %d", i, at), m.main, m.wal[:at])
			row(fmt.Sprintf("%d, log cut at %d", i, at+frame/2), m.main, m.wal[:at+frame/2])
			row(fmt.Sprintf("%d, log blank from %d", i, at), m.main, append(m.wal[:at:at], make([]byte, len(m.wal)-at)...))
		}
	}
	t.Logf("%d rows", rows)
}
