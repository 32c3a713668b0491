package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestFiguresHTTP measures what clients may do to the server without its
// minding, with the commands of TestScripts and
//
//	crowded IDLE SLOW        connections that wait, others that never end a header
//	bodies BYTES             up and down at once, and both in one exchange
//	abandoned N              N clients of each kind that leave midway
//	limited MOST N           N clients for whom there is not enough room
//	scarce MOST N            N clients, and the server may open MOST files
//
// The clients are in this process, which is not the server's.
func TestFiguresHTTP(t *testing.T) {
	if !*figures {
		t.Skip("run by make figures-http")
	}
	commands := scriptCommands()
	commands["crowded"], commands["bodies"], commands["abandoned"], commands["limited"], commands["scarce"] = crowded, bodies, abandoned, limited, scarce
	testscript.Run(t, testscript.Params{Dir: "testdata/figures-http", Cmds: commands, Setup: func(env *testscript.Env) error {
		page, err := os.ReadFile(filepath.Join(testdata, "loaded.go.txt"))
		if err != nil {
			return err
		}
		if err := writeNew(filepath.Join(env.WorkDir, "pages", "index", "main.go"), string(page)); err != nil {
			return err
		}
		return setup(env)
	}})
}

// figure prints what was measured, and fails if that is more than it may be.
func figure[T int | time.Duration](ts *testscript.TestScript, name string, got, most T) {
	ts.Logf("figure  %-64s %12v  at most %v", name, got, most)
	if got > most {
		ts.Fatalf("%s: that is too much", name)
	}
}

// told prints what was measured and has no bound.
func told(ts *testscript.TestScript, name, format string, args ...any) {
	ts.Logf("figure  %-64s %12s", name, fmt.Sprintf(format, args...))
}

// spread sorts and returns the median, the 99th percentile and the worst.
func spread(all []time.Duration) (half, most, worst time.Duration) {
	slices.Sort(all)
	at := func(i int) time.Duration { return all[i].Round(10 * time.Microsecond) }
	return at(len(all) / 2), at(len(all) * 99 / 100), at(len(all) - 1)
}

func count(ts *testscript.TestScript, arg string) int {
	n, err := strconv.Atoi(arg)
	ts.Check(err)
	return n
}

// caller is a connection of a client that asks one thing at a time.
type caller struct {
	net.Conn
	*bufio.Reader
}

// call opens a connection, on an address of its own each few thousand: one has
// ports for 28,000.
func (w *world) call(i int) (caller, error) {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(w.url, "http://"))
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.%d:%s", 1+i%16, port))
	if err != nil {
		return caller{}, err
	}
	c.SetDeadline(time.Now().Add(2 * testTimeout))
	return caller{c, bufio.NewReaderSize(c, 512)}, nil
}

func (c caller) get(path string) error {
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		return err
	}
	return c.answer()
}

func (c caller) answer() error {
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		return err
	}
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return err
}

func (c caller) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// memory keeps the most that the server's memory was.
type memory struct {
	most atomic.Int64
	stop chan struct{}
	done sync.WaitGroup
}

func watchMemory(ts *testscript.TestScript) *memory {
	m := &memory{stop: make(chan struct{})}
	m.done.Go(func() { // ends with stop
		for {
			m.most.Store(max(m.most.Load(), int64(resident(ts))))
			select {
			case <-time.After(20 * time.Millisecond):
			case <-m.stop:
				return
			}
		}
	})
	return m
}

func (m *memory) finish() (kib int) {
	close(m.stop)
	m.done.Wait()
	return int(m.most.Load())
}

