package clip

import (
	"encoding/binary"
	"math"
)

// sampleTables reads a progressive track's frames. Where the tables disagree with each other or with the
// size of the file, the file is refused; frames beyond the end of a torn file are left out.
func (f *file) sampleTables(stbl box) error {
	found := map[string]box{}
	err := f.win.children(stbl, 0, func(b box) error {
		switch b.kind {
		case "stsz", "stts", "ctts", "stss", "stsc", "stco", "co64":
			found[b.kind] = b
		}
		return nil
	})
	if err != nil {
		return err
	}
	stsz, ok := found["stsz"]
	if !ok {
		if f.m.Fragmented {
			return nil
		}
		return stbl.fail(ErrNotMP4, "it has no stsz box")
	}
	if err := f.sizes(stsz); err != nil || len(f.m.samples) == 0 {
		return err
	}
	for _, step := range []struct {
		kind string
		read func(box) error
	}{{"stts", f.durations}, {"ctts", f.offsets}, {"stss", f.keys}} {
		if b, ok := found[step.kind]; ok {
			if err := step.read(b); err != nil {
				return err
			}
		} else if step.kind == "stts" {
			return stbl.fail(ErrNotMP4, "it has no stts box")
		} else if step.kind == "stss" {
			for i := range f.m.samples {
				f.m.samples[i].sync = true
			}
		}
	}
	stsc, ok := found["stsc"]
	if !ok {
		return stbl.fail(ErrNotMP4, "it has no stsc box")
	}
	chunks, width := found["stco"], 4
	if chunks.kind == "" {
		chunks, width = found["co64"], 8
	}
	if chunks.kind == "" {
		return stbl.fail(ErrNotMP4, "it has no stco or co64 box")
	}
	return f.places(stsc, chunks, width)
}

func (f *file) sizes(b box) error {
	t, err := f.win.table(b, 8, 0)
	if err != nil {
		return err
	}
	p, err := f.win.bytes(b.body+4, 4)
	if err != nil {
		return b.fail(ErrNotMP4, "%v", err)
	}
	same := binary.BigEndian.Uint32(p)
	if same == 0 {
		if t, err = f.win.table(b, 8, 4); err != nil {
			return err
		}
	}
	// Even a torn recording has a byte for each frame in front of its index, or behind it.
	if err := f.room(b, int64(t.Rows)); err != nil {
		return err
	}
	f.m.samples = make([]sample, t.Rows)
	for i := range f.m.samples {
		if f.m.samples[i].size = same; same == 0 {
			row, err := t.row()
			if err != nil {
				return err
			}
			f.m.samples[i].size = binary.BigEndian.Uint32(row)
		}
	}
	return nil
}

// room refuses more frames than the file can have bytes for, or than an index may hold.
func (f *file) room(b box, more int64) error {
	n := int64(len(f.m.samples)) + more
	if n > f.win.size {
		return b.fail(ErrNotMP4, "it claims %d frames in a file of %d bytes", n, f.win.size)
	}
	if n > maxSamples {
		return b.fail(ErrNotMP4, "it claims %d frames, more than the %d that fit an index", n, maxSamples)
	}
	return nil
}

// take counts the bytes that frames claim: frames that share bytes could make a small file a huge clip.
func (f *file) take(b box, s *sample) error {
	if f.taken += int64(s.size); f.taken > f.win.size {
		return b.fail(ErrNotMP4, "the frames claim %d bytes in a file of %d", f.taken, f.win.size)
	}
	return nil
}

func (f *file) durations(b box) error {
	t, err := f.win.table(b, 4, 8)
	if err != nil {
		return err
	}
	limit, i := ticks(maxSpan, f.m.timescale), 0
	for range t.Rows {
		row, err := t.row()
		if err != nil {
			return err
		}
		count, dur := binary.BigEndian.Uint32(row), binary.BigEndian.Uint32(row[4:])
		for ; count > 0 && i < len(f.m.samples); count-- {
			f.m.samples[i].dts, f.m.samples[i].dur = f.lastEnd, dur
			if f.lastEnd += int64(dur); f.lastEnd > limit {
				return b.fail(ErrNotMP4, "it claims a recording of more than %v", maxSpan)
			}
			i++
		}
	}
	if i < len(f.m.samples) {
		return b.fail(ErrNotMP4, "it times %d of %d frames", i, len(f.m.samples))
	}
	return nil
}

