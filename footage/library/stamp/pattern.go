package stamp

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Pattern says how a recorder that [Name] does not know names its files. It is written with the fields of
// strftime:
//
//	%Y %y         year, of four or two digits (20yy)
//	%m %d         month and day, 01 to 12 and 01 to 31
//	%b            month in English, Jan to Dec
//	%H %I %p      hour of 24, hour of 12, AM or PM
//	%M %S         minute, second; 0 when the pattern has none
//	%f            fraction of a second, one to nine digits
//	%z            offset from UTC: Z, +0100, +01:00
//	%s %Q         seconds, or milliseconds, since 1970
//	%-m %-d ...   the same without a leading zero
//	%%            a percent sign
//	* ?           any characters, or one, of one name
//
// Everything else stands for itself. A pattern without a slash is held against a file's name, one with slashes
// against the end of its path below the camera's folder; the extension is left out in both. It must tell
// the day and the hour, or have %s or %Q. A field that stands twice must have the same value twice.
//
//	front_%Y-%m-%d_%H-%M-%S       front_2026-11-22_19-04-05.mp4
//	%Y%m%d/cam?_%I.%M.%S %p       2026/20261122/cam1_07.04.05 PM.mp4
//	*-%s-*                        driveway-1700000000-1700000060.mp4
type Pattern struct {
	text   string
	form   *regexp.Regexp
	fields []byte // of the form's groups
	depth  int    // slashes
}

// PatternError says what is wrong with a pattern, and where.
type PatternError struct {
	Pattern string
	At      int // position from 1, in characters
	Reason  string
}

func (e *PatternError) Error() string {
	return fmt.Sprintf("pattern %q, position %d: %s; an example is %%Y-%%m-%%d_%%H-%%M-%%S", e.Pattern, e.At, e.Reason)
}

// fieldForms are the fields as regular expressions, with and without leading zeros.
var fieldForms = map[byte][2]string{
	'Y': {`\d{4}`, `\d{4}`}, 'y': {`\d{2}`, `\d{2}`}, 'm': {`\d{2}`, `\d{1,2}`}, 'd': {`\d{2}`, `\d{1,2}`},
	'H': {`\d{2}`, `\d{1,2}`}, 'I': {`\d{2}`, `\d{1,2}`}, 'M': {`\d{2}`, `\d{1,2}`}, 'S': {`\d{2}`, `\d{1,2}`},
	'b': {`[A-Za-z]{3}`, `[A-Za-z]{3}`}, 'p': {`[AaPp][Mm]`, `[AaPp][Mm]`}, 'f': {`\d{1,9}`, `\d{1,9}`},
	'z': {`Z|[+-]\d{2}:?\d{2}`, `Z|[+-]\d{2}:?\d{2}`}, 's': {`\d{9,10}`, `\d{9,10}`}, 'Q': {`\d{12,13}`, `\d{12,13}`},
}

// maxPattern bounds a pattern, in bytes.
const maxPattern = 200

