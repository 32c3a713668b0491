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

// show is the screen. The tests have one that breaks.
var show = tui.Run

func main() {
	if server.RunGuardian() {
		return
	}
	if code, is := server.RunInit(); is {
		os.Exit(code)
	}
	takeTurns()
	ballast := collectSeldom()
	code := run()
	runtime.KeepAlive(ballast)
	os.Exit(code)
}

// Exit codes: 1 for what kept it from serving, 2 for wrong usage, 130 for an
// end that was forced.
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

	cfg, err := load(*file)
	if err != nil {
		return fatal(err)
	}
	terminal := !*quiet && isTerminal(os.Stdout)
	opts := server.Options{ConfigFile: *file, Version: programVersion(), Dev: *dev, Terminal: terminal}
	screen := terminal && movesCursor(os.Getenv("TERM")) && isTerminal(os.Stdin) && inForeground(os.Stdin)
	var look tui.Options
	switch {
	case screen:
		if look, err = loadKeys(filepath.Join(filepath.Dir(*file), "tui.yaml")); err != nil {
			return fatal(err)
		}
	case !*quiet:
		opts.Console = os.Stdout
	}
	signals := make(chan os.Signal, 4)
	// Before the first line is written: SIGPIPE is caught so that a reader of
	// our lines who leaves does not take the server along.
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	srv, err := server.New(cfg, opts)
	if err != nil {
		return fatal(err)
	}
	log.SetFlags(0)
	log.SetOutput(srv.LibraryLog())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go obey(ctx, signals, cancel, srv, screen)
	if screen {
		return runScreen(ctx, cancel, srv, look)
	}
	if err := srv.Run(ctx); err != nil {
		return fatal(err)
	}
	return 0
}

// movesCursor reports whether a kind of terminal can show a screen. One that
// has no name is known to do nothing.
func movesCursor(term string) bool { return term != "" && term != "dumb" }

// obey does what signals say. It ends with the process.
func obey(ctx context.Context, signals <-chan os.Signal, cancel context.CancelFunc, srv *server.Server, screen bool) {
	for sig := range signals {
		switch {
		case sig == syscall.SIGPIPE:
		case sig == syscall.SIGHUP && !screen:
			go srv.Source().Do(ctx, state.Command{Verb: state.Reload}) // ends with the reload, or with ctx
		case sig == syscall.SIGHUP: // the terminal went away
			cancel()
		case ctx.Err() != nil:
			os.Exit(130) // what is left the guardian sees to
		default:
			cancel()
		}
	}
}

// runScreen runs the engine with the screen beside it. Whatever becomes of the
// screen, the engine ends in order.
func runScreen(ctx context.Context, cancel context.CancelFunc, srv *server.Server, look tui.Options) int {
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
	atOnce, screenErr := show(shown, srv.Source(), look)
	if atOnce {
		return 0 // the guardian sees to the workers
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

// load reads the configuration. A project may do without the file, but not
// without the one it names.
func load(file string) (*config.Config, error) {
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

// loadKeys reads which keys the screen is to have, if the project says so.
func loadKeys(file string) (look tui.Options, err error) {
	keys, err := config.LoadKeys(file)
	if errors.Is(err, fs.ErrNotExist) {
		return look, nil
	}
	if err != nil {
		return look, err
	}
	for _, k := range keys {
		look.Rebindings = append(look.Rebindings, tui.Rebinding{Place: k.Place, Action: k.Action, Keys: k.Keys})
	}
	return look, look.Check()
}

func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
