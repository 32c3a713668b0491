// Package worker is what a page of tqserver imports. It reads the settings that the
// server passes in the environment, and serves HTTP until the server stops the page.
//
//	package main
//
//	import (
//		"log"
//		"net/http"
//
//		"tqserver/pkg/worker"
//	)
//
//	func main() {
//		// Initialize worker runtime (reads TQ_* environment variables)
//		runtime, err := worker.NewRuntime()
//		if err != nil {
//			log.Fatal(err)
//		}
//
//		// Set up routes
//		http.HandleFunc("/", handleIndex)
//		http.HandleFunc("/health", handleHealth)
//
//		// Start server with proper timeouts and graceful shutdown
//		if err := runtime.StartServer(http.DefaultServeMux); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// Every page must respond to /health with 200 OK: the server checks so whether the
// page still works.
//
// A page also runs without the server. Started by hand it listens on port 9000, or
// on the port in TQ_PORT, prints the address to stderr, and stops at Ctrl-C.
//
// [Runtime.StartServer] owns the goroutines of the package. When it returns they
// have ended, unless a handler does not return. The package imports only the
// standard library: every page links it again at every save, and its folder can be
// copied into another module.
package worker

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
)

// Runtime holds what the server has told this worker, and the worker's state.
// Changes to its fields take effect if made before StartServer is called.
type Runtime struct {
	Port            int    // to listen on at 127.0.0.1 (TQ_PORT, 9000)
	MaxRequests     int    // after which the server replaces the worker; 0 = never (TQ_MAX_REQUESTS, 0)
	ReadTimeout     int    // seconds for a header, and between two parts of a body; 0 = none (TQ_READ_TIMEOUT_SECONDS, 30)
	WriteTimeout    int    // seconds in which a handler must read or write something; 0 = none (TQ_WRITE_TIMEOUT_SECONDS, 30)
	IdleTimeout     int    // seconds that a connection waits for its next request; 0 = no limit (TQ_IDLE_TIMEOUT_SECONDS, 120)
	ShutdownTimeout int    // milliseconds between the signal to stop and the kill (TQ_SHUTDOWN_GRACE_PERIOD_MS, 500)
	Socket          string // name of a Unix socket to listen on as well; empty = none (TQ_SOCKET)
	LogFile         string // where the server writes what the worker prints; empty = nowhere (TQ_LOG_FILE)

	requestCount      atomic.Int32
	shutdownRequested atomic.Bool

	ready *os.File // one byte in it says that the worker listens; nil without a server
	alive *os.File // ends when the server is gone; nil without a server
}

// NewRuntime reads the environment. For a variable that is missing or empty it uses
// the default, which is given with the field. Its error names every variable with
// an impossible value, and says what it should be.
//
// NewRuntime takes over the two pipes that a worker inherits from the server, and
// hides them from the processes that the worker starts: it removes TQ_READY_FD and
// TQ_ALIVE_FD from the environment and sets close-on-exec. It must be called once,
// before the worker starts anything.
func NewRuntime() (*Runtime, error) {
	var problems []error
	number := func(name string, fallback, least, most int) int {
		value := os.Getenv(name)
		if value == "" {
			return fallback
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most {
			problems = append(problems, fmt.Errorf("%s is %q: want a whole number from %d to %d", name, value, least, most))
		}
		return n
	}
	pipe := func(name string) *os.File {
		value := os.Getenv(name)
		if value == "" {
			return nil
		}
		os.Unsetenv(name)
		file, err := inherited(name, value)
		if err != nil {
			problems = append(problems, err)
		}
		return file
	}

	r := &Runtime{
		Port:            number("TQ_PORT", 9000, 1, math.MaxUint16),
		MaxRequests:     number("TQ_MAX_REQUESTS", 0, 0, math.MaxInt32),
		ReadTimeout:     number("TQ_READ_TIMEOUT_SECONDS", 30, 0, math.MaxInt32),
		WriteTimeout:    number("TQ_WRITE_TIMEOUT_SECONDS", 30, 0, math.MaxInt32),
		IdleTimeout:     number("TQ_IDLE_TIMEOUT_SECONDS", 120, 0, math.MaxInt32),
		ShutdownTimeout: number("TQ_SHUTDOWN_GRACE_PERIOD_MS", 500, 0, math.MaxInt32),
		Socket:          os.Getenv("TQ_SOCKET"),
		LogFile:         os.Getenv("TQ_LOG_FILE"),
		ready:           pipe("TQ_READY_FD"),
		alive:           pipe("TQ_ALIVE_FD"),
	}
	if problems != nil {
		r.ready.Close()
		r.alive.Close()
		return nil, errors.Join(problems...)
	}
	return r, nil
}

// inherited returns the pipe whose descriptor is the value of the variable name.
func inherited(name, value string) (*os.File, error) {
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q: want the number of a pipe, 3 or more", name, value)
	}
	// Only a pipe is ours to close: the variable may come from a program that is
	// not a page, and the number may be a file of the Go runtime.
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("%s is %q: want the number of a pipe: %w", name, value, err)
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, fmt.Errorf("%s is %q: want the number of a pipe, but it is something else", name, value)
	}
	syscall.CloseOnExec(fd)
	// A read of a non-blocking descriptor does not occupy a thread.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("%s is %q: %w", name, value, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// StartServer listens on 127.0.0.1 and serves handler, or [http.DefaultServeMux] if
