package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hasty is for tests in which something comes to a stop.
const hasty = time.Second

func hastyFront(t *testing.T) *front {
	s := generous
	s.ReadTimeout, s.WriteTimeout = hasty, hasty
	return newFront(t, s)
}

func TestABodyThatStopsComingIsA408(t *testing.T) {
	t.Parallel()
	f := hastyFront(t)
	b := newWorker(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	f.route.Serve(b)
	atTimeout(t, hasty, func() time.Duration {
		began := time.Now()
		resp, _ := exchangeRaw(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
		mustStatus(t, resp, http.StatusRequestTimeout)
		return time.Since(began)
	})
	drained(t, b)
}

func TestABodyThatKeepsComingIsNotTimed(t *testing.T) {
	t.Parallel()
	f := hastyFront(t)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	inTime(t, func() error {
		c, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
		tick := time.NewTicker(hasty / 5)
		defer tick.Stop()
		for range 10 { // twice as long as nothing may take
			<-tick.C
			io.WriteString(c, "x")
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || len(body) != 10 {
			return fmt.Errorf("%d %q", resp.StatusCode, body)
		}
		return nil
	})
}

// TestInterimResponsesShowThatTheWorkerIsAtIt has a worker that says so for ten times
// as long as it may say nothing.
func TestInterimResponsesShowThatTheWorkerIsAtIt(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} { // whose clients see none of them
		synctest.Test(t, func(t *testing.T) {
			s := generous
			s.WriteTimeout = hasty
			r := httptest.NewRequest("GET", "/", nil)
			r.Proto, r.ProtoMajor, r.ProtoMinor = proto, 1, int(proto[7]-'0')
			x := newExchange()
			x.start(httptest.NewRecorder(), r, New(s))
			x.stall.watch(true)
			for range 20 {
				<-time.After(hasty / 2)
				x.relay.interim(http.StatusProcessing, make(http.Header))
			}
			if cause := x.why(); cause != nil {
				t.Errorf("%s: while they came: %v", proto, cause)
			}
			<-time.After(2 * hasty)
			if cause := x.why(); cause != errSlowWorker {
				t.Errorf("%s: after the last of them: %v", proto, cause)
			}
		})
	}
}

func TestAWorkerThatDoesNotAnswerIsA504(t *testing.T) {
	t.Parallel()
	f := hastyFront(t)
	b := newWorker(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f.route.Serve(b)
	atTimeout(t, hasty, func() time.Duration {
		began := time.Now()
		resp, _ := do(t, f.Client(), "GET", f.URL, "")
		mustStatus(t, resp, http.StatusGatewayTimeout)
		return time.Since(began)
	})
	drained(t, b)
}

func TestAResponseThatMovesIsNotTimed(t *testing.T) {
	t.Parallel()
	f := hastyFront(t)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", strings.TrimPrefix(r.URL.Path, "/"))
		tick := time.NewTicker(hasty / 5)
		defer tick.Stop()
		for range 10 {
			<-tick.C
			fmt.Fprint(w, "x")
			http.NewResponseController(w).Flush()
		}
	}))
	for _, kind := range []string{"text/event-stream", "text/plain"} {
		inTime(t, func() error {
			resp, body, err := try(f.Client(), "GET", f.URL+"/"+kind, "")
			if err == nil && (resp.StatusCode != 200 || len(body) != 10) {
				err = fmt.Errorf("%s: %d %q", kind, resp.StatusCode, body)
			}
			return err
		})
	}
}

func TestAResponseThatStopsIsCutShort(t *testing.T) {
	t.Parallel()
	f := hastyFront(t)
	b := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "part")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	f.route.Serve(b)
	resp, err := f.Client().Get(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF || string(body) != "part" {
		t.Errorf("%q, %v: it ends as if it were whole", body, err)
	}
	drained(t, b)
}

func TestAClientThatStopsReadingIsCutOff(t *testing.T) {
	t.Parallel()
	f := hastyFront(t)
	b := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		for chunk := make([]byte, 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	f.route.Serve(b)
	c := dialNarrow(t, f.addr(), 4<<10)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	readHead(bufio.NewReader(c))
	eventually(t, "the exchange ends", func() bool { return b.InFlight() == 0 })
}

func TestAnUpgradedConnectionIsTimedWhileNothingMoves(t *testing.T) {
	t.Parallel()
	f := hastyFront(t)
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("echo"))
		io.Copy(c, r)
	})
	f.route.Serve(b)
	inTime(t, func() error {
		c, r := upgrade(t, f, "echo")
		tick := time.NewTicker(hasty / 5)
		defer tick.Stop()
		for range 10 {
			<-tick.C
			io.WriteString(c, "x")
			if _, err := r.ReadByte(); err != nil {
				return err
			}
		}
		idle := time.Now()
		if _, err := r.ReadByte(); err == nil {
			t.Error("it said something")
		}
		if took := time.Since(idle); took < hasty/2 || took > 3*hasty {
			return fmt.Errorf("cut after %v of silence, want %v", took, hasty)
		}
		return nil
	})
	drained(t, b)
}
