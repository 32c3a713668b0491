package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// yaml.v3 decodes the file into a tree of nodes, and the table of options decodes
// the tree. yaml.v3 could fill a struct, but then it takes "30" for 30 and ignores
// null, names neither the wrong key nor, for most errors, its line, and is no
// longer strict below a custom UnmarshalYAML.

// A decoder collects the problems of one file.
type decoder struct {
	file     string
	root     string // of the project
	problems Problems
	lines    map[string]int // of the keys that the file sets
	deferred []func()       // what needs all else to be decoded
}

func newDecoder(file, root string) *decoder {
	return &decoder{file: file, root: root, lines: make(map[string]int)}
}

// decode sets in c the options that text contains, and returns the problems in
// order of line.
func decode(file string, text []byte, c *Config) Problems {
	d := newDecoder(file, c.Root)
	if root := d.parse(text); root != nil {
		walk(d, c, options, "", "", root)
		for _, f := range d.deferred {
			f()
		}
		d.ports(c)
		d.stateDir(c)
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return d.problems
}

// Empty reports whether text, the content of a configuration file, is empty or has
// only comments.
func Empty(text []byte) bool {
	d := newDecoder("", "")
	root := d.parse(text)
	return len(d.problems) == 0 && (root == nil || isNull(root))
}

func (d *decoder) problem(line int, key, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Key: key, Message: fmt.Sprintf(format, args...)})
}

// parse returns the root of the only document in text, or nil if there is none.
func (d *decoder) parse(text []byte) *yaml.Node {
	text = directive.ReplaceAll(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("${1}#"))
	if line, ok := illegible(text); !ok {
		d.problem(line, "", "is not text: save the file as UTF-8, without control characters")
		return nil
	}
	first, second, err := documents(text)
	if err != nil {
		d.problem(brokenLine(text), "", "is not YAML: %s", yamlPrefix.ReplaceAllString(err.Error(), ""))
		return nil
	}
	if second.Kind != 0 {
		d.problem(second.Line, "", "begins a second document, and there can be only one")
	}
	if first.Kind != yaml.DocumentNode || len(first.Content) == 0 {
		return nil
	}
	return first.Content[0]
}

// directive matches a directive that names the version of YAML. yaml.v3 refuses
// versions other than 1.1, although it can parse them; so parse makes the directive
// a comment.
var directive = regexp.MustCompile(`\A((?:[ \t]*(?:#[^\n]*)?\r?\n)*)%YAML[ \t]+1\.`)

// documents returns the first two documents in text. One that is missing has
// no kind.
func documents(text []byte) (first, second yaml.Node, err error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err = d.Decode(&first); err == nil {
		err = d.Decode(&second)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return first, second, err
}

var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

// brokenLine returns the first line that is not YAML: the one after the longest
// beginning that is. The lines that yaml.v3 names are those of the section around
// the mistake, or one too low, or missing.
func brokenLine(text []byte) int {
	const enough = 4 << 20 // bytes to parse, far more than files written by hand need
	lines := slices.Collect(bytes.Lines(text))
	end, parsed := len(text), 0
	for n := len(lines); n > 0 && parsed < enough; n-- {
		end -= len(lines[n-1])
		if _, _, err := documents(text[:end]); err == nil {
			return n
		}
		parsed += end
	}
	return 1
}

// illegible returns the first line with bytes that YAML does not allow, which
// yaml.v3 refuses without saying where.
func illegible(text []byte) (line int, ok bool) {
	line = 1
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n':
			line++
		case r == utf8.RuneError && size == 1,
			r < ' ' && r != '\t' && r != '\r',
			r >= 0x7f && r < 0xa0 && r != 0x85,
			r == 0xfeff, r == 0xfffe, r == 0xffff:
			return line, false
		}
		text = text[size:]
	}
	return 0, true
}

// A field is one key of a mapping with its value.
type field struct {
	name  string
	line  int // of the key
	value *yaml.Node
}

// fields returns the fields of a section, with those that it merges from others
// after its own. An empty section has none.
func (d *decoder) fields(key string, n *yaml.Node) []field {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.problem(n.Line, key, "must be a section with options of its own, not %s", describe(n))
		return nil
	}
	var all []field
	d.collect(key, n, make(map[string]bool), make(map[*yaml.Node]bool), &all)
	return all
}

