package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"

	"tqserver/internal/server"
	"tqserver/internal/state"
	"tqserver/tui"
)

func TestMain(m *testing.M) {
	if server.RunGuardian() {
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"tqserver": func() {
		if os.Getenv("SCREEN_PANICS") != "" {
			runScreen = func(ctx context.Context, src state.Source, look tui.Options) (bool, error) {
				return tui.Run(ctx, panics{src}, look)
			}
		}
		main()
	}})
}

// panics is a source that breaks the screen when a command is given.
type panics struct{ state.Source }

func (panics) Do(context.Context, state.Command) error { panic("a mistake in the screen") }

// testTimeout is how long a script waits for what must happen.
const testTimeout = 30 * time.Second

// TestScripts runs testdata/script: each is a promise to users, kept by the
// real program on real pages. The commands are those of [testscript] and
//
//	page DIR TEXT [MODE]    save DIR/main.go in place: a page that says TEXT
//	swap-page DIR TEXT      the same, saved by renaming over it
//	edit FILE OLD NEW       replace text in a file, in place
//	serve [FLAG...]         start the server, and wait until it listens
//	quit [SIGNAL [CODE]]    end it, and wait until it and its workers are gone
//	get PATH [HEADER...]    print the answer of GET PATH, with its status, and
//	                        with its headers if any were sent
//	await PATH PATTERN      ask until the answer matches
//	note VAR PATH PATTERN   keep what the pattern's group matches of an answer
//	log PATTERN             wait until the server said so
//	load PATH, unload       keep-alive clients, none of whose requests may fail
//	begin PATH, end PATTERN a request beside the script, and its answer
//	workers N               wait until N workers run
//	signal SIGNAL PID       to any process
//	hold PORT, release      be another program that listens
//	after DURATION          let time pass
//	raw BYTES [leave]       send what may be no request, and print the answer
//	file GLOB PATTERN       wait until a file has a line
func TestScripts(t *testing.T) {
	namespaces := func(string) (bool, error) { // is the only condition
		return exec.Command("unshare", "-pf", "--mount-proc", "true").Run() == nil, nil
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: setup, Cmds: scriptCommands(), Condition: namespaces, RequireUniqueNames: true})
}

func scriptCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	commands := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"page": savePage, "swap-page": swapPage, "edit": edit, "serve": serve, "quit": quit, "get": get, "await": await, "note": note,
		"log": waitLog, "load": loadOn, "unload": unload, "begin": begin, "end": end, "workers": workers, "signal": sendSignal,
		"hold": hold, "release": release, "after": after, "raw": raw, "file": waitFile, "doze": doze,
	}
	maps.Copy(commands, screenCommands)
	maps.Copy(commands, socketCommands)
	return commands
}

// world is what a script has going.
type world struct {
	work   string
	url    string
	client http.Client

	cmd    *exec.Cmd
	exited chan struct{}
	out    string // file of stdout and stderr

	stopLoad context.CancelFunc
	loading  sync.WaitGroup
	requests atomic.Int64
	failure  atomic.Pointer[string]

	begun  chan string
	listen net.Listener
	socket string // of tmux

	sockets map[string]*websocket.Conn
}

type worldKey struct{}

