package simnet

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-mesh/porchlight/simnet/wire"
)

// runAnswer runs a world in which one of two homes with the same footage answers, and is what each observer wrote down. Of the stewards
// it is by what they are to the answer, and by how much more they saw of the first home than of the second.
func runAnswer(t *testing.T, answers int, seed uint64) numbers {
	out := numbers{}
	c := Config{Homes: 3, Stewards: 4, Conditions: street(seed), Quiet: true}
	c.Link.Up = 2_000_000 // slow, so that the answer fills the line for a while
	story(t, c, func(w *World) {
		for _, h := range w.Homes[:2] {
			w.films(h)
		}
		crawler := w.Homes[2]
		w.Police.Enrols()
		w.Settle(20 * time.Second)
		id, at := w.Police.Asks()
		var mu sync.Mutex
		seen := map[[2]*wire.Link]trace{} // by whose line it is, and who is at the other end
		all := map[*wire.Link]trace{}
		stop := w.Tap(func(p wire.Packet) {
			mu.Lock()
			defer mu.Unlock()
			for _, in := range []bool{false, true} {
				mine, other := p.From, p.To
				if in {
					mine, other = other, mine
				}
				if mine != nil {
					g := glimpse{p.At.Sub(at), len(p.Payload), in}
					seen[[2]*wire.Link{mine, other}] = append(seen[[2]*wire.Link{mine, other}], g)
					all[mine] = append(all[mine], g)
				}
			}
		})
		for _, h := range w.Homes[:2] {
			h.Sees(20*time.Second, id)
		}
		w.Settle(time.Until(at.Add(decides)))
		one := w.Homes[answers]
		one.Agrees(id)
		w.Settle(time.Until(at.Add(ends)))
		stop()
		w.Police.Vault(time.Second, 1, "open")
		guard, second := one.path(one.answer(id))
		all[w.Police.Link].counts("requester", out)
		all[crawler.Link].counts("crawler", out)
		all[w.Homes[0].Link].counts("neighbour", out)
		for _, s := range w.Stewards {
			role := "another"
			switch s {
			case guard:
				role = "guard"
			case second:
				role = "second"
			}
			first, other := numbers{}, numbers{}
			seen[[2]*wire.Link{w.Homes[0].Link, s.Link}].counts(role, first)
			seen[[2]*wire.Link{w.Homes[1].Link, s.Link}].counts(role, other)
			for name := range first {
				out[name] += first[name] - other[name]
			}
		}
	})
	return out
}

// Of two homes that could have answered, the guard and a neighbour on the line see which one did. The agency does not, nor the second
// steward, which is connected to both of them, another steward, or a crawler; nor any two of these together.
func TestPromise08OnlyTheGuardSeesWhoAnswered(t *testing.T) {
	alongside(t)
	manyWorlds(t)
	who := []string{"requester", "guard", "second", "another", "neighbour", "crawler"}
	sees := []string{"guard", "neighbour"}
	homes := []string{"the first", "the second"}
	run := func(batch uint64) []found {
		which := slices.Repeat(homes, 24)
		rand.New(rand.NewPCG(batch, 0)).Shuffle(len(which), func(i, j int) { which[i], which[j] = which[j], which[i] })
		var all []trial
		for i, w := range which {
			all = append(all, trial{w, runAnswer(t, slices.Index(homes, w), batch<<20+uint64(i))})
		}
		return judge(all, who, question{name: "which of two homes answered", yes: homes[:1], no: homes[1:]})
	}
	all := run(6)
	report(t, all)
	can := map[string]bool{}
	var suspects []found
	for _, f := range telling(all) {
		names, _, _ := strings.Cut(f.by, ":")
		may := false
		for _, name := range strings.Split(names, " and ") {
			can[name] = true
			may = may || slices.Contains(sees, name)
		}
		if !may {
			suspects = append(suspects, f)
		}
	}
	for _, name := range sees {
		if !can[name] {
			t.Errorf("the %s does not see who answers any more: the README may promise more", name)
		}
	}
	var blind []found
	for _, f := range all {
		if !strings.Contains(f.by, "guard") && !strings.Contains(f.by, "neighbour") {
			blind = append(blind, f)
		}
	}
	t.Log("of those who should not see it:")
	report(t, blind)
	stands(t, suspects, func() []found { return run(7) })
}
