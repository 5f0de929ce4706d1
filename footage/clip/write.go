package clip

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

// Limits that players set: ffmpeg reads a longer duration as a negative one, and ignores longer offsets.
const (
	maxDelta  = math.MaxInt32
	maxOffset = 1 << 28
)

// line is the clip's own timeline, in ticks.
type line struct {
	scale int64   // ticks a second
	delay int64   // from a frame's decoding to its showing, at least
	place []int64 // showing time of each run's first frame
	end   int64   // showing time at which the last frame ends
	total int64   // decoding time at which the last frame ends
	order bool    // frames are stored in another order than shown
}

// times are a sample's decoding and showing times relative to its run's first sample, in ticks of scale.
func (r *run) times(s *sample, scale int64) (dts, pts int64) {
	own, head := int64(r.movie.timescale), &r.samples[0]
	return rescale(s.dts-head.dts, scale, own), rescale(s.pts()-head.pts(), scale, own)
}

// each visits the frames in decoding order with their decoding and showing times.
func (l *line) each(runs []*run, visit func(r int, s *sample, dts, pts int64)) {
	for i, r := range runs {
		for k := range r.samples {
			dts, pts := r.times(&r.samples[k], l.scale)
			visit(i, &r.samples[k], dts+l.place[i]-l.delay, pts+l.place[i])
		}
	}
}

// timeline lays the runs on a line of the finest timescale that can express it.
func (p *plan) timeline() (*line, error) {
	common := int64(1)
	for _, r := range p.runs {
		if common = lcm(common, int64(r.movie.timescale)); common > maxTimescale {
			common = 90000
			break
		}
	}
	for _, scale := range []int64{common, 90000, 10000, 1000} {
		if l, ok := p.lay(scale); ok {
			return l, nil
		}
	}
	return nil, fmt.Errorf("a hole in the footage from %s to %s is longer than MP4 can express: cut the parts apart", stamp(p.from), stamp(p.until))
}

func (p *plan) lay(scale int64) (*line, bool) {
	l := &line{scale: scale}
	for _, r := range p.runs {
		own := int64(r.movie.timescale)
		l.delay = max(l.delay, rescale(r.samples[0].cto, scale, own))
		for i := range r.samples {
			dts, pts := r.times(&r.samples[i], scale)
			l.delay = max(l.delay, dts-pts)
		}
	}
	ok := l.delay <= maxOffset
	lastDTS, lastDur := int64(0), int64(0)
	for i, r := range p.runs {
		at := l.delay + rescale(int64(r.start-p.runs[0].start), scale, int64(time.Second))
		if i > 0 {
			if r.joined {
				at = l.end
			}
			// Decoding times only go forward, which a file with odd ones could break at the joint.
			at = max(at, lastDTS+1+l.delay)
		}
		l.place = append(l.place, at)
		for k := range r.samples {
			s := &r.samples[k]
			dts, pts := r.times(s, scale)
			dts, pts = dts+at-l.delay, pts+at
			if dts-lastDTS > maxDelta || pts-dts > maxOffset {
				ok = false
			}
			l.order = l.order || pts != dts
			lastDTS, lastDur = dts, rescale(int64(s.dur), scale, int64(r.movie.timescale))
			l.end = max(l.end, pts+lastDur)
		}
	}
	l.total = lastDTS + lastDur
	return l, ok && lastDur <= maxDelta
}

// boxes builds nested boxes; each open one gets its length when it is closed.
type boxes struct {
	b    []byte
	open []int
}

func (w *boxes) begin(kind string) {
	w.open = append(w.open, len(w.b))
	w.b = append(append(w.b, 0, 0, 0, 0), kind...)
}

func (w *boxes) full(kind string, version byte, flags uint32) {
	w.begin(kind)
	w.u32(uint32(version)<<24 | flags)
}

func (w *boxes) close() {
	at := w.open[len(w.open)-1]
	w.open = w.open[:len(w.open)-1]
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at))
}

func (w *boxes) u16(v ...uint16) {
	for _, v := range v {
		w.b = binary.BigEndian.AppendUint16(w.b, v)
	}
}

func (w *boxes) u32(v ...uint32) {
	for _, v := range v {
		w.b = binary.BigEndian.AppendUint32(w.b, v)
	}
}

