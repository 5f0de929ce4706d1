package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
)

// maxCommand bounds one command's arguments and one answer, in bytes. The largest legitimate
// ones are a request draft (16 KiB) and a listing of a whole docket.
const maxCommand = 64 << 20

// A Command is one thing a node can be told or asked by its own CLI. Args is the JSON object
// that the CLI sent; the result is marshalled as the answer.
type Command func(ctx context.Context, args json.RawMessage) (any, error)

// Commands maps names such as "home.approve" to what they do. The same table serves the unix
// socket of a running node and a CLI that opened the state of a stopped one.
type Commands map[string]Command

// Do adapts a function with typed arguments to a Command. Unknown arguments are an error.
func Do[A, R any](f func(ctx context.Context, args A) (R, error)) Command {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var args A
		if len(bytes.TrimSpace(raw)) > 0 {
			d := json.NewDecoder(bytes.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(&args); err != nil {
				return nil, fmt.Errorf("arguments: %w", err)
			}
		}
		return f(ctx, args)
	}
}

// Call runs a command of the table by name.
func (c Commands) Call(ctx context.Context, name string, args, result any) error {
	f, ok := c[name]
	if !ok {
		return WithHint(fmt.Errorf("this node has no command %q", name), "is this the folder of another role?")
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	got, err := f(ctx, raw)
	if err != nil {
		return err
	}
	out, err := json.Marshal(got)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(out, result)
}

// Caller is what the CLI needs of a node, running or not.
type Caller interface {
	Call(ctx context.Context, name string, args, result any) error
}

// Hinted is an error with the way out: one sentence that says what the person can do.
type Hinted struct {
	Err  error
	Hint string
}

func (e *Hinted) Error() string { return e.Err.Error() }
func (e *Hinted) Unwrap() error { return e.Err }

// WithHint adds the way out to an error.
func WithHint(err error, hint string) error { return &Hinted{Err: err, Hint: hint} }

// HintOf returns the way out that an error carries, or "".
func HintOf(err error) string {
	var h *Hinted
	if errors.As(err, &h) {
		return h.Hint
	}
	return ""
}

type answer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
	Class  consent.Class   `json:"class,omitempty"` // where the error is a refusal
	Hint   string          `json:"hint,omitempty"`
}

// SocketPath is where the node with this state folder listens for its own CLI: control.sock in
// the folder itself, or, where that path is too long for a unix socket (about 100 bytes), a
// name derived from it in a folder of this user's under the system's temporary directory.
func SocketPath(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if p := filepath.Join(dir, "control.sock"); len(p) <= 100 {
		return p
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(os.TempDir(), fmt.Sprintf("porchlight-%d", os.Getuid()), hex.EncodeToString(sum[:8])+".sock")
}

// ServeControl answers commands on the node's unix socket until ctx ends. Only this user can
// reach it: its folder and the socket are readable by nobody else.
func ServeControl(ctx context.Context, dir string, commands Commands) error {
	path := SocketPath(dir)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := private(filepath.Dir(path)); err != nil {
		return err
	}
	// The state folder's lock is held, so a socket that is still there belongs to a dead process.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{command}", func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCommand))
		var a answer
		if err == nil {
			var result any
			if f, ok := commands[r.PathValue("command")]; ok {
				result, err = f(r.Context(), raw)
			} else {
				err = WithHint(fmt.Errorf("this node has no command %q", r.PathValue("command")), "is this the folder of another role?")
			}
			if err == nil {
				a.Result, err = json.Marshal(result)
			}
		}
		if err != nil {
			a = answer{Error: err.Error(), Class: consent.ClassOf(err), Hint: HintOf(err)}
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a) // a CLI that hung up has nobody left to tell
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	var done sync.WaitGroup
	done.Go(func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Shutdown(stop) // the process is ending; a command still running is cut off with ctx
	})
	err = s.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	done.Wait()
	return err
}

// private refuses a folder that somebody else could put a socket into, which matters where it lies
// in the system's temporary directory.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !owned(info) {
		return WithHint(fmt.Errorf("%s is not a folder of this user alone", dir), "if it is yours: chmod 700 "+dir)
	}
	return nil
}

// Client reaches a running node by its unix socket.
type Client struct {
	dir  string
	http http.Client
}

// Dial returns a client for the node with this state folder.
func Dial(dir string) *Client {
	var d net.Dialer
	return &Client{dir: dir, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			path := SocketPath(dir)
			if err := private(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			return d.DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}}
}

// told is an error of the running node: its words, and its class where it is a refusal.
type told struct {
	text  string
	class consent.Class
}

func (e *told) Error() string { return e.text }

func (e *told) Unwrap() error {
	if e.class == "" {
		return nil
	}
	return &consent.Error{Class: e.class}
}

// ErrNotRunning says that no process serves the state folder.
var ErrNotRunning = errors.New("the node is not running")

// Call runs a command in the running node.
func (c *Client) Call(ctx context.Context, name string, args, result any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", "http://node/v1/"+name, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return fmt.Errorf("%s: %w", c.dir, ErrNotRunning)
		}
		return fmt.Errorf("%s: %s: %w", c.dir, name, err)
	}
	defer res.Body.Close()
	var a answer
	if err := json.NewDecoder(io.LimitReader(res.Body, maxCommand)).Decode(&a); err != nil {
		return fmt.Errorf("%s: %s: the node's answer: %w", c.dir, name, err)
	}
	if a.Error != "" {
		var err error = &told{a.Error, a.Class}
		if a.Hint != "" {
			return WithHint(err, a.Hint)
		}
		return err
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(a.Result, result)
}
