package router

import "strings"

// A Table finds the value of the longest route that a path lies under, on
// whole segments: the route /api takes /api, /api/ and /api/x, never /apix, and
// the route / takes every path that no other takes.
//
// A Table never changes, so it may be shared freely. A request pays for the
// segments that match, not for the number of routes or the length of its path.
// That is why a Table is a trie of segments, and neither a sorted list nor a map in
// which prefixes are looked up.
type Table[T any] struct {
	root node[T]
}

type node[T any] struct {
	value    T
	isRoute  bool // value belongs to a route
	children map[string]*node[T]
	maxKey   int // length of the longest key in children
}

// NewTable returns the table of routes. A route begins with a slash and, but
// for / itself, does not end with one.
func NewTable[T any](routes map[string]T) *Table[T] {
	t := new(Table[T])
	for route, value := range routes {
		n := &t.root
		if route != "/" {
			for segment := range strings.SplitSeq(strings.TrimPrefix(route, "/"), "/") {
				n = n.child(segment)
			}
		}
		n.value, n.isRoute = value, true
	}
	return t
}

// child returns the child of n for segment, and adds it if it is missing.
func (n *node[T]) child(segment string) *node[T] {
	c := n.children[segment]
	if c == nil {
		if n.children == nil {
			n.children = make(map[string]*node[T])
		}
		c = new(node[T])
		n.children[segment] = c
		n.maxKey = max(n.maxKey, len(segment))
	}
	return c
}

// Match returns the value of the longest route that path lies under, and
// whether there is one. It does not allocate and does not clean the path.
func (t *Table[T]) Match(path string) (T, bool) {
	n := &t.root
	best := n
	for n.children != nil && strings.HasPrefix(path, "/") {
		path = path[1:]
		// A segment longer than every key matches none, so it is not read further.
		end := strings.IndexByte(path[:min(len(path), n.maxKey+1)], '/')
		if end < 0 {
			if len(path) > n.maxKey {
				break
			}
			end = len(path)
		}
		if n = n.children[path[:end]]; n == nil {
			break
		}
		if n.isRoute {
			best = n
		}
		path = path[end:]
	}
	return best.value, best.isRoute
}
