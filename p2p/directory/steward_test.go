package directory

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	p2phost "github.com/porchlight-mesh/porchlight/p2p/host"
)

// payload signs whatever text it is given as a steward's record.
type payload struct {
	*stewardRecord
	text string
}

func (p payload) MarshalRecord() ([]byte, error) { return []byte(p.text), nil }

func seal(t testing.TB, key crypto.PrivKey, r record.Record) []byte {
	t.Helper()
	e, err := record.Seal(r, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func identity(t testing.TB) (crypto.PrivKey, peer.ID) {
	t.Helper()
	_, raw, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	p, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, p
}

// A steward's record is that steward's own, for a day, of public addresses, in one spelling.
func TestStewardRecords(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	d := &Directory{now: func() time.Time { return now }}
	key, p := identity(t)
	other, _ := identity(t)
	const good = stewardVersion + "\n2026-11-27T12:00:00Z\n/ip4/203.0.114.7/tcp/4001\n/ip6/2a00::1/udp/4001/quic-v1\n"
	r := stewardRecords{d}
	k := "/steward/" + p.String()
	if err := r.Validate(k, seal(t, key, payload{text: good})); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"of another":        seal(t, other, payload{text: good}),
		"over":              seal(t, key, payload{text: stewardVersion + "\n2026-11-26T12:00:00Z\n/ip4/203.0.114.7/tcp/4001\n"}),
		"for a week":        seal(t, key, payload{text: stewardVersion + "\n2026-12-03T12:00:00Z\n/ip4/203.0.114.7/tcp/4001\n"}),
		"of a private one":  seal(t, key, payload{text: stewardVersion + "\n2026-11-27T12:00:00Z\n/ip4/203.0.114.7/tcp/4001\n/ip4/192.168.1.1/tcp/80\n"}),
		"of no address":     seal(t, key, payload{text: stewardVersion + "\n2026-11-27T12:00:00Z\n"}),
		"with a peer in it": seal(t, key, payload{text: stewardVersion + "\n2026-11-27T12:00:00Z\n/ip4/203.0.114.7/tcp/4001/p2p/" + p.String() + "\n"}),
		"in another zone":   seal(t, key, payload{text: stewardVersion + "\n2026-11-27T13:00:00+01:00\n/ip4/203.0.114.7/tcp/4001\n"}),
		"unended":           seal(t, key, payload{text: good[:len(good)-1]}),
		"of version 2":      seal(t, key, payload{text: "porchlight/steward/v2" + good[len(stewardVersion):]}),
		"with more behind":  append(seal(t, key, payload{text: good}), 0x7a, 1, 'x'),
		"of nine addresses": seal(t, key, payload{text: good + "/ip4/1.1.1.1/tcp/1\n/ip4/1.1.1.1/tcp/2\n/ip4/1.1.1.1/tcp/3\n/ip4/1.1.1.1/tcp/4\n/ip4/1.1.1.1/tcp/5\n/ip4/1.1.1.1/tcp/6\n/ip4/1.1.1.1/tcp/7\n"}),
		"too long":          make([]byte, maxSteward+1),
		"empty":             nil,
	} {
		if r.Validate(k, bad) == nil {
			t.Errorf("a record %s is believed", name)
		}
	}
	if r.Validate("/steward/elm", seal(t, key, payload{text: good})) == nil {
		t.Error("a key that names no peer")
	}
	older := seal(t, key, payload{text: stewardVersion + "\n2026-11-27T11:00:00Z\n/ip4/203.0.114.8/tcp/4001\n"})
	if i, err := r.Select(k, [][]byte{older, nil, seal(t, key, payload{text: good})}); err != nil || i != 2 {
		t.Errorf("the newest is %d, %v", i, err)
	}
	if _, err := r.Select(k, [][]byte{nil}); err == nil {
		t.Error("one of none was selected")
	}
}

// A steward that moved is found by whoever knows its id.
func TestAStewardIsFound(t *testing.T) {
	a, b := newSteward(t), newSteward(t)
	observer := newHost(t, p2phost.Observer)
	moved, server, looks := open(t, a), open(t, b), open(t, observer)
	meet(t, a, b)
	meet(t, observer, b)
	knows(t, 1, moved, server, looks)
	if err := moved.PutSelf(t.Context(), []string{"/ip4/203.0.114.7/tcp/4001/p2p/" + a.ID()}); err != nil {
		t.Fatal(err)
	}
	got, err := looks.Steward(t.Context(), a.ID())
	if err != nil || !slices.Equal(got, []string{"/ip4/203.0.114.7/tcp/4001/p2p/" + a.ID()}) {
		t.Errorf("%q, %v", got, err)
	}
	if err := looks.PutSelf(t.Context(), got); err == nil {
		t.Error("an observer says where it is")
	}
}

// Whatever bytes come, they are refused or have one spelling, and nothing falls over.
func FuzzStewardRecord(f *testing.F) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	d := &Directory{now: func() time.Time { return now }, cfg: Config{LAN: true}}
	key, p := identity(f)
	good := stewardRecord{ends: now.Add(time.Hour), addrs: []ma.Multiaddr{ma.StringCast("/ip4/203.0.114.7/tcp/4001")}}
	text, _ := good.MarshalRecord()
	f.Add(text)
	f.Add(seal(f, key, &good))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r stewardRecord
		if r.UnmarshalRecord(b) == nil {
			if again, err := r.MarshalRecord(); err != nil || string(again) != string(b) {
				t.Fatalf("%q has another spelling %q", b, again)
			}
		}
		if r, err := d.openSteward(p, b); err == nil && (len(r.addrs) == 0 || !now.Before(r.ends)) {
			t.Fatalf("%+v is believed", r)
		}
		_ = sound(b)
	})
}
