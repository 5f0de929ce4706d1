//go:build !linux

package deliver

import "syscall"

// prepare leaves a socket as it is: only Linux lets a program choose the congestion control of one.
func prepare(string, string, syscall.RawConn) error { return nil }
