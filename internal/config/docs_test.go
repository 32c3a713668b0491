package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	shippedFile = "../../config/server.yaml"
	exampleFile = "../../config/server.example.yaml"
	manual      = "../../docs/configuration.md"
)

func TestTheShippedFileMeansDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load(shippedFile)
	if err != nil {
		t.Fatal(err)
	}
	want := Default(c.Root)
	want.File = c.File
	if diff := diffConfig(want, c); diff != "" {
		t.Error(diff)
	}
	wantWorker(t, c, "/", want.Worker("/"))
	if strings.Contains(readFile(t, shippedFile), "startup_delay_ms") {
		t.Error("the shipped file sets startup_delay_ms, which delays every worker")
	}
}

func TestTheExampleHasEveryOptionWithItsDefault(t *testing.T) {
	t.Parallel()
	c, err := Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	want := Default(c.Root)
	want.File = c.File
	if diff := diffConfig(want, c); diff != "" {
		t.Error(diff)
	}
	wantWorker(t, c, "/", want.Worker("/"))

	// The file is decoded once more for the keys that it sets.
	text := readFile(t, exampleFile)
	d := newDecoder(exampleFile, c.Root)
	walk(d, new(Config), options, "", "", d.parse([]byte(text)))
	for _, o := range options {
		if d.lines[o.key] == 0 {
			t.Errorf("%s lacks %s", exampleFile, o.key)
		}
	}
}

func TestTheManualHasEveryOptionWithItsDefault(t *testing.T) {
	t.Parallel()
	text := readFile(t, manual)
	for _, o := range options {
		if row := "| `" + o.key + "` | `" + o.initial + "` | "; strings.Count(text, row) != 1 {
			t.Errorf("%s does not say once: %s", manual, row)
		}
	}
	for row := range strings.Lines(text) {
		key, found := strings.CutPrefix(row, "| `")
		key, _, _ = strings.Cut(key, "`")
		known := func(o option[Config]) bool { return o.key == key || strings.HasPrefix(o.key, key+".") }
		if found && !slices.ContainsFunc(options, known) {
			t.Errorf("%s explains %s, which is no option", manual, key)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
