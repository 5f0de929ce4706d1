package geo

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// oakland is where the stories of these tests happen.
var oakland = Point{Lat: 37.8044, Lon: -122.2712}

// square is a block of the given side, its south-west corner at p.
func square(p Point, sideM float64) Polygon {
	dLat := sideM / EarthRadiusM * 180 / math.Pi
	dLon := dLat / math.Cos(p.Lat*math.Pi/180)
	return Polygon{p, {p.Lat, p.Lon + dLon}, {p.Lat + dLat, p.Lon + dLon}, {p.Lat + dLat, p.Lon}}
}

// move moves a place by metres.
func move(p Point, eastM, northM float64) Point {
	p.Lat += northM / EarthRadiusM * 180 / math.Pi
	p.Lon += eastM / EarthRadiusM * 180 / math.Pi / math.Cos(p.Lat*math.Pi/180)
	return p
}

func TestAreaOfKnownShapes(t *testing.T) {
	for _, at := range []Point{{0, 0}, oakland, {-54.8, -68.3}, {69.6, 18.9}, {37.8, 179.9}} {
		if got := square(at, 300).AreaM2(); math.Abs(got-90000) > 90 {
			t.Errorf("300 m square at %v: %.1f m²", [2]float64{at.Lat, at.Lon}, got)
		}
		got, want := Circle(at, 600, 90).AreaM2(), 45*600*600*math.Sin(4*math.Pi/180)
		if math.Abs(got-want) > want/1e5 {
			t.Errorf("90-gon of 600 m: %.1f m², want %.1f", got, want)
		}
	}
	octant := Polygon{{0, 0}, {0, 90}, {89.999999, 0}}
	if got, want := octant.AreaM2(), math.Pi/2*EarthRadiusM*EarthRadiusM; math.Abs(got/want-1) > 1e-6 {
		t.Errorf("an eighth of the globe: %.0f m², want %.0f", got, want)
	}
	if (Polygon{}).AreaM2() != 0 || (Polygon{{0, 0}, {1, 1}}).AreaM2() != 0 {
		t.Error("a shape without vertices has an area")
	}
}

func TestWindingDoesNotMatter(t *testing.T) {
	p := square(oakland, 400)
	q := Polygon{p[3], p[2], p[1], p[0]}
	in := move(oakland, 200, 200)
	if math.Abs(p.AreaM2()-q.AreaM2()) > 1 || !p.Contains(in) || !q.Contains(in) {
		t.Error("the two windings of one ring enclose different ground")
	}
}

