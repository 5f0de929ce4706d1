package homecmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/cli"
	"github.com/porchlight-mesh/porchlight/cmd/porchlight/internal/ui"
	"github.com/porchlight-mesh/porchlight/node/home"
)

func newCamerasCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cameras",
		Short: "List your cameras, and say which ones may be asked for",
		Long: `Lists the folders your recorder writes to, where each camera stands and looks, and whether it is offered.
A camera that is not offered is never matched against a request. All of this stays on this machine.`,
		Example: "  porchlight home cameras\n  porchlight home cameras offer front-door",
		Args:    cobra.NoArgs,
		RunE: a.Do(cli.Nothing(func(ctx context.Context) error {
			var list []home.CameraStatus
			if err := a.atHome(ctx, "home.cameras", nil, &list); err != nil {
				return err
			}
			return a.Show(list, func(w io.Writer) error { return writeCameras(w, list) })
		})),
	}
	cmd.AddCommand(newCameraAddCommand(a), newCameraTryCommand(a),
		newCameraVerb(a, "offer", "Offer a camera: requests may be matched against it",
			`Offers a camera. From now on a request that asks for its view and has your recordings shows in your
inbox. Offering sends nothing and tells nobody.`,
			func(c home.Camera) string {
				s := fmt.Sprintf("%s is offered: requests for its view now show in your inbox", c.Name)
				if c.Indoor {
					s += "; it is an indoor camera, which you named on purpose"
				}
				return s
			}),
		newCameraVerb(a, "withdraw", "Withdraw a camera: no request is matched against it",
			`Withdraws a camera's offer. An answer of its footage that has not begun to leave is stopped, too;
porchlight home withdraw stops one that has.`,
			func(c home.Camera) string {
				return fmt.Sprintf("%s is no longer offered: no request is matched against it", c.Name)
			}),
		newCameraVerb(a, "remove", "Remove a camera from the list",
			`Removes a camera from this node's list. Its recordings stay where they are.`,
			func(c home.Camera) string {
				return fmt.Sprintf("%s is off the list; its recordings in %s were not touched", c.Name, c.Folder)
			}),
		newCameraVerb(a, "adopt", "Take a camera's folder as it is now, with another disk in it",
			`Takes a camera's folder as it is now. A node remembers which disk a folder is on, and keeps what it knows of
one that is unmounted; where you put another disk there on purpose, this forgets the old one's recordings and
looks through what is there. No file is changed.`,
			func(c home.Camera) string {
				return fmt.Sprintf("%s is looked through anew; `porchlight home cameras` shows what is found in %s", c.Name, c.Folder)
			}))
	return cmd
}

func writeCameras(w io.Writer, list []home.CameraStatus) error {
	if len(list) == 0 {
		fmt.Fprintln(w, "no cameras yet; `porchlight home cameras add` adds one")
		return nil
	}
	var rows [][]string
	seen := 0
	for _, c := range list {
		seen += c.Recordings
		kept := "-"
		if c.Recordings > 0 {
			kept = ui.Span(c.First, c.Last)
		}
		where := "outdoor"
		if c.Indoor {
			where = "indoor"
		}
		rows = append(rows, []string{string(c.Name), ui.YesNo(c.Offered), where, fmt.Sprint(c.Recordings), kept, startFrom(c.StartFrom), c.Folder, c.Problem})
	}
	if err := ui.Table(w, []string{"CAMERA", "OFFERED", "PLACE", "RECORDINGS", "FROM AND UNTIL", "START READ FROM", "FOLDER", "PROBLEM"}, rows); err != nil {
		return err
	}
	if seen == 0 {
		fmt.Fprintln(w, "no recordings so far: folders are looked through while the node runs, and a file counts once it has not changed for a while")
	}
	return nil
}

// startFrom says in words what a recording's start was read from.
func startFrom(source string) string {
	switch source {
	case "path":
		return "Frigate's path"
	case "mvhd":
		return "inside the movie"
	case "mtime":
		return "file time less length"
	case "":
		return "-"
	}
	return source
}