func crowded(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	n, slow := count(ts, args[0]), count(ts, args[1])
	before, mem := resident(ts), watchMemory(ts)
	began := time.Now()
	idle := make([]caller, n)
	failed := together(64, n, func(i int) (err error) {
		if idle[i], err = w.call(i); err == nil {
			err = idle[i].get("/")
		}
		return err
	})
	ts.Check(failed)
	told(ts, fmt.Sprintf("%d connections opened, one request each, in", n), "%v", time.Since(began).Round(time.Millisecond))
	crowd := resident(ts)
	told(ts, "memory of each, KiB", "%.1f", float64(crowd-before)/float64(n))

	stop := make(chan struct{})
	var slowly sync.WaitGroup
	var cut atomic.Int64
	for i := range slow {
		slowly.Go(func() { w.loiter(i, stop, &cut) }) // ends with stop
	}
	var took []time.Duration
	for began := time.Now(); time.Since(began) < 25*time.Second; <-time.After(10 * time.Millisecond) {
		asked := time.Now()
		c, err := w.call(len(took))
		ts.Check(err)
		ts.Check(c.get("/"))
		c.Close()
		took = append(took, time.Since(asked))
	}
	half, most, worst := spread(took)
	told(ts, fmt.Sprintf("%d requests on new connections meanwhile, median", len(took)), "%v", half)
	figure(ts, "the same, p99", most, 50*time.Millisecond)
	told(ts, "the same, worst", "%v", worst)
	told(ts, "slow headers cut", "%d", cut.Load())
	ts.Check(together(64, n, func(i int) error { return idle[i].get("/") })) // none was closed
	figure(ts, "memory of the server, MiB", mem.finish()>>10, 400)

	close(stop)
	slowly.Wait()
	for _, c := range idle {
		c.Close()
	}
	gone := time.Now()
	for resident(ts)-before > 30<<10 && time.Since(gone) < 60*time.Second {
		<-time.After(100 * time.Millisecond)
	}
	figure(ts, "memory given back but for 30 MiB after", time.Since(gone).Round(100*time.Millisecond), 60*time.Second)
	<-time.After(5 * time.Second)
	told(ts, "memory before, and 5 s later, MiB", "%d, %d", before>>10, resident(ts)>>10)
}

// together does n things, some at a time, and returns an error of one.
func together(width, n int, do func(i int) error) (failed error) {
	var next atomic.Int64
	var doing sync.WaitGroup
	var once sync.Once
	for range width {
		doing.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					once.Do(func() { failed = fmt.Errorf("the one of number %d: %w", i, err) })
				}
			}
		})
	}
	doing.Wait()
	return failed
}

// loiter sends a byte of a header a second, again and again.
func (w *world) loiter(i int, stop <-chan struct{}, cut *atomic.Int64) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		c, err := w.call(i)
		if err == nil {
			_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ")
		}
		for err == nil {
			select {
			case <-second.C:
				_, err = io.WriteString(c, "x")
			case <-stop:
				c.Close()
				return
			}
		}
		cut.Add(1)
		if c.Conn != nil {
			c.Close()
		}
	}
}

func bodies(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	w.client.Timeout = 0
	n := int64(count(ts, args[0]))
	for _, way := range []string{"up and down at once", "up and down in one exchange"} {
		before, mem := resident(ts), watchMemory(ts)
		began := time.Now()
		if way == "up and down at once" {
			ts.Check(together(2, 2, func(i int) error { return []func(int64) error{w.upload, w.download}[i](n) }))
		} else {
			ts.Check(w.echo(n))
		}
		took := time.Since(began)
		figure(ts, fmt.Sprintf("%d MB %s, equal hashes: memory grows by KiB", n/1e6, way), mem.finish()-before, 16<<10)
		told(ts, "the same, MB/s in each direction", "%.0f", float64(n)/1e6/took.Seconds())
	}
}

// content is what bodies consist of.
func content(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), n) }

func (w *world) upload(n int64) error {
	sum := sha256.New()
	resp, err := w.client.Post(w.url+"/sink", "", io.TeeReader(content(n), sum))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if want := fmt.Sprintf("%d %x <nil>", n, sum.Sum(nil)); err == nil && string(got) != want {
		err = fmt.Errorf("%s arrived of %s", got, want)
	}
	return err
}

func (w *world) download(n int64) error {
	resp, err := w.client.Get(fmt.Sprintf("%s/source?bytes=%d", w.url, n))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	got, err := io.Copy(sum, resp.Body)
	if want := fmt.Sprintf("%x", sum.Sum(nil)); err == nil && (got != n || resp.Trailer.Get("Sum") != want) {
		err = fmt.Errorf("%d bytes, %s arrived of %s", got, want, resp.Trailer.Get("Sum"))
	}
	return err
}

func (w *world) echo(n int64) error {
	sent, came := sha256.New(), sha256.New()
	resp, err := w.client.Post(w.url+"/echo", "", io.TeeReader(content(n), sent))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.Copy(came, resp.Body)
	if err == nil && (got != n || string(sent.Sum(nil)) != string(came.Sum(nil))) {
		err = fmt.Errorf("%d bytes came back, or others", got)
	}
	return err
}
