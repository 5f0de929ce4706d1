// Command tilecheck checks an agency's docket as an observer serves it, from the outside: it shares no
// code with Porchlight, and needs nothing but Go's checksum database libraries.
//
//	tilecheck URL KEY [-old CHECKPOINT] [-new FILE] [-within 10m]
//
// URL is the docket's prefix, the server's address and the agency's id, as in
// http://127.0.0.1:8080/0123456789abcdef0123456789abcdef. KEY is the docket key as the charter has it, a
// C2SP verifier key. It fetches the newest checkpoint and verifies the key's signature; then every tile and
// every entry under it (https://c2sp.org/tlog-tiles), and that the entries lead to the signed root. With
// -old it also proves that the tree of a checkpoint kept from before is the beginning of this one, so that
// nothing was changed or taken out since; -new keeps this one for the next time, once all was well.
//
// It says what is in the log and that the log is whole. Witnesses' signatures, and whether officers were
// entitled to sign what stands there, are for `porchlight observe`. Exit codes: 0 all is well, 1 it is not or cannot be told, 2 wrong usage.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height        = 8
	width         = 1 << height
	maxCheckpoint = 16 << 10 // bytes, with witnesses' signatures
	maxBundle     = width * (2 + 1<<16 - 1)
	maxSize       = 1 << 32 // entries
	maxTiles      = 4096    // verified tiles kept in memory; 32 MiB
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, problem io.Writer) int {
	flags := flag.NewFlagSet("tilecheck", flag.ContinueOnError)
	flags.SetOutput(problem)
	flags.Usage = func() {
		fmt.Fprintln(problem, "usage: tilecheck URL KEY [-old CHECKPOINT] [-new FILE] [-within 10m]")
		flags.PrintDefaults()
	}
	old := flags.String("old", "", "`file` of an older checkpoint that this one has to continue")
	keep := flags.String("new", "", "`file` to write the checkpoint to once all is well")
	within := flags.Duration("within", 10*time.Minute, "give up after this time")
	var words []string
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return 2
		}
		if args = flags.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	if len(words) != 2 {
		flags.Usage()
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), *within)
	defer cancel()
	if err := check(ctx, words[0], words[1], *old, *keep, out); err != nil {
		fmt.Fprintf(problem, "tilecheck: NOT in order, or it cannot be told: %v\n", err)
		return 1
	}
	return 0
}

func check(ctx context.Context, url, key, oldFile, newFile string, out io.Writer) error {
	s := &server{ctx: ctx, url: strings.TrimSuffix(url, "/"), verified: map[tlog.Tile][]byte{}}
	signed, err := s.get("checkpoint", maxCheckpoint)
	if err != nil {
		return err
	}
	tree, origin, err := open(signed, key)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	hashes := tlog.TileHashReader(tree, s)
	kinds := map[string]int{}
	for first := int64(0); first < tree.N; first += width {
		if err := s.entries(hashes, first, min(width, tree.N-first), kinds); err != nil {
			return err
		}
	}
	if root, err := tlog.TreeHash(tree.N, hashes); err != nil || root != tree.Hash {
		return fmt.Errorf("the tiles do not lead to the root: %v", err)
	}
	fmt.Fprintf(out, "origin   %s\nentries  %d\nroot     %s\n", origin, tree.N, tree.Hash)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(out, "  %-12s %d\n", kind, kinds[kind])
	}
	if oldFile != "" {
		before, err := os.ReadFile(oldFile)
		if err != nil {
			return err
		}
		older, _, err := open(before, key)
		if err != nil {
			return fmt.Errorf("%s: %w", oldFile, err)
		}
		if older.N > tree.N {
			return fmt.Errorf("the log has %d entries and had %d before: some were taken out, or this server is behind", tree.N, older.N)
		}
		if root, err := tlog.TreeHash(older.N, hashes); err != nil {
			return err
		} else if root != older.Hash {
			return fmt.Errorf("the first %d entries lead to %s, and the key signed %s for them before: two versions of one log", older.N, root, older.Hash)
		}
		fmt.Fprintf(out, "before   %d entries, unchanged\n", older.N)
	}
	if newFile != "" {
		if err := os.WriteFile(newFile, signed, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "in order: every entry leads to the root that the docket key signed")
	return nil
}

