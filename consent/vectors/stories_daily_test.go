package vectors

import (
	"encoding/json"
	"math/rand/v2"
	"slices"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

// charterDaily has daily entries of eight commitments, four of them kept a day and four three days, which are told apart after two. A
// docket shows all of it within four days.
func charterDaily() charter.Charter {
	c := charter1()
	c.Limits.MaxRetentionDays, c.Limits.MaxUnusedDays = 3, 2
	c.Daily = charter.Daily{Commitments: 8, RetentionDays: []int{1, 3}, Messages: 1, MessageBytes: charter.MinMessageBytes}
	return c
}

var dailyCharter = sign(charterDaily(), alice, bob)

// days are the daily entries from November 20th on, made by a fixed stream of random numbers.
func days(n int) (all []docket.Daily) {
	chain := must(charter.Start([]byte(dailyCharter)))
	l := must(docket.Open(police(), charter.Quotas{}, nil, 0, chain.Plans()...))
	random := rand.NewChaCha8([32]byte([]byte("porchlight test vectors: daily  ")))
	for i := range n {
		made := consent.At(at("2026-11-20T06:00:00Z").AddDate(0, 0, i))
		d, _, err := l.NextDaily(docket.Load{}, made, random)
		if err != nil {
			panic(err)
		}
		must(l.Append([]byte(sign(d, docketKey)), made.Time))
		all = append(all, d)
	}
	return all
}

// daily are the entries of November 23rd, after those of the three days before it.
func (b *book) daily() {
	before := days(4)
	next := before[3]
	ctx := Context{Charters: []string{dailyCharter}, Agency: police().ID()}
	for _, d := range before[:3] {
		ctx.Entries = append(ctx.Entries, sign(d, docketKey))
	}
	note := sign(next, docketKey)
	add := func(name, why string, class consent.Class, change func(*docket.Daily)) {
		var d docket.Daily // a copy of its own
		if err := json.Unmarshal([]byte(body(next)), &d); err != nil {
			panic(err)
		}
		change(&d)
		b.add("daily", name, why, class, ctx, forge("daily", body(d), docketKey))
	}
	type list = []grant.Commitment
	more := func(l list, c grant.Commitment) list {
		l = append(slices.Clone(l), c)
		slices.Sort(l)
		return l
	}
	in := func(l list, c grant.Commitment) list { return more(l[1:], c) } // in the place of the first
	without := func(l, some list) grant.Commitment {
		return l[slices.IndexFunc(l, func(c grant.Commitment) bool { return !slices.Contains(some, c) })]
	}
	short, long := before[2].Commitments[0].Of, before[0].Commitments[1].Of // kept one day, and three, until the 23rd
	strange := grant.Commitment(hash("nowhere"))

	b.add("daily", "ok", "The entry of the day after the last: one day's commitments were used, exported, passed on and deleted at once, another's were told apart, a third's came to their end.", OK, ctx, note)
	missed := ctx
	missed.Entries = ctx.Entries[:2]
	late := before[2]
	late.Created = next.Created
	b.add("daily", "made-up-for-accepted", "The entry of the 22nd, made on the 23rd.", OK, missed, sign(late, docketKey))
	add("deletion-missing-accepted", "One deletion that is due is not stated, as for a legal hold.", OK, func(d *docket.Daily) { d.Deleted = d.Deleted[1:] })
	first := ctx
	first.Entries = nil
	b.add("daily", "first-accepted", "The first of the docket has no change.", OK, first, sign(before[0], docketKey))

	none := inDocket()
	b.add("daily", "no-plan", "The charter has no daily entries.", consent.WrongKind, none, note)
	b.add("daily", "other-signer", "Signed by another key than it names.", consent.MissingSignature, ctx, forge("daily", body(next), okafor))
	b.add("daily", "by-supervisor", "A supervisor's key, which is not the docket's, is named and signs.", consent.WrongRole, ctx,
		forge("daily", replaced(body(next), string(next.Key), string(okafor.Verifier())), okafor))
	add("day-spelling", "A day without its zeros.", consent.BadValue, func(d *docket.Daily) { d.Day = "2026-11-2" })
	add("before-its-day", "Created on the day before.", consent.BadValue, func(d *docket.Daily) { d.Created = before[2].Created })
	add("same-day", "A second entry of the 22nd.", consent.DuplicateEntry, func(d *docket.Daily) { d.Day = before[2].Day })
	add("before-the-charter", "Of a day before the charter was made.", consent.BadDay, func(d *docket.Daily) { d.Day = "2026-05-31" })
	b.add("daily", "skipped-day", "The entry of the 23rd where that of the 22nd is missing.", consent.BadDay, missed, note)
	ahead := next
	ahead.Created = at("2026-11-23T09:06:00Z")
	b.add("daily", "not-yet-valid", "Dated six minutes ahead.", consent.NotYetValid, ctx, sign(ahead, docketKey))

	add("class-missing", "The commitments of one class only.", consent.OffSchedule, func(d *docket.Daily) { d.Commitments = d.Commitments[:1] })
	add("commitment-missing", "Three of four commitments.", consent.OffSchedule, func(d *docket.Daily) { d.Commitments[0].Of = d.Commitments[0].Of[1:] })
	add("retention", "Kept two days, where the charter has one.", consent.OffSchedule, func(d *docket.Daily) { d.Commitments[0].KeepDays = 2 })
	add("class-order", "The classes stand in another order.", consent.BadValue, func(d *docket.Daily) { slices.Reverse(d.Commitments) })
	add("commitment-again", "A commitment that was deleted stands there again.", consent.DuplicateEntry, func(d *docket.Daily) {
		d.Commitments[0].Of = in(d.Commitments[0].Of, before[0].Commitments[0].Of[0])
	})
	add("commitment-order", "Commitments out of order.", consent.BadValue, func(d *docket.Daily) { slices.Reverse(d.Commitments[0].Of) })
	add("message-missing", "No message.", consent.OffSchedule, func(d *docket.Daily) { d.Messages = [][]byte{} })
	add("message-size", "A message a byte longer.", consent.OffSchedule, func(d *docket.Daily) { d.Messages[0] = append(d.Messages[0], 0) })

	add("used-missing", "One use less than falls on the day.", consent.OffSchedule, func(d *docket.Daily) { d.Used = d.Used[1:] })
	add("used-early", "A use in the place of another, a day before it falls.", consent.OffSchedule, func(d *docket.Daily) {
		d.Used = more(slices.DeleteFunc(d.Used, func(c grant.Commitment) bool { return c == d.Exported[0] }), before[2].Commitments[1].Of[0])
	})
	add("used-unknown", "A use of nothing that the docket holds.", consent.UnknownCommitment, func(d *docket.Daily) { d.Used = in(d.Used, strange) })
	add("used-order", "Uses out of order.", consent.BadValue, func(d *docket.Daily) { slices.Reverse(d.Used) })
	add("exported-missing", "One export less than falls on the day.", consent.OffSchedule, func(d *docket.Daily) { d.Exported = d.Exported[1:] })
	add("exported-unused", "An export of what was not used.", consent.WrongState, func(d *docket.Daily) { d.Exported = in(d.Exported, without(long, before[2].Used)) })
	add("passed-on-missing", "One passed on less than falls on the day.", consent.OffSchedule, func(d *docket.Daily) { d.PassedOn = d.PassedOn[1:] })
	add("passed-on-unexported", "Passed on without having been exported.", consent.WrongState, func(d *docket.Daily) {
		d.PassedOn = in(d.PassedOn, without(append(slices.Clone(short), long...), d.Exported))
	})
	add("deleted-early", "A deletion of what this very entry makes.", consent.UnknownCommitment, func(d *docket.Daily) { d.Deleted = more(d.Deleted, d.Commitments[0].Of[0]) })
	add("deleted-before-due", "Deleted the day before it is due.", consent.WrongState, func(d *docket.Daily) { d.Deleted = more(d.Deleted, before[2].Commitments[1].Of[0]) })
	add("deleted-twice", "Deleted a second time.", consent.WrongState, func(d *docket.Daily) { d.Deleted = more(d.Deleted, before[2].Deleted[0]) })
	add("null", "A list that is null.", consent.NullValue, func(d *docket.Daily) { d.Deleted = nil })

	b.add("leaf", "daily-accepted", "A sound daily entry.", OK, ctx, note)
	b.add("leaf", "daily-skipped-day", "A daily entry where the one before it is missing.", consent.BadDay, Context{Charters: ctx.Charters, Agency: ctx.Agency, Entries: ctx.Entries[:2]}, note)

	c := func(name, why string, class consent.Class, change func(*charter.Charter)) {
		v := charterDaily()
		change(&v)
		b.add("charter", "daily-"+name, why, class, Context{}, forge("charter", body(v), alice, bob))
	}
	c("accepted", "With daily entries.", OK, func(*charter.Charter) {})
	c("default-accepted", "With daily entries as they are proposed.", OK, func(v *charter.Charter) { v.Limits = charter.DefaultLimits(); v.Daily = charter.DefaultDaily(v.Limits) })
	c("few-in-a-class", "Three commitments in a class leave none for a real one.", consent.BadValue, func(v *charter.Charter) { v.Daily.RetentionDays = []int{1, 2, 3} })
	c("no-class-of-the-limit", "What may be kept three days has no class.", consent.BadValue, func(v *charter.Charter) { v.Daily.RetentionDays = []int{1, 2} })
	c("oversize", "Entries that might not fit into a document.", consent.Oversize, func(v *charter.Charter) { v.Daily.Commitments = 64 })
	dropped := charterDaily()
	dropped.Version, dropped.Previous, dropped.Daily = 2, hash(dailyCharter), charter.Daily{}
	b.add("charter", "daily-dropped", "A later version does without daily entries.", consent.BadValue, Context{Charters: []string{dailyCharter}}, sign(dropped, alice, bob))
}
