// Bench measures how fast the server is, compared with what people would use instead,
// and writes docs/performance.md. Every figure is a ratio of two measurements
// that were made in turns in one run, because machines differ, and one machine
// differs from minute to minute.
//
// It runs the real programs: tqserver, the go command, nginx, Caddy, wrk. Load
// goes to 127.0.0.1 only, and all that was started has ended when it returns.
// Run it from the repository with make bench; it takes about 15 minutes. make pgo
// records a profile for the compiler under the same load.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"tqserver/internal/tools/trial"
)

func main() {
	only := flag.String("only", "", "the parts to measure, separated by commas; nothing is written then")
	caddy := flag.String("caddy", "caddy", "the program to compare with")
	reverse := flag.String("reverse-proxy", "", "do nothing but forward from this address to that of the worker, which follows")
	profile := flag.String("profile", "", "do nothing but record a profile of the server under load to this file")
	flag.Parse()
	if *reverse != "" { // until a signal ends it
		fail(reverseProxy(*reverse, flag.Arg(0)))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	fail(withFolder(ctx, func(b *bench) error {
		if *profile != "" {
			return b.profile(ctx, *profile)
		}
		b.caddy = *caddy
		return b.measure(ctx, *only)
	}))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	repo    string
	dir     string // for projects and programs, removed at the end
	program string // tqserver
	caddy   string

	results []result
	charts  []chart
}

// parts are measured in this order.
var parts = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"match", (*bench).match},
	{"forward", (*bench).forward},
	{"reload", (*bench).reload},
	{"cold", (*bench).cold},
	{"pages", (*bench).pages},
	{"demand", (*bench).demand},
}

// withFolder calls use with a bench that has a temporary folder.
func withFolder(ctx context.Context, use func(*bench) error) error {
	repo, err := trial.Repository(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tqbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // nginx, started by root, works as another user and keeps large bodies there
		return err
	}
	return use(&bench{repo: repo, dir: dir, program: filepath.Join(dir, "tqserver")})
}

// build builds the server.
func (b *bench) build(ctx context.Context, flags ...string) error {
	return trial.Build(ctx, b.repo, b.program, flags...)
}

func (b *bench) measure(ctx context.Context, only string) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	for _, p := range parts {
		if only != "" && !strings.Contains(","+only+",", ","+p.name+",") {
			continue
		}
		if err := p.measure(b, ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.name, err), ctx.Err())
		}
	}
	fmt.Print(b.table())
	if only != "" {
		return nil
	}
	return b.write(ctx)
}

// add records a result and prints it.
func (b *bench) add(r result) {
	b.results = append(b.results, r)
	fmt.Fprintln(os.Stderr, r)
}

// run runs a program to its end.
func run(ctx context.Context, dir, name string, args ...string) error {
	_, err := output(ctx, dir, name, args...)
	return err
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{name}, args...), " "), err, out)
	}
	return string(out), nil
}
