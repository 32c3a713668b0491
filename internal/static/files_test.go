package static

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestAFileIsWhereItsFolderAndItsNameSay(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{
		"site/a.css": "site", "site/only.css": "only", "site/shop/deep/x": "from above", "site/sh": "a file", "site/empty": "",
		"site/.hidden": "secret", "site/.git/config": "secret", "site/a/.env": "secret", "site/index.html": "index", "site/dir/index.html": "index",
		"site/with space+ä": "odd", "site/back\\slash": "secret", "site/..a": "secret", "site/a..b": "dots", "site/%2e": "percent",
		"shop/a.css": "shop", "shop/deep/y": "y",
		"page/public/a.css": "page", "page/public/p.css": "page", "page/main.go": "secret",
		"secret": "secret",
	})
	at := func(name string) string { return filepath.Join(root, name) }
	f := newFiles(t, map[string]string{"/": at("site"), "/shop": at("shop"), "/blog": at("page"), "/shop/x/y/gone": at("gone"), "/file": at("secret"), "/.well-known": at("shop")})
	f.SetPages(map[string]string{"/shop": at("page"), "/none": at("shop")})
	for path, want := range map[string]string{
		"/a.css": "site", "/only.css": "only", "/sh": "a file", "/with%20space+%C3%A4": "odd", "/a..b": "dots", "/%252e": "percent",
		"/shop/a.css": "shop", "/shop/p.css": "page", "/shop/deep/y": "y", "/shop/deep/x": "from above", "/shop/only.css": "",
		"/blog/main.go": "secret", "/shop/main.go": "", "/none/a.css": "", "/.well-known/a.css": "shop",
		"/": "", "/dir": "", "/dir/": "", "/shop": "", "/a.css/": "", "/a.css/x": "", "/shopx/a.css": "", "/file": "", "/file/": "",
		"/.hidden": "", "/.git/config": "", "/a/.env": "", "/%2ehidden": "", "/..a": "", "/shop/.hidden": "",
		"/../secret": "", "/%2e%2e/secret": "", "/x/../a.css": "", "/./a.css": "", "//a.css": "", "/shop//a.css": "", "/shop/../a.css": "",
		"/shop%2Fa.css": "", "/shop%2fdeep/y": "", "/..%2Fsecret": "", "/back%5Cslash": "", "/..%5Csecret": "", "/a.css%00": "", "/a.css%00.png": "", "/%ff": "",
		"/" + strings.Repeat("a", 300): "", "/" + strings.Repeat("a/", 5000) + "b": "",
	} {
		if got := body(f, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if resp := request(f, http.MethodGet, "/empty"); resp.StatusCode != http.StatusOK || resp.ContentLength != 0 {
		t.Errorf("an empty file is %d of %d bytes", resp.StatusCode, resp.ContentLength)
	}
}

func TestNoLinkLeadsOut(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"site/real/a": "inside", "out/secret": "secret"})
	at := func(name string) string { return filepath.Join(root, name) }
	symlink(t, "real/a", at("site/file"))
	symlink(t, "real", at("site/dir"))
	symlink(t, "../file", at("site/real/up"))
	symlink(t, "../out/secret", at("site/leak"))
	symlink(t, at("out/secret"), at("site/absolute"))
	symlink(t, at("site/real/a"), at("site/absolutely-inside"))
	symlink(t, "../out", at("site/leakdir"))
	symlink(t, "../site/real/a", at("site/out-and-in"))
	symlink(t, "leak", at("site/chain"))
	symlink(t, "loop", at("site/loop"))
	symlink(t, ".", at("site/here"))
	symlink(t, "missing", at("site/dangling"))
	symlink(t, "/proc/self/environ", at("site/environ"))
	symlink(t, at("site"), at("linked"))
	f := newFiles(t, map[string]string{"/": at("site"), "/linked": at("linked")})
	for path, want := range map[string]string{
		"/file": "inside", "/dir/a": "inside", "/real/up": "inside", "/here/real/a": "inside", "/linked/file": "inside",
		"/leak": "", "/absolute": "", "/absolutely-inside": "", "/leakdir/secret": "", "/out-and-in": "", "/chain": "", "/loop": "", "/dangling": "", "/environ": "", "/linked/leak": "",
		"/" + strings.Repeat("here/", 1000) + "real/a": "",
	} {
		if got := body(f, path); got != want {
			t.Errorf("%.40s is %q, want %q", path, got, want)
		}
	}
}

