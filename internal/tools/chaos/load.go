package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"tqserver/internal/tools/trial"
)

// client is a connection that is kept. It repeats no request by itself.
type client struct {
	address string
	timeout time.Duration
	conn    net.Conn
	r       *bufio.Reader
}

// exchange is a request and its outcome.
type exchange struct {
	method        string // or the kind of stream
	path          string
	began         time.Time
	ended         time.Time
	responseBegan bool // a byte of the response came
	status        int
	body          string
	err           error // also if the status is not 200
}

func (x *exchange) String() string {
	return fmt.Sprintf("%s %s after %v: %v", x.method, x.path, x.ended.Sub(x.began).Round(time.Millisecond), x.err)
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// do makes an exchange. Every header field ends with a line break.
func (c *client) do(method, path, fields, body string) *exchange {
	x := &exchange{method: method, path: path, began: time.Now()}
	x.err = c.try(x, fields, body)
	x.ended = time.Now()
	if x.err != nil {
		c.close()
	}
	return x
}

func (c *client) try(x *exchange, fields, body string) error {
	resp, err := c.send(x, fields, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	x.body = string(text)
	switch {
	case err != nil:
		return fmt.Errorf("the response is cut: %w", err)
	case x.status != http.StatusOK:
		err = fmt.Errorf("status %d: %.200s", x.status, x.body)
	}
	if resp.Close {
		c.close()
	}
	return err
}

// send sends a request and reads the header of the response.
func (c *client) send(x *exchange, fields, body string) (*http.Response, error) {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, c.timeout)
		if err != nil {
			return nil, err
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	c.conn.SetDeadline(x.began.Add(c.timeout))
	if body != "" {
		fields += fmt.Sprintf("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n", len(body))
	}
	if _, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: chaos\r\n%s\r\n%s", x.method, x.path, fields, body); err != nil {
		return nil, err
	}
	if _, err := c.r.Peek(1); err != nil {
		return nil, fmt.Errorf("no response: %w", err)
	}
	x.responseBegan = true
	resp, err := http.ReadResponse(c.r, &http.Request{Method: x.method})
	if err != nil {
		return nil, err
	}
	x.status = resp.StatusCode
	return resp, nil
}

// reply parses what a page says of itself in the last line of its response.
func (x *exchange) reply() (r reply, err error) {
	lines := strings.Split(strings.TrimSpace(x.body), "\n")
	if _, err := fmt.Sscanf(lines[len(lines)-1], "edit %d pid %d", &r.edit, &r.pid); err != nil {
		return r, fmt.Errorf("another program's response: %.200q", x.body)
	}
	return r, nil
}

// load is a set of clients that request a page all the time: some get it, some post
// ids that the page records, one follows its events, one uses a WebSocket.
type load struct {
	p       *sceneProject
	route   string
	cancel  context.CancelFunc
	clients sync.WaitGroup
	newest  atomic.Int64 // newest edit in a response

	mu          sync.Mutex // guards all below
	succeeded   int
	failed      []*exchange
	took        []time.Duration
	posted      map[string]bool // whether there was a response
	olderBuilds []string        // responses of an older edit than one before
}

// pace is the pause between two requests of a client.
const pace = 10 * time.Millisecond

func (p *sceneProject) newLoad(route string) *load {
	return p.loadWith(route, pace, 4, 2)
}

func (p *sceneProject) loadWith(route string, pace time.Duration, gets, posts int) *load {
	ctx, cancel := context.WithCancel(p.s.ctx)
	l := &load{p: p, route: route, cancel: cancel, posted: make(map[string]bool)}
	for range gets {
		l.client(ctx, pace, func(c *client, i int) *exchange { return c.do("GET", route, "", "") })
	}
	for n := range posts {
		l.client(ctx, pace, func(c *client, i int) *exchange {
			id := fmt.Sprintf("%p-%d-%d", l, n, i)
			l.setPosted(id, false)
			x := c.do("POST", pathBelow(route, "record"), "", "id="+id)
			if x.err == nil {
				l.setPosted(id, true)
			}
			return x
		})
	}
	if posts > 0 {
		l.clients.Go(func() { l.followEvents(ctx) })
		l.clients.Go(func() { l.exchangeMessages(ctx) })
	}
	return l
}

// pathBelow is a path below a route.
func pathBelow(route, name string) string { return strings.TrimSuffix(route, "/") + "/" + name }

func (l *load) client(ctx context.Context, pace time.Duration, request func(c *client, i int) *exchange) {
	l.clients.Go(func() { // ends with ctx
		c := &client{address: l.p.Address, timeout: 40 * time.Second}
		defer c.close()
		for i := 0; ctx.Err() == nil; i++ {
			floor := l.newest.Load()
			x := request(c, i)
			l.add(x, floor)
			if x.err != nil || pace > 0 {
				trial.Pause(ctx, max(pace, time.Millisecond))
			}
		}
	})
}

func (l *load) setPosted(id string, succeeded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posted[id] = succeeded
}

// add records an exchange that began after a response of edit floor.
func (l *load) add(x *exchange, floor int64) {
	var r reply
	if x.err == nil {
		r, x.err = x.reply()
	}
	for newest := l.newest.Load(); int64(r.edit) > newest && !l.newest.CompareAndSwap(newest, int64(r.edit)); {
		newest = l.newest.Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.err != nil {
		l.failed = append(l.failed, x)
		return
	}
	l.succeeded++
	l.took = append(l.took, x.ended.Sub(x.began))
	if int64(r.edit) < floor {
		l.olderBuilds = append(l.olderBuilds, fmt.Sprintf("edit %d after edit %d", r.edit, floor))
	}
}

func (l *load) fail(method string, began time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, &exchange{method: method, path: l.route, began: began, ended: time.Now(), responseBegan: true, err: err})
}

// followEvents reads events. A stream may end in order at any time; then
// another begins.
func (l *load) followEvents(ctx context.Context) {
	for ctx.Err() == nil {
		c := &client{address: l.p.Address, timeout: time.Hour}
		began := time.Now()
		err := l.readEvents(ctx, c)
		c.close()
		if err != nil && ctx.Err() == nil {
			l.fail("EVENTS", began, err)
		}
		trial.Pause(ctx, pace)
	}
}

func (l *load) readEvents(ctx context.Context, c *client) error {
	x := &exchange{method: "GET", path: pathBelow(l.route, "events"), began: time.Now()}
	resp, err := c.send(x, "", "")
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	conn := c.conn
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// exchangeMessages sends messages and expects them back. A connection may be closed
// in order at any time; then another begins.
func (l *load) exchangeMessages(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		if err := l.echo(ctx); err != nil && ctx.Err() == nil {
			l.fail("SOCKET", began, err)
		}
		trial.Pause(ctx, pace)
	}
}

func (l *load) echo(ctx context.Context) error {
	conn, _, err := websocket.Dial(ctx, l.p.URL+pathBelow(l.route, "socket"), nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	for {
		if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			return inOrder(err)
		}
		if _, text, err := conn.Read(ctx); err != nil {
			return inOrder(err)
		} else if string(text) != "hello" {
			return fmt.Errorf("the echo is %q", text)
		}
		trial.Pause(ctx, 5*pace)
	}
}

// inOrder returns an error unless it is a proper close.
func inOrder(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusGoingAway, websocket.StatusServiceRestart:
		return nil
	}
	if errors.Is(err, net.ErrClosed) { // the close was read while the next message was written
		return nil
	}
	return err
}

