//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package ui

// hideTyping does nothing here: what is typed shows. --passphrase-file avoids it.
func hideTyping(uintptr) (show func()) { return func() {} }
