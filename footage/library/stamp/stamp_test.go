package stamp

import (
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Skip("no time zone database here:", err)
	}
	return z
}

func TestName(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	for _, c := range []struct{ path, want string }{
		{"2026-11-22/19.04.05.mp4", "2026-11-22T18:04:05Z"},
		{"2026-11-22/19-04-05.mp4", "2026-11-22T18:04:05Z"},
		{"2026-11-22/190405.MP4", "2026-11-22T18:04:05Z"},
		{"20261122/190405.mp4", "2026-11-22T18:04:05Z"},
		{"2026/11/22/19.04.05.mp4", "2026-11-22T18:04:05Z"},
		{"front/2026-11-22/main/190405.mp4", "2026-11-22T18:04:05Z"},
		{"2026-11-21/2026-11-22/190405Z.mp4", "2026-11-22T19:04:05Z"},
		{"20261122_190405.mp4", "2026-11-22T18:04:05Z"},
		{"20261122190405.mp4", "2026-11-22T18:04:05Z"},
		{"any/where/2026-11-22T19-04-05Z.mp4", "2026-11-22T19:04:05Z"},
		{"2026-11-22T19-04-05+0130.mp4", "2026-11-22T17:34:05Z"},
		{"2026-11-22T19-04-05-05:00.mp4", "2026-11-23T00:04:05Z"},
		{"2026-11-22T19-04-05-0500.mp4", "2026-11-23T00:04:05Z"},
		{"20261122_190405-0001.mp4", "2026-11-22T18:04:05Z"}, // a number, not an offset
		{"20261122_190405-20261122_191405.mp4", "2026-11-22T18:04:05Z"},
		{"2026-11-22 19.04.05.250.mp4", "2026-11-22T18:04:05.25Z"},
		{"RingVideo_20261122_190405.mp4", "2026-11-22T18:04:05Z"},
		{"cam12_2026-11-22-19-04-05_main.mp4", "2026-11-22T18:04:05Z"},
		{"front@20261122190405+0000.mp4", "2026-11-22T19:04:05Z"},
		{"19.04.05.mp4", ""},
		{"2026-13-22/19.04.05.mp4", ""},
		{"2026-11-22/25.04.05.mp4", ""},
		{"20260229_190405.mp4", ""},
		{"120261122_190405.mp4", ""},
		{"20261122_1904056.mp4", ""},
		{"00000000_000000.mp4", ""},
		{"video.mp4", ""}, {"", ""}, {"/", ""}, {".mp4", ""},
	} {
		got := ""
		if s, ok := Name(c.path, berlin); ok {
			got = s.At.Format(time.RFC3339Nano)
			if s.Ambiguous {
				t.Errorf("%s: %+v", c.path, s)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
	}
}

func TestFrigate(t *testing.T) {
	for _, c := range []struct{ path, camera, at string }{
		{"2026-11-22/19/front_door/07.31.mp4", "front_door", "2026-11-22T19:07:31Z"},
		{"recordings/2026-11-22/19/front door/07.31.mp4", "front door", "2026-11-22T19:07:31Z"},
		{"2026-11-22/24/front_door/07.31.mp4", "", ""},
		{"2026-11-22/19/07.31.mp4", "", ""},
		{"2026-11-22/19/a/b/07.31.mp4", "", ""},
		{"x2026-11-22/19/a/07.31.mp4", "", ""},
	} {
		camera, at, ok := Frigate(c.path)
		if ok != (c.at != "") || ok && (camera != c.camera || at.Format(time.RFC3339) != c.at) {
			t.Errorf("%s: %q %v %v", c.path, camera, at, ok)
		}
	}
}

func TestClocksThatChange(t *testing.T) {
	for _, c := range []struct {
		zone, civil, want string
		ambiguous         bool
	}{
		// In autumn 02:00 to 03:00 comes twice in Berlin.
		{"Europe/Berlin", "20261025_015959", "2026-10-24T23:59:59Z", false},
		{"Europe/Berlin", "20261025_020000", "2026-10-25T00:00:00Z", true},
		{"Europe/Berlin", "20261025_025959", "2026-10-25T00:59:59Z", true},
		{"Europe/Berlin", "20261025_030000", "2026-10-25T02:00:00Z", false},
		// In spring 02:00 to 03:00 never comes.
		{"Europe/Berlin", "20260329_015959", "2026-03-29T00:59:59Z", false},
		{"Europe/Berlin", "20260329_023000", "2026-03-29T01:30:00Z", true},
		{"Europe/Berlin", "20260329_030000", "2026-03-29T01:00:00Z", false},
		{"America/New_York", "20261101_013000", "2026-11-01T05:30:00Z", true},
		{"America/New_York", "20261101_020000", "2026-11-01T07:00:00Z", false},
		{"America/New_York", "20260308_023000", "2026-03-08T07:30:00Z", true},
		{"Australia/Lord_Howe", "20260405_014500", "2026-04-04T14:45:00Z", true}, // half an hour
		{"Asia/Kolkata", "20261122_190405", "2026-11-22T13:34:05Z", false},
		{"UTC", "20261025_023000", "2026-10-25T02:30:00Z", false},
		{"Europe/Berlin", "20261025_023000Z", "2026-10-25T02:30:00Z", false},
	} {
		s, ok := Name(c.civil+".mp4", zone(t, c.zone))
		if !ok || s.At.Format(time.RFC3339) != c.want || s.Ambiguous != c.ambiguous {
			t.Errorf("%s in %s: %+v, want %s %v", c.civil, c.zone, s, c.want, c.ambiguous)
		}
	}
}

func FuzzStamp(f *testing.F) {
	for _, s := range []string{"2026-11-22/19.04.05.mp4", "20261122_190405-0500.mp4", "2026-11-22/19/front/04.05.mp4", "2026/11/22/190405Z.mov", "20261025_023000.25+99:99.mp4"} {
		f.Add(s)
	}
	berlin := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, path string) {
		check := func(at time.Time) {
			if at.Year() < 1989 || at.Year() > 2101 || at.Location() != time.UTC {
				t.Errorf("%q is at %v", path, at)
			}
		}
		if s, ok := Name(path, berlin); ok {
			check(s.At)
			if utc, ok := Name(path, time.UTC); !ok || utc.At.Sub(s.At).Abs() > 2*time.Hour {
				t.Errorf("%q is at %v in Berlin and %v in UTC", path, s, utc)
			}
		}
		if _, at, ok := Frigate(path); ok {
			check(at)
		}
	})
}
