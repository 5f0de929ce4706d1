package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/p2p/ask"
)

// A steward or an observer that has a witness's key (keys/witness.key) cosigns the checkpoints of the dockets whose charter names it.
// What it cosigned last of each is in witness/ID.json, on the disk before the cosignature leaves. An agency asks over
// [WitnessProtocol]: the question is docket.Add, the answer a status line as C2SP tlog-witness has it for HTTP, and a body:
//
//	200  a cosignature line
//	409  the size that the witness cosigned last, where the question starts from another
//	403  why: this is no witness of the charter, or of the docket
//	422  why: the checkpoint does not follow from the one cosigned last
//	500  the witness cannot do it now

// WitnessProtocol is the libp2p protocol id.
const WitnessProtocol = "/porchlight/witness/1"

// MakeWitness gives a steward's or an observer's folder a witness's key of that name, if it has none, and returns the public half for
// the charter's signers. The name is needed for a new key only; one that the folder has keeps its own.
func MakeWitness(dir, name string) (consent.VerifierKey, error) {
	state, err := OpenState(dir)
	if err != nil {
		return "", err
	}
	defer state.Close()
	if r := state.Role(); !mayWitness(r) {
		return "", fmt.Errorf("%s holds a node of role %s; a witness is a steward or an observer", dir, r)
	}
	path := state.Path("keys", "witness.key")
	k, err := ReadKey(path)
	switch {
	case err == nil && name != "" && name != k.Name():
		return "", WithHint(fmt.Errorf("the witness's key of %s is called %s, and a key keeps its name", dir, k.Name()), "leave --name out")
	case errors.Is(err, fs.ErrNotExist) && name == "":
		return "", WithHint(fmt.Errorf("%s has no witness's key yet, and a new one needs a name, which stands on every cosignature", dir), `give --name, as in --name "Elm Library"`)
	case errors.Is(err, fs.ErrNotExist):
		if k, err = consent.GenerateKey(rand.Reader, name); err != nil {
			return "", WithHint(err, "a name is made of plain ASCII letters, digits and signs without '+'")
		}
		err = state.Disk().WriteFile(path, []byte(k.Encode()+"\n"), 0o600)
	}
	return k.Verifier(), err
}

func mayWitness(r Role) bool { return r == Steward || r == Observe }

type witness struct {
	key consent.Key
	mu  sync.Mutex // one cosignature at a time
}

// readWitness reads the key of a steward or an observer that has one.
func (p *Peer) readWitness() error {
	if !mayWitness(p.State.Role()) {
		return nil
	}
	k, err := ReadKey(p.State.Path("keys", "witness.key"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		p.witness = &witness{key: k}
	}
	return err
}

// startWitness begins to answer, where this node has a key for it.
func (p *Peer) startWitness() error {
	if p.witness == nil {
		return nil
	}
	if err := p.State.Disk().MkdirAll(p.State.Path("witness"), 0o700); err != nil {
		return err
	}
	if err := p.State.Settle(p.State.Path("witness")); err != nil {
		return err
	}
	p.stopWitness = ask.Serve(p.host, WitnessProtocol, p.cosign)
	return nil
}

func say(status int, body string) []byte { return []byte(strconv.Itoa(status) + "\n" + body) }

// cosign answers one question. Only a question that no honest agency asks is an error.
func (p *Peer) cosign(_ string, question []byte) ([]byte, error) {
	q, err := docket.ParseAdd(question)
	if err != nil {
		return nil, err
	}
	d := p.docketOf(q.Checkpoint)
	if d == nil {
		return say(403, "the charter that this witness has admits no such docket\n"), nil
	}
	agency := d.Agency()
	witnesses, _ := d.Witnesses()
	if !isWitness(witnesses, p.witness.key.Verifier()) {
		return say(403, "the charter that this witness has does not name it\n"), nil
	}
	if d.Forked() {
		return say(403, "the agency signed two versions of its docket\n"), nil
	}
	// What this node itself follows is held against the checkpoint too.
	if err := p.accuse(d, d.CompareNote(q.Checkpoint)); err != nil {
		return say(422, err.Error()+"\n"), nil
	}
	p.witness.mu.Lock()
	defer p.witness.mu.Unlock()
	var last docket.Witness
	path := p.State.Path("witness", string(d.ID())+".json")
	if err := ReadJSON(path, &last); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Log.Error("what was cosigned last is not known, and nothing more is cosigned", "agency", agency.Name, "err", err)
		return say(500, "this witness cannot read what it cosigned last\n"), nil
	}
	next, err := last.Admit(q, agency)
	switch consent.ClassOf(err) {
	case "":
	case consent.Behind:
		return say(409, strconv.FormatInt(last.Size, 10)+"\n"), nil
	case consent.Fork:
		if m, merr := docket.Contradicting(agency, []byte(last.Note), q.Checkpoint); merr == nil {
			d.mu.Lock()
			err = d.suspend(m)
			d.mu.Unlock()
			p.accuse(d, err)
		}
		fallthrough
	default:
		p.Log.Warn("checkpoint not cosigned", "agency", agency.Name, "err", err)
		return say(422, err.Error()+"\n"), nil
	}
	if next != last {
		if err := WriteJSON(p.State.Disk(), path, next); err != nil {
			p.Log.Error("nothing is cosigned: the disk does not take what would be", "err", err)
			return say(500, "this witness has no room\n"), nil
		}
	}
	line, err := docket.Cosign(q.Checkpoint, p.witness.key, p.Now())
	return say(200, string(line)), err
}

