//go:build linux || darwin || freebsd || netbsd || openbsd

package ui

import "golang.org/x/sys/unix"

// columns is how many columns a terminal has, 0 where it is none.
func columns(fd uintptr) int {
	if _, err := unix.IoctlGetTermios(int(fd), getTermios); err != nil {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return Width
	}
	return int(size.Col)
}

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