func of(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func setup(env *testscript.Env) error {
	w := &world{work: env.WorkDir, begun: make(chan string, 16), out: filepath.Join(env.WorkDir, "server.out")}
	w.client.Transport = &http.Transport{DisableKeepAlives: true}
	w.client.Timeout = testTimeout
	env.Values[worldKey{}] = w
	env.Defer(w.clean)
	port := freePorts()
	w.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	bin, err := os.MkdirTemp("", "tqbin")
	if err != nil {
		return err
	}
	env.Defer(func() { os.RemoveAll(bin) })
	vars := map[string]string{
		"PORT": strconv.Itoa(port), "FIRST": strconv.Itoa(port + 1), "SECOND": strconv.Itoa(port + 2), "UPTO": strconv.Itoa(port + 18), "LAST": strconv.Itoa(port + 19), "BIN": bin, "URL": w.url, "SCREEN_TERM": "xterm-256color",
	}
	for key, value := range vars {
		env.Setenv(key, value)
	}
	for _, key := range []string{"GOCACHE", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", key).Output()
		if err != nil {
			return err
		}
		env.Setenv(key, strings.TrimSpace(string(out)))
	}
	env.Setenv("TOOLS", filepath.Dir(program(env.Getenv("PATH")))) // a PATH without a go command
	repo, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	env.Setenv("REPO", repo)
	if err := writeNew(filepath.Join(w.work, "go.mod"), "module demo\n\ngo 1.26.0\n\nrequire tqserver v0.0.0\n\nreplace tqserver => "+repo+"\n"); err != nil {
		return err
	}
	config := filepath.Join(w.work, "config", "server.yaml")
	if err := writeNew(config, "server:\n  port: $PORT\nworkers:\n  temp_dir: $BIN\n  port_range_start: $FIRST\n  port_range_end: $LAST\n"); err != nil {
		return err
	}
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	return os.WriteFile(config, []byte(os.Expand(string(text), func(key string) string { return vars[key] })), 0o644)
}

// writeNew writes a file that the script does not bring along.
func writeNew(path, text string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	os.MkdirAll(filepath.Dir(path), 0o755)
	return os.WriteFile(path, []byte(text), 0o644)
}

var nextPort = 10000 + os.Getpid()%400*50

var portMu sync.Mutex

// freePorts returns the first of twenty ports in a row that are free.
func freePorts() int {
	portMu.Lock()
	defer portMu.Unlock()
search:
	for {
		nextPort += 20
		if nextPort > 32000 {
			nextPort = 10000
		}
		for port := nextPort; port < nextPort+20; port++ {
			l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
			if err != nil {
				continue search
			}
			l.Close()
		}
		return nextPort
	}
}

func (w *world) clean() {
	w.closeScreen()
	if w.stopLoad != nil {
		w.stopLoad()
		w.loading.Wait()
	}
	if w.listen != nil {
		w.listen.Close()
	}
	for _, c := range w.sockets {
		c.CloseNow()
	}
	if w.cmd != nil {
		w.cmd.Process.Kill()
		<-w.exited
	}
	if pid, err := serverIn(w.work); err == nil { // of a terminal that is gone
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func savePage(ts *testscript.TestScript, neg bool, args []string) {
	mode := "ok"
	switch {
	case neg || len(args) < 2 || len(args) > 3:
		ts.Fatalf("usage: page DIR TEXT [MODE]")
	case len(args) == 3:
		mode = args[2]
	}
	file := ts.MkAbs(filepath.Join(args[0], "main.go"))
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	ts.Check(os.WriteFile(file, pageText(ts, args[1], mode), 0o644))
}

func swapPage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: swap-page DIR TEXT")
	}
	file := ts.MkAbs(filepath.Join(args[0], "main.go"))
	ts.Check(os.WriteFile(file+"~", pageText(ts, args[1], "ok"), 0o644))
	ts.Check(os.Rename(file+"~", file))
}

func pageText(ts *testscript.TestScript, text, mode string) []byte {
	page, err := os.ReadFile(filepath.Join(testdata, "page.go.txt"))
	ts.Check(err)
	page = bytes.Replace(page, []byte("TEXT"), []byte(text), 1)
	return bytes.Replace(page, []byte("MODE"), []byte(mode), 1)
}

var testdata, _ = filepath.Abs("testdata")

func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o644))
}

