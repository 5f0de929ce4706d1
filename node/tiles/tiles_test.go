package tiles_test

import (
	"context"
	"encoding/binary"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-mesh/porchlight/node/tiles"
	"github.com/porchlight-mesh/porchlight/node/tiles/tilestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask is one request as a stranger sends it.
func ask(t *testing.T, h http.Handler, method, path string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "http://any.example"+path, nil))
	r := w.Result()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

func TestWhatIsServedOfADocket(t *testing.T) {
	o := tilestest.New(t)
	h := tiles.Handler(o.Peer)
	prefix := "/" + string(o.ID()) + "/"
	if r, why := ask(t, h, "GET", prefix+"checkpoint"); r.StatusCode != 404 || !strings.Contains(why, "no checkpoint") {
		t.Errorf("an empty docket: %s %s", r.Status, why)
	}
	if _, b := ask(t, h, "GET", "/"); strings.Contains(b, "checkpoint</a>") {
		t.Errorf("the page links what an empty docket does not have:\n%s", b)
	}
	checkpoint := o.Grow(700)

	const fixed, moving = "public, max-age=31536000, immutable", "no-store"
	for _, tc := range []struct{ path, what, cache string }{
		{"/", "text/html; charset=utf-8", moving},
		{"/charter", "text/plain; charset=utf-8", moving},
		{"/charter/000001.note", "text/plain; charset=utf-8", moving},
		{prefix + "checkpoint", "text/plain; charset=utf-8", moving},
		{prefix + "tile/0/000", "application/octet-stream", fixed},
		{prefix + "tile/0/002.p/188", "application/octet-stream", fixed},
		{prefix + "tile/1/000.p/2", "application/octet-stream", fixed},
		{prefix + "tile/entries/001", "application/octet-stream", fixed},
		{prefix + "tile/entries/002.p/188", "application/octet-stream", fixed},
	} {
		r, b := ask(t, h, "GET", tc.path)
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != tc.what || r.Header.Get("Cache-Control") != tc.cache || r.ContentLength != int64(len(b)) {
			t.Errorf("%s: %s, %v", tc.path, r.Status, r.Header)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: a browser may make more of it than it is: %v", tc.path, r.Header)
		}
		if again, _ := ask(t, h, "HEAD", tc.path); again.StatusCode != 200 || again.Header.Get("Content-Length") != r.Header.Get("Content-Length") {
			t.Errorf("HEAD %s: %s %v", tc.path, again.Status, again.Header)
		}
	}
	if _, b := ask(t, h, "GET", prefix+"checkpoint"); b != string(checkpoint) {
		t.Errorf("the checkpoint is %q", b)
	}
	if _, b := ask(t, h, "GET", "/charter"); b != "000001.note\n" {
		t.Errorf("the charter's notes are %q", b)
	}
	if _, b := ask(t, h, "GET", "/charter/000001.note"); b != string(o.Charter) {
		t.Errorf("the charter is %q", b)
	}
	_, b := ask(t, h, "GET", prefix+"tile/entries/000")
	for i, e := range o.Entries[:256] {
		if n := int(binary.BigEndian.Uint16([]byte(b))); b[2:2+n] != string(e) {
			t.Fatalf("entry %d is %q", i, b[2:2+n])
		}
		b = b[2+len(e):]
	}

	for path, why := range map[string]string{
		"/nobody": "no agency", "/nobody/checkpoint": "no agency", "/charter/000002.note": "no such note", "/charter/../000001.note": "no such note",
		"//": "no agency", "//checkpoint": "no agency", "/charter/": "no such note", prefix: "no path of a tile", prefix + "checkpoint/": "no path", prefix + "Checkpoint": "no path",
		prefix + "entries": "no path", prefix + "tile/0/002": "has no tile", prefix + "tile/0/002.p/189": "has no tile", prefix + "tile/1/000.p/3": "has no tile",
		prefix + "tile/0/2": "no path", prefix + "%74ile/0/000": "no path", prefix + "tile/0/../0/000": "no path", prefix + "../charter": "no path",
		prefix + "tile/8/0/000": "no path", prefix + "tile/entries/003": "has no tile", "/%63harter": "no agency", "/../../role": "no agency", "/config.toml": "no agency",
	} {
		r, b := ask(t, h, "GET", path)
		if r.StatusCode != 404 || !strings.Contains(b, why) || r.Header.Get("Cache-Control") != moving || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %s %q, want %q; %v", path, r.Status, b, why, r.Header)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "X"} {
		if r, _ := ask(t, h, method, "/"); r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %s", method, r.Status)
		}
	}
}

