package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"tqserver/internal/state"
)

// checkRoot reports whether the project's folder is missing. It may have been renamed,
// or a new release may be about to replace it, so pages keep running: nobody has
// removed them. If the folder stays away, checkRoot publishes that once.
func (s *Supervisor) checkRoot() bool {
	_, err := os.Stat(s.root)
	missing, now := errors.Is(err, fs.ErrNotExist), time.Now()
	switch {
	case !missing:
		if s.rootMissing {
			s.publishEvent(state.LevelInfo, "the project's folder is back", state.String("dir", s.root))
		}
		s.rootMissing, s.rootMissingAt = false, time.Time{}
	case s.rootMissingAt.IsZero():
		s.rootMissingAt = now.Add(s.cfg.FileWatcher.Debounce)
		s.removalTimer.Reset(s.cfg.FileWatcher.Debounce)
	case s.rootMissing:
	case now.Before(s.rootMissingAt):
		s.removalTimer.Reset(s.rootMissingAt.Sub(now))
	default:
		s.rootMissing = true
		s.publishEvent(state.LevelWarn, "the project's folder is gone: pages keep serving as they are until it is back", state.String("dir", s.root))
	}
	return missing
}

// folderID distinguishes a folder from another that has the same path later. The zero
// value is no folder.
type folderID struct{ device, inode uint64 }

func folderIDOf(dir string) folderID {
	info, err := os.Stat(dir)
	if err != nil {
		return folderID{}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return folderID{}
	}
	return folderID{uint64(stat.Dev), uint64(stat.Ino)}
}
