package durable

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Held is a lock that this process has. The lock ends with [Held.Unlock] or with the process,
// however it ends; the lock file stays.
type Held struct{ file *os.File }

// LockedError says that another process has the lock.
type LockedError struct {
	Path string
	PID  string // as the holder wrote it down, "" if it did not
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != "" {
		who += " (pid " + e.PID + ")"
	}
	return fmt.Sprintf("%s is already using this folder (%s): stop it, or give this one a folder of its own", who, e.Path)
}

// Lock takes the lock file at path, made if it is not there, so that two processes cannot work on
// one state. It does not wait: when somebody has it, the error is a [*LockedError].
//
// It is an advisory lock (flock(2); LockFileEx on Windows). On network shares it holds between the
// processes of one machine, and between machines only where the share supports it.
func Lock(path string) (*Held, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	taken, err := tryLock(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !taken {
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		f.Close()
		return nil, &LockedError{Path: path, PID: strings.Trim(string(pid), " \n")}
	}
	// Only a hint for whoever is refused, so a failure to write it down is no reason to stop; the
	// blanks cover a longer number of an earlier holder.
	_, _ = f.WriteAt(fmt.Appendf(nil, "%-12d\n", os.Getpid()), 0)
	return &Held{file: f}, nil
}

// Unlock gives the lock back.
func (h *Held) Unlock() error { return h.file.Close() }
