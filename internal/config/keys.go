package config

import (
	"fmt"
	"os"

	"gopkg.in/yaml.v3"
)

// KeyBinding gives an action of the screen its keys. Only the screen knows which
// actions and keys exist.
type KeyBinding struct {
	Place  string // file:line
	Action string
	Keys   []string
}

// LoadKeys reads a file with the keys of the screen:
//
//	restart: ctrl+r
//	quit: [q, f10]
//
// An error is Problems if the file is wrong; otherwise it wraps the error of the
// file system.
func LoadKeys(path string) ([]KeyBinding, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	d := newDecoder(path, "")
	bindings := d.keys(d.parse(text))
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	return bindings, nil
}

func (d *decoder) keys(root *yaml.Node) (bindings []KeyBinding) {
	if root == nil || isNull(root) {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		d.problem(root.Line, "", "must be lines such as restart: ctrl+r")
		return nil
	}
	seen := make(map[string]bool)
	for i := 0; i < len(root.Content); i += 2 {
		name, value := root.Content[i], root.Content[i+1]
		b := KeyBinding{Place: fmt.Sprintf("%s:%d", d.file, name.Line), Action: name.Value}
		if seen[b.Action] {
			d.problem(name.Line, b.Action, "is set twice")
		}
		seen[b.Action] = true
		keys := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			keys = value.Content
		}
		for _, key := range keys {
			if key.Kind != yaml.ScalarNode || key.Value == "" {
				d.problem(key.Line, b.Action, "must be a key, or a list of keys such as [q, f10]")
				continue
			}
			b.Keys = append(b.Keys, key.Value)
		}
		bindings = append(bindings, b)
	}
	return bindings
}
