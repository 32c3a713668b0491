package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"tqserver/internal/project"
)

// A kind decodes the value of a key. It reports what is wrong with the value to
// the decoder, and is not ok then. Kinds are made of kinds: a list of sections is
// one, a mapping of lists is another.
type kind[V any] func(d *decoder, key string, n *yaml.Node) (v V, ok bool)

// parsed returns the kind of values with a tag of YAML, which parse understands.
// want says what else is wanted, as fmt.Sprintf does of what is there instead.
func parsed[V any](tag, want string, parse func(text string) (V, error)) kind[V] {
	return func(d *decoder, key string, n *yaml.Node) (v V, ok bool) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != tag {
			d.problem(n.Line, key, want, describe(n))
			return v, false
		}
		v, err := parse(n.Value)
		if err != nil {
			d.problem(n.Line, key, "%v", err)
		}
		return v, err == nil
	}
}

// number returns the kind of whole numbers in a range, in some unit.
func number[V int | time.Duration](least, most int, unit V) kind[V] {
	whole := parsed("!!int", "must be a whole number, not %s", func(text string) (V, error) {
		n, err := wholeNumber(text, int64(least), int64(most))
		return V(n) * unit, err
	})
	return func(d *decoder, key string, n *yaml.Node) (V, bool) {
		if n.ShortTag() == "!!float" && leadingZero.MatchString(n.Value) {
			integer := *n
			integer.Tag = "!!int"
			n = &integer
		}
		return whole(d, key, n)
	}
}

func integer(least, most int) kind[int] { return number(least, most, 1) }

// seconds and milliseconds go up to what a worker takes (pkg/worker), and what
// can be added to a time.
func seconds(least int) kind[time.Duration] { return number(least, math.MaxInt32, time.Second) }

func milliseconds(least int) kind[time.Duration] {
	return number(least, math.MaxInt32, time.Millisecond)
}

// boolean is true or false; YAML 1.1 has more words for them, which are text here.
func boolean(d *decoder, key string, n *yaml.Node) (bool, bool) {
	return parsed("!!bool", "must be true or false, not %s", func(text string) (bool, error) { return text == "true" || text == "True" || text == "TRUE", nil })(d, key, n)
}

// text returns the kind of texts that pass some checks.
func text(checks ...func(string) error) kind[string] {
	return parsed("!!str", "must be text, not %s", func(text string) (string, error) {
		for _, check := range append([]func(string) error{noNUL}, checks...) {
			if err := check(text); err != nil {
				return "", err
			}
		}
		return text, nil
	})
}

func oneOf(words ...string) kind[string] {
	return text(func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("must be one of %s, not %q", strings.Join(words, ", "), text)
		}
		return nil
	})
}

// size is a number of bytes with a unit.
func size(d *decoder, key string, n *yaml.Node) (int64, bool) {
	return parsed("!!str", "must be text, not %s", memory)(d, key, n)
}

// logFile returns the kind of names of log files, in which null is no file.
func logFile(placeholders ...string) kind[string] {
	name := text(template(placeholders...))
	return func(d *decoder, key string, n *yaml.Node) (string, bool) {
		if isNull(n) {
			return "", true
		}
		return name(d, key, n)
	}
}

// network is a range of addresses, or a single one.
func network(d *decoder, key string, n *yaml.Node) (netip.Prefix, bool) {
	return parsed("!!str", `must be a list of addresses such as "10.0.0.0/8", not of %s`, prefix)(d, key, n)
}

// verbatim is a text, number or boolean as it is written: a variable is text in
// any case, so that CGO_ENABLED: 0 needs no quotes.
func verbatim(d *decoder, key string, n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.problem(n.Line, key, "must be text, not %s", describe(n))
		return "", false
	}
	if err := noNUL(n.Value); err != nil {
		d.problem(n.Line, key, "%v", err)
		return "", false
	}
	return n.Value, true
}

// listOf returns the kind of lists. Nothing is a list without items.
func listOf[V any](item kind[V]) kind[[]V] {
	return func(d *decoder, key string, n *yaml.Node) (all []V, ok bool) {
		if isNull(n) {
			return nil, true
		}
		if n.Kind != yaml.SequenceNode {
			d.problem(n.Line, key, "must be a list, not %s", describe(n))
			return nil, false
		}
		for _, i := range n.Content {
			if v, ok := item(d, key, resolve(i)); ok {
				all = append(all, v)
			}
		}
		return all, true
	}
}

// mapOf returns the kind of sections whose keys the user chooses.
func mapOf[V any](check func(name string) error, value kind[V]) kind[map[string]V] {
	return func(d *decoder, key string, n *yaml.Node) (all map[string]V, ok bool) {
		for _, f := range d.fields(key, n) {
			of := join(key, f.name)
			if err := check(f.name); err != nil {
				d.problem(f.line, of, "%v", err)
			}
			if v, ok := value(d, of, f.value); ok {
				if all == nil {
					all = make(map[string]V)
				}
				all[f.name] = v
			}
		}
		return all, true
	}
}

// section returns the kind of sections with some options. What the file leaves
// out is as in initial.
func section[T any](of []option[T], initial T) kind[T] {
	return func(d *decoder, key string, n *yaml.Node) (T, bool) {
		v, before := initial, len(d.problems)
		walk(d, &v, of, key+".", "", n)
		return v, len(d.problems) == before
	}
}

// staticFolders is the list of folders whose files are served.
func staticFolders(d *decoder, key string, n *yaml.Node) ([]Static, bool) {
	var initial Static
	setDefaults(&initial, staticOptions)
	lines := make(map[string]int)
	return listOf(func(d *decoder, key string, n *yaml.Node) (Static, bool) {
		s, ok := section(staticOptions, initial)(d, key, n)
		switch {
		case !ok:
			return s, false
		case s.Path == "", s.Dir == "":
			d.problem(n.Line, key, "must have a path and a dir in each entry")
			return s, false
		case lines[s.Path] > 0:
			d.problem(n.Line, key, "must not have %s twice: line %d has it too", s.Path, lines[s.Path])
			return s, false
		}
		lines[s.Path] = n.Line
		return s, true
	})(d, key, n)
}

// watched is a file or folder that is watched for the tabs of browsers. The whole
// project has its logs in it too, which every request changes.
func watched(d *decoder, key string, n *yaml.Node) (string, bool) {
	return parsed("!!str", `must be a list of files and folders such as "assets", not of %s`, func(text string) (string, error) {
		switch {
		case text == "" || noNUL(text) != nil:
			return "", fmt.Errorf("must name a file or a folder in each entry")
		case notHome(text) != nil:
			return "", notHome(text)
		case project.Contains(project.Abs(d.root, text), d.root):
			return "", fmt.Errorf("must not be the whole project, because every request changes its logs: %q", text)
		}
		return text, nil
	})(d, key, n)
}
