package home

import (
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-mesh/porchlight/consent"
)

func persons(t testing.TB, names ...string) (h Household, keys map[string]consent.Key) {
	t.Helper()
	keys = map[string]consent.Key{}
	for _, n := range names {
		k, err := consent.GenerateKey(rand.Reader, n)
		if err != nil {
			t.Fatal(err)
		}
		keys[n] = k
		h.Persons = append(h.Persons, Person{n, k.Verifier()})
	}
	return h, keys
}

const asked = consent.RequestID("abababababababababababababababababababababababababababababababab")

// Whatever persons of a household and strangers sign, in whatever order: something counts only once as many different persons as have to have
// approved that very thing since it was last refused.
func TestPropertyPromise01KOfNOwnersApprove(t *testing.T) {
	names := strings.Fields("a b c d")
	house, keys := persons(t, names...)
	stranger, err := consent.GenerateKey(rand.Reader, "stranger")
	if err != nil {
		t.Fatal(err)
	}
	counted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		k := household{Household: house, Approved: map[string][]string{}, About: map[string]string{}, Refused: map[consent.RequestID]time.Time{}}
		k.Approvals = rapid.IntRange(1, 4).Draw(t, "k")
		approved := map[string]map[string]bool{} // by what, in plain sets
		now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
		var old string // an approval from before the last refusal
		var oldOf string
		for range rapid.IntRange(1, 12).Draw(t, "orders") {
			now = now.Add(time.Second)
			who := rapid.SampledFrom(names).Draw(t, "who")
			key := keys[who]
			forged := rapid.IntRange(0, 7).Draw(t, "forged") == 0
			if forged {
				key = stranger
			}
			if rapid.IntRange(0, 5).Draw(t, "no") == 0 {
				order, err := Signed("decline", asked, "", now, key)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := k.refuse(order, "decline", asked, now); (err != nil) != forged {
					t.Fatalf("declined by a stranger %v: %v", forged, err)
				}
				if forged {
					continue
				}
				approved = map[string]map[string]bool{}
				refused++
				if old != "" {
					if _, _, _, err := k.approve(old, "approve", asked, oldOf, now); err == nil {
						t.Fatal("what was signed before it was declined counts")
					}
				}
				continue
			}
			a := Approve{Request: string(asked), Cameras: []string{rapid.SampledFrom([]string{"door", "garden"}).Draw(t, "camera")}, RetentionDays: rapid.IntRange(0, 1).Draw(t, "days")}
			of := a.Digest()
			signed := of
			if rapid.IntRange(0, 9).Draw(t, "signed for another") == 0 {
				a.RetentionDays = 77
				signed = a.Digest()
			}
			order, err := Signed("approve", asked, signed, now, key)
			if err != nil {
				t.Fatal(err)
			}
			_, by, missing, err := k.approve(order, "approve", asked, of, now)
			if right := !forged && signed == of; (err == nil) != right {
				t.Fatalf("right %v: %v", right, err)
			} else if !right {
				continue
			}
			old, oldOf = order, of
			if approved[of] == nil {
				approved[of] = map[string]bool{}
			}
			approved[of][who] = true
			if n := len(approved[of]); n != len(by) || (missing == 0) != (n >= k.Approvals) {
				t.Fatalf("approved by %v of %d who have to: %v, %d are missing", slices.Sorted(maps.Keys(approved[of])), k.Approvals, by, missing)
			}
			if missing == 0 {
				counted++
				approved = map[string]map[string]bool{}
				k.settle(asked)
			}
		}
	})
	t.Logf("%d decisions counted, %d refusals", counted, refused)
	if counted == 0 || refused == 0 {
		t.Error("nothing was tested")
	}
}

// Who the owners are changes only when as many of the present ones want it as have to approve.
func TestAHouseholdIsSetByItsOwners(t *testing.T) {
	h, _ := openHome(t)
	house, keys := persons(t, "Ana", "Ben", "Cleo")
	house.Approvals = 2
	if _, err := h.setHousehold(t.Context(), SetHousehold{Household: Household{Approvals: 2, Persons: house.Persons[:1]}}); err == nil {
		t.Error("a household of one")
	}
	set, err := h.setHousehold(t.Context(), SetHousehold{Household: house})
	if err != nil || set.Missing != 0 {
		t.Fatalf("%+v, %v", set, err)
	}
	alone := Household{Approvals: 1, Persons: house.Persons[:2]}
	at := h.peer.Now()
	want := func(who string, missing int, fails bool) {
		t.Helper()
		at = at.Add(2 * time.Second) // an order is of a later second than what it comes after
		order := ""
		if who != "" {
			order, err = Signed("household", "", alone.Digest(), at, keys[who])
			if err != nil {
				t.Fatal(err)
			}
		}
		if set, err := h.setHousehold(t.Context(), SetHousehold{alone, order}); (err != nil) != fails || !fails && set.Missing != missing {
			t.Fatalf("%s: %+v, %v", who, set, err)
		}
	}
	want("", 0, true)
	want("Ana", 1, false)
	want("Ana", 1, false)
	want("Cleo", 0, false)
	if got, err := h.showHousehold(t.Context(), struct{}{}); err != nil || got.Approvals != 1 || len(got.Persons) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	want("Cleo", 0, true) // is nobody here any more
}