// stop ends the load. It waits for requests under way.
func (l *load) stop() {
	l.cancel()
	l.clients.Wait()
}

// counts returns what happened so far.
func (l *load) counts() (succeeded int, failed []*exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.succeeded, slices.Clone(l.failed)
}

// check ends the load and checks what happened: only requests that allowed permits
// may have failed, no page may have gone back to an older edit, and the page must
// have recorded every posted id once, or at most once if there was no response.
func (l *load) check(allowed func(*exchange) bool) {
	l.stop()
	s := l.p.s
	succeeded, failed := l.counts()
	failed = slices.DeleteFunc(failed, func(x *exchange) bool { return allowed != nil && allowed(x) })
	for _, x := range failed[:min(5, len(failed))] {
		s.want(false, "failed: %v", x)
	}
	s.want(len(failed) < 6, "%d more failed", len(failed)-5)
	s.want(succeeded > 0, "no request succeeded")
	s.want(len(l.olderBuilds) == 0, "an older build responded %d times, first %v", len(l.olderBuilds), slices.Concat(l.olderBuilds, []string{""})[0])
	text, _ := os.ReadFile(filepath.Join(l.p.Dir, "records"))
	times := make(map[string]int)
	for id := range strings.FieldsSeq(string(text)) {
		times[id]++
	}
	lost, twice := 0, 0
	for id, succeeded := range l.posted {
		switch n := times[id]; {
		case n > 1:
			twice++
		case n == 0 && succeeded:
			lost++
		}
	}
	s.want(lost == 0 && twice == 0, "of %d that were posted %d were lost, %d came twice", len(l.posted), lost, twice)
}

// kinds counts exchanges by their kinds.
func kinds(failed []*exchange) string {
	n := make(map[string]int)
	for _, x := range failed {
		n[x.method]++
	}
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(n)) {
		all = append(all, fmt.Sprintf("%d %s", n[kind], kind))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// times returns how long the requests took that ended since the last call.
func (l *load) times() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.took
	l.took = nil
	return took
}

// p99 returns the 99th percentile.
func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(took))[len(took)*99/100]
}
