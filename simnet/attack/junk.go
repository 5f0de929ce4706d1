package attack

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/p2p/host"
)

// Junk hands on nothing. In place of each request that it hears of it sends a hundred changed copies, half of them at once, before most of
// its neighbours have the true one, and half of them later. Those that anybody can tell to be forged come last, as its neighbours stop
// listening after a few.
func Junk(ctx context.Context, h *host.Host, topic string) (leave func() error, err error) {
	t, heard, err := overhears(ctx, h, topic)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { // until ctx ends
		defer close(done)
		known := map[string]bool{} // copies are of the first message, not of other attackers' copies
		for {
			select {
			case <-ctx.Done():
				return
			case msg := <-heard:
				asked, ok := RequestIn(msg)
				if !ok || known[asked] {
					continue
				}
				known[asked] = true
				for i, v := range spoiled(msg) {
					wait := 3 * time.Millisecond
					if i == Spoils/2 {
						wait = 5 * time.Second
					}
					select {
					case <-ctx.Done():
						return
					case <-time.After(wait):
						_ = t.Publish(ctx, v) // it has nobody to tell of a failure
					}
				}
			}
		}
	}()
	return func() error { <-done; return t.Close() }, nil
}

// Spoils is how many changed copies are made of a message.
const Spoils = 100

// RequestIn is the request that a message carries.
func RequestIn(msg []byte) (note string, ok bool) {
	b, err := docket.ParseBundle(msg)
	if err != nil {
		return "", false
	}
	kind, err := consent.Peek(b.Subject())
	return string(b.Subject()), err == nil && kind == request.Kind
}

// spoiled changes a docket's message: without the cosignatures, with one less, in another order, with lines of strangers, with a bit flipped.
func spoiled(msg []byte) (all [][]byte) {
	var b struct {
		Agency     string          `json:"agency"`
		Checkpoint string          `json:"checkpoint"`
		Entries    json.RawMessage `json:"entries"`
	}
	if json.Unmarshal(msg, &b) != nil {
		return nil
	}
	text, signatures, _ := strings.Cut(b.Checkpoint, "\n\n")
	lines := slices.Collect(strings.Lines(signatures))
	agency, lines := lines[0], lines[1:]
	add := func(lines ...string) {
		b.Checkpoint = text + "\n\n" + agency + strings.Join(lines, "")
		if v, err := consent.EncodeStrict(b); err == nil && !bytes.Equal(v, msg) {
			all = append(all, v)
		}
	}
	add()
	for i := range lines {
		add(slices.Delete(slices.Clone(lines), i, i+1)...)
		add(append(slices.Clone(lines[i:]), lines[:i]...)...)
	}
	const flips = 10
	for len(all) < Spoils-flips {
		stranger := make([]byte, 4+8+ed25519.SignatureSize)
		rand.Read(stranger)
		stranger[4] = 0 // of a time that there is
		add(append(slices.Clone(lines), "— Mallory "+base64.StdEncoding.EncodeToString(stranger)+"\n")...)
	}
	for i := range flips {
		v := bytes.Clone(msg)
		v[len(v)*(i+1)/(flips+2)] ^= 1
		all = append(all, v)
	}
	return all
}
