package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Usually the go command in PATH belongs to a toolchain, and go.mod decides
// whether it switches to another. But it may be the shim of a version manager
// (asdf, mise, goenv, snap), which chooses a toolchain by files of its own. Then
// go env says which; it runs once for each state of the files that are known here,
// and again when the server is idle, because there may be other files.

// versionFiles are the files by which version managers choose a toolchain for what
// lies below.
var versionFiles = []string{
	".tool-versions", ".go-version", "mise.toml", ".mise.toml", "mise.local.toml", ".mise.local.toml", ".mise/config.toml", "mise/config.toml", ".config/mise.toml", ".config/mise/config.toml",
}

// userVersionFiles returns those of the user, and the link to the toolchain of a
// snap.
func (e environment) userVersionFiles() (files []string) {
	home := e.getenv("HOME")
	for file, dir := range map[string]string{
		".tool-versions": home, ".config/mise/config.toml": home, ".goenv/version": home,
		"version": e.getenv("GOENV_ROOT"), "config.toml": e.getenv("MISE_CONFIG_DIR"), "mise/config.toml": e.getenv("XDG_CONFIG_HOME"),
	} {
		if dir != "" {
			files = append(files, filepath.Join(dir, filepath.FromSlash(file)))
		}
	}
	return append(files, "/etc/mise/config.toml", "/snap/go/current")
}

// isShim reports whether the go command in PATH does not belong to a toolchain.
func isShim() bool {
	path, err := exec.LookPath("go")
	if err != nil {
		return false
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(filepath.Dir(path), "..", "VERSION"))
	return err != nil || filepath.Base(path) != "go"
}

// toolchain identifies what builds the page in dir.
func (b *Builder) toolchain(ctx context.Context, env environment, dir string) (string, error) {
	tools := env.tools()
	if tools == "" || !env.shim {
		return tools, nil
	}
	release, err := b.goEnv.acquire(ctx, func() int { return b.queue.priority(dir) })
	if err != nil {
		return "", err
	}
	defer release()
	choice := env.toolchainKey(tools, dir)
	b.mu.Lock()
	chosen, ok := b.toolchains[choice]
	b.mu.Unlock()
	if !ok {
		if chosen, err = b.queryToolchain(ctx, env, choice, dir); err != nil {
			return "", err
		}
	}
	return tools + "\n" + chosen, nil
}

// toolchainChanged reports whether another toolchain builds the page in dir than
// was assumed.
func (b *Builder) toolchainChanged(ctx context.Context, env environment, tools, dir string) bool {
	if !env.shim {
		return false
	}
	now := env.tools()
	chosen, err := b.queryToolchain(ctx, env, env.toolchainKey(now, dir), dir)
	return err == nil && now+"\n"+chosen != tools
}

// toolchainKey identifies the state of all files by which a shim may choose.
func (e environment) toolchainKey(tools, dir string) string {
	var choice strings.Builder
	choice.WriteString(tools)
	for _, file := range append(versionFilesAbove(dir), e.userVersionFiles()...) {
		if info, err := os.Stat(file); err == nil {
			to, _ := filepath.EvalSymlinks(file)
			fmt.Fprintf(&choice, "\n%s %s %d %d", file, to, info.Size(), info.ModTime().UnixNano())
		}
	}
	return choice.String()
}

// versionFilesAbove returns the files above a page by which a toolchain may be
// chosen.
func versionFilesAbove(dir string) (files []string) {
	for at := dir; ; at = filepath.Dir(at) {
		for _, name := range append([]string{"go.mod", "go.work"}, versionFiles...) {
			files = append(files, filepath.Join(at, filepath.FromSlash(name)))
		}
		if at == filepath.Dir(at) {
			return files
		}
	}
}

// queryToolchain runs go env to learn which toolchain builds in dir.
func (b *Builder) queryToolchain(ctx context.Context, env environment, choice, dir string) (string, error) {
	out, err := b.run(ctx, env, dir, "env", "GOROOT", "GOVERSION")
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return "", nil // there is none, and the build reports why
	case err != nil:
		return "", err
	}
	chosen := strings.TrimSpace(out.stdout.String())
	b.mu.Lock()
	defer b.mu.Unlock()
	b.toolchains[choice] = chosen
	return chosen, nil
}
