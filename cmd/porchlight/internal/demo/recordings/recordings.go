// Package recordings holds the demonstration's camera footage: a quiet street on 22 November 2026 from
// 19:03:00 UTC, one minute, seen by four cameras.
//
// Nobody was filmed. generate.sh, beside this file, drew every frame and every sound with ffmpeg's own
// sources and filters; the people, cars and houses are rectangles and discs. The recordings may be used
// by anyone for anything under CC0 1.0, or under this repository's Apache-2.0 licence.
//
// Each camera is a folder, in the layout of a camera that writes plain files:
//
//	front-door/2026-11-22/19.03.00.mp4
//	front-door/2026-11-22/19.03.20.mp4
//	front-door/2026-11-22/19.03.40.mp4
//	driveway/…  side-street/…  garden/…
//
// All are H.264, 640 by 360 pixels, 10 frames a second, a keyframe every 2 s, 20 s a file, with the time
// in UTC burned into the picture. front-door has B-frames, a sound track and its index at the end;
// driveway no B-frames and its index in front; side-street no B-frames and is fragmented; garden
// B-frames and its index in front.
package recordings

import (
	"embed"
	"io/fs"
	"time"
)

//go:embed front-door driveway side-street garden
var files embed.FS

// Files returns the recordings, one folder for each camera at the top.
func Files() fs.FS { return files }

// Cameras returns the cameras' folder names, in the order in which the red car passes them.
func Cameras() []string { return []string{"front-door", "driveway", "side-street", "garden"} }

// Start returns the time burned into the first frame of every camera's first recording.
func Start() time.Time { return time.Date(2026, time.November, 22, 19, 3, 0, 0, time.UTC) }

// Each camera has three recordings, each of this length, without a gap between them.
const Each = 20 * time.Second
