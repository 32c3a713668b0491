// Tqserver serves a folder of small Go programs as one web application: it
// builds each, runs it, and replaces it when it is saved.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"tqserver/internal/config"
	"tqserver/internal/server"
	"tqserver/internal/state"
	"tqserver/tui"
)

const defaultConfig = "config/server.yaml"

// runScreen is tui.Run. Tests replace it by a screen that fails.
var runScreen = tui.Run

func main() {
	if server.RunGuardian() {
		return
	}
	if code, is := server.RunInit(); is {
		os.Exit(code)
	}
	setBatchScheduling()
	ballast := setGarbageCollection()
	code := run()
	runtime.KeepAlive(ballast)
	os.Exit(code)
}

// run runs the server and returns its exit code: 1 if it could not serve, 2 for wrong
// usage. A forced end exits with 130.
func run() int {
	flags := flag.NewFlagSet("tqserver", flag.ContinueOnError)
	file := flags.String("config", defaultConfig, "path to the configuration `FILE`; the folder above its config/ is the project")
	quiet := flags.Bool("quiet", false, "print nothing on stdout and stderr; log files are written as usual")
	dev := flags.Bool("dev", false, "turn on development aids, also without a terminal")
	version := flags.Bool("version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "Usage: tqserver [options]\n\nServes the pages of a project, and builds and replaces them when they are saved.\n\nOptions:\n")
		flags.PrintDefaults()
	}
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(os.Stderr, "tqserver: unexpected argument %q; see tqserver -h\n", flags.Arg(0))
		return 2
	case *version:
		fmt.Println("tqserver", programVersion(), runtime.Version())
		return 0
	}

	cfg, err := loadConfig(*file)
	if err != nil {
		return fatal(err)
	}
	terminal := !*quiet && isTerminal(os.Stdout)
	opts := server.Options{ConfigFile: *file, Version: programVersion(), Dev: *dev, Terminal: terminal}
	screen := terminal && movesCursor(os.Getenv("TERM")) && isTerminal(os.Stdin) && inForeground(os.Stdin)
	var screenOpts tui.Options
	switch {
	case screen:
		if screenOpts, err = loadKeys(filepath.Join(filepath.Dir(*file), "tui.yaml")); err != nil {
			return fatal(err)
		}
	case !*quiet:
		opts.Console = os.Stdout
	}
	signals := make(chan os.Signal, 4)
	// SIGPIPE is caught before the first line is written, so that the server does
	// not end with the reader of its lines.
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	srv, err := server.New(cfg, opts)
	if err != nil {
		return fatal(err)
	}
	log.SetFlags(0)
	log.SetOutput(srv.LibraryLog())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go handleSignals(ctx, signals, cancel, srv, screen)
	if screen {
		return runWithScreen(ctx, cancel, srv, screenOpts)
	}
	if err := srv.Run(ctx); err != nil {
		return fatal(err)
	}
	return 0
}

// movesCursor reports whether a kind of terminal can show a screen. One without a
// name is known to do nothing.
func movesCursor(term string) bool { return term != "" && term != "dumb" }

// handleSignals acts on signals. It ends with the process.
func handleSignals(ctx context.Context, signals <-chan os.Signal, cancel context.CancelFunc, srv *server.Server, screen bool) {
	for sig := range signals {
		switch {
		case sig == syscall.SIGPIPE:
		case sig == syscall.SIGHUP && !screen:
			go srv.Source().Do(ctx, state.Command{Verb: state.Reload}) // ends with the reload, or with ctx
		case sig == syscall.SIGHUP: // the terminal went away
			cancel()
		case ctx.Err() != nil:
			os.Exit(130) // the guardian ends the workers
		default:
			cancel()
		}
	}
}

// runWithScreen runs the engine with the screen beside it. Whatever becomes of the
// screen, the engine ends in order.
func runWithScreen(ctx context.Context, cancel context.CancelFunc, srv *server.Server, opts tui.Options) int {
	if release, err := srv.KeepTerminal(os.Stdin); err == nil {
		defer release()
	}
	shown, hide := context.WithCancel(context.Background())
	defer hide()
	ended := make(chan error, 1)
	go func() { // ends with ctx
		ended <- srv.Run(ctx)
		hide()
	}()
	atOnce, screenErr := runScreen(shown, srv.Source(), opts)
	if atOnce {
		return 0 // the guardian ends the workers
	}
	cancel()
	if err := errors.Join(screenErr, <-ended); err != nil {
		return fatal(err)
	}
	return 0
}

func fatal(err error) int {
	fmt.Fprintln(os.Stderr, "tqserver:", err)
	return 1
}

// loadConfig reads the configuration. A project needs no file, but one that was named
// must exist.
func loadConfig(file string) (*config.Config, error) {
	cfg, err := config.Load(file)
	if !errors.Is(err, fs.ErrNotExist) || file != defaultConfig {
		return cfg, err
	}
	root, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	return config.Parse(filepath.Join(root, defaultConfig), nil)
}

// loadKeys reads the keys of the screen from a file that need not exist.
func loadKeys(file string) (opts tui.Options, err error) {
	keys, err := config.LoadKeys(file)
	if errors.Is(err, fs.ErrNotExist) {
		return opts, nil
	}
	if err != nil {
		return opts, err
	}
	for _, k := range keys {
		opts.Rebindings = append(opts.Rebindings, tui.Rebinding{Place: k.Place, Action: k.Action, Keys: k.Keys})
	}
	return opts, opts.Check()
}

func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
