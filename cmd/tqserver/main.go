// Tqserver serves a folder of small Go programs as one web application: it
// builds each, runs it, and replaces it when it is saved.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"tqserver/internal/config"
	"tqserver/internal/server"
	"tqserver/internal/state"
)

const defaultConfig = "config/server.yaml"

func main() {
	if server.Guard() {
		return
	}
	os.Exit(run())
}

// Exit codes: 1 for what kept it from serving, 2 for wrong usage, 130 for an
// end that was forced.
func run() int {
	flags := flag.NewFlagSet("tqserver", flag.ContinueOnError)
	file := flags.String("config", defaultConfig, "path to the configuration `FILE`; the folder above its config/ is the project")
	quiet := flags.Bool("quiet", false, "print nothing on stdout and stderr; log files are written as ever")
	dev := flags.Bool("dev", false, "development aids on, also without a terminal")
	version := flags.Bool("version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "Usage: tqserver [options]\n\nServes the pages of a project, building and replacing them as they are saved.\n\nOptions:\n")
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
	opts := server.Options{ConfigFile: *file, Version: programVersion(), Dev: *dev, Terminal: !*quiet && isTerminal(os.Stdout)}
	if !*quiet {
		opts.Console = os.Stdout
	}
	srv, err := server.New(cfg, opts)
	if err != nil {
		return fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 4)
	// SIGPIPE is caught so that a reader of our lines who leaves does not take
	// the server along.
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() { // ends with the process
		for sig := range signals {
			switch sig {
			case syscall.SIGPIPE:
			case syscall.SIGHUP:
				srv.Source().Do(ctx, state.Command{Verb: state.Reload})
			default:
				if ctx.Err() != nil {
					os.Exit(130) // what is left the guardian sees to
				}
				cancel()
			}
		}
	}()
	if err := srv.Run(ctx); err != nil {
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

func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
