package docket_test

import (
	"fmt"
	"testing"

	"github.com/porchlight-mesh/porchlight/consent/charter"
	. "github.com/porchlight-mesh/porchlight/consent/docket"
)

// A log that is opened again, or taken in at once, judges every entry as it was judged one by one, also where
// what an entry rests on stands hundreds of entries before it.
func TestALongLogIsJudgedEntryByEntry(t *testing.T) {
	p := open(t)
	var notes [][]byte
	add := func(msg []byte) { notes = append(notes, msg) }
	add(mustSign(enrol(kim, RoleOfficer, moss, 0), moss))
	for i := range 600 {
		add(request(fmt.Sprint("case ", i), kim, moss, i))
		switch i {
		case 100, 300:
			add(request(fmt.Sprint("unknown officer ", i), lee, moss, i))
		case 400:
			add(mustSign(revoke(kim, RoleOfficer, moss, i), moss))
			add(mustSign(enrol(lee, RoleOfficer, moss, i), moss))
		}
	}
	for i, msg := range notes {
		*p.notes = append(*p.notes, msg)
		if i%150 != 149 && i != len(notes)-1 {
			continue
		}
		// An agency that does not care appends whatever it likes: a checkpoint over it is all that is needed.
		one, err := Open(police(), charter.Quotas{}, p.notes, int64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		checkpoint, err := one.SignCheckpoint(docketKey())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Extend((*p.notes)[p.Size():], checkpoint); err != nil {
			t.Fatal(err)
		}
		if one.Root() != p.Root() {
			t.Fatalf("%d entries lead to two roots", i+1)
		}
		for k := range int64(i + 1) {
			if one.Refused(k) != p.Refused(k) {
				t.Fatalf("entry %d of %d: %q and %q", k, i+1, one.Refused(k), p.Refused(k))
			}
		}
	}
	refused := 0
	for k := range p.Size() {
		if p.Refused(k) != "" {
			refused++
		}
	}
	if refused != 2+199 { // the unknown officer's, and those after the revocation
		t.Errorf("%d entries do not count", refused)
	}
}
