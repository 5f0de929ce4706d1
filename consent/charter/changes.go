package charter

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent"
)

// Changes says in plain words what next changes against old, the version whose signers have to agree to it (see
// [Chain.Predecessor]): one sentence each, none when only version and dates of making differ. A signer reads them
// before signing.
func Changes(old, next *Charter) []string {
	var l changes
	if len(next.Also) > 0 {
		l.add("it heals a fork: it follows version %d, settles %d rival versions after it (%s), and admits what stands here and nothing else",
			old.Version, 1+len(next.Also), strings.Join(shorten(next.named()), ", "))
	}
	if old.Mesh != next.Mesh {
		l.add("the mesh's name changes from %q to %q", old.Mesh, next.Mesh)
	}
	if old.Ends != next.Ends {
		l.add("it ends %s instead of %s", next.Ends, old.Ends)
	}
	l.people("signer", signersOf(old), signersOf(next))
	if old.Threshold != next.Threshold || len(old.Signers) != len(next.Signers) {
		l.add("%d of %d signers have to sign what comes next, before it was %d of %d", next.Threshold, len(next.Signers), old.Threshold, len(old.Signers))
	}
	l.agencies(old, next)
	l.people("witness", witnessesOf(old), witnessesOf(next))
	if old.Quorum != next.Quorum {
		l.add("%d witnesses have to cosign a docket's checkpoint, before it was %d", next.Quorum, old.Quorum)
	}
	l.numbers("limit", old.Limits, next.Limits)
	l.numbers("quota", old.Quotas, next.Quotas)
	switch {
	case old.Daily.IsZero() && !next.Daily.IsZero():
		l.add("every docket has a daily entry: %d commitments kept for %v days, and %d messages of %d bytes",
			next.Daily.Commitments, next.Daily.RetentionDays, next.Daily.Messages, next.Daily.MessageBytes)
	case !next.Daily.IsZero():
		l.numbers("daily entry's number", old.Daily, next.Daily)
	}
	if !slices.Equal(old.OffByDefault, next.OffByDefault) {
		l.add("off until an owner turns them on: %s; before: %s", classes(next.OffByDefault), classes(old.OffByDefault))
	}
	if old.LANOnly != next.LANOnly {
		l.add("the mesh is now %s", map[bool]string{true: "one of a local network: private addresses are allowed in requests", false: "one of the internet"}[next.LANOnly])
	}
	return l
}

type changes []string

func (l *changes) add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

// person is a signer or a witness.
type person = Signer

func signersOf(c *Charter) []person { return c.Signers }

func witnessesOf(c *Charter) (list []person) {
	for _, w := range c.Witnesses {
		list = append(list, person(w))
	}
	return list
}

func (l *changes) people(what string, old, next []person) {
	had := len(*l)
	for _, p := range next {
		if !slices.Contains(old, p) {
			l.add("%s is a new %s, with the key %s", p.Name, what, p.Key)
		}
	}
	for _, p := range old {
		if !slices.Contains(next, p) {
			l.add("%s is no longer a %s, with the key %s", p.Name, what, p.Key)
		}
	}
	if len(*l) == had && len(old) == len(next) && !slices.Equal(old, next) {
		l.add("the same %ss stand in another order", what)
	}
}

func (l *changes) agencies(old, next *Charter) {
	for _, a := range next.Agencies {
		was, stays := old.Agency(a.ID())
		switch {
		case stays:
			l.agency(was, a)
			continue
		case a.Succeeds != nil:
			lost, _ := old.Agency(a.Succeeds.Agency)
			l.add("%s goes on with the docket %s: it lost the docket %s of %s, whose last checkpoint has the size %d and the root %s",
				a.Name, a.ID(), a.Succeeds.Agency, lost.Name, a.Succeeds.Size, a.Succeeds.Root)
		default:
			l.add("%s is admitted, class %s, with the docket %s; the fingerprint of its card is %s", a.Name, a.Class, a.ID(), Card(a).Fingerprint())
		}
		if a.Suspended != "" {
			l.add("%s is suspended: %s", a.Name, a.Suspended)
		}
	}
	for _, r := range next.Removed {
		l.add("%s (%s) is removed: %s", r.Name, r.Agency, r.Reason)
	}
}

// agency tells what changes about one that stays.
func (l *changes) agency(old, next Agency) {
	switch {
	case next.Suspended == old.Suspended:
	case next.Suspended != "":
		l.add("%s is suspended: %s", next.Name, next.Suspended)
	default:
		l.add("%s may ask again; it was suspended: %s", next.Name, old.Suspended)
	}
	if old.Name != next.Name {
		l.add("%s is called %s now", old.Name, next.Name)
	}
	if old.Class != next.Class {
		l.add("%s is of the class %s instead of %s", next.Name, next.Class, old.Class)
	}
	if old.Key != next.Key {
		l.add("the docket key of %s has another name, %s", next.Name, next.Key.Name())
	}
	if !slices.Equal(old.Supervisors, next.Supervisors) {
		l.add("the first supervisors of %s are %s, before %s", next.Name, keyNames(next.Supervisors), keyNames(old.Supervisors))
	}
	if !slices.Equal(old.Jurisdiction, next.Jurisdiction) {
		l.add("the jurisdiction of %s has another outline: %.0f m² instead of %.0f m²", next.Name, next.Jurisdiction.AreaM2(), old.Jurisdiction.AreaM2())
	}
	if old.PolicyURL != next.PolicyURL {
		l.add("the policy of %s is at %s instead of %s", next.Name, next.PolicyURL, old.PolicyURL)
	}
}

// numbers compares the fields of two structs of numbers, under the names they have in the document.
func (l *changes) numbers(what string, old, next any) {
	a, b := reflect.ValueOf(old), reflect.ValueOf(next)
	for i := range a.NumField() {
		if x, y := a.Field(i).Interface(), b.Field(i).Interface(); !reflect.DeepEqual(x, y) {
			l.add("the %s %s changes from %v to %v", what, a.Type().Field(i).Tag.Get("json"), x, y)
		}
	}
}

func shorten(hashes []string) (short []string) {
	for _, h := range hashes {
		short = append(short, h[:min(16, len(h))]+"…")
	}
	return short
}

func classes(list []AgencyClass) string {
	if len(list) == 0 {
		return "none"
	}
	names := make([]string, len(list))
	for i, k := range list {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// keyNames tells keys apart also where two have one name.
func keyNames(keys []consent.VerifierKey) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = strings.Join(strings.SplitN(string(k), "+", 3)[:2], "+")
	}
	return strings.Join(names, ", ")
}
