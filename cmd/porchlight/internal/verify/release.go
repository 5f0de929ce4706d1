package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/footage/release"
	"github.com/porchlight-mesh/porchlight/node"
)

// maxKey bounds the file of a release key, in bytes; an age identity has 74 characters.
const maxKey = 1024

// sealed holds a sealed release against its manifest, and with its key what is inside too.
func sealed(ctx context.Context, r *Result, f *os.File, with With) error {
	r.Kind = "sealed release"
	if with.Manifest == "" {
		return node.WithHint(errors.New("a sealed release says nothing by itself"), "give its manifest with --manifest")
	}
	note, err := readNote(with.Manifest)
	if err != nil {
		return err
	}
	m, err := manifest(r, note, with)
	if err != nil {
		return fmt.Errorf("%s: %w", with.Manifest, err)
	}
	sum, size, err := release.Measure(ctx, f)
	if err != nil {
		return err
	}
	if size != m.SealedBytes || sum != m.SealedSHA256 {
		return fmt.Errorf("not the file of the manifest: %d bytes with SHA-256 %s, the manifest says %d with %s: %w", size, sum, m.SealedBytes, m.SealedSHA256, release.ErrDamaged)
	}
	r.prove("its %s have the SHA-256 that the manifest says", ui.MB(size))
	root, err := release.ParseRoot(string(m.CID))
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := release.Verify(ctx, f, root); err != nil {
		return err
	}
	r.prove("its address, worked out anew, is %s", m.CID)
	if with.Key == "" {
		r.leave("what is inside: give the release key with --key")
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	key, err := readReleaseKey(with.Key)
	if err != nil {
		return err
	}
	// The clip goes nowhere: only its hash is wanted.
	in, out := io.Pipe()
	go func() { // ends when the clip was read or the reader has closed
		out.CloseWithError(release.Open(ctx, out, f, key))
	}()
	sum, size, err = release.Measure(ctx, in)
	in.Close()
	if err != nil {
		return err
	}
	if size != m.PlainBytes || sum != m.PlainSHA256 {
		return fmt.Errorf("the clip inside is not the one of the manifest: %d bytes with SHA-256 %s: %w", size, sum, release.ErrDamaged)
	}
	r.prove("the key opens it, and the clip inside has the SHA-256 that the manifest says")
	return nil
}

func readReleaseKey(path string) (release.ReleaseKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := readAll(f, maxKey)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return release.ReleaseKey(strings.TrimSpace(string(b))), nil
}
