package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// The rules of this house, checked on the source as it stands. Each failure says which rule, where, and
// why the rule is there.

const module = "github.com/porchlight-mesh/porchlight"

// rooms are the top folders that hold code.
var rooms = []string{"consent", "footage", "p2p", "node", "simnet", "cmd"}

// source is one parsed Go file.
type source struct {
	name    string // relative to the module, slashes
	test    bool
	syntax  *ast.File
	imports []string
}

func (s source) folder() string { return path.Dir(s.name) }

// room is the top folder a file or an import path of this module belongs to.
func room(name string) string {
	top, _, _ := strings.Cut(strings.TrimPrefix(name, module+"/"), "/")
	return top
}

func ours(importPath string) bool { return strings.HasPrefix(importPath, module+"/") }

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skip("no go.mod above: the test binary does not run in its source tree")
		}
		dir = up
	}
}

func sources(t *testing.T) (files []source, fset *token.FileSet) {
	t.Helper()
	root, fset := moduleRoot(t), token.NewFileSet()
	for _, top := range rooms {
		err := filepath.WalkDir(filepath.Join(root, top), func(name string, d fs.DirEntry, err error) error {
			switch {
			case os.IsNotExist(err):
				return nil
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(name, ".go"):
				return nil
			}
			syntax, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			s := source{name: filepath.ToSlash(rel), test: strings.HasSuffix(name, "_test.go"), syntax: syntax}
			for _, spec := range syntax.Imports {
				p, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				s.imports = append(s.imports, p)
			}
			files = append(files, s)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) == 0 {
		t.Fatal("no source was found")
	}
	return files, fset
}

// Whoever knows cameras, police and peers at once can make a register of them. Only node may.
func TestTheThreeRoomsDoNotKnowEachOther(t *testing.T) {
	walls := []string{"consent", "footage", "p2p"}
	files, _ := sources(t)
	seen := map[string]map[string]bool{} // package folder → walled rooms it imports
	for _, f := range files {
		in := room(f.name)
		for _, p := range f.imports {
			if !ours(p) {
				continue
			}
			to := room(p)
			if slices.Contains(walls, in) && to != in && !(f.test && to == "simnet") {
				t.Errorf("%s imports %s: %s is a room of its own; hand the value in from node", f.name, p, in)
			}
			if in == "node" && to == "cmd" {
				t.Errorf("%s imports %s: the command uses the nodes, never the other way round", f.name, p)
			}
			if to == "simnet" && in != "simnet" && in != "cmd" && !f.test {
				t.Errorf("%s imports %s: only tests and the command simulate", f.name, p)
			}
			if slices.Contains(walls, to) && in != "node" && !f.test {
				if seen[f.folder()] == nil {
					seen[f.folder()] = map[string]bool{}
				}
				seen[f.folder()][to] = true
			}
		}
	}
	for folder, walled := range seen {
		if len(walled) == len(walls) {
			t.Errorf("%s imports consent, footage and p2p: only node sees all three", folder)
		}
	}
}

// What decides who may ask must give one answer for one input, today and in ten years.
func TestConsentIsPure(t *testing.T) {
	impure := map[string]string{
		"os": "the disk", "os/exec": "programs", "os/signal": "signals", "io/ioutil": "the disk",
		"path/filepath": "the disk's idea of names", "syscall": "the system", "golang.org/x/sys/unix": "the system",
		"net": "the network", "net/http": "the network", "crypto/tls": "the network",
		"database/sql": "a database", "crypto/rand": "randomness, which is handed in",
		"math/rand": "randomness, which is handed in", "math/rand/v2": "randomness, which is handed in",
		"unsafe": "memory", "log": "a global log",
	}
	clocks := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}
	files, fset := sources(t)
	for _, f := range files {
		if room(f.name) != "consent" || f.test {
			continue
		}
		timeName := ""
		for i, p := range f.imports {
			if what, bad := impure[p]; bad {
				t.Errorf("%s imports %s: consent does not touch %s", f.name, p, what)
			}
			if p == "time" {
				timeName = "time"
				if f.syntax.Imports[i].Name != nil {
					timeName = f.syntax.Imports[i].Name.Name
				}
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && timeName != "" {
				if id, ok := sel.X.(*ast.Ident); ok && id.Name == timeName && slices.Contains(clocks, sel.Sel.Name) {
					t.Errorf("%s: time.%s: the clock is handed in to consent", fset.Position(n.Pos()), sel.Sel.Name)
				}
			}
			return true
		})
	}
}

// A package's comment is its specification.
func TestEveryPackageHasOneComment(t *testing.T) {
	files, _ := sources(t)
	comments := map[string][]string{}
	for _, f := range files {
		if f.test {
			continue
		}
		comments[f.folder()] = append(comments[f.folder()], nil...)
		if f.syntax.Doc != nil {
			comments[f.folder()] = append(comments[f.folder()], f.name)
			want := "Package " + f.syntax.Name.Name + " "
			if text := f.syntax.Doc.Text(); f.syntax.Name.Name != "main" && !strings.HasPrefix(text, want) {
				t.Errorf("%s: the package comment begins %q, not %q", f.name, firstWords(text), want)
			}
		}
	}
	for folder, where := range comments {
		switch {
		case len(where) == 0:
			t.Errorf("%s: no file has the package comment", folder)
		case len(where) > 1:
			t.Errorf("%s: more than one file has a package comment: %v", folder, where)
		}
	}
}

func firstWords(text string) string {
	words := strings.Fields(text)
	return strings.Join(words[:min(3, len(words))], " ")
}

// What runs by being imported cannot be tested, ordered or left out.
func TestNothingRunsByBeingImported(t *testing.T) {
	files, fset := sources(t)
	for _, f := range files {
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: an init function; let main, or the caller, do it", fset.Position(fn.Pos()))
			}
		}
	}
}

