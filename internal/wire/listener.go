package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Settings bound what connections may cost.
type Settings struct {
	HeaderTimeout  time.Duration // from the first byte of a request to the end of its header
	IdleTimeout    time.Duration // between requests; 0 for none
	MaxHeader      int           // bytes of a header, its first line included
	MaxConnections int           // 0 for as many as the file limit allows, less a reserve
}

// Listener accepts connections whose requests are checked.
type Listener struct {
	tcp      net.Listener
	trouble  func(err error, n int)
	told     time.Time // trouble was; Accept's, as the next is
	untold   int
	settings atomic.Pointer[Settings]
	full     atomic.Bool // a connection waits for room

	mu    sync.Mutex // guards all below
	conns map[*Conn]struct{}
	room  chan struct{} // closed when a connection was closed or became idle; nil if nobody waits
	done  chan struct{} // closed with the listener
}

// Listen checks what comes on a TCP listener. Trouble is told of errors after
// which more connections may come: of the newest and how many there were, once a
// second at most.
func Listen(tcp net.Listener, s Settings, trouble func(err error, n int)) *Listener {
	l := &Listener{tcp: tcp, trouble: trouble, conns: make(map[*Conn]struct{}), done: make(chan struct{})}
	l.Configure(s)
	return l
}

// Configure changes the settings, also for the connections that there are.
func (l *Listener) Configure(s Settings) {
	if s.MaxConnections <= 0 {
		s.MaxConnections = affordable()
	}
	l.settings.Store(&s)
}

// Pauses after connections that could not be accepted. What is lacking is
// mostly descriptors, and some come back.
const (
	firstPause = time.Millisecond
	lastPause  = time.Second
)

// tellEvery is how often trouble is told of at most.
const tellEvery = time.Second

// Accept waits for a connection and, when there are as many as there may be, for
// room for it: the one that waits longest for a request is closed. It is closed
// too when there are no descriptors left. Accept is for one goroutine.
func (l *Listener) Accept() (net.Conn, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		c, err := l.tcp.Accept()
		switch {
		case err == nil:
			return l.admit(c.(*net.TCPConn))
		case errors.Is(err, net.ErrClosed):
			return nil, err
		}
		l.tell(err)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			l.closeLongestIdle()
		}
		select {
		case <-l.awaitRoom():
		case <-time.After(pause):
		case <-l.done:
		}
	}
}

func (l *Listener) tell(err error) {
	l.untold++
	if now := time.Now(); now.Sub(l.told) >= tellEvery {
		l.trouble(err, l.untold)
		l.told, l.untold = now, 0
	}
}

func (l *Listener) admit(tcp *net.TCPConn) (net.Conn, error) {
	LimitUnsent(tcp)
	c := &Conn{tcp: tcp, listener: l, leave: func() {}}
	for {
		room, ok := l.enter(c)
		if ok {
			return c, nil
		}
		if l.closeLongestIdle() {
			continue
		}
		select {
		case <-room:
		case <-time.After(lookAgain):
		case <-l.done:
			tcp.Close()
			return nil, net.ErrClosed
		}
	}
}

// enter counts a connection, or returns what is closed when that may be tried
// again.
func (l *Listener) enter(c *Conn) (room <-chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) < l.settings.Load().MaxConnections {
		l.conns[c] = struct{}{}
		c.await(c.listener.settings.Load().HeaderTimeout)
		return nil, true
	}
	return l.awaitRoomLocked(), false
}

func (l *Listener) awaitRoom() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.awaitRoomLocked()
}

func (l *Listener) awaitRoomLocked() <-chan struct{} {
	if l.room == nil {
		l.room = make(chan struct{})
	}
	l.full.Store(true) // before anybody looks who is idle
	return l.room
}

// A new connection has some time for its first request before it counts as one
// that waits; lookAgain is when that is found out.
const (
	firstGrace = time.Second
	lookAgain  = 250 * time.Millisecond
)

// closeLongestIdle closes the connection that waits longest for a request.
func (l *Listener) closeLongestIdle() bool {
	young := time.Now().Add(-firstGrace).UnixNano()
	l.mu.Lock()
	var longest *Conn
	var since int64
	for c := range l.conns {
		at := c.waiting.Load()
		if at > young && http.ConnState(c.stage.Load()) == http.StateNew {
			continue
		}
		if at != 0 && (longest == nil || at < since) {
			longest, since = c, at
		}
	}
	l.mu.Unlock()
	if longest == nil {
		return false
	}
	if longest.waiting.CompareAndSwap(since, 0) { // or its request has just come
		longest.Close()
	}
	return true
}

func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.freedLocked()
}

// freed wakes who waits for room.
func (l *Listener) freed() {
	if l.full.Load() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.freedLocked()
	}
}

func (l *Listener) freedLocked() {
	if l.room != nil {
		close(l.room)
		l.room = nil
		l.full.Store(false)
	}
}

// Close ends Accept. The connections stay.
func (l *Listener) Close() error {
	err := l.tcp.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over() {
		close(l.done)
	}
	return err
}

// over reports whether the listener was closed.
func (l *Listener) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Connections is how many there are.
func (l *Listener) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Addr is where the listener listens.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// CloseSilent closes the connections on which no request has come yet. A browser
// opens some that it may never use.
func (l *Listener) CloseSilent() {
	l.mu.Lock()
	var silent []*Conn
	for c := range l.conns {
		if http.ConnState(c.stage.Load()) == http.StateNew {
			silent = append(silent, c)
		}
	}
	l.mu.Unlock()
	for _, c := range silent {
		c.Close()
	}
}

// ConnState is for http.Server.ConnState, without which no connection is ever
// idle and none can be hijacked.
func ConnState(c net.Conn, s http.ConnState) {
	if c, ok := c.(*Conn); ok {
		c.entered(s)
	}
}

type connKey struct{}

// ConnContext is for http.Server.ConnContext. The context, which is that of all
// requests of the connection, ends when the client has hung up or the connection
// is closed. [Of] finds the connection in it.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*Conn); ok {
		ctx, c.leave = context.WithCancel(ctx)
		c.leaving = ctx
	}
	return context.WithValue(ctx, connKey{}, c)
}

// Of returns the connection that a request came on, or nil if it is none of a
// Listener.
func Of(r *http.Request) *Conn {
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}

// Leaving returns a context that ends when the client of a request leaves. It may
// be that of the connection, which costs less to wait for than the request's own.
func Leaving(r *http.Request) context.Context {
	if c := Of(r); c != nil && seesHangUp {
		return c.leaving
	}
	return r.Context()
}

// WhenGone has a function called, by any goroutine, when the client of a request
// leaves while it is under way, or at once if that has. The end of the request may
// come in between. Of several functions for one request the last is meant.
func WhenGone(r *http.Request, f func()) {
	if c := Of(r); c != nil && seesHangUp {
		c.whenGone(f)
		return
	}
	context.AfterFunc(r.Context(), f)
}

// refusedMethod is what nobody can guess, so that no client can ask for it.
var refusedMethod = rand.Text()

// Refused returns why the client's request was not let through that r stands
// for, or nil if r is a request.
func Refused(r *http.Request) *Refusal {
	if r.Method != refusedMethod {
		return nil
	}
	return Of(r).refused.Load()
}
