package node

import (
	"fmt"
	"testing"
	"time"

	p2psync "github.com/porchlight-mesh/porchlight/p2p/sync"
)

// What a pull brought that ended early is not kept until the next one, which begins anew.
func TestStagedEntriesAreLetGo(t *testing.T) {
	p := newPolice(t)
	cp := must(p.log.SignCheckpoint(p.docket))
	h := p.home(nil)
	d := h.Docket(p.self.ID())
	now := time.Now()
	d.now = func() time.Time { return now }
	head := p2psync.Head{Log: string(d.ID()), Size: p.log.Size(), Note: cp, Peer: "mallory"}
	head.Size = 1
	if _, err := d.Stage(0, nil, head); err != nil {
		t.Fatal(err)
	}
	if len(d.staged) != 1 {
		t.Fatalf("%d staged", len(d.staged))
	}
	if (sink{h}).Want([]p2psync.Head{head}); len(d.staged) != 1 {
		t.Error("a pull under way lost what it brought")
	}
	now = now.Add(stagedFor + time.Second)
	if (sink{h}).Want([]p2psync.Head{head}); len(d.staged) != 0 {
		t.Errorf("%d are staged long after", len(d.staged))
	}
}

// Ever new peers that have no more than an entry's hash are not all remembered.
func TestPeersWithoutATextAreBounded(t *testing.T) {
	p := newPolice(t)
	cp := must(p.log.SignCheckpoint(p.docket))
	h := p.home(nil)
	d := h.Docket(p.self.ID())
	if err := d.Extend(0, p.notes[:1], cp); err != nil {
		t.Fatal(err)
	}
	d.unread[0] = map[string]bool{}
	leaf := must(d.log.Leaf(0))
	for i := range 2 * maxAsked {
		if _, err := d.fill(0, [][]byte{append([]byte{unreadEntry}, leaf[:]...)}, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.unread[0]); n != maxAsked {
		t.Errorf("%d peers are remembered", n)
	}
}
