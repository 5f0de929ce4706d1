package clip

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Errors that say a recording is not what it was when the cut was planned; match them with [errors.Is].
// Both come as an [*InputError], which names the file.
var (
	// ErrGone says that there is no file at the recording's path any more.
	ErrGone = errors.New("the recording is gone")
	// ErrChanged says that the file at the recording's path is another, or was written to.
	ErrChanged = errors.New("the recording changed")
)

// InputError is a recording that is gone or has changed.
type InputError struct {
	Path string
	Kind error // ErrGone or ErrChanged
	What string
}

func (e *InputError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Path, e.Kind, e.What) }

func (e *InputError) Unwrap() error { return e.Kind }

// Input is one recording. Cut opens its file only while it needs it.
type Input struct {
	Path  string
	Start time.Time // the real moment of the recording's time zero
	// Size in bytes and ModTime are what the file had when it was chosen. A file that has others now is
	// refused with ErrChanged. Both are left unchecked when ModTime is zero.
	Size    int64
	ModTime time.Time
}

// Open opens the recording's file. A file that is gone gives [ErrGone], one that is not the one that was
// chosen [ErrChanged].
func (in Input) Open() (*os.File, error) {
	f, err := os.Open(in.Path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, &InputError{in.Path, ErrGone, "it was removed or moved after it was chosen"}
	}
	if err != nil {
		return nil, err
	}
	if err := in.Check(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Check says whether the open file still is what was chosen. Whoever reads a file to its end asks once
// more after that, since a recorder may write to a file while it is read. Times are compared in whole
// microseconds, which is what an index of recordings keeps.
func (in Input) Check(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	changed := func(format string, args ...any) error {
		return &InputError{in.Path, ErrChanged, fmt.Sprintf(format, args...)}
	}
	switch {
	case in.ModTime.IsZero():
	case info.Size() != in.Size:
		return changed("it has %d bytes and had %d when it was chosen", info.Size(), in.Size)
	case info.ModTime().UnixMicro() != in.ModTime.UnixMicro():
		return changed("it was written at %s, after it was chosen", stamp(info.ModTime()))
	}
	return nil
}
