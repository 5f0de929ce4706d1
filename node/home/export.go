package home

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/porchlight-mesh/porchlight/consent"
	"github.com/porchlight-mesh/porchlight/footage/durable"
)

// The owner's ledger is handed to a lawyer as a folder: one page to read, and beside it the documents that both sides signed, which `porchlight verify`
// checks in the whole folder at once. No key is in it and no footage.
//
//	index.html            what left, to whom, under which terms, until when, what was said since
//	ledger                every step, hash-chained (package custody)
//	N/request.note        the request that answer N answers
//	N/grant.note          what the owner offered; its commitment secrets let a reader find the releases in the agency's docket
//	N/acceptance.note     the agency's agreement to the terms
//	N/R.manifest          what release R is
//	N/R.receipt           the agency's word that it holds release R
//	N/said-S.note         what the agency signed since, sealed to this home
//	N/word-W.note         what the owner signed since
//	N/breach-B.note       the record of what a docket did not keep, which the owner made public or may

//go:embed export.html
var exportText string

//go:embed export.css
var exportStyle string

var exportPage = template.Must(template.New("export").Funcs(template.FuncMap{
	"when":   func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	"date":   func(t time.Time) string { return t.UTC().Format("2 January 2006") },
	"second": func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04:05") },
	"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}).Parse(exportText))

// Export is the arguments of "home.ledger.export".
type Export struct {
	Out string `json:"out"` // a folder that does not exist yet; absolute
}

// Exported is the answer.
type Exported struct {
	Out       string `json:"out"`
	Answers   int    `json:"answers"`
	Releases  int    `json:"releases"`
	Documents int    `json:"documents"`
}

// exported is one answer as the page shows it.
type exported struct {
	N         int
	Answer    AnswerStatus
	Promises  []Promise
	Documents []string
}

// export writes the ledger for a reader. What could not be written is no ledger: the folder is removed again.
func (h *Home) export(_ context.Context, e Export) (out Exported, err error) {
	if !filepath.IsAbs(e.Out) {
		return out, errors.New("an export needs the absolute path of a folder to make")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := os.Mkdir(e.Out, 0o700); err != nil {
		return out, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(e.Out))
		}
	}()
	out.Out = e.Out
	write := func(name string, b []byte) error {
		path := filepath.Join(e.Out, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return durable.WriteFile(path, b, 0o600)
	}
	var all []exported
	for _, a := range h.sorted() {
		of, err := h.promisesOf(a)
		if err != nil {
			return out, err
		}
		if len(of) == 0 {
			continue
		}
		x := exported{N: len(all) + 1, Answer: a.status(), Promises: of}
		docs, err := h.documents(a)
		if err != nil {
			return out, err
		}
		for _, d := range docs {
			if err := write(filepath.Join(fmt.Sprint(x.N), d.name), d.note); err != nil {
				return out, err
			}
			x.Documents = append(x.Documents, d.name)
		}
		out.Answers, out.Releases, out.Documents = out.Answers+1, out.Releases+len(of), out.Documents+len(docs)
		all = append(all, x)
	}
	steps, err := os.ReadFile(h.peer.State.Path("ledger"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	if err := write("ledger", steps); err != nil {
		return out, err
	}
	sum := sha256.Sum256([]byte(exportStyle))
	var page bytes.Buffer
	if err := exportPage.Execute(&page, map[string]any{"Answers": all, "Made": h.peer.Now(), "Mesh": h.peer.Charter().Mesh, "Style": template.CSS(exportStyle),
		"Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"}); err != nil {
		return out, err
	}
	return out, write("index.html", page.Bytes())
}

// A document is one signed note of an answer.
type document struct {
	name string
	note []byte
}

// documents are what both sides signed about an answer.
func (h *Home) documents(a *Answer) (all []document, err error) {
	add := func(name, file string) error {
		b, err := os.ReadFile(h.file(a, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		all = append(all, document{name, b})
		return err
	}
	r, err := h.peer.Held(a.Request)
	if err != nil {
		return nil, err
	}
	note, err := h.peer.Note(r)
	if err != nil {
		return nil, err
	}
	all = append(all, document{"request.note", []byte(note)})
	errs := []error{add("grant.note", "grant.note"), add("acceptance.note", "acceptance.note")}
	for i := range a.Releases {
		errs = append(errs, add(fmt.Sprintf("%d.manifest", i+1), fmt.Sprintf("%d.manifest", i)), add(fmt.Sprintf("%d.receipt", i+1), fmt.Sprintf("%d.receipt", i)))
	}
	said := 0
	_, err = h.disk().ReadRecords(h.file(a, saidFile), func(b []byte) error {
		said++
		all = append(all, document{fmt.Sprintf("said-%d.note", said), bytes.Clone(b)})
		return nil
	})
	for i, w := range a.Words {
		if kind, err := consent.Peek([]byte(w.Note)); err == nil {
			all = append(all, document{fmt.Sprintf("word-%d-%s.note", i+1, kind), []byte(w.Note)})
		}
	}
	records, broken := h.breachRecords(a)
	for i, note := range records {
		all = append(all, document{fmt.Sprintf("breach-%d.note", i+1), note})
	}
	return all, errors.Join(append(errs, err, broken)...)
}
