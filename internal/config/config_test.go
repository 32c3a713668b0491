package config

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	t.Parallel()
	want := &Config{
		Root: "/srv/site",
		Server: Server{
			Port:         8080,
			ReadTimeout:  30 * time.Second,
			WriteTimeout: 30 * time.Second,
			IdleTimeout:  120 * time.Second,

			ReadHeaderTimeout: 10 * time.Second,
			MinBodyRate:       240,
			MaxHeaderBytes:    65536,

			LogFile:   LogFile{Root: "/srv/site", Name: "logs/server_{date}.log"},
			LogFormat: "text",
			StateDir:  "/srv/site/.tqserver",
		},
		Workers: Workers{
			TempDir:        "/tmp/tqserver/bin",
			PortRangeStart: 9000,
			PortRangeEnd:   9999,
		},
		FileWatcher: FileWatcher{Debounce: 50 * time.Millisecond},
		Pages:       Pages{Directory: "/srv/site/pages"},
		Proxy:       Proxy{HoldTimeout: 30 * time.Second, MaxHeld: 1000},
		Dev:         Dev{Mode: "auto", HoldNavigations: 3 * time.Second},
		Build:       Build{LDFlags: "-s -w"},
	}
	got := Default("/srv/site")
	if diff := diffConfig(want, got); diff != "" {
		t.Error(diff)
	}
	wantWorker(t, got, "/any", WorkerSettings{
		ProcessSettings: ProcessSettings{
			GoMaxProcs:   1,
			ReadTimeout:  30 * time.Second,
			WriteTimeout: 30 * time.Second,
			IdleTimeout:  120 * time.Second,
			LogFile:      LogFile{Root: "/srv/site", Name: "logs/{path}/worker_{date}.log"},
		},
		SupervisionSettings: SupervisionSettings{
			Instances:           1,
			StartupDelay:        0,
			RestartDelay:        100 * time.Millisecond,
			ShutdownGracePeriod: 500 * time.Millisecond,
			DrainTimeout:        30 * time.Second,
			StartTimeout:        30 * time.Second,
			HealthInterval:      30 * time.Second,
			HealthFailures:      3,
			Start:               "always",
			IdleStop:            5 * time.Minute,
			Balance:             "least_in_flight",
			EjectFailures:       5,
			EjectTime:           10 * time.Second,
			BreakerMinRequests:  20,
			BreakerWindow:       10 * time.Second,
			BreakerOpen:         5 * time.Second,
		},
	})
	everywhere := PathSettings{AccessLog: AccessLog{File: LogFile{Root: "/srv/site", Name: "logs/access_{date}.log"}, Format: "combined"}}
	if diff := cmp.Diff(everywhere, got.Path("/any")); diff != "" {
		t.Error(diff)
	}
}