func TestValidateNamesTheFault(t *testing.T) {
	nan := math.NaN()
	sq := square(oakland, 300)
	tests := map[string]Polygon{
		"0 vertices":            nil,
		"2 vertices":            {{1, 1}, {2, 2}},
		"repeated vertex":       {{1, 1}, {1, 2}, {1, 1}, {2, 2}},
		"crosses itself":        {sq[0], sq[2], sq[1], sq[3]},
		"not a number":          {{nan, 1}, {1, 2}, {2, 2}},
		"out of range":          {{91, 1}, {1, 2}, {2, 2}},
		"out of range ":         {{1, 181}, {1, 2}, {2, 2}},
		"not a number ":         {{math.Inf(1), 1}, {1, 2}, {2, 2}},
		"encloses a pole":       {{80, 0}, {80, 120}, {80, -120}},
		"encloses a pole ":      {{-80, 0}, {-80, 120}, {-80, -120}},
		"touches a pole":        {{90, 0}, {80, 10}, {80, 20}},
		"touches the antimerid": {{1, 179}, {1, -179}, {2, 179}},
		"the antimeridian":      {{1, 179}, {1, 180}, {2, 179}},
		"encloses no area":      {{1, 1}, {2, 1}, {3, 1}},
		"101 vertices":          Circle(oakland, 300, 101),
	}
	for want, p := range tests {
		var e *Error
		err := p.Validate()
		if !errors.As(err, &e) || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for _, good := range []Polygon{sq, Circle(oakland, 300, 100), {{1, 1}, {1, 2}, {2, 1}}} {
		if err := good.Validate(); err != nil {
			t.Errorf("a good ring was refused: %v", err)
		}
	}
}

// An area at the town line, next to it and across it.
func TestContainsPolygon(t *testing.T) {
	town := square(oakland, 5000)
	tests := []struct {
		name     string
		area     Polygon
		in, over bool
	}{
		{"well inside", square(move(oakland, 1000, 1000), 300), true, true},
		{"the town itself", town, true, true},
		// A parallel is no geodesic: 5 km of one bow 0.4 m off it.
		{"in the corner, a metre inside", square(move(oakland, 1, 1), 300), true, true},
		{"across the line", square(move(oakland, -150, 1000), 300), false, true},
		{"outside", square(move(oakland, -1000, 1000), 300), false, false},
		{"around the town", square(move(oakland, -1000, -1000), 8000), false, true},
		{"not a ring", Polygon{oakland}, false, false},
		// All four corners of the bar lie outside and so do those of the town.
		{"a bar across", Polygon{move(oakland, -500, 2000), move(oakland, 5500, 2000), move(oakland, 5500, 2300), move(oakland, -500, 2300)}, false, true},
	}
	for _, tt := range tests {
		if got := town.ContainsPolygon(tt.area); got != tt.in {
			t.Errorf("%s: contained %v", tt.name, got)
		}
		if got := Overlaps(town, tt.area); got != tt.over || Overlaps(tt.area, town) != got {
			t.Errorf("%s: overlaps %v", tt.name, got)
		}
	}
	// A notch: the corners of the area lie inside, its middle does not.
	notched := Polygon{{0, 0}, {0, 1}, {1, 1}, {0.2, 0.5}, {1, 0}}
	if notched.ContainsPolygon(Polygon{{0.1, 0.1}, {0.1, 0.9}, {0.5, 0.9}, {0.5, 0.1}}) {
		t.Error("an area across a notch counts as contained")
	}
}

func TestGeoJSON(t *testing.T) {
	const ring = `[[-122.3,37.8],[-122.2,37.8],[-122.2,37.9],[-122.3,37.8]]`
	good := []string{
		`{"type":"Polygon","coordinates":[` + ring + `]}`,
		`{"type":"Feature","properties":{"name":"x"},"geometry":{"type":"Polygon","coordinates":[` + ring + `]}}`,
	}
	for _, s := range good {
		p, err := ParseGeoJSON([]byte(s))
		if err != nil || len(p) != 3 || p[0] != (Point{37.8, -122.3}) {
			t.Errorf("%s: %v %v", s, p, err)
		}
	}
	bad := []string{
		``, `null`, `{}`, `[]`, `{"type":"Point","coordinates":[1,2]}`, `{"type":"Polygon"}`,
		`{"type":"Polygon","coordinates":[` + ring + `,` + ring + `]}`,
		`{"type":"Polygon","coordinates":[[[1,2,3],[2,2,3],[2,1,3]]]}`,
		`{"type":"Polygon","coordinates":[[[1,null],[2,2],[2,1]]]}`,
		`{"type":"Feature","geometry":null}`, `{"type":"Feature","geometry":{"type":"Feature","geometry":{}}}`,
	}
	for _, s := range bad {
		if p, err := ParseGeoJSON([]byte(s)); err == nil {
			t.Errorf("%s was read as %v", s, p)
		}
	}
}

func TestJSONHasOneText(t *testing.T) {
	p := Polygon{{math.Copysign(0, -1), 1}, {1e-9, -122.2712}, {45.5, 100}}
	b, err := json.Marshal(p)
	if want := `[[1,0],[-122.2712,1e-9],[100,45.5]]`; err != nil || string(b) != want {
		t.Fatalf("%s %v, want %s", b, err, want)
	}
	var q Polygon
	if err := json.Unmarshal(b, &q); err != nil || q[1] != p[1] || q[2] != p[2] {
		t.Error(q, err)
	}
	if _, err := json.Marshal(Point{Lat: math.NaN()}); err == nil {
		t.Error("NaN has a text")
	}
}

func TestDistance(t *testing.T) {
	if d := metres(oakland.s2().Distance(move(oakland, 300, 400).s2())); math.Abs(d-500) > 0.1 {
		t.Errorf("%.2f m, want 500", d)
	}
}

func TestPlacesStayOutOfLogs(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("camera", "at", oakland, "sees", Sector{At: oakland, RangeM: 30})
	if strings.Contains(out.String(), "37.8") || strings.Contains(out.String(), "122.2") {
		t.Error("a log line shows a place: ", out.String())
	}
}

// Whatever the numbers, nothing panics, and what Validate accepts has an area.
func TestAnyPolygon(t *testing.T) {
	coord := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-180, 180), rapid.Float64Range(37.80, 37.81),
		rapid.SampledFrom([]float64{0, 90, -90, 180, -180, math.NaN(), math.Inf(-1), 5e-324}))
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Polygon {
			return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Point {
				return Point{coord.Draw(t, "lat"), coord.Draw(t, "lon")}
			}), 0, 8).Draw(t, name)
		}
		p, q := draw("p"), draw("q")
		s := Sector{At: Point{coord.Draw(t, "lat"), coord.Draw(t, "lon")}, ViewDeg: 90, RangeM: 50, UncertaintyM: 10}
		s.Touches(p)
		Overlaps(p, q)
		p.ContainsPolygon(q)
		p.Contains(s.At)
		if p.Validate() == nil {
			if a := p.AreaM2(); !(a > 0) {
				t.Fatalf("a valid ring encloses %v m²", a)
			}
		}
	})
}

func ExampleCircle() {
	area := Circle(Point{Lat: 51.5007, Lon: -0.1246}, 300, 24)
	fmt.Println(len(area), area.Validate(), math.Round(area.AreaM2()/1000)*1000)
	// Output: 24 <nil> 280000
}

func FuzzParseGeoJSON(f *testing.F) {
	f.Add([]byte(`{"type":"Polygon","coordinates":[[[-122.3,37.8],[-122.2,37.8],[-122.2,37.9],[-122.3,37.8]]]}`))
	f.Add([]byte(`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[1,null]]]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseGeoJSON(b)
		if err == nil && p.Validate() != nil {
			t.Error("accepted a ring that is not valid")
		}
	})
}
