package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What is sent to the real program over raw sockets, and what its workers see
// of it. Both pages write down every request that reaches them: the one reads
// its connection itself, the other is pkg/worker. In what is sent {P} is the
// path of the case, below that of a page, and | in a list of fields the end of a
// line. Behind each case comes a victim on the same connection, and then one on
// another, both of which must get their own answer or, the first, none.

// fate is what becomes of the victim on the same connection.
type fate byte

const (
	stays    fate = iota
	ends          // the connection ends with the answer before
	swallows      // it is part of the request, and the one behind it is answered
)

type wireCase struct {
	name   string
	send   string
	status int    // of the answer; 0 for none
	saw    string // what the worker sees; nothing if it is empty
	after  fate
	cut    bool   // the worker may see the beginning of it
	late   string // is sent when the answer began
}

// smuggled is a request that nobody makes.
const smuggled = "GET {P}/smuggled HTTP/1.1\r\nHost: s\r\n\r\n"

// crlf makes lines of fields.
func crlf(fields string) string {
	if fields == "" {
		return "\r\n"
	}
	return strings.ReplaceAll(fields, "|", "\r\n") + "\r\n\r\n"
}

func request(method, fields, body string) string {
	return method + " {P} HTTP/1.1\r\nHost: h\r\n" + crlf(fields) + body
}

func plainGet(fields string) string   { return request("GET", fields, "") }
func post(fields, body string) string { return request("POST", fields, body) }
func withLength(body string) string   { return post("Content-Length: {N}", body) }
func inChunks(body, trailer string) string { // in the one form in which they are compared
	if body != "" {
		body = fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
	}
	return post("Transfer-Encoding: chunked", body+"0\r\n"+trailer+"\r\n")
}

// wireServer is the program, running on the pages.
type wireServer struct {
	dir  string
	addr string
	cmd  *exec.Cmd
	out  bytes.Buffer // may be read when the program has ended
	done chan error

	mu       sync.Mutex // guards expected
	expected map[string]*expectation
}

// expectation is how often workers may see a request.
type expectation struct {
	of          string // the test
	least, most int
	times       int
}

func startWire(t *testing.T, pages map[string]string) *wireServer {
	t.Helper()
	port := freePorts()
	s := &wireServer{dir: t.TempDir(), addr: fmt.Sprintf("127.0.0.1:%d", port), done: make(chan error, 1), expected: make(map[string]*expectation)}
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "go.mod", "module demo\n\ngo 1.26.0\n\nrequire tqserver v0.0.0\n\nreplace tqserver => "+repo+"\n")
	s.write(t, "config/server.yaml", fmt.Sprintf("server:\n  port: %d\nworkers:\n  temp_dir: %s\n  port_range_start: %d\n  port_range_end: %d\n", port, t.TempDir(), port+1, port+19))
	for name, file := range pages {
		s.page(t, name, file, "1")
	}
	path, err := exec.LookPath("tqserver")
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(path, "-dev=false")
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.cmd.Wait() }() // ends with the program
	t.Cleanup(func() { s.cmd.Process.Kill() })
	s.await(t, "the server listens", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return s
}

func (s *wireServer) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *wireServer) page(t *testing.T, name, file, version string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testdata, file))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, filepath.Join("pages", name, "main.go"), strings.Replace(string(text), "VERSION", version, 1))
}

func (s *wireServer) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !holds(); <-time.After(5 * time.Millisecond) {
		select {
		case err := <-s.done:
			t.Fatalf("the server ended: %v\n%s", err, s.out.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("waited too long for: " + what)
		}
	}
}

// quit ends the program, and with it all workers.
func (s *wireServer) quit(t *testing.T) {
	t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.done:
		if err != nil {
			t.Errorf("the server ended: %v\n%s", err, s.out.String())
		}
	case <-time.After(testTimeout):
		t.Fatal("the server does not end")
	}
}

// answer is one of those on a connection.
type answer struct {
	status int
	header http.Header
	body   string
	close  bool // it says that the connection ends
}

// client is a connection.
type client struct {
	net.Conn
	r *bufio.Reader
}

func (s *wireServer) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testTimeout))
	return &client{c, bufio.NewReader(c)}
}

