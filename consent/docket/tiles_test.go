package docket_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
)

// The paths of the specification, and how else they might be written.
func TestATilePathHasOneSpelling(t *testing.T) {
	for path, want := range map[string]tlog.Tile{
		"tile/0/x001/x234/067":      {H: 8, L: 0, N: 1234067, W: 256},
		"tile/0/x001/x234/067.p/8":  {H: 8, L: 0, N: 1234067, W: 8},
		"tile/0/000":                {H: 8, L: 0, N: 0, W: 256},
		"tile/0/273.p/112":          {H: 8, L: 0, N: 273, W: 112},
		"tile/1/001.p/17":           {H: 8, L: 1, N: 1, W: 17},
		"tile/2/000.p/1":            {H: 8, L: 2, N: 0, W: 1},
		"tile/63/999.p/255":         {H: 8, L: 63, N: 999, W: 255},
		"tile/entries/x001/000":     {H: 8, L: EntryTiles, N: 1000, W: 256},
		"tile/entries/x001/000.p/1": {H: 8, L: EntryTiles, N: 1000, W: 1},
		"tile/entries/x016/777/215": {}, "tile/entries/x016/x777/215": {H: 8, L: EntryTiles, N: 16777215, W: 256},
	} {
		got, err := ParseTilePath(path)
		if want == (tlog.Tile{}) {
			if consent.ClassOf(err) != consent.BadValue {
				t.Errorf("%s: %v, %v", path, got, err)
			}
			continue
		}
		if err != nil || got != want || TilePath(want) != path {
			t.Errorf("%s: %+v, %v; written %s", path, got, err, TilePath(want))
		}
	}
	for _, path := range []string{
		"", "/", "tile", "tile/", "tile/0", "tile/0/", "/tile/0/000", "tile/0/000/", "tile//000", "tiles/0/000", "0/000", "entries/000",
		"tile/8/0/000", "tile/data/000", "tile/-1/000", "tile/+1/000", "tile/01/000", "tile/64/000", "tile/0x0/000", "tile/99999999999999999999/000",
		"tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/1000", "tile/0/x000/000", "tile/0/001/000", "tile/0/x001/x000", "tile/0/x001000", "tile/0/xx001/000",
		"tile/0/x001//000", "tile/0/-01", "tile/0/+01", "tile/0/00a", "tile/0/ 00", "tile/0/000 ", "tile/0/٠٠٠", "tile/0/x016/x777/216", "tile/0/x999/x999/x999/x999/x999/x999/999",
		"tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/+1", "tile/0/000.p/-1", "tile/0/000.p/1.p/1", "tile/0/x001.p/1/000",
		"tile/0/000.P/1", "tile/Entries/000", "tile/entries/", "tile/0/../0/000", "tile/0/000?x", "tile/0/000\x00",
	} {
		if got, err := ParseTilePath(path); consent.ClassOf(err) != consent.BadValue || got != (tlog.Tile{}) {
			t.Errorf("%q: %+v, %v", path, got, err)
		}
	}
}

// leaves makes entries of no meaning, which cost no signatures.
func leaves(n int) (s shelf) {
	for i := range n {
		s = append(s, fmt.Appendf(nil, "leaf %d", i))
	}
	return s
}

