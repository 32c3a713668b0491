package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tqserver/internal/secret"
)

// parseIn parses a text as the configuration of a project.
func parseIn(root, text string) (*Config, error) {
	return Parse(filepath.Join(root, "config", "server.yaml"), []byte(text))
}

func TestTheKeyOfCookiesIsMadeAtFirstNeed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c, err := parseIn(root, "workers: {default: {balance: address}}")
	if err != nil || c.Worker("/").CookieKey != (secret.Key{}) {
		t.Fatalf("without need: a key, or %v", err)
	}
	if all, _ := os.ReadDir(root); len(all) > 0 {
		t.Errorf("without need it made %v", all)
	}
	c, err = parseIn(root, "workers: {paths: {/shop: {balance: cookie}}}")
	if err != nil {
		t.Fatal(err)
	}
	key := c.Worker("/shop").CookieKey
	if key == (secret.Key{}) || c.Worker("/").CookieKey != (secret.Key{}) {
		t.Error("the page that needs the key has none, or another has it")
	}
	if info, err := os.Stat(filepath.Join(root, ".tqserver", "cookie.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	c, err = parseIn(root, "workers: {default: {balance: cookie}}")
	if err != nil || c.Worker("/any").CookieKey != key {
		t.Errorf("another key the next time, or %v", err)
	}
	c, err = parseIn(root, "server: {state_dir: elsewhere/state}\nworkers: {default: {balance: cookie}}")
	if err != nil || c.Worker("/").CookieKey == key {
		t.Errorf("the same key in another folder, or %v", err)
	}
	if info, err := os.Stat(filepath.Join(root, "elsewhere/state")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAKeyThatCannotBeUsedIsAProblem(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const text = "server: {state_dir: file/state}\nworkers:\n  default:\n    balance: cookie\n  paths:\n    /a: {balance: cookie}\n    /b: {max_requests: 1}\n    /c: {balance: address}\n"
	_, err := parseIn(root, text)
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 2 {
		t.Fatalf("%v, want two problems", err)
	}
	for i, place := range []string{":4: workers.default.balance: must not be cookie: ", ":6: workers.paths./a.balance: must not be cookie: "} {
		if got := fmt.Sprint(problems[i]); !strings.Contains(got, place) || !strings.Contains(got, "file/state") {
			t.Errorf("%s, want it at %s", got, place)
		}
	}

	state := filepath.Join(root, ".tqserver")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "cookie.key"), []byte(strings.Repeat("0", 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Join(state, "cookie.key"), 0o644)
	if _, err := parseIn(root, "workers: {default: {balance: cookie}}"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that everybody may read: %v", err)
	}
}
