package stamp

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestNamesThatMakersGive holds the forms that recorders and export apps are publicly known to write. Each
// has the place it is known from; numbers of cameras and accounts are made up.
//
// No public description was found of the names that the Google Home app, the eufy app, the Wyze app and
// Surveillance Station's export give to a downloaded clip; Blink's web downloads and Hikvision's card files
// (hiv00012.mp4, ch01_00000000072000000.mp4) have numbers without a time. Those start by the movie's own
// time, or by a pattern of the owner's.
func TestNamesThatMakersGive(t *testing.T) {
	newYork := zone(t, "America/New_York")
	for _, c := range []struct{ maker, source, path, want string }{
		{"Ring app", "file lists in public repositories", "RingVideo_20260909_132147.MP4", "2026-09-09T17:21:47Z"},
		{"Blink app", "github.com/lurume84/bling-desktop/issues/47", "Roof_Rear_Corner_2020-11-09T10_30_54-0800.mp4", "2020-11-09T18:30:54Z"},
		{"Blink desktop", "github.com/lurume84/bling-desktop/issues/47", "2020-11-26T02_06_04+00_00.mp4", "2020-11-26T02:06:04Z"},
		{"Blink sync module", "github.com/fronzbot/blinkpy/pull/650", "20221206_144408_Kitchen.mp4", "2022-12-06T19:44:08Z"},
		{"Blink card number", "github.com/adrian-dobre/BlinkWebUI/issues/16", "948987989.mp4", ""},
		{"Arlo library", "github.com/jeffreydwalter/arlo/issues/17", "1503965853123.mp4", "2017-08-29T00:17:33.123Z"},
		{"Arlo downloader", "github.com/jeffreydwalter/arlo/issues/17", "2017-08-28 20-17-33 A7B83NU.mp4", "2017-08-29T00:17:33Z"},
		{"UniFi Protect", "github.com/danielfernau/unifi-protect-video-downloader/issues/14", "Front Door - 2-9-2020, 11.21.12pm.mp4", "2020-02-10T04:21:12Z"},
		{"UniFi Protect at noon", "the same", "Front Door - 12-31-2020, 12.00.01pm.mp4", "2020-12-31T17:00:01Z"},
		{"UniFi Protect at midnight", "the same", "Front Door - 12-31-2020, 12.00.01am.mp4", "2020-12-31T05:00:01Z"},
		{"UniFi archiver", "the same", "Front Door 1a2b - 2020-02-09 - 23.21.12-0500.mp4", "2020-02-10T04:21:12Z"},
		{"UniFi archiver in UTC", "the same", "Front Door 1a2b - 2020-02-09 - 23.21.12+0000.mp4", "2020-02-09T23:21:12Z"},
		{"Tapo media sync", "github.com/JurajNyiri/HomeAssistant-Tapo-Control/issues/509", "1706108297-1706108310.mp4", "2024-01-24T14:58:17Z"},
		{"Reolink", "github.com/starkillerOG/reolink_aio typings.py", "Mp4Record/2023-05-15/RecM02_20230515_071811_071835_6D28900_13CE8C7.mp4", "2023-05-15T11:18:11Z"},
		{"Reolink in summer", "the same", "Mp4Record/2023-04-26/RecS02_DST20230426_145918_150032_2B14808_32F1DF.mp4", "2023-04-26T18:59:18Z"},
		{"Reolink hub", "the same", "Mp4Record/2024-08-27/RecM02_DST20240827_090302_090334_0_800_800_033C820000_61B6F0.mp4", "2024-08-27T13:03:02Z"},
		{"Reolink export", "the same", "Rec_20230517_043229_541_M.mp4", "2023-05-17T08:32:29Z"},
		{"Reolink by FTP", "github.com/lukelalo/gallery-card/issues/12", "2025/07/21/Front Door_00_20250721134502.mp4", "2025-07-21T17:45:02Z"},
		{"Dahua and Amcrest cards", "ingesters in public repositories", "2019-05-09/001/dav/21/21.04.49-21.05.14[M][0@0][0].mp4", "2019-05-10T01:04:49Z"},
		{"Dahua recorder", "file lists in public repositories", "NVR_ch1_main_20241118083054_20241118083251.mp4", "2024-11-18T13:30:54Z"},
		{"Hikvision download", "file lists in public repositories", "ch01_00000000001000000_20260127075543_20260127075842.mp4", "2026-01-27T12:55:43Z"},
		{"Hikvision card", "github.com/bkbilly/Hikvision-Site/issues/3", "datadir0/hiv00012.mp4", ""},
		{"Hikvision stream name", "file lists in public repositories", "ch01_00000000072000000.mp4", ""},
		{"Wyze card", "github.com/FiveLeavesLeft/WyzeCameraLiveStream/issues/7; AtomCam sources", "record/20210503/07/31.mp4", "2021-05-03T11:31:00Z"},
		{"Yi card", "github.com/alienatedsec/yi-hack-v5/issues/156", "record/2022Y03M09D15H/22M37S23.mp4", "2022-03-09T20:22:37Z"},
		{"Yi card with its alarm", "github.com/roleoroleo/yi-hack-Allwinner-v2/issues/826", "record/2024Y02M22D15H/E123M45S67.mp4", "2024-02-22T20:23:45Z"},
		{"Yi without its folder", "the same", "E123M45S67.mp4", ""},
		{"Aqara on a share", "github.com/TheScubaDiver/camera-gallery-card/issues/11", "lumi3/20260314/173154.mp4", "2026-03-14T21:31:54Z"},
		{"Blue Iris", "camlocus.com/docs/recording-and-clips: &CAM.%Y%m%d_%H%M%S", "Driveway/Driveway.20261122_190405.mp4", "2026-11-23T00:04:05Z"},
		{"Frigate event", "github.com/blakeblackshear/frigate/issues/323", "clips/front-1606742747.272411-0lbwng.mp4", "2020-11-30T13:25:47.272411Z"},
		{"Frigate export without seconds", "github.com/blakeblackshear/frigate/pull/7340", "exports/cam_2023_07_27_10:00__2023_07_27_08:00.mp4", ""},
		{"MediaMTX", "its default recordPath, %Y-%m-%d_%H-%M-%S-%f", "front/2026-11-22_19-04-05-123456.mp4", "2026-11-23T00:04:05Z"},
		{"ZLMediaKit", "github.com/ZLMediaKit/ZLMediaKit/issues/679", "record/live/front/2021-01-07/01-41-28.mp4", "2021-01-07T06:41:28Z"},
		{"Brickcom", "brickcom.com FAQ 106", "20140509-000500-001000_192.168.1.11-CH2.mp4", "2014-05-09T04:05:00Z"},
		{"Canon", "manual of the VK-64, backup scheme", "NVR_MPEG4_0123456789abcdef_20261122_190405_20261122_191405.mov", "2026-11-23T00:04:05Z"},
		{"Cloudvue", "exacq-cms.johnsoncontrols.com, video file naming", "smartvue/video/0050F9627E62/2023-03-30/1680140457.mp4", "2023-03-30T01:40:57Z"},

		// What these forms must not be taken for.
		{"afternoon", "", "2026-11-22 07.04.05 PM.mp4", "2026-11-23T00:04:05Z"},
		{"afternoon, no room", "", "cam_20261122_070405PM_2.mp4", "2026-11-23T00:04:05Z"},
		{"a camera called Amcrest", "", "2026-11-22_12-04-05_amcrest.mp4", "2026-11-22T17:04:05Z"},
		{"24 hours and PM", "", "2026-11-22 19.04.05 PM.mp4", "2026-11-23T00:04:05Z"},
		{"day or month first", "", "03-04-2026 19.04.05.mp4", ""},
		{"day first for sure, no form", "", "25-11-2026_190405.mp4", ""},
		{"ten digits that are an hour", "", "2026112219.mp4", ""},
		{"a number of eleven", "", "17000000000.mp4", ""},
		{"a number below", "", "0123456789.mp4", ""},
		{"thirteen month", "", "Front - 13-13-2020, 11.21.12pm.mp4", ""},
		{"minute 61", "", "record/20210503/07/61.mp4", ""},
		{"two digits without a day", "", "a/07/31.mp4", ""},
	} {
		got := ""
		if s, ok := Name(c.path, newYork); ok {
			got = s.At.Format(time.RFC3339Nano)
		}
		if got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.maker, c.path, got, c.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	for _, c := range []struct{ pattern, path, want string }{
		{"%Y-%m-%d_%H-%M-%S", "2026-11-22_19-04-05.mp4", "2026-11-22T18:04:05Z"},
		{"%Y-%m-%d_%H-%M-%S.mp4", "any/where/2026-11-22_19-04-05.MP4", "2026-11-22T18:04:05Z"},
		{"%Y-%m-%d_%H-%M-%S", "front_2026-11-22_19-04-05.mp4", ""},
		{"front_%d.%m.%Y %H.%M.%S", "front_22.11.2026 19.04.05.mp4", "2026-11-22T18:04:05Z"},
		{"*_%d%m%y_%H%M", "cam 3_221126_1904.mp4", "2026-11-22T18:04:00Z"},
		{"%Y%m%d/cam?_%I.%M.%S %p", "2026/20261122/cam1_07.04.05 PM.mp4", "2026-11-22T18:04:05Z"},
		{"%Y%m%d/cam?_%I.%M.%S %p", "20261122/cam1_12.04.05 am.mp4", "2026-11-21T23:04:05Z"},
		{"%Y%m%d/cam?_%I.%M.%S %p", "20261122/cam1_13.04.05 PM.mp4", ""},
		{"%Y%m%d/cam?_%I.%M.%S %p", "cam1_07.04.05 PM.mp4", ""},
		{"%Y/%m/%d/*/%H.%M.%S*", "2026/11/22/main/19.04.05-x.mp4", "2026-11-22T18:04:05Z"},
		{"%Y/%m/%d/*/%H.%M.%S*", "2026/11/22/19.04.05.mp4", ""},
		{"*-%s-*", "driveway-1700000000-1700000060.mp4", "2023-11-14T22:13:20Z"},
		{"%s.%f", "1700000000.25.mp4", "2023-11-14T22:13:20.25Z"},
		{"v%Q", "v1700000000123.mp4", "2023-11-14T22:13:20.123Z"},
		{"%Y-%m-%dT%H%M%S%z", "2026-11-22T190405-0500.mp4", "2026-11-23T00:04:05Z"},
		{"%Y-%m-%dT%H%M%S%z", "2026-11-22T190405Z.mp4", "2026-11-22T19:04:05Z"},
		{"%d %b %Y %-H.%M", "22 Nov 2026 7.04.mp4", "2026-11-22T06:04:00Z"},
		{"%d %b %Y %-H.%M", "22 Xyz 2026 7.04.mp4", ""},
		{"%-m-%-d-%Y, %-I.%M.%S%p", "2-9-2020, 11.21.12pm.mp4", "2020-02-09T22:21:12Z"},
		{"%Y%m%d_%H%M%S_%f", "20261122_190405_123456789.mp4", "2026-11-22T18:04:05.123456Z"},
		{"100%% %Y%m%d%H", "100% 2026112219.mp4", "2026-11-22T18:00:00Z"},
		{"%Y%m%d/%Y%m%d%H%M%S", "20261122/20261122190405.mp4", "2026-11-22T18:04:05Z"},
		{"%Y%m%d/%Y%m%d%H%M%S", "20261121/20261122190405.mp4", ""},
		{"(%Y)[%m]{%d}.+%H", "(2026)[11]{22}.+19.mp4", "2026-11-22T18:00:00Z"},
		{"%Y%m%d%H%M%S", "20260230190405.mp4", ""},
		{"äö_%Y%m%d%H", "äö_2026112219.mp4", "2026-11-22T18:00:00Z"},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		got := ""
		if s, ok := p.Read(c.path, berlin); ok {
			got = s.At.Format(time.RFC3339Nano)
		}
		if got != c.want || p.String() != c.pattern {
			t.Errorf("%s of %s: %q, want %q", c.pattern, c.path, got, c.want)
		}
	}
	p, err := ParsePattern("%Y%m%d%H%M%S")
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := p.Read("20261025023000.mp4", berlin); !ok || !s.Ambiguous {
		t.Errorf("the hour that comes twice: %+v %v", s, ok)
	}
}

func TestPatternsThatTellNoTime(t *testing.T) {
	for _, c := range []struct {
		pattern string
		at      int
		says    string
	}{
		{"", 1, "1 to 200"},
		{strings.Repeat("x", 201), 1, "1 to 200"},
		{"front", 6, "without a year"},
		{"%Y-%m", 6, "without a day"},
		{"%Y-%d-%H", 9, "without a month"},
		{"%Y-%m-%d", 9, "without an hour"},
		{"%Y-%m-%d_%I", 12, "AM or PM"},
		{"%Y-%q-%d", 4, "%q is no field"},
		{"%Y-ä%ö", 5, "%ö is no field"},
		{"%Y-%-%", 4, "%% is no field"},
		{"%Y%", 3, "letter must follow"},
		{"/%Y%m%d%H", 1, "slash"},
		{"%Y//%m%d%H", 4, "slash"},
		{"%Y%m%d%H/", 9, "slash"},
		{`%Y\%m`, 3, "folders with /"},
		{"%Y\n%m", 3, "control"},
		{"%s_%Y", 1, "by themselves"},
	} {
		_, err := ParsePattern(c.pattern)
		var flaw *PatternError
		if !errors.As(err, &flaw) || flaw.At != c.at || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "an example is %Y-%m-%d_%H-%M-%S") {
			t.Errorf("%q: %v", c.pattern, err)
		}
	}
}

// FuzzPattern wants every accepted pattern to read only dates, and nothing to panic.
func FuzzPattern(f *testing.F) {
	f.Add("%Y-%m-%d_%H-%M-%S", "2026-11-22_19-04-05.mp4")
	f.Add("%Y%m%d/cam?_%I.%M.%S %p", "2026/20261122/cam1_07.04.05 PM.mp4")
	f.Add("*-%s-*", "driveway-1700000000-1700000060.mp4")
	f.Add("%d %b %y %-H.%M%z", "22 Nov 26 7.04+01:00.mp4")
	f.Add("%Q.%f", "1700000000123.25.mp4")
	berlin := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			var flaw *PatternError
			if !errors.As(err, &flaw) || flaw.At < 1 || flaw.At > len([]rune(pattern))+1 {
				t.Fatalf("%q: %v", pattern, err)
			}
			return
		}
		if s, ok := p.Read(path, berlin); ok && (s.At.Year() < 1989 || s.At.Year() > 2101 || s.At.Location() != time.UTC) {
			t.Fatalf("%q of %q is %v", pattern, path, s.At)
		}
	})
}