// collect appends the fields of n to all, except for names already taken by a
// mapping that merges n. Every mapping is seen once: they can merge each other
// in circles.
func (d *decoder) collect(key string, n *yaml.Node, taken map[string]bool, seen map[*yaml.Node]bool, all *[]field) {
	if seen[n] {
		return
	}
	seen[n] = true

	own := make(map[string]int)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := resolve(n.Content[i]), resolve(n.Content[i+1])
		line := n.Content[i].Line
		switch {
		case k.Kind != yaml.ScalarNode:
			d.problem(line, key, "must have keys that are words, not %s", describe(k))
		case k.ShortTag() == "!!merge":
			merged = append(merged, value)
		case own[k.Value] > 0:
			d.problem(line, join(key, k.Value), "is set twice: first on line %d", own[k.Value])
		case !taken[k.Value]:
			own[k.Value] = line
			*all = append(*all, field{k.Value, line, value})
		}
	}
	for name := range own {
		taken[name] = true
	}
	for _, from := range merged {
		sources := []*yaml.Node{from}
		if from.Kind == yaml.SequenceNode {
			sources = from.Content
		}
		for _, source := range sources {
			source = resolve(source)
			if source.Kind != yaml.MappingNode {
				d.problem(source.Line, join(key, "<<"), "must be a section, not %s", describe(source))
				continue
			}
			d.collect(key, source, taken, seen, all)
		}
	}
}

// walk sets in t the options in the section n. Their keys begin with section; base
// comes before that in messages.
func walk[T any](d *decoder, t *T, of []option[T], base, section string, n *yaml.Node) {
	for _, f := range d.fields(strings.TrimSuffix(base+section, "."), n) {
		key := section + f.name
		i := slices.IndexFunc(of, func(o option[T]) bool { return o.key == key })
		switch {
		case i >= 0:
			d.lines[base+key] = f.line
			of[i].set(d, t, base+key, f.value)
		case isSection(of, key+"."):
			walk(d, t, of, base, key+".", f.value)
		default:
			d.problem(f.line, base+key, "is unknown%s", didYouMean(of, section, f.name))
		}
	}
}

// setDefaults sets in t the options that have a default.
func setDefaults[T any](t *T, of []option[T]) {
	d := newDecoder("", "")
	for _, o := range of {
		if o.initial != "" {
			o.set(d, t, o.key, d.parse([]byte(o.initial)))
		}
	}
	if len(d.problems) > 0 {
		panic(d.problems)
	}
}

func isSection[T any](of []option[T], section string) bool {
	return slices.ContainsFunc(of, func(o option[T]) bool { return strings.HasPrefix(o.key, section) })
}

// ports checks what no option can check alone.
func (d *decoder) ports(c *Config) {
	const port, start, end = "server.port", "workers.port_range_start", "workers.port_range_end"
	for _, p := range d.problems {
		if p.Key == port || p.Key == start || p.Key == end {
			return
		}
	}
	w := c.Workers
	switch {
	case w.PortRangeStart > w.PortRangeEnd:
		key := d.firstSet(end, start)
		d.problem(d.lines[key], key, "must not be reversed: the port range is %d to %d", w.PortRangeStart, w.PortRangeEnd)
	case w.PortRangeStart <= c.Server.Port && c.Server.Port <= w.PortRangeEnd:
		key := d.firstSet(port, start, end)
		d.problem(d.lines[key], key, "must not overlap: the server's port %d lies in the workers' range, %d to %d", c.Server.Port, w.PortRangeStart, w.PortRangeEnd)
	}
}

// firstSet returns the first of the keys that the file sets, or the first.
func (d *decoder) firstSet(keys ...string) string {
	for _, key := range keys {
		if d.lines[key] > 0 {
			return key
		}
	}
	return keys[0]
}

// didYouMean returns the end of a sentence that proposes a known key instead
// of name: one of the same name elsewhere, or else one of the same section that
// is spelled alike.
func didYouMean[T any](of []option[T], section, name string) string {
	siblings := make(map[string]bool)
	var elsewhere []string
	for _, o := range of {
		if rest, ok := strings.CutPrefix(o.key, section); ok {
			sibling, _, _ := strings.Cut(rest, ".")
			siblings[sibling] = true
		}
		if strings.HasSuffix("."+o.key, "."+name) {
			elsewhere = append(elsewhere, o.key)
		}
	}
	best, least := "", len(name)/3+2
	for _, sibling := range slices.Sorted(maps.Keys(siblings)) {
		if n := distance(name, sibling); n < least {
			best, least = sibling, n
		}
	}
	switch {
	case len(elsewhere) > 0:
		return fmt.Sprintf(" here: did you mean %s?", strings.Join(elsewhere, " or "))
	case best != "":
		return fmt.Sprintf(": did you mean %s?", best)
	}
	return ""
}

// distance returns how many letters must be added, removed or replaced to make
// b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// resolve returns what an alias stands for, and anything else as it is.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe names a value in the words of its writer.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "nothing"
	case n.ShortTag() == "!!str":
		return fmt.Sprintf("the text %q", n.Value)
	}
	return n.Value
}

func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}
