package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The options stand in one table. The defaults, the decoder and the test of
// the documentation read it, so that an option is added in one place. The
// alternative, struct tags, could say neither limits nor units without a small
// language of its own.

// An option is a key of the file whose value ends up in a T.
type option[T any] struct {
	key     string // with its sections
	initial string // the default, as the file would say it
	kind    kind
	set     func(t *T, text string) error // nil for a group
}

// A kind is what YAML must take the value of an option for.
type kind int

const (
	wantNumber kind = iota
	wantText
	wantTextOrNull // null is the empty text
	wantGroup      // a mapping whose keys the user chooses
	wantList
)

// options are the keys of the file. Those of workers are defaultOptions and
// lifecycleOptions, and some are pathOptions under the name that they have for
// all paths.
var options = slices.Concat([]option[Config]{
	integer("server.port", 8080, 1, 65535, func(c *Config) *int { return &c.Server.Port }),
	seconds("server.read_timeout_seconds", 30, 0, func(c *Config) *time.Duration { return &c.Server.ReadTimeout }),
	seconds("server.write_timeout_seconds", 30, 0, func(c *Config) *time.Duration { return &c.Server.WriteTimeout }),
	seconds("server.idle_timeout_seconds", 120, 0, func(c *Config) *time.Duration { return &c.Server.IdleTimeout }),
	seconds("server.read_header_timeout_seconds", 10, 1, func(c *Config) *time.Duration { return &c.Server.ReadHeaderTimeout }),
	integer("server.min_body_bytes_per_second", 240, 0, math.MaxInt32, func(c *Config) *int { return &c.Server.MinBodyRate }),
	integer("server.max_header_bytes", 64<<10, 1<<10, 16<<20, func(c *Config) *int { return &c.Server.MaxHeaderBytes }),
	as("server.max_body_bytes", "max_body_bytes", pathOptions, everyPath),
	integer("server.max_connections", 0, 0, math.MaxInt32, func(c *Config) *int { return &c.Server.MaxConnections }),
	{key: "server.trusted_proxies", kind: wantList},
	logFile("server.log_file", "logs/server_{date}.log", func(c *Config) *string { return &c.Server.LogFile.Name }, "{date}"),
	text("server.log_format", "text", func(c *Config) *string { return &c.Server.LogFormat }, oneOf("text", "json")),

	text("workers.temp_dir", "/tmp/tqserver/bin", func(c *Config) *string { return &c.Workers.TempDir }, folder),
	integer("workers.port_range_start", 9000, 1, 65535, func(c *Config) *int { return &c.Workers.PortRangeStart }),
	integer("workers.port_range_end", 9999, 1, 65535, func(c *Config) *int { return &c.Workers.PortRangeEnd }),
	{key: "workers.paths", kind: wantGroup},

	milliseconds("file_watcher.debounce_ms", 50, 0, func(c *Config) *time.Duration { return &c.FileWatcher.Debounce }),
	text("pages.directory", "pages", func(c *Config) *string { return &c.Pages.Directory }, folder),
	seconds("proxy.hold_timeout_seconds", 30, 0, func(c *Config) *time.Duration { return &c.Proxy.HoldTimeout }),
	integer("proxy.max_held", 1000, 0, math.MaxInt, func(c *Config) *int { return &c.Proxy.MaxHeld }),
	as("access_log.file", "access_log.file", pathOptions, everyPath),
	as("access_log.format", "access_log.format", pathOptions, everyPath),
	{key: "static", kind: wantList},
	{key: "paths", kind: wantGroup},
	text("dev.mode", "auto", func(c *Config) *string { return &c.Dev.Mode }, oneOf("auto", "on", "off")),
	milliseconds("dev.hold_navigations_ms", 3000, 0, func(c *Config) *time.Duration { return &c.Dev.HoldNavigations }),
	{key: "dev.watch", kind: wantList},
	text("build.ldflags", "-s -w", func(c *Config) *string { return &c.Build.LDFlags }, anything),
	{key: "build.env", kind: wantGroup},
}, allPages("workers.default.", defaultOptions), allPages("workers.", lifecycleOptions))

// mostCPUs is how many Linux is built for at most. The Go runtime makes room for
// as many as GOMAXPROCS says before it does anything.
const mostCPUs = 8192

