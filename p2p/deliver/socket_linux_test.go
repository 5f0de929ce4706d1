package deliver

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A delivery's socket runs BBR where the kernel lets this user choose it, and dials all the same where it does not.
func TestBBR(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := (&net.Dialer{Control: prepare}).Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	offered, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
	if !slices.Contains(strings.Fields(string(offered)), "bbr") {
		t.Skip("this kernel does not offer BBR to every user")
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got string
	raw.Control(func(fd uintptr) { got, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) })
	if err != nil || got != "bbr" {
		t.Errorf("congestion control %q, %v", got, err)
	}
}
