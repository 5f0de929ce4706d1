package home

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
)

// Halt stops every answer that is under way in the folder of a home that does not run, since its owner
// may have taken it back after the folder was copied. What the silent holds keep is looked at anew,
// since they stand on the disk of the recordings. It returns the ids of the answers.
func Halt(disk durable.Disk, dir string, backup, now time.Time) (stopped []string, err error) {
	folder := os.DirFS(dir)
	answers, err := fs.Glob(folder, "answers/*/answer.json")
	if err != nil {
		return nil, err
	}
	for _, name := range answers {
		a, path := &Answer{}, filepath.Join(dir, filepath.FromSlash(name))
		// A damaged one stays as it is: a home does not open with it, and says why.
		if node.ReadJSON(path, a) != nil || !a.open() {
			continue
		}
		a.State, a.Reason, a.Since = "stopped", Restored, now.UTC()
		a.Problem = "restored from the backup of " + backup.Format(time.RFC3339)
		if n := a.left(); n > 0 {
			a.Problem += fmt.Sprintf(" (%d of %d releases had left with their key before)", n, len(a.Releases))
		}
		if err := node.WriteJSON(disk, path, a); err != nil {
			return nil, err
		}
		stopped = append(stopped, a.ID)
	}
	items, err := fs.Glob(folder, "inbox/*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range items {
		path := filepath.Join(dir, filepath.FromSlash(name))
		i, err := readItem(path)
		if err != nil || !i.Held {
			continue
		}
		i.Held = false
		if err := node.WriteJSON(disk, path, i); err != nil {
			return nil, err
		}
	}
	return stopped, nil
}
