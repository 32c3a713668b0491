package tui

// screenful is how much of a log fits into its pane.
type screenful struct {
	rows int
	of   func(n int) int // rows that an entry takes
}

// window returns the indexes of the first and the last line in the pane, and how many
// rows of the first are above it. The cursor is in the window, and no row is empty
// while there are lines above.
func (v *logView) window(s screenful) (first, above, last int) {
	end := len(v.shown) - 1
	if !v.scrolled {
		first, above = v.upTo(end, s)
		return first, above, end
	}
	first, above = v.index(v.top), v.above
	above = min(above, s.of(v.shown[first])-1)
	if c := v.index(v.cursor); c < first || c == first && above > 0 {
		first, above = c, 0
	} else if last, whole := v.downFrom(first, above, s); c > last || c == last && !whole {
		first, above = v.upTo(c, s)
	}
	last, whole := v.downFrom(first, above, s)
	if last == end && whole {
		if f, a := v.upTo(end, s); f < first || f == first && a < above {
			first, above = f, a
		}
	}
	return first, above, last
}

// upTo returns the top of a window that ends with a line. If the line is longer than
// the window, the window starts with it.
func (v *logView) upTo(last int, s screenful) (first, above int) {
	rows := s.rows
	for first = last; first >= 0; first-- {
		if rows -= s.of(v.shown[first]); rows <= 0 {
			break
		}
	}
	if first == last && v.scrolled {
		return first, 0
	}
	return max(0, first), max(0, -rows)
}

// downFrom returns the last line in a window, and whether all of it is visible.
func (v *logView) downFrom(first, above int, s screenful) (last int, whole bool) {
	rows := s.rows + above
	for last = first; last < len(v.shown)-1; last++ {
		if rows -= s.of(v.shown[last]); rows <= 0 {
			return last, rows == 0
		}
	}
	return last, rows >= s.of(v.shown[last])
}

// stopFollowing makes the view stand still, with the cursor on the last line.
func (v *logView) stopFollowing(s screenful) {
	if v.scrolled || len(v.shown) == 0 {
		return
	}
	first, above, last := v.window(s)
	v.scrolled = true
	v.top, v.above, v.cursor = v.shown[first], above, v.shown[last]
}

// move moves the cursor by some lines; the window follows it.
func (v *logView) move(by int, s screenful) {
	if len(v.shown) == 0 {
		return
	}
	v.stopFollowing(s)
	to := v.index(v.cursor) + by
	if to >= len(v.shown) && v.anchor < 0 {
		v.follow()
		return
	}
	v.goTo(max(0, min(to, len(v.shown)-1)), s)
}

// goTo moves the cursor to a line and the window with it.
func (v *logView) goTo(i int, s screenful) {
	v.stopFollowing(s)
	v.cursor = v.shown[i]
	first, above, _ := v.window(s)
	v.top, v.above = v.shown[first], above
}

// scroll moves the window by some rows; the cursor stays in it. At the end the view
// follows again.
func (v *logView) scroll(by int, s screenful) {
	if len(v.shown) == 0 {
		return
	}
	v.stopFollowing(s)
	first, above, _ := v.window(s)
	top := first
	for above += by; above < 0 && first > 0; {
		first--
		above += s.of(v.shown[first])
	}
	for above >= s.of(v.shown[first]) && first < len(v.shown)-1 {
		above -= s.of(v.shown[first])
		first++
	}
	above = max(0, min(above, s.of(v.shown[first])-1))
	last, whole := v.downFrom(first, above, s)
	switch end := len(v.shown) - 1; {
	case by > 0 && last == end && whole && v.anchor < 0:
		v.follow()
		return
	case by > 0 && last == end && whole:
		v.cursor = v.shown[end]
	case by < 0 && top == 0 && first == 0:
		v.cursor = v.shown[0]
	}
	v.top, v.above = v.shown[first], above
	if above > 0 && first < last {
		first++
	}
	if !whole && last > first {
		last--
	}
	v.cursor = v.shown[max(first, min(v.index(v.cursor), last))]
}
