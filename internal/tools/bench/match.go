package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

var benchLine = regexp.MustCompile(`(?m)^BenchmarkMatchAndClaim/routes=(\d+)/depth=(\d+)\S*\s+\d+\s+([0-9.]+) ns/op\s+\d+ B/op\s+(\d+) allocs/op`)

// match measures how long it takes to find the worker of a request.
func (b *bench) match(ctx context.Context) error {
	out, err := output(ctx, b.repo, "go", "test", "-run", "^$", "-bench", "MatchAndClaim", "-benchtime", "0.3s", "./internal/proxy")
	if err != nil {
		return err
	}
	chart, slowest, allocations, err := parseMatch(out)
	if err != nil {
		return err
	}
	b.charts = append(b.charts, chart)
	b.add(atMost(9, "route match and claim, two segments, the slowest of 1, 100, 10 000 routes", slowest, "ns", 150))
	b.add(atMost(9, "its allocations, all depths", float64(allocations), "", 0))
	return nil
}

// parseMatch returns what the benchmark reports: a curve for each depth of paths
// but 4, the slowest time for two segments in ns, and the allocations of all.
func parseMatch(out string) (c chart, slowest float64, allocations int, err error) {
	c = chart{name: "routes", title: "Finding the worker of a request, by number of routes", x: "routes", y: "ns"}
	curves := map[string]*curve{"8": {name: "8 segments"}, "2": {name: "2 segments"}, "1": {name: "1 segment"}}
	for _, m := range benchLine.FindAllStringSubmatch(out, -1) {
		routes, _ := strconv.ParseFloat(m[1], 64)
		ns, _ := strconv.ParseFloat(m[3], 64)
		n, _ := strconv.Atoi(m[4])
		allocations += n
		if m[2] == "2" {
			slowest = max(slowest, ns)
		}
		if c := curves[m[2]]; c != nil {
			c.points = append(c.points, [2]float64{routes, ns})
		}
	}
	if slowest == 0 {
		return c, 0, 0, fmt.Errorf("no figures in\n%s", out)
	}
	for _, depth := range []string{"8", "2", "1"} {
		if len(curves[depth].points) > 0 {
			c.curves = append(c.curves, *curves[depth])
		}
	}
	return c, slowest, allocations, nil
}
