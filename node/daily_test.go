package node

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/p2p/gossip"
)

// daily puts the day's entry into the docket and returns the message that shows it.
func (p *police) daily() []byte {
	p.t.Helper()
	d, _, err := p.log.NextDaily(docket.Load{}, consent.At(time.Now()), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.append(must(consent.Sign(d, p.docket)))
}

// A daily entry is passed on like any other, once, and tells no owner anything.
func TestADailyEntrySpreads(t *testing.T) {
	p := newPolice(t)
	home := p.home(time.Now)
	if got := home.check("peer", must(p.log.Bundle(0, nil))); got != gossip.Accept {
		t.Fatalf("enrolment: verdict %d", got)
	}
	told := 0
	home.Arrived = func() { told++ }
	msg := p.daily()
	for i, want := range []gossip.Verdict{gossip.Accept, gossip.Ignore} {
		if got := home.check("peer", msg); got != want {
			t.Errorf("time %d: verdict %d, want %d", i+1, got, want)
		}
	}
	d := home.Docket(p.self.ID())
	if d.Size() != 2 || d.Refused(1) != "" || d.log.LastDaily() == "" || told != 0 {
		t.Errorf("%d entries, %q, the last day is %q; the owner was told %d times", d.Size(), d.Refused(1), d.log.LastDaily(), told)
	}
}

// Whoever has the charter's version with daily entries later than the agency takes the entry for one of no kind that counts, holds it
// against nobody, and counts it once the charter is here.
func TestADailyEntryBeforeItsCharter(t *testing.T) {
	p := newPolice(t)
	quiet := *p.chain.Current()
	quiet.Daily = charter.Daily{}
	p.chain = must(charter.Start(must(consent.Sign(quiet, p.ana))))
	home := p.home(time.Now)
	if got := home.check("peer", must(p.log.Bundle(0, nil))); got != gossip.Accept {
		t.Fatalf("enrolment: verdict %d", got)
	}
	next := quiet
	next.Version, next.Previous, next.Daily = 2, p.chain.CurrentHash(), charter.DefaultDaily(quiet.Limits)
	two := must(consent.Sign(next, p.ana))
	msg := p.daily()
	if got := home.check("peer", msg); got != gossip.Ignore {
		t.Errorf("without plans: verdict %d", got)
	}
	d := home.Docket(p.self.ID())
	if got := home.check("peer", two); got != gossip.Accept || d.Size() != 2 || d.Refused(1) != "" || d.log.LastDaily() == "" {
		t.Errorf("charter: verdict %d; %d entries, %q, the last day is %q", got, d.Size(), d.Refused(1), d.log.LastDaily())
	}
}
