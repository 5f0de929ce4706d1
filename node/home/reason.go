package home

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/porchlight-mesh/porchlight/footage/clip"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/p2p/deliver"
)

// A Reason names why an approved answer stands still. The set is closed and its words do not change,
// so that programs can go by them. The zero Reason says that nothing stops the answer.
type Reason string

// With these the answer stays open: the node tries again by itself, more and more seldom, at
// the least every 23 minutes, until the request expires, and what the requester has verified is not sent again.
const (
	RecordingGone    Reason = "recording-gone"
	RecordingChanged Reason = "recording-changed"
	DiskFull         Reason = "disk-full"
	Unreachable      Reason = "requester-unreachable"
	ConnectionLost   Reason = "connection-lost"
	NoPath           Reason = "no-path"
	PathsUsed        Reason = "paths-used" // it waits for its owner
	RequesterBusy    Reason = "requester-busy"
	RequesterFull    Reason = "requester-full"
	RequesterLimit   Reason = "requester-limit"
	RequesterTrouble Reason = "requester-trouble"
	RequesterDecides Reason = "requester-decides"
	RequesterRefuses Reason = "requester-refuses"
	Trouble          Reason = "trouble" // anything else; the answer's Problem says what
)

// With these it is over; only a new decision of the owner sends anything.
const (
	RequestOver   Reason = "request-over"
	NotAllowed    Reason = "not-allowed"
	CameraChanged Reason = "camera-changed"
	CopyDamaged   Reason = "copy-damaged"
	RecordDamaged Reason = "record-damaged"
	Restored      Reason = "restored"
)

// Reasons lists all of them.
func Reasons() []Reason {
	return []Reason{RecordingGone, RecordingChanged, DiskFull, Unreachable, ConnectionLost, NoPath, PathsUsed, RequesterBusy, RequesterDecides, RequesterFull, RequesterLimit,
		RequesterTrouble, RequesterRefuses, Trouble, RequestOver, NotAllowed, CameraChanged, CopyDamaged, RecordDamaged, Restored}
}

// Over says whether the reason ends an answer.
func (r Reason) Over() bool {
	switch r {
	case RequestOver, NotAllowed, CameraChanged, CopyDamaged, RecordDamaged, Restored:
		return true
	}
	return false
}

// Words says the reason to a person.
func (r Reason) Words() string {
	switch r {
	case "":
		return ""
	case RecordingGone:
		return "a recording that the clip is made of is not there"
	case RecordingChanged:
		return "a recording was written to while the clip was made of it"
	case DiskFull:
		return "the disk of this home's node is full"
	case Unreachable:
		return "the requester cannot be reached"
	case ConnectionLost:
		return "the connection to the requester broke"
	case NoPath:
		return "the stewards that hide this home's address do not carry it on"
	case PathsUsed:
		return "it was cut on every path over stewards that it may take"
	case RequesterBusy:
		return "the requester takes in as many others as it can"
	case RequesterDecides:
		return "an officer of the requester has to decide about the terms"
	case RequesterFull:
		return "the requester has no room, on its disk or in the coming entries of its docket"
	case RequesterLimit:
		return "the clip is larger than the requester takes"
	case RequesterTrouble:
		return "the requester's node has trouble of its own"
	case RequesterRefuses:
		return "the requester's node refused the answer"
	case RequestOver:
		return "the request ended before the answer was delivered"
	case NotAllowed:
		return "the request may not ask this home any more"
	case CameraChanged:
		return "the camera was changed after the decision"
	case CopyDamaged:
		return "the prepared clip was damaged on this home's disk"
	case RecordDamaged:
		return "the answer's record and its grant do not fit together"
	case Restored:
		return "the node is from a backup, which cannot know what became of the answer"
	}
	return "something failed"
}

