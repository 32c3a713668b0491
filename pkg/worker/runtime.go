// Package worker is what a page of tqserver imports: it reads what the server
// says in the environment, and serves HTTP until the server wants the page to
// end.
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
// Every page answers /health with 200 OK: the server asks for it to learn
// whether the page still works.
//
// A page needs no server. Started by hand it listens on port 9000, or on the
// one in TQ_PORT, says so on stderr, and ends with Ctrl-C.
//
// The goroutines of the package belong to [Runtime.StartServer]. It leaves none
// behind, unless a handler does not return. The package imports the standard
// library only, because every page links it again at every save.
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

// Runtime is what the server told this worker, and how far the worker has got.
// Changes to its fields have an effect until StartServer is called.
type Runtime struct {
	Port            int    // to listen on, at 127.0.0.1 (TQ_PORT, 9000)
	MaxRequests     int    // after which the server replaces the worker; 0 = never (TQ_MAX_REQUESTS, 0)
	ReadTimeout     int    // seconds for reading a header, and between two parts of a body; 0 = none (TQ_READ_TIMEOUT_SECONDS, 30)
	WriteTimeout    int    // seconds in which a handler must read or write something; 0 = none (TQ_WRITE_TIMEOUT_SECONDS, 30)
	IdleTimeout     int    // seconds a connection waits for its next request; 0 = for ever (TQ_IDLE_TIMEOUT_SECONDS, 120)
	ShutdownTimeout int    // milliseconds from being asked to end to being killed (TQ_SHUTDOWN_GRACE_PERIOD_MS, 500)
	Socket          string // name of a Unix socket to listen on as well; empty = none (TQ_SOCKET)
	LogFile         string // where the server writes what the worker prints; empty = nowhere (TQ_LOG_FILE)

	requestCount      atomic.Int32
	shutdownRequested atomic.Bool

	ready *os.File // takes one byte when the worker listens; nil by hand
	alive *os.File // reaches its end when the server is gone; nil by hand
}

// NewRuntime reads the environment. A variable that is missing or empty means
// the default given with its field. The error names every variable whose value
// is impossible, and what it should be.
//
// NewRuntime takes over the two pipes that the server lets a worker inherit,
// and hides them from the processes that the worker starts: it removes
// TQ_READY_FD and TQ_ALIVE_FD from the environment and has the descriptors
// closed on exec. It is to be called once, and before anything is started.
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
	// What is not a pipe is not ours to close: the variable may have come down
	// from a program that is not a page, and the number mean a file of Go's.
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("%s is %q: want the number of a pipe: %w", name, value, err)
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, fmt.Errorf("%s is %q: want the number of a pipe, but it is something else", name, value)
	}
	syscall.CloseOnExec(fd)
	// Waiting on a descriptor that does not block costs no thread.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("%s is %q: %w", name, value, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// StartServer listens on 127.0.0.1 and serves handler, or
// [http.DefaultServeMux] if that is nil, until the worker is to end. It is to be
// called once. The error is that of listening or of accepting connections.
//
// It listens on Socket as well, if there is one and that works: the server
// sends requests there, which costs less than a port. They say that they come
// from 127.0.0.1:0.
//
// It returns nil after SIGTERM, SIGINT, or the end of the server that started
// the worker. Then no connection is accepted any more, and requests under way
// have four fifths of ShutdownTimeout to finish, because the server kills the
// worker at its end. The context of those that still run is cancelled, so that
// streams can say goodbye, and half of the remaining time later their
// connections are closed. Handlers that hijacked their connection get as much
// time as others. When the server has gone, all that takes less than 500 ms,
// however long ShutdownTimeout is. A second signal ends everything at once.
//
// A body may take as long as it moves: ReadTimeout and WriteTimeout begin anew with
// what comes of it and what is taken. A response is cut off when its handler has
// neither read nor written anything for WriteTimeout, a stream included. A handler
// that means to be silent for longer extends its own time, as often as it likes, with
// [http.ResponseController.SetWriteDeadline]; the zero [time.Time] is no limit
// (https://pkg.go.dev/net/http#ResponseController.SetWriteDeadline). For the rest of
// the request it is then the deadline it has set that counts; so it is with
// SetReadDeadline.
//
// At the port a client that sends nothing of a body for ReadTimeout is given up, and
// one that takes nothing of a response for WriteTimeout, or for 30 s if that is
// longer. At the socket that is left to the server, which watches its own clients.
//
// The worker never ends by itself after MaxRequests: the server replaces it.
//
// In the context of each request is what the server calls it, for [RequestID]
// and [Logger].
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

// listen returns listeners once the server, or whoever started the worker by
// hand, knows of them.
func (r *Runtime) listen() ([]net.Listener, error) {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port)))
	// If the server does not hear, it has gone, and that is noticed elsewhere.
	switch taken := errors.Is(err, syscall.EADDRINUSE); {
	case taken && r.ready == nil:
		return nil, fmt.Errorf("%w: set TQ_PORT to a free port", err)
	case taken:
		r.ready.WriteString("x")
		return nil, err
	case err != nil:
		return nil, err
	}
	listeners, said := []net.Listener{portListener{listener, r}}, "r"
	if r.Socket != "" {
		if l, err := net.Listen("unix", r.Socket); err == nil {
			listeners, said = append(listeners, socketListener{l, r, listener.Addr()}), "s"
		}
	}
	if r.ready == nil {
		fmt.Fprintf(os.Stderr, "listening on http://%s\n", listener.Addr())
	} else {
		r.ready.WriteString(said)
		r.ready.Close()
	}
	return listeners, nil
}

// GetRequestCount returns how many requests have begun, those for the path
// /health not counted, because the server makes them itself. It stays at the
// largest int32 when there are more.
func (r *Runtime) GetRequestCount() int32 { return r.requestCount.Load() }

// ShouldShutdown reports whether the worker is about to be replaced or is
// ending: MaxRequests is not 0 and was reached, or the worker was asked to end.
// A handler that could go on for ever may look at it.
func (r *Runtime) ShouldShutdown() bool {
	return r.shutdownRequested.Load() || r.MaxRequests > 0 && int(r.requestCount.Load()) >= r.MaxRequests
}

// count counts a request.
func (r *Runtime) count() {
	for {
		n := r.requestCount.Load()
		if n == math.MaxInt32 || r.requestCount.CompareAndSwap(n, n+1) {
			return
		}
	}
}