func serve(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	if w.cmd != nil {
		ts.Fatalf("a server runs already")
	}
	path := program(ts.Getenv("PATH"))
	out, err := os.Create(w.out)
	ts.Check(err)
	defer out.Close()
	cmd := exec.Command(path, args...)
	if files := ts.Getenv("FILES"); files != "" { // that it may open
		cmd = exec.Command("sh", append([]string{"-c", "ulimit -n " + files + `; exec "$0" "$@"`, path}, args...)...)
	}
	if ts.Getenv("CONTAINER") != "" {
		cmd = contained(path, args)
	}
	cmd.Dir = ts.MkAbs(".")
	cmd.Stdout, cmd.Stderr = out, out
	for _, key := range []string{"PATH", "HOME", "GOCACHE", "GOMODCACHE", "GORACE"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	cmd.Env = append(cmd.Env, "PWD="+cmd.Dir) // as a shell does
	ts.Check(cmd.Start())
	w.cmd, w.exited = cmd, make(chan struct{})
	go func() { cmd.Wait(); close(w.exited) }() // ends with the server
	ts.Setenv("SERVER", strconv.Itoa(cmd.Process.Pid))
	w.until(ts, "the server listens", func() error {
		select {
		case <-w.exited:
			text, _ := os.ReadFile(w.out)
			ts.Fatalf("the server ended: %s", text)
		default:
		}
		c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err == nil {
			c.Close()
		}
		return err
	})
}

// program finds tqserver, which testscript puts first in the script's PATH.
func program(path string) string {
	return filepath.Join(filepath.SplitList(path)[0], "tqserver")
}

// until waits for something.
func (w *world) until(ts *testscript.TestScript, what string, holds func() error) {
	var err error
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	text, _ := os.ReadFile(w.out)
	ts.Fatalf("waited %v for: %s: %v\nserver:\n%s", testTimeout, what, err, text)
}

func quit(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	sig, code := "TERM", 0
	if len(args) > 0 {
		sig = args[0]
	}
	if len(args) > 1 {
		code, _ = strconv.Atoi(args[1])
	}
	if w.cmd == nil {
		ts.Fatalf("no server runs")
	}
	ts.Check(w.cmd.Process.Signal(signals[sig]))
	select {
	case <-w.exited:
	case <-time.After(testTimeout):
		ts.Fatalf("the server does not end")
	}
	if got := w.cmd.ProcessState.ExitCode(); sig != "KILL" && got != code {
		ts.Fatalf("the server ended with %d, not %d", got, code)
	}
	w.cmd = nil
	began := time.Now()
	last, slowest := began, time.Duration(0) // of two looks one after another: this machine's part
	w.until(ts, "the workers and their children are gone", func() error {
		err := wantNobody(ts)
		slowest = max(slowest, time.Since(last))
		last = time.Now()
		return err
	})
	if took := last.Sub(began); took > time.Second+10*slowest {
		ts.Fatalf("workers outlived the server by %v, and two looks took no more than %v", took, slowest)
	}
}

var signals = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "QUIT": syscall.SIGQUIT}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: signal SIGNAL PID")
	}
	pid, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(syscall.Kill(pid, signals[args[0]]))
}

// workers are the processes that run a binary of this script's pages.
func workers(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	of(ts).until(ts, args[0]+" workers run", func() error { return wantWorkers(ts, n) })
}

func wantWorkers(ts *testscript.TestScript, n int) error {
	exes, _ := filepath.Glob("/proc/[0-9]*/exe")
	var found []string
	for _, exe := range exes {
		if target, err := os.Readlink(exe); err == nil && strings.HasPrefix(target, ts.Getenv("BIN")+"/") {
			found = append(found, filepath.Base(filepath.Dir(exe)))
		}
	}
	if len(found) != n {
		return fmt.Errorf("there are %d: %v", len(found), found)
	}
	return nil
}

// wantNobody looks for processes in the project's folder: the server, workers
// and their children all run there.
func wantNobody(ts *testscript.TestScript) error {
	cwds, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, cwd := range cwds {
		if target, err := os.Readlink(cwd); err == nil && target == ts.Getenv("WORK") {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(cwd), "cmdline"))
			return fmt.Errorf("%s is left: %q", filepath.Dir(cwd), line)
		}
	}
	return wantWorkers(ts, 0)
}

func (w *world) get(path string, headers ...string) (string, error) {
	return w.getTraced(context.Background(), path, headers...)
}

