package attack

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Forger sends that many forged messages a second, from when it first hears of a docket and for that long: each is the
// newest true message with another signature of the agency's, so that only verifying it tells. It hands on nothing.
func Forger(rate int, lasts time.Duration) Program {
	return floods(rate, lasts, func(msg []byte) []byte { return resigned(msg, 0) })
}

// Replayer sends true messages that way with a line of a witness nobody knows under the checkpoint. Peers do not pass
// them on, and cannot hold them against it, as another peer's charter may name that witness.
func Replayer(rate int, lasts time.Duration) Program {
	return floods(rate, lasts, func(msg []byte) []byte { return resigned(msg, 1) })
}

func floods(rate int, lasts time.Duration, forge func([]byte) []byte) Program {
	return func(ctx context.Context, h *host.Host, topic string) (func() error, error) {
		t, heard, err := overhears(ctx, h, topic)
		if err != nil {
			return nil, err
		}
		ended := make(chan struct{})
		go func() { // until ctx ends
			defer close(ended)
			var newest []byte
			known := map[string]bool{} // what it hears of an entry first is true; later it may be another forger's
			tick := time.NewTicker(time.Second / time.Duration(rate))
			defer tick.Stop()
			var end time.Time
			for {
				select {
				case <-ctx.Done():
					return
				case msg := <-heard:
					if b, err := docket.ParseBundle(msg); err == nil && !known[string(b.Subject())] {
						known[string(b.Subject())] = true
						newest = msg
						if end.IsZero() {
							end = time.Now().Add(lasts)
						}
					}
				case <-tick.C:
					if time.Now().Before(end) {
						_ = t.Publish(ctx, forge(newest)) // it has nobody to tell of a failure
					}
				}
			}
		}()
		return func() error { <-ended; return t.Close() }, nil
	}
}

// resigned gives a docket's message random bytes for its agency's signature, or with another line a cosignature of a
// stranger's at its end.
func resigned(msg []byte, line int) []byte {
	var b struct {
		Agency     string          `json:"agency"`
		Checkpoint string          `json:"checkpoint"`
		Entries    json.RawMessage `json:"entries"`
	}
	if json.Unmarshal(msg, &b) != nil {
		return msg
	}
	random := make([]byte, 4+8+ed25519.SignatureSize)
	rand.Read(random)
	if line > 0 {
		random[4] = 0 // of a time that there is
		b.Checkpoint += "— Mallory " + base64.StdEncoding.EncodeToString(random) + "\n"
	} else {
		text, lines, _ := strings.Cut(b.Checkpoint, "\n\n")
		first, rest, _ := strings.Cut(lines, "\n")
		at := strings.LastIndex(first, " ") + 1
		sig, err := base64.StdEncoding.DecodeString(first[at:])
		if err != nil || len(sig) < ed25519.SignatureSize {
			return msg
		}
		copy(sig[len(sig)-ed25519.SignatureSize:], random)
		b.Checkpoint = text + "\n\n" + first[:at] + base64.StdEncoding.EncodeToString(sig) + "\n" + rest
	}
	forged, err := consent.EncodeStrict(b)
	if err != nil {
		return msg
	}
	return forged
}
