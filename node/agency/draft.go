package agency

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/node"
)

// replyAddrs is where answers go: what config.toml says, else where the running node listens.
func (a *Agency) replyAddrs() []string {
	if len(a.peer.Config.Agency.Reply) == 0 {
		addrs := a.peer.Addrs()
		return addrs[:min(len(addrs), request.MaxReply)]
	}
	var out []string
	for _, r := range a.peer.Config.Agency.Reply {
		if h := a.peer.Host(); h != nil {
			r += "/p2p/" + h.ID()
		}
		out = append(out, r)
	}
	return out
}

// planned is for how many days a clip may be kept at the most, used and not used, so that today's daily entries can say in time what becomes of it.
// The charter's limits count as soon as it is amended, and the entries follow [charter.PlanNotice] later or more.
func (a *Agency) planned() (used, unused int) {
	if d := a.peer.Docket(a.agency); d != nil {
		if p, ok := d.Plan(a.peer.Now()); ok {
			return slices.Max(p.Daily.RetentionDays), p.UnusedDays
		}
	}
	return math.MaxInt, math.MaxInt
}

func (a *Agency) checkPlanned(used, unused int) error {
	longest, most := a.planned()
	if used <= longest && min(used, unused) <= most {
		return nil
	}
	return node.WithHint(consent.Refuse(consent.RetentionTooLong, "terms", "kept %d days, %d if not used; the docket's daily entries have places for up to %d and %d so far", used, min(used, unused), longest, most),
		"the charter's limits were raised, and its daily entries follow a month later or more; until then ask for less")
}

// draft makes the text of a request that officer and supervisor sign. It makes and keeps the
// reception key that the request names.
func (a *Agency) draft(_ context.Context, d Draft) (Drafted, error) {
	ag, own, err := a.self()
	if err != nil {
		return Drafted{}, err
	}
	if err := own.MaySign(); err != nil {
		return Drafted{}, err
	}
	if a.peer.Host() == nil {
		return Drafted{}, node.WithHint(node.ErrNotRunning, "start it with `porchlight agency run`: a request names this node's reply addresses")
	}
	c := a.peer.Charter()
	area, err := geo.ParseGeoJSON(d.Area)
	if err != nil {
		return Drafted{}, fmt.Errorf("area: %w", err)
	}
	if d.ExpiresDays == 0 {
		d.ExpiresDays = c.Limits.MaxExpiryDays
	}
	longest, unused := a.planned()
	if d.RetentionDays == 0 {
		d.RetentionDays = min(c.Limits.MaxRetentionDays, longest)
	}
	if d.UnusedDays == 0 {
		d.UnusedDays = min(c.Limits.MaxUnusedDays, unused)
	}
	if d.Recipients == nil {
		d.Recipients = []string{}
	}
	key, err := consent.GenerateKey(rand.Reader, "reception")
	if err != nil {
		return Drafted{}, err
	}
	now := a.peer.Now()
	r := request.Request{Agency: a.agency, Case: d.Case, Offence: request.Offence(d.Offence), Basis: request.Basis(d.Basis), OrderHash: d.OrderHash,
		Incident: request.Incident{At: consent.At(d.IncidentAt), Place: geo.Point{Lat: d.IncidentLat, Lon: d.IncidentLon}},
		Area:     area, From: consent.At(d.From), Until: consent.At(d.Until), Text: d.Text, Contact: d.Contact,
		Terms:        request.Terms{RetentionDays: d.RetentionDays, UnusedDays: d.UnusedDays, Recipients: d.Recipients, Resharing: d.Resharing},
		ReceptionKey: key.Verifier(), Reply: a.replyAddrs(), Created: consent.At(now), Expires: consent.At(now.AddDate(0, 0, d.ExpiresDays)),
		Officer: d.Officer, Supervisor: d.Supervisor}
	if err := errors.Join(r.Check(), r.CheckCharter(c, ag), a.checkPlanned(r.Terms.RetentionDays, r.Terms.UnusedDays)); err != nil {
		if consent.ClassOf(err) == request.ReplyNotPublic {
			err = node.WithHint(err, reachable)
		}
		return Drafted{}, err
	}
	text, err := consent.Text(r)
	if err != nil {
		return Drafted{}, err
	}
	pub, err := key.Verifier().Public()
	if err != nil {
		return Drafted{}, err
	}
	path := a.peer.State.Path("keys", "reception", hex.EncodeToString(pub)+".key")
	return Drafted{Text: string(text)}, a.peer.State.Disk().WriteFile(path, []byte(key.Encode()+"\n"), 0o600)
}