func TestThePublicFolderOfAPageIsNoLink(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"page/main.go": "secret", "other/a": "secret"})
	symlink(t, "../other", filepath.Join(root, "page/public"))
	f := newFiles(t, nil)
	f.SetPages(map[string]string{"/": filepath.Join(root, "page")})
	if got := body(f, "/a"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestWhatIsNoRegularFileIsNotThereAndNeverWaitedFor(t *testing.T) {
	t.Parallel()
	root, err := os.MkdirTemp("", "s") // a socket needs a short name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(root, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	write(t, filepath.Join(root, "a.css"), "plain")
	if err := syscall.Mkfifo(filepath.Join(root, "a.css.br"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(root, "a.css.gz"), 0o755)
	symlink(t, "fifo", filepath.Join(root, "link"))
	paths := []string{"/fifo", "/fifo/x", "/socket", "/link"}
	if syscall.Mknod(filepath.Join(root, "zero"), syscall.S_IFCHR|0o666, 1<<8|5) == nil { // needs root
		paths = append(paths, "/zero")
	}
	f := newFiles(t, map[string]string{"/": root})
	done := make(chan struct{})
	go func() { // ends unless opening waits, which is the defect
		defer close(done)
		for _, path := range paths {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
				if resp := request(f, method, path); resp.StatusCode != notServed {
					t.Errorf("%s %s is answered with %d", method, path, resp.StatusCode)
				}
			}
		}
		if resp := request(f, http.MethodGet, "/a.css", "Accept-Encoding", "br, gzip"); resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Encoding") != "" || resp.Header.Get("Vary") != "" {
			t.Errorf("with a FIFO and a folder beside it: %v", resp)
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("a FIFO is waited for")
	}
}

func TestAFileThatMayNotBeReadIsNotThere(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	root := writeTree(t, map[string]string{"a": "secret"})
	if err := os.Chmod(filepath.Join(root, "a"), 0); err != nil {
		t.Fatal(err)
	}
	if resp := request(newFiles(t, map[string]string{"/": root}), http.MethodGet, "/a"); resp.StatusCode != notServed {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestOnlyGetAndHeadApplyToFiles(t *testing.T) {
	t.Parallel()
	f := newFiles(t, map[string]string{"/": writeTree(t, map[string]string{"a": "text"})})
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "PUT": 405, "DELETE": 405, "PATCH": 405, "OPTIONS": 405, "TRACE": 405, "get": 405, "FOO": 405} {
		if resp := request(f, method, "/a"); resp.StatusCode != want {
			t.Errorf("%s is answered with %d, want %d", method, resp.StatusCode, want)
		}
		if resp := request(f, method, "/b"); resp.StatusCode != notServed {
			t.Errorf("%s of what is not there is answered with %d", method, resp.StatusCode)
		}
	}
}

func TestFoldersComeAndGo(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"page/main.go": ""})
	page, public, assets := filepath.Join(root, "page"), filepath.Join(root, "page/public"), filepath.Join(root, "assets")
	f := New()
	t.Cleanup(f.Close)
	f.SetPages(map[string]string{"/blog": page})
	f.SetMounts([]Mount{{Path: "/", Dir: assets}})
	want := func(when, path, text string) {
		t.Helper()
		if got := body(f, path); got != text {
			t.Errorf("%s: %s is %q, want %q", when, path, got, text)
		}
	}
	want("at first", "/blog/a", "")
	write(t, filepath.Join(public, "a"), "one")
	f.Refresh([]string{filepath.Join(public, "a")})
	want("before it is told", "/blog/a", "")
	f.Refresh([]string{public})
	want("told of the folder", "/blog/a", "one")
	write(t, filepath.Join(public, "b"), "new")
	want("without being told", "/blog/b", "new")
	write(t, filepath.Join(public, "tmp"), "two")
	os.Rename(filepath.Join(public, "tmp"), filepath.Join(public, "a"))
	want("renamed over", "/blog/a", "two")

	os.Rename(page, page+".old")
	write(t, filepath.Join(public, "a"), "three")
	f.Refresh([]string{page})
	want("another folder of that name", "/blog/a", "three")
	os.RemoveAll(page)
	f.Refresh(nil)
	want("gone", "/blog/a", "")
	if n := len(f.folders); n != 0 {
		t.Errorf("%d folders are held open", n)
	}

	write(t, filepath.Join(assets, "a"), "asset")
	f.Refresh([]string{root})
	want("told of the folder above", "/a", "asset")
	f.SetMounts(nil)
	want("not wanted any more", "/a", "")
}

