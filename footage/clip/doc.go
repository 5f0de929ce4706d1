// Package clip reads camera recordings and cuts clips out of them without decoding a picture.
//
// # What it reads
//
// MP4 files (ISO/IEC 14496-12, the ISO base media file format) with one H.264 (avc1, avc3) or H.265
// (hvc1, hev1) video track, progressive (moov, mdat) or fragmented (moov, then moof and mdat again and
// again). Audio and every other track are noticed and left alone. Nothing in a file is believed: each
// length and count is checked against the bytes that are there before anything is allocated, an
// [IndexError] names the box and its offset, and the index of a file never has more than 4,194,304
// frames (38 hours at 30 frames a second).
//
// A recording that was cut off (power loss, full disk) is used as far as it is whole: a fragmented one up
// to its last whole frame, a progressive one up to where its media ends. [Movie.Truncated] says so. A
// progressive file that lost its moov box cannot be read by anybody: [ErrTruncated].
//
// # Time
//
// Time inside a file is counted from the moment its edit list presents first; in a file without one, and
// in every fragmented file, from its first keyframe. An [Input] says which real moment that was. Frames
// hidden by the edit list have negative times and are real footage all the same. All real times are UTC.
// An edit list that plays pieces out of order or twice is refused, since its real times cannot be told.
//
// # What a cut is
//
// [Cut] copies frames byte for byte. It starts at the last keyframe at or before the asked time, because
// no later frame can be shown without it; [Result.LeadIn] is how much is shown before the asked time. It
// ends before the first frame at or after the asked end; where frames are stored in another order than
// they are shown, a frame is kept that the last ones lean on, and [Result.Until] covers it. Frames that
// are shown before the keyframe their stretch starts with lean on footage that is not there, and are
// left out.
//
// Consecutive files become one track. A hole between them stays a hole of the same length: the last frame
// before it is shown until the next one comes, and [Result.Gaps] names it when it is longer than 1.5
// frames. Files that overlap give each moment once: the earlier file ends where the later one's first
// keyframe begins, and a file that adds nothing is left out. When a recorder's clock was set back, what it had
// recorded under the later times is real footage that no clip can show in its place: [Result.Overlaps]
// names the spans that two files claim, with the file shown, so that nobody takes
// such a clip for all there is. Cameras change parameter sets between files;
// each set gets its own sample entry. A change of codec or picture size needs two clips, and the
// [MixError] names the files.
//
// # What a cut writes
//
// One progressive file: ftyp, moov, mdat, in that order, so that it plays while it arrives.
//
//	ftyp  isom, 512: isom iso2 mp41, and avc1 for H.264
//	moov  mvhd  times zero; the timescale is the track's
//	      trak  tkhd  the first file's picture size and rotation
//	            edts  elst  one entry that takes off the reordering delay; only when there is one
//	            mdia  mdhd, hdlr (vide, no name), minf: vmhd, dinf, stbl
//	                  stbl: stsd stts ctts? stss? stsz stsc stco|co64
//	mdat  64-bit length when over 4 GiB; co64 when any offset is
//
// No box holds a clock, a name or a program's version, and of a sample entry only what a decoder needs is
// kept (avcC, hvcC, pasp, clap, colr with numbers): the same input gives the same bytes, and the
// container says nothing about the camera. The pictures themselves are untouched, with whatever
// messages (SEI) the camera put between them.
//
// The track keeps the files' timescale where they share one, or their least common multiple; where that
// cannot express the longest hole in 31 bits, 90,000, 10,000 or 1,000 ticks a second.
//
// Audio is always left out. Memory is the frame index, 40 bytes for each frame of the clip and of the file
// that is being read, and the boxes made of it: at most some 160 bytes a frame while a fragmented file's index
// grows, 14 MB for each hour at 25 frames a second, and half of that for a progressive one. The media streams
// through a buffer of 256 KiB.
package clip
