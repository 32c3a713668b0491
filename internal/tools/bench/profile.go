package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// recorder is a file of the server that is profiled, and of no other.
const recorder = `package main

import (
	"log"
	"os"
	"runtime/pprof"
)

func recorded(run func() int) int {
	f, err := os.Create("cpu.pprof")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		log.Fatal(err)
	}
	defer pprof.StopCPUProfile()
	return run()
}
`

// profile records a profile of the server under load, for the compiler.
func (b *bench) profile(ctx context.Context, file string) error {
	if err := b.buildRecorded(ctx); err != nil {
		return err
	}
	tq, err := b.startForward(ctx)
	if err != nil {
		return err
	}
	for _, load := range []struct {
		path    string
		seconds int
	}{{"/", 10}, {"/bytes/10240", 5}, {"POST", 5}} {
		if _, err := b.wrk(ctx, tq.Address, load.path, 64, load.seconds); err != nil {
			tq.Stop()
			return err
		}
	}
	tq.Stop()
	text, err := os.ReadFile(filepath.Join(tq.Dir, "cpu.pprof"))
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// buildRecorded builds a server that profiles itself.
func (b *bench) buildRecorded(ctx context.Context) error {
	program := filepath.Join(b.repo, "cmd", "tqserver")
	text, err := os.ReadFile(filepath.Join(program, "main.go"))
	if err != nil {
		return err
	}
	begun := strings.Replace(string(text), "os.Exit(run())", "os.Exit(recorded(run))", 1)
	if begun == string(text) {
		return errors.New("cmd/tqserver/main.go does not call os.Exit(run()) any more")
	}
	replaced := make(map[string]string)
	for name, text := range map[string]string{"main.go": begun, "recorder.go": recorder} {
		replaced[filepath.Join(program, name)] = filepath.Join(b.dir, name)
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return err
	}
	return b.build(ctx, "-pgo=off", "-overlay", file)
}