// One function turns a sealed release into a clip, so that one place decides whether a key may still be
// used. A backup, a person's key file and a sealed message are no releases and have none in them; the packages and the file that
// read them may not know how releases are made.
func TestOneFunctionOpensReleases(t *testing.T) {
	files, fset := sources(t)
	for _, f := range files {
		if (slices.Contains([]string{"node/backup", "cmd/porchlight/internal/keyfile"}, f.folder()) || f.name == "node/message.go") && !slices.Contains(f.imports, module+"/footage/release") {
			continue
		}
		if f.test || f.folder() == "footage/release" || !slices.Contains(f.imports, "filippo.io/age") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := sel.X.(*ast.Ident); ok && id.Name == "age" && strings.HasPrefix(sel.Sel.Name, "Decrypt") {
					t.Errorf("%s: age.%s: only footage/release opens sealed bytes", fset.Position(n.Pos()), sel.Sel.Name)
				}
			}
			return true
		})
	}
}

// The DHT is behind one package, which can be given another one, and no home's code knows of it.
func TestOnePackageKnowsTheDHT(t *testing.T) {
	files, _ := sources(t)
	for _, f := range files {
		for _, p := range f.imports {
			if strings.HasPrefix(p, "github.com/libp2p/go-libp2p-kad-dht") && f.folder() != "p2p/directory" {
				t.Errorf("%s imports %s: only p2p/directory does", f.name, p)
			}
			if p == module+"/p2p/directory" && f.folder() != "node" {
				t.Errorf("%s imports %s: node decides who takes part in it, and a home never does", f.name, p)
			}
		}
	}
}

