// Package consent is the envelope in which every Porchlight document travels, and the ids, keys,
// times and fingerprints that the documents share. The folders below it hold the documents
// themselves: who may ask (charter, docket), what is asked (request, rules) and what was answered
// (grant, custody). Nothing here touches a disk, a network or a clock; times are handed in.
//
// # A signed document
//
// A document is a C2SP signed note (https://c2sp.org/signed-note, as implemented by
// golang.org/x/mod/sumdb/note) with Ed25519 signatures (algorithm byte 0x01). Its text has two lines,
// each ended by a newline:
//
//	porchlight/<kind>/v1
//	<one JSON object on one line>
//
// then, as in every signed note, an empty line and one signature line for each signer:
//
//	— <key name> <base64 of the 4-byte key hash and the 64-byte signature>
//
// A kind is 1 to 32 characters of a-z, 0-9 and '-', starting with a letter. The whole note is at most
// [MaxNote] bytes, and its JSON nests at most [MaxDepth] deep; both are checked before anything is decoded.
//
// # One value, one text
//
// A value of a document has exactly one text, so that a hash names a document and a changed copy of
// one is not a second document. A decoder refuses what does not come back byte for byte when it is
// encoded again. The encoding is that of Go's encoding/json with HTML escaping off, which in other
// words is:
//
//   - no white space outside strings; members in the order the format lists them; every member
//     present, save those the format calls optional, which are left out when they have their zero value;
//   - no null anywhere: an empty list is [] or, when optional, absent;
//   - strings escape only ", \, the control characters below 0x20 (\b \f \n \r \t, else \u00xx in
//     lower case) and U+2028 and U+2029 (\u2028, \u2029); everything else is literal UTF-8;
//   - numbers are integers without exponent, or the shortest decimal that gives back the same IEEE 754
//     double, written as ECMAScript writes it (as RFC 8785, section 3.2.2.3);
//   - times are UTC, RFC 3339, whole seconds, "2026-11-22T19:04:05Z" (see [Time]).
//
// # Signatures
//
// The document's own body says whose signatures it needs. A note carries exactly those, in that
// order, in canonical base64 and nothing else: an unknown line, which the signed-note format lets a
// reader pass over, is refused here, because the id of a message covers all its bytes and a copy with a
// line more would be a new message to every peer.
//
// # Refusals
//
// Every refusal is an [Error] with a [Class]. Classes cross the wire and stand in the test vectors;
// the list only grows.
package consent
