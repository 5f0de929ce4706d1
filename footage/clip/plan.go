package clip

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"sort"
	"time"
)

// plan is a cut in the making: which frames of which file, and when they really were.
type plan struct {
	inputs      []Input
	from, until time.Time
	opts        Options
	runs        []*run
	overlaps    []overlap
	frames      int
}

// overlap is an Overlap in the making.
type overlap struct {
	from, until time.Duration
	shown       int
}

// run is a stretch of frames of one file. Times are real ones, counted from the asked start.
type run struct {
	input   int
	path    string
	file    Input // as it was when it was planned
	info    os.FileInfo
	movie   *Movie // without its samples
	samples []sample
	joined  bool          // starts where the run before ends
	start   time.Duration // of the first frame, which is a keyframe
	end     time.Duration // of the frame that ends last
}

// when is the real time of a presentation time of the file.
func (r *run) when(pts int64) time.Duration {
	return r.start + r.movie.at(pts) - r.movie.at(r.samples[0].pts())
}

// usual is the usual length of a frame near the end of the run.
func (r *run) usual() time.Duration {
	return time.Duration(rescale(usual(r.samples), int64(time.Second), int64(r.movie.timescale)))
}

// measure sets the end of the run.
func (r *run) measure() {
	r.end = r.start
	for i := range r.samples {
		s := &r.samples[i]
		r.end = max(r.end, r.when(s.pts()+int64(s.dur)))
	}
}

// usual is the median duration of the last frames, in ticks: the very last one is often made up, and one
// before a hole is stretched.
func usual(samples []sample) int64 {
	tail := samples[max(0, len(samples)-15):]
	durs := make([]int64, len(tail))
	for i := range tail {
		durs[i] = int64(tail[i].dur)
	}
	slices.Sort(durs)
	return max(1, durs[len(durs)/2])
}

// choose fills the runs, in time order.
func (p *plan) choose(ctx context.Context) error {
	if !p.from.Before(p.until) {
		return fmt.Errorf("%w: the span ends (%s) before it starts (%s)", ErrNothing, stamp(p.until), stamp(p.from))
	}
	order := make([]int, len(p.inputs))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool {
		return p.inputs[order[a]].Start.Before(p.inputs[order[b]].Start)
	})
	for _, i := range order {
		in := p.inputs[i]
		if !in.Start.Before(p.until) || p.from.Sub(in.Start) > maxSpan {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		m, info, err := probeFile(in)
		if err != nil {
			return err
		}
		if err := p.add(i, m, info); err != nil {
			return err
		}
	}
	if len(p.runs) == 0 {
		return fmt.Errorf("%w: no frame of the %d recordings from %s to %s", ErrNothing, len(p.inputs), stamp(p.from), stamp(p.until))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func probeFile(in Input) (*Movie, os.FileInfo, error) {
	f, err := in.Open()
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: %w: it is no ordinary file", in.Path, ErrNotMP4)
	}
	m, err := Probe(f, info.Size())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", in.Path, err)
	}
	return m, info, nil
}

// add takes what a file has of the span. Files come in the order of their starts.
func (p *plan) add(input int, m *Movie, info os.FileInfo) error {
	zero := p.inputs[input].Start.Sub(p.from)
	span := p.until.Sub(p.from)
	samples := m.samples
	first := slices.IndexFunc(samples, func(s sample) bool { return s.sync })
	if first < 0 || zero+m.Duration <= 0 {
		return nil
	}
	path := p.inputs[input].Path
	r := &run{input: input, path: path, file: Input{Path: path, Size: info.Size(), ModTime: info.ModTime()}, info: info, movie: m}

	if len(p.runs) > 0 {
		before := p.runs[len(p.runs)-1]
		frame := before.usual() * 3 / 2
		hole := zero + m.at(samples[first].pts()) - before.end
		switch {
		case hole < 0 && -hole <= max(frame, p.opts.Slack), hole > frame && hole <= p.opts.Slack:
			zero -= hole
			r.joined = true
		case hole < 0 && zero+m.Duration <= before.end:
			p.overlaps = append(p.overlaps, overlap{zero + m.at(samples[first].pts()), zero + m.Duration, before.input})
			return nil
		}
	}

	key, last := first, -1
	for i := first; i < len(samples); i++ {
		at := zero + m.at(samples[i].pts())
		if samples[i].sync && at <= 0 {
			key = i
		}
		if at < span {
			last = i
		}
	}
	r.start = zero + m.at(samples[key].pts())
	if r.start >= span {
		return nil
	}
	if r.start <= 0 && !r.joined {
		for _, before := range p.runs { // this file shows the asked start by itself
			p.overlaps = append(p.overlaps, overlap{max(r.start, before.start), before.end, r.input})
		}
	}
	if r.start <= 0 {
		p.runs, p.frames = nil, 0
	}
	p.giveWay(r)

	shown := samples[key].pts()
	r.samples = make([]sample, 0, last+1-key)
	for _, s := range samples[key : last+1] {
		if s.pts() >= shown {
			r.samples = append(r.samples, s)
		} else if len(r.samples) < 32 {
			// The keyframe is decoded later by what is left out, and shown when it was: else the clip would
			// need a longer reordering delay than its frames do, and would not join what comes before.
			for k := range r.samples {
				r.samples[k].dts += int64(s.dur)
				r.samples[k].cto -= int64(s.dur)
			}
		}
	}
	m.samples = nil
	// A frame before a hole may claim to last beyond the span, and would make the clip seem longer.
	common := usual(r.samples)
	for i := range r.samples {
		s := &r.samples[i]
		if left := ticks(span-r.when(s.pts()), m.timescale); int64(s.dur) > max(left, common) {
			s.dur = uint32(max(left, common))
		}
	}
	r.measure()
	if p.frames += len(r.samples); p.frames > maxSamples {
		return fmt.Errorf("the clip would have more than %d frames: ask for a shorter span", maxSamples)
	}
	if len(p.runs) == 0 {
		r.joined = false
	} else if what := differ(p.runs[len(p.runs)-1].movie, m); what != "" {
		return &MixError{p.runs[len(p.runs)-1].path, r.path, what}
	}
	p.runs = append(p.runs, r)
	return nil
}

