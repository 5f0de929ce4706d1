package node

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine outlives the nodes that these tests start and stop.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
