package node

import (
	"bytes"
	"crypto/rand"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/footage/durable/durabletest"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
)

// promised is what one owner holds of an agency: a receipt for a release, whose commitment the docket does not have.
type promised struct {
	*police
	reception, key consent.Key
	request        consent.RequestID
	shown          []byte // the message that shows the request
	receipt        grant.Receipt
}

// promise publishes a request and signs a receipt of a release that answers it, as of now.
func (p *police) promise(to ...*Peer) promised {
	p.t.Helper()
	o := p.promises(time.Now())
	for _, n := range to {
		p.toldTo(n)
	}
	return o
}

func (p *police) promises(at time.Time) promised {
	p.t.Helper()
	o := promised{police: p, reception: must(consent.GenerateKey(rand.Reader, request.ReceptionKeyName)), key: must(consent.GenerateKey(rand.Reader, grant.KeyName))}
	r := p.request()
	r.ReceptionKey = o.reception.Verifier()
	note := must(consent.Sign(r, p.officer, p.sergeant))
	o.shown = p.append(note)
	o.request = request.IDOf(note)
	cid := consent.ReleaseID("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi")
	secret := grant.Secret(consent.HashText([]byte(o.key.Verifier())))
	o.receipt = grant.Receipt{Grant: consent.GrantID(consent.HashText([]byte("grant"))), GrantKey: o.key.Verifier(), CID: cid,
		Commitment: grant.Release{CID: cid, Secret: secret}.Commitment(), State: grant.Held, SealedSHA256: consent.HashText([]byte("sealed")),
		DeleteBy: consent.At(at.AddDate(0, 0, 30)), At: consent.At(at), Key: o.reception.Verifier()}
	return o
}

func (o promised) breach(change func(*grant.Breach)) []byte {
	o.t.Helper()
	b := grant.Breach{Agency: o.self.ID(), Request: o.request, Fault: grant.FaultMissing, Receipt: string(must(consent.Sign(o.receipt, o.reception))), Created: consent.At(time.Now()), Key: o.key.Verifier()}
	if change != nil {
		change(&b)
	}
	key := o.key
	if b.Key != key.Verifier() {
		key = stranger
	}
	return must(consent.Sign(b, key))
}

var stranger = must(consent.GenerateKey(rand.Reader, grant.KeyName))

// A breach record is believed by everybody who has the docket, once the docket fails the receipt, and by nobody before; it is
// found by catching up, and kept. Nobody but the owner of the receipt makes one.
func TestABreachIsSeenByEverybody(t *testing.T) {
	p := newPolice(t)
	early := p.home(time.Now)
	later := func() time.Time { return time.Now().AddDate(0, 0, 16) }
	ada, cai := p.home(later), p.home(later)
	o := p.promise(early, ada, cai)
	id := p.self.ID()
	breach := o.breach(nil)
	if got := early.check("peer", breach); got != gossip.Ignore || len(early.Breaches(id)) != 0 {
		t.Errorf("while the docket has time to tell: verdict %d", got)
	}
	for name, msg := range map[string][]byte{
		"somebody else's receipt": o.breach(func(b *grant.Breach) { b.Key = stranger.Verifier() }),
		"another fault":           o.breach(func(b *grant.Breach) { b.Fault = grant.FaultOverdue }),
		"another request":         o.breach(func(b *grant.Breach) { b.Request = consent.RequestID(consent.HashText(nil)) }),
		"dated ahead":             o.breach(func(b *grant.Breach) { b.Created = consent.At(later().AddDate(0, 0, 1)) }),
	} {
		if got := ada.check("peer", msg); got == gossip.Accept || len(ada.Breaches(id)) != 0 {
			t.Errorf("%s: verdict %d", name, got)
		}
	}
	for i := range breach {
		bad := bytes.Clone(breach)
		bad[i] ^= 1
		if ada.AdmitPaper(bad) == nil {
			t.Fatalf("byte %d changed and believed", i)
		}
	}
	if got := ada.check("peer", breach); got != gossip.Accept {
		t.Fatalf("verdict %d", got)
	}
	if got := ada.check("peer", o.breach(func(b *grant.Breach) { b.Created = consent.At(time.Now().Add(-time.Minute)) })); got != gossip.Ignore {
		t.Errorf("told twice: verdict %d", got)
	}
	meets(t, ada, cai)
	all := cai.Breaches(id)
	if len(all) != 1 || !all[0].Stands || all[0].Commitment != o.receipt.Commitment || all[0].Words() == "" {
		t.Fatalf("catching up brings %+v", all)
	}
	if (sink{cai}).Want((source{ada}).Heads()) != nil {
		t.Error("peers with the same records compare them again")
	}
	dir := cai.State.dir
	cai.Close()
	again := must(OpenPeer(dir, Options{Now: later}))
	defer again.Close()
	if len(again.Breaches(id)) != 1 {
		t.Error("forgotten after a restart")
	}
	if s := again.Promises(id); s.Committed != 0 || s.Silent != docket.DayOf(time.Now()).Add(1) || s.BreachesStand != 1 || s.BreachesAnswered != 0 {
		t.Errorf("%+v", s)
	}
}