// WayOut says what mends it.
func (r Reason) WayOut() string {
	switch r {
	case "":
		return ""
	case RecordingGone:
		return "bring the file or its disk back; where other recordings cover the time, the clip is made of those and its gap is stated"
	case RecordingChanged:
		return "nothing to do: the clip is made anew from what is there once it is quiet; nothing has left yet"
	case DiskFull:
		return "make room; it goes on by itself"
	case Unreachable:
		return "nothing to do: it is tried until the request expires; where the agency moved for good it has to ask anew"
	case ConnectionLost, RequesterBusy:
		return "nothing to do: it goes on where it stopped"
	case NoPath:
		return "nothing to do: it is tried again; `porchlight home status` says which stewards are connected, and `porchlight home retry` takes others"
	case PathsUsed:
		return "somebody may want to see over whom it goes next: `porchlight home retry` tries stewards anew, with --address-shown it goes straight, and `porchlight home withdraw` stops it"
	case RequesterDecides:
		return "nothing to do: it is tried until the request expires; they may be unable to work with terms that are tighter than they asked for"
	case RequesterFull:
		return "nothing to do here: it goes on where it stopped once there is some, and is tried until the request expires; the request names a contact"
	case RequesterTrouble:
		return "nothing to do here: it goes on where it stopped once the requester has mended it; the request names a contact"
	case RequesterLimit:
		return "withdraw it and approve a shorter span, or ask the contact to raise the limit"
	case RequesterRefuses:
		return "it is tried until the request expires; the request names a contact to ask"
	case RequestOver:
		return "nothing more is sent; the agency would have to ask anew"
	case NotAllowed:
		return "nothing is sent"
	case CameraChanged, CopyDamaged, RecordDamaged:
		return "look at the clip and approve again; what was sent cannot be opened"
	case Restored:
		return "nothing of it is sent; approve again if you still agree"
	}
	return "it is tried again until the request expires; `porchlight home withdraw` stops it"
}

// inWords says to an owner why something did not reach the requester: one sentence, without what only the log is for.
func inWords(err error) string {
	var said *deliver.Error
	switch r := reasonOf(err); {
	case r == RequesterRefuses && errors.As(err, &said):
		return "the requester's node refused it: " + said.Class
	case r != Trouble:
		return r.Words()
	case errors.As(err, &said) && said.Err != nil:
		err = said.Err
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

// A halt is an error whose reason is known where it arises.
type halt struct {
	reason Reason
	err    error
}

func (e *halt) Error() string { return e.err.Error() }
func (e *halt) Unwrap() error { return e.err }

// because gives an error its reason; nil stays nil.
func because(r Reason, err error) error {
	if err == nil {
		return nil
	}
	return &halt{r, err}
}

// lost gives CopyDamaged to the error of reading a prepared file that is not there.
func lost(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return because(CopyDamaged, err)
	}
	return err
}

// reasonOf names what an attempt failed of. A requester's word may count for a pause and never ends an
// answer.
func reasonOf(err error) Reason {
	var known *halt
	var refused *deliver.Error
	switch {
	case errors.As(err, &known):
		return known.reason
	case durable.NoRoom(err):
		return DiskFull
	case errors.Is(err, clip.ErrGone), errors.Is(err, clip.ErrNothing):
		return RecordingGone
	case errors.Is(err, clip.ErrChanged):
		return RecordingChanged
	case errors.Is(err, deliver.ErrPath):
		return NoPath
	case errors.Is(err, deliver.ErrUnreachable):
		return Unreachable
	case !errors.As(err, &refused):
		return Trouble
	}
	switch {
	case refused.Class == deliver.ClassSlow:
		return ConnectionLost
	case !refused.Remote:
		return Trouble
	}
	switch refused.Class {
	case deliver.ClassBusy:
		return RequesterBusy
	case deliver.ClassNoRoom:
		return RequesterFull
	case deliver.ClassOfficer:
		return RequesterDecides
	case deliver.ClassTooLarge:
		return RequesterLimit
	case deliver.ClassInternal:
		return RequesterTrouble
	}
	return RequesterRefuses
}