// ParsePattern reads a pattern. Errors are of type [*PatternError].
func ParsePattern(text string) (*Pattern, error) {
	p := &Pattern{text: text}
	at := 0
	fail := func(format string, args ...any) (*Pattern, error) {
		return nil, &PatternError{text, at + 1, fmt.Sprintf(format, args...)}
	}
	body := text
	switch strings.ToLower(path.Ext(text)) {
	case ".mp4", ".m4v", ".mov":
		body = strings.TrimSuffix(text, path.Ext(text))
	}
	runes := []rune(body)
	if len(runes) == 0 || len(text) > maxPattern {
		return fail("it must have 1 to %d characters", maxPattern)
	}
	var form strings.Builder
	form.WriteString(`^`)
	for ; at < len(runes); at++ {
		switch c := runes[at]; c {
		case '%':
			if at+1 == len(runes) {
				return fail("a field's letter must follow the %%, or a second %% for a percent sign")
			}
			begin, loose := at, 0
			at++
			if runes[at] == '-' && at+1 < len(runes) {
				loose, at = 1, at+1
			}
			if runes[at] == '%' && loose == 0 {
				form.WriteString("%")
				continue
			}
			letter := runes[at]
			shape, ok := [2]string{}, false
			if letter < 128 {
				shape, ok = fieldForms[byte(letter)]
			}
			if !ok {
				at = begin
				return fail("%%%c is no field; there are %%Y %%y %%m %%d %%b %%H %%I %%p %%M %%S %%f %%z %%s %%Q, and %%%% for a percent sign", letter)
			}
			form.WriteString("(" + shape[loose] + ")")
			p.fields = append(p.fields, byte(letter))
		case '*':
			form.WriteString(`[^/]*?`)
		case '?':
			form.WriteString(`[^/]`)
		case '/':
			if at == 0 || at == len(runes)-1 || runes[at-1] == '/' {
				return fail("a slash stands between two names")
			}
			p.depth++
			form.WriteString("/")
		case '\\':
			return fail("write folders with /")
		default:
			if c < ' ' {
				return fail("a control character is in no name")
			}
			form.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	form.WriteString(`$`)
	has := func(letters string) bool { return strings.ContainsAny(string(p.fields), letters) }
	missing := ""
	switch {
	case has("sQ"):
		if has("YymdbHIpMSz") {
			at = 0
			return fail("%%s and %%Q tell date and time by themselves: put * for the other numbers")
		}
	case !has("Yy"):
		missing = "a year (%Y)"
	case !has("mb"):
		missing = "a month (%m)"
	case !has("d"):
		missing = "a day (%d)"
	case !has("HI"):
		missing = "an hour (%H)"
	case has("I") != has("p"):
		missing = "both %I and %p, the hour of the 12-hour clock and its AM or PM"
	}
	if missing != "" {
		return fail("the pattern ends without %s", missing)
	}
	var err error
	if p.form, err = regexp.Compile(form.String()); err != nil {
		return fail("%v", err)
	}
	return p, nil
}

// String is the pattern as it was written.
func (p *Pattern) String() string { return p.text }

var months = map[string]int{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12}

// Read reads the time that a path tells by the pattern; ok is false when it is not of that form.
func (p *Pattern) Read(rel string, zone *time.Location) (s Stamp, ok bool) {
	rel = strings.TrimSuffix(rel, path.Ext(rel))
	from := len(rel)
	for range p.depth + 1 {
		if from = strings.LastIndexByte(rel[:max(from, 0)], '/'); from < 0 {
			break
		}
	}
	m := p.form.FindStringSubmatch(rel[from+1:])
	if m == nil {
		return Stamp{}, false
	}
	said := map[byte]string{}
	for i, letter := range p.fields {
		value := strings.ToLower(m[i+1])
		if letter == 'b' {
			month := months[value]
			if month == 0 {
				return Stamp{}, false
			}
			letter, value = 'm', strconv.Itoa(month)
		}
		if letter == 'y' {
			letter, value = 'Y', "20"+value
		}
		if before, twice := said[letter]; twice && strings.TrimLeft(before, "0") != strings.TrimLeft(value, "0") {
			return Stamp{}, false
		}
		said[letter] = value
	}
	part := time.Duration(0)
	if f := said['f']; f != "" {
		part = fraction("." + f)
	}
	if n, err := strconv.ParseInt(said['s']+said['Q'], 10, 64); err == nil {
		t := time.Unix(n, 0)
		if said['Q'] != "" {
			t = time.UnixMilli(n)
		}
		t = t.Add(part).UTC()
		return Stamp{At: t}, t.Year() >= 1990 && t.Year() <= 2100
	}
	hour := said['H']
	if mark, ok := said['p']; ok && said['I'] != "" {
		if n, _ := strconv.Atoi(said['I']); n < 1 || n > 12 {
			return Stamp{}, false
		}
		if twelve := half(said['I'], mark); hour != "" && strings.TrimLeft(hour, "0") != strings.TrimLeft(twelve, "0") {
			return Stamp{}, false
		} else {
			hour = twelve
		}
	}
	t, ok := civil(said['Y'], said['m'], said['d'], hour, said['M'], said['S'])
	if !ok {
		return Stamp{}, false
	}
	t = t.Add(part)
	if offset := said['z']; offset != "" {
		d, ok := ahead(strings.ToUpper(offset))
		return Stamp{At: t.Add(-d)}, ok
	}
	return resolve(t, zone), true
}
