package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/porchlight-mesh/porchlight/node"
	"github.com/porchlight-mesh/porchlight/node/home"
)

// A clip goes over two stewards to police who listen where a home could dial them, and to police who only talk to one of these stewards: in
// neither case are the home and the police ever connected, nor does anything that the police keep name the home's node or address.
func TestPromise08OverTwoStewards(t *testing.T) {
	for _, row := range []struct {
		name string
		over bool
	}{{"police who listen", false}, {"police behind a steward", true}} {
		t.Run(row.name, func(t *testing.T) {
			n := newNeighbourhood(t)
			n.more = n.start("second", node.Steward).addrs()
			if row.over {
				n.police.stop()
				config := filepath.Join(n.police.dir, "config.toml")
				b, err := os.ReadFile(config)
				ok(t, err)
				b = append(b, "[agency]\nreply = "+string(node.RawJSON([]string{n.steward.addrs()[0] + "/p2p-circuit"}))+"\n"...)
				ok(t, os.WriteFile(config, b, 0o600))
				n.police = n.run(n.police.dir, node.Agency)
				n.police.wait("the steward", func() bool {
					var s node.Status
					n.police.do("status", struct{}{}, &s)
					return len(s.Peers) > 0
				})
			}
			ana := n.home("ana", near, 0)
			id := n.policeAsk(n.draft())
			ana.shown(id)
			ana.wait("both stewards", func() bool {
				var s node.Status
				ana.do("status", struct{}{}, &s)
				return len(s.Peers) == 2
			})
			ana.do("home.approve", home.Approve{Request: id, Cameras: []string{"door"}, FacesVisible: true}, nil)
			n.vault(1, "open")
			peer := ana.addrs()[0][strings.LastIndexByte(ana.addrs()[0], '/')+1:]
			var s node.Status
			n.police.do("status", struct{}{}, &s)
			for _, p := range s.Peers {
				if p.ID == peer {
					t.Errorf("the police are connected to the home, at %s", p.Addr)
				}
			}
			n.keepsNo(n.police, peer)
			n.keepsNo(n.steward, "porchlight/grant/")
			var c home.Card
			ana.do("home.show", home.RequestArg{Request: id}, &c)
			if a := c.Answers[0]; a.Direct || a.Paths != 1 {
				t.Errorf("the answer went %+v", a)
			}
		})
	}
}

// keepsNo fails where a file in a node's folder holds some text.
func (n *neighbourhood) keepsNo(r *running, text string) {
	n.t.Helper()
	ok(n.t, filepath.WalkDir(r.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			n.t.Errorf("%s holds %q", path, text)
		}
		return err
	}))
}
