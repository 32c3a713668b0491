package wire

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// failingListener fails for lack of descriptors while lacks reports true.
type failingListener struct {
	net.Listener
	lacks func() bool
}

func (l failingListener) Accept() (net.Conn, error) {
	if l.lacks() {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// closedListener is a listener that is closed.
type closedListener struct{ net.Listener }

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }

func TestAcceptErrorsAreReportedOnceASecondWithTheirNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var failed, told, counted int
		l := Listen(failingListener{closedListener{}, func() bool {
			if time.Since(began) > 10*time.Second {
				return false
			}
			failed++
			return true
		}}, generous, func(err error, n int) { told++; counted += n })
		l.accept()
		if told < 5 || told > 11 || failed < 15 || counted > failed || counted < failed-2 {
			t.Errorf("of %d errors in 10 s %d were told of, %d times", failed, counted, told)
		}
	})
}

func TestAFreedConnectionEndsTheDelayAfterAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, tried := time.Now(), time.Duration(0)
		l := Listen(failingListener{closedListener{}, func() bool {
			tried = time.Since(began)
			return tried < 5100*time.Millisecond
		}}, generous, func(error, int) {})
		done := make(chan struct{})
		go func() { l.accept(); close(done) }() // ends when descriptors are free
		<-time.After(5100 * time.Millisecond)
		l.removeConn(new(Conn))
		<-done
		if tried != 5100*time.Millisecond {
			t.Errorf("after %v", tried)
		}
	})
}

func TestTheLongestIdleConnectionIsClosedWhenThereAreNoDescriptors(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var l *Server
	l = Listen(failingListener{tcp, func() bool { return l.Connections() > 2 }}, generous, func(error, int) {})
	d := serveWith(t, l, nil)
	ask := func(c net.Conn, r *bufio.Reader, idle int) {
		t.Helper()
		io.WriteString(c, victim)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		d.awaitIdle(idle) // the order of the responses need not be that of becoming idle
	}
	first, firstR := d.dial()
	ask(first, firstR, 1)
	second, secondR := d.dial()
	ask(second, secondR, 2)
	d.dial()
	if _, err := io.Copy(io.Discard, firstR); err != nil {
		t.Errorf("the connection that waited longest was not closed: %v", err)
	}
	ask(second, secondR, 1)
}

func TestFilesAreLeftForWorkers(t *testing.T) {
	for files, want := range map[int]int{20000: 15000, 1024: 768, 192: 144, 128: 80, 96: 48, 64: 32, 16: 8} {
		if got := connectionShare(files); got != want {
			t.Errorf("of %d files %d are for clients, want %d", files, got, want)
		}
	}
}
