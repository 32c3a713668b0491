// Screens draws docs/terminal.md and docs/screen.svg. It runs the real program
// on a terminal, which is tmux, in a project of a few pages that it writes into
// a temporary folder; it sends requests, presses keys, breaks a page, and takes
// pictures. It waits for what it expects to see, and all that it has started
// has ended when it returns. Run it from the repository with make screens.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"tqserver/internal/tools/trial"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := draw(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "screens:", err)
		os.Exit(1)
	}
}

// draw writes both files, or neither.
func draw(ctx context.Context) (err error) {
	repo, err := trial.Repository(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tq") // a socket's path must be short, and people will read this one
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	program := filepath.Join(dir, "tqserver")
	if err := trial.Build(ctx, repo, program); err != nil {
		return err
	}
	s, err := newShop(dir, repo)
	if err != nil {
		return fmt.Errorf("write the project: %w", err)
	}
	pictures, err := takePictures(ctx, s, program)
	if err != nil {
		return err
	}
	text, err := document(pictures)
	if err != nil {
		return err
	}
	svg, err := drawing(pictures["broken"].coloured, "shop: tqserver")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(repo, "docs", "screen.svg"), svg, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(repo, "docs", "terminal.md"), text, 0o644)
}

// scene is a picture: what to do before it, and what it must show.
type scene struct {
	name    string // empty if no picture is taken
	do      func(t *terminal) error
	pattern string
}

// scenes returns the pictures in order.
func (s *shop) scenes() []scene {
	return []scene{
		{"", nil, `9/9 serving`},
		// A save, so that there is something to show.
		{"", func(*terminal) error { return s.edit("pages/api/main.go", "{\"tea\", 650}", "{\"tea\", 700}") }, `/api .*● up`},
		{"", press("/", "u", "s", "e", "r", "s", "Enter"), `\(1\) ──$`},
		{"", press("Escape"), `\(9\) ──$`},
		{"", press("k"), `(?s)^>  /api .*swapped .*build=2.*worker stopped`},
		{"well", s.startRequests, `(?s)rss \d+M.*/ +● up .* [45]\.\d .*\d+M +\d+% .*/search +● up .* \d+M +\d+% .*(WARN slow.*){2}`},

		{"", press("?"), `Help .*scroll`},
		{"", press("q"), `\[1\] Routes`},
		{"palette", press(":", "r", "e"), `: re`},
		{"", press("Escape"), `\[1\] Routes`},
		{"inspect", press("i"), `environment(.*\n)+   builds\n`},
		{"", press("q"), `\[1\] Routes`},

		{"", press("Enter"), `\A.*\n.*\[2\] Logs`},
		{"", press("/", "s", "l", "o", "w"), ` /slow▏`},
		{"logs", press("Enter"), `/ slow \d+/\d+.*\n(.*\n)+.* q quit`},
		{"", press("Escape"), `FOLLOW|SCROLLED +[\d,]+ below +[\d,]+ lines`},
		{"", press("f"), `FOLLOW`},
		{"", press("Escape"), `\[1\] Routes`},

		{"broken", func(*terminal) error { return s.edit("pages/api/main.go", "range items", "range itmes") }, `(?s)/api +▲ FAILED.*build failed .*  > +\d+ \| .*\^`},
		{"wide", resize(160, 50), `(?s)│.*\[3\] Build .*\^.* q quit *$`},
		{"small", resize(80, 24), `(?s)\A.{0,78}FAILED *\n.*\[3\] Build .*\n.*\n.*─\n.* q quit *\n?\z`},
		{"least", resize(40, 10), `(?s)\A.{0,38}FAILED *\n.*q quit *\n?\z`},
		{"", resize(120, 35), `\[3\] Build`},
	}
}

// takePictures goes through the scenes, and then takes a picture of what the
// program prints about unknown keys.
func takePictures(ctx context.Context, s *shop, program string) (pictures map[string]picture, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t, err := openTerminal(ctx, s, program, "first")
	if err != nil {
		return nil, err
	}
	defer func() { t.close() }()
	defer s.stopRequests()
	pictures = make(map[string]picture)
	for _, sc := range s.scenes() {
		if sc.do != nil {
			if err := sc.do(t); err != nil {
				return nil, err
			}
		}
		p, err := t.waitFor(sc.pattern)
		if err != nil {
			return nil, err
		}
		if sc.name != "" {
			pictures[sc.name] = p
		}
	}
	s.stopRequests()
	if err := t.quit(); err != nil {
		return nil, err
	}
	t.close()

	if err := s.write("config/tui.yaml", "restart: ctrl+r\nrebiuld: f5\nquit: x\n"); err != nil {
		return nil, err
	}
	if t, err = openTerminal(ctx, s, program, "second"); err != nil {
		return nil, err
	}
	pictures["mistakes"], err = t.waitFor(`(?s)no action.*exit 1`)
	return pictures, err
}

func press(keys ...string) func(*terminal) error {
	return func(t *terminal) error { return t.press(keys...) }
}

func resize(cols, rows int) func(*terminal) error {
	return func(t *terminal) error {
		_, err := t.tmux("resize-window", "-t", ":", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows))
		return err
	}
}
