package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/porchlight-mesh/porchlight/consent/grant"
)

// IsExport says whether a path is a folder that `porchlight home ledger export` wrote: a page, a ledger, and a folder of documents for each answer.
func IsExport(path string) bool {
	for _, name := range []string{"index.html", "ledger"} {
		if info, err := os.Stat(filepath.Join(path, name)); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// Folder checks every file of an export but its page, each against the request and the grant that stand beside it. The errors name what is wrong.
func Folder(ctx context.Context, path string, with With) (all []Result, err error) {
	var errs []error
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir(), name == filepath.Join(path, "index.html"):
			return nil
		case !d.Type().IsRegular():
			errs = append(errs, fmt.Errorf("%s: not a file", name))
			return nil
		}
		if info, err := d.Info(); err == nil && info.Size() == 0 && name == filepath.Join(path, "ledger") {
			return nil // nothing has left
		}
		r, err := File(ctx, name, with.beside(filepath.Dir(name)))
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		all = append(all, r)
		return nil
	})
	return all, errors.Join(append(errs, err)...)
}

// beside is what a document of an answer is checked against: what stands in its folder, where nothing else was named.
func (w With) beside(dir string) With {
	files, _ := os.ReadDir(dir) // what cannot be read is found by the walk
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		switch {
		case !f.Type().IsRegular():
		case f.Name() == "request.note" && w.Request == "":
			w.Request = path
		case f.Name() == "grant.note" && w.Grant == "":
			w.Grant = path
		default:
			if note, err := readNote(path); err == nil {
				if c, err := grant.OpenTaking(note); err == nil {
					w.cards = append(w.cards, c)
				}
			}
		}
	}
	return w
}
