package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// raw sends bytes, written as in a Go string, on a connection of their own.
// It prints all that comes back, or leaves without waiting for that.
func raw(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: raw BYTES [leave]")
	}
	text, err := strconv.Unquote(`"` + args[0] + `"`)
	ts.Check(err)
	c, err := net.Dial("tcp", strings.TrimPrefix(of(ts).url, "http://"))
	ts.Check(err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(testTimeout))
	_, err = io.WriteString(c, text)
	ts.Check(err)
	if len(args) == 2 {
		return
	}
	_, err = io.Copy(ts.Stdout(), c)
	ts.Check(err)
}

// waitFile waits until one of the files that match has a line.
func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: file GLOB PATTERN")
	}
	want := regexp.MustCompile(`(?m)` + args[1])
	of(ts).until(ts, args[0]+" has "+args[1], func() error {
		files, _ := filepath.Glob(ts.MkAbs(args[0]))
		var all []string
		for _, file := range files {
			text, _ := os.ReadFile(file)
			if want.Match(text) {
				return nil
			}
			all = append(all, string(text))
		}
		return fmt.Errorf("it has %s", strings.Join(all, "\n"))
	})
}