// forbidden lists what no dependency may be, and why. A module or import path is refused when it has one
// of the words as a part between punctuation.
var forbidden = map[string]string{
	"go-face": "recognises faces", "facenet": "recognises faces", "deepface": "recognises faces",
	"insightface": "recognises faces", "arcface": "recognises faces", "dlib": "recognises faces",
	"face_recognition": "recognises faces", "facerecognition": "recognises faces",
	"rekognition": "recognises faces, in a company's cloud", "gocv": "carries recognisers, and cgo",
	"openalpr": "reads number plates", "alpr": "reads number plates", "anpr": "reads number plates",
	"gosseract": "reads text, so plates", "tesseract": "reads text, so plates",
	"vosk": "recognises speech", "whisper": "recognises speech", "deepspeech": "recognises speech",
	"speechbrain": "recognises speakers", "voiceprint": "recognises speakers", "gait": "recognises gait",
	"sentry-go": "telemetry", "segmentio": "telemetry", "posthog": "telemetry", "analytics-go": "telemetry",
	"mixpanel": "telemetry", "amplitude": "telemetry", "datadog": "telemetry", "newrelic": "telemetry",
	"bugsnag": "telemetry", "rollbar": "telemetry", "go-update": "an update channel", "selfupdate": "an update channel",
	"aws-sdk-go": "a company's cloud", "aws-sdk-go-v2": "a company's cloud", "firebase": "a company's cloud",
	"go-sqlite3": "cgo", "geoip2-golang": "places people by their address", "geoip": "places people by their address",
}

// recognising matches names of things that tell who somebody is.
var recognising = regexp.MustCompile(`(?i)(recogni[sz]e|identif(y|ied)|match|embed|search|track|cluster)_?(face|voice|plate|gait|speaker)s?\b|` +
	`(face|voice|plate|gait|speaker)_?(recogni|print|embed|match|identif|search|id\b)`)

func TestPromise11NoRecognition(t *testing.T) {
	files, fset := sources(t)
	for _, f := range files {
		for _, p := range f.imports {
			if p == "C" {
				t.Errorf("%s uses cgo: the program builds with Go alone, and C libraries escape these checks", f.name)
			}
			if why, word := refused(p); why != "" {
				t.Errorf("%s imports %s (%s): it %s", f.name, p, word, why)
			}
		}
		for _, decl := range f.syntax.Decls {
			ast.Inspect(decl, func(n ast.Node) bool {
				var name *ast.Ident
				switch n := n.(type) {
				case *ast.FuncDecl:
					name = n.Name
				case *ast.TypeSpec:
					name = n.Name
				}
				if name != nil && !f.test && recognising.MatchString(name.Name) {
					t.Errorf("%s: %s: nothing here tells who somebody is", fset.Position(name.Pos()), name.Name)
				}
				return true
			})
		}
	}
	for _, r := range goMod(t).Require {
		if why, word := refused(r.Mod.Path); why != "" {
			t.Errorf("go.mod requires %s (%s): it %s", r.Mod.Path, word, why)
		}
	}
	for _, bad := range []string{"github.com/Kagami/go-face", "gocv.io/x/gocv", "github.com/openalpr/openalpr/src"} {
		if why, _ := refused(bad); why == "" {
			t.Errorf("%s would be let in", bad)
		}
	}
	for _, bad := range []string{"RecognizeFace", "MatchPlates", "faceEmbedding", "Voiceprint", "searchFaces"} {
		if !recognising.MatchString(bad) {
			t.Errorf("a function %s would be let in", bad)
		}
	}
}

func refused(importPath string) (why, word string) {
	parts := strings.FieldsFunc(strings.ToLower(importPath), func(r rune) bool { return r == '/' || r == '.' })
	for _, part := range parts {
		if why := forbidden[part]; why != "" {
			return why, part
		}
	}
	return "", ""
}

func goMod(t *testing.T) *modfile.File {
	t.Helper()
	name := filepath.Join(moduleRoot(t), "go.mod")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.Parse(name, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Each dependency is code that somebody else can change. The line that lets it in says what for.
func TestEveryDependencySaysWhatFor(t *testing.T) {
	f := goMod(t)
	for _, r := range f.Require {
		if r.Indirect {
			continue
		}
		var said string
		for _, c := range slices.Concat(r.Syntax.Before, r.Syntax.Suffix) {
			said += strings.TrimSpace(strings.TrimPrefix(c.Token, "//")) + " "
		}
		if len(strings.Fields(said)) < 2 {
			t.Errorf("go.mod: %s needs a comment that says what it is for", r.Mod.Path)
		}
	}
	for _, r := range f.Replace {
		t.Errorf("go.mod replaces %s: others could not build what we build", r.Old.Path)
	}
}