// The page says what there is, takes no name for markup, runs nothing and asks nobody else; each of its links leads
// somewhere.
func TestTheFrontPage(t *testing.T) {
	o := tilestest.New(t)
	o.Grow(257)
	h := tiles.Handler(o.Peer)
	_, b := ask(t, h, "GET", "/")
	for _, want := range []string{html.EscapeString(tilestest.Mesh), html.EscapeString(tilestest.Agency), string(o.ID()), "entries: 257"} {
		if !strings.Contains(b, want) {
			t.Errorf("it does not say %q:\n%s", want, b)
		}
	}
	if !strings.Contains(html.UnescapeString(b), o.Key()) {
		t.Errorf("it does not say the key %s:\n%s", o.Key(), b)
	}
	for _, never := range []string{"<i>", "<b>", "<script", "<style", "://", "src="} {
		if strings.Contains(b, never) {
			t.Errorf("it holds %q:\n%s", never, b)
		}
	}
	links := regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(b, -1)
	if len(links) != 3 {
		t.Errorf("links: %v", links)
	}
	for _, l := range links {
		at, err := url.Parse(l[1])
		if err != nil || at.IsAbs() || strings.HasPrefix(l[1], "/") {
			t.Errorf("%s does not lead on where the page is served under another prefix", l[1])
			continue
		}
		if r, why := ask(t, h, "GET", "/"+l[1]); r.StatusCode != 200 {
			t.Errorf("%s: %s %s", l[1], r.Status, why)
		}
	}
}

// A docket that the disk no longer gives back is an error of the node, not word that there is no such entry.
func TestADamagedDiskIsNotServed(t *testing.T) {
	o := tilestest.New(t)
	o.Grow(3)
	name := o.Peer.State.Path("dockets", string(o.ID()), "entries")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	h := tiles.Handler(o.Peer)
	if r, why := ask(t, h, "GET", "/"+string(o.ID())+"/tile/entries/000.p/3"); r.StatusCode != 500 || strings.Contains(why, name) {
		t.Errorf("%s %s", r.Status, why)
	}
	if r, _ := ask(t, h, "GET", "/"+string(o.ID())+"/tile/entries/000.p/2"); r.StatusCode != 200 {
		t.Errorf("the entries before it: %s", r.Status)
	}
}

// Whoever comes while 32 are there waits; nobody who stays silent is waited for, and the end of the node is the end of all.
func TestTheServerIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	entered, leave := make(chan struct{}), make(chan struct{})
	go func() {
		ended <- tiles.Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				entered <- struct{}{}
				<-leave
			}
		}), slog.New(slog.DiscardHandler))
	}()
	dial := func(request string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		return c
	}
	answers := func(c net.Conn, within time.Duration) bool {
		c.SetReadDeadline(time.Now().Add(within))
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	}
	var silent []net.Conn
	for range 31 {
		silent = append(silent, dial(""))
	}
	dial("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	late := dial("GET / HTTP/1.1\r\nHost: y\r\n\r\n")
	if answers(late, 200*time.Millisecond) {
		t.Error("a 33rd connection was served")
	}
	silent[0].Close()
	if !answers(late, 10*time.Second) {
		t.Error("there was room, and nobody answered")
	}
	wordy := dial("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n")
	silent[1].Close()
	if b, _ := io.ReadAll(wordy); !strings.Contains(string(b), " 431 ") {
		t.Errorf("a header of 20 KiB: %.40s", b)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the server did not end")
	}
	close(leave)
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}