// A tree of 70,000 is the specification's example: 273 full tiles and one of 112, one full and one of 17 above
// them, one of 1 at the top. All of them, and no more, follow from the root.
func TestTheTilesOfSeventyThousand(t *testing.T) {
	const size = 70_000
	s := leaves(size + 5)
	l, err := Open(police(), charter.Quotas{}, &s, size+5)
	if err != nil {
		t.Fatal(err)
	}
	root, err := tlog.TreeHash(size, tileReader{l, size})
	if err != nil {
		t.Fatal(err)
	}
	read := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tileReader{l, size})
	for _, i := range []int64{0, 255, 256, 65_535, 65_536, 69_887, 69_888, size - 1} {
		h, err := read.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
		if err != nil || h[0] != tlog.RecordHash(s[i]) {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
	for path, there := range map[string]bool{
		"tile/0/272": true, "tile/0/273.p/112": true, "tile/0/273.p/113": false, "tile/0/273": false, "tile/0/274.p/1": false,
		"tile/1/000": true, "tile/1/001.p/17": true, "tile/1/001.p/18": false, "tile/1/001": false,
		"tile/2/000.p/1": true, "tile/2/000.p/2": false, "tile/3/000.p/1": false, "tile/63/000.p/1": false,
		"tile/0/273.p/111": true, "tile/0/000.p/7": true, // a checkpoint of 69,999 or of 7 led there
		"tile/entries/273.p/112": true, "tile/entries/273.p/113": false, "tile/entries/000": true, "tile/entries/274.p/1": false,
	} {
		b, err := l.Tile(tile(t, path), size)
		if (err == nil) != there || err != nil && consent.ClassOf(err) != consent.BadValue {
			t.Errorf("%s: %v", path, err)
		}
		if want := tile(t, path); there && want.L >= 0 && len(b) != want.W*tlog.HashSize {
			t.Errorf("%s has %d bytes", path, len(b))
		}
	}
	if _, err := l.Tile(tile(t, "tile/0/273.p/117"), l.Size()); err != nil {
		t.Errorf("under the newer checkpoint: %v", err)
	}
	for _, bad := range []tlog.Tile{{}, {H: 8}, {H: 7, W: 1}, {H: 8, W: 257}, {H: 8, W: -1}, {H: 8, L: -2, W: 1}, {H: 8, L: 64, W: 1}, {H: 8, N: -1, W: 1}, {H: 8, N: 1 << 62, W: 256}} {
		if _, err := l.Tile(bad, size); consent.ClassOf(err) != consent.BadValue {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, n := range []int64{-1, l.Size() + 1} {
		if _, err := l.Tile(tile(t, "tile/0/000.p/1"), n); consent.ClassOf(err) != consent.BadValue {
			t.Errorf("of %d entries: %v", n, err)
		}
	}
}

func tile(t testing.TB, path string) tlog.Tile {
	t.Helper()
	got, err := ParseTilePath(path)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// tileReader reads a log's hashes from nothing but its tiles.
type tileReader struct {
	log  *Log
	size int64
}

func (r tileReader) Height() int                     { return 8 }
func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r tileReader) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, t := range tiles {
		b, err := r.log.Tile(t, r.size)
		if err != nil {
			return nil, err
		}
		data = append(data, b)
	}
	return data, nil
}

// ReadHashes finds each hash in the widest tile of the tree that has it, unverified.
func (r tileReader) ReadHashes(indexes []int64) (hashes []tlog.Hash, err error) {
	for _, x := range indexes {
		t := tlog.TileForIndex(8, x)
		b, err := r.log.Tile(t, r.size)
		if err != nil {
			return nil, err
		}
		h, err := tlog.HashFromTile(t, b, x)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}

// An entry stands in its bundle after its length, the lawful like the unlawful, and twice where it was
// logged twice.
func TestABundleOfEntriesIsTheNotes(t *testing.T) {
	p, burglary := weekday(t)
	entries := append(*p.notes, burglary, []byte{}, bytes.Repeat([]byte("x"), consent.MaxNote))
	l, err := Open(police(), charter.Quotas{}, &entries, int64(len(entries)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Tile(tile(t, "tile/entries/000.p/7"), 7)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range entries {
		n := int(binary.BigEndian.Uint16(b))
		if !bytes.Equal(b[2:2+n], want) {
			t.Errorf("entry %d is %.40q", i, b[2:2+n])
		}
		b = b[2+n:]
	}
	if len(b) > 0 {
		t.Errorf("%d bytes are left over", len(b))
	}
	// What the disk has lost or changed is not passed on.
	entries[5] = []byte("y")
	if _, err := l.Tile(tile(t, "tile/entries/000.p/7"), 7); err == nil || consent.ClassOf(err) != "" || !strings.Contains(err.Error(), "entry 5") {
		t.Errorf("a damaged store made a bundle: %v", err)
	}
	if _, err := l.Tile(tile(t, "tile/entries/000.p/5"), 7); err != nil {
		t.Errorf("the entries before it: %v", err)
	}
}

// thin keeps the hash of some entries only.
type thin struct {
	shelf
	lost map[int64]bool
}

func (s *thin) Entry(i int64) ([]byte, error) {
	if s.lost[i] {
		return nil, fmt.Errorf("entry %d: %w", i, ErrNoText)
	}
	return s.shelf.Entry(i)
}

func TestAnEntryWithoutTextIsNamed(t *testing.T) {
	s := &thin{leaves(300), map[int64]bool{}}
	l, err := Open(police(), charter.Quotas{}, s, 300)
	if err != nil {
		t.Fatal(err)
	}
	s.lost[7] = true
	if _, err := l.Tile(tile(t, "tile/entries/000"), 300); !errors.Is(err, ErrNoText) {
		t.Errorf("the bundle of entry 7: %v", err)
	}
	for _, path := range []string{"tile/entries/001.p/44", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"} {
		if _, err := l.Tile(tile(t, path), 300); err != nil {
			t.Errorf("%s does not need entry 7: %v", path, err)
		}
	}
}

func FuzzParseTilePath(f *testing.F) {
	for _, path := range []string{"tile/0/x001/x234/067", "tile/1/001.p/17", "tile/entries/x001/000.p/1", "tile/63/999.p/255", "tile/0/000.p/256", "tile/-1/x000/000"} {
		f.Add(path)
	}
	s := leaves(700)
	l, err := Open(police(), charter.Quotas{}, &s, 700)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := ParseTilePath(path)
		if err != nil {
			if consent.ClassOf(err) == "" {
				t.Fatalf("a refusal without class: %v", err)
			}
			return
		}
		if TilePath(got) != path {
			t.Fatalf("%q is read as %+v, which is %q", path, got, TilePath(got))
		}
		if b, err := l.Tile(got, 700); err != nil && consent.ClassOf(err) == "" || err == nil && len(b) == 0 {
			t.Fatalf("%q: %d bytes, %v", path, len(b), err)
		}
	})
}
