package node

import (
	"time"

	"github.com/porchlight-mesh/porchlight/consent/charter"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/grant"
)

// LiveHolds are the holds that cover something at a time (docket.Log.LiveHolds). sure is false where the docket cannot be read.
func (d *Docket) LiveHolds(at time.Time) (all []docket.LiveHold, sure bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.usable() != nil {
		return nil, false
	}
	return d.log.LiveHolds(at), true
}

// TransferOf is the id of the transfer to a class of agencies with its owner's consent that covers a blinded commitment, "" where none does.
func (d *Docket) TransferOf(blind grant.Commitment, to charter.AgencyClass) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.usable() != nil {
		return ""
	}
	return d.log.TransferOf(blind, to, docket.GroundOwner)
}
