package node

import (
	"maps"
	"slices"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
)

// Dockets are this node's copies of all dockets, by their agencies' ids.
func (p *Peer) Dockets() []*Docket {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Collect(maps.Values(p.dockets))
	slices.SortFunc(all, func(a, b *Docket) int { return strings.Compare(string(a.ID()), string(b.ID())) })
	return all
}

// CharterNotes are the charter's versions from the first on, rivals included, as another node takes them in.
func (p *Peer) CharterNotes() [][]byte { return p.chainCopy().Notes() }

// Agency is what the charter says of whose docket this is.
func (d *Docket) Agency() charter.Agency {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.agency
}

// Tile is a tile or a bundle of entries by its path, under the checkpoint of Head. The errors are those of
// docket.ParseTilePath and docket.Log.Tile.
func (d *Docket) Tile(path string) ([]byte, error) {
	t, err := docket.ParseTilePath(path)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil, d.broken
	}
	size, _ := d.head()
	return d.log.Tile(t, size)
}
