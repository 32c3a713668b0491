package state

import (
	"cmp"
	"slices"
)

// ringKey names a ring. A page's requests have a ring of their own, or they would
// push out what the page prints.
type ringKey struct {
	page   string
	access bool
}

// ring holds the newest lines of one key, oldest first.
type ring struct {
	kept    []Line // the end of buffer
	buffer  []Line
	bytes   int               // of text
	partial map[Stream]uint64 // seq of lines that have not ended
}

// grow makes space for n more lines: where dropped ones were if these are many,
// so that a flood of lines moves each a few times and allocates nothing.
func (l *ring) grow(n int) {
	if len(l.kept)+n <= cap(l.kept) {
		return
	}
	if dropped := len(l.buffer) - len(l.kept); dropped < max(n, len(l.kept)/2) {
		l.buffer = make([]Line, len(l.kept), 2*(len(l.kept)+n))
	}
	moved := copy(l.buffer, l.kept)
	clear(l.buffer[moved:])
	l.buffer = l.buffer[:moved]
	l.kept = l.buffer
}

func (l *ring) add(line Line) {
	if !line.Access {
		l.removePartial(line)
	}
	l.buffer = append(l.buffer, line)
	l.kept = l.buffer[len(l.buffer)-len(l.kept)-1:]
	l.bytes += len(line.Text)
}

// trim drops the oldest lines until no more than n are kept, and no more text
// than keptLineBytes. It returns the number of the newest line that it dropped, 0
// for none.
func (l *ring) trim(n int) (newest uint64) {
	drop := 0
	for len(l.kept)-drop > n || l.bytes > keptLineBytes {
		l.bytes -= len(l.kept[drop].Text)
		newest = l.kept[drop].Seq
		l.kept[drop] = Line{}
		drop++
	}
	l.kept = l.kept[drop:]
	return newest
}

// since returns the lines after a number.
func (l *ring) since(after uint64) []Line {
	i, _ := slices.BinarySearchFunc(l.kept, after+1, func(l Line, seq uint64) int { return cmp.Compare(l.Seq, seq) })
	return l.kept[i:]
}

// removePartial removes the line that the given one replaces.
func (l *ring) removePartial(line Line) {
	from := line.Stream()
	if seq, ok := l.partial[from]; ok {
		i, kept := slices.BinarySearchFunc(l.kept, seq, func(l Line, seq uint64) int { return cmp.Compare(l.Seq, seq) })
		if kept {
			l.bytes -= len(l.kept[i].Text)
			copy(l.kept[1:i+1], l.kept[:i])
			l.kept[0] = Line{}
			l.kept = l.kept[1:]
		}
		delete(l.partial, from)
	}
	if line.Partial {
		if l.partial == nil {
			l.partial = make(map[Stream]uint64)
		}
		l.partial[from] = line.Seq
	}
}
