package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// echo is a worker that sends every message back, and tells how the
// connection ended.
func echo(t *testing.T, ended chan<- error) *Backend {
	return newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			ended <- err
			return
		}
		c.SetReadLimit(-1)
		for {
			kind, message, err := c.Read(context.WithoutCancel(r.Context()))
			if err != nil {
				ended <- err
				return
			}
			c.Write(r.Context(), kind, message)
		}
	})
}

func connect(t *testing.T, f *front) (context.Context, *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	c, _, err := websocket.Dial(ctx, f.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(-1)
	return ctx, c
}

func TestWebSocketsPass(t *testing.T) {
	t.Parallel()
	f, ended := newFront(t, generous), make(chan error, 1)
	b := echo(t, ended)
	f.route.Serve(b)
	ctx, c := connect(t, f)
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		message := bytes.Repeat([]byte{'x'}, size)
		go c.Write(ctx, websocket.MessageBinary, message) // ends with ctx
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("a message of %d bytes came back as %d, %v", size, len(got), err)
		}
	}
	if err := c.Close(4000, "bye"); err != nil {
		t.Error(err)
	}
	if err := within(t, testTimeout, "the worker saw the end", ended); websocket.CloseStatus(err) != 4000 {
		t.Errorf("the worker saw %v", err)
	}
	drained(t, b)
}

func TestEndStreamsClosesWebSocketsAsTheProtocolWants(t *testing.T) {
	t.Parallel()
	for _, why := range []EndReason{ServiceRestart, GoingAway} {
		quickly(t, "it ends", endTimeout, func() time.Duration {
			f, ended := newFront(t, generous), make(chan error, 1)
			b := echo(t, ended)
			f.route.Serve(b)
			ctx, c := connect(t, f)
			c.Write(ctx, websocket.MessageText, []byte("x"))
			if _, _, err := c.Read(ctx); err != nil {
				t.Fatal(err)
			}
			b.Close()
			began := time.Now()
			b.EndStreams(why)
			if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusCode(why) {
				t.Errorf("the client saw %v, want %d", err, why)
			}
			if err := within(t, testTimeout, "the worker saw the end", ended); websocket.CloseStatus(err) != websocket.StatusCode(why) {
				t.Errorf("the worker saw %v, want the client's answer", err)
			}
			drained(t, b)
			return time.Since(began)
		})
	}
}

func TestAWebSocketIsEndedBetweenFramesWhileMessagesFlow(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	message := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	b := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for ctx := c.CloseRead(r.Context()); ; {
			w, err := c.Writer(ctx, websocket.MessageBinary)
			if err != nil {
				return
			}
			for part := range slices.Chunk(message, 100_000) { // fragments
				if _, err := w.Write(part); err != nil {
					return
				}
			}
			if w.Close() != nil {
				return
			}
		}
	})
	f.route.Serve(b)
	for range 5 {
		ctx, c := connect(t, f)
		for n := 0; ; n++ {
			_, got, err := c.Read(ctx)
			if n == 3 {
				b.EndStreams(ServiceRestart)
			}
			if err != nil {
				if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
					t.Errorf("after %d messages the client saw %v", n, err)
				}
				break
			}
			if !bytes.Equal(got, message) {
				t.Fatal("a message was damaged")
			}
		}
	}
	drained(t, b)
}

// rawSocket is a worker that says what it likes after the upgrade, in parts.
func rawSocket(t *testing.T, parts <-chan string) *Backend {
	return newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("websocket"))
		for part := range parts {
			io.WriteString(c, part)
		}
		io.Copy(io.Discard, r)
	})
}

func TestAFrameUnderWayIsFinishedBeforeTheCloseFrame(t *testing.T) {
	t.Parallel()
	f, parts := newFront(t, generous), make(chan string)
	b := rawSocket(t, parts)
	f.route.Serve(b)
	c, r := upgrade(t, f, "websocket")
	parts <- "\x02\x05hel" // 5 bytes, of a message that goes on
	got := make([]byte, 5)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	b.EndStreams(ServiceRestart)
	parts <- "l"
	parts <- "o\x80\x03out" // and the next frame, which is not begun any more
	close(parts)
	want := "lo\x88\x02\x03\xf4"
	got = make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v", rest, err)
	}
	c.Close()
	drained(t, b)
}

