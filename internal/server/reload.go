package server

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/logfile"
	"tqserver/internal/state"
)

// reloader reloads the configuration when its file is saved.
type reloader struct {
	server   *Server
	wake     chan struct{}   // holds one: the file may have changed
	requests chan chan error // reload even if the file has not changed

	text []byte // of the file when it was last read; belongs to run
}

func newReloader(s *Server) *reloader {
	r := &reloader{server: s, wake: make(chan struct{}, 1), requests: make(chan chan error)}
	cfg := s.config.Load()
	s.watcher.Set("configuration", nil, []string{cfg.File})
	text, _ := os.ReadFile(cfg.File)
	if now, err := cfg.Reparse(text); err == nil && reflect.DeepEqual(now, cfg) {
		r.text = text
	}
	r.wake <- struct{}{} // the file may have changed since it was loaded, before it was watched
	return r
}

// notifyChanged says that paths have changed, nil for any. It never waits.
func (r *reloader) notifyChanged(paths []string) {
	if paths == nil || slices.Contains(paths, r.server.config.Load().File) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// request reloads the file and returns its error.
func (r *reloader) request(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case r.requests <- reply:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// maxSettle is how long steady saves can delay a reload.
const maxSettle = time.Second

// run reloads until the context ends. It waits after a save until there has been none
// for file_watcher.debounce_ms.
func (r *reloader) run(ctx context.Context) {
	settle := time.NewTimer(time.Hour)
	settle.Stop()
	var first time.Time // of the first save since the last reload
	for {
		select {
		case <-r.wake:
			if first.IsZero() {
				first = time.Now()
			}
			debounce := r.server.config.Load().FileWatcher.Debounce
			settle.Reset(min(debounce, max(debounce, maxSettle)-time.Since(first)))
		case <-settle.C:
			first = time.Time{}
			r.reloadIfChanged(ctx)
		case reply := <-r.requests:
			reply <- r.apply(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// reloadIfChanged reloads if the content of the file has changed, and restarts workers
// if the project's folder was replaced. If there is no file, it does nothing: an
// editor may just be replacing it.
func (r *reloader) reloadIfChanged(ctx context.Context) {
	moved := r.server.lock.followRoot(r.server.publishEvent)
	file := r.server.config.Load().File
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrPermission) {
		r.server.watcher.AwaitReadable([]string{file})
	}
	if err == nil && !bytes.Equal(text, r.text) {
		r.server.publishEvent(state.LevelInfo, "Config file changed: "+r.server.opts.ConfigFile)
		r.apply(ctx)
	} else if moved {
		r.server.configureSupervisor(ctx)
	}
}

// apply puts the file in force, or returns its error.
func (r *reloader) apply(ctx context.Context) error {
	s := r.server
	moved := s.lock.followRoot(s.publishEvent)
	s.publishEvent(state.LevelInfo, "Reloading configuration...")
	old := s.config.Load()
	text, err := os.ReadFile(old.File)
	if err == nil {
		r.text = text
		if config.Empty(text) {
			err = errors.New(s.opts.ConfigFile + ": the file is empty, probably because a save was interrupted")
		}
	}
	var cfg *config.Config
	if err == nil {
		cfg, err = old.Reparse(text)
	}
	if err != nil {
		s.store.ChangeServer(state.Event{
			Level: state.LevelError, Message: "configuration rejected: the previous one stays in force",
			Attrs: []state.Attr{state.String("err", err.Error())},
		}, func(srv *state.Server) { srv.ConfigError = err.Error() })
		if moved {
			s.configureSupervisor(ctx)
		}
		return err
	}
	s.config.Store(cfg)
	if port := cfg.Server.Port; port != old.Server.Port && port != s.http.port() {
		s.publishEvent(state.LevelWarn, "server.port changed: restart the server to apply it", state.Int("port", port))
	}
	s.proxy.Configure(proxySettings(cfg))
	s.http.configure(cfg.Server)
	s.log.Configure(logfile.Template(cfg.Server.LogFile), cfg.Server.LogFormat)
	s.setWatched(cfg)
	s.mountStatic(cfg)
	s.setDevelopment(cfg)
	s.setPolicies(cfg)
	dev := s.development(cfg)
	s.store.ChangeServer(state.Event{Message: "✅ Configuration reloaded successfully"}, func(srv *state.Server) {
		srv.ConfigError, srv.Development = "", dev
	})
	return s.configureSupervisor(ctx)
}

// configureSupervisor gives the supervisor the configuration in force, and the present folder of
// the project.
func (s *Server) configureSupervisor(ctx context.Context) error {
	cfg := s.config.Load()
	return s.supervisor.Configure(ctx, cfg, s.development(cfg), func(workers int) {
		if workers > 0 {
			s.publishEvent(state.LevelInfo, "✅ All workers restarted with new configuration", state.Int("count", workers))
		}
	})
}
