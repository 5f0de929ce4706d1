package library

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestH265IsFoundAndCut(t *testing.T) {
	film, err := os.ReadFile("../clip/testdata/h265.mp4") // six seconds
	if err != nil {
		t.Fatal(err)
	}
	h := newHome(t, Camera{ID: front, Layout: LayoutFrigate})
	h.write("2026-11-22/19/front/04.00.mp4", film)
	h.write("2026-11-22/19/front/04.06.mp4", film)
	h.settle()
	for _, r := range h.expect(front, "2026-11-22/19/front/04.00.mp4 2026-11-22T19:04:00Z", "2026-11-22/19/front/04.06.mp4 2026-11-22T19:04:06Z") {
		if r.Codec != "h265" || r.StartFrom != "path" || r.Duration != 6*time.Second {
			t.Errorf("%+v", r)
		}
	}
	if res := h.cut(at("2026-11-22 19:04:03"), at("2026-11-22 19:04:09")); res.Codec != "h265" || len(res.Inputs) != 2 || len(res.Gaps) != 0 || res.LeadIn != time.Second {
		t.Errorf("%+v", res)
	}
}

// TestH265OfAnEncoder has the forms that recorders write: with parameter sets in front or between the pictures,
// progressive or in fragments, with open groups of pictures.
func TestH265OfAnEncoder(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-hide_banner", "-encoders").Output()
	if err != nil || !strings.Contains(string(out), "libx265") {
		t.Skipf("ffmpeg with libx265 is not installed: %v", err)
	}
	if testing.Short() {
		t.Skip("encodes")
	}
	for name, options := range map[string][]string{
		"hvc1":            {"-tag:v", "hvc1"},
		"hev1":            {"-tag:v", "hev1"},
		"hvc1, fragments": {"-tag:v", "hvc1", "-movflags", "frag_keyframe+empty_moov+default_base_moof"},
		"hev1, fragments": {"-tag:v", "hev1", "-movflags", "frag_keyframe+empty_moov+default_base_moof"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			h.write("20261122_190000.mp4", nil)
			args := append([]string{"-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=5", "-t", "6", "-pix_fmt", "yuv420p",
				"-c:v", "libx265", "-crf", "42", "-x265-params", "keyint=10:min-keyint=10:scenecut=0:open-gop=1:bframes=2:log-level=error:pools=1:frame-threads=1"}, options...)
			if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, h.path("20261122_190000.mp4"))...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			film, err := os.ReadFile(h.path("20261122_190000.mp4"))
			if err != nil {
				t.Fatal(err)
			}
			h.write("20261122_190006.mp4", film)
			h.settle()
			res := h.cut(at("2026-11-22 19:00:03"), at("2026-11-22 19:00:10"))
			if res.Codec != "h265" || len(res.Inputs) != 2 || len(res.Gaps) != 0 {
				t.Errorf("%+v", res)
			}
		})
	}
}
