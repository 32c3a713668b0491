package main

import (
	"fmt"
	"math"
	"strings"
)

// chart is a line chart with logarithmic axes.
type chart struct {
	name   string // of the file, without .svg
	title  string
	x, y   string // units of the axes
	curves []curve
}

type curve struct {
	name   string
	points [][2]float64
}

const (
	width, height                         = 560, 300
	leftEdge, rightEdge, topEdge, lowEdge = 62, 130, 34, 44
)

var colours = []string{"#1f6feb", "#d29922", "#8250df"}

// svg draws the chart. It can be read on a light and on a dark page.
func (c chart) svg() string {
	xs, ys := c.span(0), c.span(1)
	at := func(p [2]float64) (x, y float64) {
		return leftEdge + xs.part(p[0])*(width-leftEdge-rightEdge), height - lowEdge - ys.part(p[1])*(height-topEdge-lowEdge)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="#777">`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="18" font-size="14">%s</text>`+"\n", leftEdge, c.title)
	for _, tick := range xs.ticks() {
		x, _ := at([2]float64{tick, ys.low})
		fmt.Fprintf(&b, `<path d="M%.1f %d V%d" stroke="#777" stroke-opacity=".25"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, topEdge, height-lowEdge, x, height-lowEdge+16, short(tick))
	}
	for _, tick := range ys.ticks() {
		_, y := at([2]float64{xs.low, tick})
		fmt.Fprintf(&b, `<path d="M%d %.1f H%d" stroke="#777" stroke-opacity=".25"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", leftEdge, y, width-rightEdge, leftEdge-6, y+4, short(tick))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (leftEdge+width-rightEdge)/2, height-8, c.x)
	fmt.Fprintf(&b, `<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (topEdge+height-lowEdge)/2, c.y)
	labels := map[int]bool{} // rows with a label
	for i, line := range c.curves {
		colour := colours[i%len(colours)]
		var path strings.Builder
		var x, y float64
		for j, p := range line.points {
			x, y = at(p)
			fmt.Fprintf(&path, "%c%.1f %.1f ", "ML"[min(j, 1)], x, y)
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>`, x, y, colour)
		}
		row := int(y) / 14
		for labels[row] {
			row++
		}
		labels[row] = true
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n", strings.TrimSpace(path.String()), colour, width-rightEdge+8, row*14+8, colour, line.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// span is the range of an axis.
type span struct{ low, high float64 }

func (c chart) span(axis int) span {
	s := span{math.Inf(1), math.Inf(-1)}
	for _, line := range c.curves {
		for _, p := range line.points {
			s.low, s.high = min(s.low, p[axis]), max(s.high, p[axis])
		}
	}
	if axis == 1 { // whole powers
		s.low, s.high = math.Pow(10, math.Floor(math.Log10(s.low))), math.Pow(10, math.Ceil(math.Log10(s.high)))
	}
	if s.low == s.high {
		s.high *= 10
	}
	return s
}

func (s span) part(v float64) float64 { return math.Log(v/s.low) / math.Log(s.high/s.low) }

func (s span) ticks() (all []float64) {
	for v := math.Pow(10, math.Ceil(math.Log10(s.low)-1e-9)); v <= s.high*1.001; v *= 10 {
		all = append(all, v)
	}
	return all
}

// short formats a number in few characters.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}