// giveWay ends earlier runs before the first frame of r, so that no moment is in the clip twice. They end
// where the first frame in stored order would be shown after it, so that the rest can be decoded.
func (p *plan) giveWay(r *run) {
	for len(p.runs) > 0 && !r.joined {
		before := p.runs[len(p.runs)-1]
		if before.end <= r.start {
			return
		}
		p.overlaps = append(p.overlaps, overlap{max(r.start, before.start), before.end, r.input})
		keep := 0
		for keep < len(before.samples) && before.when(before.samples[keep].pts()) < r.start {
			keep++
		}
		p.frames -= len(before.samples) - keep
		before.samples = before.samples[:keep]
		if keep > 0 {
			before.measure()
			return
		}
		p.runs = p.runs[:len(p.runs)-1]
	}
}

// differ names what keeps two files out of one track.
func differ(a, b *Movie) string {
	x, y := a.entries[0], b.entries[0]
	switch {
	case x.kind != y.kind:
		return fmt.Sprintf("codec (%s and %s)", x.kind, y.kind)
	case x.width != y.width || x.height != y.height:
		return fmt.Sprintf("picture size (%dx%d and %dx%d)", x.width, x.height, y.width, y.height)
	case a.shape != b.shape:
		return "rotation or shape of the picture"
	}
	return ""
}

// holes lists the gaps inside a run: moments that a fragmented file's own clock skips.
func (r *run) holes() [][2]time.Duration {
	var list [][2]time.Duration
	frame := usual(r.samples) * 3 / 2
	end := int64(0)
	for i := range r.samples {
		s := &r.samples[i]
		if i > 0 && s.dts-r.samples[i-1].dts-int64(r.samples[i-1].dur) > frame && s.pts()-end > frame {
			list = append(list, [2]time.Duration{r.when(end), r.when(s.pts())})
		}
		if e := s.pts() + int64(s.dur); i == 0 || e > end {
			end = e
		}
	}
	return list
}

func (p *plan) result() Result {
	head, tail := p.runs[0], p.runs[len(p.runs)-1]
	res := Result{
		From: p.real(head.start), Until: p.real(tail.end), LeadIn: max(0, -head.start), Frames: p.frames,
		Codec: head.movie.Codec, Width: head.movie.Width, Height: head.movie.Height,
	}
	for i, r := range p.runs {
		if i > 0 && !r.joined {
			if before := p.runs[i-1]; r.start-before.end > before.usual()*3/2 {
				res.Gaps = append(res.Gaps, Gap{p.real(before.end), p.real(r.start)})
			}
		}
		for _, h := range r.holes() {
			res.Gaps = append(res.Gaps, Gap{p.real(h[0]), p.real(h[1])})
		}
		if !slices.Contains(res.Inputs, r.input) {
			res.Inputs = append(res.Inputs, r.input)
		}
		res.AudioRemoved = res.AudioRemoved || r.movie.HasAudio
	}
	slices.SortStableFunc(p.overlaps, func(a, b overlap) int { return cmp.Compare(a.from, b.from) })
	for _, o := range p.overlaps {
		from, until := max(o.from, head.start), min(o.until, tail.end)
		if slices.Contains(res.Inputs, o.shown) && from < until {
			res.Overlaps = append(res.Overlaps, Overlap{p.real(from), p.real(until), o.shown})
		}
	}
	return res
}

func (p *plan) real(d time.Duration) time.Time { return p.from.Add(d).UTC() }

// stsd gives the sample entries of the clip, each once, and for every run the number (from 1) of each of
// its file's entries.
func (p *plan) stsd() (list [][]byte, numbers [][]uint32) {
	for _, r := range p.runs {
		used := make([]uint32, len(r.movie.entries))
		for i := range r.samples {
			d := r.samples[i].desc
			if used[d] != 0 {
				continue
			}
			at := slices.IndexFunc(list, func(b []byte) bool { return bytes.Equal(b, r.movie.entries[d].box) })
			if at < 0 {
				at = len(list)
				list = append(list, r.movie.entries[d].box)
			}
			used[d] = uint32(at + 1)
		}
		numbers = append(numbers, used)
	}
	return list, numbers
}
