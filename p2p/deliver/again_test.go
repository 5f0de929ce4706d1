package deliver

import (
	"testing"
	"time"
)

// A home whose line went dead comes back before its requester has noticed: it is let in, and the session that
// hangs is broken off. Another home's session is not.
func TestAHomeThatComesBackEndsItsOwnSession(t *testing.T) {
	f := newFilm(t, 5<<20)
	v := newVault(f)
	h := requester(t, v, Limits{})
	cfg := sendConfig(h, "tcp")
	begin := func(l *link) {
		t.Helper()
		if err := l.send(kindGrant, []byte("g")); err != nil {
			t.Fatal(err)
		}
		if _, err := l.expect(kindAcceptance, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	hanging, other := rawAs(t, h, cfg.Key), raw(t, h)
	begin(hanging)
	begin(other)
	manifest, err := encodeManifest(f.root.String(), f.release().Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := hanging.send(kindManifest, manifest); err != nil {
		t.Fatal(err)
	}
	if _, err := hanging.expect(kindHave, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := Send(t.Context(), cfg, Offer{Grant: []byte("g"), Releases: []Release{f.release()}}, trusting()); err != nil {
		t.Fatal(err)
	}
	f.whole(t, v.shelf[f.root.String()])
	if _, err := hanging.expect(kindReceipt, 5*time.Second); err == nil || timedOut(err) {
		t.Errorf("the session that hung ended with %v", err)
	}
	if err := other.send(kindManifest, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := other.expect(kindHave, 5*time.Second); class(err) != ClassProtocol {
		t.Errorf("the session of the other home ended with %v, want one that goes on", err)
	}
}
