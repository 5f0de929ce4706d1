package node

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// No goroutine outlives the nodes that these tests start and stop. Most of what the tests do is to wait for one
// another's nodes, so that more of them run at a time than there are cores.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // a flag of the command line still counts
	goleak.VerifyTestMain(m)
}
