package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

const soon = 150 * time.Millisecond

func TestASlowHeaderIsRefused(t *testing.T) {
	t.Parallel()
	s := generous
	s.HeaderTimeout = soon
	d := startServer(t, s, nil)
	c, r := d.dial()
	began := time.Now()
	go func() { // ends with c
		for _, piece := range strings.Split("GET / HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("slow", 1000), "") {
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
			<-time.After(time.Millisecond)
		}
	}()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); resp.StatusCode != http.StatusRequestTimeout || took < soon {
		t.Errorf("status %d after %v", resp.StatusCode, took)
	}
}

// The time for a header starts again with each request.
func TestASecondHeaderMayNotBeSlowEither(t *testing.T) {
	t.Parallel()
	s := generous
	s.HeaderTimeout = soon
	d := startServer(t, s, nil)
	inTime(t, func() error {
		c, r := d.dial()
		for range 3 {
			if err := roundTrip(c, r, "/"); err != nil {
				return err
			}
			<-time.After(soon * 2 / 3)
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHo")
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusRequestTimeout {
			return fmt.Errorf("%v, %v", resp, err)
		}
		return nil
	})
}

// roundTrip makes a request that must succeed.
func roundTrip(c net.Conn, r *bufio.Reader, path string) error {
	return finishRequest(c, r, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path))
}

// finishRequest sends the rest of a request that must succeed.
func finishRequest(c net.Conn, r *bufio.Reader, rest string) error {
	io.WriteString(c, rest)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if io.Copy(io.Discard, resp.Body); resp.StatusCode != 200 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

func TestAConnectionOnWhichNothingComesIsClosed(t *testing.T) {
	t.Parallel()
	s := generous
	s.HeaderTimeout = soon
	_, r := startServer(t, s, nil).dial()
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("new: %v", err)
	}
	s = generous
	s.IdleTimeout = soon
	d := startServer(t, s, nil)
	inTime(t, func() error {
		c, r := d.dial()
		for range 3 {
			if err := roundTrip(c, r, "/"); err != nil {
				return err
			}
			<-time.After(soon * 2 / 3)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("idle: %v", err)
		}
		return nil
	})
}

func TestARequestUnderWayMayTakeLongerThanAnIdleConnection(t *testing.T) {
	t.Parallel()
	s := generous
	s.IdleTimeout, s.HeaderTimeout = soon, soon
	d := startServer(t, s, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			t.Error("the request was cancelled")
		case <-time.After(3 * soon):
		}
		io.Copy(w, r.Body)
	})
	for _, send := range []string{victim, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", victim[:30]} {
		inTime(t, func() error {
			c, r := d.dial()
			io.WriteString(c, victim+send)
			for i := range 2 {
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					return fmt.Errorf("%q: response %d: %w", send, i, err)
				}
				io.Copy(io.Discard, resp.Body)
				if resp.StatusCode != 200 && send != victim[:30] {
					return fmt.Errorf("%q: status %d", send, resp.StatusCode)
				}
				if send == victim[:30] {
					break
				}
			}
			return nil
		})
	}
}

// upgrade switches to a protocol that echoes what it reads.
func upgrade(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/no" {
		io.WriteString(w, "no")
		return
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	c.Write(early)
	io.Copy(c, struct{ io.Reader }{c})
	io.WriteString(c, "bye")
}

func TestWhatFollowsAnUpgradeIsNotParsed(t *testing.T) {
	t.Parallel()
	d := startServer(t, generous, upgrade)
	for _, pause := range []time.Duration{0, 20 * time.Millisecond} {
		c, r := d.dial()
		ask := "GET /yes HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
		io.WriteString(c, ask+"\x00early\n")
		if pause > 0 {
			<-time.After(pause)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		big := strings.Repeat("\nGET / HTTP\n", 20000)
		go func() { // ends with c
			io.WriteString(c, "late"+big)
			c.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(r)
		if want := "\x00early\nlate" + big + "bye"; err != nil || string(got) != want {
			t.Errorf("%d bytes came, want %d: %.40q, %v", len(got), len(want), got, err)
		}
	}
}

func TestWhatFollowsARefusedUpgradeIsARequest(t *testing.T) {
	t.Parallel()
	d := startServer(t, generous, upgrade)
	ask := "GET /no HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
	for range 20 {
		if got := d.responses(ask + ask + ask); fmt.Sprint(got) != "[200 no 200 no 200 no]" {
			t.Errorf("%q", got)
		}
	}
	c, r := d.dial()
	for range 20 {
		io.WriteString(c, ask)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		} else {
			io.Copy(io.Discard, resp.Body)
		}
	}
}

func TestTheLongestIdleConnectionIsClosedAtTheLimit(t *testing.T) {
	t.Parallel()
	s := generous
	s.MaxConnections = 3
	busy, free := make(chan struct{}), make(chan struct{})
	d := startServer(t, s, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			busy <- struct{}{}
			<-free
		}
	})
	works, worksR := d.dial()
	done := make(chan error)
	go func() { done <- roundTrip(works, worksR, "/busy") }()
	<-busy
	first, firstR := d.dial()
	second, secondR := d.dial()
	if err := roundTrip(second, secondR, "/"); err != nil {
		t.Fatal(err)
	}
	d.awaitIdle(1)
	if err := roundTrip(first, firstR, "/"); err != nil {
		t.Fatal(err)
	}
	d.awaitIdle(2) // second has been idle for longer
	third, thirdR := d.dial()
	if err := roundTrip(third, thirdR, "/"); err != nil {
		t.Errorf("a new connection finds no room: %v", err)
	}
	if _, err := secondR.ReadByte(); err != io.EOF {
		t.Errorf("the connection that waited longest was not closed: %v", err)
	}
	if err := roundTrip(first, firstR, "/"); err != nil {
		t.Errorf("another connection was closed: %v", err)
	}
	close(free)
	if err := <-done; err != nil {
		t.Errorf("a request under way was cut: %v", err)
	}
}

