#!/usr/bin/env bash
# Draws the demonstration's recordings: one street, seen by four cameras for one minute, in three files
# of 20 s each. Everything in them is drawn here by ffmpeg's own sources and filters: no picture, sound
# or person was recorded. Needs ffmpeg with libx264 and the DejaVu fonts (Debian: ffmpeg,
# fonts-dejavu-core). Run it by hand, only to change the recordings; the results are committed.
#
# The files differ on purpose in what a cutter must cope with:
#
#   front-door   B-frames, an AAC sound track (wind and a passing car), index at the end
#   driveway     no B-frames, index at the front
#   side-street  no B-frames, fragmented
#   garden       B-frames, index at the front
set -euo pipefail
cd "$(dirname "$0")"
font=/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf
mono=/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf
start=1795374180 # 2026-11-22 19:03:00 UTC
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@"; }

# box X Y W H COLOUR: one filled rectangle, as a filter with a comma before it.
box() { printf ',drawbox=x=%s:y=%s:w=%s:h=%s:color=%s@1:t=fill:replace=1' "$@"; }

# house X Y W H WALL ROOF DOOR: a front with four windows and a door, under a flat-pitched roof.
house() {
	local x=$1 y=$2 w=$3 h=$4 i
	for i in 0 1 2 3 4 5 6 7; do box $((x - 8 + i * 5)) $((y - 3 - i * 3)) $((w + 16 - i * 10)) 3 "$6"; done
	box "$x" "$y" "$w" "$h" "$5"
	for i in 0 1; do
		local wx=$((x + w / 8 + i * (w / 2 + w / 16))) ww=$((w / 5)) wh=$((h / 4))
		box $((wx - 2)) $((y + h / 9 - 2)) $((ww + 4)) $((wh + 4)) 0xf3efe6
		box "$wx" $((y + h / 9)) "$ww" "$wh" 0x5d7f97
		box $((wx + ww / 2)) $((y + h / 9)) 2 "$wh" 0xf3efe6
		box $((wx - 2)) $((y + h / 2 - 2)) $((ww + 4)) $((wh + 4)) 0xf3efe6
		box "$wx" $((y + h / 2)) "$ww" "$wh" 0xe8c987
		box $((wx + ww / 2)) $((y + h / 2)) 2 "$wh" 0xf3efe6
	done
	box $((x + w / 2 - w / 14)) $((y + h / 2)) $((w / 7)) $((h / 2)) "$7"
}

# ground HORIZON COLOUR: an afternoon sky over a plain.
ground() {
	printf "geq=r='150+70*Y/%s':g='190+35*Y/%s':b='225-5*Y/%s',format=yuv444p" "$1" "$1" "$1"
	box 0 "$1" 640 $((360 - $1)) "$2"
}

# road Y H: asphalt with kerbs and a dashed middle line.
road() {
	local x
	box 0 $(($1 - 6)) 640 6 0xb9b5aa
	box 0 "$1" 640 "$2" 0x5b5e63
	box 0 $(($1 + $2)) 640 8 0xb9b5aa
	for ((x = 10; x < 640; x += 64)); do box "$x" $(($1 + $2 / 2 - 1)) 34 3 0xd9d6c8; done
}

# fence Y H COLOUR
fence() {
	local x
	box 0 $(($1 + 8)) 640 4 "$3"
	box 0 $(($1 + $2 - 12)) 640 4 "$3"
	for ((x = 2; x < 640; x += 20)); do box "$x" "$1" 13 "$2" "$3"; done
}

still() { ff -f lavfi -i "color=black:s=640x360,format=gbrp,$2" -frames:v 1 "$work/$1.png"; }

# sprite NAME SIZE FILTERS: a picture on a transparent ground.
sprite() { ff -f lavfi -i "color=black@0:s=$2,format=yuva444p$3" -frames:v 1 "$work/$1.png"; }

# discs COLOUR(r g b) X Y R [X Y R]...: round things, as a filter with a comma before it.
discs() {
	local r=$1 g=$2 b=$3 near="" cond
	shift 3
	while (($#)); do
		cond="lt(hypot(X-$1,Y-$2),$3)"
		near=${near:+$near+}$cond
		shift 3
	done
	printf ",format=gbrap,geq=r='if(%s,%s,r(X,Y))':g='if(%s,%s,g(X,Y))':b='if(%s,%s,b(X,Y))':a='if(%s,255,alpha(X,Y))'" \
		"$near" "$r" "$near" "$g" "$near" "$b" "$near"
}

# car NAME COLOUR: 104x44, driving to the right.
car() {
	sprite "$1" 104x44 "$(box 30 2 40 3 "$2")$(box 25 5 50 5 "$2")$(box 20 10 60 8 "$2")$(box 3 17 98 16 "$2")$(
		box 29 6 19 10 0xcfe3ee)$(box 53 6 19 10 0xcfe3ee)$(box 96 19 5 5 0xfff3b0)$(box 3 19 4 6 0xc23b32)$(
		box 3 30 98 3 0x3a3c40)$(discs 28 28 30 25 34 9 79 34 9)$(discs 165 165 170 25 34 4 79 34 4)"
}

# person NAME COAT: head and coat, 24x48; the legs are sprites of their own, so that they can walk.
person() {
	sprite "$1" 24x48 "$(box 5 17 14 28 "$2")$(box 3 19 3 18 "$2")$(box 18 19 3 18 "$2")$(
		discs 92 62 42 12 9 8)$(discs 222 178 146 12 11 7)"
}

