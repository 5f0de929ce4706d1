package home

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/geo"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/consent/request"
	"github.com/porchlight-mesh/porchlight/consent/rules"
	"github.com/porchlight-mesh/porchlight/footage/library"
	"github.com/porchlight-mesh/porchlight/node"
)

// A Camera is a source of recordings and where it looks. Its position stays on this node: it is
// used to match requests and written nowhere else. The zero value is not offered.
type Camera struct {
	Name    library.CameraID `json:"name"`
	Folder  string           `json:"folder"`
	Layout  string           `json:"layout,omitempty"`
	Zone    string           `json:"zone,omitempty"`
	Pattern string           `json:"pattern,omitempty"`
	View    geo.Sector       `json:"view"`
	Indoor  bool             `json:"indoor,omitempty"`
	Offered bool             `json:"offered"`
}

var cameraName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// CamerasAdd is the arguments of "home.cameras.add".
type CamerasAdd struct {
	Name    string  `json:"name"`
	Folder  string  `json:"folder"`
	Layout  string  `json:"layout,omitempty"`
	Zone    string  `json:"zone,omitempty"`
	Pattern string  `json:"pattern,omitempty"` // how files are named, see package stamp
	Lat     float64 `json:"lat"`
	Lon     float64 `json:"lon"`
	Facing  float64 `json:"facing"` // degrees clockwise from north
	Angle   float64 `json:"view"`   // degrees of the field of view
	Range   float64 `json:"range"`  // metres
	Blur    float64 `json:"uncertainty"`
	Indoor  bool    `json:"indoor"`
	Replace bool    `json:"replace"`
}

// CameraName is the arguments of "home.cameras.offer", ".withdraw", ".remove" and ".adopt".
type CameraName struct {
	Name string `json:"name"`
}

// CameraStatus is one line of "home.cameras".
type CameraStatus struct {
	Camera
	Recordings int       `json:"recordings"`
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	StartFrom  string    `json:"start_from,omitempty"` // what says when the newest one starts: path, name, mvhd or mtime
	Problem    string    `json:"problem,omitempty"`
}

