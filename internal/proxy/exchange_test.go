package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestARequestHasNothingOfAnother has clients leave, at any moment, beside others
// that must be answered as if they were alone.
func TestARequestHasNothingOfAnother(t *testing.T) {
	t.Parallel()
	const clients, requests = 4, 200
	f := newFront(t, generous)
	there := make(chan struct{}, clients*requests)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/left" {
			there <- struct{}{}
			<-r.Context().Done()
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Saw", r.Header.Get("X-Request-Id")+r.Header.Get("X-Left"))
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	}))
	var asking sync.WaitGroup
	for client := range clients {
		asking.Go(func() {
			for i := range requests {
				c, _ := dial(t, f.addr(), "GET /left HTTP/1.1\r\nHost: page\r\nX-Left: yes\r\nX-Request-Id: left\r\n\r\n")
				if i%2 == 0 {
					select {
					case <-there:
					case <-time.After(testTimeout):
						t.Error("a request that is to be left did not come to the worker")
						return
					}
				}
				c.Close()
			}
		})
		asking.Go(func() {
			for i := range requests {
				id, method, body := fmt.Sprintf("%d-%d", client, i), http.MethodGet, ""
				if i%2 == 0 {
					method, body = http.MethodPost, "the body of "+id
				}
				req, _ := http.NewRequest(method, f.URL+"/"+id, strings.NewReader(body))
				req.Header.Set("X-Request-Id", id)
				resp, err := f.client.Do(req)
				if err != nil {
					t.Errorf("%s %s: %v", method, id, err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if want := fmt.Sprintf("%s /%s %s", method, id, body); string(got) != want || err != nil || resp.Header.Get("X-Saw") != id || resp.Header.Get("X-Request-Id") != id {
					t.Errorf("%s %s is answered %q, %v, with %v", method, id, got, err, resp.Header)
				}
			}
		})
	}
	asking.Wait()
}

// TestATimerOfTheRequestBeforeCutsNothing fires one late, as when it had begun to
// when that request ended.
func TestATimerOfTheRequestBeforeCutsNothing(t *testing.T) {
	t.Parallel()
	nothing, expire := func(*exchange) {}, func(x *exchange) { x.stall.expire() }
	for name, late := range map[string][3]func(*exchange){ // after the end, before something must move, and then
		"never":  {nothing, nothing, nothing},
		"before": {expire, nothing, nothing},
		"early":  {nothing, expire, nothing},
		"later":  {nothing, nothing, expire},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testLateTimer(t, late) }) })
	}
}

func testLateTimer(t *testing.T, late [3]func(*exchange)) {
	p := New(Settings{WriteTimeout: time.Second})
	x := newExchange()
	start := func() { x.start(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), p) }
	start()
	x.stall.watch(true)
	x.finish(0)
	late[0](x)
	x.reset()
	time.Sleep(2 * time.Second)
	start()
	late[1](x)
	x.stall.watch(true)
	late[2](x)
	wait := func(d time.Duration, want error) {
		time.Sleep(d)
		synctest.Wait()
		if got := x.why(); got != want {
			t.Errorf("after %v more it is cut by %v; want %v", d, got, want)
		}
	}
	wait(time.Second-1, nil)
	x.stall.moved()
	wait(time.Second-1, nil)
	wait(1, errSlowWorker)
	x.finish(0)
}
