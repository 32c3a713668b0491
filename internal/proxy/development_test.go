package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// version is a backend that answers with the number of its build.
func version(t *testing.T, build string) *Backend {
	t.Helper()
	b := newWorker(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "build "+build) })
	b.build = build
	return b
}

func getWith(t *testing.T, f *front, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", f.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := f.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

var navigates = []string{"Sec-Fetch-Mode", "navigate"}

func TestANavigationWaitsForTheVersionThatIsOnItsWay(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.proxy.SetDevelopment(&Development{HoldNavigations: 2 * testTimeout})
	f.route.Serve(version(t, "1"))
	f.route.SetNewer(NewerPending)
	shown := make(chan string, 2)
	for range 2 {
		go func() { // ends with the response
			_, body := getWith(t, f, "/", navigates...)
			shown <- body
		}()
	}
	if _, body := getWith(t, f, "/"); body != "build 1" {
		t.Errorf("what is no navigation gets %q", body)
	}
	select {
	case body := <-shown:
		t.Fatalf("a navigation does not wait but shows %q", body)
	case <-time.After(50 * time.Millisecond):
	}
	f.route.Serve(version(t, "2"))
	for range 2 {
		if body := within(t, testTimeout, "it is shown", shown); body != "build 2" {
			t.Errorf("the navigation shows %q", body)
		}
	}
}

func TestANavigationIsNotHeldForWhatDoesNotCome(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.proxy.SetDevelopment(&Development{HoldNavigations: 2 * testTimeout})
	f.route.Serve(version(t, "1"))
	inTime(t, func() error { // it may come too late to be held
		f.route.SetNewer(NewerPending)
		shown := make(chan *http.Response, 1)
		go func() { // ends with the response
			resp, _ := getWith(t, f, "/", navigates...)
			shown <- resp
		}()
		time.AfterFunc(30*time.Millisecond, func() { f.route.SetNewer(NewerBroken) })
		resp := within(t, testTimeout, "the old version is shown", shown)
		if got := resp.Header.Get("X-Tq-Build"); got != "1; stale" {
			t.Errorf("X-TQ-Build: %s", got)
		}
		if timing := resp.Header.Get("Server-Timing"); !strings.HasPrefix(timing, "hold;dur=") || strings.HasPrefix(timing, "hold;dur=0.0") || !strings.Contains(timing, "worker;dur=") {
			return fmt.Errorf("Server-Timing: %s", timing)
		}
		return nil
	})

	f.proxy.SetDevelopment(&Development{HoldNavigations: 30 * time.Millisecond})
	f.route.SetNewer(NewerPending)
	if resp, body := getWith(t, f, "/", navigates...); body != "build 1" || resp.Header.Get("X-Tq-Build") != "1" {
		t.Errorf("after a while %q is shown, of build %s", body, resp.Header.Get("X-Tq-Build"))
	}
}

func TestOutsideDevelopmentNothingIsAdded(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(version(t, "1"))
	f.route.SetNewer(NewerPending)
	resp, body := getWith(t, f, "/_tqserver/events", navigates...)
	if body != "build 1" || resp.Header["X-Tq-Build"] != nil || resp.Header["Server-Timing"] != nil {
		t.Errorf("%q with %v", body, resp.Header)
	}
}

func TestANavigationIsToldThatAPageNeverServed(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.proxy.SetDevelopment(&Development{Explain: func(_ context.Context, r Refused) (string, bool) {
		return r.Form + " says why", r.Status == 503
	}})
	began := time.Now()
	resp, body := getWith(t, f, "/", append(navigates, "Accept", "text/html")...)
	if took := time.Since(began); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || body != "text/html says why" || took < firstHoldTimeout {
		t.Errorf("%d %q after %v", resp.StatusCode, body, took)
	}
	answers := send(f, "GET", "/", "")
	eventually(t, "another waits", func() bool { return f.route.Held() == 1 })
	f.route.Serve(version(t, "1"))
	if a := <-answers; a.body != "build 1" {
		t.Errorf("what is no navigation gets %+v", a)
	}
	f.route.Hold() // it ended, and is started again
	shown := make(chan string, 1)
	go func() { // ends with the response
		_, body := getWith(t, f, "/", navigates...)
		shown <- body
	}()
	select {
	case body := <-shown:
		t.Errorf("a page that served before shows %q", body)
	case <-time.After(firstHoldTimeout + 100*time.Millisecond):
	}
	f.route.Serve(version(t, "2"))
	if body := <-shown; body != "build 2" {
		t.Errorf("then it shows %q", body)
	}
}

func TestAResponseIsDressedAndItsEndIsTold(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	ended := make(chan bool, 1)
	f.proxy.SetDevelopment(&Development{
		Reserved: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "reserved "+r.URL.Path) }), ReservedPath: "/_tqserver/",
	})
	f.setPolicies(t, "", func(w http.ResponseWriter, r *http.Request, route string) (http.ResponseWriter, func(bool)) {
		w.Header().Set("Dressed", "yes")
		return w, func(whole bool) { ended <- whole }
	})
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "page")
		if r.URL.Path == "/cut" {
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	if resp, body := getWith(t, f, "/", navigates...); body != "page" || resp.Header.Get("Dressed") != "yes" || !<-ended {
		t.Errorf("%q, %v", body, resp.Header)
	}
	cut, _ := http.NewRequest("GET", f.URL+"/cut", nil)
	cut.Header.Set("Sec-Fetch-Mode", "navigate")
	if resp, err := f.Client().Do(cut); err == nil {
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("a response that is cut short ends well")
		}
		resp.Body.Close()
	}
	if <-ended {
		t.Error("a response that is cut short is told as whole")
	}
	if resp, body := getWith(t, f, "/_tqserver/x"); body != "reserved /_tqserver/x" || resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("Dressed") != "" {
		t.Errorf("%q, %v", body, resp.Header)
	}
}