// word writes 8 bytes in version 1 boxes and 4 in version 0 ones.
func (w *boxes) word(version byte, v ...int64) {
	for _, v := range v {
		if version == 1 {
			w.b = binary.BigEndian.AppendUint64(w.b, uint64(v))
		} else {
			w.b = binary.BigEndian.AppendUint32(w.b, uint32(v))
		}
	}
}

// pairs writes a run-length coded table: rows of a count and a value.
type pairs struct {
	w           *boxes
	at          int // of the row count
	rows, count uint32
	value       uint32
}

func (w *boxes) pairs() *pairs {
	w.u32(0)
	return &pairs{w: w, at: len(w.b) - 4}
}

func (p *pairs) add(value uint32) {
	if p.count > 0 && p.value != value {
		p.flush()
	}
	p.value = value
	p.count++
}

func (p *pairs) flush() {
	if p.count > 0 {
		p.w.u32(p.count, p.value)
		p.rows++
		p.count = 0
	}
	binary.BigEndian.PutUint32(p.w.b[p.at:], p.rows)
}

// chunk is frames that follow each other in mdat and share a sample entry.
type chunk struct {
	off    int64 // from the start of the media
	frames uint32
	entry  uint32
}

// head builds everything before the media: ftyp, moov and the header of mdat.
func (p *plan) head() ([]byte, error) {
	l, err := p.timeline()
	if err != nil {
		return nil, err
	}
	entries, numbers := p.stsd()
	var chunks []chunk
	media := int64(0)
	keys, lastRun := uint32(0), -1
	l.each(p.runs, func(r int, s *sample, _, _ int64) {
		entry := numbers[r][s.desc]
		if s.sync || r != lastRun || chunks[len(chunks)-1].entry != entry {
			chunks = append(chunks, chunk{off: media, entry: entry})
		}
		chunks[len(chunks)-1].frames++
		media += int64(s.size)
		lastRun = r
		if s.sync {
			keys++
		}
	})

	w := &boxes{}
	w.begin("ftyp")
	w.b = append(w.b, "isom\x00\x00\x02\x00isomiso2mp41"...)
	if p.runs[0].movie.Codec == "h264" {
		w.b = append(w.b, "avc1"...)
	}
	w.close()
	w.begin("moov")
	p.movieHeader(w, l)
	w.full("stsd", 0, 0)
	w.u32(uint32(len(entries)))
	for _, e := range entries {
		w.b = append(w.b, e...)
	}
	w.close()
	p.timeTables(w, l)
	if keys < uint32(p.frames) {
		w.full("stss", 0, 0)
		w.u32(keys)
		n := uint32(0)
		l.each(p.runs, func(_ int, s *sample, _, _ int64) {
			if n++; s.sync {
				w.u32(n)
			}
		})
		w.close()
	}
	w.full("stsz", 0, 0)
	w.u32(0, uint32(p.frames))
	l.each(p.runs, func(_ int, s *sample, _, _ int64) { w.u32(s.size) })
	w.close()
	w.full("stsc", 0, 0)
	rows := len(w.b)
	w.u32(0)
	for i, c := range chunks {
		if i == 0 || c.frames != chunks[i-1].frames || c.entry != chunks[i-1].entry {
			w.u32(uint32(i+1), c.frames, c.entry)
		}
	}
	binary.BigEndian.PutUint32(w.b[rows:], uint32(len(w.b)-rows-4)/12)
	w.close()

	// The chunk offsets are the last bytes of moov, so that its length, which they depend on, is known.
	const boxHead, mdatHead = 16, 16
	kind, version := "stco", byte(0)
	if int64(len(w.b))+boxHead+4*int64(len(chunks))+mdatHead+media > math.MaxUint32 {
		kind, version = "co64", 1
	}
	large := media+8 > math.MaxUint32
	base := int64(len(w.b)) + boxHead + 4*int64(1+version)*int64(len(chunks)) + 8
	if large {
		base += 8
	}
	w.begin(kind)
	w.u32(0, uint32(len(chunks)))
	for _, c := range chunks {
		w.word(version, base+c.off)
	}
	for len(w.open) > 0 {
		w.close()
	}
	if large {
		w.u32(1)
		w.b = append(w.b, "mdat"...)
		w.word(1, media+16)
	} else {
		w.b = appendHeader(w.b, "mdat", int(media))
	}
	return w.b, nil
}

