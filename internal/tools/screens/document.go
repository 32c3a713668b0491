package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"tqserver/tui"
)

//go:embed terminal.md.tmpl
var manual string

// document returns docs/terminal.md.
func document(pictures map[string]picture) ([]byte, error) {
	t, err := template.New("terminal.md").Funcs(template.FuncMap{
		"screen": func(name string) (string, error) {
			p, ok := pictures[name]
			if !ok {
				return "", fmt.Errorf("there is no picture %q", name)
			}
			return "```text\n" + p.plain + "\n```", nil
		},
		"said": func() string {
			text, _, _ := strings.Cut(pictures["mistakes"].plain, "\nexit ")
			return "```text\n" + text + "\n```"
		},
		"keys": keyTable,
	}).Parse(manual)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, nil)
	return out.Bytes(), err
}

// keyTable returns the keys of a pane, or of all, in the order of the help.
func keyTable(pane string) string {
	var b strings.Builder
	b.WriteString("| Keys | What they do | Action |\n| --- | --- | --- |\n")
	for _, k := range tui.Keys() {
		if k.Pane == pane {
			fmt.Fprintf(&b, "| `%s` | %s | `%s` |\n", strings.Join(k.Keys, "` `"), k.Help, k.Action)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
