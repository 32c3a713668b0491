package main

import (
	"strconv"
	"strings"
)

// pageText returns a page that names its edit. Its mode is what is wrong with it:
//
//	exit    it ends as soon as it starts
//	mute    it never listens
//	panic   it ends at its first request
//	deaf    it does not use pkg/worker and ignores SIGTERM
//	parent  it has a child
//	stamp   it writes one of its own sources as it starts
//	heir    it is deaf and has a child that holds its output and its port
func pageText(edit int, mode string) string {
	return strings.NewReplacer("EDIT", strconv.Itoa(edit), "MODE", mode).Replace(pageTemplate)
}

const pageTemplate = `package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tqserver/pkg/worker"
)

const (
	edit = EDIT
	mode = "MODE"
)

var pid = os.Getpid()

var (
	mu   sync.Mutex
	held [][]byte
)

func main() {
	switch mode {
	case "exit":
		fmt.Println("cannot start: there is no table customers")
		os.Exit(1)
	case "mute":
		time.Sleep(time.Hour)
	case "stamp":
		text := fmt.Sprintf("package main\n\nfunc init() { held = append(held, []byte(\"%d\")) }\n", time.Now().UnixNano())
		os.WriteFile("pages"+os.Getenv("TQ_ROUTE")+"/stamp.go", []byte(text), 0o644)
	case "parent":
		exec.Command("sleep", "600").Start()
	}
	http.HandleFunc("/", respond)
	http.HandleFunc("/health", health)
	if mode == "deaf" || mode == "heir" {
		alone()
		return
	}
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}

// alone serves without pkg/worker.
func alone() {
	signal.Ignore(syscall.SIGTERM)
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("TQ_PORT"))
	if err != nil {
		log.Fatal(err)
	}
	if mode == "heir" {
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			log.Fatal(err)
		}
		child := exec.Command("sleep", "600")
		child.Stdout, child.Stderr, child.ExtraFiles = os.Stdout, os.Stderr, []*os.File{f}
		child.Start()
	}
	log.Fatal(http.Serve(l, nil))
}

func health(w http.ResponseWriter, r *http.Request) {
	if sick, _ := os.ReadFile("sick"); string(sick) == strconv.Itoa(pid) {
		http.Error(w, "sick", http.StatusInternalServerError)
	}
}

func respond(w http.ResponseWriter, r *http.Request) {
	if mode == "panic" {
		go panic("boom")
		time.Sleep(time.Hour)
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n, _ := strconv.Atoi(r.Form.Get("n"))
	what := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	switch what {
	case "record":
		f, err := os.OpenFile("records", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err == nil {
			_, err = fmt.Fprintln(f, r.Form.Get("id"))
			f.Close()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	case "slow":
		time.Sleep(time.Duration(n) * time.Millisecond)
	case "grow":
		block := bytes.Repeat([]byte{1}, n<<20)
		mu.Lock()
		held = append(held, block)
		mu.Unlock()
	case "say":
		fmt.Println(strings.Repeat("x", n))
	case "flood":
		fmt.Fprintln(w, flood(n), "longest write in ms")
	case "line":
		os.Stdout.Write(bytes.Repeat([]byte{'x'}, n<<20))
		fmt.Println()
	case "events":
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).SetWriteDeadline(time.Time{})
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			fmt.Fprintf(w, "data: %d\n\n", edit)
			http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	case "socket":
		socket(w, r)
		return
	}
	fmt.Fprintf(w, "edit %d pid %d\n", edit, pid)
}

// flood prints n MiB as fast as it can, and returns the longest that a write of
// 32 KiB took, in milliseconds.
func flood(n int) int64 {
	lines := bytes.Repeat([]byte(strings.Repeat("x", 127)+"\n"), 256)
	var longest time.Duration
	for range n * 32 {
		began := time.Now()
		os.Stdout.Write(lines)
		longest = max(longest, time.Since(began))
	}
	return longest.Milliseconds()
}

// socket sends back short messages of a WebSocket (RFC 6455).
func socket(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Time{})
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	for {
		head, body, err := frame(rw.Reader)
		if err != nil {
			return
		}
		conn.Write(append([]byte{head, byte(len(body))}, body...))
		if head&0xf == 8 {
			return
		}
	}
}

func frame(r *bufio.Reader) (head byte, body []byte, err error) {
	var start [6]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, start[1]&0x7f)
	_, err = io.ReadFull(r, body)
	for i := range body {
		body[i] ^= start[2+i%4]
	}
	return start[0], body, err
}
`
