// Bench measures how fast the server is, beside what people would use instead,
// and writes docs/performance.md. Every figure is a ratio of two measurements
// that were made in turns in one run, because machines differ, and one machine
// differs from minute to minute.
//
// It runs the real programs: tqserver, the go command, nginx, Caddy, wrk. Load
// goes to 127.0.0.1 only, and all that was started has ended when it returns.
// It is run from the repository by make bench, and takes about 15 minutes. By
// make pgo it records under the same load what the compiler is to know of it.
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
	if *reverse != "" { // which a signal ends
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

// withFolder lends a bench with a folder of its own.
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
	if err := os.Chmod(dir, 0o755); err != nil { // started by root, nginx works as another user, and keeps there what is large
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

// add notes a result and shows it.
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
