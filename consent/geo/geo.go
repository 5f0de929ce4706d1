// Package geo holds the three shapes that requests and cameras are matched by:
// a point, an area and a camera's view sector, all on the WGS 84 latitude and
// longitude of a sphere of 6,371,010 m radius (the mean radius that S2 uses).
//
// # Formats
//
// A Point is a GeoJSON position (RFC 7946, section 3.1.1): [lon, lat], in
// degrees. A Polygon is one GeoJSON linear ring without the repeated closing
// position: [[lon, lat], ...], at least 3 and at most 100 of them, in either
// winding. Numbers are written as ECMAScript writes them (RFC 8785, section
// 3.2.2.3); minus zero is written 0.
//
// # Geometry
//
// Edges are geodesics. RFC 7946 draws them straight in longitude and latitude
// instead; over the few kilometres of a request the two differ by less than a
// metre. A polygon encloses the smaller of the two regions its ring bounds, so
// winding does not matter. Rings that cross themselves, touch the antimeridian
// or enclose a pole are refused by Validate, because readers disagree on what
// they enclose.
//
// Areas and containment are computed by github.com/golang/geo/s2.
package geo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"

	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"
)

// EarthRadiusM is the radius of the sphere everything is measured on, metres.
const EarthRadiusM = 6371010.0

// Limits of a polygon that Validate accepts.
const (
	MinVertices = 3
	MaxVertices = 100
)

// smallestAreaM2 is the area below which a ring counts as a line: its vertices
// lie on one geodesic as far as double precision can tell.
const smallestAreaM2 = 1.0

// Error says what is wrong with a shape. Callers that hold a signed document
// turn it into a refusal of the class "area-invalid".
type Error struct {
	Problem string // what is wrong, in words
	Vertex  int    // the vertex it shows at, counted from 0, or -1
}

func (e *Error) Error() string {
	if e.Vertex < 0 {
		return "geo: " + e.Problem
	}
	return fmt.Sprintf("geo: %s at vertex %d", e.Problem, e.Vertex)
}

// Point is a place, in degrees. The zero Point lies in the Gulf of Guinea and
// is valid; a document that must name a place says so by its own rules.
type Point struct {
	Lat float64 // degrees north, [-90, 90]
	Lon float64 // degrees east, [-180, 180]
}

// Valid reports whether the coordinates are finite and in range.
func (p Point) Valid() bool {
	return math.Abs(p.Lat) <= 90 && math.Abs(p.Lon) <= 180 // NaN fails both
}

// LogValue keeps places out of logs: a camera's point is a home's address.
func (p Point) LogValue() slog.Value { return slog.StringValue("place withheld") }