// open verifies a checkpoint: the origin line that belongs to the key, size and root, and the key's signature.
func open(msg []byte, key string) (tree tlog.Tree, origin string, err error) {
	v, err := note.NewVerifier(key)
	if err != nil {
		return tree, "", fmt.Errorf("key: %w", err)
	}
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return tree, "", err
	}
	// The library takes a signature in more than one spelling; then a changed byte might go unnoticed.
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil {
		return tree, "", fmt.Errorf("signature of %s: %w", v.Name(), err)
	}
	// A verifier key is name, hash and base64 of a type byte and 32 bytes; the origin is the hash of these.
	_, raw, _ := strings.Cut(strings.TrimPrefix(key, v.Name()+"+"), "+")
	pub, err := base64.StdEncoding.DecodeString(raw)
	if err != nil {
		return tree, "", fmt.Errorf("key: %w", err)
	}
	id := sha256.Sum256(pub[1:])
	origin = "porchlight.docket/" + hex.EncodeToString(id[:16])
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != origin {
		return tree, "", fmt.Errorf("its origin is %.80q, not %s", lines[0], origin)
	}
	tree.N, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || tree.N < 0 || tree.N > maxSize || strconv.FormatInt(tree.N, 10) != lines[1] {
		return tree, "", fmt.Errorf("%.40q is no size", lines[1])
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, origin, err
}

// A server is where tiles are read from. It verifies nothing by itself.
type server struct {
	ctx      context.Context
	url      string
	verified map[tlog.Tile][]byte
}

var client = &http.Client{
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (s *server) get(path string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.url+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %s: %.200q", path, resp.Status, bytes.TrimSpace(b))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case int64(len(b)) > most:
		return nil, fmt.Errorf("%s: more than the %d bytes that it may have", path, most)
	}
	return b, nil
}

// path is that of C2SP tlog-tiles: no height, and entries under a name of their own.
func path(level string, n int64, w int) string {
	p := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		p = fmt.Sprintf("x%03d/%s", n%1000, p)
	}
	if w < width {
		p += fmt.Sprintf(".p/%d", w)
	}
	return "tile/" + level + "/" + p
}

// Height, ReadTiles and SaveTiles are what tlog.TileHashReader asks for. It holds what it gets against the root.
func (s *server) Height() int { return height }

func (s *server) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, t := range tiles {
		b, ok := s.verified[t]
		if !ok {
			if b, err = s.get(path(strconv.Itoa(t.L), t.N, t.W), int64(t.W)*tlog.HashSize); err != nil {
				return nil, err
			}
		}
		data = append(data, b)
	}
	return data, nil
}

func (s *server) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	if len(s.verified) > maxTiles {
		clear(s.verified)
	}
	for i, t := range tiles {
		s.verified[t] = data[i]
	}
}

// entries reads a bundle and holds each entry's hash against the tree.
func (s *server) entries(hashes tlog.HashReader, first, n int64, kinds map[string]int) error {
	name := path("entries", first/width, int(n))
	b, err := s.get(name, maxBundle)
	if err != nil {
		return err
	}
	indexes := make([]int64, n)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
	}
	want, err := hashes.ReadHashes(indexes)
	if err != nil {
		return fmt.Errorf("tiles of entries %d to %d: %w", first, first+n-1, err)
	}
	for i := range want {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return fmt.Errorf("%s: it ends amid entry %d", name, first+int64(i))
		}
		end := 2 + int(binary.BigEndian.Uint16(b))
		entry := b[2:end]
		b = b[end:]
		if tlog.RecordHash(entry) != want[i] {
			return fmt.Errorf("%s: entry %d is not the one that was logged", name, first+int64(i))
		}
		kinds[kind(entry)]++
	}
	if len(b) > 0 {
		return errors.New(name + ": something follows its last entry")
	}
	return nil
}

// kind is what the first line of a document says it is; "other" for what is none.
func kind(entry []byte) string {
	line, _, _ := bytes.Cut(entry, []byte("\n"))
	parts := strings.Split(string(line), "/")
	if len(parts) != 3 || parts[0] != "porchlight" || parts[1] == "" || len(parts[1]) > 40 || strings.Trim(parts[1], "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "other"
	}
	return parts[1]
}
