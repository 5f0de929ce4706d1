package geo

import (
	"log/slog"
	"math"

	"github.com/golang/geo/r3"
	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"
)

// Bounds of a sector that Validate accepts, metres.
const (
	MaxRangeM       = 5000.0
	MaxUncertaintyM = 5000.0
)

// touchM is how near two outlines are that touch, metres. Places are good to
// metres, and the distances computed here to about a millimetre, so that an
// outline drawn along another's edge would else touch it or not by rounding.
const touchM = 0.01

// arcStepDeg is the widest step of the polygon that stands for the arc.
const arcStepDeg = 5.0

// Sector is what a camera can see: a slice of a disc. The zero Sector sees
// nothing. It never leaves its owner's node.
type Sector struct {
	At           Point   `json:"at"`            // where the camera stands
	FacingDeg    float64 `json:"facing_deg"`    // middle of the view, degrees clockwise from north
	ViewDeg      float64 `json:"view_deg"`      // opening angle, degrees, (0, 360]
	RangeM       float64 `json:"range_m"`       // how far it sees, metres
	UncertaintyM float64 `json:"uncertainty_m"` // how far off the place may be, metres
}

// LogValue keeps a camera's place out of logs.
func (s Sector) LogValue() slog.Value { return slog.StringValue("sector withheld") }

// Validate returns an *Error for a sector that sees nothing or whose numbers
// make no sense.
func (s Sector) Validate() error {
	switch {
	case !s.At.Valid():
		return &Error{"camera place out of range or not a number", -1}
	case !(s.FacingDeg >= -360 && s.FacingDeg <= 360):
		return &Error{"facing must lie between -360 and 360 degrees", -1}
	case !(s.ViewDeg > 0 && s.ViewDeg <= 360):
		return &Error{"view must be more than 0 and at most 360 degrees", -1}
	case !(s.RangeM > 0 && s.RangeM <= MaxRangeM):
		return &Error{"range must be more than 0 and at most 5,000 metres", -1}
	case !(s.UncertaintyM >= 0 && s.UncertaintyM <= MaxUncertaintyM):
		return &Error{"uncertainty must be between 0 and 5,000 metres", -1}
	}
	return nil
}

// Touches reports whether the sector, grown on all sides by its uncertainty,
// meets the polygon. A camera inside the polygon counts only if its view does.
// False for a sector or a polygon that is not valid.
//
// Growing the sector and intersecting is the same as asking whether the two
// shapes come closer than the uncertainty, which needs no offset curve. The
// arc is replaced by at most 5 degree steps drawn outside of it, so a sector
// is never taken for smaller than it is (and for at most 0.1 % and a
// centimetre larger).
func (s Sector) Touches(p Polygon) bool {
	if s.Validate() != nil || p.Validate() != nil {
		return false
	}
	area, view := p.loop(), loopOf(s.outline())
	// With no edges crossing, either they are apart or one contains the
	// other, and then it contains every vertex.
	if area.ContainsPoint(view.Vertex(0)) || view.ContainsPoint(area.Vertex(0)) {
		return true
	}
	reach := s1.Angle((s.UncertaintyM + touchM) / EarthRadiusM)
	for i := range view.NumVertices() {
		a, b := view.Vertex(i), view.Vertex(i+1)
		for j := range area.NumVertices() {
			c, d := area.Vertex(j), area.Vertex(j+1)
			if s2.CrossingSign(a, b, c, d) != s2.DoNotCross {
				return true
			}
			nearest := min(
				s2.DistanceFromSegment(a, c, d), s2.DistanceFromSegment(b, c, d),
				s2.DistanceFromSegment(c, a, b), s2.DistanceFromSegment(d, a, b))
			if nearest <= reach {
				return true
			}
		}
	}
	return false
}

// outline is the sector as a ring: the camera, then the arc; or the whole
// circle without the camera.
func (s Sector) outline() []s2.Point {
	at := s.At.s2()
	steps := max(int(math.Ceil(s.ViewDeg/arcStepDeg)), 1)
	step := s.ViewDeg / float64(steps)
	// Vertices this far out put the middle of each chord on the arc.
	radius := s.RangeM / math.Cos(step/2*math.Pi/180)
	from := s.FacingDeg - s.ViewDeg/2
	if s.ViewDeg == 360 {
		pts := make([]s2.Point, 0, steps)
		for i := range steps {
			pts = append(pts, destination(at, from+float64(i)*step, radius))
		}
		return pts
	}
	pts := make([]s2.Point, 0, steps+2)
	pts = append(pts, at)
	for i := 0; i <= steps; i++ {
		pts = append(pts, destination(at, from+float64(i)*step, radius))
	}
	return pts
}

// destination is the point at a bearing, degrees clockwise from north, and a
// distance, metres. At a pole, where no direction is north, bearing 0 is the
// meridian of Greenwich or its opposite.
func destination(from s2.Point, bearingDeg, distanceM float64) s2.Point {
	pole := r3.Vector{Z: 1}
	east := pole.Cross(from.Vector)
	if east.Norm() < 1e-15 {
		east = r3.Vector{Y: 1}
	}
	east = east.Normalize()
	north := from.Vector.Cross(east)
	b, d := bearingDeg*math.Pi/180, distanceM/EarthRadiusM
	heading := north.Mul(math.Cos(b)).Add(east.Mul(math.Sin(b)))
	return s2.Point{Vector: from.Vector.Mul(math.Cos(d)).Add(heading.Mul(math.Sin(d))).Normalize()}
}
