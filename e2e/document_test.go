package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func TestADocumentThroughAServiceWorkerFollowsSaves(t *testing.T) {
	const worker = `self.addEventListener("install", e => self.skipWaiting()); self.addEventListener("activate", e => e.waitUntil(clients.claim())); self.addEventListener("fetch", e => { if (e.request.mode === "navigate") e.respondWith(fetch(e.request)) })`
	code := func(v string) string {
		return countingPage(v, `if r.URL.Path == "/sw.js" { w.Header().Set("Content-Type", "text/javascript"); fmt.Fprint(w, `+"`"+worker+"`"+`); return }
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><h1>version "+version+"</h1><script>navigator.serviceWorker.register('/sw.js')</script>")`)
	}
	p := newProject(t, map[string]string{"pages/index/main.go": code("one")})
	p.serves("/", "version one")
	tab := newBrowser(t).open(p.url)
	tab.await("!!navigator.serviceWorker.controller", "true")
	tab.do(chromedp.Navigate(p.url))
	tab.await(text, "version one")
	p.write("pages/index/main.go", code("two"))
	tab.await(text, "version two")
}

func TestATabOfAnInsecureOriginFollowsSaves(t *testing.T) {
	p := newProject(t, map[string]string{"pages/index/main.go": hello("one")})
	p.serves("/", "one")
	tab := newBrowser(t).open(strings.Replace(p.url, "localhost", "phone.test", 1))
	tab.await(text, "one")
	tab.await("isSecureContext", "false")
	tab.try(`fetch("/").then(r => r.text()).then(t => window.fetched = t)`)
	tab.await("window.fetched", "one")
	if fetched := tab.try("window.fetched"); strings.Contains(fetched, "_tqserver") {
		t.Errorf("what is fetched gets a script: %s", fetched)
	}
	p.write("pages/index/main.go", hello("two"))
	tab.await(text, "two")
	p.write("pages/index/main.go", hello("two")+mistake)
	tab.await(notice, "undefined: undefinedThing")
}

func TestATabIsNotGivenWhatWasFetched(t *testing.T) {
	html := "<!doctype html><link rel=icon href=data:,><h1>one</h1>"
	p := newProject(t, map[string]string{"pages/index/main.go": page("/", `w.Header().Set("Cache-Control", "max-age=600")`, html)})
	p.serves("/", "one")
	tab := newBrowser(t).open(p.url + "/first")
	tab.await(text, "one")
	fetched := `fetch("/second").then(r => r.text()).then(t => window.fetched = t.length)`
	tab.try(fetched)
	tab.await("window.fetched", fmt.Sprint(len(html)))
	tab.do(chromedp.Navigate(p.url + "/second"))
	tab.await("document.scripts.length", "1")
	tab.try(fetched)
	tab.await("window.fetched", fmt.Sprint(len(html)))
}

func TestAPolicyInTheDocumentIsNotTriedAgain(t *testing.T) {
	html := `<!doctype html><link rel=icon href=data:,><meta http-equiv="Content-Security-Policy" content="connect-src 'none'; worker-src 'none'"><h1>one</h1><script>document.addEventListener("securitypolicyviolation", e => { window.refused = (window.refused || "") + e.effectiveDirective + " " })</script>`
	p := newProject(t, map[string]string{"pages/index/main.go": page("/", "", html)})
	p.serves("/", "one")
	b := newBrowser(t)
	b.expected = "Content Security Policy"
	tab := b.open(p.url)
	tab.await("window.refused", "connect-src")
	<-time.After(4 * time.Second) // longer than the pause before the next try
	if refused := tab.try("window.refused"); strings.Count(refused, "connect-src") != 1 {
		t.Errorf("it was refused %s", refused)
	}
}

func TestPagesStayInTheBackForwardCache(t *testing.T) {
	for name, c := range map[string]struct{ host, header string }{
		"by a shared worker":    {"localhost", ""},
		"by the one that leads": {"localhost", `w.Header().Set("Content-Security-Policy", "script-src 'nonce-x'")`},
		"without locks":         {"phone.test", ""},
	} {
		t.Run(name, func(t *testing.T) {
			version := func(n int) string {
				return page("/", c.header, fmt.Sprintf("<!doctype html><link rel=icon href=data:,><h1>version %d</h1>", n))
			}
			p := newProject(t, map[string]string{"pages/index/main.go": version(1)})
			p.serves("/", "version 1")
			url := strings.Replace(p.url, "localhost", c.host, 1)
			tab := newBrowser(t).open(url + "/first")
			tab.await(text, "version 1")
			tab.await("document.readyState", "complete")
			tab.mark()
			tab.do(chromedp.Navigate(url + "/second"))
			tab.await("location.pathname", "/second")
			tab.try("history.back()")
			tab.await("location.pathname", "/first")
			if !tab.marked() {
				t.Errorf("it is loaded anew: %s", tab.try(`JSON.stringify(performance.getEntriesByType("navigation")[0].notRestoredReasons)`))
			}
			p.write("pages/index/main.go", version(2)) // its stream is open again
			tab.await(text, "version 2")
			tab.try("history.forward()")
			tab.await("location.pathname", "/second")
			tab.await(text, "version 2") // even if it changed meanwhile
		})
	}
}
