package config

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"

	"tqserver/internal/balance"
)

// All options are in one table, which gives the defaults, the decoder and the test
// of the documentation: an option is added in one place. The alternative, struct
// tags, could express neither limits nor units without a small language of its own.

// An option is a key of the file that sets something in a T.
type option[T any] struct {
	key     string // with its sections
	initial string // the default, as the file would say it; empty if there is none
	set     func(d *decoder, t *T, key string, n *yaml.Node)
}

// opt returns the option that sets a field to a value of some kind.
func opt[T, V any](key, initial string, k kind[V], field func(*T) *V) option[T] {
	return option[T]{key, initial, func(d *decoder, t *T, key string, n *yaml.Node) {
		if v, ok := k(d, key, n); ok {
			*field(t) = v
		}
	}}
}

// as returns an option of a part of the configuration under another key.
func as[T any](key, name string, of []option[T], part func(*Config) *T) option[Config] {
	o := of[slices.IndexFunc(of, func(o option[T]) bool { return o.key == name })]
	return option[Config]{key, o.initial, func(d *decoder, c *Config, key string, n *yaml.Node) { o.set(d, part(c), key, n) }}
}

// byPath returns the option that sets what differs from the standard for some
// paths. It is decoded last, when the standard is complete, wherever that is in the
// file.
func byPath[T any](key string, of []option[T], standard func(*Config) *T, all func(*Config) *map[string]T) option[Config] {
	return option[Config]{key, "{}", func(d *decoder, c *Config, key string, n *yaml.Node) {
		d.deferred = append(d.deferred, func() { *all(c), _ = mapOf(route, section(of, *standard(c)))(d, key, n) })
	}}
}

// options are the keys of the file. Those of workers are defaultOptions and
// lifecycleOptions, and some are pathOptions under the name that they have for
// all paths.
var options = slices.Concat([]option[Config]{
	opt("server.port", "8080", integer(1, 65535), func(c *Config) *int { return &c.Server.Port }),
	opt("server.read_timeout_seconds", "30", seconds(0), func(c *Config) *time.Duration { return &c.Server.ReadTimeout }),
	opt("server.write_timeout_seconds", "30", seconds(0), func(c *Config) *time.Duration { return &c.Server.WriteTimeout }),
	opt("server.idle_timeout_seconds", "120", seconds(0), func(c *Config) *time.Duration { return &c.Server.IdleTimeout }),
	opt("server.read_header_timeout_seconds", "10", seconds(1), func(c *Config) *time.Duration { return &c.Server.ReadHeaderTimeout }),
	opt("server.min_body_bytes_per_second", "240", integer(0, math.MaxInt32), func(c *Config) *int { return &c.Server.MinBodyRate }),
	opt("server.max_header_bytes", "65536", integer(1<<10, 16<<20), func(c *Config) *int { return &c.Server.MaxHeaderBytes }),
	as("server.max_body_bytes", "max_body_bytes", pathOptions, everyPath),
	opt("server.max_connections", "0", integer(0, math.MaxInt32), func(c *Config) *int { return &c.Server.MaxConnections }),
	opt("server.trusted_proxies", "[]", listOf(network), func(c *Config) *[]netip.Prefix { return &c.Server.TrustedProxies }),
	opt("server.log_file", `"logs/server_{date}.log"`, logFile("{date}"), func(c *Config) *string { return &c.Server.LogFile.Name }),
	opt("server.log_format", `"text"`, oneOf("text", "json"), func(c *Config) *string { return &c.Server.LogFormat }),
	opt("server.state_dir", `".tqserver"`, text(folder), func(c *Config) *string { return &c.Server.StateDir }),

	opt("workers.temp_dir", `"/tmp/tqserver/bin"`, text(folder), func(c *Config) *string { return &c.Workers.TempDir }),
	opt("workers.port_range_start", "9000", integer(1, 65535), func(c *Config) *int { return &c.Workers.PortRangeStart }),
	opt("workers.port_range_end", "9999", integer(1, 65535), func(c *Config) *int { return &c.Workers.PortRangeEnd }),
	byPath("workers.paths", slices.Concat(defaultOptions, lifecycleOptions), everyWorker, func(c *Config) *map[string]WorkerSettings { return &c.Workers.paths }),

	opt("file_watcher.debounce_ms", "50", milliseconds(0), func(c *Config) *time.Duration { return &c.FileWatcher.Debounce }),
	opt("pages.directory", `"pages"`, text(folder), func(c *Config) *string { return &c.Pages.Directory }),
	opt("proxy.hold_timeout_seconds", "30", seconds(0), func(c *Config) *time.Duration { return &c.Proxy.HoldTimeout }),
	opt("proxy.max_held", "1000", integer(0, math.MaxInt), func(c *Config) *int { return &c.Proxy.MaxHeld }),
	as("access_log.file", "access_log.file", pathOptions, everyPath),
	as("access_log.format", "access_log.format", pathOptions, everyPath),
	opt("static", "[]", staticFolders, func(c *Config) *[]Static { return &c.Static }),
	byPath("paths", pathOptions, everyPath, func(c *Config) *map[string]PathSettings { return &c.paths }),
	opt("dev.mode", `"auto"`, oneOf("auto", "on", "off"), func(c *Config) *string { return &c.Dev.Mode }),
	opt("dev.hold_navigations_ms", "3000", milliseconds(0), func(c *Config) *time.Duration { return &c.Dev.HoldNavigations }),
	opt("dev.watch", "[]", listOf(watched), func(c *Config) *[]string { return &c.Dev.Watch }),
	opt("build.ldflags", `"-s -w"`, text(), func(c *Config) *string { return &c.Build.LDFlags }),
	opt("build.env", "{}", mapOf(variable, verbatim), func(c *Config) *map[string]string { return &c.Build.Env }),
}, allPages("workers.default.", defaultOptions), allPages("workers.", lifecycleOptions))

