package request

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/porchlight-mesh/porchlight/consent"
)

// The lint reads the plain-language text of a request for four things that
// published practice forbids: pressure on residents, personal data of victims,
// persons described by race alone, and lawful assembly as the reason to ask.
//
// It is a list of English patterns and knows no meaning. It misses whatever is
// put in other words, other languages or misspelt, and it refuses some honest
// sentences, which then have to be put differently. The list is part of the
// format: every peer applies the same one, so that a text is refused by all or
// by none. What it misses is left to objections by residents.

type finding struct {
	class  consent.Class
	reason string
}

// A pattern is looked for where a word begins, or anywhere in a text that has one of some characters: a peer reads every request of
// every docket, and looking everywhere takes several times as long.
type pattern struct {
	*regexp.Regexp
	needs string
}

func words(expr string) pattern { return pattern{regexp.MustCompile(`(?i)^(` + expr + `)\b`), ""} }

func (p pattern) find(text string) string {
	if p.needs != "" {
		if strings.ContainsAny(text, p.needs) {
			return p.FindString(text)
		}
		return ""
	}
	inWord := false
	for i := range len(text) {
		c := text[i]
		before := inWord
		inWord = c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if inWord && !before {
			if hit := p.FindString(text[i:]); hit != "" {
				return hit
			}
		}
	}
	return ""
}

var lintRules = []struct {
	class   consent.Class
	why     string
	pattern pattern
}{
	{TextPressure, "reads as pressure; residents are free to say no", words(strings.Join([]string{
		`you (must|have to|need to|are (required|obliged|obligated|expected)|will be (charged|arrested|cited|fined|prosecuted|subpoenaed))`,
		`(required|obliged|obligated) (by law )?to (share|provide|submit|send|hand|cooperate|comply|turn)`,
		`(failure|refus(al|ing)|declining) to (share|provide|submit|send|comply|cooperate|respond|hand|turn)`,
	}, `|`))},
	{TextPressure, "reads as pressure; residents are free to say no", words(strings.Join([]string{
		`(those|anyone|residents|owners|homes|people) (who|that) (refuse|decline|fail|ignore|do not|don.t)`,
		`nothing to hide`, `or else`, `civic duty`, `moral duty`, `your duty`, `do your part`, `last chance`, `final notice`,
		`obstruct(ing|ion)( of)? justice`, `(will|may|can|could) (get|obtain|seek|serve) (a )?(warrant|subpoena)`,
		`we (demand|order|insist)`, `(your )?neighbou?rs (have )?already`, `(other|most) (neighbou?rs|residents|homes) (have )?(shared|sent|helped|agreed)`,
	}, `|`))},
	{TextPersonal, "reads as personal data; the text is public and stays so", pattern{regexp.MustCompile(`(?i)(` + strings.Join([]string{
		`\b[a-z0-9._%+-]+@[a-z0-9-]+(\.[a-z0-9-]+)+\b`,             // an e-mail address
		`\b\d{3}-\d{2}-\d{4}\b`,                                    // a social security number
		`(\+?1[ .-]?)?(\(\d{3}\) ?|\b\d{3}[ .-])\d{3}[ .-]\d{4}\b`, // a telephone number
	}, `|`) + `)`), "@0123456789"}},
	{TextPersonal, "reads as personal data; the text is public and stays so", words(strings.Join([]string{
		`(dob|date of birth|born on|social security|driver.?s licen[cs]e (number|no))`, // their labels
		`(victim|complainant|witness)('s|s)? (home |house )?(address|phone|number|name)`,
	}, `|`))},
	// Case matters here: a name is told by its capitals.
	{TextPersonal, "seems to name a victim or witness; the text is public and stays so",
		words(`(?-i)([Vv]ictim|[Cc]omplainant|[Ww]itness)(,|:| is| was| named| called| identified as)?,? (is |was )?(M(r|s|rs)\.? )?[A-Z][a-z]+ [A-Z][a-z]+`)},
	{TextAssembly, "speaks of lawful assembly, which is no reason to ask", words(strings.Join([]string{
		`protest(s|er|ers|ed|ing)?`, `demonstrat(ion|ions|or|ors)`, `rall(y|ies)`, `marche(s|rs)`, `vigils?`, `picket(s|ed|ing|ers)?`,
		`peaceful (assembly|march|gathering)`, `political (meeting|gathering|event)s?`, `union (meeting|organi[sz]\w+)`, `strikers`,
		`(religious|worship|prayer) (service|meeting|gathering)s?`, `campaign (event|volunteer)s?`,
	}, `|`))},
}

// A description by race: a word for it next to a word for a person. "white van"
// is none.
var racePattern = words(`(black|white|brown|hispanic|latin[oax]|latinx|asian|arab(ic)?|middle[- ]eastern|african([- ]american)?|native american|indian|caucasian|jewish|muslim|gypsy|roma)` +
	`[- ](adult |young |older |teenage |teen )?(m|f|males?|females?|m[ae]n|wom[ae]n|persons?|people|suspects?|individuals?|youths?|teens?|teenagers?|juveniles?|boys?|girls?|guys?|subjects?)`)

// What else can tell one person from others.
var descriptors = regexp.MustCompile(`(?i)\b(hood(ie|ed)|jacket|coat|shirt|t-shirt|sweat(er|shirt)|vest|pants|jeans|shorts|trousers|dress|skirt|shoes|sneakers|boots|hat|cap|beanie|mask|gloves|glasses|backpack|bag|` +
	`beard(ed)?|mustache|moustache|bald|hair(ed)?|braids|dreadlocks|tattoos?|scar|limp(ing)?|tall|short|slim|thin|heavy(set)?|stocky|` +
	`feet|foot|inches|cm|pounds|kg|years old|year-old|car|van|truck|suv|sedan|pickup|motorcycle|bicycle|bike|scooter|umbrella|dog)\b`)

// minDescriptors is how many different ones a text with a race in it needs.
const minDescriptors = 2

// lint finds why a text would be refused: nothing in a text that passes.
func lint(text string) []finding {
	var found []finding
	for _, rule := range lintRules {
		if hit := rule.pattern.find(text); hit != "" {
			found = append(found, finding{rule.class, fmt.Sprintf("%q %s", hit, rule.why)})
		}
	}
	if hit := racePattern.find(text); hit != "" {
		different := map[string]bool{}
		for _, d := range descriptors.FindAllString(text, -1) {
			different[strings.ToLower(d)] = true
		}
		if len(different) < minDescriptors {
			found = append(found, finding{TextRaceOnly, fmt.Sprintf("%q describes a person by race alone; add clothing, build, hair or vehicle, or leave it out", hit)})
		}
	}
	return found
}
