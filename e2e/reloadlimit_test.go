package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// countingPage is a page that counts the requests to its handler, and responds to
// /count with its version and their number.
func countingPage(version, handler string) string {
	return fmt.Sprintf(`package main

import (
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
)

const version = %q

var requests atomic.Int64

func main() {
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, version, " ", requests.Load()) })
	http.HandleFunc("/favicon.ico", http.NotFound)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		%s
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("TQ_PORT"), nil))
}
`, version, handler)
}

// requests returns how often the page of a version was requested.
func (p *project) requests(version string) (n int) {
	p.Helper()
	resp, err := http.Get(p.url + "/count")
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	var got string
	fmt.Fscan(resp.Body, &got, &n)
	if got != version {
		p.Fatalf("version %q responds", got)
	}
	return n
}

// notReloaded is what a tab says that is not reloaded any more.
const notReloaded = "is not reloaded until the next save"

func TestADocumentWithValidatorsOfItsOwnIsReloadedOnce(t *testing.T) {
	for name, handler := range map[string]string{
		"of a file":         `http.ServeFile(w, r, "pages/index/site/index.html")`,
		"of a template":     `w.Header().Set("ETag", "\"1\""); if r.Header.Get("If-None-Match") == "\"1\"" { w.WriteHeader(304); return }; w.Header().Set("Content-Type", "text/html"); fmt.Fprint(w, "<!doctype html><h1>a file</h1>")`,
		"and of its length": `w.Header().Set("Content-Type", "text/html"); http.ServeContent(w, r, "", time.Unix(1e9, 0), strings.NewReader("<!doctype html><h1>a file</h1>"))`,
	} {
		t.Run(name, func(t *testing.T) {
			code := func(v string) string {
				c := countingPage(v, handler)
				if strings.Contains(handler, "time.") {
					c = strings.Replace(c, `"sync/atomic"`, "\"strings\"\n\t\"sync/atomic\"\n\t\"time\"", 1)
				}
				return c
			}
			p := newProject(t, map[string]string{
				"pages/index/main.go":         code("one"),
				"pages/index/site/index.html": "<!doctype html><h1>a file</h1>",
			})
			p.serves("/", "a file")
			tab := newBrowser(t).open(p.url)
			tab.await(text, "a file")
			for _, v := range []string{"two", "three"} {
				tab.mark()
				p.write("pages/index/main.go", code(v))
				tab.await("window.marked", "undefined")
				tab.await(text, "a file")
				<-time.After(time.Second)
				if n := p.requests(v); n != 1 {
					t.Errorf("one save, and the document is requested %d times", n)
				}
			}
		})
	}
}

func TestADocumentThatStaysOldIsNotReloadedForEver(t *testing.T) {
	const worker = `self.addEventListener("install", e => self.skipWaiting()); self.addEventListener("activate", e => e.waitUntil(clients.claim())); self.addEventListener("fetch", e => { if (e.request.mode === "navigate") e.respondWith(caches.open("x").then(async c => await c.match(e.request.url) || fetch(e.request).then(r => { c.put(e.request.url, r.clone()); return r }))) })`
	code := func(v string) string {
		return countingPage(v, `if r.URL.Path == "/sw.js" { w.Header().Set("Content-Type", "text/javascript"); fmt.Fprint(w, `+"`"+worker+"`"+`); return }
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><h1>version "+version+"</h1><script>sessionStorage.loads = 1 + +(sessionStorage.loads || 0); navigator.serviceWorker.register('/sw.js')</script>")`)
	}
	p := newProject(t, map[string]string{"pages/index/main.go": code("one")})
	p.serves("/", "version one")
	tab := newBrowser(t).open(p.url)
	tab.await("!!navigator.serviceWorker.controller", "true")
	tab.try("location.reload()") // into the cache
	tab.await("sessionStorage.loads", "2")
	tab.await(text, "version one")
	for i, v := range []string{"two", "three"} { // the next save is followed
		p.write("pages/index/main.go", code(v))
		tab.await("sessionStorage.loads", fmt.Sprint(2+3*(i+1)))
		tab.await(notice, notReloaded)
		tab.await(notice, "Reloading / brings the same older document")
		tab.await(notice, "Cache-Control: no-transform")
	}
	if n := tab.try("sessionStorage.loads"); n != "8" {
		t.Errorf("after two saves it was loaded %s times", n)
	}
	tab.try(`caches.delete("x")`)
	p.write("pages/index/main.go", code("four"))
	tab.await(text, "version four")
	tab.await(notice, "")
}

func TestAPageThatChangesItsOwnFilesIsNotReloadedForEver(t *testing.T) {
	handler := `n := fmt.Sprint(requests.Load())
		os.WriteFile("pages/index/seen.txt", []byte(n), 0o644)
		text, _ := os.ReadFile("pages/index/page.html")
		w.Header().Set("Content-Type", "text/html")
		w.Write(text)`
	html := func(text string) string {
		return "<!doctype html><h1>" + text + "</h1><script>sessionStorage.loads = 1 + +(sessionStorage.loads || 0)</script>"
	}
	p := newProject(t, map[string]string{"pages/index/main.go": countingPage("one", handler), "pages/index/page.html": html("one")})
	p.serves("/", "one")
	tab := newBrowser(t).open(p.url)
	for _, text := range []string{"two", "three"} { // the next save is followed
		tab.await(notice, notReloaded)
		tab.await(notice, "pages/index/seen.txt changes whenever / is requested")
		tab.await(notice, "begin its name with a dot")
		var loads int
		if fmt.Sscan(tab.try("sessionStorage.loads"), &loads); loads > 8 {
			t.Errorf("it was loaded %d times", loads)
		}
		tab.try("sessionStorage.loads = 0")
		p.write("pages/index/page.html", html(text))
		tab.await(`document.querySelector("h1").innerText`, text)
	}
}
