package directory

import (
	"testing"

	"go.uber.org/goleak"
)

// Whatever is opened ends when it is closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
