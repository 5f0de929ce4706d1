package agency

import (
	"context"
	"time"

	"github.com/porchlight-mesh/porchlight/node"
)

// stir has witness look again: a peer connected, which may be a witness, or a charter came, which may name others.
func (a *Agency) stir() {
	select {
	case a.maybe <- struct{}{}:
	default:
	}
}

// witness asks the witnesses again for what too few have cosigned, and for the time where this machine's clock is not trusted: when one may be
// back, and every now and then.
func (a *Agency) witness(ctx context.Context) error {
	t := time.NewTicker(gatherEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-a.maybe:
		}
		if err := a.askTime(ctx); err != nil {
			a.peer.Log.Error("clock", "err", err)
		}
		if _, d, err := a.self(); err == nil && d.Waiting() != nil {
			if _, err := a.spread(ctx, d); err != nil && ctx.Err() == nil {
				a.peer.Log.Warn("entries not passed on", "err", err)
			}
		}
	}
}

// gatherFor is how long witnesses are waited for, and gatherEvery how often they are asked again where nothing changed.
const (
	gatherFor   = 20 * time.Second
	gatherEvery = 20 * time.Second
)

// spread has the docket's newest checkpoint cosigned, and then passes on the entries that were not yet. cosigned is how many witnesses
// have; where they are too few, the entries wait until some are back.
func (a *Agency) spread(ctx context.Context, d *node.Docket) (cosigned int, err error) {
	select {
	case a.spreading <- struct{}{}:
		defer func() { <-a.spreading }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	asking, cancel := context.WithTimeout(ctx, gatherFor)
	defer cancel()
	cosigned, reached, missing := a.peer.Gather(asking, d)
	if err := a.witnessed(reached); err != nil {
		a.peer.Log.Error("clock", "err", err)
	}
	if missing != nil {
		a.peer.Log.Info("not every witness has cosigned", "err", missing)
	}
	if d.Waiting() != nil {
		return cosigned, nil
	}
	for size := d.Size(); a.spreadTo < size; a.spreadTo++ {
		if err := a.peer.PublishEntry(ctx, d, a.spreadTo); err != nil && ctx.Err() == nil && a.spreadTo == size-1 {
			return cosigned, err
		}
	}
	return cosigned, ctx.Err()
}
