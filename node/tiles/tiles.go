// Package tiles serves the dockets that a steward or observer keeps as static files over plain HTTP, so
// that anybody reads them in a browser, and any monitor of C2SP logs checks them, with no code of ours.
//
// # What is served
//
//	/                              a page: the dockets, their keys and sizes, with links
//	/charter                       the names of the charter's notes, one a line, in order
//	/charter/000001.note           the first of them; they name the agencies' docket keys
//	/AGENCY/checkpoint             the newest checkpoint of the agency with that id
//	/AGENCY/tile/L/N[.p/W]         hashes of its tree
//	/AGENCY/tile/entries/N[.p/W]   its entries
//
// The last three are C2SP tlog-tiles (https://c2sp.org/tlog-tiles) under the prefix /AGENCY; package docket
// says what is in them. Checkpoints are not to be cached. A tile, once there, never changes. What is not
// there is answered 404 with a line of text that says why; a bundle with an entry whose text this node does
// not keep is one of these, and another observer may have it.
//
// # Trust
//
// The server is *not* trusted: at most it can withhold, or show a docket as it was some time ago. Tiles and
// entries follow from a checkpoint, which the docket key signed; the page is signed by nobody. Who
// checks a docket takes its key from the charter, and the charter's first version from the id of the mesh.
//
// Who reads is not recorded. All that can be read is public: nothing is asked of who asks, nothing that is
// sent is kept or acted on, and the name under which the server is called plays no part.
//
// # Limits
//
// GET and HEAD only; 32 connections at a time, which wait for one another beyond that; 8 KiB of request
// header within 5 s; a minute to take an answer, which is at most 4 MiB.
package tiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/node"
)

const (
	maxConnections = 32
	// maxReads bounds the tiles that are read from the disk at once, so that readers do not hold up the node.
	maxReads = 2
)

// Handler serves a node's dockets.
func Handler(p *node.Peer) http.Handler {
	return &site{peer: p, reads: make(chan struct{}, maxReads)}
}

type site struct {
	peer  *node.Peer
	reads chan struct{}
	told  atomic.Int64 // when trouble was last logged, seconds
}

const (
	text   = "text/plain; charset=utf-8"
	page   = "text/html; charset=utf-8"
	binary = "application/octet-stream"

	changes = "no-store"
	stays   = "public, max-age=31536000, immutable"
)

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed, "this server is read only")
		return
	}
	// As it was sent, so that nothing has a second name in percent signs.
	path := r.URL.EscapedPath()
	name, ofCharter := strings.CutPrefix(path, "/charter/")
	switch {
	case path == "/":
		s.front(w)
	case path == "/charter":
		s.list(w)
	case ofCharter:
		s.note(w, name)
	default:
		id, name, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		s.docket(w, consent.AgencyID(id), name)
	}
}

func (s *site) docket(w http.ResponseWriter, id consent.AgencyID, name string) {
	d := s.peer.Docket(id)
	switch {
	case d == nil:
		fail(w, http.StatusNotFound, "the charter names no agency with that id")
	case name == "checkpoint":
		size, checkpoint := d.Head()
		if size == 0 || checkpoint == nil {
			fail(w, http.StatusNotFound, "no checkpoint of this docket is here yet")
			return
		}
		send(w, text, changes, checkpoint)
	default:
		b, err := s.tile(d, name)
		switch {
		case err == nil:
			send(w, binary, stays, b)
		case consent.ClassOf(err) != "", errors.Is(err, docket.ErrNoText):
			fail(w, http.StatusNotFound, err.Error())
		default:
			// Once a minute at most: strangers ask as often as they like.
			now, last := s.peer.Now().Unix(), s.told.Load()
			if now >= last+60 && s.told.CompareAndSwap(last, now) {
				s.peer.Log.Error("docket not served", "agency", id, "err", err)
			}
			fail(w, http.StatusInternalServerError, "this docket cannot be read here at present")
		}
	}
}

