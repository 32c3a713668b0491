package policy

import (
	"maps"
	"reflect"
	"slices"

	"tqserver/internal/accesslog"
	"tqserver/internal/config"
	"tqserver/internal/logfile"
	"tqserver/internal/router"
)

// A Table has the policy of each path. It does not change. The zero Table lets all
// requests pass.
type Table struct {
	byPath map[string]*Policy
	match  router.Table[*Policy]
	gates  []gatesOfKind // as gateKinds
	none   Policy
}

// gatesOfKind are the gates that were made of one option.
type gatesOfKind struct {
	byOption map[any]Gate
	byPath   map[string]source // of those paths that do not inherit the option
}

// source is what a gate was made from.
type source struct {
	option any
	gate   Gate
}

// Compile returns the policies that a configuration asks for. A gate of the table
// before, which may be nil, is taken over with its state if the option that it was
// made from is the same. In development documents are dressed; dress is nil
// otherwise.
func Compile(cfg *config.Config, before *Table, dress Dress) *Table {
	return compile(cfg, before, dress, gateKinds)
}

func compile(cfg *config.Config, before *Table, dress Dress, kinds []gateKind) *Table {
	t := &Table{byPath: make(map[string]*Policy), gates: make([]gatesOfKind, len(kinds))}
	for i := range t.gates {
		t.gates[i] = gatesOfKind{make(map[any]Gate), make(map[string]source)}
	}
	var writers []Writer
	if dress != nil {
		writers = append(writers, dressDocuments(dress))
	}
	paths := append([]string{"/"}, cfg.Paths()...)
	slices.Sort(paths) // what is inherited comes before what inherits it
	for _, path := range slices.Compact(paths) {
		settings := cfg.Path(path)
		p := &Policy{writers: writers}
		p.AccessLog = accesslog.Settings{File: logfile.Template(settings.AccessLog.File), Format: settings.AccessLog.Format}
		for i, kind := range kinds {
			if gate := t.gates[i].gate(before.gateSource(i, path), path, kind, kind.option(settings)); gate != nil {
				p.gates = append(p.gates, gate)
			}
		}
		t.byPath[path] = p
	}
	t.match = *router.NewTable(t.byPath)
	return t
}

// gateSource returns what the gate of a path was made from, or nothing.
func (t *Table) gateSource(kind int, path string) source {
	if t == nil || kind >= len(t.gates) {
		return source{}
	}
	return t.gates[kind].byPath[path]
}

// gate returns the gate of an option that a path has: one that another path made of
// it, the one before, or a new one. It is nil if the option asks for none.
func (g gatesOfKind) gate(before source, path string, kind gateKind, option any) Gate {
	if gate, ok := g.byOption[option]; ok {
		return gate
	}
	gate := before.gate
	if !reflect.DeepEqual(before.option, option) {
		gate = kind.gate(option)
	}
	g.byOption[option], g.byPath[path] = gate, source{option, gate}
	return gate
}

// Find returns the policy of the longest path that a path lies under, on whole
// segments.
func (t *Table) Find(path string) *Policy {
	if p, ok := t.match.Match(path); ok {
		return p
	}
	return &t.none
}

// Paths returns the paths that have a policy of their own, in no order.
func (t *Table) Paths() []string { return slices.Collect(maps.Keys(t.byPath)) }

// AccessLogs returns where requests are written down, in no order.
func (t *Table) AccessLogs() []accesslog.Settings {
	var all []accesslog.Settings
	for _, p := range t.byPath {
		all = append(all, p.AccessLog)
	}
	return all
}
