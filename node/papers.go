package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// Papers are public documents about a docket that are no entries of it: a proof of its agency's misconduct, objections to its requests, and
// breach records. They spread on the topic, and by catch-up as logs without an order, each of which is fetched whole where its hash differs.

// The names under which papers are compared.
const (
	misconductLog = "misconduct"
	objectionsLog = "objections"
	breachesLog   = "breaches"
)

// isPapers says whether a log is one of papers.
func isPapers(log string) bool {
	return log == misconductLog || log == objectionsLog || log == breachesLog
}

// papersLog names the log that a charter or a paper belongs to.
func papersLog(msg []byte) string {
	switch {
	case isCharter(msg):
		return charterLog
	case docket.IsMisconduct(msg):
		return misconductLog
	case isBreach(msg):
		return breachesLog
	}
	return objectionsLog
}

// maxObjections bounds the objections to the requests of one docket: what is over is not kept.
const maxObjections = 2000

// isPaper tells papers from the other messages on the topic by their first line.
func isPaper(msg []byte) bool {
	return docket.IsMisconduct(msg) || isBreach(msg) || bytes.HasPrefix(msg, []byte("porchlight/"+request.ObjectionKind+"/"))
}

func isBreach(msg []byte) bool {
	return bytes.HasPrefix(msg, []byte("porchlight/"+grant.BreachKind+"/"))
}

// AdmitPaper verifies a paper and keeps it.
func (p *Peer) AdmitPaper(msg []byte) error {
	if docket.IsMisconduct(msg) {
		return p.admitMisconduct(msg)
	}
	if isBreach(msg) {
		return p.admitBreach(msg)
	}
	o, err := request.OpenObjection(msg)
	if err != nil {
		return err
	}
	c, d := p.Charter(), p.Docket(o.Agency)
	if c == nil || d == nil {
		return fmt.Errorf("%w: docket %s: %w", errHere, o.Agency, errNotAdmitted)
	}
	if _, err := o.CheckAuthor(c); err != nil {
		return fmt.Errorf("%w: %w", errHere, err)
	}
	if o.Created.After(p.Now().Add(request.ClockSkew)) {
		return consent.Refuse(consent.NotYetValid, "created", "the objection is dated %s, in the future", o.Created)
	}
	return d.object(o, msg)
}

func (p *Peer) admitMisconduct(msg []byte) error {
	m, err := docket.ParseMisconduct(msg)
	if err != nil {
		return err
	}
	d := p.Docket(m.Agency)
	if d == nil {
		return fmt.Errorf("%w: docket %s: %w", errHere, m.Agency, errNotAdmitted)
	}
	if d.Forked() {
		return errKnown
	}
	d.mu.Lock()
	err = m.Verify(d.agency)
	if err == nil {
		d.proof, d.accused = bytes.Clone(msg), true
		err = d.keepProof()
	}
	d.mu.Unlock()
	if err == nil {
		p.Log.Warn("agency suspended: it signed two versions of its docket", "agency", d.Agency().Name)
		p.arrived()
	}
	return err
}

// accuse spreads the proof that a docket has come to, if it has. What this node was doing when it found out fails with err. A home leaves
// the spreading to the stewards that compare dockets with it: nothing enters the topic from a home.
func (p *Peer) accuse(d *Docket, err error) error {
	if !errors.Is(err, errForked) {
		return err
	}
	d.mu.Lock()
	proof := d.proof
	fresh := !d.accused
	d.accused = true
	d.mu.Unlock()
	if fresh && proof != nil {
		p.Log.Warn("agency suspended: it signed two versions of its docket", "agency", d.Agency().Name)
		p.arrived()
		if p.topic != nil && p.State.Role() != Home {
			// Not from here: a check of the topic may be what found out.
			p.soon(func(ctx context.Context) {
				if err := p.Publish(ctx, proof); err != nil {
					p.Log.Debug("proof of misconduct not published", "err", err)
				}
			})
		}
	}
	return err
}

// object keeps an objection: one of an author to a request.
func (d *Docket) object(o request.Objection, msg []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
	}
	if _, state := d.log.Request(o.Request); state == "" {
		return fmt.Errorf("%w: %w", errHere, consent.Refuse(consent.UnknownRequest, "request", "the docket holds no request %.16s…", string(o.Request)))
	}
	have := []string{}
	for _, notes := range d.objections {
		have = append(have, notes...)
	}
	for _, note := range d.objections[o.Request] {
		if h, err := request.OpenObjection([]byte(note)); err == nil && h.By.Same(o.By) {
			return errKnown
		}
	}
	if len(have) >= maxObjections {
		return fmt.Errorf("%w: %d objections to the requests of %s are kept already", errHere, len(have), d.agency.Name)
	}
	if err := d.keepPaper(objectionsLog, have, string(msg)); err != nil {
		return fmt.Errorf("%w: %w", p2psync.ErrOwn, err)
	}
	d.objections[o.Request] = append(d.objections[o.Request], string(msg))
	return nil
}

// keepPaper puts a paper on the disk beside those of its log that are here. After a write that failed nobody knows what the file's end is, so the
// next one is of all of them. The caller holds d.mu.
func (d *Docket) keepPaper(log string, have []string, note string) error {
	if d.torn[log] {
		var text []byte
		for _, n := range append(have, note) {
			text = durable.AppendRecord(text, []byte(n))
		}
		if err := d.disk.WriteFile(d.path(log), text, 0o600); err != nil {
			return err
		}
		delete(d.torn, log)
		return nil
	}
	f, err := d.disk.OpenAppend(d.path(log), 0o600)
	if err == nil {
		err = errors.Join(f.Append(durable.AppendRecord(nil, []byte(note))), f.Close())
	}
	if err != nil {
		if d.torn == nil {
			d.torn = map[string]bool{}
		}
		d.torn[log] = true
	}
	return err
}

