// Package durable writes files so that they are still there after a power cut.
//
// What each call promises, once it has returned nil:
//
//   - [Disk.WriteFile]: the file has exactly the new content. Before that, at any crash, it has
//     exactly the old content, or is absent if it was absent: the bytes go to a temporary file in
//     the same directory (".<base>.tmp-<n>"), are synced, and are renamed over the old name; then
//     the directory is synced.
//   - [AppendFile.Append]: the bytes are in the file, in one piece, at its end.
//   - [Disk.MkdirAll]: every directory that was made is in its synced parent.
//   - [Disk.Remove], [Disk.Rename]: the name is gone from its synced directory, or is another.
//   - [Disk.Truncate]: the file has that length.
//
// An error means "not known to be durable", never "not done": a rename or a write can reach the
// disk although the call that made it, or the sync after it, failed. A caller that must know reads
// back what is there. After a failed sync the kernel may have dropped the unwritten pages and call
// them clean, so that a second sync succeeds and proves nothing; an [AppendFile] whose sync failed
// therefore cuts off what it wrote, lest it be read as good until the next power cut, and takes
// nothing more before that cut is durable; and WriteFile starts over with a new file.
//
// A crash can leave a temporary file behind; [Disk.RemoveTemporary] clears them, at start, under
// the [Lock]. It can also leave a name that is there to be read and gone after a power cut: who acts on
// what is found at start calls [Disk.SyncDir] first.
//
// # Records
//
// An append-only log of records is a sequence of frames:
//
//	4 bytes  length of the payload, big-endian
//	4 bytes  CRC-32C of the four bytes above
//	4 bytes  CRC-32C of the payload
//	n bytes  payload
//
// The length has a check of its own so that a flipped bit in it is not taken for a long record
// that the file ends inside of, which would quietly drop every record behind it. See [ReadRecords].
//
// # Sources
//
// The order of operations, and the syncing of the parent of each new directory, follow
// FiloSottile/sunlight internal/durable, which cites SQLite's os_unix.c for them. What a failed
// sync means: Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
// What crashes leave of unsynced writes: Pillai et al., "All File Systems Are Not Created Equal",
// OSDI 2014.
//
// # What it does not do
//
// It cannot help against a disk that confirms a sync it has not done. Some network and FAT file
// systems refuse to sync a directory (EINVAL, ENOTSUP); that refusal is passed over, because there is no
// other way to ask, and on those a crash can bring an old name back.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FS is the little of a file system that durable writes need. Tests hand in one that fails or
// "crashes" at a chosen step.
type FS interface {
	// OpenFile is [os.OpenFile]. Directories are opened with os.O_RDONLY, to be synced.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Mkdir(name string, perm fs.FileMode) error
	Rename(from, to string) error
	Remove(name string) error
	Stat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error)
}

// File is an open file or directory of an [FS].
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
	// Datasync makes the content and the length durable, not necessarily the times (fdatasync).
	Datasync() error
}

// Disk is a file system to write durably to. The zero value is the operating system's.
type Disk struct{ FS FS }

func (d Disk) fs() FS {
	if d.FS == nil {
		return osFS{}
	}
	return d.FS
}

// Open opens a file for what is too large to be written in one piece. Nothing of it is durable before its own Sync,
// and its name not before [Disk.SyncDir].
func (d Disk) Open(path string, flag int, perm fs.FileMode) (File, error) {
	return d.fs().OpenFile(path, flag, perm)
}

// WriteFile is [Disk.WriteFile] on the operating system's files.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return Disk{}.WriteFile(path, data, perm)
}

// MkdirAll is [Disk.MkdirAll] on the operating system's files.
func MkdirAll(path string, perm fs.FileMode) error { return Disk{}.MkdirAll(path, perm) }

// SyncDir is [Disk.SyncDir] on the operating system's files.
func SyncDir(path string) error { return Disk{}.SyncDir(path) }

// temporaryTries bounds how many left-over temporary files WriteFile steps around.
const temporaryTries = 1000

