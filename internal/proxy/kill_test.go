package proxy

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// runsVar names the file in which a worker process, which is this test binary
// again, notes what it runs.
const runsVar = "PROXY_TEST_RUNS"

// work is the worker process. It ends with its standard input.
func work(runs string) {
	file, err := os.OpenFile(runs, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		os.Exit(1)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // ends with the process
		io.WriteString(file, r.Header.Get("X-Run")+"\n")
		io.Copy(w, r.Body)
	}))
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin)
}

// process is a worker that can be killed.
type process struct {
	*Backend
	cmd *exec.Cmd
	in  io.Closer
}

func startProcess(t *testing.T, runs string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), runsVar+"="+runs)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return &process{Backend: NewBackend(strings.TrimSpace(addr), BackendOptions{}), cmd: cmd, in: in}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.in.Close()
	p.Close()
}

// TestAPOSTNeverRunsTwice kills workers at random, also while their
// predecessors and they have requests under way.
func TestAPOSTNeverRunsTwice(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	runs := filepath.Join(t.TempDir(), "runs")
	if err := os.WriteFile(runs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFront(t, generous)
	var sent, answered atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() { // ends with stop
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				body := strings.Repeat("x", i%3*40_000)
				req, err := http.NewRequest("POST", f.URL, struct{ io.Reader }{strings.NewReader(body)})
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 { // else in chunks
					if req.ContentLength = int64(len(body)); body == "" {
						req.Body = http.NoBody
					}
				}
				if i%5 == 0 {
					req.Header.Set("Expect", "100-continue")
				}
				if i%7 == 0 {
					req.Header.Set("Idempotency-Key", "k")
				}
				req.Header.Set("X-Run", fmt.Sprintf("%d.%d", n, i))
				sent.Add(1)
				resp, err := f.Client().Do(req)
				if err != nil {
					continue // its worker was killed in the response
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					answered.Add(1)
				}
			}
		})
	}
	var old *process
	for range 30 {
		next := startProcess(t, runs)
		f.route.Serve(next.Backend)
		if old != nil {
			old.kill()
		}
		<-time.After(time.Duration(chance.IntN(30)) * time.Millisecond)
		if old = next; chance.IntN(2) == 0 { // a death before anybody else serves
			old.kill()
			old = nil
		}
	}
	last := startProcess(t, runs)
	f.route.Serve(last.Backend)
	close(stop)
	clients.Wait()
	if last.kill(); old != nil {
		old.kill()
	}
	text, err := os.ReadFile(runs)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(map[string]int)
	for id := range strings.Lines(string(text)) {
		if ran[id]++; ran[id] == 2 {
			t.Errorf("%s ran twice", strings.TrimSpace(id))
		}
	}
	if n := int64(len(ran)); n < answered.Load() || answered.Load() == 0 {
		t.Errorf("%d were answered, and %d ran", answered.Load(), n)
	}
	t.Logf("%d sent, %d ran, %d answered", sent.Load(), len(ran), answered.Load())
}
