package deliver

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// prepare asks for BBR on a socket that is about to dial. The home is the side that sends, so its congestion control is
// the one that counts: one lost packet in a thousand costs BBR nothing, and cubic nine tenths of the rate. A kernel that
// does not offer it, or not to this user, keeps its own choice.
func prepare(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr")
	})
}