func (w *world) getTraced(ctx context.Context, path string, headers ...string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	if err != nil {
		return "", err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var text strings.Builder
	fmt.Fprintf(&text, "%d ", resp.StatusCode)
	if len(headers) > 0 {
		resp.Header.Write(&text)
	}
	_, err = io.Copy(&text, resp.Body)
	return text.String(), err
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	answer, err := of(ts).get(args[0], args[1:]...)
	if (err != nil) != neg {
		ts.Fatalf("GET %s: %v, %q", args[0], err, answer)
	}
	fmt.Fprint(ts.Stdout(), answer)
}

// doze asks a page at about the moment at which its worker is stopped because
// nobody asks.
func doze(ts *testscript.TestScript, neg bool, args []string) {
	limit, err := time.ParseDuration(args[1])
	ts.Check(err)
	for range 10 {
		<-time.After(limit + rand.N(limit*3/10))
		if answer, err := of(ts).get(args[0]); err != nil || !strings.HasPrefix(answer, "200 ") {
			ts.Fatalf("GET %s: %v, %q", args[0], err, answer)
		}
	}
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	w, want := of(ts), regexp.MustCompile(`(?m)`+args[1])
	w.until(ts, "GET "+args[0]+" answers "+args[1], func() error {
		answer, err := w.get(args[0])
		if err == nil && want.MatchString(answer) == neg {
			err = fmt.Errorf("it answers %q", answer)
		}
		return err
	})
}

func note(ts *testscript.TestScript, neg bool, args []string) {
	answer, err := of(ts).get(args[1])
	ts.Check(err)
	m := regexp.MustCompile(`(?m)` + args[2]).FindStringSubmatch(answer)
	if m == nil {
		ts.Fatalf("GET %s answers %q", args[1], answer)
	}
	ts.Setenv(args[0], m[1])
}

func waitLog(ts *testscript.TestScript, neg bool, args []string) {
	w, want := of(ts), regexp.MustCompile(`(?m)`+args[0])
	said := func() bool {
		text, _ := os.ReadFile(w.out)
		return want.Match(text)
	}
	if neg {
		if said() {
			ts.Fatalf("the server said %s", args[0])
		}
		return
	}
	w.until(ts, "the server says "+args[0], func() error {
		if !said() {
			return errors.New("it does not")
		}
		return nil
	})
}

// load keeps eight clients asking.
func loadOn(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	ctx, cancel := context.WithCancel(context.Background())
	w.stopLoad = cancel
	w.requests.Store(0)
	for range 8 {
		client := &http.Client{Transport: &http.Transport{}, Timeout: testTimeout}
		w.loading.Go(func() { // ends with ctx
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				if err := getOnce(ctx, client, w.url+args[0]); err != nil && ctx.Err() == nil {
					failure := err.Error()
					w.failure.CompareAndSwap(nil, &failure)
				}
				w.requests.Add(1)
			}
		})
	}
}

func getOnce(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("a body")) // which is never sent twice
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	return err
}

// enough requests are some of which is known how they fared.
const enough = 50

func unload(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	for end := time.Now().Add(testTimeout); w.requests.Load() < enough && w.failure.Load() == nil && time.Now().Before(end); {
		<-time.After(time.Millisecond) // a busy machine answers fewer
	}
	w.stopLoad()
	w.loading.Wait()
	if failure := w.failure.Load(); failure != nil {
		ts.Fatalf("of %d requests one at least failed: %s", w.requests.Load(), *failure)
	}
	if n := w.requests.Load(); n < enough {
		ts.Fatalf("only %d requests were made", n)
	}
	ts.Logf("%d requests, none failed", w.requests.Load())
}

func begin(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	sent := make(chan struct{})
	done := sync.OnceFunc(func() { close(sent) })
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { done() }}
	go func() { // ends with the answer, or the client's timeout
		answer, err := w.getTraced(httptrace.WithClientTrace(context.Background(), trace), args[0])
		if err != nil {
			answer = "error: " + err.Error()
		}
		done()
		w.begun <- answer
	}()
	<-sent
}

func end(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	answer := <-w.begun
	if regexp.MustCompile(args[0]).MatchString(answer) == neg {
		text, _ := os.ReadFile(w.out)
		ts.Fatalf("the answer is %q\nserver:\n%s", answer, text)
	}
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	l, err := net.Listen("tcp4", "127.0.0.1:"+args[0])
	ts.Check(err)
	w.listen = l
	go http.Serve(l, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprintln(rw, "another program") })) // ends with l
}

func release(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	w.listen.Close()
	w.listen = nil
}

func after(ts *testscript.TestScript, neg bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	<-time.After(d)
}
