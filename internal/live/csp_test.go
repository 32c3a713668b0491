package live

import (
	"net/http"
	"testing"
)

func TestWhichWayAPolicyLeaves(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{
		"":                                  "shared",
		"img-src 'none'":                    "shared",
		"default-src 'self'":                "shared",
		"script-src *":                      "shared",
		"script-src http:":                  "shared",
		"script-src localhost:8080":         "shared",
		"script-src http://LOCALHOST:8080":  "shared",
		"script-src https://localhost:8080": "",
		"script-src 'nonce-abc'":            "lead abc",
		"SCRIPT-SRC 'Nonce-abc'; worker-src 'self'":                    "shared abc",
		"script-src 'nonce-abc' 'strict-dynamic' 'self'":               "lead abc",
		"script-src 'strict-dynamic' 'self'":                           "",
		"script-src 'unsafe-inline'":                                   "",
		"default-src 'none'":                                           "",
		"default-src 'none'; script-src 'nonce-abc'":                   "",
		"default-src 'none'; script-src 'nonce-a'; connect-src 'self'": "lead a",
		"script-src 'self'; script-src 'none'":                         "shared", // the first counts
		"script-src 'self', script-src 'none'":                         "",       // both count
		"script-src 'nonce-a', script-src 'nonce-b'":                   "",
		"script-src 'nonce-a', default-src 'self'":                     "lead a",
		"script-src-elem 'none'; script-src 'self'":                    "",
		"default-src 'self'; require-trusted-types-for 'script'":       "lead",
		"sandbox allow-scripts":                                        "",
		"sandbox allow-scripts allow-same-origin":                      "shared",
	} {
		h := http.Header{}
		h.Set("Content-Security-Policy", policy)
		via, nonce := parsePolicies(h).allowedChannel("localhost:8080")
		got := string(via)
		if nonce != "" && via != noChannel {
			got += " " + nonce
		}
		if got != want {
			t.Errorf("%s: %q, want %q", policy, got, want)
		}
	}
}