func newCameraTryCommand(a *app) *cobra.Command {
	try := home.CamerasTry{}
	cmd := &cobra.Command{
		Use:   "try FOLDER",
		Short: "Show what would be made of a folder's first files",
		Long: `Looks at the first files of a folder and says when each would start, and what says so: its name, Frigate's
path, the time inside the movie, or when the file was written less its length. Nothing is kept, and no node
needs to run.

Names with a date and a time in them are mostly understood as they are. For others say how they are built with
--pattern, in the fields of strftime: %Y %y %m %d %b %H %I %p %M %S %f %z,
%s for seconds and %Q for milliseconds since 1970, %-m for a month without a leading zero, * for anything
and ? for any character. Without a slash a pattern is held against the file's name, with slashes against
the end of its path; the extension is left out.`,
		Example: `  porchlight home cameras try /recordings/front-door
  porchlight home cameras try /recordings/front-door --zone Europe/London --pattern 'clip %d.%m.%Y %H.%M.%S*'`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) (err error) {
			if try.Files < 1 || try.Files > 1000 {
				return cli.Usage("", "--files is %d, but must be 1 to 1000", try.Files)
			}
			if try.Folder, err = cli.Absolute(args[0]); err != nil {
				return err
			}
			tried, err := home.TryCamera(ctx, try)
			if err != nil {
				return err
			}
			return a.Show(tried, func(w io.Writer) error { return writeTried(w, tried) })
		}),
	}
	f := cmd.Flags()
	f.StringVar(&try.Pattern, "pattern", "", "how files are named, as in %Y-%m-%d_%H-%M-%S")
	f.StringVar(&try.Zone, "zone", "", "time zone of the file names, as in Europe/London (default UTC)")
	f.StringVar(&try.Layout, "layout", "", "how files are named: auto, plain or frigate (default auto)")
	f.StringVar(&try.Name, "name", "", "the camera's name in Frigate's paths")
	f.IntVar(&try.Files, "files", 10, "how many files to look at")
	return cmd
}

func writeTried(w io.Writer, tried []home.Tried) error {
	if len(tried) == 0 {
		_, err := fmt.Fprintln(w, "no recordings there: files named *.mp4, *.m4v and *.mov are looked at")
		return err
	}
	var rows [][]string
	for _, t := range tried {
		start, note := "-", t.Problem
		if !t.Start.IsZero() {
			start = ui.UTC(t.Start)
		}
		if t.Ambiguous {
			note = strings.TrimSpace("clocks showed this time twice or never; " + note)
		}
		rows = append(rows, []string{t.Path, start, startFrom(t.StartFrom), ui.Length(time.Duration(t.Seconds * float64(time.Second))), ui.UTC(t.Written), note})
	}
	return ui.Table(w, []string{"FILE", "START", "READ FROM", "LENGTH", "LAST WRITTEN", "NOTE"}, rows)
}

func newCameraVerb(a *app, verb, short, long string, done func(home.Camera) string) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Long:    long,
		Example: "  porchlight home cameras " + verb + " front-door",
		Args:    cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			var c home.Camera
			if err := a.atHome(ctx, "home.cameras."+verb, home.CameraName{Name: args[0]}, &c); err != nil {
				return err
			}
			return a.Show(c, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, ui.Clean(done(c)))
				return err
			})
		}),
	}
}

func newCameraAddCommand(a *app) *cobra.Command {
	var c home.CamerasAdd
	var at string
	cmd := &cobra.Command{
		Use:   "add NAME --folder FOLDER --at LAT,LON --facing DEGREES --view DEGREES --range METRES",
		Short: "Add a camera and where it looks",
		Long: `Adds a camera: the folder its recordings are in, and where it looks. Recordings stay where they are;
nothing is copied. A new camera is not offered, and one that was replaced has to be offered again.

The place is only ever compared with requests on this machine. If you do not know it exactly, say by how
much it may be off with --uncertainty; the camera is then matched more widely.`,
		Example: `  porchlight home cameras add front-door --folder /srv/cams/front \
    --at 51.5007,-0.1246 --facing 90 --view 110 --range 30`,
		Args: cobra.ExactArgs(1),
		RunE: a.Do(func(ctx context.Context, args []string) error {
			p, err := cli.ParsePoint("at", at)
			if err != nil {
				return err
			}
			c.Name, c.Lat, c.Lon = args[0], p.Lat, p.Lon
			if c.Folder, err = cli.Absolute(c.Folder); err != nil {
				return err
			}
			var added home.Camera
			if err := a.atHome(ctx, "home.cameras.add", c, &added); err != nil {
				return err
			}
			return a.Show(added, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "added %s; it is not offered until you run `porchlight home cameras offer %s`\n", added.Name, added.Name)
				return err
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&c.Folder, "folder", "", "`folder` of the recordings")
	f.StringVar(&at, "at", "", "where the camera stands, `LAT,LON` in degrees")
	f.Float64Var(&c.Facing, "facing", 0, "where it looks, `degrees` clockwise from north")
	f.Float64Var(&c.Angle, "view", 0, "how wide it sees, `degrees`; 360 is all around")
	f.Float64Var(&c.Range, "range", 0, "how far it sees, `metres`")
	f.Float64Var(&c.Blur, "uncertainty", 0, "how far off the place may be, `metres`")
	f.StringVar(&c.Layout, "layout", "", "how files are named: auto, plain or frigate (default auto)")
	f.StringVar(&c.Zone, "zone", "", "time zone of the file names, as in Europe/London (default UTC)")
	f.StringVar(&c.Pattern, "pattern", "", "how files are named, as in %Y-%m-%d_%H-%M-%S; see porchlight home cameras try")
	f.BoolVar(&c.Indoor, "indoor", false, "the camera looks at a room")
	f.BoolVar(&c.Replace, "replace", false, "change a camera that is there already")
	cli.MustFlags(cmd, "folder", "at", "facing", "view", "range")
	return cmd
}
