package worker_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tqserver/pkg/worker"
)

func TestAPageSaysThatItListensAndNothingElse(t *testing.T) {
	t.Parallel()
	p := launch(t, os.Args[0], freePort(t), "TQ_TEST_ROLE=page")
	if said := p.readyByte(); said != "r" {
		t.Fatalf("page said %q; want r and the end of the pipe", said)
	}
	if got := p.get("/count"); got != "1 false\n" {
		t.Errorf("answer is %q", got)
	}
	p.signal(syscall.SIGTERM)
	p.wantGoodbye()
	if p.stderr.Len() > 0 {
		t.Errorf("page printed %q under a server", p.stderr)
	}
}

func TestAPageWhosePortIsTakenSaysSo(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := launch(t, os.Args[0], l.Addr().(*net.TCPAddr).Port, "TQ_TEST_ROLE=page")
	if said := p.readyByte(); said != "x" {
		t.Errorf("page said %q; want x and the end of the pipe", said)
	}
	<-p.done
	if p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(p.stderr.String(), "address already in use") {
		t.Errorf("page ended with %v and %q", p.cmd.ProcessState, p.stderr)
	}
}

func TestAPageWithoutAHandlerServesTheDefaultMux(t *testing.T) {
	t.Parallel()
	p := startProgram(t, os.Args[0], "TQ_TEST_ROLE=default mux")
	if got := p.get("/"); got != "default" {
		t.Errorf("answer is %q", got)
	}
}

func TestAPageByHandSaysWhereItIs(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	p := &page{T: t, port: port}
	stderr, theirs := pipe(t)
	p.run(os.Args[0], theirs, nil, []string{"TQ_TEST_ROLE=page", "TQ_PORT=" + strconv.Itoa(port)})
	theirs.Close()
	want := fmt.Sprintf("listening on http://127.0.0.1:%d\n", port)
	line := make([]byte, len(want))
	if _, err := io.ReadFull(stderr, line); err != nil || string(line) != want {
		t.Fatalf("page printed %q, %v; want %q", line, err, want)
	}
	if got := p.get("/count"); got != "1 false\n" {
		t.Errorf("answer is %q", got)
	}
	p.signal(syscall.SIGINT)
	p.wantGoodbye()
	if rest, _ := io.ReadAll(stderr); len(rest) > 0 {
		t.Errorf("page printed %q as well", rest)
	}
}

func TestAPageByHandWhosePortIsTakenTellsAWayOut(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	runtime := &worker.Runtime{Port: l.Addr().(*net.TCPAddr).Port}
	err = runtime.StartServer(nil)
	if err == nil || !strings.Contains(err.Error(), "set TQ_PORT to a free port") {
		t.Errorf("error is %v", err)
	}
}

func TestRequestsUnderWayFinishAfterASignal(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			p := start(t, "TQ_SHUTDOWN_GRACE_PERIOD_MS=60000")
			body, upload := io.Pipe()
			answer := p.begin("/body", body).awaitBegun()
			p.signal(sig)
			p.awaitRefusal()
			upload.Close()
			if got := answer.rest(); got != "finished true\n" {
				t.Errorf("answer is %q", got)
			}
			p.wantGoodbye()
		})
	}
}

func TestAnIdlePageEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "TQ_SHUTDOWN_GRACE_PERIOD_MS=600000")
	p.get("/count") // leaves an idle connection
	within(t, 0, testTimeout, func() {
		p.signal(syscall.SIGTERM)
		p.wantGoodbye()
	})
}

func TestStreamsEndAtFourFifthsOfTheGrace(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/stream", "/hijack"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			inTime(t, 3200*time.Millisecond, 3550*time.Millisecond, func() time.Duration {
				p := start(t, "TQ_SHUTDOWN_GRACE_PERIOD_MS=4000")
				answer := p.begin(path, nil).awaitBegun()
				begin := time.Now()
				p.signal(syscall.SIGTERM)
				if got := answer.rest(); !strings.HasPrefix(got, "finished") {
					t.Errorf("stream ends with %q", got)
				}
				p.wantGoodbye()
				return time.Since(begin)
			})
		})
	}
}

func TestAHandlerThatNeverReturnsIsLeftBehind(t *testing.T) {
	t.Parallel()
	p := start(t, "TQ_SHUTDOWN_GRACE_PERIOD_MS=1000", "TQ_TEST_LEAKS=one")
	answer := p.begin("/deaf", nil).awaitBegun()
	within(t, 900*time.Millisecond, testTimeout, func() {
		p.signal(syscall.SIGTERM)
		p.wantGoodbye()
	})
	if rest, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("response %q was ended as if it were whole", rest)
	}
}

func TestWithoutAGraceThePageEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "TQ_SHUTDOWN_GRACE_PERIOD_MS=0", "TQ_TEST_LEAKS=one")
	p.begin("/deaf", nil).awaitBegun()
	p.signal(syscall.SIGTERM)
	p.wantGoodbye()
}

func TestASecondSignalEndsThePageAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "TQ_SHUTDOWN_GRACE_PERIOD_MS=600000", "TQ_TEST_LEAKS=one")
	p.begin("/deaf", nil).awaitBegun()
	p.signal(syscall.SIGINT)
	p.awaitRefusal()
	within(t, 0, testTimeout, func() {
		p.signal(syscall.SIGTERM)
		p.wantGoodbye()
	})
}

func TestThePageEndsWithItsServer(t *testing.T) {
	t.Parallel()
	inTime(t, 400*time.Millisecond, time.Second, func() time.Duration {
		p := start(t, "TQ_SHUTDOWN_GRACE_PERIOD_MS=60000")
		answer := p.begin("/stream", nil).awaitBegun()
		begin := time.Now()
		p.alive.Close()
		if got := answer.rest(); got != "finished true\n" {
			t.Errorf("stream ends with %q", got)
		}
		p.wantGoodbye()
		return time.Since(begin)
	})
}

func TestAnEndingIsShortenedWhenTheServerGoes(t *testing.T) {
	t.Parallel()
	inTime(t, 450*time.Millisecond, time.Second, func() time.Duration {
		p := start(t, "TQ_SHUTDOWN_GRACE_PERIOD_MS=60000", "TQ_TEST_LEAKS=one")
		p.begin("/deaf", nil).awaitBegun()
		p.signal(syscall.SIGTERM)
		p.awaitRefusal()
		begin := time.Now()
		p.alive.Close()
		p.wantGoodbye()
		return time.Since(begin)
	})
}

func TestALineToABrokenStderrDoesNotEndThePage(t *testing.T) {
	t.Parallel()
	ready, theirReady := pipe(t)
	theirAlive, alive := pipe(t)
	stderr, theirStderr := pipe(t)
	p := &page{T: t, port: freePort(t), ready: ready, alive: alive}
	p.run(os.Args[0], theirStderr, []*os.File{theirReady, theirAlive}, []string{
		"TQ_TEST_ROLE=page", "TQ_PORT=" + strconv.Itoa(p.port), "TQ_READY_FD=3", "TQ_ALIVE_FD=4"})
	if said := p.readyByte(); said != "r" {
		t.Skipf("page said %q: its port is taken", said)
	}
	body, upload := io.Pipe()
	answer := p.begin("/body", body).awaitBegun()
	theirStderr.Close()
	stderr.Close()
	alive.Close()
	p.awaitRefusal()
	upload.Close()
	if got := answer.rest(); got != "finished true\n" {
		t.Errorf("answer is %q", got)
	}
	p.wantGoodbye()
}

func TestAStreamOutlivesTheReadTimeout(t *testing.T) {
	t.Parallel()
	p := start(t, "TQ_READ_TIMEOUT_SECONDS=1")
	if got := p.begin("/patient", nil).awaitBegun().rest(); got != "finished\n" {
		t.Errorf("stream ends with %q", got)
	}
}

func TestAResponseIsCutOffAtTheWriteTimeout(t *testing.T) {
	t.Parallel()
	p := start(t, "TQ_WRITE_TIMEOUT_SECONDS=1")
	answer := p.begin("/patient", nil).awaitBegun()
	if rest, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("response goes on with %q", rest)
	}
	if got := p.begin("/extended", nil).awaitBegun().rest(); got != "finished\n" {
		t.Errorf("a response with a deadline of its own ends with %q", got)
	}
}

func TestRequestsAreCountedButForHealth(t *testing.T) {
	t.Parallel()
	p := start(t, "TQ_MAX_REQUESTS=3")
	for _, test := range []struct{ path, want string }{
		{"/count", "1 false\n"},
		{"/health", ""},
		{"/healthy", "404 page not found\n"},
		{"/health", ""},
		{"/count", "3 true\n"},
		{"/count", "4 true\n"}, // the worker goes on, because the server replaces it
	} {
		if got := p.get(test.path); got != test.want {
			t.Errorf("GET %s is %q; want %q", test.path, got, test.want)
		}
	}
}

func TestChildrenOfThePageDoNotInheritItsPipes(t *testing.T) {
	t.Parallel()
	p := start(t)
	if got := p.get("/child"); got != "" {
		t.Errorf("a child has what it should not:\n%s", got)
	}
}
