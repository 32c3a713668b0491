package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

//go:embed testdata/shop
var pages embed.FS

// shop is a project of a few pages, and its clients.
type shop struct {
	dir  string
	port int

	stop     context.CancelFunc
	requests sync.WaitGroup
}

// newShop writes the project into dir.
func newShop(dir, repo string) (*shop, error) {
	port, first, err := freePorts()
	if err != nil {
		return nil, err
	}
	s := &shop{dir: filepath.Join(dir, "shop"), port: port, stop: func() {}}
	tree, err := fs.Sub(pages, "testdata/shop")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(s.dir, tree); err != nil {
		return nil, err
	}
	if err := s.write("go.mod", "module shop\n\ngo 1.26.0\n\nrequire tqserver v0.0.0\n\nreplace tqserver => "+repo+"\n"); err != nil {
		return nil, err
	}
	return s, s.write("config/server.yaml", fmt.Sprintf("server:\n  port: %d\nworkers:\n  temp_dir: %s\n  port_range_start: %d\n  port_range_end: %d\n",
		port, filepath.Join(dir, "bin"), first, first+wanted-1))
}

// wanted is how many ports the workers may use.
const wanted = 60

// freePorts finds a port for the server and the first of those for workers:
// the usual ones if they are free.
func freePorts() (port, first int, err error) {
	for port = 8080; !free(port); port++ {
		if port == 8180 {
			return 0, 0, fmt.Errorf("no port from 8080 to 8180 is free")
		}
	}
next:
	for first = 9001; first < 30_000; first += 100 {
		for p := first; p < first+wanted; p++ {
			if !free(p) {
				continue next
			}
		}
		return port, first, nil
	}
	return 0, 0, fmt.Errorf("no %d ports in a row are free", wanted)
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func (s *shop) write(name, text string) error {
	file := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// edit replaces a text in a file.
func (s *shop) edit(name, old, new string) error {
	text, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), old) {
		return fmt.Errorf("%s has no %q", name, old)
	}
	return s.write(name, strings.Replace(string(text), old, new, 1))
}

// startRequests sends requests until stopRequests, each kind at its own rate.
func (s *shop) startRequests(t *terminal) error {
	ctx, stop := context.WithCancel(t.ctx)
	s.stop = stop
	for path, every := range map[string]time.Duration{
		"/":                200 * time.Millisecond,
		"/api/items?q=cup": 300 * time.Millisecond,
		"/api/items?q=tea": 450 * time.Millisecond,
		"/api/users":       500 * time.Millisecond,
		"/blog":            700 * time.Millisecond,
		"/blog/feed":       3 * time.Second,
		"/checkout":        800 * time.Millisecond,
		"/hooks":           2 * time.Second,
		"/search?q=tea":    400 * time.Millisecond,
	} {
		s.requests.Go(func() { s.requestEvery(ctx, path, every) }) // ends with stopRequests
	}
	return nil
}

func (s *shop) requestEvery(ctx context.Context, path string, every time.Duration) {
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://localhost:%d%s", s.port, path), nil)
		if err != nil {
			return
		}
		if resp, err := http.DefaultClient.Do(r); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
}

// stopRequests stops the requests and waits for those under way.
func (s *shop) stopRequests() {
	s.stop()
	s.requests.Wait()
}
