package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent/vectors"
)

// Every word, message, breach record, hold and transfer of the test vectors that is accepted can be checked as a file, and none that its
// signature does not hold.
func TestWhatIsSaidSinceIsRead(t *testing.T) {
	all, err := vectors.Load()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{"withdrawal": 0, "extension": 0, "statement": 0, "onward": 0, "message": 0, "breach": 0, "hold": 0, "transfer": 0}
	for _, v := range all {
		if _, ours := kinds[v.Kind]; !ours || v.Name != v.Kind+"-ok" {
			continue
		}
		kinds[v.Kind]++
		dir := t.TempDir()
		path, grant := filepath.Join(dir, "said.note"), filepath.Join(dir, "grant.note")
		for name, note := range map[string]string{path: v.Note, grant: v.Context.Grant} {
			if err := os.WriteFile(name, []byte(note), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		with := With{}
		if v.Context.Grant != "" {
			with.Grant = grant
		}
		r, err := File(t.Context(), path, with)
		if err != nil || len(r.Proven) == 0 || len(r.Open) == 0 {
			t.Errorf("%s: %+v, %v", v.Name, r, err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(v.Note, `"created":"2026`, `"created":"2025`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := File(t.Context(), path, with); err == nil {
			t.Errorf("%s: another date is taken for signed: %v", v.Name, r.Proven)
		}
	}
	for kind, n := range kinds {
		if n != 1 {
			t.Errorf("%d documents of kind %s", n, kind)
		}
	}
}