// mostCPUs is how many CPUs Linux supports at most. The Go runtime allocates memory
// for as many as GOMAXPROCS says before it does anything else.
const mostCPUs = 8192

// defaultOptions are the keys of workers.default. Paths in workers.paths may set
// them and lifecycleOptions.
var defaultOptions = []option[WorkerSettings]{
	opt("go_max_procs", "1", integer(0, mostCPUs), func(s *WorkerSettings) *int { return &s.GoMaxProcs }),
	opt("instances", "1", integer(0, MaxInstances), func(s *WorkerSettings) *int { return &s.Instances }),
	opt("max_requests", "0", integer(0, math.MaxInt32), func(s *WorkerSettings) *int { return &s.MaxRequests }),
	opt("read_timeout_seconds", "30", seconds(0), func(s *WorkerSettings) *time.Duration { return &s.ReadTimeout }),
	opt("write_timeout_seconds", "30", seconds(0), func(s *WorkerSettings) *time.Duration { return &s.WriteTimeout }),
	opt("idle_timeout_seconds", "120", seconds(0), func(s *WorkerSettings) *time.Duration { return &s.IdleTimeout }),
	opt("max_memory", `""`, size, func(s *WorkerSettings) *int64 { return &s.MaxMemory }),
	opt("go_mem_limit", `""`, text(memoryLimit), func(s *WorkerSettings) *string { return &s.GoMemLimit }),
	opt("balance", strconv.Quote(balance.Names()[0]), oneOf(balance.Names()...), func(s *WorkerSettings) *string { return &s.Balance }),
	opt("eject_failures", "5", integer(0, math.MaxInt32), func(s *WorkerSettings) *int { return &s.EjectFailures }),
	opt("eject_seconds", "10", seconds(1), func(s *WorkerSettings) *time.Duration { return &s.EjectTime }),
	opt("breaker_percent", "0", integer(0, 100), func(s *WorkerSettings) *int { return &s.BreakerPercent }),
	opt("breaker_min_requests", "20", integer(1, math.MaxInt32), func(s *WorkerSettings) *int { return &s.BreakerMinRequests }),
	opt("breaker_window_seconds", "10", seconds(1), func(s *WorkerSettings) *time.Duration { return &s.BreakerWindow }),
	opt("breaker_open_seconds", "5", seconds(1), func(s *WorkerSettings) *time.Duration { return &s.BreakerOpen }),
	opt("log_file", `"logs/{path}/worker_{date}.log"`, logFile("{path}", "{date}"), func(s *WorkerSettings) *string { return &s.LogFile.Name }),
}

// lifecycleOptions are the keys that stand beside workers.default: how workers
// start, are checked and end.
var lifecycleOptions = []option[WorkerSettings]{
	opt("startup_delay_ms", "0", milliseconds(0), func(s *WorkerSettings) *time.Duration { return &s.StartupDelay }),
	opt("restart_delay_ms", "100", milliseconds(0), func(s *WorkerSettings) *time.Duration { return &s.RestartDelay }),
	opt("shutdown_grace_period_ms", "500", milliseconds(0), func(s *WorkerSettings) *time.Duration { return &s.ShutdownGracePeriod }),
	opt("drain_timeout_seconds", "30", seconds(0), func(s *WorkerSettings) *time.Duration { return &s.DrainTimeout }),
	opt("start_timeout_seconds", "30", seconds(1), func(s *WorkerSettings) *time.Duration { return &s.StartTimeout }),
	opt("health_interval_seconds", "30", seconds(1), func(s *WorkerSettings) *time.Duration { return &s.HealthInterval }),
	opt("health_failures", "3", integer(1, math.MaxInt), func(s *WorkerSettings) *int { return &s.HealthFailures }),
	opt("rolling", "false", boolean, func(s *WorkerSettings) *bool { return &s.Rolling }),
	opt("start", `"always"`, oneOf("always", "on_demand"), func(s *WorkerSettings) *string { return &s.Start }),
	opt("idle_stop_seconds", "300", seconds(0), func(s *WorkerSettings) *time.Duration { return &s.IdleStop }),
}

// pathOptions are the keys of every path in paths.
var pathOptions = []option[PathSettings]{
	opt("max_body_bytes", "0", integer(0, math.MaxInt), func(s *PathSettings) *int { return &s.MaxBodyBytes }),
	opt("access_log.file", `"logs/access_{date}.log"`, logFile("{date}"), func(s *PathSettings) *string { return &s.AccessLog.File.Name }),
	opt("access_log.format", `"combined"`, oneOf("common", "combined", "json", "off"), func(s *PathSettings) *string { return &s.AccessLog.Format }),
}

// staticOptions are the keys of every entry in static.
var staticOptions = []option[Static]{
	opt("path", "", text(route), func(s *Static) *string { return &s.Path }),
	opt("dir", "", text(folder), func(s *Static) *string { return &s.Dir }),
	opt("cache_control", `"no-cache"`, text(headerValue), func(s *Static) *string { return &s.CacheControl }),
}

func everyPath(c *Config) *PathSettings { return &c.standard }

func everyWorker(c *Config) *WorkerSettings { return &c.Workers.standard }

// allPages returns options of workers as options of the file, for all pages.
func allPages(section string, of []option[WorkerSettings]) []option[Config] {
	all := make([]option[Config], len(of))
	for i, o := range of {
		all[i] = as(section+o.key, o.key, of, everyWorker)
	}
	return all
}
