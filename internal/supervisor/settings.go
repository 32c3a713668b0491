package supervisor

import (
	"context"
	"maps"
	"path/filepath"
	"sync/atomic"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/project"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// settings is what a page needs of the configuration.
type settings struct {
	worker  config.WorkerSettings
	project folderID // the folder in which workers run; zero if unknown
	logFile config.LogFile

	debounce time.Duration // saves within this time belong to one change
}

func (s *Supervisor) settingsOf(route, dir string) settings {
	w := s.cfg.Worker(route)
	return settings{worker: w, project: s.rootID, logFile: logOf(w.LogFile, dir, s.cfg.Pages.Directory), debounce: s.cfg.FileWatcher.Debounce}
}

// balance returns how the proxy is to spread requests over the workers of the page.
func (s settings) balance() proxy.Balance {
	w := s.worker
	return proxy.Balance{
		Policy: w.Balance, CookieKey: w.CookieKey,
		EjectFailures: w.EjectFailures, EjectTime: w.EjectTime,
		BreakerPercent: w.BreakerPercent, BreakerMinRequests: w.BreakerMinRequests, BreakerWindow: w.BreakerWindow, BreakerOpen: w.BreakerOpen,
	}
}

// logOf returns the log file of the page in a folder.
func logOf(name config.LogFile, dir, pages string) config.LogFile {
	rel, ok := project.Rel(pages, dir)
	if !ok {
		rel = filepath.Base(dir)
	}
	if name.Name != "" {
		name.Page = rel
	}
	return name
}

// Configure puts a configuration in force, and the present folder of the project. It
// does not wait for workers: when every page runs with the configuration, replaced is
// called with the number of workers that were replaced.
func (s *Supervisor) Configure(ctx context.Context, cfg *config.Config, development bool, replaced func(workers int)) error {
	return s.call(ctx, func() {
		old := s.cfg
		s.cfg = cfg
		s.dev.Store(development)
		s.ports.setRange(cfg.Workers.PortRangeStart, cfg.Workers.PortRangeEnd)
		project := s.rootID
		if there := folderIDOf(cfg.Root); there != (folderID{}) {
			s.rootID = there
		}
		rebuild := s.rootID != project || cfg.Build.LDFlags != old.Build.LDFlags || !maps.Equal(cfg.Build.Env, old.Build.Env)
		s.build.Configure(cfg.Build.LDFlags, cfg.Build.Env)
		if dir := cfg.Workers.TempDir; dir != old.Workers.TempDir && dir != s.tempDir {
			s.publishEvent(state.LevelWarn, "workers.temp_dir changed: restart the server to apply it")
		}
		var left, count atomic.Int64
		left.Store(1)
		done := func(wasReplaced bool) {
			if wasReplaced {
				count.Add(1)
			}
			if left.Add(-1) == 0 {
				replaced(int(count.Load()))
			}
		}
		for route, p := range s.pages {
			left.Add(1)
			cfg := s.settingsOf(route, p.folder)
			if !p.call(func() { p.configure(cfg, rebuild, done) }) {
				done(false)
			}
		}
		done(false)
		switch {
		case cfg.Pages.Directory != old.Pages.Directory:
			s.Changed(nil)
		case rebuild: // with other tags other folders are pages
			s.removalTimer.Reset(0)
		}
	})
}
