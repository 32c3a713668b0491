package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A client that reads nothing is given up when its time is over, whatever is being
// written, and holds up nobody else.
func TestAClientThatReadsNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]struct{ first, again string }{
		"short events":    {sse, event},
		"long events":     {sse, "1388\r\n" + strings.Repeat("x", 5000) + "\r\n"},
		"a long answer":   {"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", strings.Repeat("x", 5000)},
		"interim answers": {"", "HTTP/1.1 103 Early Hints\r\nLink: <" + strings.Repeat("x", 1000) + ">\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := hastyFront(t)
			b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
				readHead(r)
				io.WriteString(c, says.first)
				for {
					if _, err := io.WriteString(c, says.again); err != nil {
						return
					}
					<-time.After(20 * time.Microsecond) // each is flushed
				}
			})
			f.route.Serve(b)
			c := dialNarrow(t, f.addr(), 4<<10)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			eventually(t, "the request is under way", func() bool { return b.InFlight() > 0 })
			eventually(t, "nothing is under way", func() bool { return b.InFlight() == 0 })
		})
	}
}

var (
	sse   = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	event = "400\r\n" + strings.Repeat("x", 1024) + "\r\n"
)

// A client that hangs up behind a full window is seen to leave.
func TestAClientThatReadNothingAndLeavesIsSeen(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	full, left := make(chan struct{}, 1), make(chan struct{}, 1)
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, sse)
		for {
			c.SetWriteDeadline(time.Now().Add(hasty / 2))
			if _, err := io.WriteString(c, event); err != nil {
				break
			}
			<-time.After(20 * time.Microsecond)
		}
		full <- struct{}{}
		io.Copy(io.Discard, r)
		left <- struct{}{}
	})
	f.route.Serve(b)
	c, _ := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	within(t, testTimeout, "nothing more is taken", full)
	c.(*net.TCPConn).CloseWrite()
	within(t, testTimeout, "the worker was told", left)
}

// The responses of the server itself may be as long as what was asked for.
func TestAClientThatAsksOnAndReadsNoRefusalIsGivenUp(t *testing.T) {
	t.Parallel()
	f := hastyFront(t)
	c, _ := dial(t, f.addr(), "")
	sent := make(chan struct{})
	go func() { // ends with c
		defer close(sent)
		for {
			if _, err := fmt.Fprintf(c, "GET /./%s HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("a", 50_000)); err != nil {
				return
			}
		}
	}()
	eventually(t, "the connection is there", func() bool { return f.Connections() == 1 })
	eventually(t, "the connection is closed", func() bool { return f.Connections() == 0 })
	c.Close()
	<-sent
}
