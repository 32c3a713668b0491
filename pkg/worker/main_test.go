package worker_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tqserver/pkg/worker"
)

// The test binary also runs as pages and their children: TQ_TEST_ROLE says as
// which.
func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv("TQ_TEST_ROLE")]; ok {
		role()
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else every page sleeps for a second at its end
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "TQ_") {
			os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}

var roles = map[string]func(){
	"page": func() { // prints goodbye when StartServer returns nil
		runtime, err := worker.NewRuntime()
		if err != nil {
			log.Fatal(err)
		}
		if err := runtime.StartServer(routes(runtime)); err != nil {
			log.Fatal(err)
		}
		if os.Getenv("TQ_TEST_LEAKS") == "" {
			if err := goleak.Find(); err != nil {
				log.Fatal(err)
			}
		}
		fmt.Println("goodbye")
	},
	"default mux": func() {
		runtime, err := worker.NewRuntime()
		if err != nil {
			log.Fatal(err)
		}
		http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "default") })
		if err := runtime.StartServer(nil); err != nil {
			log.Fatal(err)
		}
	},
	"child": func() { // prints what a child of a page must not have inherited
		for fd := 3; fd < 64; fd++ {
			var stat syscall.Stat_t
			if syscall.Fstat(fd, &stat) == nil && stat.Mode&syscall.S_IFMT == syscall.S_IFIFO {
				fmt.Println("descriptor", fd, "is a pipe")
			}
		}
		for _, name := range []string{"TQ_READY_FD", "TQ_ALIVE_FD"} {
			if value, ok := os.LookupEnv(name); ok {
				fmt.Println(name, "is", value)
			}
		}
	},
}

func routes(runtime *worker.Runtime) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, runtime.GetRequestCount(), runtime.ShouldShutdown())
	})
	mux.HandleFunc("/from", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	mux.HandleFunc("/child", func(w http.ResponseWriter, r *http.Request) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TQ_TEST_ROLE=child")
		cmd.Stdout, cmd.Stderr = w, w
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(w, err)
		}
	})
	mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, "read", n, err)
	})
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.EnableFullDuplex()
		var reading sync.WaitGroup
		said := ""
		if r.URL.RawQuery == "reads" {
			reading.Go(func() {
				n, err := io.Copy(io.Discard, r.Body)
				said = fmt.Sprintln("read", n, err)
			})
		}
		for range ticks {
			<-time.After(200 * time.Millisecond)
			io.WriteString(w, "x")
			control.Flush()
		}
		reading.Wait()
		io.WriteString(w, said)
	})
	mux.HandleFunc("/much", func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 16<<20)) })
	// The others send begun, and then wait for something.
	mux.HandleFunc("/body", begun(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		log.Print("the last line") // stderr may be broken
		fmt.Fprintln(w, "finished", runtime.ShouldShutdown())
	}))
	mux.HandleFunc("/stream", begun(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		fmt.Fprintln(w, "finished", runtime.ShouldShutdown())
	}))
	mux.HandleFunc("/patient", begun(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(1500 * time.Millisecond):
			fmt.Fprintln(w, "finished")
		}
	}))
	mux.HandleFunc("/extended", begun(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetWriteDeadline(time.Time{})
		<-time.After(1500 * time.Millisecond)
		fmt.Fprintln(w, "finished")
	}))
	mux.HandleFunc("/deaf", begun(func(http.ResponseWriter, *http.Request) { select {} }))
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbegun\n")
		<-r.Context().Done()
		io.WriteString(conn, "finished\n")
		conn.Close()
	})
	return mux
}

func begun(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.EnableFullDuplex()
		io.WriteString(w, "begun\n")
		control.Flush()
		next(w, r)
	}
}

// testTimeout limits how long a test waits.
const testTimeout = time.Minute

// A page is a process that runs a page, with the server's ends of its pipes.
type page struct {
	*testing.T
	port    int
	listens string // r: at its port, s: at its socket too
	cmd     *exec.Cmd
	stdout  bytes.Buffer
	stderr  *bytes.Buffer // nil if nobody reads it
	ready   *os.File
	alive   *os.File // closing it stands for the end of the server
	done    chan struct{}
	client  *http.Client
}

// start starts a page with the given variables of the server, and returns when it
// listens.
func start(t *testing.T, vars ...string) *page {
	t.Helper()
	return startProgram(t, os.Args[0], append(vars, "TQ_TEST_ROLE=page")...)
}

