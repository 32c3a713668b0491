package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAFileMaySayWhichYAMLItIs(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"%YAML 1.2\n---\n", "# a comment\n\n%YAML 1.2 # the newest\r\n---\n", "%YAML 1.1\n---\n", "%YAML 1.3\n--- # all the same\n", "\ufeff%YAML 1.2\n---\n"} {
		c, err := Parse("/srv/site/server.yaml", []byte(head+"server: {port: 81}\n"))
		if err != nil || c.Server.Port != 81 {
			t.Errorf("%q: %v", head, err)
		}
		_, err = Parse("/srv/site/server.yaml", []byte(head+"server: {port: 0}\n"))
		if want := fmt.Sprintf("server.yaml:%d: server.port", strings.Count(head, "\n")+1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: a mistake is reported as %v, not at %s", head, err, want)
		}
	}
}

func TestNumbersMeanWhatPeopleReadInThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"0": 0, "10": 10, "+10": 10, "1_000": 1000, "0x10": 16, "0o10": 8, "0b10": 2} {
		c, err := Parse("/srv/site/server.yaml", []byte("proxy: {max_held: "+text+"}\n"))
		if err != nil || c.Proxy.MaxHeld != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestEveryMistakeIsNamedWithItsLine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"port 0":                   {"server: {port: 0}", "1: server.port: must be at least 1, not 0"},
		"port too high":            {"server:\n  port: 65536", "2: server.port: must be at most 65535, not 65536"},
		"number in quotes":         {"server:\n\n  port: \"8080\"", `3: server.port: must be a whole number, not the text "8080"`},
		"no number":                {"server:\n  port:", "2: server.port: must be a whole number, not nothing"},
		"null for a number":        {"server:\n  port: ~", "2: server.port: must be a whole number, not nothing"},
		"fraction":                 {"file_watcher: {debounce_ms: 1.5}", "1: file_watcher.debounce_ms: must be a whole number, not 1.5"},
		"bool for a number":        {"proxy: {max_held: true}", "1: proxy.max_held: must be a whole number, not true"},
		"list for a number":        {"proxy: {max_held: [1]}", "1: proxy.max_held: must be a whole number, not a list"},
		"section for a number":     {"proxy: {max_held: {a: 1}}", "1: proxy.max_held: must be a whole number, not a section"},
		"tag":                      {"proxy: {max_held: !!int x}", "1: proxy.max_held: must be a whole number, not x"},
		"number for text":          {"pages: {directory: 5}", "1: pages.directory: must be text, not 5"},
		"null for text":            {"pages: {directory: ~}", "1: pages.directory: must be text, not nothing"},
		"empty directory":          {"pages: {directory: ''}", "1: pages.directory: must not be empty"},
		"NUL":                      {`workers: {temp_dir: "a\0b"}`, "1: workers.temp_dir: must not contain a NUL character"},
		"negative time":            {"workers: {restart_delay_ms: -1}", "1: workers.restart_delay_ms: must be at least 0, not -1"},
		"time out of range":        {"server: {read_timeout_seconds: 2147483648}", "1: server.read_timeout_seconds: must be at most 2147483647, not 2147483648"},
		"time beyond 64 bits":      {"server: {read_timeout_seconds: 18446744073709551615}", "1: server.read_timeout_seconds: must be at most 2147483647, not 18446744073709551615"},
		"more CPUs than there are": {"workers: {default: {go_max_procs: 8193}}", "1: workers.default.go_max_procs: must be at most 8192, not 8193"},
		"leading zero":             {"server:\n  port: 08080", "2: server.port: must be written without the zero before it, not 08080"},
		"octal number":             {"proxy: {max_held: 010}", "1: proxy.max_held: must be written without the zero before it, not 010"},
		"octal with a sign":        {"proxy: {max_held: +010}", "1: proxy.max_held: must be written without the zero before it, not +010"},
		"zeros and an underscore":  {"proxy: {max_held: 0_010}", "1: proxy.max_held: must be written without the zero before it, not 0_010"},
		"home of a log":            {"server: {log_file: ~/a.log}", "1: server.log_file: must not begin with ~, which only shells replace: write the whole path, not \"~/a.log\""},
		"home of an access log":    {"paths:\n  /a:\n    access_log: {file: ~me/a.log}", "3: paths./a.access_log.file: must not begin with ~, which only shells replace: write the whole path, not \"~me/a.log\""},
		"home of binaries":         {"workers: {temp_dir: ~/bin}", "1: workers.temp_dir: must not begin with ~, which only shells replace: write the whole path, not \"~/bin\""},
		"home of pages":            {"pages: {directory: '~'}", "1: pages.directory: must not begin with ~, which only shells replace: write the whole path, not \"~\""},
		"home of static files":     {"static:\n- path: /a\n  dir: ~/a", "3: static.dir: must not begin with ~, which only shells replace: write the whole path, not \"~/a\""},
		"home of watched files":    {"dev:\n  watch:\n  - ~/a", "3: dev.watch: must not begin with ~, which only shells replace: write the whole path, not \"~/a\""},
		"another YAML":             {"%YAML 2.0\n---\nserver: {port: 81}", "1: is not YAML: found incompatible YAML document"},
		"another way to start":     {"workers: {start: lazily}", `1: workers.start: must be one of always, on_demand, not "lazily"`},
		"no health failures":       {"workers: {health_failures: 0}", "1: workers.health_failures: must be at least 1, not 0"},
		"no health interval":       {"workers: {health_interval_seconds: 0}", "1: workers.health_interval_seconds: must be at least 1, not 0"},
		"no start timeout":         {"workers: {start_timeout_seconds: 0}", "1: workers.start_timeout_seconds: must be at least 1, not 0"},
		"balancing":                {"workers: {default: {balance: fair}}", `1: workers.default.balance: must be one of least_in_flight, round_robin, random_two, address, cookie, not "fair"`},
		"balancing of a path":      {"workers: {paths: {/a: {balance: 1}}}", `1: workers.paths./a.balance: must be text, not 1`},
		"negative ejection":        {"workers: {default: {eject_failures: -1}}", "1: workers.default.eject_failures: must be at least 0, not -1"},
		"no time of ejection":      {"workers: {default: {eject_seconds: 0}}", "1: workers.default.eject_seconds: must be at least 1, not 0"},
		"more than all":            {"workers: {default: {breaker_percent: 101}}", "1: workers.default.breaker_percent: must be at most 100, not 101"},
		"no requests":              {"workers: {default: {breaker_min_requests: 0}}", "1: workers.default.breaker_min_requests: must be at least 1, not 0"},
		"no window":                {"workers: {default: {breaker_window_seconds: 0}}", "1: workers.default.breaker_window_seconds: must be at least 1, not 0"},
		"no pause":                 {"workers: {default: {breaker_open_seconds: 0}}", "1: workers.default.breaker_open_seconds: must be at least 1, not 0"},
		"state with pages":         {"server:\n  state_dir: .", "2: server.state_dir: must be apart: server.state_dir, ., would have the pages in it"},
		"pages in the state":       {"pages:\n  directory: .tqserver/pages", "2: pages.directory: must be apart: server.state_dir, .tqserver, would have the pages in it"},
		"home of the state":        {"server: {state_dir: ~/state}", "1: server.state_dir: must not begin with ~, which only shells replace: write the whole path, not \"~/state\""},
		"mode":                     {"dev: {mode: yes}", `1: dev.mode: must be one of auto, on, off, not "yes"`},
		"format":                   {"server: {log_format: xml}", `1: server.log_format: must be one of text, json, not "xml"`},
		"memory limit":             {"workers: {default: {go_mem_limit: 512MB}}", `1: workers.default.go_mem_limit: must be a number with one of the units B, KiB, MiB, GiB, TiB, such as "512MiB", not "512MB"`},
		"memory limit as a number": {"workers: {default: {go_mem_limit: 512}}", "1: workers.default.go_mem_limit: must be text, not 512"},
		"server log with path":     {`server: {log_file: "{path}.log"}`, "1: server.log_file: must not contain {path}: only {date} is replaced here"},
		"unknown placeholder":      {`workers: {default: {log_file: "{path}/{time}.log"}}`, "1: workers.default.log_file: must not contain {time}: only {path} or {date} is replaced here"},
		"log folder":               {`server: {log_file: logs/}`, `1: server.log_file: must name a file, not the folder "logs/"`},
		"number for a log":         {`server: {log_file: 1}`, `1: server.log_file: must be text, not 1`},

		"reversed ports":          {"workers:\n  port_range_start: 20000", "2: workers.port_range_start: must not be reversed: the port range is 20000 to 9999"},
		"reversed ports, end":     {"workers:\n  port_range_start: 9500\n  port_range_end: 9400", "3: workers.port_range_end: must not be reversed: the port range is 9500 to 9400"},
		"own port":                {"server:\n  port: 9999", "2: server.port: must not overlap: the server's port 9999 lies in the workers' range, 9000 to 9999"},
		"own port by range":       {"workers:\n  port_range_start: 8080", "2: workers.port_range_start: must not overlap: the server's port 8080 lies in the workers' range, 8080 to 9999"},
		"wrong port only once":    {"server:\n  port: 70000\nworkers:\n  port_range_end: 1", "2: server.port: must be at most 65535, not 70000"},
		"unknown section":         {"sever: {port: 1}", "1: sever: is unknown: did you mean server?"},
		"unknown key":             {"server:\n  prot: 1", "2: server.prot: is unknown: did you mean port?"},
		"key of a section":        {"port: 1", "1: port: is unknown here: did you mean server.port?"},
		"key of another section":  {"workers: {go_max_procs: 1}", "1: workers.go_max_procs: is unknown here: did you mean workers.default.go_max_procs?"},
		"unlike anything":         {"encryption: 1", "1: encryption: is unknown"},
		"unknown key of a path":   {"workers:\n  paths:\n    /a:\n      max_request: 1", "4: workers.paths./a.max_request: is unknown: did you mean max_requests?"},
		"memory without a unit":   {"workers:\n  default:\n    max_memory: 1GB", `3: workers.default.max_memory: must be a number with one of the units B, KiB, MiB, GiB, TiB, such as "512MiB", not "1GB"`},
		"no key of default":       {"workers:\n  default:\n    idle_stop_seconds: 1", "3: workers.default.idle_stop_seconds: is unknown here: did you mean workers.idle_stop_seconds?"},
		"wrong value of a path":   {"workers:\n  paths:\n    /a:\n      max_requests: x", `4: workers.paths./a.max_requests: must be a whole number, not the text "x"`},
		"repeated key":            {"server:\n  port: 1\n  port: 2", "3: server.port: is set twice: first on line 2"},
		"repeated section":        {"server:\nworkers:\nserver:", "3: server: is set twice: first on line 1"},
		"repeated path":           {"workers:\n  paths:\n    /a:\n    \"/a\":", "4: workers.paths./a: is set twice: first on line 3"},
		"section with a value":    {"server: 5", "1: server: must be a section with options of its own, not 5"},
		"section with a list":     {"server:\n  - port: 5", "2: server: must be a section with options of its own, not a list"},
		"text for a file":         {"hello", `1: must be a section with options of its own, not the text "hello"`},
		"list that is none":       {"server: {trusted_proxies: 10.0.0.0/8}", `1: server.trusted_proxies: must be a list, not the text "10.0.0.0/8"`},
		"address that is none":    {"server:\n  trusted_proxies:\n  - local", `3: server.trusted_proxies: must be addresses such as "10.0.0.0/8" or "::1", not "local"`},
		"watch of all":            {"dev:\n  watch: [assets, .]", `2: dev.watch: must not be the whole project, because every request changes its logs: "."`},
		"watch of more":           {"dev: {watch: [..]}", `1: dev.watch: must not be the whole project, because every request changes its logs: ".."`},
		"watch of nothing":        {`dev: {watch: [""]}`, `1: dev.watch: must name a file or a folder in each entry`},
		"watch of a number":       {`dev: {watch: [1]}`, `1: dev.watch: must be a list of files and folders such as "assets", not of 1`},
		"item that is no text":    {"server: {trusted_proxies: [1]}", `1: server.trusted_proxies: must be a list of addresses such as "10.0.0.0/8", not of 1`},
		"static without a dir":    {"static:\n- path: /a", "2: static: must have a path and a dir in each entry"},
		"static twice":            {"static:\n- {path: /a, dir: a}\n- {path: /a, dir: b}", "3: static: must not have /a twice: line 2 has it too"},
		"static on two lines":     {"static: [{path: /a, dir: a, cache_control: \"a\\nb\"}]", "1: static.cache_control: must be on one line, without control characters"},
		"static that is no list":  {"static: {path: /a}", "1: static: must be a list, not a section"},
		"wrong format of a path":  {"paths: {/a: {access_log: {format: xml}}}", `1: paths./a.access_log.format: must be one of common, combined, json, off, not "xml"`},
		"path without slash":      {"workers: {paths: {api: }}", `1: workers.paths.api: must be a route such as "/api": it begins with / and does not end with one`},
		"path with last slash":    {"workers: {paths: {/api/: }}", `1: workers.paths./api/: must be a route such as "/api": it begins with / and does not end with one`},
		"path with two slashes":   {"workers: {paths: {/a//b: }}", `1: workers.paths./a//b: must be a route such as "/api": it begins with / and does not end with one`},
		"variable":                {"build: {env: {a-b: x}}", "1: build.env.a-b: must be the name of an environment variable: letters, digits and _"},
		"variable without value":  {"build: {env: {A: }}", "1: build.env.A: must be text, not nothing"},
		"variable with a list":    {"build: {env: {A: [x]}}", "1: build.env.A: must be text, not a list"},
		"key that is no word":     {"server: {[a]: 1}", "1: server: must have keys that are words, not a list"},
		"merged text":             {"server:\n  <<: x", `2: server.<<: must be a section, not the text "x"`},
		"section merging itself":  {"server: &a\n  <<: *a\n  port: 0", "3: server.port: must be at least 1, not 0"},
		"two documents":           {"server:\n---\nserver:\n", "2: begins a second document, and there can be only one"},
		"open bracket":            {"server:\n  port: [\nproxy:\n", "2: is not YAML: did not find expected node content"},
		"open quote":              {"server:\n  log_file: \"a\nproxy:\n", "2: is not YAML: found unexpected end of stream"},
		"indentation":             {"server:\n  port: 8080\n log_file: a\nproxy:\n", "3: is not YAML: did not find expected key"},
		"tab":                     {"server:\n\tport: 8080\n", "2: is not YAML: found character that cannot start any token"},
		"unknown alias":           {"server: *a", "1: is not YAML: unknown anchor 'a' referenced"},
		"no UTF-8":                {"server:\n  port: 1 # \xff", "2: is not text: save the file as UTF-8, without control characters"},
		"UTF-16":                  {"\xff\xfes\x00", "1: is not text: save the file as UTF-8, without control characters"},
		"control character":       {"server:\n\n  port: \x01", "3: is not text: save the file as UTF-8, without control characters"},
		"lines of other editors":  {"\ufeffserver:\r\n  port: 0\r\n", "2: server.port: must be at least 1, not 0"},
		"an alias, where it says": {"server: {port: &p 0}\nproxy: {max_held: *p}", "1: server.port: must be at least 1, not 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("conf/x.yaml", []byte(test.text))
			if err == nil {
				t.Fatal("no problem")
			}
			if want := "conf/x.yaml:" + test.want; err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
		})
	}
}

