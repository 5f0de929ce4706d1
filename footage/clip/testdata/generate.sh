#!/bin/sh
# Makes the recordings of this folder from a test picture. Needs ffmpeg with libx264 and libx265.
# The tests read the results, which are committed, and never run this.
set -eu
cd "$(dirname "$0")"

make() { # name seconds, then output options
	name=$1 seconds=$2
	shift 2
	ffmpeg -v error -nostdin -y -f lavfi -i "testsrc2=size=160x90:rate=5" -f lavfi -i "sine=frequency=440:sample_rate=16000" \
		-t "$seconds" -threads 1 -pix_fmt yuv420p -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
		-metadata creation_time=2026-11-22T19:04:05Z "$@" "$name"
}

h264="-c:v libx264 -preset veryslow -crf 42 -g 10 -keyint_min 10 -sc_threshold 0"
fragments="-movflags frag_keyframe+empty_moov+default_base_moof"

# shellcheck disable=SC2086
{
	make progressive.mp4 10 -map 0:v $h264 -bf 3
	make simple.mp4 10 -map 0:v $h264 -bf 0 -movflags +faststart
	make fragmented.mp4 10 -map 0:v $h264 -bf 3 $fragments
	make sound.mp4 6 -map 0:v -map 1:a $h264 -bf 2 -c:a aac -b:a 16k -movflags +faststart
	make soundfragments.mp4 6 -map 0:v -map 1:a $h264 -bf 2 -c:a aac -b:a 16k $fragments
	make negative.mp4 6 -map 0:v $h264 -bf 3 -movflags +negative_cts_offsets
	make othersets.mp4 4 -map 0:v -c:v libx264 -preset fast -profile:v baseline -crf 42 -g 10
	make h265.mp4 6 -map 0:v -c:v libx265 -crf 42 -tag:v hvc1 -x265-params "keyint=10:log-level=error:pools=1:frame-threads=1"
}
