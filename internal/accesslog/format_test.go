package accesslog

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	time.Local = time.FixedZone("", 2*60*60)
	goleak.VerifyTestMain(m)
}

func sample() Record {
	return Record{
		Time: time.Date(2026, 11, 24, 12, 3, 11, 204_000_000, time.UTC), Took: 1234567 * time.Nanosecond,
		Client: "192.0.2.7", Method: "GET", Target: "/api/users?q=a%20b&token=hush", Path: "/api/users", Proto: "HTTP/1.1", Host: "example.org",
		Referer: "https://me:hush@example.org/from?key=hush#hush", UserAgent: `curl/8 "x" \ ` + "\x1b[2J\n\x80é",
		Route: "/api", Upstream: "127.0.0.1:9001", RequestID: "id-1", TraceID: "4bf9", Status: 200, Bytes: 3400,
	}
}

func TestFormats(t *testing.T) {
	r := sample()
	start := `192.0.2.7 - - [24/Nov/2026:14:03:11 +0200] "GET /api/users?q=a%20b&token=*** HTTP/1.1" 200 3400`
	for format, want := range map[string]string{
		"common":   start,
		"combined": start + ` "https://example.org/from?key=***" "curl/8 \"x\" \\ \x1b[2J\n\x80\xc3\xa9"`,
		"json": `{"time":"2026-11-24T14:03:11.204+02:00","client":"192.0.2.7","method":"GET","target":"/api/users?q=a%20b&token=***","proto":"HTTP/1.1","host":"example.org",` +
			`"status":200,"bytes":3400,"took_ms":1.234,"route":"/api","upstream":"127.0.0.1:9001","request_id":"id-1","trace_id":"4bf9",` +
			`"referer":"https://example.org/from?key=***","user_agent":"curl/8 \"x\" \\ \u001b[2J\u000a` + "\uFFFD" + `é"}`,
	} {
		if got := string(appendLine(nil, &r, format)); got != want+"\n" {
			t.Errorf("%s:\n got %s\nwant %s", format, got, want)
		}
	}
}