func (s *site) tile(d *node.Docket, path string) ([]byte, error) {
	s.reads <- struct{}{}
	defer func() { <-s.reads }()
	return d.Tile(path)
}

func noteName(i int) string { return fmt.Sprintf("%06d.note", i+1) }

func (s *site) list(w http.ResponseWriter) {
	var names strings.Builder
	for i := range s.peer.CharterNotes() {
		fmt.Fprintln(&names, noteName(i))
	}
	send(w, text, changes, []byte(names.String()))
}

func (s *site) note(w http.ResponseWriter, name string) {
	for i, note := range s.peer.CharterNotes() {
		if name == noteName(i) {
			send(w, text, changes, note)
			return
		}
	}
	fail(w, http.StatusNotFound, "the charter has no such note")
}

var front = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Dockets of {{.Mesh}}</title>
<h1>Dockets of {{.Mesh}}</h1>
<p>An agency of this mesh asks for footage in its docket, a public log, and nowhere else. Here is a copy of each.
This page is signed by nobody and proves nothing. Checkpoints are signed, and what a docket holds follows from its
checkpoint: any monitor of C2SP tlog-tiles can check it, with the docket's key as the charter has it.</p>
<p>Charter: {{range .Notes}}<a href="charter/{{.}}">{{.}}</a> {{end}}</p>
{{range .Dockets}}<h2>{{.Name}}</h2>
<ul>
<li>class: {{.Class}}
<li>entries: {{.Size}}{{if .Forked}}, <strong>and the agency signed two versions of them</strong>{{end}}
<li>key: <code>{{.Key}}</code>
<li>prefix: <code>{{.ID}}</code>
{{if .Newest}}<li><a href="{{.ID}}/checkpoint">checkpoint</a>, <a href="{{.ID}}/{{.Newest}}">newest entries</a>
{{end}}</ul>
{{else}}<p>The charter names no agency.</p>
{{end}}</html>
`))

// A listed docket is what the front page says of it.
type listed struct {
	ID        consent.AgencyID
	Name, Key string
	Class     string
	Size      int64
	Forked    bool
	Newest    string // path of its newest entries
}

func (s *site) front(w http.ResponseWriter) {
	var said struct {
		Mesh    string
		Notes   []string
		Dockets []listed
	}
	if c := s.peer.Charter(); c != nil {
		said.Mesh = c.Mesh
	}
	for i := range s.peer.CharterNotes() {
		said.Notes = append(said.Notes, noteName(i))
	}
	for _, d := range s.peer.Dockets() {
		a := d.Agency()
		size, _ := d.Head()
		said.Dockets = append(said.Dockets, listed{ID: a.ID(), Name: a.Name, Key: string(a.Key), Class: string(a.Class),
			Size: size, Forked: d.Forked(), Newest: docket.NewestEntries(size)})
	}
	var b bytes.Buffer
	if err := front.Execute(&b, said); err != nil {
		s.peer.Log.Error("page not made", "err", err)
		fail(w, http.StatusInternalServerError, "the page cannot be made")
		return
	}
	send(w, page, changes, b.Bytes())
}

func send(w http.ResponseWriter, what, cache string, b []byte) {
	h := w.Header()
	h.Set("Content-Type", what)
	h.Set("Cache-Control", cache)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // who went away has no use for the error
}

func fail(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Cache-Control", changes)
	http.Error(w, why, status)
}

// Serve answers on l until ctx ends, and closes it.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 15 * time.Second,
		MaxHeaderBytes: 8 << 10, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { // ends with ctx, at the latest when Serve returns
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err := srv.Shutdown(grace)
		if err != nil {
			err = srv.Close() // whoever is still reading is cut off
		}
		ended <- err
	}()
	err := srv.Serve(&limited{l, make(chan struct{}, maxConnections)})
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving dockets on %s: %w", l.Addr(), err)
	}
	return <-ended
}

// limited is a listener with room for so many connections; others wait in the system's queue.
type limited struct {
	net.Listener
	room chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.room <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &counted{Conn: c, leave: sync.OnceFunc(func() { <-l.room })}, nil
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
