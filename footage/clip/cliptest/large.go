package cliptest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Large writes a progressive MP4 file of the given length in seconds and about the given size in bytes, under
// 4 GiB, to dir/name and returns its path. It has 25 frames a second, as a camera's recording has, all of one
// size, with random bytes in the place of pictures: whatever keeps and moves recordings takes it for one, a
// player shows nothing. The same seed, length and size always give the same bytes.
func Large(t testing.TB, dir, name string, seconds int, size int64, seed byte) string {
	t.Helper()
	const faster = 5 // than what Recording makes
	path := Recording(t, dir, name, faster*seconds)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// fields finds a box of the head, whose table starts that many bytes after the box's name.
	fields := func(kind string, skip int) []byte {
		at := bytes.Index(b, []byte(kind+"\x00\x00\x00\x00"))
		if at < 0 {
			t.Fatalf("cliptest: %s has no %s box", path, kind)
		}
		return b[at+4+skip:]
	}
	for _, kind := range []string{"mvhd", "mdhd"} {
		scale := fields(kind, 12)
		binary.BigEndian.PutUint32(scale, faster*binary.BigEndian.Uint32(scale))
	}
	sizes, chunks := fields("stsz", 8), fields("stco", 4)
	frames := int64(binary.BigEndian.Uint32(sizes))
	count := int64(binary.BigEndian.Uint32(chunks))
	frame := size / frames
	for i := range frames {
		binary.BigEndian.PutUint32(sizes[4+4*i:], uint32(frame))
	}
	media := bytes.Index(b, []byte("mdat"))
	if media < 0 || frames%count != 0 || frame < 1 || 8+frames*frame+int64(media) > math.MaxUint32 {
		t.Fatalf("cliptest: %s cannot be made: %d frames of %d bytes in %d chunks", path, frames, frame, count)
	}
	for i := range count {
		binary.BigEndian.PutUint32(chunks[4+4*i:], uint32(int64(media)+4+i*(frames/count)*frame))
	}
	binary.BigEndian.PutUint32(b[media-4:], uint32(8+frames*frame))

	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	w.Write(b[:media+4])
	random := rand.NewChaCha8([32]byte{seed})
	if _, err := io.CopyN(w, random, frames*frame); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return filepath.Clean(path)
}
