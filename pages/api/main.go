// Command api is a sample page: a small JSON API that keeps what it is given in
// memory, so that every restart of the page empties it.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"tqserver/pkg/worker"
)

const (
	maxBody = 64 << 10         // bytes
	maxWait = 20 * time.Second // of slow
)

func main() {
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	if err := runtime.StartServer(newAPI(cmp.Or(os.Getenv("TQ_ROUTE"), "/api"))); err != nil {
		log.Fatal(err)
	}
}

type api struct {
	route     string // the prefix of every path but /health, without a slash at its end
	endpoints []endpoint

	mu    sync.Mutex // guards items
	items []item     // by id, from 1
}

type endpoint struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	About  string `json:"about"`
	serve  http.HandlerFunc
}

type item struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// newAPI returns the API under the given route. The server forwards the path of
// a request unchanged, so the route is part of it.
func newAPI(route string) http.Handler {
	a := &api{route: strings.TrimSuffix(route, "/"), items: []item{}}
	a.endpoints = []endpoint{
		{"GET", cmp.Or(a.route, "/"), "this description", a.describe},
		{"GET", a.route + "/items", "all items", a.list},
		{"POST", a.route + "/items", `add an item: {"name": "tea"}`, a.add},
		{"GET", a.route + "/items/{id}", "one item", a.get},
		{"GET", a.route + "/slow", "an answer after ?ms= milliseconds, 2000 if not given", a.slow},
		{"GET", "/health", "whether this page works", a.health},
	}
	mux := http.NewServeMux()
	allowed := map[string][]string{} // methods by path
	for _, e := range a.endpoints {
		mux.HandleFunc(e.Method+" "+exact(e.Path), e.serve)
		allowed[e.Path] = append(allowed[e.Path], e.Method)
		if e.Method == http.MethodGet { // stands for HEAD too
			allowed[e.Path] = append(allowed[e.Path], http.MethodHead)
		}
	}
	for path, methods := range allowed {
		mux.HandleFunc(exact(path), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			fail(w, http.StatusMethodNotAllowed, "%s is not a method of %s", r.Method, r.URL.Path)
		})
	}
	if a.route != "" {
		mux.HandleFunc("GET "+exact(a.route+"/"), a.describe)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "there is nothing at %s", r.URL.Path)
	})
	return mux
}

// exact returns the pattern of path alone, because one that ends in a slash
// would take everything below as well.
func exact(path string) string {
	if strings.HasSuffix(path, "/") {
		return path + "{$}"
	}
	return path
}

func (a *api) describe(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, map[string]any{"service": "tqserver sample API", "endpoints": a.endpoints})
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	items := a.items // items are only ever appended
	a.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"items": items})
}

func (a *api) add(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name string `json:"name"`
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		fail(w, http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", maxBody)
		return
	}
	if err == nil { // Unmarshal, unlike a Decoder, refuses what follows the value
		err = json.Unmarshal(raw, &in)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, `want JSON such as {"name": "tea"}: %v`, err)
		return
	}
	if in.Name == "" {
		fail(w, http.StatusBadRequest, `want a name, such as {"name": "tea"}`)
		return
	}

	a.mu.Lock()
	added := item{len(a.items) + 1, in.Name}
	a.items = append(a.items, added)
	a.mu.Unlock()
	worker.Logger(r.Context()).Info("item added", "id", added.ID)
	w.Header().Set("Location", fmt.Sprintf("%s/items/%d", a.route, added.ID))
	answer(w, http.StatusCreated, added)
}

func (a *api) get(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	items := a.items
	a.mu.Unlock()
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > len(items) {
		fail(w, http.StatusNotFound, "there is no item %s", r.PathValue("id"))
		return
	}
	answer(w, http.StatusOK, items[id-1])
}

// slow takes its time, so that one can save meanwhile and see that the answer
// still comes from the worker that began it.
func (a *api) slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("ms"), "2000"))
	if most := int(maxWait.Milliseconds()); err != nil || ms < 0 || ms > most {
		fail(w, http.StatusBadRequest, "want ms from 0 to %d", most)
		return
	}
	wait := time.Duration(ms) * time.Millisecond
	// The write timeout of the page may be shorter. Where it cannot be
	// extended, it stays as it is.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + 5*time.Second))
	done := time.NewTimer(wait)
	defer done.Stop()
	select {
	case <-done.C:
		answer(w, http.StatusOK, map[string]any{"waited_ms": ms, "pid": os.Getpid()})
	case <-r.Context().Done(): // the client has gone, or the worker ends
		fail(w, http.StatusServiceUnavailable, "this worker ends before the answer is due")
	}
}

func (a *api) health(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

func fail(w http.ResponseWriter, status int, format string, args ...any) {
	answer(w, status, map[string]string{"error": fmt.Sprintf(format, args...)})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	out.Encode(body) // what fails here is the client's connection
}
