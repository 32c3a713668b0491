package trial

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Repository returns the folder of the module in which this program runs.
func Repository(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	return filepath.Dir(string(bytes.TrimSpace(mod))), nil
}

// Build builds the server of a repository.
func Build(ctx context.Context, repo, program string, flags ...string) error {
	args := append(append([]string{"build", "-o", program}, flags...), "./cmd/tqserver")
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = repo
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return nil
}
