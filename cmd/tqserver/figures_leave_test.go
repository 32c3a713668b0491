package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// leavers are requests that are under way when their client leaves.
var leavers = []struct{ name, request, begins string }{
	{"upload", "POST /upload?id=%s HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\na part", ""},
	{"download", "GET /download?id=%s HTTP/1.1\r\nHost: h\r\n\r\n", "0123456789abcdef"},
	{"event stream", "GET /events?id=%s HTTP/1.1\r\nHost: h\r\n\r\n", "data: 1"},
	{"WebSocket", "GET /socket?id=%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n", "hi"},
}

// process is what one holds.
type process struct{ files, kib, goroutines int }

func abandoned(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	n := count(ts, args[0])
	for _, l := range leavers { // as much as will be, for what is kept is no leak
		ts.Check(together(16, 100, func(i int) error {
			_, err := w.abandon(l.request, l.begins, fmt.Sprint("first", l.name[:1], i))
			return err
		}))
	}
	worker := w.page(ts)
	held := func(pid string) (p process) {
		<-time.After(3 * time.Second) // net/http reads on for a while from who left, and connections wait for another request
		goroutines, err := w.get("/goroutines")
		ts.Check(err)
		return process{filesOf(pid), memoryOf(ts, pid), count(ts, strings.Fields(goroutines)[1])}
	}
	server, page := held(ts.Getenv("SERVER")), held(worker)
	for _, l := range leavers {
		var mu sync.Mutex
		var took []time.Duration
		ts.Check(together(16, n, func(i int) error {
			d, err := w.abandon(l.request, l.begins, fmt.Sprint(l.name[:1], i))
			mu.Lock()
			defer mu.Unlock()
			took = append(took, d)
			return err
		}))
		half, _, worst := spread(took)
		told(ts, fmt.Sprintf("%s left %d times, the worker knows after, median", l.name, n), "%v", half)
		figure(ts, "the same, worst", worst, time.Second)
	}
	serverNow, pageNow := held(ts.Getenv("SERVER")), held(worker)
	figure(ts, "files that the server opened and kept", serverNow.files-server.files, 8)
	figure(ts, "memory that the server kept, KiB", serverNow.kib-server.kib, 16<<10)
	figure(ts, "files that the worker opened and kept", pageNow.files-page.files, 8)
	figure(ts, "goroutines that the worker began and kept", pageNow.goroutines-page.goroutines, 16)
}

// abandon leaves when a request is under way, and returns how long after that
// the worker knew.
func (w *world) abandon(request, begins, id string) (time.Duration, error) {
	id = strings.ReplaceAll(id, " ", "")
	c, err := w.call(0)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	fmt.Fprintf(c, request, id)
	for text := ""; begins != "" && !strings.Contains(text, begins); {
		line := make([]byte, 512)
		k, err := c.Read(line)
		if err != nil {
			return 0, err
		}
		text += string(line[:k])
	}
	if _, err := w.get("/begun?id=" + id); err != nil {
		return 0, err
	}
	left := time.Now()
	c.Close()
	answer, err := w.get("/left?id=" + id)
	if err != nil {
		return 0, err
	}
	at, err := strconv.ParseInt(strings.TrimPrefix(answer, "200 "), 10, 64)
	return time.Unix(0, at).Sub(left), err
}

// seats are the clients' connections that wait, and since when.
type seats struct {
	mu    sync.Mutex
	since map[net.Conn]time.Time
	early []time.Duration // by which others waited longer than one that was closed
	ages  []time.Duration
}

func (s *seats) sit(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since[c] = time.Now()
}

func (s *seats) stand(c net.Conn, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.since[c]
	delete(s.since, c)
	if !closed {
		return
	}
	longest := since
	for _, at := range s.since {
		if at.Before(longest) {
			longest = at
		}
	}
	s.early = append(s.early, since.Sub(longest))
	s.ages = append(s.ages, time.Since(since))
}