// that is nil, until the worker must stop. It must be called once. Its error is
// that of listening or of accepting connections.
//
// If Socket is set and works, it listens there too: the server sends requests
// there, which costs less than a port. Their RemoteAddr is 127.0.0.1:0.
//
// It returns nil after SIGTERM, SIGINT, or the end of the server that started the
// worker. Then it accepts no more connections, and active requests have four fifths
// of ShutdownTimeout to finish, because the server kills the worker at the end of
// that time. After that their contexts are cancelled, so that streams can end
// properly, and half of the remaining time later their connections are closed.
// Handlers that have hijacked their connection have the same time. If the server
// has gone, all this takes less than 500 ms, however long ShutdownTimeout is. A
// second signal ends everything at once.
//
// A body may take as long as it moves: ReadTimeout and WriteTimeout start again
// whenever a part of it arrives or is accepted. A response, also a stream, is cut
// off if its handler neither reads nor writes for WriteTimeout. A handler that
// needs to be silent for longer extends its time, as often as it likes, with
// [http.ResponseController.SetWriteDeadline]; the zero [time.Time] means no limit
// (https://pkg.go.dev/net/http#ResponseController.SetWriteDeadline). Its own
// deadline then holds for the rest of the request. The same is true of
// SetReadDeadline.
//
// At the port StartServer gives up a client that sends nothing of a body for
// ReadTimeout, or accepts nothing of a response for WriteTimeout or 30 s, whichever
// is longer. At the socket the server does this, which watches its own clients.
//
// The worker does not stop by itself after MaxRequests: the server replaces it.
//
// The context of each request contains the server's ids of it, for [RequestID] and
// [Logger].
func (r *Runtime) StartServer(handler http.Handler) error {
	if handler == nil {
		handler = http.DefaultServeMux
	}
	defer r.ready.Close()
	defer r.alive.Close()
	s := newService(r, handler)
	defer s.close()

	listeners, err := r.listen()
	if err != nil {
		return err
	}
	return s.run(listeners)
}

// listen returns the listeners after it has told the server, or the user who
// started the worker, about them.
func (r *Runtime) listen() ([]net.Listener, error) {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port)))
	// A write to ready fails only if the server has gone, which is noticed
	// elsewhere.
	switch taken := errors.Is(err, syscall.EADDRINUSE); {
	case taken && r.ready == nil:
		return nil, fmt.Errorf("%w: set TQ_PORT to a free port", err)
	case taken:
		r.ready.WriteString("x")
		return nil, err
	case err != nil:
		return nil, err
	}
	listeners, ready := []net.Listener{portListener{listener, r}}, "r"
	if r.Socket != "" {
		if l, err := net.Listen("unix", r.Socket); err == nil {
			listeners, ready = append(listeners, socketListener{l, r, listener.Addr()}), "s"
		}
	}
	if r.ready == nil {
		fmt.Fprintf(os.Stderr, "listening on http://%s\n", listener.Addr())
	} else {
		r.ready.WriteString(ready)
		r.ready.Close()
	}
	return listeners, nil
}

// GetRequestCount returns how many requests have started, without those for the
// path /health, which the server makes itself. It does not exceed the largest
// int32.
func (r *Runtime) GetRequestCount() int32 { return r.requestCount.Load() }

// ShouldShutdown reports whether the worker is stopping or about to be replaced: it
// was told to stop, or it has reached MaxRequests and that is not 0. A handler that
// could run forever may check it.
func (r *Runtime) ShouldShutdown() bool {
	return r.shutdownRequested.Load() || r.MaxRequests > 0 && int(r.requestCount.Load()) >= r.MaxRequests
}

func (r *Runtime) count() {
	for {
		n := r.requestCount.Load()
		if n == math.MaxInt32 || r.requestCount.CompareAndSwap(n, n+1) {
			return
		}
	}
}
