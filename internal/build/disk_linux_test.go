package build

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func TestAFullDiskIsAnErrorAndNeverHalfABinary(t *testing.T) {
	parallel(t)
	temp := t.TempDir()
	if err := syscall.Mount("tmpfs", temp, "tmpfs", 0, "size=400k,mode=0700"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(temp, 0) })
	p := newProject(t, nil)
	p.Builder = p.server(temp, "")
	defer p.Close()
	res, err := p.Build(t.Context(), p.page, false)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Build is %+v, %v", res, err)
	}
	if n := strings.Count(fmt.Sprint(err), syscall.ENOSPC.Error()); n != 1 {
		t.Errorf("the reason is reported %d times: %v", n, err)
	}
	p.wantFiles(0)
}

func TestAFolderFromWhichNothingCanBeRunIsRefused(t *testing.T) {
	parallel(t)
	temp := t.TempDir()
	if err := syscall.Mount("tmpfs", temp, "tmpfs", syscall.MS_NOEXEC, "mode=0700"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(temp, 0) })
	_, err := New(Options{TempDir: temp, Root: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "mounted noexec, where no worker can be run: use a folder elsewhere") {
		t.Errorf("New is %v", err)
	}
}
