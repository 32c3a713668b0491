package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tqserver/internal/tools/trial"
)

// forwardPage is the page behind the proxies: responses of any length.
const forwardPage = `package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"

	"tqserver/pkg/worker"
)

func main() {
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello, world\n")
	})
	mux.HandleFunc("/port", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, os.Getenv("TQ_PORT")) })
	text := strings.Repeat("0123456789abcdef", 10<<16)
	mux.HandleFunc("/bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, text[:n])
	})
	log.Fatal(runtime.StartServer(mux))
}
`

const nginxText = `worker_processes auto;
daemon off;
pid DIR/nginx.pid;
error_log DIR/nginx.err;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	keepalive_requests 1000000000;
	upstream worker { server WORKER; keepalive 256; keepalive_requests 1000000000; }
	server {
		listen ADDRESS;
		location / {
			proxy_pass http://worker;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $remote_addr;
		}
	}
}
`

const caddyText = `{
	admin off
	auto_https off
	persist_config off
	log {
		level ERROR
	}
}
http://ADDRESS {
	reverse_proxy WORKER
}
`

// reverseProxy is the proxy of the standard library.
func reverseProxy(address, worker string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.MaxIdleConnsPerHost, transport.DisableCompression = nil, 256, true
	quiet := log.New(io.Discard, "", 0) // clients disconnect at the end of a round
	target := &url.URL{Scheme: "http", Host: worker}
	return http.ListenAndServe(address, &httputil.ReverseProxy{
		Transport: transport, ErrorLog: quiet,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
	})
}

// side is a program that is compared.
type side struct {
	name    string
	address string
	rates   []float64 // requests a second, by round
}

// startForward starts the server with a page to forward to.
func (b *bench) startForward(ctx context.Context) (*project, error) {
	tq, err := b.newProject("forward", "access_log:\n  format: \"off\"\n")
	if err != nil {
		return nil, err
	}
	if err := tq.Write("pages/index/main.go", forwardPage); err != nil {
		return nil, err
	}
	if err := tq.Start(ctx); err != nil {
		return nil, err
	}
	if err := trial.Await(ctx, tq.URL, "hello"); err != nil {
		tq.Stop()
		return nil, err
	}
	return tq, nil
}

