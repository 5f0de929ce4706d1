package geo

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// A camera on Grand Avenue, and areas around it.
func TestSectorTouches(t *testing.T) {
	cam := Sector{At: oakland, FacingDeg: 90, ViewDeg: 80, RangeM: 40, UncertaintyM: 0}
	with := func(change func(*Sector)) Sector {
		s := cam
		change(&s)
		return s
	}
	ahead := square(move(oakland, 30, -150), 300) // 30 m east of the camera
	around := square(move(oakland, -150, -150), 300)
	behind := square(move(oakland, -310, -150), 300)
	tests := []struct {
		name string
		cam  Sector
		area Polygon
		want bool
	}{
		{"the area begins within the view", cam, ahead, true},
		{"the camera looks away", with(func(s *Sector) { s.FacingDeg = 270 }), ahead, false},
		{"the camera stands in the area", cam, around, true},
		{"the area lies behind it", cam, behind, false},
		{"a full circle sees behind", with(func(s *Sector) { s.ViewDeg = 360 }), behind, true},
		{"behind, but the place is only known to 15 m", with(func(s *Sector) { s.UncertaintyM = 15 }), behind, true},
		{"behind, known to 9 m", with(func(s *Sector) { s.UncertaintyM = 9 }), behind, false},
		{"in front, out of range by 10 m", with(func(s *Sector) { s.RangeM = 20 }), ahead, false},
		{"out of range, within uncertainty", with(func(s *Sector) { s.RangeM, s.UncertaintyM = 20, 10.5 }), ahead, true},
		{"the area lies within the view", with(func(s *Sector) { s.RangeM = 400 }), square(move(oakland, 200, -5), 10), true},
		{"a small area inside a full circle", with(func(s *Sector) { s.RangeM, s.ViewDeg = 400, 360 }), square(move(oakland, -200, -5), 10), true},
		{"a small area in the blind slice of a wide view", with(func(s *Sector) { s.RangeM, s.ViewDeg = 400, 300 }), square(move(oakland, -200, -5), 10), false},
		{"facing given as a negative bearing", with(func(s *Sector) { s.FacingDeg = -270 }), ahead, true},
		// The camera stands outside, looks across a thin strip and its arc lies beyond it: only edges cross.
		{"only edges cross", cam, Polygon{move(oakland, 15, -200), move(oakland, 18, -200), move(oakland, 18, 200), move(oakland, 15, 200)}, true},
		// It stands in the area's notch and looks out through the opening.
		{"in a notch, looking out", with(func(s *Sector) { s.ViewDeg = 20 }),
			Polygon{move(oakland, -50, -50), move(oakland, 200, -50), move(oakland, 200, -45), move(oakland, -20, -45), move(oakland, -20, 45), move(oakland, 200, 45), move(oakland, 200, 50), move(oakland, -50, 50)}, false},
		{"its edge lies along the area's", Sector{At: Point{1, -4.25}, FacingDeg: 180.5, ViewDeg: 1, RangeM: 5}, square(move(Point{1, -4.25}, 1e-10, -1), 5), true},
		{"zero sector", Sector{}, square(Point{-0.001, -0.001}, 300), false},
		{"not a number", with(func(s *Sector) { s.RangeM = math.NaN() }), around, false},
		{"facing infinity", with(func(s *Sector) { s.FacingDeg = math.Inf(1) }), around, false},
		{"no area", cam, nil, false},
		{"an area that crosses itself", cam, Polygon{around[0], around[2], around[1], around[3]}, false},
	}
	for _, tt := range tests {
		if got := tt.cam.Touches(tt.area); got != tt.want {
			t.Errorf("%s: touches %v, want %v", tt.name, got, tt.want)
		}
	}
}

// It stands 10 m inside the west side of the area and looks west: what lies
// between counts.
func TestCameraInsideLookingOutStillSeesTheStrip(t *testing.T) {
	area := square(move(oakland, -10, -150), 300)
	west := Sector{At: oakland, FacingDeg: 270, ViewDeg: 60, RangeM: 100}
	if !west.Touches(area) {
		t.Error("the first ten metres of its view lie in the area")
	}
}

// Touches agrees with a plain count of sample points of the view, at any
// latitude people live at.
func TestSectorAgreesWithSampling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		home := Point{rapid.Float64Range(-60, 70).Draw(t, "lat"), rapid.Float64Range(-179, 179).Draw(t, "lon")}
		s := Sector{At: home,
			FacingDeg: rapid.Float64Range(0, 360).Draw(t, "facing"), ViewDeg: rapid.Float64Range(1, 360).Draw(t, "view"),
			RangeM: rapid.Float64Range(5, 200).Draw(t, "range")}
		area := square(move(home, rapid.Float64Range(-400, 300).Draw(t, "e"), rapid.Float64Range(-400, 300).Draw(t, "n")),
			rapid.Float64Range(5, 300).Draw(t, "side"))
		sees := false
		for i := 0; i <= 20 && !sees; i++ {
			for j := 0; j <= 20 && !sees; j++ {
				p := destination(home.s2(), s.FacingDeg+s.ViewDeg*(float64(i)/20-0.5), s.RangeM*float64(j)/20)
				sees = area.Contains(fromS2(p))
			}
		}
		if sees && !s.Touches(area) {
			t.Fatalf("a point of the view lies in the area, yet they do not touch")
		}
		if s.Touches(area) {
			grown := s
			grown.UncertaintyM = 50
			if !grown.Touches(area) {
				t.Fatalf("growing the sector made it touch less")
			}
		}
		far := s
		far.At = move(home, 2000, 0)
		if far.Touches(area) {
			t.Fatalf("touches an area a kilometre off")
		}
	})
}

func BenchmarkTouches(b *testing.B) {
	s := Sector{At: oakland, ViewDeg: 90, RangeM: 40, UncertaintyM: 10}
	area := Circle(move(oakland, 600, 0), 500, 100)
	for b.Loop() {
		s.Touches(area)
	}
}
