package agency

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/consent/grant"
	"github.com/porchlight-mesh/porchlight/node"
)

// A clip is viewed over HTTP on this machine's loopback address, under a path that nobody can guess and that ends with the view. The clip
// lies in a file without a name in the folder of the keys meanwhile, which belongs in no backup; a crash leaves nothing of it.

// unheld is how long a view waits for its viewer.
const unheld = time.Minute

// views are the clips that are being looked at.
type views struct {
	mu   sync.Mutex
	open map[string]*viewing
}

// A viewing is one of them.
type viewing struct {
	grant   consent.GrantID
	root    string
	server  *http.Server
	file    *os.File
	ends    time.Time
	expires *time.Timer // unless it is held
	once    sync.Once
}

func (v *viewing) close() {
	v.once.Do(func() {
		v.expires.Stop()
		_ = v.server.Close() // whoever is being served is cut off
		_ = v.file.Close()
	})
}

// nameless makes a file that has no name any more where the system can do that, in a folder that is cleared at start.
func nameless(dir string) (*os.File, error) {
	for n := range 1000 {
		path := filepath.Join(dir, fmt.Sprintf(".view.tmp-%d", n)) // as package durable names what is removed at start
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			_ = os.Remove(path) // not on Windows, where the next start does it
		}
		return f, err
	}
	return nil, fmt.Errorf("%s is full of clips that were viewed", dir)
}

// view decrypts a clip and serves it to this machine.
func (a *Agency) view(ctx context.Context, args Act) (View, error) {
	if a.peer.Network().Simulated() {
		return View{}, errors.New("nothing is viewed on a simulated network; export it")
	}
	o, err := a.admit(args.Note, grant.ActView)
	if err != nil {
		return View{}, err
	}
	file, err := nameless(a.peer.State.Path("keys"))
	if err != nil {
		return View{}, err
	}
	out, err := a.vault.decrypt(ctx, o.h, &o.k, file)
	if err == nil {
		err = a.record(o)
	}
	if err != nil {
		return View{}, errors.Join(err, file.Close())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return View{}, errors.Join(err, file.Close())
	}
	var secret [2][16]byte
	rand.Read(secret[0][:])
	rand.Read(secret[1][:])
	id, path := hex.EncodeToString(secret[0][:]), "/"+hex.EncodeToString(secret[1][:])+"/clip.mp4"
	v := &viewing{grant: o.h.id, root: o.k.Root, file: file, ends: o.h.ends(&o.k)}
	v.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path || r.Method != http.MethodGet && r.Method != http.MethodHead || !a.late().Before(v.ends) {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "video/mp4")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(file, 0, out.Bytes))
	})}
	v.expires = time.AfterFunc(unheld, func() { a.endView(id) })
	a.views.mu.Lock()
	if a.views.open == nil {
		a.views.open = map[string]*viewing{}
	}
	a.views.open[id] = v
	a.views.mu.Unlock()
	// It may have been destroyed since it was looked at first.
	if _, k, _, err := a.vault.named(o.h.id, o.CID); err != nil || a.vault.canOpen(o.h, &k, a.late()) != nil {
		a.endView(id)
		return View{}, errors.Join(l.Close(), errors.New("the release was taken back or destroyed meanwhile"))
	}
	go v.server.Serve(l) // ends with close
	return View{ID: id, URL: "http://" + l.Addr().String() + path, Ends: v.ends, Clip: out}, nil
}

// hold keeps a view open until the viewer's ctx ends, or its deadline comes.
func (a *Agency) hold(ctx context.Context, args Hold) (struct{}, error) {
	a.views.mu.Lock()
	v := a.views.open[args.ID]
	a.views.mu.Unlock()
	if v == nil || !v.expires.Stop() {
		return struct{}{}, node.WithHint(errors.New("no such view"), "it ends a minute after it began where nobody looks; begin another")
	}
	defer a.endView(args.ID)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return struct{}{}, nil
		case <-t.C:
			if !a.late().Before(v.ends) {
				return struct{}{}, errors.New("the release is past its deadline, and the view ends")
			}
		}
	}
}

func (a *Agency) endView(id string) {
	a.views.mu.Lock()
	v := a.views.open[id]
	delete(a.views.open, id)
	a.views.mu.Unlock()
	if v != nil {
		v.close()
	}
}

// endViews ends those that are like that.
func (a *Agency) endViews(like func(*viewing) bool) {
	a.views.mu.Lock()
	var ended []*viewing
	for id, v := range a.views.open {
		if like(v) {
			delete(a.views.open, id)
			ended = append(ended, v)
		}
	}
	a.views.mu.Unlock()
	for _, v := range ended {
		v.close()
	}
}
