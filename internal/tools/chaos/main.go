// Chaos breaks the server on purpose and checks whether its promises hold.
//
// For each fault it starts the real server on pages of its own, keeps a load on
// it, injects the fault and checks what docs/reliability.md promises: which
// requests may fail, which worker must respond, which processes, ports and files
// may be left. Then it injects faults at random, in an order that its seed
// decides.
//
// It looks from outside, as users do: at responses, log lines and /proc, so it
// runs on Linux. Faults that need root, such as a full disk, are otherwise skipped and
// named. All that it starts has ended when it returns, and load goes to
// 127.0.0.1 only.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"tqserver/internal/tools/trial"
)

func main() {
	o := options{}
	flag.BoolVar(&o.short, "short", false, "less of everything, under five minutes")
	flag.DurationVar(&o.lasts, "for", 10*time.Minute, "how long faults come at random, and how long there is load on a server that must not grow; with -short 12 s")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "decides the order of random faults")
	flag.StringVar(&o.only, "only", "", "the faults to inject, separated by commas: "+names())
	flag.IntVar(&o.instances, "instances", 1, "workers of each page")
	flag.BoolVar(&o.clock, "clock", false, "let the clock of this machine jump by an hour, and back")
	flag.BoolVar(&o.keep, "keep", false, "keep the projects, to look at")
	write := flag.String("write", "", "write what was seen into this file, between its marks")
	flag.Parse()
	if runtime.GOOS != "linux" {
		fmt.Println("chaos looks into /proc, which Linux has: nothing was tried")
		return
	}
	if o.short {
		o.lasts = 12 * time.Second
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	seen, err := inject(ctx, o)
	if err == nil && *write != "" {
		err = report(*write, o, seen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

type options struct {
	short     bool
	lasts     time.Duration
	seed      uint64
	only      string
	instances int
	clock     bool
	keep      bool
}

// fault is something that goes wrong.
type fault struct {
	name   string
	inject func(*scene)
}

// faults come in this order.
var faults = []fault{
	{"saves", saves},
	{"kill-worker", killWorker},
	{"seats", seats},
	{"kill-server", killServer},
	{"sigterm", sigterm},
	{"cold-build", coldBuild},
	{"temp-full", tempFull},
	{"logs", logsGone},
	{"ports", ports},
	{"bad-workers", badWorkers},
	{"flood", flood},
	{"headers", headers},
	{"configuration", configuration},
	{"folders", folders},
	{"release", release},
	{"temp-gone", tempGone},
	{"namespaces", namespaces},
	{"watcher", watcher},
	{"crash-loop", crashLoop},
	{"bad-build", badBuild},
	{"own-input", ownInput},
	{"max-requests", maxRequests},
	{"max-memory", maxMemory},
	{"flat", flat},
	{"clock", clock},
	{"toolchain", toolchain},
	{"terminal", terminal},
	{"random", random},
}

func names() string {
	var all []string
	for _, f := range faults {
		all = append(all, f.name)
	}
	return strings.Join(all, ",")
}

// inject injects all faults. The error says which promises were broken.
func inject(ctx context.Context, o options) ([]*scene, error) {
	repo, err := trial.Repository(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tqchaos")
	if err != nil {
		return nil, err
	}
	if o.keep {
		fmt.Println("projects:", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	program := filepath.Join(dir, "tqserver")
	if err := trial.Build(ctx, repo, program); err != nil {
		return nil, err
	}
	fmt.Printf("seed %d\n", o.seed)
	var seen []*scene
	broken := 0
	for _, f := range faults {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+f.name+",") {
			continue
		}
		s := &scene{
			fault: f, options: o, ctx: ctx, dir: filepath.Join(dir, f.name), repo: repo, program: program,
			rnd: rand.New(rand.NewPCG(o.seed, 1)),
		}
		s.run()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		fmt.Print(s)
		seen = append(seen, s)
		broken += len(s.broken)
	}
	if broken > 0 {
		return seen, fmt.Errorf("%d promises were broken; the seed was %d", broken, o.seed)
	}
	return seen, nil
}