// next reads the next answer, those before it (1xx) left out. It returns false
// at the end of the connection, which must not be in the midst of an answer.
func (c *client) next(t *testing.T, method string) (answer, bool) {
	t.Helper()
	if _, err := c.r.Peek(1); err != nil {
		if err, ok := err.(net.Error); ok && err.Timeout() {
			t.Errorf("the connection stays open, without an answer")
		}
		return answer{}, false
	}
	for {
		resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
		if err != nil {
			t.Errorf("what came is no answer: %v", err)
			return answer{}, false
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return answer{resp.StatusCode, resp.Header, "", false}, true
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("the answer is cut: %v", err)
		}
		return answer{resp.StatusCode, resp.Header, string(body), resp.Close}, true
	}
}

// victim is a request behind a case.
func victim(name, fields string) string {
	return "GET {P}/" + name + " HTTP/1.1\r\nHost: v\r\n" + crlf(fields)
}

// expand puts a path into a text, and the lengths that follow from it: {N} of
// the body, {V} of a victim, and {X}, in hexadecimal digits, of smuggled.
func expand(text, path string) string {
	text = strings.ReplaceAll(text, "{P}", path)
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	return strings.NewReplacer(
		"{N}", strconv.Itoa(len(body)),
		"{V}", strconv.Itoa(len(strings.ReplaceAll(victim("victim", ""), "{P}", path))),
		"{X}", strconv.FormatInt(int64(len(strings.ReplaceAll(smuggled, "{P}", path))), 16),
	).Replace(head + "\r\n\r\n" + body)
}

// try sends a case to a page and looks at what comes.
func (s *wireServer) try(t *testing.T, c wireCase, path string) {
	at := func(text string) string { return expand(text, path) }
	if c.saw != "" {
		s.expect(t, at(c.saw), c.status == http.StatusOK && !c.cut, c.cut)
	}
	s.expect(t, at(victim("fresh", "")), true, false)
	switch c.after {
	case stays:
		s.expect(t, at(victim("victim", "")), true, false)
	case swallows:
		s.expect(t, at(victim("behind", "")), true, false)
	}
	conn := s.dial(t)
	method, _, _ := strings.Cut(strings.TrimLeft(c.send, "\r\n"), " ")
	next := victim("victim", "Connection: close")
	if c.after == swallows {
		next = victim("victim", "") + victim("behind", "Connection: close")
	}
	if c.late != "" {
		io.WriteString(conn, at(c.send))
		conn.r.Peek(1)
		next = c.late + next
		io.WriteString(conn, at(next)) // the connection may be closed
	} else if _, err := io.WriteString(conn, at(c.send)+at(next)); err != nil {
		t.Error(err)
	}
	if c.status != 0 {
		got, ok := conn.next(t, method)
		switch {
		case !ok || got.status != c.status:
			t.Errorf("the answer is %d, not %d: %.300q", got.status, c.status, got.body)
		case c.status == http.StatusOK && c.saw != "" && method != http.MethodHead && got.body != "early":
			if body := plain(got.body); body != at(c.saw) {
				t.Errorf("the worker saw\n%q, not\n%q", body, at(c.saw))
			}
		case c.after == ends && !got.close:
			t.Errorf("the answer does not say that the connection ends: %v", got.header)
		}
	}
	switch c.after {
	case stays:
		s.own(t, conn, path+"/victim")
	case swallows:
		s.own(t, conn, path+"/behind")
	}
	if got, ok := conn.next(t, http.MethodGet); ok {
		t.Errorf("one answer too many: %d %.300q", got.status, got.body)
	}
	fresh := s.dial(t)
	io.WriteString(fresh, at(victim("fresh", "Connection: close")))
	s.own(t, fresh, path+"/fresh")
}

// own reads an answer, which must be the one to a victim.
func (s *wireServer) own(t *testing.T, c *client, target string) {
	t.Helper()
	got, ok := c.next(t, http.MethodGet)
	want := "GET " + target + " HTTP/1.1\r\nHost: v\r\n\r\n"
	if !ok || got.status != http.StatusOK || got.header.Get("X-Saw") != "GET "+url.QueryEscape(target) || plain(got.body) != want {
		t.Errorf("%s got another answer, or none: %d %v %.300q", target, got.status, got.header, got.body)
	}
}

