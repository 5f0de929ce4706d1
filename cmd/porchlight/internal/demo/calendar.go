package demo

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// CalendarArg as the first argument of the program, with a file behind it, has the program go by the story's calendar: the demo does not
// wait thirty days for a key to die. Whoever can start a program so can set its machine's clock as well.
const CalendarArg = "demo-calendar"

const lookEvery = 200 * time.Millisecond

// Calendar is the time by a file that says how many days later it is in the story, looked at every so often.
func Calendar(file string) func() time.Time {
	var ahead atomic.Int64
	look := func() {
		b, err := os.ReadFile(file)
		if err != nil {
			return // none yet: the story has just begun
		}
		if days, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			ahead.Store(int64(days) * int64(24*time.Hour))
		}
	}
	look()
	go func() { // ends with the program
		for range time.Tick(lookEvery) {
			look()
		}
	}()
	return func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
}
