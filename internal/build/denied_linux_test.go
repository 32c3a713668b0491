package build

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
)

// asNobody calls f while this thread may read what everybody may and no more.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0) // of this thread only (setfsuid(2))
	defer syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0)
	f()
}

func TestAFileThatMustNotBeReadIsAwaited(t *testing.T) {
	p := newProject(t, map[string]string{"lib/x.go": "package lib\n\nvar X = 1\n", "pages/a/main.go": libPage})
	p.good()
	for dir, mode := range map[string]os.FileMode{filepath.Dir(p.opts.TempDir): 0o755, p.opts.TempDir: 0o755, p.dir: 0o777} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	var awaited []string
	p.opts.AwaitReadable = func(files []string) { awaited = append(awaited, files...) }
	if err := os.Chmod(p.path("lib/x.go"), 0); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		if _, err := p.Build(t.Context(), p.page, false); err != nil {
			t.Error(err)
		}
	})
	if !slices.Equal(slices.Compact(awaited), []string{p.path("lib/x.go")}) {
		t.Errorf("awaited are %v", awaited)
	}
	awaited = nil
	if err := os.Chmod(p.path("lib/x.go"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.good()
	if len(awaited) > 0 {
		t.Errorf("awaited are %v, which can be read", awaited)
	}
}
