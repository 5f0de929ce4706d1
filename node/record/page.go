package record

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/porchlight-mesh/porchlight/consent/docket"
	"github.com/porchlight-mesh/porchlight/node"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// policy lets the page load nothing and run nothing; its one style sheet is named by its hash.
func policy() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"when": when, "owed": owedWords,
	"date":  func(t time.Time) string { return t.UTC().Format("2 January 2006") },
	"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"place": place, "corners": corners, "bases": bases, "refusals": refusals, "state": stateWords, "alarm": alarming, "more": more, "list": list,
	"area": func(m2 float64) string { return thousands(int64(m2+0.5)) + " m²" },
	"role": func(r docket.Role) string { return string(r) },
}).Parse(pageText))

func when(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

func owedWords(o node.Owed) string { return o.Words(when) }

func list(all []string) string { return strings.Join(all, ", ") }

func more(a node.AgencyRecord) int { return a.Persons - len(a.Officers) }

// alarming says whether an agency stands so that nobody is shown its requests.
func alarming(s node.AgencyStanding) bool {
	return s.State != node.InOrder && s.State != node.NotWitnessed && s.State != node.NotKept
}

// stateWords says what became of a request.
func stateWords(q node.RequestRecord) string {
	switch q.State {
	case "live":
		return "asks until " + when(q.Body.Expires.Time)
	case "expired":
		return "expired " + when(q.Body.Expires.Time)
	}
	return q.State
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// HTML writes a record as one page.
func HTML(w io.Writer, r node.Record, requests Requests) error {
	if err := page.ExecuteTemplate(w, "head", struct {
		node.Record
		Style  template.CSS
		Policy string
	}{r, template.CSS(pageStyle), policy()}); err != nil {
		return err
	}
	for _, a := range r.Agencies {
		if err := page.ExecuteTemplate(w, "agency", a); err != nil {
			return err
		}
		for q, err := range requests(a) {
			if err != nil {
				return err
			}
			if err := page.ExecuteTemplate(w, "request", q); err != nil {
				return err
			}
		}
		if err := page.ExecuteTemplate(w, "agency end", a); err != nil {
			return err
		}
	}
	return page.ExecuteTemplate(w, "foot", r)
}
