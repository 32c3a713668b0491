package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tqserver/internal/config"
	"tqserver/internal/state"
)

func TestMain(m *testing.M) {
	if RunGuardian() {
		return
	}
	goleak.VerifyTestMain(m)
}

func TestWhatLibrariesLogIsAnEvent(t *testing.T) {
	store := state.NewStore(state.Server{})
	before, err := store.Next(t.Context(), state.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	log.New(libraryLog{store}, "", 0).Print("http: something is odd")
	u, err := store.Next(t.Context(), before.Cursor)
	if err != nil || len(u.Events) != 1 {
		t.Fatalf("%+v, %v", u, err)
	}
	want := state.Event{Level: state.LevelWarn, Message: "a library reports a problem", Attrs: []state.Attr{state.String("err", "http: something is odd")}}
	got := u.Events[0]
	got.Seq, got.Time = 0, time.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestASecondServerIsToldWhoRuns(t *testing.T) {
	root := t.TempDir()
	lock, err := lockProject(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockProject(root); err == nil || !strings.Contains(err.Error(), "runs on "+root) {
		t.Errorf("got %v", err)
	}
	lock.Close()
	lock, err = lockProject(root)
	if err != nil {
		t.Errorf("a lock that was given back: %v", err)
	}
	lock.Close()
}

func TestTheLockFollowsTheProjectsPath(t *testing.T) {
	base := t.TempDir()
	root, old := filepath.Join(base, "app"), filepath.Join(base, "old")
	os.Mkdir(root, 0o755)
	p, err := lockProject(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Close() }()
	var told []string
	tell := func(_ state.Level, message string, attrs ...state.Attr) {
		told = append(told, message)
	}
	if p.followRoot(tell) {
		t.Error("the same folder counts as another")
	}
	os.Rename(root, old)
	if p.followRoot(tell) {
		t.Error("no folder counts as another")
	}
	if _, err := lockProject(old); err == nil {
		t.Error("the folder was given up before there is another")
	}
	os.Mkdir(root, 0o755)
	other, err := lockProject(root)
	if err != nil {
		t.Fatal(err)
	}
	if p.followRoot(tell) || !strings.Contains(strings.Join(told, "\n"), "the new one cannot be used") {
		t.Errorf("a folder that another server has is taken: %q", told)
	}
	other.Close()
	if !p.followRoot(tell) || p.followRoot(tell) {
		t.Error("another folder is not taken, or not once")
	}
	if _, err := lockProject(root); err == nil {
		t.Error("the new folder has no lock")
	}
	free, err := lockProject(old)
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
}

func TestTheOrderedEndIsTold(t *testing.T) {
	cfg := config.Default(t.TempDir())
	cfg.Server.Port = 0 // the kernel chooses
	s, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }() // ends with ctx
	waitUntil(t, func() bool { return s.store.Server().URL() != "" })
	if srv := s.store.Server(); srv.Stopping || !srv.StopBy.IsZero() {
		t.Errorf("while it runs: %+v", srv)
	}
	asked := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	patience := cfg.LongestDrain() + cutAfter
	if srv := s.store.Server(); !srv.Stopping || srv.StopBy.Before(asked.Add(patience)) || srv.StopBy.After(time.Now().Add(patience)) {
		t.Errorf("at the end: %+v", srv)
	}
	u, _ := s.store.Next(t.Context(), state.Cursor{Seq: state.Beginning})
	if !slices.ContainsFunc(u.Events, func(e state.Event) bool {
		return e.Message == "shutting down: waiting for requests under way" && e.Server != nil && e.Server.Stopping
	}) {
		t.Errorf("it was not said: %+v", u.Events)
	}
}

func TestANewIdleTimeoutCountsFromTheNextRequestOn(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("ok")) })
	f := startHTTPServer(t, handler)
	conn := connect(t, f.Addr().String())
	request(t, conn)
	f.configure(config.Server{IdleTimeout: time.Second, ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 10})
	request(t, conn)
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an idle connection after the new timeout: %d, %v", n, err)
	}
	f.shutdown(t.Context())
}

// startHTTPServer serves until shutdown, or the end of the test.
func startHTTPServer(t *testing.T, handler http.Handler) *httpServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newHTTPServer(l, config.Server{IdleTimeout: time.Minute, ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 10}, handler, state.NewStore(state.Server{}))
	served := make(chan error, 1)
	go func() { served <- f.run(t.Context()) }() // ends with shutdown
	t.Cleanup(func() {
		f.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestAConnectionOnWhichNothingComesDoesNotDelayTheEnd(t *testing.T) {
	f := startHTTPServer(t, http.NotFoundHandler())
	silent := connect(t, f.Addr().String())
	began := time.Now()
	<-time.After(50 * time.Millisecond)
	f.shutdown(t.Context())
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}

func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func request(t *testing.T, c net.Conn) {
	t.Helper()
	c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 1024)
	n, err := c.Read(buf)
	if err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) || !bytes.HasSuffix(buf[:n], []byte("ok")) {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
}

func TestAConfigurationSavedDuringTheStartIsNoticed(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	root := t.TempDir()
	file := filepath.Join(root, "server.yaml")
	text := fmt.Sprintf("server:\n  port: %d\n  log_file: ~\nworkers:\n  temp_dir: bin\n", port)
	os.WriteFile(file, []byte(text), 0o644)
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(file, []byte(text+"file_watcher:\n  debounce_ms: 7\n"), 0o644)
	s, err := New(cfg, Options{ConfigFile: file})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) }) // ends with ctx
	defer running.Wait()
	defer cancel()
	waitUntil(t, func() bool { return s.config.Load().FileWatcher.Debounce == 7*time.Millisecond })
}

// waitUntil waits for something that another goroutine does.
func waitUntil(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 s in vain")
		}
	}
}

func TestEveryCommandForTheServerIsCarriedOut(t *testing.T) {
	for _, s := range state.Commands() {
		if _, ok := serverCommands[s.Verb]; ok != (s.Scope == state.ScopeServer) {
			t.Errorf("%s: %v", s.Verb, ok)
		}
	}
}

func TestACommandOutsideItsScopeIsRefusedAtOnce(t *testing.T) {
	s := &Server{store: state.NewStore(state.Server{}), running: make(chan struct{})} // it never runs
	for want, cmd := range map[string]state.Command{
		"reload acts on the server: name no page": {Verb: state.Reload, Page: "/a"},
		"stop acts on pages: name no worker":      {Verb: state.Stop, Page: "/a", Seat: 2},
	} {
		if err := s.Source().Do(t.Context(), cmd); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