func TestWhatIsNotThereIsADash(t *testing.T) {
	r := Record{Time: sample().Time, Status: 400}
	want := `- - - [24/Nov/2026:14:03:11 +0200] "-" 400 - "-" "-"` + "\n"
	if got := string(appendLine(nil, &r, "combined")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"/":                               "/",
		"*":                               "*",
		"/a?":                             "/a?",
		"/a?b=c&d=e;f":                    "/a?b=c&d=e;f",
		"/100%25?x=100%25":                "/100%25?x=100%25",
		"/a?token=x&b=c":                  "/a?token=***&b=c",
		"/a?b&TOKEN=x":                    "/a?b&TOKEN=***",
		"/a?access_token=x":               "/a?access_token=***",
		"/a?id-token-hint=x":              "/a?id-token-hint=***",
		"/a?X-Amz-Signature=x":            "/a?X-Amz-Signature=***",
		"/a?X-Amz-SignedHeaders=host":     "/a?X-Amz-SignedHeaders=host",
		"/a?api_key=x&apikey=y":           "/a?api_key=***&apikey=***",
		"/a?user[password]=x":             "/a?user[password]=***",
		"/a?password2=x":                  "/a?password2=***",
		"/a?password_confirmation=x":      "/a?password_confirmation=***",
		"/a?code=x&state=y":               "/a?code=***&state=y",
		"/a?zipcode=1&design=2":           "/a?zipcode=1&design=2",
		"/a?PHPSESSID=x":                  "/a?PHPSESSID=***",
		"/a?to%6ben=x":                    "/a?to%6ben=***",
		"/a?to%256ben=x":                  "/a?to%256ben=***",
		"/a?to%zzken=x":                   "/a?to%zzken=***",
		"/a?%ff=x":                        "/a?%ff=***",
		"/a?to\u212aen=x":                 "/a?to\u212aen=***",
		"/a?pa\u017fsword=x":              "/a?pa\u017fsword=***",
		"/a?token%3Dx":                    "/a?***",
		"/a?b=c;token=x;d=e&f=g":          "/a?b=c;token=***&f=g",
		"/a?b=c token=x":                  "/a?b=c token=***",
		"/a?next=/cb?token=x":             "/a?next=/cb?token=***",
		"/a?next=%2Fcb%3Ftoken%3Dx":       "/a?next=***",
		"/a?next=%252Fcb%253Ftoken%253Dx": "/a?next=***",
		"/a?to=http://u:x@h/":             "/a?to=***",
		"/a?mail=me@example.org":          "/a?mail=me@example.org",
		"/a;jsessionid=x/b?c=d":           "/a***?c=d",
		"/a/token=x":                      "/a/token***",
		"/a%3Btoken%3Dx":                  "/a***",
		"/get/http://u:x@h/":              "/get/http***",
		"/a#token=x":                      "/a",
		"http://u:x@h:80/a?b=c":           "http://h:80/a?b=c",
		"http://u:x/y@h/a":                "http://h/a",
		"http://u:x?y@h/a":                "http://h/a",
		"http://u:x#y@h/a":                "http://h/a",
		"http://x@h":                      "http://h",
		"//u:x@h/a":                       "//h/a",
		"u:x@h:443":                       "h:443",
		"http://[::1]:80/a?b=c":           "http://[::1]:80/a?b=c",
		"h:443":                           "h:443",
	} {
		if got := mask(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// unescaped undoes appendEscaped.
func unescaped(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if s[i] != 'x' {
			b.WriteByte(map[byte]byte{'b': '\b', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v', '\\': '\\', '"': '"'}[s[i]])
			continue
		}
		var c byte
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &c); err != nil {
			t.Fatal(err)
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String()
}

// FuzzLine: whatever goes in, one line comes out that no terminal obeys, and
// from which what went in can be read again.
func FuzzLine(f *testing.F) {
	f.Add("GET", "/a", "HTTP/1.1", "host", "http://h/", "curl\n\x00\x1b[2J\"\\\xff\u202e\U000e0001")
	f.Add("", "", "", "", "", "")
	f.Add("G T", "/a b\r\nGET /c", "\x7f", "\u0085", "\u2028", "\\x0a \\")
	f.Fuzz(func(t *testing.T, method, target, proto, host, referer, agent string) {
		r := sample()
		r.Method, r.Target, r.Proto, r.Host, r.Referer, r.UserAgent = method, target, proto, host, referer, agent
		for _, format := range []string{"common", "combined", "json"} {
			line := string(appendLine(nil, &r, format))
			text, ok := strings.CutSuffix(line, "\n")
			if !ok || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
				return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
			}) {
				t.Fatalf("%s: %q", format, line)
			}
			switch format {
			case "combined":
				quoted := strings.Split(strings.NewReplacer(`\\`, `\\`, `\"`, `\x22`).Replace(text), `"`)
				if len(quoted) != 7 {
					t.Fatalf("%d fields in quotes: %q", len(quoted)/2, text)
				}
				if got := unescaped(t, quoted[5]); got != agent && (agent != "" || got != "-") {
					t.Fatalf("%q comes back as %q", agent, got)
				}
			case "json":
				var back map[string]any
				if err := json.Unmarshal([]byte(text), &back); err != nil {
					t.Fatalf("%v: %s", err, text)
				}
				want := string([]rune(agent)) // each byte that is no UTF-8 is U+FFFD
				if got, _ := back["user_agent"].(string); got != want {
					t.Fatalf("%q comes back as %q", want, got)
				}
			}
		}
		if s := short(&r); strings.ContainsFunc(s, unicode.IsControl) {
			t.Fatalf("%q", s)
		}
	})
}

// FuzzMask: a secret is not shown, wherever it stands and however the name
// before it is written.
func FuzzMask(f *testing.F) {
	for n := range len(names) {
		f.Add(uint64(n), uint(n), "/a", "b=c", "d=e")
	}
	f.Add(uint64(1), uint(0), "http://h/%zz", "%", "\x00;")
	f.Fuzz(func(t *testing.T, seed uint64, name uint, path, before, after string) {
		const secret = "Ssecretvalue9"
		rnd := rand.New(rand.NewPCG(seed, 0))
		if strings.ContainsAny(path, "?#@") || strings.Contains(before, "#") || !strings.HasPrefix(path, "/") {
			t.Skip() // another part of the URL would begin earlier
		}
		written := scrambled(rnd, names[name%uint(len(names))])
		sep := []string{"&", ";", "?", " "}[rnd.IntN(4)]
		query := before + sep + written + "=" + secret + "&" + after
		if rnd.IntN(4) == 0 {
			query = "next=" + url.QueryEscape("/x?"+query)
		}
		for _, s := range []string{path + "?" + query, "http://user:" + secret + "@host" + path + "?" + query, "https://h" + path + "#" + secret} {
			if got := mask(s); strings.Contains(got, secret) {
				t.Fatalf("%q is shown as %q", s, got)
			}
		}
	})
}

var names = []string{
	"access_token", "api_key", "apikey", "client_secret", "X-Amz-Signature", "X-Amz-Credential", "sig", "signature", "password", "passwd", "pwd", "secret", "token",
	"key", "auth", "code", "session", "session_id", "sid", "jwt", "credential", "id_token_hint", "code_verifier", "user[password]", "otp", "SAMLResponse",
}

// scrambled writes a name in another way that means the same.
func scrambled(rnd *rand.Rand, name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch rnd.IntN(5) {
		case 0:
			fmt.Fprintf(&b, "%%%02x", c)
		case 1:
			fmt.Fprintf(&b, "%%25%02X", c)
		case 2:
			b.WriteString(strings.ToUpper(string(c)))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
