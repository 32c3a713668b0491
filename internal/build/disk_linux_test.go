package build

import (
	"errors"
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
	res, err := p.Build(t.Context(), p.page, false)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Build is %+v, %v", res, err)
	}
	p.wantFiles(0)
}