func TestPathsAreMergedOverWhatHoldsForAll(t *testing.T) {
	t.Parallel()
	c := parse(t, `
paths:
  /upload: {max_body_bytes: 1_000_000}
  /upload/raw: {access_log: {format: off}}
  /json: {access_log: {file: json.log, format: json}}
server: {max_body_bytes: 1000}
access_log: {file: ~}
`)
	for path, want := range map[string]PathSettings{
		"/":             {1000, AccessLog{LogFile{}, "combined"}},
		"/uploads":      {1000, AccessLog{LogFile{}, "combined"}},
		"/upload/a":     {1000000, AccessLog{LogFile{}, "combined"}},
		"/upload/raw/a": {1000, AccessLog{LogFile{}, "off"}},
		"/json":         {1000, AccessLog{LogFile{Root: "/srv/site", Name: "json.log"}, "json"}},
	} {
		if diff := cmp.Diff(want, c.Path(path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestListsAreRead(t *testing.T) {
	t.Parallel()
	c := parse(t, `
server:
  trusted_proxies: ["10.1.2.3/8", "::1", &lo "127.0.0.0/8", *lo, "::ffff:10.9.0.0/104"]
static:
  - {path: /assets, dir: assets}
  - path: /
    dir: /var/www
    cache_control: "public, max-age=3600"
`)
	var proxies []string
	for _, p := range c.Server.TrustedProxies {
		proxies = append(proxies, p.String())
	}
	if diff := cmp.Diff([]string{"10.0.0.0/8", "::1/128", "127.0.0.0/8", "127.0.0.0/8", "10.0.0.0/8"}, proxies); diff != "" {
		t.Error(diff)
	}
	static := []Static{{"/assets", "/srv/site/assets", "no-cache"}, {"/", "/var/www", "public, max-age=3600"}}
	if diff := cmp.Diff(static, c.Static); diff != "" {
		t.Error(diff)
	}
}

func TestAFileThatSaysNothingMeansDefaults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "\n", "# nothing\n", "\ufeff# nothing\r\n", "---\n", "~", "null\n",
		"{}", "server:\n", "server: ~\nworkers:\n  default:\n  paths:\nbuild:\n  env:\n",
	} {
		c := parse(t, text)
		want := Default("/srv/site")
		want.File = c.File
		if diff := diffConfig(want, c); diff != "" {
			t.Errorf("%q does not mean defaults:\n%s", text, diff)
		}
	}
}

func TestEmptyTellsNothingFromSomething(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, " \n\n": true, "# a\n# b": true, "\ufeff": true, "\ufeff# a\r\n": true, "---\n": true, "~": true,
		"{}": false, "server:": false, "a": false, "[": false, "\xff": false, "\x00": false,
	} {
		if got := Empty([]byte(text)); got != want {
			t.Errorf("Empty(%q) = %v; want %v", text, got, want)
		}
	}
}

func TestWhatTheFileSetsReplacesDefaults(t *testing.T) {
	t.Parallel()
	c := parse(t, `
server: {port: 80, read_timeout_seconds: 0, log_file: ~, log_format: json}
workers:
  temp_dir: tmp/../bin
  port_range_start: 0x1000
  port_range_end: 5_000
  startup_delay_ms: 100
file_watcher: {debounce_ms: 0}
pages: {directory: /var/pages}
proxy: {max_held: 0}
dev: {mode: off, hold_navigations_ms: 0, watch: [assets, ../shared, /var/x]}
build:
  ldflags: ""
  env: {CGO_ENABLED: 0, GOFLAGS: "-mod=vendor", EMPTY: ""}
`)
	want := Default("/srv/site")
	want.File = "/srv/site/config/server.yaml"
	want.Server.Port = 80
	want.Server.ReadTimeout = 0
	want.Server.LogFile = LogFile{}
	want.Server.LogFormat = "json"
	want.Workers.TempDir = "/srv/site/bin"
	want.Workers.PortRangeStart = 4096
	want.Workers.PortRangeEnd = 5000
	want.FileWatcher.Debounce = 0
	want.Pages.Directory = "/var/pages"
	want.Proxy.MaxHeld = 0
	want.Dev = Dev{Mode: "off", Watch: []string{"/srv/site/assets", "/srv/shared", "/var/x"}}
	want.Build = Build{Env: map[string]string{"CGO_ENABLED": "0", "GOFLAGS": "-mod=vendor", "EMPTY": ""}}
	if diff := diffConfig(want, c); diff != "" {
		t.Error(diff)
	}
	if got := c.Worker("/").StartupDelay; got != 100*time.Millisecond {
		t.Errorf("startup_delay_ms is %v", got)
	}
}

func TestALogFileIsSwitchedOffInThreeWays(t *testing.T) {
	t.Parallel()
	for _, off := range []string{"~", "null", `""`, ""} {
		c := parse(t, "server:\n  log_file: "+off+"\nworkers:\n  default:\n    log_file: "+off+"\n  paths:\n    /a:\n      log_file: a.log\n")
		if c.Server.LogFile != (LogFile{}) || c.Worker("/").LogFile != (LogFile{}) {
			t.Errorf("log_file: %s gives %+v and %+v", off, c.Server.LogFile, c.Worker("/").LogFile)
		}
		if got := c.Worker("/a").LogFile; got != (LogFile{Root: "/srv/site", Name: "a.log"}) {
			t.Errorf("log_file: a.log gives %+v", got)
		}
	}
}

func TestTheLongestPathIsMergedOverTheDefault(t *testing.T) {
	t.Parallel()
	// The default stands last on purpose: order must not matter.
	c := parse(t, `
workers:
  paths:
    /api: {go_max_procs: 2, max_requests: 5000}
    "/api/reports": {go_mem_limit: 2GiB, max_memory: 3GiB, log_file: ~}
    /nothing:
  default: {max_requests: 7, read_timeout_seconds: 5}
  shutdown_grace_period_ms: 250
`)
	standard := Default("/srv/site").Worker("/")
	standard.MaxRequests = 7
	standard.ReadTimeout = 5 * time.Second
	standard.ShutdownGracePeriod = 250 * time.Millisecond
	api := standard
	api.GoMaxProcs, api.MaxRequests = 2, 5000
	reports := standard
	reports.GoMemLimit, reports.MaxMemory, reports.LogFile = "2GiB", 3<<30, LogFile{}

	for route, want := range map[string]WorkerSettings{
		"/":                standard,
		"/apix":            standard,
		"/nothing":         standard,
		"/api":             api,
		"/api/users":       api,
		"/api/reports":     reports,
		"/api/reports/all": reports,
	} {
		wantWorker(t, c, route, want)
	}
}

// TestEveryOptionOfWorkersCanBeSetByPath sets each option for one path and looks
// that it counts there and nowhere else.
func TestEveryOptionOfWorkersCanBeSetByPath(t *testing.T) {
	t.Parallel()
	values := map[string]string{"start": "on_demand", "balance": "address", "rolling": "true", "go_mem_limit": "7MiB", "max_memory": "7MiB", "log_file": "other.log"}
	for _, o := range slices.Concat(defaultOptions, lifecycleOptions) {
		value, ok := values[o.key]
		if !ok {
			value = "7"
		}
		want := Default("/srv/site").Worker("/a")
		d := newDecoder("", "")
		if o.set(d, &want, o.key, d.parse([]byte(value))); len(d.problems) > 0 {
			t.Fatal(d.problems)
		}
		want.LogFile.resolve("/srv/site")
		c := parse(t, "workers: {paths: {/a: {"+o.key+": "+value+"}}}")
		wantWorker(t, c, "/a/b", want)
		wantWorker(t, c, "/", Default("/srv/site").Worker("/"))
		if want == c.Worker("/") {
			t.Errorf("%s has no effect", o.key)
		}
	}
}

func TestTheLongestDrainIsThatOfAnyPage(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"":                                    30 * time.Second,
		"workers: {drain_timeout_seconds: 5}": 5 * time.Second,
		"workers: {paths: {/a: {drain_timeout_seconds: 90}, /b: {drain_timeout_seconds: 5}}}": 90 * time.Second,
	} {
		if got := parse(t, text).LongestDrain(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestAPathCanBeTheRoot(t *testing.T) {
	t.Parallel()
	c := parse(t, "workers: {paths: {/: {go_max_procs: 3}, /a: {max_requests: 1}}}")
	if got := c.Worker("/b").GoMaxProcs; got != 3 {
		t.Errorf("/b has %d threads; want 3", got)
	}
	if got := c.Worker("/a").GoMaxProcs; got != 1 {
		t.Errorf("/a has %d threads; want the default, 1", got)
	}
}

func TestAnchorsAndMergeKeysWork(t *testing.T) {
	t.Parallel()
	c := parse(t, `
server: {port: &port 7000}
workers:
  port_range_start: 7001
  port_range_end: 7002
  paths:
    /a: &a {go_max_procs: 2, max_requests: 10}
    /b: *a
    /c: {<<: *a, max_requests: 20}
    /d:
      <<: [{max_requests: 30}, *a]
`)
	for route, want := range map[string][2]int{"/a": {2, 10}, "/b": {2, 10}, "/c": {2, 20}, "/d": {2, 30}} {
		s := c.Worker(route)
		if got := [2]int{s.GoMaxProcs, s.MaxRequests}; got != want {
			t.Errorf("%s has %v; want %v", route, got, want)
		}
	}
}

func TestTheRootIsWhereConfigLies(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/srv/site/config/server.yaml":     "/srv/site",
		"/srv/site/config/../config/a.yml": "/srv/site",
		"/srv/site/server.yaml":            "/srv/site",
		"/srv/config/site/server.yaml":     "/srv/config/site",
		"conf/server.yaml":                 filepath.Join(here, "conf"),
		"testdata/config/server.yaml":      filepath.Join(here, "testdata"),
		"server.yaml":                      filepath.Dir(here), // this package lies in config/
	} {
		c, err := Parse(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.Root != want || c.Pages.Directory != filepath.Join(want, "pages") {
			t.Errorf("%s has the root %s and the pages %s; want the root %s", path, c.Root, c.Pages.Directory, want)
		}
		if !filepath.IsAbs(c.File) {
			t.Errorf("the file %s is not absolute", c.File)
		}
	}
}

func TestLoadTellsAMissingFileFromAWrongOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.yaml")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file gives %v", err)
	}
	if err := os.WriteFile(path, []byte("server:\n  port: 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 1 {
		t.Errorf("a wrong file gives %v", err)
	}
	if want := path + ":2: server.port: must be at least 1, not 0"; err == nil || err.Error() != want {
		t.Errorf("the error is %v; want %s", err, want)
	}
	if err := os.WriteFile(path, []byte("server:\n  port: 81\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || c.Server.Port != 81 {
		t.Errorf("a good file gives %v, %v", c, err)
	}
}

func TestMemoryLimitsAreThoseOfTheRuntime(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []string{
		"off", "0", "1073741824", "100000000B", "0512MiB", "8388607TiB",
		"512MB", "512mib", "2 GiB", "1.5GiB", "-1MiB", "MiB", "1PiB", "8388608TiB", "9223372036854775808",
	} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(self, "-test.run=^$")
			cmd.Env = append(os.Environ(), "GOMEMLIMIT="+limit)
			out, err := cmd.CombinedOutput()
			if refused := memoryLimit(limit); (refused == nil) != (err == nil) {
				t.Errorf("we say %v, the runtime says %v: %s", refused, err, out)
			}
		})
	}
}