func TestWhatATabWillShowIsKnown(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.setPolicies(t, "", func(w http.ResponseWriter, r *http.Request, route string) (http.ResponseWriter, func(bool)) {
		w.Header().Set("Dressed", "yes")
		return w, func(bool) {}
	})
	f.route.Serve(version(t, "1"))
	const html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for name, c := range map[string]struct {
		header []string
		want   string
	}{
		"a navigation":                          {[]string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", html}, "yes"},
		"one by a service worker":               {[]string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "empty", "Accept", html}, "yes"},
		"one of a frame":                        {[]string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", html}, "yes"},
		"one ahead of its time":                 {[]string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "empty", "Sec-Purpose", "prefetch"}, "yes"},
		"one at an insecure origin":             {[]string{"Upgrade-Insecure-Requests", "1", "Accept", html}, "yes"},
		"fetch":                                 {[]string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "*/*"}, ""},
		"fetch of a document":                   {[]string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", html}, ""},
		"an image":                              {[]string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, ""},
		"fetch at an insecure origin":           {[]string{"Accept", "*/*"}, ""},
		"Turbo at an insecure origin":           {[]string{"Accept", "text/html, application/xhtml+xml"}, ""},
		"htmx at an insecure origin":            {[]string{"Accept", "*/*", "HX-Request", "true"}, ""},
		"an image at an insecure origin":        {[]string{"Accept", "image/avif,image/webp,*/*;q=0.8"}, ""},
		"what asks for an upgrade and no HTML":  {[]string{"Upgrade-Insecure-Requests", "1", "Accept", "*/*"}, ""},
		"what says nothing, as programs do":     {nil, ""},
		"a script that says it is a navigation": {[]string{"Sec-Fetch-Mode", "same-origin", "Upgrade-Insecure-Requests", "1", "Accept", html}, ""},
	} {
		if resp, _ := getWith(t, f, "/", c.header...); resp.Header.Get("Dressed") != c.want {
			t.Errorf("%s: %q", name, resp.Header.Get("Dressed"))
		}
	}
}

func TestCachesTellDocumentsFromWhatIsFetched(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.FormValue("type"))
		w.Header().Set("Vary", "Cookie")
		io.WriteString(w, "x")
	}))
	f.proxy.SetFiles(func(r *http.Request) (http.Handler, bool) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.FormValue("type"))
			w.Header().Set("Vary", "Cookie")
			w.WriteHeader(http.StatusOK)
		}), r.URL.Path == "/file"
	})
	on := new(Development)
	both := "Cookie, " + documentFields
	for _, c := range []struct {
		develop    *Development
		kind, want string
		header     []string
	}{
		{on, "text/html;charset=utf-8", both, navigates},
		{on, "text/html;charset=utf-8", both, nil},
		{on, "application/json", "Cookie", nil},
		{nil, "text/html;charset=utf-8", "Cookie", navigates},
	} {
		f.proxy.SetDevelopment(c.develop)
		for _, path := range []string{"/", "/file"} {
			resp, _ := getWith(t, f, path+"?type="+url.QueryEscape(c.kind), c.header...)
			if got := strings.Join(resp.Header["Vary"], ", "); got != c.want {
				t.Errorf("%s, %s: Vary is %q, want %q", path, c.kind, got, c.want)
			}
		}
	}
}
