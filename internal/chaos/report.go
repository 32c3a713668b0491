package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

var marks = regexp.MustCompile(`(?s)(<!-- seen -->\n).*(<!-- end -->)`)

// report writes what was seen between the marks of a file.
func report(file string, o options, seen []*scene) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !marks.Match(text) {
		return fmt.Errorf("%s has no marks", file)
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	form := "the long form, " + o.lasts.String()
	if o.short {
		form = "the short form"
	}
	var table strings.Builder
	fmt.Fprintf(&table, "Seen on %s in %s, with seed %d, %d cores, Linux %s, %s.\n\n| Fault | Seen |\n| --- | --- |\n",
		time.Now().Format("2 January 2006"), form, o.seed, runtime.NumCPU(), strings.TrimSpace(string(kernel)), runtime.Version())
	for _, s := range seen {
		cells := s.figures
		for _, what := range s.skipped {
			cells = append(cells, "not tried: "+what)
		}
		fmt.Fprintf(&table, "| `%s` | %s |\n", s.name, strings.ReplaceAll(strings.Join(cells, "; "), "\n", " "))
	}
	return os.WriteFile(file, marks.ReplaceAll(text, []byte("${1}"+strings.ReplaceAll(table.String(), "$", "$$")+"${2}")), 0o644)
}
