package library

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/porchlight-mesh/porchlight/footage/clip"
)

// errEnough stops a walk.
var errEnough = errors.New("enough")

// Try says what a library would make of the first files of a camera's folder, in the order of their paths. It
// keeps and writes nothing. Path is relative to the folder, with forward slashes. A file that is not this camera's is
// left out; one that cannot be read, perhaps because it is being written, says so in Damaged.
func Try(ctx context.Context, c Camera, limit int) ([]Recording, error) {
	folders, err := arrange([]Camera{c})
	if err != nil {
		return nil, err
	}
	f := folders[0]
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	w := &walk{l: &Library{probe: clip.Probe}, f: f, root: root}
	var recs []Recording
	err = fs.WalkDir(root.FS(), ".", func(rel string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case len(recs) == limit:
			return errEnough
		case err != nil && rel == ".":
			return err
		case err != nil:
			return nil
		case d.IsDir() && path.Base(rel) == ours:
			return fs.SkipDir
		case !d.Type().IsRegular() || !isVideo(d.Name()):
			return nil
		}
		cam, at := f.owner(rel)
		info, err := d.Info()
		if cam == nil || err != nil {
			return nil
		}
		r := Recording{Camera: cam.ID, Path: filepath.ToSlash(rel), Size: info.Size()}
		if err := w.probe(rel, info.Size(), &r); err != nil {
			r.Damaged = err.Error()
		}
		date(&r, at, info.ModTime().UTC())
		recs = append(recs, r)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return recs, err
}