car red 0xb5342c
car blue 0x2f5f9e
car white 0xe6e6e2
ff -i "$work/blue.png" -vf hflip "$work/blue-left.png"
ff -i "$work/white.png" -vf hflip "$work/white-left.png"
person walker 0x2d6a4f
person runner 0x44464f
sprite leg 6x26 "$(box 0 0 6 22 0x2b3350)$(box 0 22 6 4 0x1d1d1f)"
sprite crown 150x120 "$(discs 63 102 52 75 60 46 38 72 30 112 72 30 75 30 28)$(discs 82 124 64 64 46 20 96 58 16 50 76 13)"
sprite cloud 150x44 "$(discs 244 247 249 40 28 15 68 22 20 98 25 17 120 31 11)"
sprite garage 262x152 "$(box 0 10 250 142 0xd9cdb8)$(box 24 42 200 110 0xf1ece1)$(box 24 68 200 2 0xcfc8ba)$(
	box 24 96 200 2 0xcfc8ba)$(box 24 124 200 2 0xcfc8ba)$(box 0 0 262 12 0x6a4a3e)"
sprite porch 640x360 "$(box 0 0 34 360 0xefeae0)$(box 34 0 4 360 0xcfc8ba)$(box 606 0 34 360 0xefeae0)$(
	box 602 0 4 360 0xcfc8ba)"
sprite cat 30x18 "$(box 5 7 18 7 0x6b5744)$(box 6 13 3 5 0x6b5744)$(box 19 13 3 5 0x6b5744)$(box 0 3 6 3 0x6b5744)$(
	discs 107 87 68 24 6 5)"

still front-door "$(ground 150 0x7d9a5c)$(house 30 62 150 100 0xd8c3a5 0x7a4a3a 0x7b2d26)$(
	house 238 54 160 108 0xb8c4c2 0x4d5560 0x2f4858)$(house 456 66 150 96 0xe0d2b4 0x6b4238 0x3d5a40)$(
	box 0 162 640 22 0x93a86c)$(box 499 130 13 50 0x6b4d36)$(road 190 62)$(box 0 260 640 18 0xc7c2b6)$(box 250 278 140 82 0xb3aca0)$(
	box 250 300 140 2 0x98928a)$(box 250 330 140 2 0x98928a)$(
	box 430 318 60 30 0x9c5a3c)$(box 436 300 48 20 0x4f7f45)"
still driveway "$(ground 104 0x86a063)$(house 300 58 120 54 0xcdb9a0 0x704438 0x35506b)$(
	house 470 56 130 56 0xbfc9b5 0x4e5a50 0x7b2d26)$(road 118 46)$(box 0 172 640 14 0xc7c2b6)$(
	box 0 186 250 174 0xada79c)$(box 96 186 3 174 0x9a948a)$(box 170 186 3 174 0x9a948a)$(box 0 240 250 3 0x9a948a)$(
	box 0 310 250 3 0x9a948a)$(box 250 186 6 174 0x5f7d45)$(box 300 226 6 44 0x6b4d36)$(box 290 212 26 17 0x2f6fb0)$(
	box 543 270 15 62 0x6b4d36)"
still side-street "$(ground 120 0x8aa468)$(house 40 62 120 68 0xc9d0d4 0x485563 0x7a5a2e)$(
	house 200 58 130 72 0xd9b99b 0x74402f 0x2f4858)$(house 372 62 112 68 0xdcd7c9 0x5c5148 0x7b2d26)$(
	house 508 58 124 72 0xb9c6b0 0x4a5a4c 0x3b3b52)$(box 0 130 640 22 0xc7c2b6)$(road 158 96)$(
	box 0 262 640 30 0xc7c2b6)$(box 0 292 640 68 0x7f9a5b)$(box 96 96 5 190 0x3f4348)$(box 96 94 44 5 0x3f4348)$(
	box 130 98 16 6 0xfff0bf)$(box 560 200 5 86 0x3f4348)$(box 544 180 38 24 0x2f6fb0)$(box 550 190 26 4 0xffffff)"
still garden "$(ground 120 0x6f9350)$(house 400 58 150 68 0xcdbda6 0x6b4238 0x35506b)$(fence 106 62 0xb48a5c)$(
	box 0 168 640 192 0x769b55)$(box 0 210 640 2 0x7fa45d)$(box 0 262 640 2 0x7fa45d)$(box 0 316 640 3 0x7fa45d)$(
	box 40 116 130 104 0x8b6a4a)$(box 30 104 150 14 0x5a4436)$(box 84 150 42 70 0x6d5138)$(box 118 184 3 5 0xd9c28a)$(
	box 462 128 18 106 0x6b4d36)$(box 270 200 64 26 0x7a5230)$(box 274 188 8 14 0xd0574c)$(box 290 184 8 18 0xe3b23c)$(
	box 306 188 8 14 0xc96aa0)$(box 320 184 8 18 0xd0574c)"

