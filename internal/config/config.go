// Package config turns the configuration file into settings.
//
// A file gives either a complete Config, in which every option that the file leaves
// out has its default, or all its problems, each with its line. A Config never
// changes, so it may be shared. The package starts no goroutines and keeps nothing.
package config

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"tqserver/internal/project"
	"tqserver/internal/router"
	"tqserver/internal/secret"
)

// A Config holds the settings of a server. Do not modify it.
type Config struct {
	name string // of the file, as the user gave it
	File string // absolute path of the file; empty if there is none
	Root string // absolute path of the project root

	Server      Server
	Workers     Workers
	FileWatcher FileWatcher
	Pages       Pages
	Proxy       Proxy
	Static      []Static
	Dev         Dev
	Build       Build

	standard PathSettings            // of every path
	paths    map[string]PathSettings // of paths, merged with standard
	routes   *router.Table[PathSettings]
}

// Server holds the settings of the server itself.
type Server struct {
	Port         int
	ReadTimeout  time.Duration // 0: none
	WriteTimeout time.Duration // 0: none
	IdleTimeout  time.Duration // 0: none

	ReadHeaderTimeout time.Duration // above 0
	MinBodyRate       int           // bytes a second; 0: none
	MaxHeaderBytes    int
	MaxConnections    int            // 0: as many as the limit of open files allows
	TrustedProxies    []netip.Prefix // masked; nil: none

	LogFile   LogFile
	LogFormat string // "text" or "json"

	StateDir string // absolute; what the server keeps, made at first need
}

// PathSettings holds the settings for requests of a path. It is comparable.
type PathSettings struct {
	MaxBodyBytes int // 0: no limit
	AccessLog    AccessLog
}

// AccessLog says how requests are logged.
type AccessLog struct {
	File   LogFile
	Format string // "common", "combined", "json" or "off"
}

// LogFile names a log file for each day. Name may contain {date}, and that of a
// worker {path}; in Root these are no placeholders. It is comparable.
type LogFile struct {
	Root string // of the project, if Name is relative to it
	Name string // empty: no file
	Page string // what {path} stands for; set where the page is known
}

// Static is a folder whose files are served under a path.
type Static struct {
	Path         string
	Dir          string // absolute
	CacheControl string
}

// Workers holds the settings that all workers share. Config.Worker returns those
// of the workers of a page.
type Workers struct {
	TempDir        string // absolute
	PortRangeStart int
	PortRangeEnd   int // included in the range

	standard WorkerSettings            // of every page
	paths    map[string]WorkerSettings // of workers.paths, merged with standard
	routes   *router.Table[WorkerSettings]
}

// WorkerSettings holds the settings of the workers of a page. Both parts are
// comparable. A change of the first replaces a worker that runs; a change of the
// second applies to it.
type WorkerSettings struct {
	ProcessSettings
	SupervisionSettings
}

// ProcessSettings is what a worker is started with.
type ProcessSettings struct {
	GoMaxProcs   int           // 0: as many as there are CPUs
	ReadTimeout  time.Duration // 0: none
	WriteTimeout time.Duration // 0: none
	IdleTimeout  time.Duration // 0: none
	GoMemLimit   string        // as in GOMEMLIMIT; empty: no limit
	LogFile      LogFile
}

// SupervisionSettings is what the server does with a worker. The worker is told
// some of it at its start, as a hint; the server enforces it.
type SupervisionSettings struct {
	Instances           int           // workers of a page; 0: as many as there are CPUs
	Rolling             bool          // they are replaced one after another
	MaxRequests         int           // 0: no limit
	MaxMemory           int64         // bytes; 0: no limit
	StartupDelay        time.Duration // 0 unless the file sets it
	RestartDelay        time.Duration
	ShutdownGracePeriod time.Duration
	DrainTimeout        time.Duration
	StartTimeout        time.Duration // above 0
	HealthInterval      time.Duration // above 0
	HealthFailures      int           // at least 1
	Start               string        // "always" or "on_demand"
	IdleStop            time.Duration // 0: never

	Balance            string        // one of balance.Names
	CookieKey          secret.Key    // of cookies, if Balance is "cookie"
	EjectFailures      int           // 0: never
	EjectTime          time.Duration // above 0
	BreakerPercent     int           // 0: no breaker
	BreakerMinRequests int           // above 0
	BreakerWindow      time.Duration // above 0
	BreakerOpen        time.Duration // above 0
}

// OnDemand reports whether a worker starts with the first request of its page,
// and stops when there has been none for IdleStop.
func (s SupervisionSettings) OnDemand() bool { return s.Start == "on_demand" }

// MaxInstances bounds how many workers a page has.
const MaxInstances = 64

// Seats returns how many workers a page has, at least 1.
func (s SupervisionSettings) Seats() int {
	if s.Instances == 0 {
		return min(runtime.NumCPU(), MaxInstances)
	}
	return s.Instances
}

