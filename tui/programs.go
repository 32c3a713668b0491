package tui

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	tea "github.com/charmbracelet/bubbletea"

	"tqserver/internal/editor"
	"tqserver/internal/project"
)

// terminal is where frames are written. Other sequences are written between two of
// them.
type terminal struct {
	*os.File
	mu sync.Mutex
}

func (t *terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.File.Write(b)
}

// toClipboard copies text through the terminal (OSC 52, which passes through ssh and
// tmux if they allow it) and with the local tool, if there is one.
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

// usable reports whether a clipboard tool is installed and has a display.
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

// urlsMsg has the URLs of a page.
type urlsMsg struct {
	title string
	lines []string
}

// urls lists the URLs of the selected page, local and in the network.
func (m *model) urls() cmd {
	page, ok := m.row()
	if !ok {
		return m.showToast("there is no page yet")
	}
	url := m.url(page.Route)
	return func() tea.Msg {
		hosts := []string{"localhost"}
		addresses, _ := net.InterfaceAddrs()
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
				hosts = append(hosts, ip.IP.String())
			}
		}
		msg := urlsMsg{title: "URLs of " + clean(page.Route)}
		for _, host := range hosts {
			msg.lines = append(msg.lines, "   "+clean(strings.Replace(url, "localhost", host, 1)))
		}
		return msg
	}
}

// editorMsg has the editor, which Bubble Tea runs in place of the screen.
type editorMsg struct {
	program *exec.Cmd
	done    func(error) tea.Msg
}

// edit opens the build error, or the page's main file.
func (m *model) edit() cmd {
	page, ok := m.row()
	e, broken := m.currentError()
	file, line := "", 0
	switch {
	case broken && e.problem.File != "" && (e.route == m.routes.selected || m.focus == inBuild):
		file, line = e.problem.File, e.problem.Line
	case ok && page.Dir != "":
		file = filepath.Join(page.Dir, "main.go")
	default:
		return m.showToast("there is no file to edit")
	}
	root := m.seen.Server.Root
	return func() tea.Msg {
		name, args, _ := editor.Command(os.Getenv, project.Abs(root, file), line)
		if name == "" {
			return toastMsg("no editor: set TQ_EDITOR, VISUAL or EDITOR")
		}
		c := exec.Command(name, args...)
		c.Dir = root
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr // the terminal itself
		return editorMsg{c, func(err error) tea.Msg {
			if err != nil {
				return toastMsg(fmt.Sprintf("%s: %v", name, err))
			}
			return nil
		}}
	}
}
