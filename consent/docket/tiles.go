package docket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/porchlight-mesh/porchlight/consent"
)

// A docket as static files, in the layout of C2SP tlog-tiles (https://c2sp.org/tlog-tiles), below a prefix
// of the docket's own:
//
//	checkpoint                     the newest checkpoint
//	tile/<L>/<N>[.p/<W>]           hashes, 32 bytes each: from N·256 on of level 8·L of the tree
//	tile/entries/<N>[.p/<W>]       entries from N·256 on: a big-endian uint16 of their length, then the note
//
// N is written in groups of three digits, all but the last after an x: 1234067 is x001/x234/067. A tile of
// 256 is full; W is the width of a narrower one.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// EntryTiles is the level of tiles that hold entries and not hashes, as tlog has it.
	EntryTiles = -1
	maxLevel   = 63
)

// ErrNoText is what a [Store] answers, alone or wrapped, for an entry of which it keeps the leaf hash only.
var ErrNoText = errors.New("only the hash of this entry is kept here, not its text")

// TilePath is where a tile of height 8 is found. [tlog.Tile.Path] is another layout.
func TilePath(t tlog.Tile) string {
	level := "entries"
	if t.L != EntryTiles {
		level = strconv.Itoa(t.L)
	}
	n := fmt.Sprintf("%03d", t.N%1000)
	for rest := t.N / 1000; rest > 0; rest /= 1000 {
		n = fmt.Sprintf("x%03d/%s", rest%1000, n)
	}
	path := "tile/" + level + "/" + n
	if t.W != tileWidth {
		path += ".p/" + strconv.Itoa(t.W)
	}
	return path
}

// NewestEntries is the path of the last bundle of a docket of that size, "" where there is none.
func NewestEntries(size int64) string {
	if size < 1 {
		return ""
	}
	n := (size - 1) / tileWidth
	return TilePath(tlog.Tile{H: tileHeight, L: EntryTiles, N: n, W: int(size - n*tileWidth)})
}

// ParseTilePath reads a path in its one spelling. Whether a log has the tile is for [Log.Tile] to say; one
// that no docket could have is refused here.
func ParseTilePath(path string) (tlog.Tile, error) {
	bad := consent.Refuse(consent.BadValue, "path", "%.80q is no path of a tile", path)
	level, rest, ok := strings.Cut(strings.TrimPrefix(path, "tile/"), "/")
	number, width, partial := strings.Cut(rest, ".p/")
	t := tlog.Tile{H: tileHeight, L: EntryTiles, W: tileWidth}
	var err error
	if level != "entries" {
		if t.L, err = strconv.Atoi(level); err != nil || t.L < 0 || t.L > maxLevel {
			return tlog.Tile{}, bad
		}
	}
	if partial {
		if t.W, err = strconv.Atoi(width); err != nil || t.W < 1 || t.W >= tileWidth {
			return tlog.Tile{}, bad
		}
	}
	digits := strings.NewReplacer("x", "", "/", "").Replace(number)
	if t.N, err = strconv.ParseInt(digits, 10, 64); err != nil || t.N < 0 || t.N >= MaxSize/tileWidth {
		return tlog.Tile{}, bad
	}
	// Whatever else is wrong with it, it is not how this tile is written.
	if !ok || TilePath(t) != path {
		return tlog.Tile{}, bad
	}
	return t, nil
}

// Tile returns a tile of the tree over the first size entries, which is that of the checkpoint it is
// served beside. Narrower ones than the newest are there too: somebody may still be reading under the
// checkpoint before. Of class bad-value: the tree has no such tile. [ErrNoText]: an entry of it is not kept.
func (l *Log) Tile(t tlog.Tile, size int64) ([]byte, error) {
	if size < 0 || size > l.size || t.H != tileHeight || t.L < EntryTiles || t.L > maxLevel ||
		t.N < 0 || t.N >= MaxSize/tileWidth || t.W < 1 || t.W > tileWidth {
		return nil, consent.Refuse(consent.BadValue, "tile", "no tile %+v of %d entries in a log of %d", t, size, l.size)
	}
	first := t.N * tileWidth
	if first+int64(t.W) > size>>(tileHeight*max(t.L, 0)) {
		return nil, consent.Refuse(consent.BadValue, "tile", "a docket of %d entries has no %s", size, TilePath(t))
	}
	if t.L != EntryTiles {
		return tlog.ReadTileData(t, l.hashes)
	}
	if l.store == nil {
		return nil, fmt.Errorf("entries of the docket of %s: the log has no store", l.agency.Name)
	}
	var b []byte
	for i := first; i < first+int64(t.W); i++ {
		msg, err := l.store.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("entry %d of the docket of %s: %w", i, l.agency.Name, err)
		}
		if _, bare := leafOf(msg); bare {
			return nil, fmt.Errorf("entry %d of the docket of %s: %w", i, l.agency.Name, ErrNoText)
		}
		if tlog.RecordHash(msg) != l.hashes[tlog.StoredHashIndex(0, i)] {
			return nil, fmt.Errorf("entry %d of the docket of %s: the store holds other bytes than the log was built of; restore it from a peer", i, l.agency.Name)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(msg))) // at most consent.MaxNote
		b = append(b, msg...)
	}
	return b, nil
}