func (h *Home) cameraAdd(ctx context.Context, a CamerasAdd) (Camera, error) {
	if !cameraName.MatchString(a.Name) {
		return Camera{}, node.WithHint(fmt.Errorf("camera name %q", a.Name), "use up to 40 small letters, digits and dashes, as in front-door")
	}
	folder, err := filepath.Abs(a.Folder)
	if err != nil {
		return Camera{}, err
	}
	if info, err := os.Stat(folder); err != nil {
		return Camera{}, err
	} else if !info.IsDir() {
		return Camera{}, fmt.Errorf("%s is not a folder", folder)
	}
	if a.Zone != "" {
		if _, err := time.LoadLocation(a.Zone); err != nil {
			return Camera{}, node.WithHint(fmt.Errorf("time zone %q: %w", a.Zone, err), "use an IANA name such as Europe/London")
		}
	}
	c := Camera{Name: library.CameraID(a.Name), Folder: folder, Layout: a.Layout, Zone: a.Zone, Pattern: a.Pattern, Indoor: a.Indoor,
		View: geo.Sector{At: geo.Point{Lat: a.Lat, Lon: a.Lon}, FacingDeg: a.Facing, ViewDeg: a.Angle, RangeM: a.Range, UncertaintyM: a.Blur}}
	if err := c.View.Validate(); err != nil {
		return Camera{}, fmt.Errorf("camera %s: %w", c.Name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Clone(h.cameras)
	if i := h.cameraIndex(c.Name); i < 0 {
		all = append(all, c)
	} else if !a.Replace {
		return Camera{}, node.WithHint(fmt.Errorf("there is a camera %s already", c.Name), "give --replace to change it")
	} else {
		// A camera that moved is another view: its owner offers it again.
		all[i] = c
	}
	if err := library.CheckCameras(sources(all)); err != nil {
		return Camera{}, node.WithHint(err, "`porchlight home cameras try FOLDER` shows what would be made of a folder's files")
	}
	return c, h.setCameras(ctx, all)
}

// CamerasTry says which files of which folder to look at, and how.
type CamerasTry struct {
	Name    string // as Frigate's paths have it; all cameras of a folder in another layout if empty
	Folder  string
	Layout  string
	Zone    string
	Pattern string
	Files   int // how many, at most
}

// Tried is what a home would make of one file.
type Tried struct {
	Path      string    `json:"path"` // in the folder
	Start     time.Time `json:"start,omitzero"`
	StartFrom string    `json:"start_from,omitempty"`
	Ambiguous bool      `json:"ambiguous,omitempty"` // local clocks showed the start twice, or never
	Seconds   float64   `json:"seconds"`
	Written   time.Time `json:"written"` // when the file was written last
	Problem   string    `json:"problem,omitempty"`
}

// TryCamera looks at the first files of a folder as a camera's, without keeping anything.
func TryCamera(ctx context.Context, a CamerasTry) ([]Tried, error) {
	if a.Name == "" {
		a.Name = "camera"
	}
	recs, err := library.Try(ctx, library.Camera{ID: library.CameraID(a.Name), Folder: a.Folder, Layout: a.Layout, TimeZone: a.Zone, Pattern: a.Pattern}, a.Files)
	if err != nil {
		return nil, err
	}
	tried := []Tried{}
	for _, r := range recs {
		tried = append(tried, Tried{Path: r.Path, Start: r.Start, StartFrom: r.StartFrom, Ambiguous: r.Ambiguous,
			Seconds: r.Duration.Seconds(), Written: r.ModTime.UTC(), Problem: r.Damaged})
	}
	return tried, nil
}

func (h *Home) cameraOffer(offered bool) func(context.Context, CameraName) (Camera, error) {
	return func(ctx context.Context, a CameraName) (Camera, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		i := h.cameraIndex(library.CameraID(a.Name))
		if i < 0 {
			return Camera{}, h.noCamera(a.Name)
		}
		next := slices.Clone(h.cameras)
		next[i].Offered = offered
		err := h.setCameras(ctx, next)
		if !offered {
			h.cameras[i].Offered = false // recorded or not
		}
		return next[i], err
	}
}

func (h *Home) cameraRemove(ctx context.Context, a CameraName) (Camera, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.cameraIndex(library.CameraID(a.Name))
	if i < 0 {
		return Camera{}, h.noCamera(a.Name)
	}
	c := h.cameras[i]
	h.cameras[i].Offered = false // also where the rest cannot be recorded
	return c, h.setCameras(ctx, slices.Delete(slices.Clone(h.cameras), i, i+1))
}

// cameraAdopt takes a camera's folder as it is now, after its owner put another disk there.
func (h *Home) cameraAdopt(ctx context.Context, a CameraName) (Camera, error) {
	h.mu.Lock()
	i := h.cameraIndex(library.CameraID(a.Name))
	if i < 0 {
		defer h.mu.Unlock()
		return Camera{}, h.noCamera(a.Name)
	}
	c := h.cameras[i]
	h.mu.Unlock()
	if err := h.library.Adopt(ctx, c.Folder); err != nil {
		return c, err
	}
	h.wake()
	return c, nil
}

// found keeps how the folders stand, and says in the log what has changed.
func (h *Home) found(r library.Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range r.Folders {
		if was := h.folders[f.Folder]; was.State != f.State && (was.State != "" || f.State != library.FolderOK) {
			h.peer.Log.Warn("a folder of recordings is "+f.State, "folder", f.Folder, "reason", f.Reason)
		}
		h.folders[f.Folder] = f
	}
}

// problemOf says what is wrong with a camera's folder. The caller holds h.mu.
func (h *Home) problemOf(c Camera) string {
	f := h.folders[filepath.Clean(c.Folder)]
	if f.State == library.FolderAbsent {
		return fmt.Sprintf("%s; where another disk is there on purpose, `porchlight home cameras adopt %s`", f.Reason, c.Name)
	}
	return f.Reason
}

func (h *Home) cameraIndex(name library.CameraID) int {
	return slices.IndexFunc(h.cameras, func(c Camera) bool { return c.Name == name })
}

// matches says whether a camera is offered and sees what a request asks about.
func (c Camera) matches(r request.Request) bool {
	return rules.Match(rules.Camera{Offered: c.Offered, Indoor: c.Indoor, ByName: c.Offered, View: c.View}, r)
}

// source is what a camera of that name is now, for a request that it may answer: a hash of where
// its recordings are, how they are read and what it sees. An answer keeps it, so that a decision
// about one camera does not carry out another's footage under the same name.
func (h *Home) source(name string, r request.Request) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.cameraIndex(library.CameraID(name))
	if i < 0 || !h.cameras[i].matches(r) {
		return "", node.WithHint(fmt.Errorf("camera %s is not offered, or does not see what the request asks about", name),
			"`porchlight home cameras` lists what is offered")
	}
	b, err := json.Marshal(h.cameras[i])
	if err != nil {
		return "", err
	}
	return consent.HashText(b), nil
}

func (h *Home) noCamera(name string) error {
	return node.WithHint(fmt.Errorf("no camera is called %q", name), "`porchlight home cameras` lists them")
}

// setCameras stores the list, which then counts, and tells the library. The caller holds h.mu.
func (h *Home) setCameras(ctx context.Context, next []Camera) error {
	if err := node.WriteJSON(h.disk(), h.peer.State.Path("cameras.json"), next); err != nil {
		return node.WithHint(fmt.Errorf("the list of cameras could not be recorded, so what is offered may be another after a restart: %w", err),
			"make room or mend the disk, then give the command again; `porchlight home cameras` lists what is offered")
	}
	h.cameras = next
	if err := h.library.SetCameras(ctx, sources(h.cameras)); err != nil {
		return err
	}
	h.wake()
	return nil
}

func (h *Home) loadCameras() error {
	err := node.ReadJSON(h.peer.State.Path("cameras.json"), &h.cameras)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// clockOf is what a manifest says of the clock behind some recordings: the least trusted source of their
// starts, and how far it may be off. A local time that occurs twice or never may be off by the hour, too. An
// anonymous answer says whole minutes, since a setting of one's own would tell its answers apart.
func (h *Home) clockOf(recs []library.Recording, anonymous bool) grant.Clock {
	source, ambiguous := library.ClockOf(recs)
	off := time.Duration(h.peer.Config.Home.ClockUncertainty)
	if ambiguous {
		off += time.Hour
	}
	if anonymous {
		off = (off + time.Minute - 1).Truncate(time.Minute)
	}
	return grant.Clock{Source: source, UncertaintySeconds: min(off, 24*time.Hour).Seconds()}
}

// sources is what the library needs to know of cameras; the places stay here.
func sources(cameras []Camera) []library.Camera {
	var s []library.Camera
	for _, c := range cameras {
		s = append(s, library.Camera{ID: c.Name, Folder: c.Folder, Layout: c.Layout, TimeZone: c.Zone, Pattern: c.Pattern})
	}
	return s
}