# shoot CAMERA "INPUTS" "OVERLAYS": a minute without loss. In an overlay, input n is [n] and t is the
# minute's second; [v] goes in and out.
shoot() {
	local camera=$1 label=$2 args=(-loop 1 -framerate 10 -i "$work/$1.png") s
	for s in $3; do args+=(-loop 1 -framerate 10 -i "$work/$s.png"); done
	ff "${args[@]}" -filter_complex "[0]format=yuv444p,setpts=N/10/TB[v];$4;[v]drawbox=x=0:y=0:w=640:h=28:color=black@0.55:t=fill,
drawtext=fontfile=$font:text='$label':fontsize=16:fontcolor=white:x=12:y=7,
drawtext=fontfile=$mono:text='%{pts\\:gmtime\\:$start} UTC':fontsize=16:fontcolor=white:x=w-tw-12:y=7,format=yuv420p" \
		-t 60 -r 10 -c:v ffv1 "$work/$camera.mkv"
}

# over N X Y: input N at a place that changes with t.
over() { printf "[v][%s]overlay=x='%s':y='%s':eval=frame[v]" "$@"; }

# walks BODY LEG LEG X Y: a person whose hips are below X,Y, swinging both legs.
walks() {
	over "$2" "$4+9+4*sin(7*t)" "$5+41"
	printf ';'
	over "$3" "$4+9-4*sin(7*t)" "$5+41"
	printf ';'
	over "$1" "$4" "$5+abs(sin(7*t))"
}

# A red car passes the front door at :08 and returns in a hurry at :27; a runner follows it at :31. Each
# camera sees them a few seconds after the one before.
shoot front-door 'Front door' 'white-left red crown walker leg leg runner leg leg porch' "$(
	over 1 '700-150*(t-44)' 188);$(over 2 'if(lt(t,20),-110+90*(t-8),-110+230*(t-27))' 210);$(
	over 3 '430+2*sin(1.3*t)' '44+sin(0.9*t)');$(walks 4 5 6 '-30+17*t' 208);$(walks 7 8 9 '-40+62*(t-31)' 208);$(over 10 0 0)"
shoot driveway 'Driveway' 'red blue-left garage white crown walker leg leg runner leg leg' "$(
	over 1 'if(lt(t,22),150+90*(t-10),150+230*(t-29))' 118);$(over 2 '650-120*(t-40)' 110);$(over 3 0 34);$(
	over 4 70 264);$(walks 6 7 8 '640-11*t' 116);$(walks 9 10 11 '-40+62*(t-33)' 116);$(
	over 5 '475+3*sin(1.2*t)' '182+sin(0.8*t)')"
shoot side-street 'Side street' 'red blue-left white walker leg leg runner leg leg' "$(
	over 3 250 150);$(over 2 '660-75*(t-4)' 164);$(over 1 'if(lt(t,24),-110+90*(t-13),-110+230*(t-32))' 208);$(
	walks 4 5 6 '660-16*t' 222);$(walks 7 8 9 '-60+62*(t-37)' 218)"
shoot garden 'Garden' 'cloud crown cat runner leg leg' "$(
	over 1 '20+3*t' 36);$(over 3 '190+22*max(0,t-6)-22*max(0,t-16)+30*max(0,t-34)' '246+8*sin(0.5*t)');$(
	walks 4 5 6 '-40+62*(t-41)' 150);$(over 2 '396+4*sin(1.1*t)' '54+2*sin(1.7*t)')"

# write CAMERA CRF ENCODER-AND-MUXER-OPTIONS...: three files of 20 s each.
write() {
	local camera=$1 crf=$2 i
	shift 2
	mkdir -p "$camera/2026-11-22"
	for i in 0 1 2; do
		local second=$((i * 20)) sound=()
		if [[ $camera == front-door ]]; then
			sound=(-f lavfi -t 20 -i "anoisesrc=color=brown:amplitude=0.12:seed=$i:sample_rate=16000,tremolo=f=0.2:d=0.7"
				-c:a aac -b:a 14k -ac 1)
		fi
		ff -ss "$second" -t 20 -i "$work/$camera.mkv" "${sound[@]}" -c:v libx264 -preset veryslow -threads 1 -crf "$crf" \
			-g 20 -keyint_min 20 -sc_threshold 0 -pix_fmt yuv420p -fflags +bitexact -flags +bitexact \
			-metadata creation_time="$(date -u -d "@$((start + second))" +%FT%TZ)" "$@" \
			"$camera/2026-11-22/$(date -u -d "@$((start + second))" +%H.%M.%S).mp4"
	done
}
write front-door 31 -bf 2 -profile:v high
write driveway 29 -bf 0 -profile:v main -movflags +faststart
write side-street 30 -bf 0 -profile:v main -movflags +frag_keyframe+empty_moov+default_base_moof
write garden 30 -bf 2 -profile:v high -movflags +faststart
du -bc -- */*/*.mp4