// awaitIdle waits until so many connections are idle, which they are a moment after
// their response.
func (d *testServer) awaitIdle(want int) {
	for {
		changed := d.server.capacityFreed()
		n := 0
		d.server.mu.Lock()
		for c := range d.server.conns {
			if c.stage.Load() == stageIdle && c.idleSince.Load() != 0 {
				n++
			}
		}
		d.server.mu.Unlock()
		if n == want {
			return
		}
		<-changed
	}
}

func TestAConnectionWaitsWhenAllAreBusy(t *testing.T) {
	t.Parallel()
	s := generous
	s.MaxConnections = 1
	busy, free := make(chan struct{}), make(chan struct{})
	d := startServer(t, s, func(w http.ResponseWriter, r *http.Request) {
		busy <- struct{}{}
		<-free
	})
	answers := make(chan []string, 3)
	for range 3 {
		go func() { answers <- d.responses(victim) }()
	}
	for range 3 {
		<-busy
		select {
		case <-busy:
			t.Error("there is one connection too many")
		case <-time.After(20 * time.Millisecond):
		}
		free <- struct{}{}
		if got := <-answers; len(got) != 1 {
			t.Errorf("%q", got)
		}
	}
}

func TestSettingsApplyToExistingConnections(t *testing.T) {
	t.Parallel()
	d := startServer(t, generous, nil)
	c, r := d.dial()
	s := generous
	s.MaxHeader = 1 << 10
	io.WriteString(c, victim)
	if resp, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	} else {
		io.Copy(io.Discard, resp.Body)
	}
	d.server.Configure(s)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("x", 2000)+"\r\n\r\n")
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 431 {
		t.Error(resp, err)
	}
}

// A browser opens connections before it needs them, and uses old ones to the last
// moment.
func TestTheTimeForAHeaderBeginsWithItsFirstByte(t *testing.T) {
	t.Parallel()
	s := generous
	s.HeaderTimeout, s.IdleTimeout = 2*soon, 2*soon
	d := startServer(t, s, nil)
	inTime(t, func() error {
		c, r := d.dial()
		for range 2 { // new, then idle
			<-time.After(soon * 4 / 3)
			io.WriteString(c, victim[:20])
			<-time.After(soon * 4 / 3)
			if err := finishRequest(c, r, victim[20:]); err != nil {
				return err
			}
		}
		<-time.After(soon)
		began := time.Now()
		go func() { // ends with c
			for {
				if _, err := io.WriteString(c, "\r\n"); err != nil {
					return
				}
				<-time.After(5 * time.Millisecond)
			}
		}()
		if _, err := r.ReadByte(); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("empty lines: %v", err)
		}
		if took := time.Since(began); took > 4*soon {
			return fmt.Errorf("empty lines keep a connection for %v", took)
		}
		return nil
	})
}

// What arrives of a second request during the first does not start its time, but
// after the first the rest must arrive in time.
func TestAHeaderThatBeganTooEarlyMayNotBeSlow(t *testing.T) {
	t.Parallel()
	s := generous
	s.HeaderTimeout = soon
	d := startServer(t, s, func(w http.ResponseWriter, r *http.Request) {
		if refusal := RefusalOf(r); refusal != nil {
			w.WriteHeader(refusal.Status)
			return
		}
		<-time.After(2 * soon)
	})
	for _, rest := range []string{"", victim[20:]} {
		inTime(t, func() error {
			c, r := d.dial()
			io.WriteString(c, victim+victim[:20])
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
				return fmt.Errorf("%v, %v", resp, err)
			}
			<-time.After(soon / 2)
			io.WriteString(c, rest)
			want := 200
			if rest == "" {
				want = http.StatusRequestTimeout
			}
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != want {
				return fmt.Errorf("%q: %v, %v", rest, resp, err)
			}
			return nil
		})
	}
}

// When a connection with unread input is closed, a client that sends everything
// before it reads loses the response.
func TestARefusedClientThatWritesOnGetsItsResponse(t *testing.T) {
	t.Parallel()
	d := startServer(t, generous, nil)
	for _, send := range []string{
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nX: ",
	} {
		c, r := d.dial()
		if _, err := io.WriteString(c, send+strings.Repeat("x", 1<<20)); err != nil {
			t.Errorf("%q: %v", send, err)
		}
		c.(*net.TCPConn).CloseWrite()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); resp.StatusCode < 400 || err != nil {
			t.Errorf("%q: status %d, %v", send, resp.StatusCode, err)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%q: after the answer: %v", send, err)
		}
	}
}
