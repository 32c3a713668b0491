package conventions

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "draw the picture of the rooms anew")

// The picture stands in architecture, between the two marks.
const (
	architecture = "../../docs/architecture.md"
	pictureStart = "```mermaid\n"
	pictureEnd   = "```\n"
)

func TestThePictureOfTheRoomsIsTrue(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), pictureStart)
	old, after, closed := strings.Cut(rest, pictureEnd)
	if !found || !closed {
		t.Fatalf("%s has no picture between %q and %q", architecture, pictureStart, pictureEnd)
	}
	drawn := picture(linked(packages(t)))
	if *update {
		err = os.WriteFile(architecture, []byte(before+pictureStart+drawn+pictureEnd+after), 0o644)
	} else if drawn != old {
		err = fmt.Errorf("%s does not show what imports what: go test ./internal/conventions -update", architecture)
	}
	if err != nil {
		t.Error(err)
	}
}

// linked returns what the packages that are linked into the server import of one
// another, by name without internal/.
func linked(all []listed) map[string][]string {
	byPath := make(map[string]listed)
	for _, p := range all {
		byPath[p.ImportPath] = p
	}
	name := func(path string) string {
		return strings.TrimPrefix(strings.TrimPrefix(path, module+"/"), "internal/")
	}
	rooms := make(map[string][]string)
	var add func(path string)
	add = func(path string) {
		room := name(path)
		if _, known := rooms[room]; known {
			return
		}
		rooms[room] = nil
		for _, imported := range byPath[path].Imports {
			if _, ours := byPath[imported]; ours {
				rooms[room] = append(rooms[room], name(imported))
				add(imported)
			}
		}
	}
	add(module + "/cmd/tqserver")
	return rooms
}

// picture draws who imports whom, in Mermaid. An arrow that follows from others is
// left out, or nobody would see anything.
func picture(imports map[string][]string) string {
	var reaches func(from, to string) bool
	reaches = func(from, to string) bool {
		return slices.ContainsFunc(imports[from], func(next string) bool { return next == to || reaches(next, to) })
	}
	var lines []string
	for from, all := range imports {
		for _, to := range all {
			if !slices.ContainsFunc(all, func(other string) bool { return reaches(other, to) }) {
				lines = append(lines, fmt.Sprintf("  %s --> %s\n", from, to))
			}
		}
	}
	slices.Sort(lines)
	return "graph TD\n" + strings.Join(lines, "")
}

func TestAPictureLeavesOutWhatFollows(t *testing.T) {
	got := picture(map[string][]string{"a": {"b", "c", "d"}, "b": {"c"}, "c": nil, "d": {"c"}})
	if want := "graph TD\n  a --> b\n  a --> d\n  b --> c\n  d --> c\n"; got != want {
		t.Errorf("the picture is\n%s", got)
	}
}
