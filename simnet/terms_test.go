package simnet

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/footage/durable"
	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// briefly are limits by which a docket tells everything about a release within a week.
func briefly() charter.Limits {
	l := charter.DefaultLimits()
	l.MaxRetentionDays, l.MaxUnusedDays = 5, 3
	return l
}

// promise is how the one release that left an owner's home stands.
func (o *Owner) promise() home.Promise {
	o.w.t.Helper()
	var all []home.Promise
	o.do("home.promises", home.PromisesArg{}, &all)
	if len(all) != 1 {
		o.w.fail("%s has %d promises", o.Name, len(all))
	}
	return all[0]
}

// stands waits, a day at a time, until an owner's release stands so.
func (o *Owner) stands(days int, want home.Stand) home.Promise {
	o.w.t.Helper()
	for range days {
		if p := o.promise(); p.State == want {
			return p
		}
		o.w.Tomorrow(90 * time.Second)
	}
	o.w.fail("%s: after %d days its release is not %s but %+v", o.Name, days, want, o.promise())
	return home.Promise{}
}

// folder is where the police keep a release.
func (p *Police) folder(h agency.Held) string { return filepath.Join(p.dir, "vault", string(h.Grant)) }

// rewrite changes what the police's stopped node has on record of a release.
func (p *Police) rewrite(h agency.Held, change func(map[string]any)) {
	path := filepath.Join(p.folder(h), h.Release+".json")
	b, err := os.ReadFile(path)
	p.w.must(err)
	var k map[string]any
	p.w.must(json.Unmarshal(b, &k))
	change(k)
	b, err = json.Marshal(k)
	p.w.must(errors.Join(err, os.WriteFile(path, b, 0o600)))
}

// reception is the key that signs the receipts of what answers a request.
func (p *Police) reception(id consent.RequestID) consent.Key {
	r, err := p.peer.Request(string(id))
	p.w.must(err)
	names, err := filepath.Glob(filepath.Join(p.dir, "keys", "reception", "*.key"))
	p.w.must(err)
	for _, name := range names {
		k, err := node.ReadKey(name)
		p.w.must(err)
		if k.Verifier() == r.Body.ReceptionKey {
			return k
		}
	}
	p.w.fail("no reception key of %s", id)
	return consent.Key{}
}

