package wire

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAClientThatDisconnectsCancelsItsRequest(t *testing.T) {
	t.Parallel()
	began, left := make(chan struct{}), make(chan time.Time)
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/waits" {
			return
		}
		io.CopyN(io.Discard, r.Body, 3)
		close(began)
		<-r.Context().Done()
		left <- time.Now()
	})
	const chunked = "POST /waits HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, request := range []string{
		"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n" + victim,
		"GET /waits HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly",
		"POST /waits HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
		chunked + "3\r\nabc\r\n0\r\n\r\n",
		"POST /waits HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\nabc",
		chunked + "3\r\nabc\r\n",
	} {
		for _, after := range []time.Duration{0, checkInterval, 4 * checkInterval} {
			inTime(t, func() error {
				began = make(chan struct{})
				c, r := d.dial()
				io.WriteString(c, victim)
				if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
					t.Fatal(resp, err)
				}
				io.WriteString(c, request)
				<-began
				<-time.After(after)
				c.Close()
				at := time.Now()
				select {
				case told := <-left:
					if took := told.Sub(at); took > 100*time.Millisecond {
						return fmt.Errorf("%q, left after %v: the handler was told after %v", request, after, took)
					}
				case <-time.After(testTimeout):
					t.Fatalf("%q, left after %v: the handler was not told", request, after)
				}
				return nil
			})
		}
	}
}

// A long request loses neither what the client sends meanwhile nor a deadline.
func TestAConnectionIsReadOnAfterALongRequest(t *testing.T) {
	t.Parallel()
	s := generous
	s.IdleTimeout = 20 * checkInterval
	d := startServer(t, s, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			t.Error("a request was cancelled")
		case <-time.After(4 * checkInterval):
		}
		if r.Header.Get("Upgrade") != "" {
			upgrade(w, r)
			return
		}
		io.WriteString(w, r.URL.Path)
	})
	c, r := d.dial()
	for _, send := range []string{victim, victim + victim, victim} {
		io.WriteString(c, send)
		for range len(send) / len(victim) {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(resp.Body); string(body) != "/victim" {
				t.Errorf("%q came", body)
			}
		}
	}
	idle := time.Now()
	if _, err := r.ReadByte(); err != io.EOF || time.Since(idle) < 2*checkInterval {
		t.Errorf("%v after %v", err, time.Since(idle))
	}
	c, r = d.dial()
	io.WriteString(c, "GET /yes HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly, ")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	io.WriteString(c, "late, ")
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != "early, late, bye" {
		t.Errorf("%q, %v", got, err)
	}
}

// Requests of all lengths follow each other, and pieces of the next arrive at any
// time.
func TestNothingIsLostBetweenChecks(t *testing.T) {
	t.Parallel()
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if rand.N(3) == 0 {
			<-time.After(rand.N(3 * checkInterval))
		}
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
		w.Write(body)
	})
	var clients sync.WaitGroup
	for range 32 {
		c, r := d.dial()
		const requests = 40
		clients.Go(func() {
			for i := range requests {
				body := strings.Repeat("x", rand.N(3)) + fmt.Sprint(i)
				request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				cut := rand.N(len(request))
				io.WriteString(c, request[:cut])
				<-time.After(rand.N(checkInterval))
				io.WriteString(c, request[cut:])
			}
		})
		clients.Go(func() {
			for i := range requests {
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Errorf("answer %d: %v", i, err)
					return
				}
				if body, _ := io.ReadAll(resp.Body); strings.TrimLeft(string(body), "x") != fmt.Sprint(i) {
					t.Errorf("answer %d is %q", i, body)
				}
			}
		})
	}
	clients.Wait()
}
