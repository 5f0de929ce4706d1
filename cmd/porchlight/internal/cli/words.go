package cli

import (
	"fmt"
	"strings"
)

// TermsText is an agency's terms in words.
func TermsText(retention, unused int, recipients []string, resharing bool) string {
	s := fmt.Sprintf("up to %d days, %d if not used", retention, unused)
	if len(recipients) > 0 {
		s += "; also seen by " + strings.Join(recipients, ", ")
	}
	if resharing {
		return s + "; may be passed on"
	}
	return s + "; may not be passed on"
}

// LeadIn says how far before the asked beginning a clip starts, "" where it does not.
func LeadIn(seconds float64) string {
	if seconds <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f seconds before what was asked, from the last keyframe", seconds)
}

// Gaps says how many stretches of a clip were not recorded.
func Gaps(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d stretches without recording", n)
}

// Overlaps says how many stretches were recorded twice over, "" where none was.
func Overlaps(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d stretches that two recordings claim, of which one is shown: a clock was wrong", n)
}
