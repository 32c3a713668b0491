package wire

import (
	"io"
	"net/http"
	"testing"
	"time"
)

func TestReadsWithoutWaitingReturnWhatHasArrived(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	d := startServer(t, generous, func(_ http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 64<<10)
		for {
			var n int
			var err error
			ConnOf(r).WithoutWaiting(func() { n, err = r.Body.Read(buf) })
			next <- string(buf[:n])
			if err != nil {
				next <- err.Error()
				break
			}
			if <-next == "patiently" {
				n, err := io.ReadFull(r.Body, buf[:2])
				if err != nil {
					t.Error(err)
				}
				next <- string(buf[:n])
				<-next
			}
		}
	})
	c, _ := d.dial()
	say := func(s string) { io.WriteString(c, s); <-time.After(10 * time.Millisecond) }
	expect := func(want string) {
		t.Helper()
		if got := <-next; got != want {
			t.Errorf("%q was read, want %q", got, want)
		}
	}
	say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nab")
	expect("ab")
	next <- ""
	expect("")
	say("cd")
	next <- ""
	expect("cd")
	next <- "patiently"
	say("e")
	say("f")
	expect("ef")
	say("gh")
	next <- ""
	expect("gh")
	next <- ""
	expect("")
	say("ijkl" + victim)
	next <- ""
	expect("ijkl")
	expect("EOF")
	expect("")
	expect("EOF")

	c, _ = d.dial()
	say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nab")
	expect("ab")
	c.Close()
	<-time.After(10 * time.Millisecond)
	next <- ""
	expect("")
	expect("unexpected EOF")
}
