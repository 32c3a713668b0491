package project

import (
	"bufio"
	"io"
	"os"
	"strings"
)

// Lines is a part of a file.
type Lines struct {
	First int // the number of the first line
	Text  []string
}

const (
	around    = 2       // lines shown before and after
	maxSource = 4 << 20 // bytes of a file that is searched
)

// Excerpt returns a line of a file, as seen from root, with two lines before and
// two after it. It has no text if the file cannot be read, is not a regular file
// or is larger than 4 MiB: the file may be on another machine.
func Excerpt(root, file string, line int) Lines {
	x := Lines{First: max(1, line-around)}
	file = Abs(root, file)
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxSource {
		return x
	}
	f, err := os.Open(file)
	if err != nil {
		return x
	}
	defer f.Close()
	in := bufio.NewReader(io.LimitReader(f, maxSource)) // it may grow meanwhile
	for n := 1; n <= line+around; n++ {
		text, err := in.ReadString('\n')
		if err != nil && text == "" {
			break
		}
		if n >= x.First {
			x.Text = append(x.Text, strings.TrimRight(text, "\r\n"))
		}
	}
	return x
}
