package live

import (
	"encoding/json"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"tqserver/internal/editor"
	"tqserver/internal/project"
)

// maxOpenRequest is the largest body of a request to open a file, in bytes.
const maxOpenRequest = 8 << 10

// serveOpen opens a file of the project in the editor. It obeys only browsers on this
// machine, and only pages of this server: pages of other origins can send such
// requests too, and with DNS rebinding under a name of their own.
func (l *Live) serveOpen(w http.ResponseWriter, r *http.Request) {
	if reason := refusal(r); reason != "" {
		http.Error(w, reason, http.StatusForbidden)
		return
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != "application/json" {
		http.Error(w, "The request must be application/json.", http.StatusUnsupportedMediaType)
		return
	}
	var req struct {
		File         string
		Line, Column int
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOpenRequest)).Decode(&req); err != nil || req.Line < 0 || req.Column < 0 {
		http.Error(w, `The request must be {"file": …, "line": …, "column": …}.`, http.StatusBadRequest)
		return
	}
	file, ok := project.Resolve(l.root, req.File)
	if !ok {
		http.Error(w, "only files of the project can be opened", http.StatusForbidden)
		return
	}
	if err := l.open(file, req.Line); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// refusal says why a request may not open files, and is empty if it may.
func refusal(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return "Only this machine can open files."
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header[name] != nil {
			return "Only this machine can open files, and not through a proxy."
		}
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if name := strings.ToLower(host); name != "localhost" && !strings.HasSuffix(name, ".localhost") && (err != nil || !addr.IsLoopback()) {
		return "Only pages of localhost can open files."
	}
	if origin := r.Header.Get("Origin"); origin != "http://"+r.Host {
		return "Only pages of this server can open files."
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return "Only pages of this server can open files."
	}
	return ""
}

// openEditor returns a function that opens a file in an editor with a window of its
// own: the server's terminal is in use, or there is none.
func openEditor(root string) func(file string, line int) error {
	return func(file string, line int) error {
		name, args, chosen := editor.Command(os.Getenv, file, line)
		if name == "" || !chosen && !editor.HasWindow(name) {
			return fmt.Errorf("no editor with a window of its own is set: set TQ_EDITOR, for example to code, and restart the server")
		}
		c := exec.Command(name, args...)
		c.Dir = root
		if err := c.Start(); err != nil {
			return fmt.Errorf("start the editor: %w", err)
		}
		go c.Wait() // ends with the editor, which may outlive the server
		return nil
	}
}