// movieHeader writes the boxes before the sample tables, and leaves moov, trak, mdia, minf and stbl open.
func (p *plan) movieHeader(w *boxes, l *line) {
	shown := l.end - l.delay
	version := byte(0)
	if max(shown, l.total) > math.MaxUint32 {
		version = 1
	}
	unity := [9]uint32{0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000}
	w.full("mvhd", version, 0)
	w.word(version, 0, 0)
	w.u32(uint32(l.scale))
	w.word(version, shown)
	w.u32(0x10000, 0x1000000, 0, 0) // rate 1, volume 1
	w.u32(unity[:]...)
	w.u32(0, 0, 0, 0, 0, 0, 2) // the next track would be number 2
	w.close()
	w.begin("trak")
	w.full("tkhd", version, 3) // enabled, in the movie
	w.word(version, 0, 0)
	w.u32(1, 0)
	w.word(version, shown)
	w.u32(0, 0, 0, 0)
	shape := p.runs[0].movie.shape
	w.b = append(w.b, shape.matrix[:]...)
	w.u32(shape.width, shape.height)
	w.close()
	if l.delay > 0 {
		w.begin("edts")
		w.full("elst", version, 0)
		w.u32(1)
		w.word(version, shown, l.delay)
		w.u32(0x10000)
		w.close()
		w.close()
	}
	w.begin("mdia")
	w.full("mdhd", version, 0)
	w.word(version, 0, 0)
	w.u32(uint32(l.scale))
	w.word(version, l.total)
	w.u16(0x55c4, 0) // language: undetermined
	w.close()
	w.full("hdlr", 0, 0)
	w.b = append(w.b, "\x00\x00\x00\x00vide"...)
	w.u32(0, 0, 0)
	w.b = append(w.b, 0)
	w.close()
	w.begin("minf")
	w.full("vmhd", 0, 1)
	w.u16(0, 0, 0, 0)
	w.close()
	w.begin("dinf")
	w.full("dref", 0, 0)
	w.u32(1)
	w.full("url ", 0, 1) // the media is in this file
	w.close()
	w.close()
	w.close()
	w.begin("stbl")
}

// timeTables writes stts, and ctts where the order of frames needs it.
func (p *plan) timeTables(w *boxes, l *line) {
	w.full("stts", 0, 0)
	deltas, last := w.pairs(), int64(-1)
	l.each(p.runs, func(_ int, _ *sample, dts, _ int64) {
		if last >= 0 {
			deltas.add(uint32(dts - last))
		}
		last = dts
	})
	deltas.add(uint32(l.total - last))
	deltas.flush()
	w.close()
	if !l.order {
		return
	}
	w.full("ctts", 0, 0)
	offsets := w.pairs()
	l.each(p.runs, func(_ int, _ *sample, dts, pts int64) { offsets.add(uint32(pts - dts)) })
	offsets.flush()
	w.close()
}

// write writes the clip.
func (p *plan) write(ctx context.Context, w io.Writer) error {
	head, err := p.head()
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("writing the clip: %w", err)
	}
	buf := make([]byte, 256<<10)
	for _, r := range p.runs {
		if err := r.copy(ctx, w, buf); err != nil {
			return err
		}
	}
	return nil
}

// copy writes the run's frames, reading neighbours together. The file must be what it was when the cut was
// planned, before and after.
func (r *run) copy(ctx context.Context, w io.Writer, buf []byte) error {
	f, err := r.file.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, r.info) {
		return &InputError{r.path, ErrChanged, "another file was put in its place"}
	}
	for i := 0; i < len(r.samples); {
		off, end := r.samples[i].off, r.samples[i].off
		for ; i < len(r.samples) && r.samples[i].off == end; i++ {
			end += int64(r.samples[i].size)
		}
		for off < end {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := buf[:min(int64(len(buf)), end-off)]
			if n, err := f.ReadAt(part, off); n < len(part) {
				if err == io.EOF {
					return &InputError{r.path, ErrChanged, fmt.Sprintf("it ends at byte %d, before a frame that it had", off+int64(n))}
				}
				return fmt.Errorf("%s: reading %d bytes at %d: %w", r.path, len(part), off, err)
			}
			if _, err := w.Write(part); err != nil {
				return fmt.Errorf("writing the clip: %w", err)
			}
			off += int64(len(part))
		}
	}
	return r.file.Check(f)
}
