// Package editor finds the command that opens a file in the user's editor. It starts no
// program, and the command needs no shell.
package editor

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Command returns the program and the arguments that open a file at a line, 0 for none.
// The program is that of TQ_EDITOR, VISUAL or EDITOR, the first that is set, or else vi.
// The name is empty if there is no editor. Chosen reports whether it comes from
// TQ_EDITOR, which users set for this server alone.
func Command(env func(string) string, file string, line int) (name string, args []string, chosen bool) {
	var words []string
	for _, key := range []string{"TQ_EDITOR", "VISUAL", "EDITOR"} {
		if words = strings.Fields(env(key)); len(words) > 0 {
			chosen = key == "TQ_EDITOR"
			break
		}
	}
	if len(words) == 0 {
		if _, err := exec.LookPath("vi"); err != nil {
			return "", nil, false
		}
		words = []string{"vi"}
	}
	name, args = words[0], words[1:]
	switch base := filepath.Base(name); {
	case line == 0:
		return name, append(args, file), chosen
	case base == "code" || base == "codium" || base == "cursor":
		return name, append(args, "-g", file+":"+strconv.Itoa(line)), chosen
	case base == "subl" || base == "zed" || base == "hx" || base == "helix":
		return name, append(args, file+":"+strconv.Itoa(line)), chosen
	}
	return name, append(args, "+"+strconv.Itoa(line), file), chosen
}

// windowed are editors with a window of their own.
var windowed = []string{
	"code", "codium", "cursor", "zed", "subl", "gvim", "gedit", "kate", "mate", "xed", "mousepad", "geany",
	"idea", "goland", "fleet", "bbedit", "emacsclient",
}

// HasWindow reports whether an editor is known to need no terminal.
func HasWindow(name string) bool { return slices.Contains(windowed, filepath.Base(name)) }