func (f *file) offsets(b box) error {
	t, err := f.win.table(b, 4, 8)
	if err != nil {
		return err
	}
	i := 0
	for range t.Rows {
		row, err := t.row()
		if err != nil {
			return err
		}
		// Version 0 offsets are unsigned on paper, and negative in files all the same.
		count, cto := binary.BigEndian.Uint32(row), int64(int32(binary.BigEndian.Uint32(row[4:])))
		for ; count > 0 && i < len(f.m.samples); count-- {
			f.m.samples[i].cto = cto
			i++
		}
	}
	if i < len(f.m.samples) {
		return b.fail(ErrNotMP4, "it orders %d of %d frames", i, len(f.m.samples))
	}
	return nil
}

func (f *file) keys(b box) error {
	t, err := f.win.table(b, 4, 4)
	if err != nil {
		return err
	}
	last := uint32(0)
	for range t.Rows {
		row, err := t.row()
		if err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(row)
		if n <= last || int64(n) > int64(len(f.m.samples)) {
			return b.fail(ErrNotMP4, "keyframe %d after keyframe %d of %d frames", n, last, len(f.m.samples))
		}
		f.m.samples[n-1].sync, last = true, n
	}
	return nil
}

// places gives each frame its offset from the chunks' offsets and the frames in each chunk.
func (f *file) places(stsc, offs box, width int) error {
	runs, err := f.win.table(stsc, 4, 12)
	if err != nil {
		return err
	}
	chunks, err := f.win.table(offs, 4, width)
	if err != nil {
		return err
	}
	// The two tables are read side by side, each through its own window.
	own := window{r: f.win.r, size: f.win.size}
	chunks.w = &own

	var first, each, desc, nextFirst, nextEach, nextDesc uint32
	nextRun := func() error {
		first, each, desc = nextFirst, nextEach, nextDesc
		if runs.Rows == 0 {
			nextFirst = math.MaxUint32
			return nil
		}
		runs.Rows--
		row, err := runs.row()
		if err != nil {
			return err
		}
		nextFirst, nextEach, nextDesc = binary.BigEndian.Uint32(row), binary.BigEndian.Uint32(row[4:]), binary.BigEndian.Uint32(row[8:])
		if nextFirst <= first || nextEach == 0 || nextDesc == 0 || int64(nextDesc) > int64(len(f.m.entries)) {
			return stsc.fail(ErrNotMP4, "chunk %d, %d frames each, sample entry %d of %d, after chunk %d",
				nextFirst, nextEach, nextDesc, len(f.m.entries), first)
		}
		return nil
	}
	if err := nextRun(); err != nil {
		return err
	}
	if nextFirst != 1 {
		return stsc.fail(ErrNotMP4, "its first chunk is not number 1")
	}
	samples, i := f.m.samples, 0
	for n := uint32(1); i < len(samples); n++ {
		if n > chunks.Rows {
			return offs.fail(ErrNotMP4, "its %d chunks hold %d of %d frames", chunks.Rows, i, len(samples))
		}
		if n == nextFirst {
			if err := nextRun(); err != nil {
				return err
			}
		}
		row, err := chunks.row()
		if err != nil {
			return err
		}
		var off uint64
		if width == 4 {
			off = uint64(binary.BigEndian.Uint32(row))
		} else {
			off = binary.BigEndian.Uint64(row)
		}
		for k := uint32(0); k < each && i < len(samples); k++ {
			s := &samples[i]
			if off > uint64(f.win.size) || uint64(s.size) > uint64(f.win.size)-off {
				f.m.samples, f.m.Truncated = samples[:i:i], true
				if i > 0 {
					f.lastEnd = samples[i-1].dts + int64(samples[i-1].dur)
				}
				return nil
			}
			if err := f.take(offs, s); err != nil {
				return err
			}
			s.off, s.desc = int64(off), uint16(desc-1)
			off += uint64(s.size)
			i++
		}
	}
	return nil
}
