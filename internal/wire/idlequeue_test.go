package wire

import (
	"testing"
	"testing/synctest"
	"time"
)

// serverWithIdleConns returns a server at its limit, with idle connections only.
func serverWithIdleConns(n int) *Server {
	s := generous
	s.MaxConnections, s.HeaderTimeout = n, 0
	srv := Listen(nil, s, nil)
	for i := range n {
		c := &Conn{server: srv}
		c.idleSince.Store(int64(n - i))
		c.stage.Store(stageIdle)
		srv.conns[c] = struct{}{}
	}
	return srv
}

// replaceLongestIdle closes the longest idle connection for a new one, as accept
// does.
func (srv *Server) replaceLongestIdle() (since int64) {
	longest, _ := srv.popLongestIdle()
	srv.removeConn(longest.c)
	srv.addConn(&Conn{server: srv})
	return longest.since
}

func TestTheLongestIdleConnectionIsClosedForANewOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testLongestIdleIsClosed) // a new connection counts as idle only after a while
}

func testLongestIdleIsClosed(t *testing.T) {
	srv := serverWithIdleConns(100)
	var second *Conn
	for c := range srv.conns {
		switch c.idleSince.Load() {
		case 2:
			second = c
		case 3: // it serves a request and is idle again
			c.idleSince.Store(1000)
			srv.connFreed(c)
		case 4:
			c.idleSince.Store(0)
		}
	}
	if got := srv.replaceLongestIdle(); got != 1 {
		t.Errorf("first the one that waits since %d", got)
	}
	second.idleSince.Store(1001)
	srv.connFreed(second)
	want := int64(5)
	for ; want <= 100; want++ {
		if got := srv.replaceLongestIdle(); got != want {
			t.Fatalf("the one that waits since %d makes room before that since %d", got, want)
		}
	}
	for _, want := range []int64{1000, 1001} {
		if got := srv.replaceLongestIdle(); got != want {
			t.Fatalf("the one that waits since %d makes room before that since %d", got, want)
		}
	}
	if w, ok := srv.popLongestIdle(); ok {
		t.Errorf("%v makes room, which is new", w)
	}
	<-time.After(2 * unusedGrace)
	if _, ok := srv.popLongestIdle(); !ok {
		t.Error("none of those makes room that have sent no request for long")
	}
}

// Some connections of this test become busy again and again, and others come and
// go.
func TestTheIdleQueueStaysShort(t *testing.T) {
	t.Parallel()
	srv := serverWithIdleConns(100)
	srv.replaceLongestIdle()
	for i := range int64(10_000) {
		for c := range srv.conns {
			c.idleSince.Store(1000 + i)
			c.stage.Store(stageIdle)
			srv.connFreed(c)
			if i%2 == 0 {
				srv.removeConn(c)
				srv.addConn(&Conn{server: srv})
			}
			break
		}
	}
	if n := len(srv.idle.idle) + len(srv.idle.unused); n > 600 {
		t.Errorf("a line of %d", n)
	}
}

// This test compares few and many connections in turns, by the shortest of several
// times.
func TestClosingAnIdleConnectionCostsTheSameHoweverManyThereAre(t *testing.T) {
	const times = 200
	cost := func(n int) time.Duration {
		srv := serverWithIdleConns(n)
		srv.replaceLongestIdle() // builds the queue
		began := time.Now()
		for range times {
			srv.replaceLongestIdle()
		}
		return time.Since(began)
	}
	few, many := time.Hour, time.Hour
	for range 5 {
		few, many = min(few, cost(10*times)), min(many, cost(160*times))
	}
	if many > 12*few { // sixteen times as many connections
		t.Errorf("for %d connections %v, for %d %v", 10*times, few, 160*times, many)
	}
}

func BenchmarkRoom(b *testing.B) {
	srv := serverWithIdleConns(10_000)
	for b.Loop() {
		longest, _ := srv.popLongestIdle()
		srv.removeConn(longest.c)
		c := &Conn{server: srv}
		srv.addConn(c)
		c.stage.Store(stageIdle)
		srv.connFreed(c)
	}
}
