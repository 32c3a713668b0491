package sinks

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tqserver/internal/logfile"
	"tqserver/internal/state"
)

func TestTheLogFileHasWhatHappenedInItsFormat(t *testing.T) {
	dir := t.TempDir()
	store := state.NewStore(state.Server{})
	events := NewEventLog(store, logfile.Template{Name: filepath.Join(dir, "a.log")}, "text", nil)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { events.Run(ctx) })
	store.Publish(state.Event{Message: "one", Attrs: []state.Attr{state.String("page", "/")}})
	store.Publish(state.Event{Page: &state.Page{Route: "/"}}) // no line
	waitUntil(t, func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "a.log"))
		return bytes.Contains(text, []byte("msg=one"))
	})
	events.Configure(logfile.Template{Name: filepath.Join(dir, "b.log")}, "json")
	store.Publish(state.Event{Level: state.LevelError, Message: "two"})
	cancel()
	running.Wait()
	events.Close()
	a, _ := os.ReadFile(filepath.Join(dir, "a.log"))
	b, _ := os.ReadFile(filepath.Join(dir, "b.log"))
	if n := bytes.Count(a, []byte("\n")); n != 1 || !bytes.Contains(a, []byte("level=INFO msg=one page=/")) {
		t.Errorf("a.log is %q", a)
	}
	if n := bytes.Count(b, []byte("\n")); n != 1 || !bytes.Contains(b, []byte(`"level":"ERROR","msg":"two"`)) {
		t.Errorf("b.log is %q", b)
	}
}

func TestAnEventIsWrittenToTheFileOfItsDay(t *testing.T) {
	dir := t.TempDir()
	store := state.NewStore(state.Server{})
	events := NewEventLog(store, logfile.Template{Root: dir, Name: "{date}.log"}, "text", nil)
	yesterday := time.Now().AddDate(0, 0, -1)
	store.Publish(state.Event{Message: "late", Time: yesterday})
	store.Publish(state.Event{Message: "now"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	events.Run(ctx)
	events.Close()
	if text, _ := os.ReadFile(filepath.Join(dir, yesterday.Format(time.DateOnly)+".log")); !bytes.Contains(text, []byte("msg=late")) || bytes.Contains(text, []byte("msg=now")) {
		t.Errorf("yesterday's file has %q", text)
	}
}

func TestNoLineIsLostWhenTheLogFileChanges(t *testing.T) {
	dir := t.TempDir()
	name := func(i int) logfile.Template {
		return logfile.Template{Name: filepath.Join(dir, fmt.Sprintf("%d.log", i))}
	}
	store := state.NewStore(state.Server{})
	events := NewEventLog(store, name(0), "text", nil)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { events.Run(ctx) }) // ends with ctx
	const changes, each = 50, 60
	for i := range changes {
		for range each {
			store.Publish(state.Event{Level: state.LevelInfo, Message: "line"})
		}
		events.Configure(name(i+1), "text")
	}
	cancel()
	running.Wait()
	events.Close()
	lines := 0
	for i := range changes + 1 {
		text, _ := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)))
		lines += bytes.Count(text, []byte("\n"))
	}
	if lines != changes*each {
		t.Errorf("%d of %d lines were written", lines, changes*each)
	}
}

// waitUntil waits for something that another goroutine does.
func waitUntil(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 s in vain")
		}
	}
}
