package deliver

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// What a home says comes after what it delivers, in its order, and each word is answered. A word that is refused ends the session with the
// reason, as a grant does.
func TestWords(t *testing.T) {
	f := newFilm(t, 3<<20)
	v := newVault(f)
	cfg := sendConfig(requester(t, v, Limits{}), "tcp")
	var heard []string
	hooks := trusting()
	hooks.Answered = func(i int, answer []byte) error {
		heard = append(heard, fmt.Sprint(i, " ", string(answer)))
		return nil
	}
	offer := Offer{Grant: []byte("g"), Releases: []Release{f.release()}, Words: [][]byte{[]byte("one"), []byte("two")}}
	if err := Send(t.Context(), cfg, offer, hooks); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.words, []string{"one", "two"}) || !slices.Equal(heard, []string{"0 heard one", "1 heard two"}) || len(v.keys) != 1 {
		t.Errorf("said %q, heard %q, %d keys", v.words, heard, len(v.keys))
	}
	v.refuse = map[string]error{"word": errors.New("it is too late for that")}
	err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Words: [][]byte{[]byte("three")}}, hooks)
	if class(err) != "it is too late for that" {
		t.Errorf("a word that is refused: %v", err)
	}
	if err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Words: make([][]byte, MaxWords+1)}, hooks); err == nil {
		t.Error("more words than a session has")
	}
	if err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Words: [][]byte{[]byte("four")}}, trusting()); err == nil {
		t.Error("words without anybody to hear the answers")
	}
	// Whoever sends more than that is cut off.
	l := raw(t, requester(t, newVault(f), Limits{}))
	if err := l.send(kindGrant, []byte("g")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.expect(kindAcceptance, l.timing.Answer); err != nil {
		t.Fatal(err)
	}
	for i := range MaxWords + 1 {
		if err := l.send(kindWord, []byte("again")); err != nil {
			t.Fatal(err)
		}
		if _, err := l.expect(kindAnswer, l.timing.Answer); (err != nil) != (i == MaxWords) || i == MaxWords && class(err) != ClassProtocol {
			t.Fatalf("word %d: %v", i, err)
		}
	}
}
