package worker

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// orphanGrace is how long a worker may take to stop when its server has gone.
const orphanGrace = 500 * time.Millisecond

// A service is one run of StartServer.
//
//	serving ──signal or server gone──► finishing ──4/5 of the grace──► cancelled ──1/10──► closed
//	                                       └──────── idle, or a second signal ───────────────┘
//
// The channels that belong to a later state are nil before it.
type service struct {
	runtime       *Runtime
	http          *http.Server
	running       sync.WaitGroup     // handlers, also of hijacked connections
	requests      context.Context    // parent of the context of every request
	cancel        context.CancelFunc // cancels requests
	closing       context.Context    // parent of requests; ends when connections are closed
	cancelClosing context.CancelFunc // cancels closing
	goroutines    sync.WaitGroup     // close waits for them

	signals    chan os.Signal
	brokenPipe chan os.Signal // receives SIGPIPE; nobody reads it
	serverGone chan struct{}  // closed when the server has gone
	failed     chan error     // why no more connections are accepted

	idle       chan struct{}    // closed when no request is left; nil while serving
	killTime   time.Time        // when the server kills the worker
	cancelTime <-chan time.Time // cancel requests
	closeTime  <-chan time.Time // close connections
}

// newService returns a service that receives signals from now on.
func newService(r *Runtime, handler http.Handler) *service {
	s := &service{
		runtime:    r,
		signals:    make(chan os.Signal, 2),
		brokenPipe: make(chan os.Signal, 1),
		serverGone: make(chan struct{}),
	}
	s.closing, s.cancelClosing = context.WithCancel(context.Background())
	s.requests, s.cancel = context.WithCancel(s.closing)
	s.http = &http.Server{
		Handler:           withTimeouts(s.withRequests(handler)),
		ReadHeaderTimeout: time.Duration(r.ReadTimeout) * time.Second, // conn has the other timeouts
		IdleTimeout:       time.Duration(r.IdleTimeout) * time.Second, // 0 means no limit, as there is no ReadTimeout
		BaseContext:       func(net.Listener) context.Context { return s.requests },
		ConnContext:       withConn,
	}
	signal.Notify(s.signals, syscall.SIGINT, syscall.SIGTERM)
	if r.alive != nil {
		// Stderr breaks when the server ends. Then a line written to it would kill
		// the worker and its last requests, unless SIGPIPE is handled (package
		// os/signal, "SIGPIPE").
		signal.Notify(s.brokenPipe, syscall.SIGPIPE)
	}
	return s
}

// withRequests returns a handler that counts requests and adds their ids.
func (s *service) withRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.running.Add(1)
		defer s.running.Done()
		if r.URL.Path != "/health" {
			s.runtime.count()
		}
		addRequestContext(r)
		next.ServeHTTP(w, r)
	})
}

// run serves until the worker has stopped.
func (s *service) run(listeners []net.Listener) error {
	s.failed = make(chan error, len(listeners))
	for _, l := range listeners {
		s.goroutines.Go(func() { s.failed <- s.http.Serve(l) }) // ends when s.http is shut down or closed
	}
	if s.runtime.alive != nil {
		s.goroutines.Go(s.watchServer)
	}
	for {
		select {
		case err := <-s.failed:
			if s.idle == nil {
				return err
			}
		case <-s.signals:
			if s.idle != nil {
				return nil
			}
			s.shutDown(s.grace())
		case <-s.serverGone:
			s.serverGone = nil
			s.shutDown(min(s.grace(), orphanGrace))
		case <-s.cancelTime:
			s.cancel()
		case <-s.closeTime:
			return nil
		case <-s.idle:
			return nil
		}
	}
}

func (s *service) grace() time.Duration {
	return time.Duration(s.runtime.ShutdownTimeout) * time.Millisecond
}

// watchServer closes serverGone when the server has gone. It returns then, or when
// the pipe is closed.
func (s *service) watchServer() {
	gone := s.serverGone
	if _, err := io.Copy(io.Discard, s.runtime.alive); err == nil {
		close(gone)
	}
}

// shutDown stops accepting connections, and makes sure that the others are closed
// before the grace is over. A later call can only shorten the grace.
func (s *service) shutDown(grace time.Duration) {
	killTime := time.Now().Add(grace)
	if s.idle == nil {
		s.runtime.shutdownRequested.Store(true)
		idle := make(chan struct{})
		s.idle = idle
		go func() { // ends with the connections and the handlers that hijacked one
			// Shutdown checks for idle connections less and less often. The
			// cancellation makes many idle, so a second Shutdown starts again.
			if s.http.Shutdown(s.requests) == nil || s.http.Shutdown(s.closing) == nil {
				s.running.Wait() // waits for ever if a handler does not return
				close(idle)
			}
		}()
	} else if killTime.After(s.killTime) {
		return
	}
	s.killTime = killTime
	s.cancelTime = time.After(grace * 4 / 5)
	s.closeTime = time.After(grace * 9 / 10)
}

// close releases what newService and run have started.
func (s *service) close() {
	s.cancelClosing()
	s.http.Close()
	s.runtime.alive.Close()
	s.goroutines.Wait()
	signal.Stop(s.signals)
	signal.Stop(s.brokenPipe)
}