// expect notes that workers may see a request, or must, or may see a part of it.
func (s *wireServer) expect(t *testing.T, saw string, must, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cut {
		saw = "cut: " + headOf(saw)
	}
	if s.expected[saw] == nil {
		s.expected[saw] = &expectation{of: t.Name()}
	}
	s.expected[saw].most++
	if must {
		s.expected[saw].least++
	}
}

func headOf(saw string) string {
	head, _, _ := strings.Cut(saw, "\r\n\r\n")
	return head
}

// settle compares all that reached workers with what was expected.
func (s *wireServer) settle(t *testing.T, except string) {
	t.Helper()
	f, err := os.Open(filepath.Join(s.dir, "records"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for records := json.NewDecoder(f); ; {
		var record struct {
			Saw []byte
			Cut bool
		}
		if err := records.Decode(&record); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		saw := plain(string(record.Saw))
		if record.Cut {
			saw = "cut: " + headOf(saw)
		}
		if e := s.expected[saw]; e == nil && strings.HasPrefix(saw, "GET "+except) {
			continue
		} else if e == nil {
			t.Errorf("a worker saw what nobody sent:\n%.1000q", saw)
		} else {
			e.times++
		}
	}
	for saw, e := range s.expected {
		if e.times < e.least || e.times > e.most {
			t.Errorf("%s: workers saw %d times, not %d to %d:\n%.300q", e.of, e.times, e.least, e.most, saw)
		}
	}
}

var (
	ours    = regexp.MustCompile(`(?m)^(X-Forwarded-For: 127\.0\.0\.1|X-Forwarded-Proto: http|X-Request-Id: [A-Z2-7]{26}|Traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00)\r\n`)
	hosts   = regexp.MustCompile(`(?m)^Host: (.*)\r\n`)
	chunked = regexp.MustCompile(`(?m)^Transfer-Encoding: chunked\r$`)
)

// plain is what a worker saw without what the server adds to each request, and
// with the body in one chunk, if it is in chunks.
func plain(saw string) string {
	head, body, _ := strings.Cut(saw, "\r\n\r\n")
	head += "\r\n"
	if host := hosts.FindStringSubmatch(head); host != nil {
		head = strings.Replace(head, "\r\nX-Forwarded-Host: "+host[1]+"\r\n", "\r\n", 1)
	}
	head = ours.ReplaceAllString(head, "")
	head = strings.Replace(head, "\r\nidempotency-key:", "\r\nIdempotency-Key:", 1) // in this form net/http repeats no request for it
	if chunked.MatchString(head) {
		body = oneChunk(body)
	}
	return head + "\r\n" + body
}

// oneChunk joins chunks that are framed as strictly as can be. What is not it
// leaves as it is.
func oneChunk(body string) string {
	var all strings.Builder
	for rest := body; ; {
		digits, after, ok := strings.Cut(rest, "\r\n")
		size, err := strconv.ParseUint(digits, 16, 31)
		if !ok || err != nil || digits != strconv.FormatUint(size, 16) {
			return body
		}
		if size == 0 {
			if all.Len() == 0 {
				return body
			}
			return fmt.Sprintf("%x\r\n%s\r\n%s", all.Len(), all.String(), rest)
		}
		if uint64(len(after)) < size+2 || after[size:size+2] != "\r\n" {
			return body
		}
		all.WriteString(after[:size])
		rest = after[size+2:]
	}
}

// wireCases are all that are sent to every page.
func wireCases() (all []wireCase) {
	refused := func(name, send string, status int) {
		all = append(all, wireCase{name: name, send: send, status: status, after: ends})
	}
	for _, o := range obfuscated {
		refused("CL.TE, "+o.name, post("Content-Length: 6|"+o.line, "0\r\n\r\nG"), o.status)
		refused("TE.CL, "+o.name, post(o.line+"|Content-Length: 4", "{X}\r\n"+smuggled+"\r\n0\r\n\r\n"), o.status)
	}
	for _, l := range lengths {
		refused("length, "+l.name, post(l.line, "hello"), 400)
		refused("0.CL, "+l.name, plainGet(l.line)+smuggled, 400)
	}
	for _, r := range refusals {
		refused(r.name, r.send, r.status)
	}
	for _, d := range decided {
		all = append(all, wireCase{name: d.name, send: d.send, status: d.status})
	}
	for _, b := range badChunks {
		head := post("Transfer-Encoding: chunked", "")
		all = append(all, wireCase{name: "chunks, " + b.name, send: head + b.body, status: 400, saw: head, after: ends, cut: true})
	}
	for _, c := range passing {
		if c.status == 0 {
			c.status = http.StatusOK
		}
		all = append(all, c)
	}
	return all
}

func TestEveryRequestIsOneRequestForEverybody(t *testing.T) {
	t.Parallel()
	s := startWire(t, map[string]string{"raw": "rawpage.go.txt", "std": "stdpage.go.txt"})
	began := time.Now()
	cases := wireCases()
	t.Run("cases", func(t *testing.T) {
		for i, c := range cases {
			for _, page := range []string{"raw", "std"} {
				t.Run(page+" "+c.name, func(t *testing.T) {
					t.Parallel()
					s.try(t, c, fmt.Sprintf("/%s/%d", page, i))
				})
			}
		}
	})
	t.Logf("%d cases on each page in %v", len(cases), time.Since(began))
	s.quit(t)
	s.settle(t, "/no/path")
}

// A worker that speaks HTTP badly harms only the request
// (RFC 9112 sections 6.3 and 9.2).
func TestWhatAWorkerSaysIsOneAnswer(t *testing.T) {
	t.Parallel()
	s := startWire(t, map[string]string{"raw": "rawpage.go.txt"})
	t.Run("answers", func(t *testing.T) {
		for i, a := range answers {
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				path := fmt.Sprintf("/raw/%d", i)
				for range 20 {
					c := s.dial(t)
					io.WriteString(c, a.method+" "+path+"?answer="+url.QueryEscape(a.raw)+" HTTP/1.1\r\nHost: h\r\n\r\n")
					got, _ := c.next(t, a.method)
					if got.status != a.status || a.status < 500 && got.body != a.body || got.header.Get("X-A")+got.header.Get("Keep-Alive")+got.header.Get("Link") != "" {
						t.Fatalf("the client got %d %v %q", got.status, got.header, got.body)
					}
					io.WriteString(c, expand(victim("victim", "Connection: close"), path))
					s.own(t, c, path+"/victim")
				}
			})
		}
	})
	t.Run("what follows an upgrade is no request", func(t *testing.T) { // RFC 9110 section 7.8
		c := s.dial(t)
		const answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
		follows := expand(smuggled, "/raw")
		io.WriteString(c, "GET /raw/up?answer="+url.QueryEscape(answer)+" HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"+follows)
		if got, _ := c.next(t, http.MethodGet); got.status != http.StatusSwitchingProtocols {
			t.Fatalf("the client got %d %q", got.status, got.body)
		}
		heard := make([]byte, len(follows))
		if _, err := io.ReadFull(c.r, heard); err != nil || string(heard) != follows {
			t.Errorf("the worker heard %q, %v", heard, err)
		}
		c.Close()
	})
	s.quit(t)
}

// While a page is swapped its requests are what they always are.
func TestEveryRequestIsOneRequestWhileItsPageIsSwapped(t *testing.T) {
	t.Parallel()
	s := startWire(t, map[string]string{"raw": "rawpage.go.txt"})
	version := func() string {
		c := s.dial(t)
		defer c.Close()
		io.WriteString(c, expand(victim("fresh", "Connection: close"), "/raw/version"))
		got, _ := c.next(t, http.MethodGet)
		return got.header.Get("X-Version")
	}
	s.await(t, "the page serves", func() bool { return version() == "1" })
	var round int
	for _, next := range []string{"2", "3"} {
		s.page(t, "raw", "rawpage.go.txt", next)
		for swapped := false; !swapped && !t.Failed(); round++ {
			swapped = version() == next // and once more on the new one alone
			t.Run(fmt.Sprint(round), func(t *testing.T) {
				for i, c := range wireCases() {
					if i%10 != round%10 {
						continue
					}
					t.Run(c.name, func(t *testing.T) {
						t.Parallel()
						s.try(t, c, fmt.Sprintf("/raw/%d-%d", round, i))
					})
				}
			})
		}
	}
	s.quit(t)
	s.settle(t, "/raw/version/")
}
