package worker_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tqserver/pkg/worker"
)

// These tests change the environment, so they are not parallel.

func TestWithoutVariablesARuntimeHasTheDefaults(t *testing.T) {
	want := &worker.Runtime{Port: 9000, ReadTimeout: 30, WriteTimeout: 30, IdleTimeout: 120, ShutdownTimeout: 500}
	wantRuntime(t, want)

	for _, name := range variables {
		t.Setenv(name, "")
	}
	wantRuntime(t, want)
}

func TestARuntimeIsWhatTheVariablesSay(t *testing.T) {
	for i, name := range variables {
		t.Setenv(name, strconv.Itoa(i+1))
	}
	t.Setenv("TQ_READY_FD", "")
	t.Setenv("TQ_ALIVE_FD", "")
	wantRuntime(t, &worker.Runtime{
		Port: 1, MaxRequests: 2, ReadTimeout: 3, WriteTimeout: 4, IdleTimeout: 5, ShutdownTimeout: 6, LogFile: "7",
	})
}

func TestEachImpossibleVariableIsNamed(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	notAPipe := strconv.Itoa(int(file.Fd()))

	for _, test := range []struct{ name, value, want string }{
		{"TQ_PORT", "http", "a whole number from 1 to 65535"},
		{"TQ_PORT", "0", "a whole number from 1 to 65535"},
		{"TQ_PORT", "65536", "a whole number from 1 to 65535"},
		{"TQ_PORT", " 9000", "a whole number from 1 to 65535"},
		{"TQ_MAX_REQUESTS", "-1", "a whole number from 0 to 2147483647"},
		{"TQ_MAX_REQUESTS", "2147483648", "a whole number from 0 to 2147483647"},
		{"TQ_READ_TIMEOUT_SECONDS", "30s", "a whole number from 0 to"},
		{"TQ_WRITE_TIMEOUT_SECONDS", "1.5", "a whole number from 0 to"},
		{"TQ_IDLE_TIMEOUT_SECONDS", "-120", "a whole number from 0 to"},
		{"TQ_SHUTDOWN_GRACE_PERIOD_MS", "99999999999999999999", "a whole number from 0 to"},
		{"TQ_READY_FD", "three", "the number of a pipe, 3 or more"},
		{"TQ_ALIVE_FD", "2", "the number of a pipe, 3 or more"},
		{"TQ_READY_FD", "987654", "the number of a pipe: bad file descriptor"},
		{"TQ_ALIVE_FD", notAPipe, "the number of a pipe, but it is something else"},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			t.Setenv(test.name, test.value)
			_, err := worker.NewRuntime()
			want := test.name + " is " + strconv.Quote(test.value) + ": want " + test.want
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error is %v; want %s", err, want)
			}
		})
	}
	if _, err := file.Stat(); err != nil {
		t.Errorf("a file that is not ours was closed: %v", err)
	}
}

func TestAllImpossibleVariablesAreNamedAtOnce(t *testing.T) {
	bad := []string{"TQ_PORT", "TQ_MAX_REQUESTS", "TQ_IDLE_TIMEOUT_SECONDS", "TQ_ALIVE_FD"}
	for _, name := range bad {
		t.Setenv(name, "-1")
	}
	_, err := worker.NewRuntime()
	if err == nil {
		t.Fatal("no error")
	}
	var named []string
	for line := range strings.Lines(err.Error()) {
		name, _, _ := strings.Cut(line, " ")
		named = append(named, name)
	}
	if diff := cmp.Diff(bad, named); diff != "" {
		t.Errorf("named are (-want +got):\n%s", diff)
	}
}

func TestPagesLinkOnlyTheStandardLibrary(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			first, _, _ := strings.Cut(path, "/")
			if strings.Contains(first, ".") || first == "tqserver" {
				t.Errorf("%s imports %s: every page links this package at every save", name, path)
			}
		}
	}
}

var variables = []string{
	"TQ_PORT", "TQ_MAX_REQUESTS", "TQ_READ_TIMEOUT_SECONDS", "TQ_WRITE_TIMEOUT_SECONDS",
	"TQ_IDLE_TIMEOUT_SECONDS", "TQ_SHUTDOWN_GRACE_PERIOD_MS", "TQ_LOG_FILE", "TQ_READY_FD", "TQ_ALIVE_FD",
}

func wantRuntime(t *testing.T, want *worker.Runtime) {
	t.Helper()
	got, err := worker.NewRuntime()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(worker.Runtime{})); diff != "" {
		t.Errorf("runtime is (-want +got):\n%s", diff)
	}
}