// Police with other software skip a deletion, say that a clip was deleted which they pass on later, and drop the commitment to a third; what they
// do with a fourth is right. Each owner's node finds what concerns it, and observers that never knew the owners see as much as the docket
// shows: a deletion that is overdue. Whatever owners make public everybody can check, and nobody learns from it whose home it is.
func TestPromise09AnAgencyThatCheatsIsFound(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 20, Stewards: 5, Witnesses: 2, Quorum: 2, Limits: briefly(), Conditions: street(31), Quiet: true}, func(w *World) {
		police, herald := w.Police, w.Stewards[4]
		skipped, lied, dropped, kept := w.Homes[0], w.Homes[1], w.Homes[2], w.Homes[3]
		owners := []*Owner{skipped, lied, dropped, kept}
		for _, o := range owners {
			w.films(o)
		}
		id, _ := police.Asks()
		held := map[*Owner]agency.Held{}
		for i, o := range owners {
			o.Sees(time.Minute, id)
			o.Agrees(id)
			for _, h := range police.Vault(5*time.Minute, i+1, "open") {
				if h.Release == o.promise().Release {
					held[o] = h
				}
			}
			if o.promise().State != home.StandHeld {
				w.fail("%s: %+v", o.Name, o.promise())
			}
		}
		reception := police.reception(id)
		police.Stop()
		police.rewrite(held[skipped], func(k map[string]any) { k["used"], k["withdrawn"] = true, w.Now().AddDate(3, 0, 0) })
		w.must(os.RemoveAll(police.folder(held[dropped])))
		police.Start()
		w.Settle(time.Minute)
		skipped.stands(4, home.StandPromised)
		lied.stands(8, home.StandDeleted)

		// The clip that is gone in the docket goes to the press, and somebody of the police tells its owner.
		police.Stop()
		note, err := os.ReadFile(filepath.Join(police.folder(held[lied]), "grant.note"))
		w.must(err)
		g, err := grant.OpenGrant(note)
		w.must(err)
		w.Tomorrow(time.Minute)
		w.Tomorrow(time.Minute)
		receipt, err := consent.Sign(grant.Receipt{Grant: held[lied].Grant, GrantKey: g.Key, CID: consent.ReleaseID(held[lied].Release), Commitment: g.Releases[0].Commitment(),
			State: grant.PassedOn, SealedSHA256: consent.HashText(nil), DeleteBy: g.Terms.RetainUntil, Entry: consent.HashText(nil), Salt: grant.Secret(consent.HashText(nil)),
			Detail: "the press", At: consent.At(w.Now()), Key: reception.Verifier()}, reception)
		w.must(err)
		told := durable.AppendRecord(nil, node.RawJSON(map[string]string{"reach": g.Reach, "note": string(receipt)}))
		w.must(os.WriteFile(filepath.Join(police.dir, "vault", "messages"), told, 0o600))
		police.Start()
		w.Settle(time.Minute)

		lied.stands(6, home.StandContradicted)
		skipped.stands(6, home.StandOverdue)
		seen := herald.peer.Promises(police.agency.ID())
		if seen.Overdue != 1 || seen.Unaccounted != 1 {
			w.fail("the observer sees %+v, one deletion is overdue", seen)
		}
		dropped.stands(20, home.StandMissing)
		kept.stands(1, home.StandDeleted)

		// They show it, over stewards. The docket has nobody's name, and the first who has the record is a steward that the home is not known to.
		for i, o := range []*Owner{skipped, lied, dropped} {
			var first string
			breaches := func(n *Node) int { return len(n.peer.Breaches(police.agency.ID())) }
			var s home.BreachStatus
			o.do("home.breach", home.BreachArg{Release: o.promise().Release, Publish: true}, &s)
			pairs, stop := w.talks()
			w.Until(2*time.Minute, "the record to be public", func() bool {
				for _, n := range w.everybody() {
					if breaches(n) == i+1 {
						first = n.Name
						return true
					}
				}
				return false
			})
			stop()
			w.Until(20*time.Second, o.Name+" to know that it is public", func() bool { return o.promise().Breach == "public" })
			if !strings.HasPrefix(first, "steward") {
				w.fail("%s has the record first", first)
			}
			for pair := range pairs() {
				from, to, _ := strings.Cut(pair, " to ")
				if from == o.Name && to == police.Name || from == police.Name && to == o.Name {
					w.fail("packets from %s", pair)
				}
			}
			for _, n := range w.everybody() {
				w.Until(20*time.Second, n.Name+" to have the record", func() bool { return breaches(n) == i+1 })
				for _, b := range n.peer.Breaches(police.agency.ID()) {
					if !b.Stands || strings.Contains(b.Note, o.id) || strings.Contains(b.Note, o.Link.IP().String()) {
						w.fail("%s has %+v", n.Name, b)
					}
				}
			}
		}
	})
}

// Police take all blocks of a clip, sign for them, and are never heard of again. Its owner's node finds that the key never came, and that no
// promise did; everybody sees that the docket fell silent.
func TestPromise09AnAgencyThatDisappearsIsFound(t *testing.T) {
	alongside(t)
	story(t, Config{Homes: 20, Stewards: 5, Witnesses: 2, Quorum: 2, Limits: briefly(), Conditions: street(32), Quiet: true}, func(w *World) {
		police, herald := w.Police, w.Stewards[4]
		ada, id := w.asked()
		w.Tomorrow(2 * time.Minute)
		w.Tomorrow(2 * time.Minute) // the docket has begun to tell
		// The folder of keys is gone, so that the node cannot take one in.
		keys := filepath.Join(police.dir, "keys", "release")
		w.must(os.RemoveAll(keys))
		w.must(os.WriteFile(keys, nil, 0o600))
		ada.Agrees(id)
		w.Until(10*time.Minute, "the police to sign for the clip", func() bool {
			var all []home.Promise
			ada.do("home.promises", home.PromisesArg{}, &all)
			return len(all) == 1 && all[0].State != home.StandUnsigned && all[0].State != home.StandSending
		})
		police.Stop()
		police.stop = nil
		ada.stands(20, home.StandMissing)
		if ada.promise().Silent == "" {
			w.fail("%+v", ada.promise())
		}
		if seen := herald.peer.Promises(police.agency.ID()); seen.Silent == "" {
			w.fail("the observer sees %+v", seen)
		}
		var s home.BreachStatus
		ada.do("home.breach", home.BreachArg{Release: ada.promise().Release, Publish: true}, &s)
		w.Until(5*time.Minute, "everybody to have the record", func() bool {
			for _, n := range w.everybody() {
				if n.peer != nil && len(n.peer.Breaches(police.agency.ID())) != 1 {
					return false
				}
			}
			return true
		})
	})
}