func TestNoDescriptorIsLeftOverManyChanges(t *testing.T) {
	root := writeTree(t, map[string]string{"a/x": "text", "a/x.gz": "gz", "b/x": "text", "page/public/y": "text"})
	at := func(name string) string { return filepath.Join(root, name) }
	f := New()
	f.SetPages(map[string]string{"/": at("page")})
	before := descriptors(t)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, path := range []string{"/a/x", "/b/x", "/y"} {
					switch resp := request(f, http.MethodGet, path, "Accept-Encoding", "gzip"); {
					case resp.StatusCode != http.StatusOK && (path == "/y" || resp.StatusCode != notServed):
						t.Errorf("%s is answered with %d", path, resp.StatusCode)
						return
					}
				}
				request(f, http.MethodPost, "/y")
				request(f, http.MethodGet, "/missing")
			}
		})
	}
	for range 500 {
		f.SetMounts([]Mount{{Path: "/a", Dir: at("a")}, {Path: "/b", Dir: at("b")}, {Path: "/c", Dir: at("a")}})
		f.SetMounts([]Mount{{Path: "/b", Dir: at("b")}})
		f.SetMounts(nil)
		f.Refresh(nil)
	}
	close(stop)
	asking.Wait()
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, there were %d", after, before)
	}
	f.Close()
	if after := descriptors(t); after != before-1 {
		t.Errorf("%d descriptors are open after the end, there were %d before the page", after, before-1)
	}
}

// descriptors returns how many descriptors this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

func FuzzAPathLeadsNowhereElse(f *testing.F) {
	root := writeTree(f, map[string]string{
		"site/a": "public", "site/d/b": "public", "site/.c": "secret", "site/d/.e/f": "secret", "site/d\\b": "secret",
		"secret": "secret", "sites/a": "secret", "page/main.go": "secret", "page/public/d/a": "public",
	})
	symlink(f, "../secret", filepath.Join(root, "site/out"))
	symlink(f, "..", filepath.Join(root, "site/d/up"))
	symlink(f, "../..", filepath.Join(root, "site/d/over"))
	files := newFiles(f, map[string]string{"/": filepath.Join(root, "site"), "/m": filepath.Join(root, "site/d")})
	files.SetPages(map[string]string{"/p": filepath.Join(root, "page")})
	for _, path := range []string{"/a", "/d/b", "/m/b", "/p/d/a", "/../secret", "/d/../../secret", "/d/up/a", "/d/over/secret", "/out", "/.c", "/d/.e/f", "/p/../main.go", "/p/main.go", "//a", "", "a", "/a\x00", "/d\\b", "/d%2Fb", "/m/../.c", "/\xff"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		for _, u := range []*url.URL{{Path: path}, {Path: path, RawPath: strings.ReplaceAll(path, "/", "%2F")}} {
			r := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}
			h, found := files.Find(r)
			if !found {
				continue
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Body.String(); got != "public" {
				t.Fatalf("%q is %q", path, got)
			}
			if strings.Contains(u.RawPath, "%2F") || strings.Contains(path, "/.") || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\x00\\") {
				t.Fatalf("%q is served", path)
			}
		}
	})
}

func TestAPageWithoutAFolderCostsNoAllocation(t *testing.T) {
	f := newFiles(t, map[string]string{"/other": writeTree(t, map[string]string{"a": ""})})
	r := httptest.NewRequest(http.MethodGet, "/blog/2026/a-post", nil)
	if n := testing.AllocsPerRun(100, func() { f.Find(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNoFolder(b *testing.B) {
	root := writeTree(b, map[string]string{"page/main.go": "", "other/public/a": ""})
	f := newFiles(b, nil)
	f.SetPages(map[string]string{"/blog": filepath.Join(root, "page"), "/other": filepath.Join(root, "other")})
	r := httptest.NewRequest(http.MethodGet, "/blog/2026/a-post", nil)
	b.ReportAllocs()
	for b.Loop() {
		f.Find(r)
	}
}

func BenchmarkNoFile(b *testing.B) {
	f := newFiles(b, map[string]string{"/": writeTree(b, map[string]string{"a": ""})})
	r := httptest.NewRequest(http.MethodGet, "/blog/2026/a-post", nil)
	b.ReportAllocs()
	for b.Loop() {
		f.Find(r)
	}
}

func BenchmarkFile(b *testing.B) {
	f := newFiles(b, map[string]string{"/": writeTree(b, map[string]string{"css/a.css": "text"})})
	r := httptest.NewRequest(http.MethodGet, "/css/a.css", nil)
	b.ReportAllocs()
	for b.Loop() {
		h, _ := f.Find(r)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