// WriteFile replaces the file at path, or makes it, all or nothing. The directory must exist.
// perm is subject to the umask and counts also when the file existed.
func (d Disk) WriteFile(path string, data []byte, perm fs.FileMode) error {
	f, temp, err := d.temporary(path, perm)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.fs().Rename(temp, path)
	}
	if err != nil {
		// Should this fail too, or should the rename have happened after all, then nothing is
		// lost by it: RemoveTemporary clears the one, and the other has nothing to remove.
		_ = d.fs().Remove(temp)
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := d.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write %s: it is written, but not known to survive a power cut: %w", path, err)
	}
	return nil
}

// temporary makes a file next to path that nobody else has: two writers of one path must never
// share it, or a mixture of both would be renamed into place.
func (d Disk) temporary(path string, perm fs.FileMode) (File, string, error) {
	dir, base := filepath.Split(path)
	if base == "" {
		return nil, "", errors.New("the path names no file")
	}
	for n := range temporaryTries {
		temp := fmt.Sprintf("%s.%s%s%d", dir, base, temporaryMark, n)
		f, err := d.fs().OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		return f, temp, err
	}
	return nil, "", fmt.Errorf("%d left-over temporary files stand beside it; remove %s.%s%s*", temporaryTries, dir, base, temporaryMark)
}

const temporaryMark = ".tmp-"

// RemoveTemporary removes what interrupted [Disk.WriteFile] calls left in a directory. Nothing may
// be writing there meanwhile: call it at start, holding the [Lock].
func (d Disk) RemoveTemporary(dir string) error {
	entries, err := d.fs().ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isTemporary(e.Name()) && e.Type().IsRegular() {
			if err := d.fs().Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func isTemporary(name string) bool {
	base, number, ok := strings.Cut(name, temporaryMark)
	if !ok || len(base) < 2 || base[0] != '.' || number == "" || len(number) > 3 {
		return false
	}
	return strings.Trim(number, "0123456789") == ""
}

// MkdirAll makes a directory and the parents it lacks, and syncs the parent of each one made. It
// syncs that of the deepest one it finds there as well, which may be what a call that failed, or a
// crashed run, made and did not sync; unless that parent may not be read, when it is somebody
// else's.
func (d Disk) MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	info, err := d.fs().Stat(path)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("make folder %s: a file of that name is in the way", path)
		}
		if err := d.SyncDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("make folder %s: it is there, but not known to survive a power cut: %w", path, err)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make folder %s: %w", path, err)
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := d.MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := d.fs().Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder %s: %w", path, err)
	}
	if err := d.SyncDir(parent); err != nil {
		return fmt.Errorf("make folder %s: it is made, but not known to survive a power cut: %w", path, err)
	}
	return nil
}

// Remove removes a file or an empty directory. What is not there is an error that
// errors.Is(err, fs.ErrNotExist) recognises; then too the directory was synced, if it is there, so
// that a removal whose sync failed can be done again.
func (d Disk) Remove(path string) error {
	err := d.fs().Remove(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	if serr := d.SyncDir(filepath.Dir(path)); serr != nil && !(missing && errors.Is(serr, fs.ErrNotExist)) {
		return fmt.Errorf("remove %s: it is gone, but may be back after a power cut: %w", path, serr)
	}
	return err
}

// Rename gives a file another name in the same directory. After an error it has one of the two.
func (d Disk) Rename(from, to string) error {
	if err := d.fs().Rename(from, to); err != nil {
		return err
	}
	if err := d.SyncDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("rename %s: it is done, but may be undone by a power cut: %w", from, err)
	}
	return nil
}

// Truncate cuts a file off at size bytes.
func (d Disk) Truncate(path string, size int64) error {
	f, err := d.fs().OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SyncDir makes the names in a directory durable: to be called after linking, renaming or
// removing there by other means.
func (d Disk) SyncDir(path string) error {
	dir, err := d.fs().OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if cannotSyncDir(err) {
		err = nil
	}
	if cerr := dir.Close(); err == nil {
		err = cerr
	}
	return err
}

// osFS is the operating system's file system.
type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Datasync() error { return datasync(f.File) }

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}
func (osFS) Mkdir(name string, perm fs.FileMode) error  { return os.Mkdir(name, perm) }
func (osFS) Rename(from, to string) error               { return os.Rename(from, to) }
func (osFS) Remove(name string) error                   { return os.Remove(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)      { return os.Stat(name) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
