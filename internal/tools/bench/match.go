package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

var benchLine = regexp.MustCompile(`(?m)^BenchmarkMatchAndClaim/routes=(\d+)/depth=(\d+)\S*\s+\d+\s+([0-9.]+) ns/op\s+\d+ B/op\s+(\d+) allocs/op`)

// match measures how long it takes to find who answers a request.
func (b *bench) match(ctx context.Context) error {
	out, err := output(ctx, b.repo, "go", "test", "-run", "^$", "-bench", "MatchAndClaim", "-benchtime", "0.3s", "./internal/proxy")
	if err != nil {
		return err
	}
	chart := chart{name: "routes", title: "Finding the worker of a request, by number of routes", x: "routes", y: "ns"}
	curves := map[string]*curve{}
	worst, allocations := 0.0, 0
	for _, m := range benchLine.FindAllStringSubmatch(out, -1) {
		routes, _ := strconv.ParseFloat(m[1], 64)
		ns, _ := strconv.ParseFloat(m[3], 64)
		n, _ := strconv.Atoi(m[4])
		allocations += n
		if m[2] == "2" {
			worst = max(worst, ns)
		}
		if m[2] != "4" {
			if curves[m[2]] == nil {
				curves[m[2]] = &curve{name: m[2] + " segments"}
			}
			curves[m[2]].points = append(curves[m[2]].points, [2]float64{routes, ns})
		}
	}
	if worst == 0 {
		return fmt.Errorf("no figures in\n%s", out)
	}
	for _, depth := range []string{"8", "2", "1"} {
		if c := curves[depth]; c != nil {
			c.name = map[bool]string{true: "1 segment", false: c.name}[depth == "1"]
			chart.curves = append(chart.curves, *c)
		}
	}
	b.charts = append(b.charts, chart)
	b.add(atMost(9, "route match and claim, two segments, the slowest of 1, 100, 10 000 routes", worst, "ns", 150))
	b.add(atMost(9, "its allocations, all depths", float64(allocations), "", 0))
	return nil
}