// MarshalJSON writes the GeoJSON position [lon, lat]. Requests have up to a hundred, and every peer reads them all, so this and its
// counterpart do without encoding/json where they can.
func (p Point) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, f := range []float64{positiveZero(p.Lon), positiveZero(p.Lat)} {
		if abs := math.Abs(f); f != 0 && !(abs >= 1e-6 && abs < 1e21) { // with an exponent, or no number at all
			return json.Marshal([2]float64{positiveZero(p.Lon), positiveZero(p.Lat)})
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	return append(b, ']'), nil
}

// UnmarshalJSON reads exactly two numbers; an altitude is refused.
func (p *Point) UnmarshalJSON(b []byte) error {
	list, ok1 := strings.CutPrefix(string(b), "[")
	list, ok2 := strings.CutSuffix(list, "]")
	lon, lat, ok3 := strings.Cut(list, ",")
	if !ok1 || !ok2 || !ok3 || strings.Contains(lat, ",") {
		return &Error{"a position is [longitude, latitude]", -1}
	}
	for _, f := range []struct {
		text string
		to   *float64
	}{{lon, &p.Lon}, {lat, &p.Lat}} {
		v, err := strconv.ParseFloat(strings.TrimSpace(f.text), 64) // of JSON, which has fewer spellings than strconv
		if err != nil {
			return fmt.Errorf("geo: position: %w", err)
		}
		*f.to = v
	}
	return nil
}

func positiveZero(f float64) float64 {
	if f == 0 {
		return 0
	}
	return f
}

func (p Point) s2() s2.Point {
	return s2.PointFromLatLng(s2.LatLngFromDegrees(p.Lat, p.Lon))
}

func metres(a s1.Angle) float64 { return a.Radians() * EarthRadiusM }

// Polygon is one closed ring; the edge from the last vertex to the first is
// implied. The zero Polygon is not valid and contains nothing.
type Polygon []Point

// ParseGeoJSON reads a GeoJSON geometry of type Polygon with one ring, as
// drawing tools export it, or a Feature around one. Holes are refused, and the
// repeated last position is dropped. The result has passed Validate.
func ParseGeoJSON(b []byte) (Polygon, error) {
	var doc struct {
		Type        string          `json:"type"`
		Geometry    json.RawMessage `json:"geometry"`
		Coordinates []Polygon       `json:"coordinates"`
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("geo: GeoJSON: %w", err)
	}
	if doc.Type == "Feature" && doc.Geometry != nil {
		inner := doc.Geometry
		doc.Type, doc.Geometry, doc.Coordinates = "", nil, nil
		if err := json.Unmarshal(inner, &doc); err != nil {
			return nil, fmt.Errorf("geo: GeoJSON geometry: %w", err)
		}
	}
	if doc.Type != "Polygon" {
		return nil, &Error{fmt.Sprintf("GeoJSON of type %q where a Polygon is needed", doc.Type), -1}
	}
	if len(doc.Coordinates) != 1 {
		return nil, &Error{fmt.Sprintf("a polygon has one ring and no holes, this one has %d rings", len(doc.Coordinates)), -1}
	}
	p := doc.Coordinates[0]
	if n := len(p); n > 1 && p[0] == p[n-1] {
		p = p[:n-1]
	}
	return p, p.Validate()
}

// Circle is a regular polygon of n vertices around a place, the first one due
// north. It is how a form turns "within 300 m of here" into an area.
func Circle(center Point, radiusM float64, n int) Polygon {
	p := make(Polygon, 0, max(n, 0))
	for i := range n {
		p = append(p, fromS2(destination(center.s2(), 360*float64(i)/float64(n), radiusM)))
	}
	return p
}

// Validate returns an *Error that names the first fault: fewer than 3 or more
// than 100 vertices, a coordinate that is not a number or out of range, a
// repeated vertex, edges that cross, no area, a pole or the antimeridian.
func (p Polygon) Validate() error {
	if len(p) > MaxVertices {
		return &Error{fmt.Sprintf("%d vertices, at most %d are allowed", len(p), MaxVertices), -1}
	}
	for i, v := range p {
		if !v.Valid() {
			return &Error{"coordinate out of range or not a number", i}
		}
		for _, u := range p[:i] {
			if u == v {
				return &Error{"repeated vertex", i}
			}
		}
	}
	if len(p) < MinVertices {
		return &Error{fmt.Sprintf("%d vertices, at least %d are needed", len(p), MinVertices), -1}
	}
	pts := p.points()
	if i := selfCrossing(pts); i >= 0 {
		return &Error{"the ring crosses itself", i}
	}
	loop := loopOf(pts)
	for i, v := range p {
		if math.Abs(v.Lat) == 90 {
			return &Error{"the ring touches a pole", i}
		}
	}
	for _, pole := range []Point{{Lat: 90}, {Lat: -90}} {
		if loop.ContainsPoint(pole.s2()) {
			return &Error{"the ring encloses a pole", -1}
		}
	}
	for i, v := range p {
		w := p[(i+1)%len(p)]
		if math.Abs(v.Lon) == 180 || math.Abs(v.Lon-w.Lon) >= 180 {
			return &Error{"the ring touches the antimeridian", i}
		}
	}
	if loop.Area()*EarthRadiusM*EarthRadiusM < smallestAreaM2 {
		return &Error{"the ring encloses no area", -1}
	}
	return nil
}

// AreaM2 is the enclosed area in square metres, 0 for fewer than 3 vertices.
func (p Polygon) AreaM2() float64 {
	if !p.usable() {
		return 0
	}
	return p.loop().Area() * EarthRadiusM * EarthRadiusM
}

// Contains reports whether a place lies inside. For a place on the boundary
// the answer is stable but unspecified.
func (p Polygon) Contains(q Point) bool {
	return p.usable() && q.Valid() && p.loop().ContainsPoint(q.s2())
}

// ContainsPolygon reports whether q lies wholly inside p; a shared boundary
// counts as inside.
func (p Polygon) ContainsPolygon(q Polygon) bool {
	return p.usable() && q.usable() && p.loop().Contains(q.loop())
}

// Overlaps reports whether two polygons share ground, also where one contains
// the other. A shared boundary alone is no overlap.
func Overlaps(p, q Polygon) bool {
	return p.usable() && q.usable() && p.loop().Intersects(q.loop())
}

// usable is what the S2 calls need so as not to fail on arbitrary input.
// Whether the ring makes sense is for Validate to say.
func (p Polygon) usable() bool {
	if len(p) < MinVertices || len(p) > MaxVertices {
		return false
	}
	for _, v := range p {
		if !v.Valid() {
			return false
		}
	}
	return true
}

func (p Polygon) points() []s2.Point {
	pts := make([]s2.Point, len(p))
	for i, v := range p {
		pts[i] = v.s2()
	}
	return pts
}

func (p Polygon) loop() *s2.Loop { return loopOf(p.points()) }

// loopOf gives the loop the winding whose inside is the smaller region.
func loopOf(pts []s2.Point) *s2.Loop {
	l := s2.LoopFromPoints(pts)
	l.Normalize()
	return l
}

// selfCrossing returns the first edge that properly crosses another one, or
// -1. Comparing all pairs is at most 4,950 exact predicates.
func selfCrossing(pts []s2.Point) int {
	n := len(pts)
	for i := range n {
		edge := s2.NewEdgeCrosser(pts[i], pts[(i+1)%n])
		for j := i + 2; j < n; j++ {
			if i == 0 && j == n-1 {
				continue // neighbours across the closing vertex
			}
			if edge.CrossingSign(pts[j], pts[(j+1)%n]) != s2.DoNotCross {
				return i
			}
		}
	}
	return -1
}

func fromS2(p s2.Point) Point {
	ll := s2.LatLngFromPoint(p)
	return Point{Lat: ll.Lat.Degrees(), Lon: ll.Lng.Degrees()}
}
