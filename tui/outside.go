package tui

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	tea "github.com/charmbracelet/bubbletea"

	"tqserver/internal/editor"
)

// terminal is where the screen goes. Sequences that are not part of a frame go
// between two of them.
type terminal struct {
	*os.File
	mu sync.Mutex
}

func (t *terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.File.Write(b)
}

// toClipboard copies text by way of the terminal (OSC 52, which reaches the
// desk through ssh and tmux if they let it) and with the local tool, if any.
func (m *model) toClipboard(text, what string) cmd {
	out := m.out
	return func() tea.Msg {
		osc := "\x1b]52;c;" + base64.StdEncoding.EncodeToString([]byte(text)) + "\x07"
		if out != nil {
			out.Write([]byte(osc))
		}
		for _, tool := range [][]string{{"wl-copy"}, {"xclip", "-selection", "clipboard"}, {"xsel", "-ib"}, {"pbcopy"}} {
			if !usable(tool[0]) {
				continue
			}
			c := exec.Command(tool[0], tool[1:]...)
			c.Stdin = strings.NewReader(text)
			if c.Run() == nil {
				return toastMsg(fmt.Sprintf("copied %s with %s", what, tool[0]))
			}
		}
		return toastMsg(fmt.Sprintf("copied %s through the terminal (OSC 52)", what))
	}
}

// usable reports whether a clipboard tool is there and has a display.
func usable(tool string) bool {
	display := map[string]string{"wl-copy": "WAYLAND_DISPLAY", "xclip": "DISPLAY", "xsel": "DISPLAY"}[tool]
	if display != "" && os.Getenv(display) == "" {
		return false
	}
	_, err := exec.LookPath(tool)
	return err == nil
}

func (m *model) openBrowser() cmd {
	page, ok := m.row()
	if !ok {
		return m.showToast("there is no page yet")
	}
	url := m.url(page.Route)
	return func() tea.Msg {
		name := "xdg-open"
		if runtime.GOOS == "darwin" {
			name = "open"
		}
		c := exec.Command(name, url)
		if err := c.Start(); err != nil {
			return toastMsg(fmt.Sprintf("cannot open %s in a browser: %v", url, err))
		}
		go c.Wait() // ends with the browser's launcher
		return toastMsg("opened " + url)
	}
}

// editedMsg is the end of the editor.
type editedMsg struct{ err error }

// edit opens the build error, or the page's main file.
func (m *model) edit() cmd {
	page, ok := m.row()
	t, broken := m.currentError()
	file, line := "", 0
	switch {
	case broken && t.problem.File != "" && (t.route == m.selected || m.focus == inBuild):
		file, line = t.problem.File, t.problem.Line
	case ok && page.Dir != "":
		file = filepath.Join(page.Dir, "main.go")
	default:
		return m.showToast("there is no file to edit")
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(m.seen.Server.Root, file)
	}
	name, args, _ := editor.Command(os.Getenv, file, line)
	if name == "" {
		return m.showToast("no editor: set TQ_EDITOR, VISUAL or EDITOR")
	}
	c := exec.Command(name, args...)
	c.Dir = m.seen.Server.Root
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr // the terminal itself
	return tea.ExecProcess(c, func(err error) tea.Msg {
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return editedMsg{err}
	})
}
