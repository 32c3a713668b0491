package accesslog

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/goleak"

	"tqserver/internal/config"
)

func TestMain(m *testing.M) {
	time.Local = time.FixedZone("", 2*60*60)
	goleak.VerifyTestMain(m)
}

func sample() Record {
	return Record{
		Time: time.Date(2026, 11, 24, 12, 3, 11, 204_000_000, time.UTC), Took: 1234567 * time.Nanosecond,
		Client: "192.0.2.7", Method: "GET", Target: "/api/users?q=a%20b&token=hush", Proto: "HTTP/1.1", Host: "example.org",
		Referer: "https://me:hush@example.org/from?key=hush#hush", UserAgent: `curl/8 "x" \ ` + "\x1b[2J\n\x80é",
		Route: "/api", Upstream: "127.0.0.1:9001", RequestID: "id-1", TraceID: "4bf9", Status: 200, Bytes: 3400,
		Settings: &Settings{Format: "json"},
	}
}

func TestFormats(t *testing.T) {
	r := sample()
	start := `192.0.2.7 - - [24/Nov/2026:14:03:11 +0200] "GET /api/users?q=a%20b&token=*** HTTP/1.1" 200 3400`
	lines := map[string]string{
		"common":   start,
		"combined": start + ` "https://example.org/from?key=***" "curl/8 \"x\" \\ \x1b[2J\n\x80\xc3\xa9"`,
		"json": `{"time":"2026-11-24T14:03:11.204+02:00","client":"192.0.2.7","method":"GET","target":"/api/users?q=a%20b&token=***","proto":"HTTP/1.1","host":"example.org",` +
			`"status":200,"bytes":3400,"took_ms":1.234,"route":"/api","upstream":"127.0.0.1:9001","request_id":"id-1","trace_id":"4bf9",` +
			`"referer":"https://example.org/from?key=***","user_agent":"curl/8 \"x\" \\ \u001b[2J\u000a` + "\uFFFD" + `é"}`,
	}
	for format := range formats {
		want, ok := lines[format]
		if !ok {
			t.Errorf("%s has no line here", format)
			continue
		}
		if got := string(appendLine(nil, &r, format)); got != want+"\n" {
			t.Errorf("%s:\n got %s\nwant %s", format, got, want)
		}
	}
}

func TestTheConfigurationKnowsTheFormats(t *testing.T) {
	_, err := config.Parse("server.yaml", []byte("access_log: {format: no such format}"))
	if err == nil {
		t.Fatal("it accepts any format")
	}
	_, names, _ := strings.Cut(err.Error(), "must be one of ")
	names, _, _ = strings.Cut(names, ", not")
	got, want := strings.Split(names, ", "), append(slices.Collect(maps.Keys(formats)), "off")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("access_log.format may be %q, want %q", got, want)
	}
}

func TestWhatIsNotThereIsADash(t *testing.T) {
	r := Record{Time: sample().Time, Status: 400}
	want := `- - - [24/Nov/2026:14:03:11 +0200] "-" 400 - "-" "-"` + "\n"
	if got := string(appendLine(nil, &r, "combined")); got != want {
		t.Errorf("got %s, want %s", got, want)
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

// Whatever the client sends becomes one line without control characters, and can be
// read from it again.
func FuzzLine(f *testing.F) {
	f.Add("GET", "/a", "HTTP/1.1", "host", "http://h/", "curl\n\x00\x1b[2J\"\\\xff\u202e\U000e0001")
	f.Add("", "", "", "", "", "")
	f.Add("G T", "/a b\r\nGET /c", "\x7f", "\u0085", "\u2028", "\\x0a \\")
	f.Fuzz(func(t *testing.T, method, target, proto, host, referer, agent string) {
		r := sample()
		r.Method, r.Target, r.Proto, r.Host, r.Referer, r.UserAgent = method, target, proto, host, referer, agent
		for format := range formats {
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
				want := string([]rune(agent)) // JSON has U+FFFD for each byte that is not UTF-8
				if got, _ := back["user_agent"].(string); got != want {
					t.Fatalf("%q comes back as %q", want, got)
				}
			}
		}
		if s := summary(&r); strings.ContainsFunc(s, unicode.IsControl) {
			t.Fatalf("%q", s)
		}
	})
}
