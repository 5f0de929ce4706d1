//go:build linux || darwin || freebsd || netbsd || openbsd

package ui

import "golang.org/x/sys/unix"

// hideTyping turns a terminal's echo off until the function it returns is called.
func hideTyping(fd uintptr) (show func()) {
	was, err := unix.IoctlGetTermios(int(fd), getTermios)
	if err != nil {
		return func() {} // no terminal
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO
	if unix.IoctlSetTermios(int(fd), setTermios, &quiet) != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetTermios(int(fd), setTermios, was) } // what could be done about it?
}
