//go:build !linux

package durable

import "os"

// On macOS Sync is F_FULLFSYNC, which fdatasync is not.
func datasync(f *os.File) error { return f.Sync() }