// defaultOptions are the keys of workers.default. Every path in workers.paths may
// have them and lifecycleOptions.
var defaultOptions = []option[WorkerSettings]{
	integer("go_max_procs", 1, 0, mostCPUs, func(s *WorkerSettings) *int { return &s.GoMaxProcs }),
	integer("max_requests", 0, 0, math.MaxInt32, func(s *WorkerSettings) *int { return &s.MaxRequests }),
	seconds("read_timeout_seconds", 30, 0, func(s *WorkerSettings) *time.Duration { return &s.ReadTimeout }),
	seconds("write_timeout_seconds", 30, 0, func(s *WorkerSettings) *time.Duration { return &s.WriteTimeout }),
	seconds("idle_timeout_seconds", 120, 0, func(s *WorkerSettings) *time.Duration { return &s.IdleTimeout }),
	size("max_memory", func(s *WorkerSettings) *int64 { return &s.MaxMemory }),
	text("go_mem_limit", "", func(s *WorkerSettings) *string { return &s.GoMemLimit }, memoryLimit),
	logFile("log_file", "logs/{path}/worker_{date}.log", func(s *WorkerSettings) *string { return &s.LogFile.Name }, "{path}", "{date}"),
}

// lifecycleOptions are the keys that stand beside workers.default: how workers
// start, are checked and end.
var lifecycleOptions = []option[WorkerSettings]{
	milliseconds("startup_delay_ms", 0, 0, func(s *WorkerSettings) *time.Duration { return &s.StartupDelay }),
	milliseconds("restart_delay_ms", 100, 0, func(s *WorkerSettings) *time.Duration { return &s.RestartDelay }),
	milliseconds("shutdown_grace_period_ms", 500, 0, func(s *WorkerSettings) *time.Duration { return &s.ShutdownGracePeriod }),
	seconds("drain_timeout_seconds", 30, 0, func(s *WorkerSettings) *time.Duration { return &s.DrainTimeout }),
	seconds("start_timeout_seconds", 30, 1, func(s *WorkerSettings) *time.Duration { return &s.StartTimeout }),
	seconds("health_interval_seconds", 30, 1, func(s *WorkerSettings) *time.Duration { return &s.HealthInterval }),
	integer("health_failures", 3, 1, math.MaxInt, func(s *WorkerSettings) *int { return &s.HealthFailures }),
	text("start", "always", func(s *WorkerSettings) *string { return &s.Start }, oneOf("always", "on_demand")),
	seconds("idle_stop_seconds", 300, 0, func(s *WorkerSettings) *time.Duration { return &s.IdleStop }),
}

// pathOptions are the keys of every path in paths.
var pathOptions = []option[PathSettings]{
	integer("max_body_bytes", 0, 0, math.MaxInt, func(s *PathSettings) *int { return &s.MaxBodyBytes }),
	logFile("access_log.file", "logs/access_{date}.log", func(s *PathSettings) *string { return &s.AccessLog.File.Name }, "{date}"),
	text("access_log.format", "combined", func(s *PathSettings) *string { return &s.AccessLog.Format }, oneOf("common", "combined", "json", "off")),
}

// staticOptions are the keys of every entry in static.
var staticOptions = []option[Static]{
	text("path", "", func(s *Static) *string { return &s.Path }, route),
	text("dir", "", func(s *Static) *string { return &s.Dir }, folder),
	text("cache_control", "no-cache", func(s *Static) *string { return &s.CacheControl }, headerValue),
}

func everyPath(c *Config) *PathSettings { return &c.standard }

// allPages returns options of workers as options of the file, for all pages.
func allPages(section string, of []option[WorkerSettings]) []option[Config] {
	all := make([]option[Config], len(of))
	for i, o := range of {
		all[i] = as(section+o.key, o.key, of, func(c *Config) *WorkerSettings { return &c.Workers.standard })
	}
	return all
}

// as returns an option of a part of the file as one of the file.
func as[T any](key, name string, of []option[T], part func(*Config) *T) option[Config] {
	o := of[slices.IndexFunc(of, func(o option[T]) bool { return o.key == name })]
	return option[Config]{
		key:     key,
		initial: o.initial,
		kind:    o.kind,
		set:     func(c *Config, text string) error { return o.set(part(c), text) },
	}
}

func integer[T any](key string, initial, least, most int, field func(*T) *int) option[T] {
	return option[T]{
		key:     key,
		initial: strconv.Itoa(initial),
		kind:    wantNumber,
		set: func(t *T, text string) error {
			n, err := wholeNumber(text, int64(least), int64(most))
			if err != nil {
				return err
			}
			*field(t) = int(n)
			return nil
		},
	}
}

func seconds[T any](key string, initial, least int, field func(*T) *time.Duration) option[T] {
	return duration(key, initial, least, time.Second, field)
}

func milliseconds[T any](key string, initial, least int, field func(*T) *time.Duration) option[T] {
	return duration(key, initial, least, time.Millisecond, field)
}