// sides starts the programs that forward to one worker, and the worker.
func (b *bench) sides(ctx context.Context) (tq *project, all map[string]*side, stop func(), err error) {
	tq, err = b.startForward(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	var running []func()
	stop = func() {
		for _, end := range running {
			end()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	running = append(running, tq.Stop)
	port, err := trial.Get(ctx, tq.URL+"/port")
	if err != nil {
		return nil, nil, stop, err
	}
	worker := "127.0.0.1:" + port
	all = map[string]*side{"tqserver": {address: tq.Address}, "worker": {address: worker}}
	itself, err := os.Executable()
	if err != nil {
		return nil, nil, stop, err
	}
	for name, start := range map[string]func(dir, address string) ([]string, string){
		"nginx": func(dir, address string) ([]string, string) {
			return []string{"nginx", "-c", dir + "/nginx"}, nginxText
		},
		"Caddy": func(dir, address string) ([]string, string) {
			return []string{b.caddy, "run", "--adapter", "caddyfile", "--config", dir + "/Caddy"}, caddyText
		},
		"ReverseProxy": func(dir, address string) ([]string, string) {
			return []string{itself, "-reverse-proxy", address, worker}, ""
		},
	} {
		port, err := trial.FreePorts(1)
		if err != nil {
			return nil, nil, stop, err
		}
		dir, address := filepath.Join(b.dir, "beside-"+name), fmt.Sprintf("127.0.0.1:%d", port)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, nil, stop, err
		}
		args, text := start(dir, address)
		text = strings.NewReplacer("DIR", dir, "ADDRESS", address, "WORKER", worker).Replace(text)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, nil, stop, err
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, nil, stop, err
		}
		running = append(running, func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
		if err := trial.Await(ctx, "http://"+address+"/", "hello"); err != nil {
			return nil, nil, stop, err
		}
		all[name] = &side{address: address}
	}
	for name, s := range all {
		s.name = name
	}
	return tq, all, stop, nil
}

var (
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkFailed = regexp.MustCompile(`(?m)^\s*(Non-2xx.*|Socket errors:.*)$`)
)

const postScript = `wrk.method = "POST"
wrk.body = string.rep("x", 10240)
wrk.headers["Content-Type"] = "text/plain"
`

// wrk returns how many requests a second get a response.
func (b *bench) wrk(ctx context.Context, address, path string, clients int, seconds int) (float64, error) {
	args := []string{"-t1", fmt.Sprintf("-c%d", clients), fmt.Sprintf("-d%ds", seconds)}
	if path == "POST" {
		script := filepath.Join(b.dir, "post.lua")
		if err := os.WriteFile(script, []byte(postScript), 0o644); err != nil {
			return 0, err
		}
		args, path = append(args, "-s", script), "/"
	}
	out, err := output(ctx, b.dir, "wrk", append(args, "http://"+address+path)...)
	if err != nil {
		return 0, err
	}
	rate, err := parseWrk(out)
	if err != nil {
		return 0, fmt.Errorf("wrk %s%s: %w", address, path, err)
	}
	return rate, nil
}

// parseWrk returns the requests a second that wrk reports. An error says which of
// them failed.
func parseWrk(out string) (float64, error) {
	if failed := wrkFailed.FindString(out); failed != "" {
		return 0, errors.New(strings.TrimSpace(failed))
	}
	m := wrkRate.FindStringSubmatch(out)
	if m == nil {
		return 0, errors.New("no rate in:\n" + out)
	}
	return strconv.ParseFloat(m[1], 64)
}

// inTurns measures sides in turns, in place of earlier results. The order is
// random: of two equal sides the one that always came second was some percent
// faster.
func (b *bench) inTurns(ctx context.Context, path string, clients, rounds, seconds int, sides ...*side) error {
	for _, s := range sides {
		s.rates = nil
	}
	for range rounds {
		for _, i := range rand.Perm(len(sides)) {
			s := sides[i]
			rate, err := b.wrk(ctx, s.address, path, clients, seconds)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.rates = append(s.rates, rate)
		}
	}
	return nil
}

// against compares two sides by the median of the ratios of all rounds.
func against(bar int, work string, ours, other *side, limit float64) result {
	var ratios []float64
	for i := range ours.rates {
		ratios = append(ratios, ours.rates[i]/other.rates[i])
	}
	name := other.name
	if name == "ReverseProxy" {
		name = "`httputil.ReverseProxy`"
	}
	return noLess(bar, work, name, median(ours.rates), median(other.rates), median(ratios), limit, "/s")
}

// forward measures bars 6, 7 and 8, memory under load (bar 10), and growth.
func (b *bench) forward(ctx context.Context) error {
	tq, all, stop, err := b.sides(ctx)
	if err != nil {
		return err
	}
	defer stop()
	ours, nginx := all["tqserver"], all["nginx"]
	for _, s := range all { // to warm up
		if _, err := b.wrk(ctx, s.address, "/", 64, 1); err != nil {
			return err
		}
	}
	if err := b.inTurns(ctx, "/", 64, 7, 3, ours, nginx, all["ReverseProxy"], all["Caddy"], all["worker"]); err != nil {
		return err
	}
	small := "small response, 64 clients"
	b.add(against(6, small, ours, all["ReverseProxy"], 2))
	b.add(against(6, small, ours, nginx, 0.8))
	b.add(against(6, small, ours, all["Caddy"], 2.5))
	capacity := median(ours.rates)
	memory, err := tq.Memory("VmHWM")
	if err != nil {
		return err
	}
	b.add(atMost(10, "memory of the server under that load, at most", memory, "MiB", 60))

	for _, c := range []struct{ path, work string }{
		{"/bytes/10240", "responses of 10 kB"}, {"/bytes/102400", "responses of 100 kB"}, {"POST", "POST of 10 kB"},
	} {
		if err := b.inTurns(ctx, c.path, 64, 5, 3, ours, nginx); err != nil {
			return err
		}
		b.add(against(7, c.work, ours, nginx, 0.8))
	}
	if err := b.latency(ctx, capacity/10, ours, nginx, all["worker"]); err != nil {
		return err
	}
	return b.growth(ctx, ours, nginx, all["ReverseProxy"])
}

// growth measures how the rate depends on the number of clients and the length
// of the response.
func (b *bench) growth(ctx context.Context, sides ...*side) error {
	clients := chart{name: "clients", title: "Requests a second, small response, by number of clients", x: "clients", y: "requests/s"}
	bodies := chart{name: "bodies", title: "Requests a second, 64 clients, by length of the response", x: "bytes", y: "requests/s"}
	point := func(c *curve, x int, s *side, path string, n int) error {
		err := b.inTurns(ctx, path, n, 1, 2, s)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			fmt.Fprintln(os.Stderr, "left out:", err)
		default:
			c.points = append(c.points, [2]float64{float64(x), s.rates[0]})
		}
		return nil
	}
	for _, s := range sides {
		byClients, byLength := curve{name: s.name}, curve{name: s.name}
		for _, n := range []int{1, 4, 16, 64, 256, 1024} {
			if err := point(&byClients, n, s, "/", n); err != nil {
				return err
			}
		}
		for _, n := range []int{0, 1 << 10, 10 << 10, 100 << 10, 1 << 20, 10 << 20} {
			if err := point(&byLength, max(n, 100), s, fmt.Sprintf("/bytes/%d", n), 64); err != nil {
				return err
			}
		}
		clients.curves, bodies.curves = append(clients.curves, byClients), append(bodies.curves, byLength)
	}
	bodies.x = "bytes (the first is an empty response)"
	b.charts = append(b.charts, clients, bodies)
	return nil
}

// dial returns a connection and the request to send on it.
func dial(address string) (net.Conn, []byte, error) {
	c, err := net.DialTimeout("tcp", address, time.Second)
	return c, []byte("GET / HTTP/1.1\r\nHost: " + address + "\r\n\r\n"), err
}
