package clip

import (
	"context"
	"io"
	"time"
)

// Options changes how Cut joins files. The zero value is right for starts known to the millisecond.
type Options struct {
	// Slack is how far an Input's Start may be off, such as a second for names that hold whole seconds.
	// A hole or an overlap between two files that is no longer than this is taken for an inexact name: the
	// files join without a gap and without losing a frame.
	Slack time.Duration
}

// Gap is a span without footage inside a clip.
type Gap struct{ From, Until time.Time }

// Overlap is a span that two recordings both claim by more than Slack, as after a clock was set back. The clip
// shows one of them there; what the other recorded is left out.
type Overlap struct {
	From, Until time.Time // UTC, inside the clip
	Shown       int       // the input, by index
}

// Result says what a clip holds.
type Result struct {
	From, Until   time.Time     // real time of the first frame, and of the end of the last; UTC
	LeadIn        time.Duration // how much is shown before the asked time
	Frames        int
	Gaps          []Gap // longer than 1.5 frames, in order, UTC; not before From or after Until
	Overlaps      []Overlap
	Codec         string
	Width, Height int
	Inputs        []int // the inputs used, by index, in time order
	AudioRemoved  bool  // an input had sound, which the clip has not
}

// Cut writes the footage of [from, until) as one MP4 file to w. See the package comment for what is kept
// and how files are joined. The inputs may come in any order and may reach beyond the span; one that
// starts at or after until is not opened. An input that cannot be read fails the cut with an error that
// names its path, since leaving it out would be the caller's decision. Errors: [ErrNothing], those of
// [Probe], [*MixError], [ErrGone] and [ErrChanged] for a file that vanished or was written to since it was
// chosen or while it was cut, and those of the files, of w and of ctx. After an error w holds nothing of
// use.
func Cut(ctx context.Context, w io.Writer, inputs []Input, from, until time.Time, opts Options) (Result, error) {
	p := &plan{inputs: inputs, from: from, until: until, opts: opts}
	if err := p.choose(ctx); err != nil {
		return Result{}, err
	}
	if err := p.write(ctx, w); err != nil {
		return Result{}, err
	}
	return p.result(), nil
}
