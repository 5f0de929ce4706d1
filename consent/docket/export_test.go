package docket

import (
	"io"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
)

// A Library remembers what it read, so that a test verifies the signatures of an entry once.
type Library map[string]reading

func (m Library) readAll(msgs [][]byte) []reading {
	out := make([]reading, len(msgs))
	for i, msg := range msgs {
		r, ok := m[string(msg)]
		if !ok {
			r = readAll([][]byte{msg})[0]
			m[string(msg)] = r
		}
		out[i] = r
	}
	return out
}

// Open is Open by way of the library.
func (m Library) Open(a charter.Agency, q charter.Quotas, store Store, size int64, plans ...charter.Plan) (*Log, error) {
	return open(a, q, store, size, m.readAll, plans...)
}

// Take takes in an entry, whatever it is.
func (l *Log) Take(msg []byte) (index int64, err error) { return l.take(msg) }

// TakeFor makes the library believe that an entry reads as another, sound one does.
func (m Library) TakeFor(msg, other []byte) {
	r := m.readAll([][]byte{other})[0]
	r.hash, _ = leafOf(msg)
	m[string(msg)] = r
}

// TakeDaily takes in a daily entry that nobody signed, so that a test of many days needs no signatures.
func (l *Log) TakeDaily(d Daily) error {
	if err := d.Check(); err != nil {
		return err
	}
	if err := l.follows.admit(&d); err != nil {
		return err
	}
	var today day
	today.clock = l.day.clock
	if err := today.take(d.Created, 0, l.quotas); err != nil {
		return err
	}
	l.day = today
	l.follows.apply(&d, DayOf(l.day.clock.Time))
	return nil
}

// NextDailyInOrder is NextDaily by a maker that takes the first dummies there are, which is wrong.
func (l *Log) NextDailyInOrder(load Load, created consent.Time, random io.Reader) (Daily, Load, error) {
	return l.nextDaily(load, created, random, func(_ io.Reader, pool []hash, k int) ([]hash, error) { return pool[:k], nil })
}
