// Command index is the sample page at the root of the site. It shows what the
// server told it, and invites to be edited.
package main

import (
	"bytes"
	"cmp"
	"html/template"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"

	"tqserver/pkg/worker"
)

func main() {
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	// The working directory of a page is the root of the project.
	site := newSite(runtime, cmp.Or(os.Getenv("TQ_ROUTE"), "/"), os.DirFS("."))
	if err := runtime.StartServer(site); err != nil {
		log.Fatal(err)
	}
}

type site struct {
	runtime *worker.Runtime
	route   string // the prefix of every path but /health
	files   fs.FS  // of the project
}

// newSite returns the site under the given route. The server forwards the path
// of a request unchanged, so the route is part of it.
func newSite(runtime *worker.Runtime, route string, files fs.FS) http.Handler {
	s := &site{runtime, route, files}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", s.missing)
	mux.HandleFunc("GET "+s.path("{$}"), s.index)
	if route != "/" {
		mux.HandleFunc("GET "+route, s.index)
	}
	mux.HandleFunc("GET "+s.path("hello"), s.hello)
	mux.HandleFunc("GET /health", s.health)
	return mux
}

func (s *site) index(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusOK, "index.html", map[string]any{
		"Port":     s.runtime.Port,
		"PID":      os.Getpid(),
		"Build":    cmp.Or(os.Getenv("TQ_BUILD"), "by hand"),
		"Go":       strings.TrimPrefix(goruntime.Version(), "go"),
		"Requests": s.runtime.GetRequestCount(),
	})
}

func (s *site) hello(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSpace(r.FormValue("name"))
	s.render(w, http.StatusOK, "hello.html", map[string]any{"Name": name})
}

func (s *site) missing(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusNotFound, "missing.html", map[string]any{"Path": r.URL.Path})
}

func (s *site) health(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "OK")
}

// render answers with a template of this page. Templates are read for every
// request, so that what one edits is seen without a build.
func (s *site) render(w http.ResponseWriter, status int, name string, facts map[string]any) {
	facts["Route"] = s.route
	facts["Hello"] = s.path("hello")

	var page bytes.Buffer // whole before any of it is sent
	t, err := template.ParseFS(s.files, "templates/base.html", "pages/index/"+name)
	if err == nil {
		err = t.ExecuteTemplate(&page, "base.html", facts)
	}
	if err != nil {
		log.Printf("render %s: %v", name, err)
		http.Error(w, "This page has a broken template. Its log says where.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(page.Len())) // HEAD tells it too
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	page.WriteTo(w) // what fails here is the client's connection
}

// path returns the path of something under the route.
func (s *site) path(name string) string {
	return strings.TrimSuffix(s.route, "/") + "/" + name
}
