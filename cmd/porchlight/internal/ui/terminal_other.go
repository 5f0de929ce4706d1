//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package ui

// hideTyping does nothing here: what is typed shows. --passphrase-file avoids it.
func hideTyping(uintptr) (show func()) { return func() {} }

// columns is 0 here: lines are as long as they are.
func columns(uintptr) int { return 0 }