func duration[T any](key string, initial, least int, unit time.Duration, field func(*T) *time.Duration) option[T] {
	return option[T]{
		key:     key,
		initial: strconv.Itoa(initial),
		kind:    wantNumber,
		set: func(t *T, text string) error {
			// What a worker takes (pkg/worker), and what can be added to a time.
			n, err := wholeNumber(text, int64(least), math.MaxInt32)
			if err != nil {
				return err
			}
			*field(t) = time.Duration(n) * unit
			return nil
		},
	}
}

func text[T any](key, initial string, field func(*T) *string, check func(string) error) option[T] {
	return option[T]{
		key:     key,
		initial: initial,
		kind:    wantText,
		set: func(t *T, text string) error {
			if strings.Contains(text, "\x00") {
				return errNUL
			}
			if err := check(text); err != nil {
				return err
			}
			*field(t) = text
			return nil
		},
	}
}

func size[T any](key string, field func(*T) *int64) option[T] {
	return option[T]{
		key:  key,
		kind: wantText,
		set: func(t *T, text string) error {
			n, err := memory(text)
			if err != nil {
				return err
			}
			*field(t) = n
			return nil
		},
	}
}

func logFile[T any](key, initial string, field func(*T) *string, placeholders ...string) option[T] {
	o := text(key, initial, field, template(placeholders...))
	o.kind = wantTextOrNull
	return o
}

// errNUL is said of texts that no system call would take.
var errNUL = errors.New("must not contain a NUL character")

var leadingZero = regexp.MustCompile(`^[+-]?0[0-9_]+$`)

// wholeNumber reads an integer as YAML writes it. One that begins with a zero is
// octal in some versions of YAML and decimal in others, so that it is refused.
func wholeNumber(text string, least, most int64) (int64, error) {
	if leadingZero.MatchString(text) {
		return 0, fmt.Errorf("must be written without the zero before it, not %s", text)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && n > most:
		return 0, fmt.Errorf("must be at most %d, not %s", most, text)
	case err != nil:
		return 0, fmt.Errorf("must be a whole number, not %s", text)
	case n < least:
		return 0, fmt.Errorf("must be at least %d, not %s", least, text)
	}
	return n, nil
}

func anything(string) error { return nil }

func notEmpty(text string) error {
	if text == "" {
		return errors.New("must not be empty")
	}
	return nil
}

func folder(text string) error { return cmp.Or(notEmpty(text), notHome(text)) }

// notHome refuses paths that would be folders called ~.
func notHome(text string) error {
	if strings.HasPrefix(text, "~") {
		return fmt.Errorf("must not begin with ~, which only shells replace: write the whole path, not %q", text)
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("must be one of %s, not %q", strings.Join(words, ", "), text)
		}
		return nil
	}
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// template returns a check for the path of a log file with placeholders.
func template(allowed ...string) func(string) error {
	return func(text string) error {
		if strings.HasSuffix(text, "/") {
			return fmt.Errorf("must name a file, not the folder %q", text)
		}
		if err := notHome(text); err != nil {
			return err
		}
		for _, p := range placeholder.FindAllString(text, -1) {
			if !slices.Contains(allowed, p) {
				return fmt.Errorf("must not contain %s: only %s is replaced here", p, strings.Join(allowed, " or "))
			}
		}
		return nil
	}
}

var byteCount = regexp.MustCompile(`^([0-9]+)(B|KiB|MiB|GiB|TiB)?$`)

// memoryLimit refuses what the Go runtime would refuse in GOMEMLIMIT, and with
// it to start the worker.
func memoryLimit(text string) error {
	if text == "off" {
		return nil
	}
	_, err := memory(text)
	return err
}

// memory reads a number of bytes as the Go runtime does
// (runtime.parseByteCount). Nothing is none.
func memory(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	m := byteCount.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf(`must be a number with one of the units B, KiB, MiB, GiB, TiB, such as "512MiB", not %q`, text)
	}
	shift := map[string]uint{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[m[2]]
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("must be less than 8388608TiB, not %q", text)
	}
	return n << shift, nil
}

// route checks a key of workers.paths or paths, and a path of static.
func route(text string) error {
	if !strings.HasPrefix(text, "/") || path.Clean(text) != text {
		return errors.New(`must be a route such as "/api": it begins with / and does not end with one`)
	}
	return nil
}

// headerValue refuses what may not stand in a header field (RFC 9110 section
// 5.5).
func headerValue(text string) error {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return errors.New("must be on one line, without control characters")
	}
	return nil
}

// network reads a range of addresses, or a single one.
func network(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf(`must be addresses such as "10.0.0.0/8" or "::1", not %q`, text)
	}
	if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// variable checks a key of build.env.
func variable(text string) error {
	if !variableName.MatchString(text) {
		return errors.New("must be the name of an environment variable: letters, digits and _")
	}
	return nil
}
