package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

const (
	latencyClients = 64
	latencyRound   = 2 * time.Second
	latencyRounds  = 30
)

// latency measures bar 8: at a rate that does not depend on the responses, what
// a proxy adds to the time that the worker takes by itself.
func (b *bench) latency(ctx context.Context, rate float64, ours, nginx, worker *side) error {
	medians := map[*side][]time.Duration{}
	p99s := map[*side][]time.Duration{}
	for range latencyRounds {
		sides := []*side{worker, ours, nginx}
		rand.Shuffle(len(sides), func(i, j int) { sides[i], sides[j] = sides[j], sides[i] })
		for _, s := range sides {
			took, err := openLoop(ctx, s.address, rate, latencyRound)
			if err != nil {
				return err
			}
			medians[s] = append(medians[s], quantile(took, 0.5))
			p99s[s] = append(p99s[s], quantile(took, 0.99))
		}
	}
	added := func(of map[*side][]time.Duration, s *side) time.Duration {
		var all []time.Duration
		for i := range of[s] {
			all = append(all, of[s][i]-of[worker][i])
		}
		return max(median(all), time.Microsecond)
	}
	what := fmt.Sprintf("latency added at %.0f requests a second, ", rate)
	b.add(noSlower(8, what+"median", "nginx", added(medians, ours), added(medians, nginx), 1.3))
	b.add(noSlower(8, what+"99th percentile", "nginx", added(p99s, ours), added(p99s, nginx), 1.5))
	return nil
}

// openLoop sends requests at a steady rate, whether or not those before have
// got a response, and returns how long each took from the moment at which it was
// due. So a pause of the server counts for every request that was due meanwhile.
// Garbage collections of this program would count too, so there are none.
func openLoop(ctx context.Context, address string, rate float64, length time.Duration) ([]time.Duration, error) {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	due := make(chan time.Time, 1<<16)
	var mu sync.Mutex // guards all below
	var all []time.Duration
	var failed error
	var clients sync.WaitGroup
	for range latencyClients {
		clients.Go(func() { // ends when due is closed
			took, err := sendRequests(address, due)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if err != nil {
				failed = err
			}
		})
	}
	schedule(ctx, due, rate, length)
	close(due)
	clients.Wait()
	return all, failed
}

// schedule sends the times at which requests are due.
func schedule(ctx context.Context, due chan<- time.Time, rate float64, length time.Duration) {
	began, step := time.Now(), time.Duration(float64(time.Second)/rate)
	for at := time.Duration(0); at < length && ctx.Err() == nil; at += step {
		if left := at - time.Since(began); left > 0 {
			sleepPrecisely(left)
		}
		due <- began.Add(at)
	}
}

func sendRequests(address string, due <-chan time.Time) (took []time.Duration, err error) {
	defer func() {
		for range due { // so that schedule does not block
		}
	}()
	c, request, err := dial(address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	responses := bufio.NewReader(c)
	for at := range due {
		if _, err := c.Write(request); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(responses, nil)
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return nil, err
		}
		took = append(took, time.Since(at))
	}
	return took, nil
}
