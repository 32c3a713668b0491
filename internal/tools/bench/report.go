package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// result is a line of the table.
type result struct {
	Bar      int
	Work     string
	Measured string // our figure, and the one it is compared with
	Value    string
	Bound    string
	Reached  bool
}

func (r result) String() string {
	line := fmt.Sprintf("%d  %s: %s, bar %s: %s", r.Bar, r.Work, r.Value, r.Bound, strings.Trim(r.Verdict(), "*"))
	if r.Measured != "" {
		line += " (" + r.Measured + ")"
	}
	return line
}

// Verdict says whether the bar is reached.
func (r result) Verdict() string {
	if r.Reached {
		return "reached"
	}
	return "**missed**"
}

// atMost returns the result of a figure with a limit.
func atMost(bar int, work string, got float64, unit string, limit float64) result {
	return result{Bar: bar, Work: work, Value: withUnit(got, unit), Bound: "≤ " + withUnit(limit, unit), Reached: got <= limit}
}

// noSlower returns the result of a time compared with another.
func noSlower(bar int, work, other string, ours, theirs time.Duration, limit float64) result {
	r := atMost(bar, work, float64(ours)/float64(theirs), "×", limit)
	r.Measured = fmt.Sprintf("%s, %s %s", rounded(ours), other, rounded(theirs))
	return r
}

// noLess returns the result of a rate compared with another. The ratio is that of
// rounds, not of the two rates, which may be of different minutes.
func noLess(bar int, work, other string, ours, theirs, ratio, limit float64, unit string) result {
	return result{
		Bar: bar, Work: work, Measured: fmt.Sprintf("%s, %s %s", withUnit(ours, unit), other, withUnit(theirs, unit)),
		Value: withUnit(ratio, "×"), Bound: "≥ " + withUnit(limit, "×"), Reached: ratio >= limit,
	}
}

func withUnit(v float64, unit string) string {
	text := fmt.Sprintf("%.2f", v)
	if v >= 20 || v == float64(int(v)) && unit != "×" {
		text = fmt.Sprintf("%.0f", v)
	}
	if unit != "" && unit != "×" {
		return text + " " + unit
	}
	return text + unit
}

func rounded(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func (b *bench) table() string {
	slices.SortStableFunc(b.results, func(x, y result) int { return x.Bar - y.Bar })
	var t strings.Builder
	t.WriteString("| | Work | Measured | Result | Bar | |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range b.results {
		fmt.Fprintf(&t, "| %d | %s | %s | %s | %s | %s |\n", r.Bar, r.Work, r.Measured, r.Value, r.Bound, r.Verdict())
	}
	return t.String()
}

//go:embed performance.md
var text string

// write writes docs/performance.md and its charts.
func (b *bench) write(ctx context.Context) error {
	dir := filepath.Join(b.repo, "docs", "performance")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var pictures strings.Builder
	for _, c := range b.charts {
		if err := os.WriteFile(filepath.Join(dir, c.name+".svg"), []byte(c.svg()), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&pictures, "![%s](performance/%s.svg)\n\n", c.title, c.name)
	}
	reached := 0
	for _, r := range b.results {
		if r.Reached {
			reached++
		}
	}
	var doc strings.Builder
	err := template.Must(template.New("").Parse(text)).Execute(&doc, map[string]any{
		"Machine": b.machine(ctx), "Table": b.table(), "Charts": pictures.String(), "Reached": reached, "All": len(b.results), "Day": time.Now().Format("2 January 2006"),
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.repo, "docs", "performance.md"), []byte(doc.String()), 0o644)
}

// machine describes the machine and the programs that were measured.
func (b *bench) machine(ctx context.Context) string {
	line := func(file, key string) string {
		text, _ := os.ReadFile(file)
		_, after, _ := strings.Cut(string(text), key)
		first, _, _ := strings.Cut(after, "\n")
		return strings.TrimSpace(strings.TrimLeft(first, "\t :"))
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	kilobytes, _ := strconv.Atoi(strings.TrimSuffix(line("/proc/meminfo", "MemTotal"), " kB"))
	nginx, _ := output(ctx, "", "nginx", "-v")
	_, caddy, _ := strings.Cut(filepath.Base(b.caddy), "-v")
	return fmt.Sprintf("%s, %d cores, %d GiB of memory, Linux %s, %s, %s, Caddy %s.",
		line("/proc/cpuinfo", "model name"), runtime.NumCPU(), kilobytes>>20, strings.TrimSpace(string(kernel)), runtime.Version(), strings.TrimPrefix(strings.TrimSpace(nginx), "nginx version: "), caddy)
}

// median returns the median.
func median[T time.Duration | float64](all []T) T { return quantile(all, 0.5) }

// quantile returns the value that a part q of all values, or more, does not exceed.
func quantile[T time.Duration | float64](all []T, q float64) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
