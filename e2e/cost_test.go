package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTheScriptCostsLittle compares documents with the script with the same
// documents without it, which a fetch gets, in turns.
func TestTheScriptCostsLittle(t *testing.T) {
	const rounds, clients, span = 15, 8, 400 * time.Millisecond
	p := newProject(t, map[string]string{"pages/index/main.go": large})
	p.serves("/", "some text")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: testTimeout}
	measure := func(mode string) float64 {
		var answers atomic.Int64
		var asking sync.WaitGroup
		end := time.Now().Add(span)
		for range clients {
			asking.Go(func() { // ends with the span
				for time.Now().Before(end) {
					req, _ := http.NewRequest("GET", p.url, nil)
					req.Header.Set("Sec-Fetch-Mode", mode)
					resp, err := client.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					answers.Add(1)
				}
			})
		}
		asking.Wait()
		return float64(answers.Load()) / span.Seconds()
	}
	measure("navigate")
	var ratios []float64
	for range rounds {
		ratios = append(ratios, measure("navigate")/measure("cors"))
	}
	slices.Sort(ratios)
	ratio := ratios[rounds/2]
	t.Logf("figure  documents of 20 kB with the script, against without: %.3f of the throughput (%.3f to %.3f), bar 0.950", ratio, ratios[0], ratios[rounds-1])
	if ratio < 0.8 {
		t.Errorf("the script costs %.0f %% of the throughput", 100*(1-ratio))
	}
}

// large is a page of 20 kB with a Content-Length.
var large = fmt.Sprintf(`package main

import (
	"net/http"
	"os"
	"strconv"
	"strings"
)

func main() {
	text := "<!doctype html><body>" + strings.Repeat(%q, 20000/36) + "</body></html>"
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.Write([]byte(text))
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("TQ_PORT"), nil))
}
`, "<p class='x'>some text of a page</p>\n")
