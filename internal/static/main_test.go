package static

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writeTree writes files below a new folder and returns the folder.
func writeTree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(root, name), text)
	}
	return root
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// setModTime sets the modification time of a file.
func setModTime(t testing.TB, file string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

// newFiles returns Files that serve folders by path.
func newFiles(t testing.TB, dirs map[string]string) *Files {
	t.Helper()
	f := New()
	t.Cleanup(f.Close)
	var mounts []Mount
	for path, dir := range dirs {
		mounts = append(mounts, Mount{Path: path, Dir: dir})
	}
	f.SetMounts(mounts)
	return f
}

const notServed = http.StatusTeapot // the status if no file is served

// request requests a path. Header holds names and values of fields.
func request(f *Files, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	switch h, found := f.Find(r); {
	case !found:
		w.WriteHeader(notServed)
	case h == nil:
		w.WriteHeader(http.StatusMethodNotAllowed)
	default:
		h.ServeHTTP(w, r)
	}
	return w.Result()
}

// body returns the body of a response for a file, or nothing if there is no file.
func body(f *Files, path string) string {
	resp := request(f, http.MethodGet, path)
	if resp.StatusCode != http.StatusOK {
		return ""
	}
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}
