package wire

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestWhatIsGatheredIsSentInOrder(t *testing.T) {
	t.Parallel()
	written := make(chan []string)
	wrong := errors.New("what the function returns")
	d := open(t, generous, func(_ http.ResponseWriter, r *http.Request) {
		c := Of(r)
		err := c.Gather(func() error {
			for _, piece := range <-written {
				if n, err := c.Write([]byte(piece)); n != len(piece) || err != nil {
					t.Error(n, err)
				}
			}
			written <- nil
			<-written
			return wrong
		})
		if !errors.Is(err, wrong) {
			t.Error(err)
		}
		written <- nil
	})
	full := strings.Repeat("f", bufferSize)
	for _, tt := range []struct {
		pieces []string
		before int // bytes that come before it has ended
	}{
		{[]string{"ab", "c"}, 3},
		{[]string{full}, 0},
		{[]string{full, "d"}, bufferSize + 1},
		{[]string{full, full}, 2 * bufferSize},
		{[]string{full, full, full}, 2 * bufferSize},
		{[]string{"a", full, "b", full}, bufferSize + 2},
	} {
		c, _ := d.dial()
		io.WriteString(c, victim)
		written <- tt.pieces
		<-written
		all := strings.Join(tt.pieces, "")
		got := make([]byte, len(all))
		if _, err := io.ReadFull(c, got[:tt.before]); err != nil {
			t.Errorf("%d pieces: %v", len(tt.pieces), err)
		}
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := c.Read(got[tt.before:]); n > 0 || tt.before < len(all) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d pieces: %d bytes came too early, %v", len(tt.pieces), n, err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		written <- nil
		<-written
		if _, err := io.ReadFull(c, got[tt.before:]); err != nil || string(got) != all {
			t.Errorf("%d pieces: %v", len(tt.pieces), err)
		}
		c.Close()
	}
}

func TestHastyReadsTakeWhatIsThere(t *testing.T) {
	t.Parallel()
	if !seesHangUp {
		t.Skip("net/http reads too")
	}
	next := make(chan string)
	d := open(t, generous, func(_ http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 64<<10)
		for {
			var n int
			var err error
			Of(r).Hastily(func() { n, err = r.Body.Read(buf) })
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
