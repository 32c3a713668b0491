package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAxesAreLogarithmic(t *testing.T) {
	t.Parallel()
	c := chart{curves: []curve{{"a", [][2]float64{{2, 30}, {2000, 450}}}, {"b", [][2]float64{{1, 100}}}}}
	x, y := c.span(0), c.span(1)
	if x != (span{1, 2000}) || y != (span{10, 1000}) {
		t.Errorf("the axes go over %v and %v", x, y)
	}
	for value, want := range map[float64]float64{10: 0, 100: 0.5, 1000: 1} {
		if got := y.part(value); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v is at %v of the axis, not %v", value, got, want)
		}
	}
	if diff := cmp.Diff([]float64{1, 10, 100, 1000}, x.ticks()); diff != "" {
		t.Errorf("ticks (-want +got):\n%s", diff)
	}
	one := chart{curves: []curve{{"a", [][2]float64{{5, 10}}}}}
	if x := one.span(0); x.part(5) != 0 || math.IsNaN(one.span(1).part(10)) {
		t.Errorf("the only point of %v has no place", x)
	}
}

func TestNumbersOnAxesAreShort(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0.001: "0.001", 1: "1", 123.45: "123", 1000: "1k", 25000: "25k", 1e6: "1M", 2.5e6: "2.5M"} {
		if got := short(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestAChartHasEveryPointAndName(t *testing.T) {
	t.Parallel()
	svg := chart{title: "Title", x: "across", y: "up", curves: []curve{
		{"one", [][2]float64{{1, 1}, {10, 10}, {100, 100}}},
		{"two", [][2]float64{{1, 1}, {100, 100}}},
	}}.svg()
	for in := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := in.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	for want, times := range map[string]int{
		"<circle": 5, ">Title<": 1, ">across<": 1, ">up<": 1, ">one<": 1, ">two<": 1,
		`<path d="M62.0 256.0 L246.0 145.0 L430.0 34.0" fill="none" stroke="#1f6feb"`: 1, // from corner to corner, with the middle in the middle
		`<path d="M62.0 256.0 L430.0 34.0" fill="none" stroke="#d29922"`:              1,
		`x="438" y="36" fill="#1f6feb">one`:                                           1,
		`x="438" y="50" fill="#d29922">two`:                                           1, // below the other, which ends in the same point
	} {
		if got := strings.Count(svg, want); got != times {
			t.Errorf("%s is there %d times, not %d:\n%s", want, got, times, svg)
		}
	}
}