func startProgram(t *testing.T, program string, vars ...string) *page {
	t.Helper()
	for {
		p := launch(t, program, freePort(t), vars...)
		switch said := p.readyByte(); said {
		case "r", "s":
			p.listens = said
			return p
		case "x": // another test has taken the port
			<-p.done
		default:
			<-p.done
			t.Fatalf("page said %q: %s", said, p.stderr)
		}
	}
}

// launch starts a page without waiting for it.
func launch(t *testing.T, program string, port int, vars ...string) *page {
	t.Helper()
	ready, theirReady := pipe(t)
	theirAlive, alive := pipe(t)
	p := &page{T: t, port: port, ready: ready, alive: alive}
	p.stderr = new(bytes.Buffer)
	p.run(program, p.stderr, []*os.File{theirReady, theirAlive}, append(vars,
		"TQ_PORT="+strconv.Itoa(port), "TQ_READY_FD=3", "TQ_ALIVE_FD=4"))
	return p
}

func (p *page) run(program string, stderr io.Writer, files []*os.File, vars []string) {
	p.Helper()
	p.cmd = exec.Command(program)
	p.cmd.Env = append(os.Environ(), vars...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, stderr
	p.cmd.ExtraFiles = files
	if err := p.cmd.Start(); err != nil {
		p.Fatal(err)
	}
	for _, f := range files {
		f.Close()
	}
	p.done = make(chan struct{})
	p.client = &http.Client{Transport: new(http.Transport)}
	go func() { // ends with the process
		p.cmd.Wait()
		close(p.done)
	}()
	p.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		p.client.CloseIdleConnections()
	})
}

// readyByte returns what the page writes to its ready pipe.
func (p *page) readyByte() string {
	p.Helper()
	said, err := io.ReadAll(p.ready)
	if err != nil {
		p.Fatal(err)
	}
	return string(said)
}

func (p *page) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", p.port, path) }

func (p *page) get(path string) string {
	p.Helper()
	return p.begin(path, nil).rest()
}

// begin sends a request and returns when the response has begun.
func (p *page) begin(path string, body io.Reader) *response {
	p.Helper()
	request, err := http.NewRequest(http.MethodPost, p.url(path), body)
	if err != nil {
		p.Fatal(err)
	}
	if body == nil {
		request.Method = http.MethodGet
	}
	answer, err := p.client.Do(request)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { answer.Body.Close() })
	return &response{p.T, answer}
}

type response struct {
	*testing.T
	*http.Response
}

// awaitBegun returns when the handler has sent begun.
func (r *response) awaitBegun() *response {
	r.Helper()
	line := make([]byte, len("begun\n"))
	if _, err := io.ReadFull(r.Body, line); err != nil || string(line) != "begun\n" {
		r.Fatalf("handler said %q, %v", line, err)
	}
	return r
}

func (r *response) rest() string {
	r.Helper()
	rest, err := io.ReadAll(r.Body)
	if err != nil {
		r.Fatalf("response ends with %v after %q", err, rest)
	}
	return string(rest)
}

func (p *page) signal(sig syscall.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.Fatal(err)
	}
}

// awaitRefusal returns when the page accepts no more connections.
func (p *page) awaitRefusal() {
	p.Helper()
	for {
		conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", p.port))
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			conn.Close()
		}
	}
}

// wantGoodbye waits for the page to end as StartServer promises.
func (p *page) wantGoodbye() {
	p.Helper()
	<-p.done
	if state := p.cmd.ProcessState; !state.Success() || p.stdout.String() != "goodbye\n" {
		p.Errorf("page ended with %v and %q: %s", state, &p.stdout, p.stderr)
	}
}

// within fails the test unless f takes from least to most.
func within(t *testing.T, least, most time.Duration, f func()) {
	t.Helper()
	begin := time.Now()
	f()
	if took := time.Since(begin); took < least || took > most {
		t.Errorf("took %v; want %v to %v", took, least, most)
	}
}

// inTime fails the test if a try takes less than least, or all take more than most:
// a busy machine is late now and then, but a fault is there every time.
func inTime(t *testing.T, least, most time.Duration, try func() time.Duration) {
	t.Helper()
	var took time.Duration
	for range 5 {
		if took = try(); took < least {
			t.Fatalf("took %v; want %v to %v", took, least, most)
		}
		if took <= most {
			return
		}
	}
	t.Errorf("took %v; want %v to %v", took, least, most)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}
