package accesslog

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"
)

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
			if got := mask(target + secret); strings.Contains(got, "Ssecret") {
				t.Errorf("%s: %s is shown", name, secret)
			}
		}
	})
	many := "/?" + strings.Repeat("a=b&", 100) + "token=x&c=d"
	if got := mask(many); got != strings.Replace(many, "token=x", "token=***", 1) {
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
		if took := fastest(func() { mask(target) }); took > 10*read {
			t.Errorf("%s: %v, and %v to read it", name, took, read)
		}
	})
}

func BenchmarkMask(b *testing.B) {
	targets(64<<10, func(name, target string) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(target)))
			for b.Loop() {
				mask(target)
			}
		})
	})
}
