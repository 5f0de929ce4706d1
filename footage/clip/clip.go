package clip

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Errors that [Probe] and [Cut] wrap; match them with [errors.Is].
var (
	// ErrNotMP4 says that the bytes are no MP4 file, or break its rules.
	ErrNotMP4 = errors.New("not a readable MP4 file")
	// ErrTruncated says that the file ends before the part that lists its frames.
	ErrTruncated = errors.New("the file was cut off before its index of frames")
	// ErrCodec says that the file is MP4 but holds no H.264 or H.265 video that can be cut.
	ErrCodec = errors.New("no H.264 or H.265 video")
	// ErrNothing says that no keyframe of any input falls into the asked span.
	ErrNothing = errors.New("no footage in the asked span")
)

// IndexError is a flaw in a file's boxes. It wraps ErrNotMP4, ErrTruncated or ErrCodec.
type IndexError struct {
	Box    string // four-letter box type, or "file"
	Offset int64  // bytes from the start of the file to the box
	Err    error
}

func (e *IndexError) Error() string {
	return fmt.Sprintf("%s box at byte %d: %v", e.Box, e.Offset, e.Err)
}

func (e *IndexError) Unwrap() error { return e.Err }

// MixError says that two recordings cannot share one video track.
type MixError struct {
	A, B string // paths, in time order
	What string // what differs
}

func (e *MixError) Error() string {
	return fmt.Sprintf("%s and %s differ in %s: make one clip of each", e.A, e.B, e.What)
}

const (
	// maxSamples bounds the index of one file and of one cut.
	maxSamples = 1 << 22
	// maxSpan bounds the times a file may claim, either way.
	maxSpan = 31 * 24 * time.Hour
	// maxTimescale is the finest clock a track may have, ticks a second.
	maxTimescale = 1_000_000_000
)

// sample is one frame as the file stores it, in decoding order.
type sample struct {
	off  int64  // bytes from the start of the file
	dts  int64  // decoding time, ticks of the track's timescale
	cto  int64  // presentation time minus decoding time, ticks
	size uint32 // bytes
	dur  uint32 // ticks until the next frame's decoding time, as the file claims
	desc uint16 // index into Movie.entries
	sync bool   // a keyframe
}

// pts is the presentation time in ticks.
func (s *sample) pts() int64 { return s.dts + s.cto }

// Movie is what a recording says about itself.
type Movie struct {
	Codec      string        // "h264" or "h265"
	Width      int           // pixels, as coded
	Height     int           // pixels, as coded
	Duration   time.Duration // from time zero to the end of the last frame
	Created    time.Time     // from mvhd, UTC, whole seconds; zero when the file does not say
	Fragmented bool
	HasAudio   bool
	Truncated  bool // the end of the recording is missing; the rest is usable

	timescale uint32
	origin    int64 // presentation time, in ticks, that is time zero
	samples   []sample
	entries   []entry
	shape     shape
}

// at turns a presentation time in ticks into time since the movie's zero.
func (m *Movie) at(pts int64) time.Duration {
	return time.Duration(rescale(pts-m.origin, int64(time.Second), int64(m.timescale)))
}

// Probe reads the boxes of an MP4 file of size bytes, and no picture. It needs memory for the index of
// frames only (40 bytes a frame), which the file's real size bounds. A [*Movie] has at least one frame.
func Probe(r io.ReaderAt, size int64) (*Movie, error) {
	f := &file{win: window{r: r, size: size}}
	m, err := f.movie()
	if err != nil {
		return nil, err
	}
	if len(m.samples) == 0 {
		return nil, &IndexError{"moov", f.moov, fmt.Errorf("%w: it lists no frame that is in the file", ErrTruncated)}
	}
	if err := m.settle(f.edit); err != nil {
		return nil, &IndexError{"moov", f.moov, err}
	}
	return m, nil
}

// settle fixes time zero and the duration, and refuses times no recording has.
func (m *Movie) settle(edit *edit) error {
	m.origin = m.samples[0].pts()
	for i := range m.samples {
		if m.samples[i].sync {
			m.origin = m.samples[i].pts()
			break
		}
	}
	if edit != nil && !m.Fragmented {
		empty := rescale(edit.empty, int64(m.timescale), edit.timescale)
		m.origin = edit.media - empty
	}
	end, limit := int64(math.MinInt64), ticks(maxSpan, m.timescale)
	for i := range m.samples {
		s := &m.samples[i]
		if d := s.pts() - m.origin; d > limit || d < -limit {
			return fmt.Errorf("%w: frame %d claims to be more than %v away from the start", ErrNotMP4, i+1, maxSpan)
		}
		end = max(end, s.pts()+int64(s.dur))
	}
	m.Duration = max(0, min(m.at(end), maxSpan))
	return nil
}
