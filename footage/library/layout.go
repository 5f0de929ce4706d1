package library

import (
	"path"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/library/stamp"
)

// told is a start that a recording's path tells.
type told struct {
	at        time.Time // UTC
	from      string    // as Recording.StartFrom
	ambiguous bool
	or        time.Time // as stamp.Stamp.Or
}

// isVideo reports whether a file of this name is looked at.
func isVideo(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".mp4", ".m4v", ".mov":
		return !strings.HasPrefix(name, "._") // what macOS leaves beside files on shares
	}
	return false
}

// owner says whose recording a path is, nil if nobody's, and when it starts if the path says so.
func (f *folder) owner(rel string) (*camera, *told) {
	if name, at, ok := stamp.Frigate(rel); ok && len(f.frigate) > 0 {
		c := f.frigate[name]
		if c == nil {
			return nil, nil
		}
		return c, &told{at: at, from: "path"}
	}
	if f.plain == nil {
		return nil, nil
	}
	s, ok := stamp.Stamp{}, false
	if p := f.plain.pattern; p != nil {
		s, ok = p.Read(rel, f.plain.zone)
	} else {
		s, ok = stamp.Name(rel, f.plain.zone)
	}
	if !ok {
		return f.plain, nil
	}
	return f.plain, &told{at: s.At, from: "name", ambiguous: s.Ambiguous, or: s.Or}
}
