package consent

import (
	_ "embed"
	"strings"
)

// wordList is the PGP word list of Patrick Juola and Philip Zimmermann (1995; in the public domain as
// a plain table, see https://en.wikipedia.org/wiki/PGP_word_list): for each byte value a two-syllable
// word for even places and a three-syllable word for odd ones, chosen to sound unlike each other.
//
//go:embed words.txt
var wordList string

// FingerprintWords is how many words a fingerprint has.
const FingerprintWords = 12

// Words renders the first twelve bytes of a hash as twelve words for two people to compare by voice.
//
// Twelve words are 96 bits. Somebody who wants another document with the same words has to try about
// 2^96 of them, which nobody can; eight words, 64 bits, would be within reach of rented computers. Two
// documents made together by one author can share their words after about 2^48 tries, so the words tie a
// document to what its author showed and do not stop an author from making two.
//
// Even and odd places use different words, so that a word left out, repeated or swapped with its
// neighbour is noticed by [ParseFingerprint].
func Words(hash [32]byte) string {
	table := strings.Fields(wordList)
	words := make([]string, FingerprintWords)
	for i := range words {
		words[i] = table[2*int(hash[i])+i%2]
	}
	return strings.Join(words, " ")
}

// ParseFingerprint reads words that a person typed: any case, any spacing. It returns them as [Words]
// writes them, or an error that names the first word that is not in its place.
func ParseFingerprint(s string) (Fingerprint, error) {
	if len(s) > 512 {
		return "", Refuse(Oversize, "", "a fingerprint of %d bytes; it has %d words", len(s), FingerprintWords)
	}
	words := strings.Fields(strings.ToLower(s))
	if len(words) != FingerprintWords {
		return "", Refuse(BadValue, "", "a fingerprint has %d words, this one has %d", FingerprintWords, len(words))
	}
	table := strings.Fields(wordList)
next:
	for i, w := range words {
		for j := i % 2; j < len(table); j += 2 {
			if table[j] == w {
				continue next
			}
		}
		return "", Refuse(BadValue, "", "word %d, %.40q, does not belong there; was one left out or misheard?", i+1, w)
	}
	return Fingerprint(strings.Join(words, " ")), nil
}
