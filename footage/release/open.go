package release

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// Open writes to dst the clip inside a sealed release. It is the one function that does.
//
// Bytes reach dst only after the chunk of 64 KiB they belong to was authenticated, but the end of the
// file is known to be the end only when Open returns nil. A caller therefore gives it a temporary
// file and throws that away on any error, so that half a clip is never taken for a whole one.
//
// Errors wrap [ErrKey], [ErrNotRelease], [ErrTruncated] or [ErrDamaged] where the sealed bytes or the
// key are at fault, and the reader's, writer's or context's own error otherwise. A release with more
// than one recipient, with one of another type, or with bytes after its end is refused.
func Open(ctx context.Context, dst io.Writer, sealed io.Reader, key ReleaseKey) error {
	in := &reader{ctx: ctx, r: sealed}
	plain, err := unlock(in, key)
	if err != nil {
		return err
	}
	buf := make([]byte, sealChunk)
	var written int64
	for {
		n, err := plain.Read(buf)
		if n > 0 {
			m, werr := dst.Write(buf[:n])
			if werr == nil && m < n {
				werr = io.ErrShortWrite
			}
			if werr != nil {
				return fmt.Errorf("write the opened clip, at byte %d: %w", written, werr)
			}
			written += int64(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return openError(in, written, err)
		}
	}
}

// CheckKey says whether a key is the one of a sealed release, by the release's header alone.
func CheckKey(sealed io.Reader, key ReleaseKey) error {
	_, err := unlock(&reader{ctx: context.Background(), r: sealed}, key)
	return err
}

// unlock reads the header and returns the sealed clip's reader.
func unlock(in *reader, key ReleaseKey) (io.Reader, error) {
	id, err := key.identity()
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewReaderSize(in, copyBuffer)
	if err := checkHeader(in, buffered); err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(buffered, id)
	if err != nil {
		return nil, openError(in, 0, err)
	}
	return plain, nil
}

// checkHeader looks at the header's form before anything interprets it: the version, then one X25519
// stanza and nothing else, which fixes its length.
func checkHeader(in *reader, r *bufio.Reader) error {
	head, err := r.Peek(headerSize + nonceSize)
	if in.err != nil {
		return fmt.Errorf("read the sealed release: %w", in.err)
	}
	known := func(offset int, want string) bool {
		for i := 0; i < len(want) && offset+i < len(head); i++ {
			if head[offset+i] != want[i] {
				return false
			}
		}
		return true
	}
	// stanza: prefix, 43 characters, newline, 43 characters, newline; then "--- " and the MAC.
	body := len(versionLine) + len(stanzaPrefix) + 43
	ok := known(0, versionLine) && known(len(versionLine), stanzaPrefix) && known(body, "\n") &&
		known(body+44, "\n") && known(body+45, "--- ") && known(headerSize-1, "\n")
	switch {
	case len(head) == 0:
		return fmt.Errorf("%w: it is empty", ErrTruncated)
	case !ok:
		return fmt.Errorf("%w: it does not begin with an age header for one X25519 recipient", ErrNotRelease)
	case err != nil:
		return fmt.Errorf("%w: it ends inside its header, at byte %d", ErrTruncated, len(head))
	}
	return nil
}

// openError names the fault behind an error of the age layer.
func openError(in *reader, written int64, err error) error {
	var noMatch *age.NoIdentityMatchError
	switch {
	case in.err != nil:
		return fmt.Errorf("read the sealed release, after %d bytes of the clip: %w", written, in.err)
	case errors.As(err, &noMatch):
		return fmt.Errorf("%w: it belongs to another release, or the release's header was changed", ErrKey)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends after %d bytes of the clip; fetch it again", ErrTruncated, written)
	}
	return fmt.Errorf("%w: after %d bytes of the clip: %v", ErrDamaged, written, err)
}
