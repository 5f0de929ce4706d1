package node_test

import (
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/node/agency"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// Two of three owners have to approve the same thing. One of them, or two who approve different things, let nothing leave; nor does anybody who
// names no key. Any one of them takes back.
func TestPromise01KOfNOwnersDecide(t *testing.T) {
	n := newNeighbourhood(t)
	ana := n.home("ana", corner, 0)
	keys := map[string]consent.Key{}
	var house home.Household
	for _, name := range []string{"Ana", "Ben", "Cleo"} {
		keys[name] = newKey(t, name)
		house.Persons = append(house.Persons, home.Person{Name: name, Key: keys[name].Verifier()})
	}
	house.Approvals = 2
	ana.do("home.household.set", home.SetHousehold{Household: house}, nil)
	id := n.policeAsk(n.draft())
	c := ana.shown(id)
	approve := home.Approve{Request: string(c.Request), Cameras: []string{"door"}, From: recAt.Add(5 * time.Second), Until: recAt.Add(45 * time.Second), FacesVisible: true, AddressShown: true}
	says := func(who string, a home.Approve) (s home.AnswerStatus) {
		t.Helper()
		var err error
		a.Order, err = home.Signed("approve", c.Request, a.Digest(), n.now.now(), keys[who])
		ok(t, err)
		ana.do("home.approve", a, &s)
		return s
	}
	ana.fails("home.approve", approve, "3 owners")
	shorter := approve
	shorter.RetentionDays = 7
	if s := says("Ana", approve); s.State != "pending" || s.Missing != 1 {
		t.Errorf("%+v", s)
	}
	says("Ana", approve)
	if s := says("Ben", shorter); s.State != "pending" || s.Missing != 1 {
		t.Errorf("%+v", s)
	}
	time.Sleep(2 * time.Second)
	var held []agency.Held
	n.police.do("agency.vault", struct{}{}, &held)
	if len(held) != 0 {
		t.Fatal("a clip left with one approval")
	}
	var seen home.Card
	ana.do("home.show", home.RequestArg{Request: id}, &seen)
	if len(seen.Pending) != 2 || seen.Approvals != 2 || len(seen.Answers) != 0 {
		t.Errorf("%+v", seen)
	}
	if s := says("Cleo", shorter); s.State != "preparing" {
		t.Errorf("%+v", s)
	}
	n.vault(1, "open")
	ana.fails("home.withdraw", home.RequestArg{Request: id}, "3 owners")
	time.Sleep(time.Second) // an order is of a later second than what it ends
	order, err := home.Signed("withdraw", c.Request, "", n.now.now(), keys["Ana"])
	ok(t, err)
	ana.do("home.withdraw", home.RequestArg{Request: id, Order: order}, nil)
	n.vault(1, "deleted")
}