// parse returns the settings of a file in the project root /srv/site.
func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("/srv/site/config/server.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%s\n%s", err, text)
	}
	return c
}

// diffConfig compares what can be seen from outside; Worker is left to wantWorker.
func diffConfig(want, got *Config) string {
	return cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool {
		switch p.Last().String() {
		case ".standard", ".paths", ".routes", ".name":
			return true
		}
		return false
	}, cmp.Ignore()))
}

func wantWorker(t *testing.T, c *Config, route string, want WorkerSettings) {
	t.Helper()
	if diff := cmp.Diff(want, c.Worker(route)); diff != "" {
		t.Errorf("settings for %s (-want +got):\n%s", route, diff)
	}
}

// TestAFileIsReadAgainWhereItWas covers a process whose working directory was
// renamed, or is another by now.
func TestAFileIsReadAgainWhereItWas(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root) // not parallel: the working directory is of the process
	first, err := Parse("config/server.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	again, err := first.Reparse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.Root != root || again.File != filepath.Join(root, "config/server.yaml") {
		t.Errorf("the project is %s, its configuration %s", again.Root, again.File)
	}
	if _, err := first.Reparse([]byte("x: 1\n")); err == nil || !strings.HasPrefix(err.Error(), "config/server.yaml:1: ") {
		t.Errorf("a mistake is reported as %v", err)
	}
}