// A WitnessStatus is a node's own key as a witness.
type WitnessStatus struct {
	Key   consent.VerifierKey `json:"key"`
	Named bool                `json:"named"` // the charter names it
}

// witnessStatus is nil where this node has no key for it. The caller holds p.mu.
func (p *Peer) witnessStatus() *WitnessStatus {
	if p.witness == nil {
		return nil
	}
	s := &WitnessStatus{Key: p.witness.key.Verifier()}
	if c := p.charter(); c != nil {
		s.Named = isWitness(c.Witnesses, s.Key)
	}
	return s
}

func isWitness(all []charter.Witness, k consent.VerifierKey) bool {
	for _, w := range all {
		if w.Key == k {
			return true
		}
	}
	return false
}

// docketOf is the docket that a checkpoint names in its first line.
func (p *Peer) docketOf(checkpoint []byte) *Docket {
	origin, _, _ := bytes.Cut(checkpoint, []byte("\n"))
	id, ok := strings.CutPrefix(string(origin), docket.Origin(""))
	if !ok {
		return nil
	}
	return p.Docket(consent.AgencyID(id))
}

// gatherMore is how long the other witnesses are waited for once enough have cosigned: one that keeps silent holds up no request.
const gatherMore = time.Second

// Gather asks all connected witnesses to cosign the newest checkpoint of this node's own docket, and keeps it with what they gave. It
// says how many of them have cosigned it by then, which time they say has come (zero where too few do), and what kept the others from it.
func (p *Peer) Gather(ctx context.Context, d *Docket) (by int, reached time.Time, errs error) {
	checkpoint := d.Waiting()
	_, quorum := d.Witnesses()
	if checkpoint == nil || p.host == nil {
		return quorum, reached, nil
	}
	c, errs := p.gather(ctx, d, checkpoint)
	if len(c.By) < quorum {
		return len(c.By), reached, errs
	}
	return len(c.By), c.Reached(quorum), errors.Join(errs, d.Cosigned(c.Note))
}

// WitnessedTime asks the witnesses to cosign once more what is shown of this node's own docket, for the time: the latest of which enough
// of them say that it has come. Zero where too few do.
func (p *Peer) WitnessedTime(ctx context.Context, d *Docket) (time.Time, error) {
	_, quorum := d.Witnesses()
	checkpoint := d.newest()
	if checkpoint == nil || p.host == nil || quorum == 0 {
		return time.Time{}, nil
	}
	c, errs := p.gather(ctx, d, checkpoint)
	return c.Reached(quorum), errs
}

// gather asks all connected witnesses at once.
func (p *Peer) gather(ctx context.Context, d *Docket, checkpoint []byte) (got docket.Cosigned, errs error) {
	agency := d.Agency()
	witnesses, quorum := d.Witnesses()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var g sync.WaitGroup
	got.Note = bytes.Clone(checkpoint)
	for _, id := range ask.Speaks(p.host, WitnessProtocol) {
		g.Go(func() {
			line, err := p.askWitness(ctx, d, id, checkpoint)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = errors.Join(errs, err)
				return
			}
			// A witness that the charter does not name, or one that answers twice, adds nothing.
			if c, err := docket.OpenCosigned(append(bytes.Clone(got.Note), line...), agency, witnesses); err != nil {
				errs = errors.Join(errs, fmt.Errorf("%s: %w", id, err))
			} else {
				if got = c; len(c.By) == quorum {
					time.AfterFunc(gatherMore, cancel)
				}
			}
		})
	}
	g.Wait()
	return got, errs
}

// askWitness asks once, and once more from where the witness is.
func (p *Peer) askWitness(ctx context.Context, d *Docket, id string, checkpoint []byte) ([]byte, error) {
	d.mu.Lock()
	old := d.cosignedBy[id]
	d.mu.Unlock()
	for range 2 {
		q, err := d.Ask(old, checkpoint)
		if err != nil {
			return nil, err
		}
		answer, err := ask.Question(ctx, p.host, id, WitnessProtocol, q.Encode())
		if err != nil {
			return nil, err
		}
		status, body, _ := strings.Cut(string(answer), "\n")
		switch status {
		case "200":
			cp, err := docket.ParseCheckpoint(checkpoint, d.Agency())
			d.mu.Lock()
			d.cosignedBy[id] = cp.Size
			d.mu.Unlock()
			return []byte(body), err
		case "409":
			if old, err = strconv.ParseInt(strings.TrimSpace(body), 10, 64); err != nil || old < 0 {
				return nil, fmt.Errorf("witness %s says that it cosigned %.20q entries", id, body)
			}
		default:
			return nil, fmt.Errorf("witness %s: %.200s", id, strings.TrimSpace(body))
		}
	}
	return nil, fmt.Errorf("witness %s does not know what it cosigned last", id)
}
