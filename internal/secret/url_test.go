package secret

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

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
		if got := URL(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// hostile are what a client may repeat so that its target costs much.
var hostile = map[string]string{
	"plain": "abcdefgh", "assignments": "a=", "parameters": "a=b;", "query": "a=b&", "queries": "?a=b&c", "encoded": "%61=",
	"encoded separators": "%3B", "nested": "%25", "nested assignments": "a%3D", "deep": "%25253D", "hidden": "%2561%253Db%2526",
	"slashes": "/", "authorities": "//a", "users": "//a:", "colons": ":", "percents": "%", "equals": "=", "semicolons": ";", "pluses": "a+",
	"capitals": "A=", "long s": "ſ=", "encoded long s": "%C5%BF=", "words": "monkeys=", "mix": "/a=b//c;d%3De&",
}

// targets calls a function with targets of a size.
func targets(size int, f func(name, target string)) {
	for name, unit := range hostile {
		for _, prefix := range []string{"/", "/?", "/?a=", "http://h/"} {
			f(name+" after "+prefix, prefix+strings.Repeat(unit, size/len(unit)))
		}
	}
}

func TestWhatIsNotLookedAtIsNotShown(t *testing.T) {
	t.Parallel()
	targets(64<<10, func(name, target string) {
		for _, secret := range []string{";token=Ssecret", "&token=Ssecret", "?token=Ssecret", "//u:Ssecret@h/", "%3Ftoken%3DSsecret"} {
			if got := URL(target + secret); strings.Contains(got, "Ssecret") {
				t.Errorf("%s: %s is shown", name, secret)
			}
		}
	})
	many := "/?" + strings.Repeat("a=b&", 100) + "token=x&c=d"
	if got := URL(many); got != strings.Replace(many, "token=x", "token=***", 1) {
		t.Errorf("of 100 parameters is left: %s", got)
	}
}

// To mask costs about what it costs to read, however hostile a target is.
func TestMaskingCostsWhatReadingCosts(t *testing.T) {
	const turns = 10
	// fastest is the shortest time of some turns: the machine may have other work.
	fastest := func(f func()) time.Duration {
		least := time.Duration(1 << 62)
		for range turns {
			began := time.Now()
			f()
			least = min(least, time.Since(began))
		}
		return least
	}
	read := fastest(func() {
		text := "GET /" + strings.Repeat("abcdefgh", 8<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n"
		if _, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text))); err != nil {
			t.Fatal(err)
		}
	})
	targets(64<<10, func(name, target string) {
		if took := fastest(func() { URL(target) }); took > 10*read {
			t.Errorf("%s: %v, and %v to read it", name, took, read)
		}
	})
}

func BenchmarkMask(b *testing.B) {
	targets(64<<10, func(name, target string) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(target)))
			for b.Loop() {
				URL(target)
			}
		})
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
			if got := URL(s); strings.Contains(got, secret) {
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