// FileWatcher holds the settings for noticing changes.
type FileWatcher struct {
	Debounce time.Duration
}

// Pages holds the settings of the pages directory.
type Pages struct {
	Directory string // absolute
}

// Proxy holds the settings for requests that wait for a worker.
type Proxy struct {
	HoldTimeout time.Duration
	MaxHeld     int // requests a page
}

// Dev holds the settings of the development aids.
type Dev struct {
	Mode            string        // "auto", "on" or "off"
	HoldNavigations time.Duration // 0: they do not wait
	Watch           []string      // absolute; nil: nothing besides
}

// Build holds the settings of the go command.
type Build struct {
	LDFlags string
	Env     map[string]string // nil if there is nothing to add
}

// Default returns the settings of an empty configuration file in the project
// root.
func Default(root string) *Config {
	c := new(Config)
	setDefaults(c, options)
	c.resolve(absolute(root))
	return c
}

// Load reads the configuration file at path. An error is Problems if the file is
// wrong; otherwise it wraps the error of the file system.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse parses text, the content of the configuration file at path. An error is
// Problems. An empty text gives the defaults; see Empty.
//
// The folder of the file is the project root, unless it is called config: then its
// parent is. Relative paths in the file are relative to the root. The path is made
// absolute here, once: see Reparse.
func Parse(path string, text []byte) (*Config, error) {
	return parseAt(path, absolute(path), text)
}

// Reparse parses another content of the same file. The file is where it was, wherever
// the working directory of this process is now: the folder may have been renamed.
func (c *Config) Reparse(text []byte) (*Config, error) {
	return parseAt(c.name, c.File, text)
}

func parseAt(name, file string, text []byte) (*Config, error) {
	root := filepath.Dir(file)
	if filepath.Base(root) == "config" {
		root = filepath.Dir(root)
	}

	c := Default(root)
	c.name, c.File = name, file
	if problems := decode(name, text, c); len(problems) > 0 {
		return nil, problems
	}
	c.resolve(root)
	return c, nil
}

// Worker returns the settings for workers of the page that answers under
// route: those of the longest key of workers.paths that route lies under, on
// whole segments, and those of all pages where that key sets none.
func (c *Config) Worker(route string) WorkerSettings {
	if s, ok := c.Workers.routes.Match(route); ok {
		return s
	}
	return c.Workers.standard
}

// LongestDrain returns the longest DrainTimeout of any page.
func (c *Config) LongestDrain() time.Duration {
	longest := c.Workers.standard.DrainTimeout
	for _, s := range c.Workers.paths {
		longest = max(longest, s.DrainTimeout)
	}
	return longest
}

// Path returns the settings for requests of a path: those of the longest key of
// paths that it lies under, on whole segments, and those for all paths where
// that key sets none.
func (c *Config) Path(path string) PathSettings {
	if s, ok := c.routes.Match(path); ok {
		return s
	}
	return c.standard
}

// Paths returns the keys of paths, in order.
func (c *Config) Paths() []string { return slices.Sorted(maps.Keys(c.paths)) }

// CommonFiles returns the files and folders whose content any page may show: the
// project's templates, those of dev.watch, and the static folders.
func (c *Config) CommonFiles() []string {
	all := append([]string{filepath.Join(c.Root, "templates")}, c.Dev.Watch...)
	for _, s := range c.Static {
		all = append(all, s.Dir)
	}
	return all
}

// resolve makes every path absolute and the paths of workers ready for use.
func (c *Config) resolve(root string) {
	c.Root = root
	c.Pages.Directory = project.Abs(root, c.Pages.Directory)
	c.Workers.TempDir = project.Abs(root, c.Workers.TempDir)
	c.Server.StateDir = project.Abs(root, c.Server.StateDir)
	c.Server.LogFile.resolve(root)
	c.Workers.standard.LogFile.resolve(root)
	for route, s := range c.Workers.paths {
		s.LogFile.resolve(root)
		c.Workers.paths[route] = s
	}
	c.Workers.routes = router.NewTable(c.Workers.paths)
	c.standard.AccessLog.File.resolve(root)
	for path, s := range c.paths {
		s.AccessLog.File.resolve(root)
		c.paths[path] = s
	}
	c.routes = router.NewTable(c.paths)
	for i, s := range c.Static {
		c.Static[i].Dir = project.Abs(root, s.Dir)
	}
	for i, path := range c.Dev.Watch {
		c.Dev.Watch[i] = project.Abs(root, path)
	}
}

// resolve sets the root if the name is relative.
func (f *LogFile) resolve(root string) {
	f.Root = ""
	if f.Name != "" && !filepath.IsAbs(f.Name) {
		f.Root = root
	}
}

// absolute returns path as seen from the working directory. The only error is that
// there is none; then no relative path can be opened, and opening it reports that.
func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return filepath.Clean(path)
	}
	return abs
}