// readPapers reads what is kept beside the docket. The caller holds d.mu or is alone.
func (d *Docket) readPapers() error {
	proof, err := os.ReadFile(d.path("misconduct"))
	switch {
	case err == nil:
		d.proof, d.unsaved = proof, false
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := d.readBreaches(); err != nil {
		return err
	}
	d.objections = map[consent.RequestID][]string{}
	_, err = d.disk.ReadRecords(d.path("objections"), func(b []byte) error {
		o, err := request.OpenObjection(b)
		if err != nil {
			return err
		}
		d.objections[o.Request] = append(d.objections[o.Request], string(b))
		return nil
	})
	var damaged *durable.DamagedError
	if errors.As(err, &damaged) {
		// Others have them too: they are fetched again.
		d.objections = map[consent.RequestID][]string{}
		return d.disk.Remove(d.path("objections"))
	}
	return err
}

// ObjectionNote is the arguments of "object": a signed objection.
type ObjectionNote struct {
	Note string `json:"note"`
}

// Objected is the answer.
type Objected struct {
	Request consent.RequestID `json:"request"`
	By      string            `json:"by"` // the author's name in the charter
	Running bool              `json:"running"`
	Peers   int               `json:"peers"`           // connected peers it went to
	Leaves  time.Time         `json:"leaves,omitzero"` // from a home: when it goes to a steward, which publishes it
}

// publishObjection keeps an objection and spreads it, now or once this node runs. One that is here already is spread again. A home has a
// command of its own, since who listens would learn that its household objected.
func (p *Peer) publishObjection(ctx context.Context, a ObjectionNote) (Objected, error) {
	msg := []byte(a.Note)
	o, err := request.OpenObjection(msg)
	if err != nil {
		return Objected{}, err
	}
	if err := p.AdmitPaper(msg); err != nil && !errors.Is(err, errKnown) {
		return Objected{}, err
	}
	out := Objected{Request: o.Request, Running: p.topic != nil}
	for _, have := range p.Objections(Request{ID: o.Request, Agency: o.Agency}) {
		if have.Note == a.Note {
			out.By = have.By
		}
	}
	if out.By == "" {
		return Objected{}, fmt.Errorf("%s has objected to request %.12s… already; one objection of each stands", o.By.Name(), string(o.Request))
	}
	if p.topic == nil {
		return out, nil
	}
	out.Peers = len(p.host.Peers())
	return out, p.Publish(ctx, msg)
}

// An Objection is one as this node shows it.
type Objection struct {
	By      string       `json:"by"` // the author's name in the charter
	Reason  string       `json:"reason"`
	Created consent.Time `json:"created"`
	Note    string       `json:"note"`
}

// Objections are those to a request, oldest first.
func (p *Peer) Objections(r Request) []Objection {
	d, c := p.Docket(r.Agency), p.Charter()
	if d == nil || c == nil {
		return nil
	}
	d.mu.Lock()
	notes := slices.Clone(d.objections[r.ID])
	d.mu.Unlock()
	out := []Objection{}
	for _, n := range notes {
		o, err := request.OpenObjection([]byte(n))
		if err != nil {
			continue
		}
		name, err := o.CheckAuthor(c)
		if err != nil {
			name = o.By.Name() + " (was named by an earlier charter)"
		}
		out = append(out, Objection{name, o.Reason, o.Created, n})
	}
	slices.SortFunc(out, func(a, b Objection) int {
		return cmp.Or(a.Created.Compare(b.Created.Time), strings.Compare(a.Note, b.Note))
	})
	return out
}

// A paper is a document and what it shows. Of misconduct one proof is as good as another, and of a breach one record: two peers that have two
// need not exchange them.
type paper struct {
	text  []byte
	shows string
}

// papers are all of a log that this node keeps, in an order that is the same for everybody who has the same.
func (p *Peer) papers(log string) (all [][]byte) {
	for _, m := range p.papersOf(log) {
		all = append(all, m.text)
	}
	slices.SortFunc(all, bytes.Compare)
	return all
}

func (p *Peer) papersOf(log string) (all []paper) {
	p.mu.Lock()
	dockets := slices.Collect(maps.Values(p.dockets))
	p.mu.Unlock()
	for _, d := range dockets {
		d.mu.Lock()
		switch {
		case log == objectionsLog:
			for _, notes := range d.objections {
				for _, n := range notes {
					all = append(all, paper{[]byte(n), n})
				}
			}
		case log == breachesLog:
			for _, k := range d.standing(p.Now()) {
				all = append(all, paper{[]byte(k.note), k.id()})
			}
		case log == misconductLog && d.proof != nil:
			all = append(all, paper{d.proof, string(d.agency.ID())})
		}
		d.mu.Unlock()
	}
	return all
}

func (p *Peer) papersHead(log string) p2psync.Head {
	all := p.papersOf(log)
	var sums []string
	for _, m := range all {
		sums = append(sums, consent.HashText([]byte(m.shows)))
	}
	slices.Sort(sums)
	return p2psync.Head{Log: log, Size: int64(len(all)), Note: []byte(consent.HashText([]byte(strings.Join(sums, ""))))}
}
