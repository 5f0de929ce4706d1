// Package vectors holds the test vectors of every signed format: one document each, with what it is
// judged by and the class of refusal that a conforming program comes to. README.md in this folder
// describes the files for programs in other languages.
package vectors

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent"
)

//go:embed testdata/*.json
var files embed.FS

// OK is what Expect says of a document that is accepted.
const OK = "ok"

// Vector is one file of testdata.
type Vector struct {
	Name    string       `json:"name"` // the file's name without .json
	Kind    string       `json:"kind"` // how the document is judged: a kind of document, or another of the list in README.md
	Why     string       `json:"why"`
	Expect  string       `json:"expect"`                // "ok", or a consent.Class
	Now     consent.Time `json:"now,omitzero"`          // the judge's clock; absent: time is not looked at
	Context Context      `json:"context"`               // what the judge knows already
	Note    string       `json:"note,omitempty"`        // the document
	Base64  []byte       `json:"note_base64,omitempty"` // the document, where it is not UTF-8
}

// Context is what a document is judged by. Members that its kind has no use for are absent.
type Context struct {
	Charters     []string            `json:"charters,omitempty"`      // versions that were taken in before, oldest first
	Agency       consent.AgencyID    `json:"agency,omitempty"`        // whose docket or checkpoint it is
	Entries      []string            `json:"entries,omitempty"`       // the docket so far
	ReceptionKey consent.VerifierKey `json:"reception_key,omitempty"` // of the request that is answered
	GrantKey     consent.VerifierKey `json:"grant_key,omitempty"`     // of the grant that a manifest belongs to
	Request      string              `json:"request,omitempty"`       // the request that a grant answers
	Grant        string              `json:"grant,omitempty"`         // the grant that an acceptance answers
	Checkpoint   string              `json:"checkpoint,omitempty"`    // that the witness cosigned last
}

// Document returns the bytes to be judged.
func (v Vector) Document() []byte {
	if v.Base64 != nil {
		return v.Base64
	}
	return []byte(v.Note)
}

// Load returns all vectors, by name.
func Load() ([]Vector, error) {
	var list []Vector
	err := fs.WalkDir(files, "testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		var v Vector
		if err := json.Unmarshal(b, &v); err != nil {
			return fmt.Errorf("vector %s: %w", path, err)
		}
		if path != "testdata/"+v.Name+".json" || strings.Contains(v.Name, "/") {
			return fmt.Errorf("vector %s calls itself %q", path, v.Name)
		}
		list = append(list, v)
		return nil
	})
	return list, err
}
