package state

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestACrashIsReadFromWhatAProgramPrinted(t *testing.T) {
	t.Parallel()
	main := Frame{"main.main()", "/shop/pages/a/main.go", 9}
	for name, c := range map[string]struct {
		printed string
		want    Crash
	}{
		"nothing":  {"", Crash{}},
		"no crash": {"2026/11/30 21:14:14 cannot reach the database", Crash{}},
		"a panic": {
			"before\npanic: outer [recovered]\n\tpanic: inner\n\ngoroutine 7 [running]:\nruntime.gopanic()\n\t/go/panic.go:10 +0x1\nmain.main()\n\t/shop/pages/a/main.go:9 +0x3\n\ngoroutine 8 [select]:\nmain.other()\n\t/x.go:1\nexit status 2",
			Crash{Message: "panic: outer [recovered]\npanic: inner", Line: 1, Frames: []Frame{{"runtime.gopanic()", "/go/panic.go", 10}, main}},
		},
		"of two the newer": {"panic: one\n\ngoroutine 1 [running]:\n\npanic: two\n", Crash{Message: "panic: two", Line: 4}},
		"a stack overflow": {
			"runtime: goroutine stack exceeds 1000000000-byte limit\nruntime: sp=0x1 stack=[0x1, 0x2]\nfatal error: stack overflow\n\nruntime stack:\nruntime.throw({0x7, 0x9})\n\t/go/panic.go:1229 +0x48 fp=0x7 sp=0x8 pc=0x4\n\ngoroutine 8 gp=0x77ee577a780 m=0 mp=0x9908c0 [running]:\nmain.deep(0xfa22d?)\n\t/shop/pages/a/main.go:7 +0x11c fp=0x77f05860648 sp=0x77f05860640 pc=0x626ebc\nmain.main()\n\t/shop/pages/a/main.go:9\n...additional frames elided...\n",
			Crash{Message: "fatal error: stack overflow", Line: 2, Frames: []Frame{{"main.deep(0xfa22d?)", "/shop/pages/a/main.go", 7}, main}},
		},
		"concurrent writes": {
			"fatal error: concurrent map writes\n\ngoroutine 7 [running]:\nmain.main()\n\t/shop/pages/a/main.go:9 +0x3\n",
			Crash{Message: "fatal error: concurrent map writes", Frames: []Frame{main}},
		},
		"a signal": {
			"panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]\n\ngoroutine 1 [running]:\nmain.main()\n\t/shop/pages/a/main.go:9 +0x3\n",
			Crash{Message: "panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]", Frames: []Frame{main}},
		},
		"a handler": {
			"2026/11/30 21:14:13 http: panic serving 127.0.0.1:35240: in the handler\nof two lines\ngoroutine 21 [running]:\nnet/http.(*conn).serve.func1()\n\t/go/server.go:1897 +0xbd\nmain.main()\n\t/shop/pages/a/main.go:9 +0x25\n2026/11/30 21:14:13 next",
			Crash{Message: "panic: in the handler\nof two lines", Handler: true, Frames: []Frame{{"net/http.(*conn).serve.func1()", "/go/server.go", 1897}, main}},
		},
		"a handler, by a log of its own": {
			"{\"level\":\"ERROR\"}\nshop: http: panic serving [::1]:1: x\ngoroutine 21 [running]:\n",
			Crash{Message: "panic: x", Handler: true, Line: 1},
		},
	} {
		if got := ParseCrash(strings.Split(c.printed, "\n")); !cmp.Equal(got, c.want) {
			t.Errorf("%s: %s", name, cmp.Diff(c.want, got))
		}
	}
}
