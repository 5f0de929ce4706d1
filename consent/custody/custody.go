// Package custody is the hash-chained record of every step a clip took on one side, the home's or the
// requester's.
//
// # Format
//
// A log is lines of JSON, each ended by a newline, at most [MaxLine] bytes with it:
//
//	{"seq":1,"prev":"","at":"2026-11-22T19:04:05Z","actor":"owner","step":"approved","subject":"<id>","detail":"…","hash":"<hex>"}
//
// The JSON is in the one spelling of package consent. seq counts from 1. hash is the lower-case hex SHA-256 of
// the same JSON without its member "hash", which ends in ,"hash":"…"}; prev is the hash of the line
// before, "" in the first. Empty subject and detail are left out.
//
// The chain shows that no line was changed, dropped, added or moved before a hash that somebody holds.
// It cannot show that lines at the end were cut off: for that the newest hash has to be kept elsewhere, as
// a grant or a bag does.
package custody

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/porchlight-mesh/porchlight/consent"
)

// MaxLine is the most bytes of a line, its newline included.
const MaxLine = 4096

// Entry is one step. The zero Entry stands before the first.
type Entry struct {
	Seq     int64        `json:"seq"`
	Prev    string       `json:"prev"`
	At      consent.Time `json:"at"`
	Actor   string       `json:"actor"`             // who did it: "owner", "node", an officer's key name
	Step    string       `json:"step"`              // what was done: "approved", "sealed", "sent", "deleted"
	Subject string       `json:"subject,omitempty"` // to what: an id
	Detail  string       `json:"detail,omitempty"`
	Hash    string       `json:"hash,omitempty"`
}

// Next makes the entry after prev. It refuses texts that a line cannot hold: control characters, an
// empty actor or step, or more than fits.
func Next(prev Entry, at consent.Time, actor, step, subject, detail string) (Entry, error) {
	e := Entry{Seq: prev.Seq + 1, Prev: prev.Hash, At: at, Actor: actor, Step: step, Subject: subject, Detail: detail}
	if err := e.check(); err != nil {
		return Entry{}, err
	}
	var err error
	if e.Hash, err = e.sum(); err != nil {
		return Entry{}, err
	}
	_, err = e.Line()
	return e, err
}

// Line returns the entry's line with its newline.
func (e Entry) Line() ([]byte, error) {
	b, err := consent.EncodeStrict(e)
	if err != nil {
		return nil, err
	}
	if len(b)+1 > MaxLine {
		return nil, consent.Refuse(consent.Oversize, "", "a custody line of %d bytes; the most is %d", len(b)+1, MaxLine)
	}
	return append(b, '\n'), nil
}

func (e Entry) sum() (string, error) {
	e.Hash = ""
	b, err := consent.EncodeStrict(e)
	if err != nil {
		return "", err
	}
	return consent.HashText(b), nil
}

func (e Entry) check() error {
	for field, s := range map[string]string{"actor": e.Actor, "step": e.Step, "subject": e.Subject, "detail": e.Detail} {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || s == "" && (field == "actor" || field == "step") {
			return consent.Refuse(consent.BadValue, field, "%.60q is no text for a custody line", s)
		}
	}
	return nil
}

// Verify reads a whole log. It returns how many lines are good from the first on, and the last of them,
// also when err names the first bad line: a torn last line can be cut off there, and anything else is
// damage or tampering. Memory is bounded by one line.
func Verify(lines io.Reader) (n int, last Entry, err error) {
	r := bufio.NewReaderSize(lines, MaxLine)
	for {
		b, err := r.ReadSlice('\n')
		if err == io.EOF && len(b) == 0 {
			return n, last, nil
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			err = consent.Refuse(consent.Oversize, "", "longer than %d bytes", MaxLine)
		case err == io.EOF:
			err = consent.Refuse(consent.BrokenChain, "", "it has no end: the last write was torn")
		case err == nil:
			last, err = follow(last, b[:len(b)-1])
		}
		if err != nil {
			return n, last, consent.Refuse(classOf(err), "", "line %d of the custody log: %w", n+1, err)
		}
		n++
	}
}

// follow returns the entry of a line that follows last, and last itself with an error.
func follow(last Entry, line []byte) (Entry, error) {
	var e Entry
	if err := consent.DecodeStrict(line, &e, MaxLine); err != nil {
		return last, err
	}
	if err := e.check(); err != nil {
		return last, err
	}
	sum, err := e.sum()
	switch {
	case err != nil:
		return last, err
	case e.Hash != sum:
		return last, consent.Refuse(consent.BrokenChain, "hash", "the line was changed: its hash is %.16s…, it says %.16s…", sum, e.Hash)
	case e.Seq != last.Seq+1 || e.Prev != last.Hash:
		return last, consent.Refuse(consent.BrokenChain, "prev", "step %d does not follow step %d: lines were dropped, added or moved", e.Seq, last.Seq)
	}
	return e, nil
}

// classOf keeps the class of a refusal; a failing reader is none.
func classOf(err error) consent.Class {
	if c := consent.ClassOf(err); c != "" {
		return c
	}
	return consent.Malformed
}
