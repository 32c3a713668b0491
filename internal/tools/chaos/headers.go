package main

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/tools/trial"
)

// hostile are headers of nearly 64 kB, each with as much as possible of something
// that a server has to parse.
var hostile = []string{
	strings.Repeat("a:\r\n", 15_000),
	strings.Repeat("Connection: close\r\n", 240),
	"Connection: " + strings.Repeat("x,", 30_000) + "x\r\n",
	strings.Repeat("Connection: "+strings.Repeat("y,", 100)+"y\r\nY: 1\r\n", 120),
	"X-Forwarded-For: " + strings.Repeat("1,", 30_000) + "1\r\n",
	"Cookie: " + strings.Repeat("a=b; ", 12_000) + "\r\n",
	"Accept: " + strings.Repeat("text/html;q=0.1,", 3_700) + "*/*\r\n",
	"Accept-Encoding: " + strings.Repeat("gzip;q=0.1,", 5_500) + "br\r\n",
	"Range: bytes=" + strings.Repeat("0-,", 20_000) + "0-\r\n",
	"Transfer-Encoding: " + strings.Repeat("chunked,", 7_500) + "chunked\r\n",
}

// headers: clients send headers that are expensive to parse. The effect on other
// clients is measured in turns with and without them.
func headers(s *scene) {
	p := s.project("")
	p.start([]string{"/"})
	p.load = p.loadWith("/", pace, 2, 0)
	var sent, refused atomic.Int64
	attack := func() (end func()) {
		ctx, cancel := context.WithCancel(s.ctx)
		var attackers sync.WaitGroup
		for n := range 2 {
			attackers.Go(func() { // ends with ctx
				c := &client{address: p.Address, timeout: 30 * time.Second}
				defer c.close()
				for i := n; ctx.Err() == nil; i++ {
					x := c.do("GET", "/", hostile[i%len(hostile)], "")
					sent.Add(1)
					if x.status >= 400 && x.status < 500 {
						refused.Add(1)
					} else if x.err != nil {
						p.load.fail("HOSTILE", x.began, x.err)
					}
					trial.Pause(ctx, pace)
				}
			})
		}
		return func() { cancel(); attackers.Wait() }
	}
	s.pause(500 * time.Millisecond)
	memory := resident(p.PID())
	var calm, busy []time.Duration
	for range s.count(10, 3) {
		p.load.times()
		s.pause(time.Second)
		calm = append(calm, p.load.times()...)
		end := attack()
		s.pause(time.Second)
		busy = append(busy, p.load.times()...)
		end()
	}
	without, with := p99(calm), p99(busy)
	// Less than 5 ms is how long this program itself may wait for a processor.
	s.want(with < 3*max(without, 5*time.Millisecond), "the others' p99 was %v, and %v beside hostile headers", without, with)
	more := resident(p.PID()) - memory
	s.want(more < 32, "the server took %d MiB more", more)
	s.want(sent.Load() > 0, "nothing hostile was sent")
	p.load.check(func(x *exchange) bool {
		return x.method == "HOSTILE" && x.responseBegan && strings.Contains(x.err.Error(), "reset")
	})
	succeeded, failed := p.load.counts()
	s.figure("%d headers of 64 kB, %d of them refused: %d requests of others, failed: %s; their p99 %.1f ms, %.1f ms without; server +%d MiB", sent.Load(), refused.Load(), succeeded, kinds(failed), ms(with), ms(without), max(0, more))
}