func limited(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	most, n := count(ts, args[0]), count(ts, args[1])
	rest := outside(ts)
	s := &seats{since: make(map[net.Conn]time.Time)}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var failed atomic.Pointer[error]
	for i := range n {
		clients.Go(func() { // ends with stop
			for !pause(stop, rand.N(10*time.Second)) {
				asked := time.Now()
				c, err := w.call(i)
				if err == nil {
					err = c.get("/")
				}
				if err != nil {
					failed.Store(&err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(asked))
				mu.Unlock()
				s.stay(c, stop)
			}
		})
	}
	seen := 0
	for began := time.Now(); time.Since(began) < 30*time.Second; <-time.After(200 * time.Millisecond) {
		seen = max(seen, min(outside(ts), outside(ts))-rest) // not all are seen in one moment
	}
	close(stop)
	clients.Wait()
	if err := failed.Load(); err != nil {
		ts.Fatalf("a new client was not served: %v", *err)
	}
	half, p99, worst := spread(took)
	told(ts, fmt.Sprintf("%d clients, %d new connections, all served: median", n, len(took)), "%v", half)
	told(ts, "the same, p99 and worst", "%v, %v", p99, worst)
	figure(ts, "connections at a time, the one that waits at the door included", seen, most+1)
	age, _, _ := spread(s.ages)
	_, p99, worst = spread(s.early)
	told(ts, fmt.Sprintf("%d connections made room, idle for, median", len(s.ages)), "%v", age)
	figure(ts, "another was idle longer than one that made room by, p99", p99, 100*time.Millisecond)
	told(ts, "the same, worst", "%v", worst)
}

// pause reports whether the end came meanwhile.
func pause(stop <-chan struct{}, d time.Duration) (ended bool) {
	select {
	case <-time.After(d):
		return false
	case <-stop:
		return true
	}
}

// stay keeps a connection, and asks now and then, until it is closed.
func (s *seats) stay(c caller, stop <-chan struct{}) {
	defer c.Close()
	for {
		s.sit(c.Conn)
		c.SetDeadline(time.Now().Add(500*time.Millisecond + rand.N(10*time.Second)))
		_, err := c.Peek(1)
		timeout, _ := err.(net.Error)
		select {
		case <-stop:
			return
		default:
		}
		s.stand(c.Conn, timeout == nil || !timeout.Timeout())
		if timeout == nil || !timeout.Timeout() {
			return
		}
		c.SetDeadline(time.Now().Add(testTimeout))
		if c.get("/") != nil {
			return // it was closed just then
		}
	}
}

// filesOf is how many files a process has open.
func filesOf(pid string) int {
	fds, _ := os.ReadDir("/proc/" + pid + "/fd")
	return len(fds)
}

// outside counts the server's sockets but for those to workers, which the kernel
// lists elsewhere because they speak IPv4 only, or are no network's.
func outside(ts *testscript.TestScript) (n int) {
	open := make(map[string]bool)
	files, _ := filepath.Glob("/proc/" + ts.Getenv("SERVER") + "/fd/*")
	for _, file := range files {
		target, _ := os.Readlink(file)
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			open[strings.TrimSuffix(inode, "]")] = true
		}
	}
	for list, column := range map[string]int{"/proc/net/tcp": 9, "/proc/net/unix": 6} { // proc_net_tcp(5), proc_net(5)
		text, err := os.ReadFile(list)
		ts.Check(err)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > column {
				delete(open, f[column])
			}
		}
	}
	return len(open)
}

// page is the process that answers.
func (w *world) page(ts *testscript.TestScript) (pid string) {
	answer, err := w.get("/")
	ts.Check(err)
	return strings.Fields(answer)[2]
}

func scarce(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	most, n := count(ts, args[0]), count(ts, args[1])
	told(ts, "files of the server at rest", "%d", filesOf(ts.Getenv("SERVER")))
	for _, kind := range []string{"from the start", "afterwards"} {
		if kind == "afterwards" { // so that what it reserved does not help
			ts.Check(exec.Command("prlimit", "--pid="+ts.Getenv("SERVER"), fmt.Sprint("--nofile=", most)).Run())
		}
		w.press(ts, kind, n)
	}
}

// press has clients hold all that the server can open, then ask, then go.
func (w *world) press(ts *testscript.TestScript, kind string, n int) {
	warned, cpu, began := w.warnings(), cpuTime(ts), time.Now()
	held := make([]caller, n)
	ts.Check(together(64, n, func(i int) (err error) {
		if held[i], err = w.call(i); err == nil {
			_, err = io.WriteString(held[i], "GET /events?id="+kind[:1]+strconv.Itoa(i)+" HTTP/1.1\r\nHost: h\r\n\r\n")
		}
		return err
	}))
	<-time.After(10 * time.Second)
	figure(ts, fmt.Sprintf("few files %s, %d streams: %% of a core", kind, n), int(100*float64(cpuTime(ts)-cpu)/float64(time.Since(began))), 20)
	for _, c := range held {
		c.Close()
	}
	gone := time.Now()
	w.until(ts, "the server answers again", func() error { _, err := w.get("/"); return err })
	figure(ts, "the same, gone: the next request is answered after", time.Since(gone).Round(time.Millisecond), 2*time.Second)

	var mu sync.Mutex
	var took []time.Duration
	var failures []string
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() { // ends with stop
			for !pause(stop, rand.N(time.Second)) {
				asked := time.Now()
				c, err := w.call(i)
				if err == nil {
					err = c.get("/")
				}
				mu.Lock()
				if took = append(took, time.Since(asked)); err != nil {
					failures = append(failures, err.Error())
				}
				mu.Unlock()
				pause(stop, rand.N(time.Second)) // it stays open
				if err == nil {
					c.Close()
				}
			}
		})
	}
	<-time.After(10 * time.Second)
	close(stop)
	clients.Wait()
	half, p99, worst := spread(took)
	told(ts, fmt.Sprintf("the same, %d requests of %d clients, median, p99, worst", len(took), n), "%v, %v, %v", half, p99, worst)
	figure(ts, "the same, not answered", len(failures), 0)
	seconds := int(time.Since(began).Seconds())
	figure(ts, fmt.Sprintf("the same, warnings in %d s", seconds), w.warnings()-warned, seconds+1)
}

// warnings are lines that tell of connections that could not be accepted.
func (w *world) warnings() int {
	text, _ := os.ReadFile(w.out)
	return strings.Count(string(text), "cannot accept connections")
}
