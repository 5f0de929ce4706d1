package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	p2phost "github.com/porchlight-mesh/porchlight/p2p/host"
)

// A steward's record is a libp2p envelope (RFC 0002 of the libp2p specifications), signed with the key of the peer that the
// record's key names, in the domain "porchlight-steward". Its payload is text, of lines that end in a newline: the first is
// the version, the second when it ends (RFC 3339, UTC, whole seconds), and each other one an address, with no peer id. A
// text has one spelling; another one, and bytes that the envelope does not need, refuse the whole.
const (
	stewardVersion = "porchlight/steward/v1"
	stewardFor     = 24 * time.Hour // what one record lasts
	maxAddrs       = 8
	maxSteward     = 2 << 10 // bytes of a record
	clockSkew      = 10 * time.Minute
)

type stewardRecord struct {
	ends  time.Time
	addrs []ma.Multiaddr
}

// Domain, Codec and the two below are what libp2p asks of a record.
func (*stewardRecord) Domain() string { return "porchlight-steward" }

// Codec names the payload's format.
func (*stewardRecord) Codec() []byte { return []byte("/porchlight/steward") }

// MarshalRecord writes the payload.
func (r *stewardRecord) MarshalRecord() ([]byte, error) {
	b := stewardVersion + "\n" + r.ends.UTC().Format(time.RFC3339) + "\n"
	for _, a := range r.addrs {
		b += a.String() + "\n"
	}
	return []byte(b), nil
}

// UnmarshalRecord reads the one spelling of a payload.
func (r *stewardRecord) UnmarshalRecord(b []byte) (err error) {
	lines := strings.Split(string(b), "\n")
	if len(b) > maxSteward || len(lines) < 3 || lines[0] != stewardVersion {
		return errors.New("not a steward's record of version 1")
	}
	addrs := lines[2 : len(lines)-1]
	if len(addrs) == 0 || len(addrs) > maxAddrs {
		return fmt.Errorf("a steward's record with %d addresses; it has 1 to %d", len(addrs), maxAddrs)
	}
	if r.ends, err = time.Parse(time.RFC3339, lines[1]); err != nil {
		return fmt.Errorf("end of a steward's record: %w", err)
	}
	r.addrs = nil
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err == nil {
			err = p2phost.CheckAnnounce(s)
		}
		if err != nil {
			return fmt.Errorf("address in a steward's record: %w", err)
		}
		r.addrs = append(r.addrs, a)
	}
	if again, err := r.MarshalRecord(); err != nil || !bytes.Equal(again, b) {
		return errors.New("not the one spelling of a steward's record")
	}
	return nil
}

// openSteward verifies a steward's record at a time.
func (d *Directory) openSteward(p peer.ID, value []byte) (*stewardRecord, error) {
	if len(value) > maxSteward {
		return nil, fmt.Errorf("a steward's record of %d bytes; the most is %d", len(value), maxSteward)
	}
	var r stewardRecord
	e, err := record.ConsumeTypedEnvelope(value, &r)
	if err != nil {
		return nil, fmt.Errorf("steward's record: %w", err)
	}
	if !p.MatchesPublicKey(e.PublicKey) {
		return nil, errors.New("steward's record: signed by another peer")
	}
	if again, err := e.Marshal(); err != nil || !bytes.Equal(again, value) {
		return nil, errors.New("steward's record: not the one spelling of its envelope")
	}
	if len(d.tellable(r.addrs)) < len(r.addrs) {
		return nil, errors.New("steward's record: it names a private address")
	}
	if now := d.now(); !now.Before(r.ends) || r.ends.After(now.Add(stewardFor+clockSkew)) {
		return nil, fmt.Errorf("steward's record: it ends at %s, which is past or over a day off", r.ends.UTC().Format(time.RFC3339))
	}
	return &r, nil
}

// stewardRecords verifies values of /steward/PEER.
type stewardRecords struct{ d *Directory }

func (s stewardRecords) rank(key string, value []byte) (int64, error) {
	p, err := id(key)
	if err != nil {
		return 0, err
	}
	r, err := s.d.openSteward(p, value)
	if err != nil {
		return 0, err
	}
	return r.ends.Unix(), nil
}

func (s stewardRecords) Validate(key string, value []byte) error {
	_, err := s.rank(key, value)
	return err
}

func (s stewardRecords) Select(key string, values [][]byte) (int, error) {
	return highest(key, values, s.rank)
}

// PutSelf stores where this steward is, for a day, and is verified as Put is. Of the addresses those that others may know
// count, at most 8; without any nothing is stored.
func (d *Directory) PutSelf(ctx context.Context, addrs []string) error {
	if d.role != p2phost.Steward {
		return errors.New("directory: only a steward says where it is")
	}
	r := stewardRecord{ends: d.now().Add(stewardFor).Truncate(time.Second)}
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return fmt.Errorf("directory: address %q: %w", s, err)
		}
		if rest, p := peer.SplitAddr(a); p == d.h.ID() {
			a = rest
		}
		if p2phost.CheckAnnounce(a.String()) == nil {
			r.addrs = append(r.addrs, d.tellable([]ma.Multiaddr{a})...)
		}
	}
	if len(r.addrs) == 0 {
		return nil
	}
	r.addrs = r.addrs[:min(len(r.addrs), maxAddrs)]
	e, err := record.Seal(&r, d.h.Peerstore().PrivKey(d.h.ID()))
	if err != nil {
		return fmt.Errorf("directory: sign this steward's record: %w", err)
	}
	value, err := e.Marshal()
	if err != nil {
		return fmt.Errorf("directory: write this steward's record: %w", err)
	}
	return d.put(ctx, "/"+stewards+"/"+d.h.ID().String(), value)
}

// Steward looks up where a steward says that it is: addresses that end in /p2p/ID. ErrAlone and ErrNone are as with Newest.
func (d *Directory) Steward(ctx context.Context, peerID string) ([]string, error) {
	p, err := peer.Decode(peerID)
	if err != nil {
		return nil, fmt.Errorf("directory: peer id %q: %w", peerID, err)
	}
	value, err := d.newest(ctx, "/"+stewards+"/"+p.String())
	if err != nil {
		return nil, err
	}
	r, err := d.openSteward(p, value)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	var out []string
	for _, a := range r.addrs {
		out = append(out, a.String()+"/p2p/"+p.String())
	}
	return out, nil
}