func TestAWebSocketEndsThoughNobodyHelps(t *testing.T) {
	t.Parallel()
	for name, said := range map[string]string{
		"a client that says nothing":                "",
		"a worker that stops in a frame":            "\x02\x05hel",
		"a worker that stops in a header":           "\x02",
		"a worker that said goodbye and stays":      "\x88\x02\x03\xe8",
		"a worker that said goodbye and then talks": "\x88\x02\x03\xe8\x02\x02",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			quickly(t, "it ends", endTimeout+endTimeout/2, func() time.Duration {
				f, parts := newFront(t, generous), make(chan string)
				b := rawSocket(t, parts)
				f.route.Serve(b)
				_, r := upgrade(t, f, "websocket")
				parts <- said
				close(parts)
				if _, err := io.ReadFull(r, make([]byte, len(said))); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				b.EndStreams(GoingAway)
				drained(t, b)
				return time.Since(began)
			})
		})
	}
}

func TestAWebSocketThatBeginsAfterTheEndOfStreamsEndsToo(t *testing.T) {
	t.Parallel()
	f, ended := newFront(t, generous), make(chan error, 1)
	b := echo(t, ended)
	f.route.Serve(b)
	b.EndStreams(ServiceRestart)
	ctx, c := connect(t, f)
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("the client saw %v", err)
	}
	drained(t, b)
}

// boundaries is the naive parser: where frames end, and whether the last one
// was whole and none a close frame.
func boundaries(b []byte) (ends []int, whole bool) {
	whole, n := true, 0
	for n < len(b) {
		head, length := 2, 0
		if n+2 <= len(b) {
			length = int(b[n+1] & 0x7f)
			for extra := map[int]int{126: 2, 127: 8}[length]; extra > 0; {
				head += extra
				length = 0
				for i := range extra {
					if n+2+i < len(b) {
						length = length<<8 | int(b[n+2+i])
					}
				}
				break
			}
			if b[n+1]&0x80 != 0 {
				head += 4
			}
		}
		if n+head > len(b) {
			return ends, false
		}
		whole = whole && b[n]&0x0f != 8
		if length < 0 || length > len(b)-n-head {
			return ends, false
		}
		n += head + length
		ends = append(ends, n)
	}
	return ends, whole
}

func FuzzFramesAreFollowedInAnyPieces(f *testing.F) {
	f.Add([]byte("\x81\x02hi\x89\x00\x88\x02\x03\xe8"), []byte{1})
	f.Add([]byte("\x82\x7e\x00\x80"+strings.Repeat("x", 128)+"\x81\x85abcdhello"), []byte{3, 1, 200})
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03abc\x00\x80abcd\x01"), []byte{7})
	f.Add([]byte("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), []byte{2})
	f.Fuzz(func(t *testing.T, b, pieces []byte) {
		ends, whole := boundaries(b)
		var passed, stepped frames
		var got []int
		for at, i := 0, 0; at < len(b); i++ {
			piece := len(b) - at
			if len(pieces) > 0 {
				piece = min(piece, 1+int(pieces[i%len(pieces)]))
			}
			passed.followAll(b[at : at+piece])
			for end := at + piece; at < end; {
				n := stepped.follow(b[at:end])
				if n == 0 {
					t.Fatal("no step forward")
				}
				at += n
				if stepped.have == 0 && stepped.left == 0 {
					got = append(got, at)
				}
			}
		}
		if diff := cmp.Diff(ends, got); diff != "" {
			t.Errorf("%q ends of frames (-want +got):\n%s", b, diff)
		}
		if passed.atBoundary() != whole || stepped.atBoundary() != whole {
			t.Errorf("%q: whole %v and %v, want %v", b, passed.atBoundary(), stepped.atBoundary(), whole)
		}
	})
}
