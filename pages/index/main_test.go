package main

import (
	"bytes"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"tqserver/pkg/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPathsHaveTheirPages(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		route, method, path string
		status              int
		want                string // part of the body
	}{
		{"/", "GET", "/", 200, "<dd>9123</dd>"},
		{"/", "GET", "/", 200, "<dd>by hand</dd>"},
		{"/", "GET", "/", 200, "<dd>" + strconv.Itoa(os.Getpid()) + "</dd>"},
		{"/", "GET", "/", 200, `href="/api"`},
		{"/", "GET", "/", 200, `href="/hello"`},
		{"/", "HEAD", "/", 200, ""},
		{"/", "GET", "/hello", 200, "Hello, world!"},
		{"/", "GET", "/hello?name=Ada", 200, "Hello, Ada!"},
		{"/", "GET", "/hello?name=%3Cb%3E", 200, "Hello, &lt;b&gt;!"},
		{"/", "GET", "/hello?name=+", 200, "Hello, world!"},
		{"/", "GET", "/health", 200, "OK"},
		{"/", "GET", "/nowhere", 404, "<code>/nowhere</code>"},
		{"/", "GET", "/hello/again", 404, "<code>/hello/again</code>"},
		{"/", "POST", "/", 405, ""},
		{"/home", "GET", "/home", 200, `href="/home/hello"`},
		{"/home", "GET", "/home/", 200, `href="/home/hello"`},
		{"/home", "GET", "/home/hello", 200, `href="/home"`},
		{"/home", "GET", "/health", 200, "OK"},
		{"/home", "GET", "/", 404, "<code>/</code>"},
	} {
		t.Run(test.route+" "+test.method+" "+test.path, func(t *testing.T) {
			t.Parallel()
			got := do(test.route, os.DirFS("../.."), test.method, test.path)
			if got.Code != test.status || !strings.Contains(got.Body.String(), test.want) {
				t.Errorf("answer is %d %s; want %d %s", got.Code, got.Body, test.status, test.want)
			}
		})
	}
}

func TestABuildIsShown(t *testing.T) {
	t.Setenv("TQ_BUILD", "17")
	if got := do("/", os.DirFS("../.."), "GET", "/"); !strings.Contains(got.Body.String(), "<dd>17</dd>") {
		t.Errorf("answer is %s", got.Body)
	}
}

func TestAPageNeedsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/hello", "/nowhere"} {
		got := do("/", os.DirFS("../.."), "GET", path).Body.String()
		for _, sign := range []string{"//", "url(", "@import", "<script"} {
			if strings.Contains(got, sign) {
				t.Errorf("GET %s has %s", path, sign)
			}
		}
	}
}

func TestATemplateIsReadForEveryRequest(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"templates/base.html":    {Data: []byte(`{{block "main" .}}{{end}}`)},
		"pages/index/index.html": {Data: []byte(`{{define "main"}}one{{end}}`)},
	}
	site := newSite(new(worker.Runtime), "/", files)
	for _, want := range []string{"one", "two"} {
		files["pages/index/index.html"].Data = []byte(`{{define "main"}}` + want + `{{end}}`)
		got := httptest.NewRecorder()
		site.ServeHTTP(got, httptest.NewRequest("GET", "/", nil))
		if got.Body.String() != want {
			t.Errorf("answer is %q; want %q", got.Body, want)
		}
	}
}

func TestABrokenTemplateIsLoggedAndNotShown(t *testing.T) {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	for name, test := range map[string]struct{ main, want string }{
		"does not parse": {`{{define "main"}}{{if}}{{end}}`, "index.html:1: missing value for if"},
		"does not run":   {`{{define "main"}}sent? {{.Port.Of.Call}}{{end}}`, "index.html:1:"},
	} {
		t.Run(name, func(t *testing.T) {
			logged.Reset()
			got := do("/", fstest.MapFS{
				"templates/base.html":    {Data: []byte(`{{block "main" .}}{{end}}`)},
				"pages/index/index.html": {Data: []byte(test.main)},
			}, "GET", "/")
			if body := got.Body.String(); got.Code != 500 || !strings.HasPrefix(body, "This page has a broken template") {
				t.Errorf("answer is %d %s", got.Code, body)
			}
			if !strings.Contains(logged.String(), test.want) {
				t.Errorf("logged is %q; want %q", logged.String(), test.want)
			}
		})
	}
	t.Run("is missing", func(t *testing.T) {
		if got := do("/", fstest.MapFS{}, "GET", "/"); got.Code != 500 {
			t.Errorf("answer is %d %s", got.Code, got.Body)
		}
	})
}

func do(route string, files fs.FS, method, path string) *httptest.ResponseRecorder {
	got := httptest.NewRecorder()
	newSite(&worker.Runtime{Port: 9123}, route, files).ServeHTTP(got, httptest.NewRequest(method, path, nil))
	return got
}