// What the docket says after all is answered from then on: the record stays and says so, and is handed on no more.
func TestABreachIsAnswered(t *testing.T) {
	p := newPolice(t)
	later := func() time.Time { return time.Now().AddDate(0, 0, 16) }
	ada, cai := p.home(later), p.home(later)
	o := p.promise(ada, cai)
	id := p.self.ID()
	arrived := 0
	ada.Arrived = func() { arrived++ }
	if got := ada.check("peer", o.breach(nil)); got != gossip.Accept || !ada.AnyBreach(id) || arrived != 1 {
		t.Fatalf("verdict %d; the owner is told %d times", got, arrived)
	}
	if r := must(ada.Request(string(o.request))); len(ada.BreachesOf(r)) != 1 {
		t.Error("the request does not show it")
	}
	today := docket.DayOf(time.Now())
	load := docket.Load{Waiting: []docket.Waiting{{Commitment: o.receipt.Commitment, KeepDays: 30, From: today}},
		Real: func(c grant.Commitment) (docket.Status, bool) { return docket.Status{}, c == o.receipt.Commitment }}
	d, _, err := p.log.NextDaily(load, consent.At(time.Now()), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.append(must(consent.Sign(d, p.docket)))
	p.toldTo(ada)
	all := ada.Breaches(id)
	if len(all) != 1 || all[0].Stands || all[0].Answered != today || !strings.HasSuffix(all[0].Words(), "; answered since, on "+string(today)) {
		t.Fatalf("%+v: %s", all, all[0].Words())
	}
	if s := ada.Promises(id); ada.AnyBreach(id) || s.BreachesStand != 0 || s.BreachesAnswered != 1 || s.Committed == 0 || s.Silent != today.Add(1) {
		t.Errorf("%+v", s)
	}
	meets(t, ada, cai)
	if len(ada.papers(breachesLog)) != 0 || len(cai.Breaches(id)) != 0 {
		t.Error("it is handed on")
	}
}

// An agency that makes records against itself, and answers them, leaves room for those of others.
func TestBreachRecordsAreBounded(t *testing.T) {
	p := newPolice(t)
	later := func() time.Time { return time.Now().AddDate(0, 0, 16) }
	ada := p.home(later)
	one, two := p.promise(ada), p.promise(ada)
	d := ada.Docket(p.self.ID())
	fill := func(at time.Time) {
		for i := len(d.breaches); i < maxBreaches; i++ {
			k := keptBreach{Breach: grant.Breach{Fault: grant.FaultMissing}, note: string(one.breach(nil))}
			k.receipt = grant.Receipt{Commitment: grant.Commitment(consent.HashText([]byte{byte(i), byte(i >> 8)})), At: consent.At(at)}
			d.breaches[k.id()] = k
		}
	}
	fill(later())
	if err := ada.AdmitPaper(one.breach(nil)); err != nil || len(d.breaches) != 1 {
		t.Errorf("among records that do not stand: %v; %d are left", err, len(d.breaches))
	}
	fill(time.Now())
	if got := ada.check("peer", two.breach(nil)); got != gossip.Ignore {
		t.Errorf("one more than there is room for: verdict %d", got)
	}
	if err := d.readBreaches(); err != nil || len(d.breaches) != 1 {
		t.Errorf("%d on disk, %v", len(d.breaches), err)
	}
}

// A record that was taken in stays, whatever the disk does, also where making room for it rewrites those before it.
func TestBreachRecordsOnABadDisk(t *testing.T) {
	at := time.Now().AddDate(0, 0, -16)
	p := policeSince(t, at)
	one, two := p.promises(at), p.promises(at)
	first, second := one.breach(nil), two.breach(nil)
	start := filepath.Join(durabletest.TempDir(t), "node")
	if err := errors.Join(Create(start, Observe), WriteCharter(durable.Disk{}, filepath.Join(start, "charter"), p.chain)); err != nil {
		t.Fatal(err)
	}
	n := must(OpenPeer(start, Options{}))
	p.toldTo(n)
	if err := n.AdmitPaper(first); err != nil {
		t.Fatal(err)
	}
	n.Close()
	for name, full := range map[string]bool{"one more": false, "one more than there is room for": true} {
		t.Run(name, func(t *testing.T) {
			rows := durabletest.Table(t, start, 1, func(t *testing.T, r *durabletest.Run) {
				h := openPlace(t, r, p)
				defer func() { h.Close() }()
				admit := func() error {
					if err := h.AdmitPaper(second); !errors.Is(err, errKnown) {
						return err
					}
					return nil
				}
				for i := 1; full && i < maxBreaches; i++ {
					k := keptBreach{Breach: grant.Breach{Fault: grant.FaultOverdue}, note: string(first)}
					k.receipt.Commitment = grant.Commitment(consent.HashText([]byte{byte(i), byte(i >> 8)}))
					h.docket().breaches[k.id()] = k
				}
				r.Begin()
				err := admit()
				heard := r.Done(err)
				if r.Lives() {
					if err = admit(); err != nil {
						t.Error("again:", err)
					}
				}
				h.again()
				if got := len(h.Breaches(p.self.ID())); got != 2 && (got != 1 || heard && err == nil) {
					t.Errorf("%v, and %d records", err, got)
				}
				if err := admit(); err != nil {
					t.Fatal("again:", err)
				}
				h.again()
				if got := h.Promises(p.self.ID()).BreachesStand; got != 2 {
					t.Errorf("%d records stand", got)
				}
			})
			t.Logf("%d rows", rows)
		})
	}
}
