package clip

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/Eyevinn/mp4ff/avc"
	"github.com/Eyevinn/mp4ff/hevc"
)

// maxTracks and maxEntries bound the tracks of a file, and the sample entries of its video track.
const maxTracks, maxEntries = 64, 64

// file is the state of reading one file's boxes.
type file struct {
	win   window
	moov  int64 // offset of the moov box
	m     Movie
	track uint32 // the video track's id
	edit  *edit
	trex  map[uint32]defaults
	taken int64 // bytes that the frames listed so far claim

	clockScale uint32 // of mvhd, which edit lists count in
	lastEnd    int64  // decoding time at which the frames read so far end
}

// edit is the usual leading edit list: nothing for a while, then the media from one moment on.
type edit struct {
	empty     int64 // ticks of timescale
	media     int64 // ticks of the track
	timescale int64
}

// entry is one sample entry, reduced to what a decoder needs, ready to be written.
type entry struct {
	kind          string // avc1, avc3, hvc1, hev1
	width, height int
	box           []byte
}

// shape is how the track is to be shown, from tkhd.
type shape struct {
	matrix        [36]byte
	width, height uint32 // 16.16 fixed point
}

// defaults are the values a fragment's runs leave out.
type defaults struct{ desc, dur, size, flags uint32 }

// movie walks the top-level boxes.
func (f *file) movie() (*Movie, error) {
	size := f.win.size
	if size == 0 {
		return nil, &IndexError{"file", 0, fmt.Errorf("%w: the file is empty", ErrTruncated)}
	}
	first, torn, last := true, false, box{kind: "file"}
	for off := int64(0); size-off > 0; first = false {
		b, err := f.win.header(off, size)
		if err != nil {
			if first {
				return nil, box{kind: "file"}.fail(ErrNotMP4, "it does not start with a box (%v)", err)
			}
			// What follows whole boxes is a torn tail: half a header, or blocks the disk never wrote.
			torn = true
			break
		}
		if first && !leads(b.kind) {
			return nil, box{kind: "file"}.fail(ErrNotMP4, "its first box is %q", b.kind)
		}
		last = b
		switch {
		case b.kind == "moov" && f.moov == 0 && f.m.timescale == 0:
			if b.end > size {
				return nil, b.fail(ErrTruncated, "%d of its %d bytes are missing", b.end-size, b.end-b.off)
			}
			f.moov = b.off
			if err := f.movieBox(b); err != nil {
				return nil, err
			}
		case b.kind == "moof" && b.end <= size:
			if f.m.timescale == 0 {
				return nil, b.fail(ErrTruncated, "a fragment comes before any moov box")
			}
			if err := f.fragment(b); err != nil {
				return nil, err
			}
		}
		if b.end > size {
			torn = true
			break
		}
		off = b.end
	}
	if f.m.timescale == 0 {
		return nil, last.fail(ErrTruncated, "the file ends in this box, and has no moov box")
	}
	// A progressive file lists all its frames: it is whole when they are, whatever follows them.
	f.m.Truncated = f.m.Truncated || torn && f.m.Fragmented
	return &f.m, nil
}

// leads reports whether files start with such a box.
func leads(kind string) bool {
	switch kind {
	case "ftyp", "styp", "moov", "mdat", "free", "skip", "wide", "pnot", "uuid", "sidx", "moof", "emsg", "prft":
		return true
	}
	return false
}

