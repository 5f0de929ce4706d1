package consent

import (
	"errors"
	"fmt"
)

// A Class names a kind of refusal. Classes cross the wire and stand in the test vectors: the list is
// append-only and a class keeps its meaning.
type Class string

// Refusals of the envelope, in the order in which a decoder looks for them.
const (
	Oversize         Class = "oversize"          // longer than the format allows
	NotUTF8          Class = "not-utf8"          // bytes that are not UTF-8
	Malformed        Class = "malformed"         // not the shape of a note, or not JSON
	WrongKind        Class = "wrong-kind"        // another kind of document than was asked for
	WrongVersion     Class = "wrong-version"     // a format version this decoder does not know
	TooDeep          Class = "too-deep"          // JSON nested deeper than MaxDepth
	DuplicateField   Class = "duplicate-field"   // one object names a member twice
	NullValue        Class = "null"              // a null, which would hide a missing member
	TrailingData     Class = "trailing-data"     // something follows the JSON value
	UnknownField     Class = "unknown-field"     // a member the format does not have
	MissingField     Class = "missing-field"     // a member the format requires is absent
	BadValue         Class = "bad-value"         // a member has a value the format does not allow
	NotCanonical     Class = "not-canonical"     // the value is right, its text is not the one text
	BadKey           Class = "bad-key"           // not a usable Ed25519 verifier key
	MissingSignature Class = "missing-signature" // a signature the format requires is absent
	ExtraSignature   Class = "extra-signature"   // a signature line the format does not list
	SignatureOrder   Class = "signature-order"   // the right signatures in the wrong order
	BadSignature     Class = "bad-signature"     // a signature that does not verify
)

// Refusals by time.
const (
	Expired     Class = "expired"       // its time is over
	NotYetValid Class = "not-yet-valid" // its time has not come
)

// Refusals of places, windows and other limits of a request against its charter.
const (
	AreaInvalid         Class = "area-invalid"
	AreaTooLarge        Class = "area-too-large"
	AreaTooSmall        Class = "area-too-small"
	OutsideJurisdiction Class = "outside-jurisdiction"
	WindowTooLong       Class = "window-too-long"
	WindowTooShort      Class = "window-too-short"
	WindowInvalid       Class = "window-invalid"
	ExpiryTooLong       Class = "expiry-too-long"
	RetentionTooLong    Class = "retention-too-long"
	UnusedTooLong       Class = "unused-too-long"
	BadReply            Class = "bad-reply" // a reply address that may not stand in a request
	BadText             Class = "bad-text"  // plain-language text that the lint refuses
	SameSigner          Class = "same-signer"
	TooManyPosts        Class = "too-many-posts"
	DailyArea           Class = "daily-area"
	TermsWider          Class = "terms-wider" // terms wider than the ones they answer
	WrongSubject        Class = "wrong-subject"
)

// Refusals of charters.
const (
	BadThreshold  Class = "bad-threshold"  // a threshold that is not over half of the signers
	BelowQuorum   Class = "below-quorum"   // fewer signatures than the threshold
	WrongPrevious Class = "wrong-previous" // does not follow the version it was put after
	Frozen        Class = "frozen"         // two valid successors exist; neither has been healed
	UnknownAgency Class = "unknown-agency" // the charter does not admit this agency
	Unaccounted   Class = "unaccounted"    // an agency comes or goes in a way that the version before does not allow
	Suspended     Class = "suspended"      // the charter has suspended this agency
)

// Refusals of dockets.
const (
	UnknownOfficer    Class = "unknown-officer"    // a key that no entry enrolled
	RevokedOfficer    Class = "revoked-officer"    // a key that an earlier entry revoked
	ExpiredOfficer    Class = "expired-officer"    // a key whose enrolment is over
	WrongRole         Class = "wrong-role"         // an officer where a supervisor is needed, or the reverse
	DuplicateEntry    Class = "duplicate-entry"    // the same bytes, or the same act, twice in a docket
	UnknownRequest    Class = "unknown-request"    // names a request that the docket does not hold
	ClosedRequest     Class = "closed-request"     // names a request that was resolved or superseded
	BadProof          Class = "bad-proof"          // an inclusion or consistency proof that does not hold
	BadCheckpoint     Class = "bad-checkpoint"     // a checkpoint that does not fit the docket or its entries
	WrongOrigin       Class = "wrong-origin"       // a checkpoint of another docket
	Fork              Class = "fork"               // one size with two roots: provable misconduct
	Behind            Class = "behind"             // a comparison with a docket longer than ours: nothing proven
	OverQuota         Class = "over-quota"         // more entries or bytes in a day than the charter grants
	Unread            Class = "unread"             // an entry of which only the hash is known
	UnknownCommitment Class = "unknown-commitment" // names a commitment that the docket does not hold
	WrongState        Class = "wrong-state"        // a change that does not follow from what the docket says of a commitment, or not yet
	OffSchedule       Class = "off-schedule"       // a daily entry with other slots than the charter's, or changes that are not due
	BadDay            Class = "bad-day"            // a daily entry of another day than the one after the last
	UnknownHold       Class = "unknown-hold"       // renews a hold that the docket does not have, or that was renewed already
	Unwitnessed       Class = "unwitnessed"        // a checkpoint that fewer witnesses cosigned than the charter asks for
)

// Refusals of custody logs.
const (
	BrokenChain Class = "broken-chain" // a line that does not follow the line before it
)

// An Error is a refusal: of what class, on which field (empty when on the whole), and why.
type Error struct {
	Class Class
	Field string
	Err   error
}

func (e *Error) Error() string {
	s := string(e.Class)
	if e.Field != "" {
		s += " (" + e.Field + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Refuse makes an [*Error]; format and args are those of [fmt.Errorf].
func Refuse(class Class, field, format string, args ...any) error {
	return &Error{Class: class, Field: field, Err: fmt.Errorf(format, args...)}
}

// ClassOf returns the class of the outermost [*Error] in err's chain, and "" when err is nil or is no
// refusal.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return ""
}
