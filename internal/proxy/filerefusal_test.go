package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What a file's handler refuses is refused as everything else is.
func TestARefusalOfAFileIsTheServersOwn(t *testing.T) {
	t.Parallel()
	for status, title := range map[int]string{412: "Precondition failed", 416: "Range not satisfiable", 500: "Internal Server Error"} {
		f := withFile(t, generous, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", "text/css")
			h.Set("Content-Encoding", "gzip")
			h.Set("Content-Length", "5")
			h.Set("Cache-Control", "public, max-age=60")
			h.Set("Etag", `"x"`)
			h.Set("Last-Modified", "Wed, 04 Mar 2026 05:06:07 GMT")
			h.Set("Accept-Ranges", "bytes")
			h.Set("Vary", "Accept-Encoding")
			h.Set("Content-Range", "bytes */10")
			w.WriteHeader(status)
			io.Copy(w, strings.NewReader("/secret/place"))
		})
		for accept, form := range map[string]string{"": "text/plain; charset=utf-8", "text/html": "text/html; charset=utf-8", "application/json": "application/problem+json"} {
			resp, body := exchangeRaw(t, f.addr(), "GET /file HTTP/1.1\r\nHost: x\r\nAccept: "+accept+"\r\n\r\n")
			h := resp.Header
			if resp.StatusCode != status || h.Get("Cache-Control") != "no-store" || h.Get("X-Request-Id") == "" || h.Get("Content-Type") != form {
				t.Errorf("%d for %q: %d %v", status, accept, resp.StatusCode, h)
			}
			if h.Get("Vary") != "Accept-Encoding" || h.Get("Content-Range") != "bytes */10" {
				t.Errorf("%d: what a client may need is missing: %v", status, h)
			}
			for _, name := range []string{"Etag", "Last-Modified", "Content-Encoding", "Accept-Ranges"} {
				if h[name] != nil {
					t.Errorf("%d: %s of the file is there", status, name)
				}
			}
			if !strings.Contains(body, title) || strings.Contains(body, "secret") {
				t.Errorf("%d: body is %q", status, body)
			}
			if form == "application/problem+json" && !json.Valid([]byte(body)) {
				t.Errorf("%d: body is %q", status, body)
			}
		}
		if resp, _ := exchangeRaw(t, f.addr(), "GET /file HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"); len(resp.Header["Connection"]) > 1 {
			t.Errorf("%d: %v", status, resp.Header)
		}
	}
}