func (f *file) movieBox(moov box) error {
	f.trex = map[uint32]defaults{}
	var traks []box
	err := f.win.children(moov, 0, func(b box) error {
		switch b.kind {
		case "mvhd":
			p, err := f.win.small(b)
			if err != nil {
				return err
			}
			in := fields{p: p}
			version := byte(in.u32() >> 24)
			created := in.word(version)
			in.word(version)
			if f.clockScale = in.u32(); in.bad {
				return b.fail(ErrNotMP4, "it has too few bytes")
			}
			// Seconds since 1904 (ISO/IEC 14496-12, 8.2.2). Values before 1970 are no recording's.
			if unix := int64(created) - 2082844800; created < 1<<40 && unix > 0 {
				f.m.Created = time.Unix(unix, 0).UTC()
			}
		case "trak":
			if len(traks) == maxTracks {
				return b.fail(ErrNotMP4, "there are more than %d tracks", maxTracks)
			}
			traks = append(traks, b)
		case "mvex":
			f.m.Fragmented = true
			return f.win.children(b, 0, f.trackDefaults)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var reason error
	for _, b := range traks {
		if err := f.trackBox(b, &reason); err != nil {
			return err
		}
	}
	if f.m.timescale == 0 {
		if reason == nil {
			reason = moov.fail(ErrCodec, "the file has no video track")
		}
		return reason
	}
	return nil
}

func (f *file) trackDefaults(b box) error {
	if b.kind != "trex" {
		return nil
	}
	p, err := f.win.small(b)
	if err != nil {
		return err
	}
	in := fields{p: p}
	in.u32()
	id := in.u32()
	d := defaults{in.u32(), in.u32(), in.u32(), in.u32()}
	if in.bad {
		return b.fail(ErrNotMP4, "it has too few bytes")
	}
	if len(f.trex) >= maxTracks {
		return b.fail(ErrNotMP4, "there are more than %d tracks", maxTracks)
	}
	f.trex[id] = d
	return nil
}

// trackBox takes the first video track that can be cut; reason keeps why another one could not.
func (f *file) trackBox(trak box, reason *error) error {
	var tkhd, elst, mdhd, hdlr, stbl, stsd box
	var visit func(b box) error
	depth := 0
	visit = func(b box) error {
		if depth++; depth > 8 {
			return b.fail(ErrNotMP4, "it is nested too deeply")
		}
		defer func() { depth-- }()
		switch b.kind {
		case "tkhd":
			tkhd = b
		case "edts", "mdia", "minf":
			return f.win.children(b, 0, visit)
		case "elst":
			elst = b
		case "mdhd":
			mdhd = b
		case "hdlr":
			if depth == 2 { // QuickTime has a second one in minf, about where the media is
				hdlr = b
			}
		case "stbl":
			stbl = b
			return f.win.children(b, 0, visit)
		case "stsd":
			stsd = b
		}
		return nil
	}
	if err := f.win.children(trak, 0, visit); err != nil {
		return err
	}
	if hdlr.kind == "" || hdlr.len() < 12 {
		return trak.fail(ErrNotMP4, "the track has no whole hdlr box")
	}
	p, err := f.win.bytes(hdlr.body, 12)
	if err != nil {
		return hdlr.fail(ErrNotMP4, "%v", err)
	}
	switch handler := string(p[8:12]); {
	case handler == "soun":
		f.m.HasAudio = true
		return nil
	case handler != "vide" || f.m.timescale != 0:
		return nil
	}
	for _, need := range []struct {
		name string
		b    box
	}{{"tkhd", tkhd}, {"mdhd", mdhd}, {"stbl", stbl}, {"stsd", stsd}} {
		if need.b.kind == "" {
			return trak.fail(ErrNotMP4, "the video track has no %s box", need.name)
		}
	}
	entries, err := f.sampleEntries(stsd)
	if err != nil {
		if *reason == nil {
			*reason = err
		}
		return nil
	}
	f.m.entries = entries
	f.m.Width, f.m.Height = entries[0].width, entries[0].height
	f.m.Codec = codecOf(entries[0].kind)

	if p, err = f.win.small(tkhd); err != nil {
		return err
	}
	in := fields{p: p}
	version := byte(in.u32() >> 24)
	in.word(version)
	in.word(version)
	f.track = in.u32()
	in.u32()
	in.word(version)
	in.take(16)
	f.m.shape.matrix = [36]byte(in.take(36))
	f.m.shape.width, f.m.shape.height = in.u32(), in.u32()
	if in.bad {
		return tkhd.fail(ErrNotMP4, "it has too few bytes")
	}
	if p, err = f.win.small(mdhd); err != nil {
		return err
	}
	in = fields{p: p}
	version = byte(in.u32() >> 24)
	in.word(version)
	in.word(version)
	scale := in.u32()
	if in.bad || scale == 0 || scale > maxTimescale {
		return mdhd.fail(ErrNotMP4, "it claims %d ticks a second", scale)
	}
	f.m.timescale = scale
	if elst.kind != "" {
		if err := f.editList(elst); err != nil {
			return err
		}
	}
	return f.sampleTables(stbl)
}

func (f *file) editList(b box) error {
	p, err := f.win.bytes(b.body, int(min(b.len(), 4)))
	if err != nil || len(p) < 4 {
		return b.fail(ErrNotMP4, "it has too few bytes")
	}
	version := p[0]
	width := 12
	if version == 1 {
		width = 20
	}
	t, err := f.win.table(b, 4, width)
	if err != nil {
		return err
	}
	for range t.Rows {
		row, err := t.row()
		if err != nil {
			return err
		}
		in := fields{p: row}
		length := in.word(version)
		media := int64(in.word(version))
		if version == 0 {
			media = int64(int32(media))
		}
		switch {
		case media == -1 && f.edit == nil || media == -1 && f.edit.media == -1:
			if f.clockScale == 0 || length > uint64(ticks(maxSpan, f.clockScale)) {
				return b.fail(ErrNotMP4, "it claims an empty edit of %d ticks", length)
			}
			f.edit = &edit{empty: int64(length), media: -1, timescale: int64(f.clockScale)}
		case media >= 0 && in.u16() == 1 && (f.edit == nil || f.edit.media == -1):
			if media > ticks(maxSpan, f.m.timescale) {
				return b.fail(ErrNotMP4, "it starts the media at tick %d", media)
			}
			if f.edit == nil {
				f.edit = &edit{timescale: 1}
			}
			f.edit.media = media
		default:
			return b.fail(ErrNotMP4, "its edits rearrange the recording, so that its real times cannot be told")
		}
	}
	if f.edit != nil && f.edit.media == -1 {
		f.edit = nil // nothing but emptiness says nothing about the media
	}
	return nil
}

// codecOf names the codec of a sample entry, "" for all but the four that can be cut.
func codecOf(kind string) string {
	switch kind {
	case "avc1", "avc3":
		return "h264"
	case "hvc1", "hev1":
		return "h265"
	}
	return ""
}

func (f *file) sampleEntries(stsd box) ([]entry, error) {
	t, err := f.win.table(stsd, 4, 8)
	if err != nil {
		return nil, err
	}
	var entries []entry
	err = f.win.children(stsd, 8, func(b box) error {
		if len(entries) == int(t.Rows) {
			return nil
		}
		if len(entries) == maxEntries {
			return b.fail(ErrNotMP4, "there are more than %d sample entries", maxEntries)
		}
		e, err := f.sampleEntry(b)
		if err != nil {
			return err
		}
		if first := append(entries, e)[0]; e.kind != first.kind || e.width != first.width || e.height != first.height {
			return b.fail(ErrCodec, "codec or picture size changes inside the file (%s %dx%d after %s %dx%d)",
				e.kind, e.width, e.height, first.kind, first.width, first.height)
		}
		entries = append(entries, e)
		return nil
	})
	if err == nil && (len(entries) == 0 || len(entries) != int(t.Rows)) {
		err = stsd.fail(ErrNotMP4, "it claims %d sample entries and has %d", t.Rows, len(entries))
	}
	return entries, err
}

// entryFields is the length of a visual sample entry's own fields (ISO/IEC 14496-12, 12.1.3).
const entryFields = 78

// sampleEntry reads one sample entry and rebuilds it from what decoding and showing needs, so that
// neither a maker's boxes nor the encoder's name leave with a clip.
func (f *file) sampleEntry(b box) (entry, error) {
	codec := codecOf(b.kind)
	if codec == "" {
		return entry{}, b.fail(ErrCodec, "the video is %q", b.kind)
	}
	if b.len() < entryFields {
		return entry{}, b.fail(ErrNotMP4, "it has too few bytes")
	}
	p, err := f.win.bytes(b.body, entryFields)
	if err != nil {
		return entry{}, b.fail(ErrNotMP4, "%v", err)
	}
	e := entry{kind: b.kind, width: int(binary.BigEndian.Uint16(p[24:])), height: int(binary.BigEndian.Uint16(p[26:]))}
	if e.width == 0 || e.height == 0 {
		return entry{}, b.fail(ErrNotMP4, "it claims a picture of %dx%d", e.width, e.height)
	}
	var keep []byte
	seen := map[string]bool{}
	err = f.win.children(b, entryFields, func(c box) error {
		switch c.kind {
		case "avcC", "hvcC", "pasp", "clap", "colr":
		default:
			return nil
		}
		body, err := f.win.small(c)
		if err != nil {
			return err
		}
		if c.kind == "colr" && (len(body) < 4 || string(body[:3]) != "ncl") {
			return nil // an ICC profile can name a device; the numbers of nclx and nclc cannot
		}
		if seen[c.kind] {
			return c.fail(ErrNotMP4, "a sample entry has two of them")
		}
		seen[c.kind] = true
		if err := checkConfig(c, b.kind, body); err != nil {
			return err
		}
		keep = append(appendHeader(keep, c.kind, len(body)), body...)
		return nil
	})
	if err != nil {
		return entry{}, err
	}
	if codec == "h264" && !seen["avcC"] || codec == "h265" && !seen["hvcC"] {
		return entry{}, b.fail(ErrCodec, "the sample entry has no decoder configuration")
	}
	e.box = appendHeader(nil, b.kind, entryFields+len(keep))
	e.box = append(e.box, 0, 0, 0, 0, 0, 0, 0, 1) // reserved; data reference 1, this file
	e.box = append(e.box, make([]byte, 16)...)
	e.box = append(e.box, p[24:28]...)                          // width, height
	e.box = append(e.box, 0, 72, 0, 0, 0, 72, 0, 0, 0, 0, 0, 0) // 72 dots an inch, reserved
	e.box = append(e.box, 0, 1)                                 // frames in a sample
	e.box = append(e.box, make([]byte, 32)...)                  // no compressor name
	e.box = append(append(e.box, 0, 24, 0xff, 0xff), keep...)   // depth, pre-defined
	return e, nil
}

// checkConfig refuses decoder configurations that no decoder could use.
func checkConfig(c box, kind string, body []byte) error {
	switch c.kind {
	case "avcC":
		conf, err := avc.DecodeAVCDecConfRec(body)
		if err != nil && err != avc.ErrCannotParseAVCExtension {
			return c.fail(ErrCodec, "%v", err)
		}
		if kind == "avc1" && (len(conf.SPSnalus) == 0 || len(conf.PPSnalus) == 0) {
			return c.fail(ErrCodec, "it has no parameter sets")
		}
	case "hvcC":
		if _, err := hevc.DecodeHEVCDecConfRec(body); err != nil {
			return c.fail(ErrCodec, "%v", err)
		}
	}
	return nil
}

// appendHeader appends a box header for a payload of n bytes.
func appendHeader(to []byte, kind string, n int) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(n+8))
	return append(to, kind...)
}
