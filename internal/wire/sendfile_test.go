package wire

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
)

// countedFile is a file whose descriptor is visible. It counts what this process
// reads of it.
type countedFile struct {
	*os.File
	read *atomic.Int64
}

func (f countedFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.read.Add(int64(n))
	return n, err
}

func TestTheKernelSendsFiles(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, send := range map[string]func(w http.ResponseWriter, f countedFile){
		"whole":      func(w http.ResponseWriter, f countedFile) { io.Copy(w, f) },
		"limited":    func(w http.ResponseWriter, f countedFile) { io.CopyN(w, f, int64(len(content))) },
		"in pieces":  func(w http.ResponseWriter, f countedFile) { io.CopyN(w, f, 1<<16); io.Copy(w, f) },
		"by its own": func(w http.ResponseWriter, f countedFile) { io.Copy(w, f.File) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var read atomic.Int64
			d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
				file, err := os.Open(name)
				if err != nil {
					t.Error(err)
					return
				}
				defer file.Close()
				w.Header().Set("Content-Length", strconv.Itoa(len(content)))
				send(w, countedFile{file, &read})
			})
			c, r := d.dial()
			io.WriteString(c, victim)
			if _, body := readResponse(t, r); body != string(content) {
				t.Errorf("%d bytes came, or others", len(body))
			}
			if n := read.Load(); n > 512 { // the sample for its Content-Type
				t.Errorf("%d bytes were copied", n)
			}
		})
	}
}

// A pipe has a descriptor, but the kernel cannot send it.
func TestWhatIsNoFileIsCopied(t *testing.T) {
	t.Parallel()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4")
		io.Copy(w, in)
	})
	io.WriteString(out, "text")
	out.Close()
	c, r := d.dial()
	io.WriteString(c, victim)
	if _, body := readResponse(t, r); body != "text" {
		t.Errorf("%q came", body)
	}
}
