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

// The go command in PATH is mostly a toolchain's own: which toolchain builds
// follows from the command itself and from go.mod, which are known. But it may
// be a stand-in of a version manager (asdf, mise, goenv, snap), which chooses a
// toolchain by files of its own. Then it is asked, once for each state of those
// files that we know, and again when there is nothing else to do, as there may be
// others.

// choosers are files by which version managers choose a toolchain for what lies
// below them. A go.mod may make it switch to another.
var choosers = []string{
	".tool-versions", ".go-version", "mise.toml", ".mise.toml", "mise.local.toml", ".mise.local.toml", ".mise/config.toml", "mise/config.toml", ".config/mise.toml", ".config/mise/config.toml",
}

// globalChoosers are those of the user, and the link to the toolchain of a snap.
func (h how) globalChoosers() (files []string) {
	home := h.getenv("HOME")
	for file, dir := range map[string]string{
		".tool-versions": home, ".config/mise/config.toml": home, ".goenv/version": home,
		"version": h.getenv("GOENV_ROOT"), "config.toml": h.getenv("MISE_CONFIG_DIR"), "mise/config.toml": h.getenv("XDG_CONFIG_HOME"),
	} {
		if dir != "" {
			files = append(files, filepath.Join(dir, filepath.FromSlash(file)))
		}
	}
	return append(files, "/etc/mise/config.toml", "/snap/go/current")
}

// standIn reports whether the go command in PATH is not a toolchain's own.
func standIn() bool {
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

// toolchain names what builds the page in dir.
func (b *Builder) toolchain(ctx context.Context, h how, dir string) (string, error) {
	tools := h.tools()
	if tools == "" || !h.standIn {
		return tools, nil
	}
	release, err := b.asking.acquire(ctx, func() int { return b.turns.rank(dir) })
	if err != nil {
		return "", err
	}
	defer release()
	choice := h.choice(tools, dir)
	b.mu.Lock()
	chosen, ok := b.chosen[choice]
	b.mu.Unlock()
	if !ok {
		if chosen, err = b.askToolchain(ctx, h, choice, dir); err != nil {
			return "", err
		}
	}
	return tools + "\n" + chosen, nil
}

// mistaken reports whether another toolchain builds the page in dir than was
// thought.
func (b *Builder) mistaken(ctx context.Context, h how, tools, dir string) bool {
	if !h.standIn {
		return false
	}
	now := h.tools()
	chosen, err := b.askToolchain(ctx, h, h.choice(now, dir), dir)
	return err == nil && now+"\n"+chosen != tools
}

// choice names a state of all by which a stand-in is known to choose.
func (h how) choice(tools, dir string) string {
	var choice strings.Builder
	choice.WriteString(tools)
	for _, file := range append(chosenBy(dir), h.globalChoosers()...) {
		if info, err := os.Stat(file); err == nil {
			to, _ := filepath.EvalSymlinks(file)
			fmt.Fprintf(&choice, "\n%s %s %d %d", file, to, info.Size(), info.ModTime().UnixNano())
		}
	}
	return choice.String()
}

// chosenBy are the files above a page by which a toolchain may be chosen.
func chosenBy(dir string) (files []string) {
	for at := dir; ; at = filepath.Dir(at) {
		for _, name := range append([]string{"go.mod", "go.work"}, choosers...) {
			files = append(files, filepath.Join(at, filepath.FromSlash(name)))
		}
		if at == filepath.Dir(at) {
			return files
		}
	}
}

// askToolchain asks the go command which toolchain builds in dir.
func (b *Builder) askToolchain(ctx context.Context, h how, choice, dir string) (string, error) {
	out, err := b.run(ctx, h, dir, "env", "GOROOT", "GOVERSION")
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return "", nil // it has none, and the build says why
	case err != nil:
		return "", err
	}
	chosen := strings.TrimSpace(out.stdout.String())
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chosen[choice] = chosen
	return chosen, nil
}
