package config

import (
	"maps"
	"path/filepath"
	"slices"

	"tqserver/internal/project"
	"tqserver/internal/secret"
)

// cookieKey is the file below server.state_dir with the key that cookies are signed
// with.
const cookieKey = "cookie.key"

// stateDir checks the folder of what the server keeps, and reads from there what the
// settings need.
func (d *decoder) stateDir(c *Config) {
	const key = "server.state_dir"
	for _, p := range d.problems {
		if p.Key == key || p.Key == "pages.directory" {
			return
		}
	}
	dir, pages := project.Abs(d.root, c.Server.StateDir), project.Abs(d.root, c.Pages.Directory)
	if project.Contains(dir, pages) {
		key := d.firstSet(key, "pages.directory")
		d.problem(d.lines[key], key, "must be apart: server.state_dir, %s, would have the pages in it", project.Show(d.root, dir))
		return
	}
	d.cookieKeys(c, filepath.Join(dir, cookieKey))
}

// cookieKeys gives all settings that need it the key in a file.
func (d *decoder) cookieKeys(c *Config, file string) {
	var signing secret.Key
	var err error
	use := func(s *WorkerSettings) bool {
		if s.Balance != "cookie" {
			return false
		}
		if signing == (secret.Key{}) && err == nil {
			signing, err = secret.LoadKey(file)
		}
		s.CookieKey = signing
		return err != nil
	}
	failed := func(key string) {
		if line := d.lines[key]; line > 0 {
			d.problem(line, key, "must not be cookie: the key in server.state_dir cannot be used: %v", err)
		}
	}
	if use(&c.Workers.standard) {
		failed("workers.default.balance")
	}
	for _, path := range slices.Sorted(maps.Keys(c.Workers.paths)) {
		s := c.Workers.paths[path]
		if use(&s) {
			failed("workers.paths." + path + ".balance")
		}
		c.Workers.paths[path] = s
	}
}