func TestAllMistakesAreNamedAtOnceInOrderOfLine(t *testing.T) {
	t.Parallel()
	_, err := Parse("a.yaml", []byte(`workers:
  paths:
    /a: {max_requests: -1}
  default: {max_requests: -1}
server:
  port: 9000
  colour: red
build: {env: {"": x}}
dev: {mode: maybe}
`))
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprint(p.Line, " ", p.Key))
	}
	want := []string{
		"3 workers.paths./a.max_requests", "4 workers.default.max_requests", "6 server.port", "7 server.colour", "8 build.env.", "9 dev.mode",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(err.Error(), "\n"); n != len(want)-1 {
		t.Errorf("the error has %d line breaks; want one between problems:\n%v", n, err)
	}
}

func TestMergesDoNotGrowWithTheirDepth(t *testing.T) {
	t.Parallel()
	// Each path merges the one before nine times: naively, 9^30 times.
	text := "workers:\n  paths:\n    /p0: &p0 {max_requests: 5}\n"
	for i := range 30 {
		aliases := strings.Repeat(fmt.Sprintf("*p%d, ", i), 9)
		text += fmt.Sprintf("    /p%d: &p%d {<<: [%s]}\n", i+1, i+1, strings.TrimSuffix(aliases, ", "))
	}
	if got := parse(t, text).Worker("/p30").MaxRequests; got != 5 {
		t.Errorf("max_requests is %d; want 5", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, o := range options {
		sections := strings.Split(o.key, ".")
		f.Add(strings.Join(sections, ": {") + ": " + o.initial + strings.Repeat("}", len(sections)-1))
	}
	f.Add("workers: {paths: {/: &a {<<: *a}, /b: {<<: [*a, *a]}}}")
	f.Add("a: &a [*a]\nb: !!int 0x\n---\n...\n")
	f.Add("server:\n  port: \"8080\n\xff")
	f.Fuzz(func(t *testing.T, text string) {
		Empty([]byte(text))
		c, err := Parse("x.yaml", []byte(text))
		if err == nil {
			wantSound(t, c)
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("the error is %v", err)
		}
		if !slices.IsSortedFunc(problems, func(a, b Problem) int { return a.Line - b.Line }) {
			t.Errorf("problems are not in order: %v", err)
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + strings.Count(text, "\u0085") +
			strings.Count(text, "\u2028") + strings.Count(text, "\u2029") + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.File != "x.yaml" || p.Message == "" {
				t.Errorf("a problem is %+v, in %d lines", p, lines)
			}
		}
	})
}

// wantSound checks what everybody relies on who has a Config.
func wantSound(t *testing.T, c *Config) {
	t.Helper()
	w := c.Workers
	switch {
	case c.Server.Port < 1 || c.Server.Port > 65535,
		w.PortRangeStart < 1 || w.PortRangeEnd > 65535 || w.PortRangeStart > w.PortRangeEnd,
		c.Server.Port >= w.PortRangeStart && c.Server.Port <= w.PortRangeEnd,
		min(c.Server.ReadTimeout, c.Server.WriteTimeout, c.Server.IdleTimeout, c.FileWatcher.Debounce, c.Proxy.HoldTimeout) < 0,
		!filepath.IsAbs(c.Pages.Directory) || !filepath.IsAbs(w.TempDir):
		t.Errorf("settings are impossible: %+v", c)
	}
	for _, route := range []string{"/", "/a", "/a/b"} {
		s := c.Worker(route)
		if s.GoMaxProcs < 0 || s.MaxRequests < 0 || min(s.ReadTimeout, s.WriteTimeout, s.IdleTimeout, s.ShutdownGracePeriod, s.StartupDelay, s.RestartDelay, s.DrainTimeout) < 0 ||
			s.StartTimeout <= 0 || s.HealthInterval <= 0 || s.HealthFailures < 1 ||
			s.LogFile.Name != "" && filepath.IsAbs(s.LogFile.Name) != (s.LogFile.Root == "") {
			t.Errorf("settings of a worker are impossible: %+v", s)
		}
	}
}
