package clip

import "math"

// Flags of tfhd, trun and of a sample (ISO/IEC 14496-12, 8.8.3, 8.8.7, 8.8.8).
const (
	tfhdBase, tfhdDesc, tfhdDur, tfhdSize, tfhdFlags = 0x1, 0x2, 0x8, 0x10, 0x20
	tfhdFromMoof                                     = 0x20000
	trunOffset, trunFirst                            = 0x1, 0x4
	trunDur, trunSize, trunFlags, trunCTO            = 0x100, 0x200, 0x400, 0x800
	notSync                                          = 1 << 16
)

// fragment reads one moof box that is in the file as a whole. Frames whose bytes are not are left out.
func (f *file) fragment(moof box) error {
	next := moof.off // where a track fragment without a place of its own starts
	return f.win.children(moof, 0, func(traf box) error {
		if traf.kind != "traf" {
			return nil
		}
		return f.trackFragment(moof, traf, &next)
	})
}

func (f *file) trackFragment(moof, traf box, next *int64) error {
	var def defaults
	var track uint32
	base, started := int64(0), false
	return f.win.children(traf, 0, func(b box) error {
		switch b.kind {
		case "tfhd":
			p, err := f.win.small(b)
			if err != nil {
				return err
			}
			in := fields{p: p}
			flags := in.u32()
			track = in.u32()
			def = f.trex[track]
			base = *next
			if flags&tfhdFromMoof != 0 {
				base = moof.off
			}
			if flags&tfhdBase != 0 {
				base = int64(in.u64())
			}
			for _, o := range []struct {
				flag uint32
				into *uint32
			}{{tfhdDesc, &def.desc}, {tfhdDur, &def.dur}, {tfhdSize, &def.size}, {tfhdFlags, &def.flags}} {
				if flags&o.flag != 0 {
					*o.into = in.u32()
				}
			}
			if in.bad || base < 0 || base > 1<<62 {
				return b.fail(ErrNotMP4, "it has too few bytes or no possible place for its data")
			}
			started, *next = true, base
		case "tfdt":
			if track != f.track || !started || f.m.Truncated {
				return nil
			}
			p, err := f.win.small(b)
			if err != nil {
				return err
			}
			in := fields{p: p}
			at := in.word(byte(in.u32() >> 24))
			if in.bad || at > math.MaxInt64/4 {
				return b.fail(ErrNotMP4, "it has no possible decoding time")
			}
			if n := len(f.m.samples); n > 0 && int64(at) <= f.m.samples[n-1].dts {
				return b.fail(ErrNotMP4, "time goes back from tick %d to %d", f.m.samples[n-1].dts, at)
			}
			f.lastEnd = int64(at)
		case "trun":
			if !started {
				return b.fail(ErrNotMP4, "no tfhd box comes before it")
			}
			return f.run(b, base, next, track == f.track, def)
		}
		return nil
	})
}

// run reads one trun box. The frames of other tracks are only measured, since a later run may start
// where they end.
func (f *file) run(b box, base int64, next *int64, video bool, def defaults) error {
	if b.len() < 8 {
		return b.fail(ErrNotMP4, "it has too few bytes")
	}
	p, err := f.win.bytes(b.body, int(min(b.len(), 16)))
	if err != nil {
		return b.fail(ErrNotMP4, "%v", err)
	}
	in := fields{p: p}
	flags, count := in.u32(), in.u32()
	firstFlags, off, head := def.flags, *next, int64(8)
	if flags&trunOffset != 0 {
		off = base + int64(int32(in.u32()))
		head += 4
	}
	if flags&trunFirst != 0 {
		firstFlags = in.u32()
		head += 4
	}
	width := 0
	for _, flag := range []uint32{trunDur, trunSize, trunFlags, trunCTO} {
		if flags&flag != 0 {
			width += 4
		}
	}
	if in.bad || int64(count)*int64(width) > b.len()-head {
		return b.fail(ErrNotMP4, "it claims %d frames of %d bytes each and has %d bytes", count, width, max(0, b.len()-head))
	}
	if off < 0 {
		return b.fail(ErrNotMP4, "its data starts before the file")
	}
	if err := f.room(b, int64(count)); err != nil {
		return err
	}
	if video && (def.desc == 0 || int64(def.desc) > int64(len(f.m.entries))) {
		return b.fail(ErrNotMP4, "it uses sample entry %d of %d", def.desc, len(f.m.entries))
	}
	if width == 0 && !video {
		*next = off + int64(count)*int64(def.size)
		return nil
	}
	rows := table{w: &f.win, b: b, next: b.body + head, width: width}
	for i := range count {
		s := sample{dur: def.dur, size: def.size, off: off, desc: uint16(def.desc - 1)}
		bits := def.flags
		if i == 0 {
			bits = firstFlags
		}
		if width > 0 {
			row, err := rows.row()
			if err != nil {
				return err
			}
			r := fields{p: row}
			if flags&trunDur != 0 {
				s.dur = r.u32()
			}
			if flags&trunSize != 0 {
				s.size = r.u32()
			}
			if flags&trunFlags != 0 {
				if v := r.u32(); i > 0 || flags&trunFirst == 0 {
					bits = v
				}
			}
			if flags&trunCTO != 0 {
				s.cto = int64(int32(r.u32()))
			}
		}
		off += int64(s.size)
		if !video {
			continue
		}
		if off > f.win.size {
			f.m.Truncated = true
		}
		if f.m.Truncated {
			return nil // a frame after a missing one leans on it
		}
		if err := f.take(b, &s); err != nil {
			return err
		}
		s.sync = bits&notSync == 0
		s.dts = f.lastEnd
		if f.lastEnd += int64(s.dur); f.lastEnd > math.MaxInt64/2 {
			return b.fail(ErrNotMP4, "its decoding times run over")
		}
		f.m.samples = append(f.m.samples, s)
	}
	*next = off
	return nil
}
