package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

var (
	marks = regexp.MustCompile(`(?s)(<!-- seen -->\n)(.*)(<!-- end -->)`)
	row   = regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| .*\n")
)

// report writes the results between the marks of a file. It keeps the rows of
// faults that were not injected this time.
func report(file string, o options, seen []*scene) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	old := marks.FindSubmatch(text)
	if old == nil {
		return fmt.Errorf("%s has no marks", file)
	}
	rows := make(map[string]string)
	for _, r := range row.FindAllStringSubmatch(string(old[2]), -1) {
		rows[r[1]] = r[0]
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	form := fmt.Sprintf("%s, %v, seed %d", time.Now().Format("2 January 2006"), o.lasts, o.seed)
	if o.short {
		form += ", short"
	}
	for _, s := range seen {
		cells := s.figures
		for _, what := range s.skipped {
			cells = append(cells, "not tried: "+what)
		}
		rows[s.name] = fmt.Sprintf("| `%s` | %s | %s |\n", s.name, strings.ReplaceAll(strings.Join(cells, "; "), "\n", " "), form)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "Seen on %d cores, Linux %s, %s.\n\n| Fault | Seen | Run |\n| --- | --- | --- |\n",
		runtime.NumCPU(), strings.TrimSpace(string(kernel)), runtime.Version())
	for _, f := range faults {
		table.WriteString(rows[f.name])
	}
	return os.WriteFile(file, marks.ReplaceAll(text, []byte("${1}"+strings.ReplaceAll(table.String(), "$", "$$")+"${3}")), 0o644)
}
