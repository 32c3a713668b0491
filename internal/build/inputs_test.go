package build

import "testing"

func TestAPatternTakesAndLeads(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		takes, leads  bool
	}{
		{"x.txt", "x.txt", true, false},
		{"x.txt", "y.txt", false, false},
		{"static", "static", true, false},
		{"static", "static/a/b.txt", true, false},
		{"static", "static/.a", false, false},
		{"static", "static/_a/b.txt", false, false},
		{"all:static", "static/.a", true, false},
		{"all:static", "static/_a/b.txt", true, false},
		{"*", ".hidden", true, false}, // a pattern takes by name what a folder does not
		{"*.txt", "a b.txt", true, false},
		{"*.txt", "x.txt.swp", false, false},
		{"static/*/x.txt", "static", false, true},
		{"static/*/x.txt", "static/a", false, true},
		{"static/*/x.txt", "static/a/x.txt", true, false},
		{"static/*/x.txt", "static/a/b/x.txt", false, false},
		{"static/*/x.txt", "other", false, false},
		{"st?tic/[a-c].txt", "static", false, true},
		{"st?tic/[a-c].txt", "static/b.txt", true, false},
		{"st?tic/[a-c].txt", "static/d.txt", false, false},
		{"static/x.txt", "static", false, true},
		{"[", "x", false, false},
	} {
		takes, leads := (embed{Patterns: []string{c.pattern}}).match(c.path)
		if takes != c.takes || leads != c.leads {
			t.Errorf("%s and %s: takes %v, leads %v", c.pattern, c.path, takes, leads)
		}
	}
}

func TestAChangeConcernsWhatIsMadeOfIt(t *testing.T) {
	in := inputs{
		Dirs:   []string{"/p/pages/a", "/p/lib"},
		Embeds: []embed{{Dir: "/p/lib", Patterns: []string{"static"}}},
		Files:  []string{"/p/go.mod", "/p/vendor/modules.txt"},
	}
	for path, want := range map[string]bool{
		"/p/lib/x.go": true, "/p/lib/x.c": true, "/p/lib/x.s": true, "/p/lib/x.syso": true, "/p/lib/x.h": true,
		"/p/lib/x_test.go": false, "/p/lib/_x.go": false, "/p/lib/.x.go": false, "/p/lib/x.go~": false, "/p/lib/#x.go#": false, "/p/lib/.x.go.swp": false, "/p/lib/4913": false,
		"/p/lib/sub/x.go": false, "/p/lib/static/x": true, "/p/lib/static": true, "/p/lib": true, "/p": true, "/p/pages": true, "/p/li": false, "/p/lib2": false,
		"/p/go.mod": true, "/p/go.sum": false, "/p/vendor": true, "/p/vendor/x": false,
	} {
		if got := in.affectedBy(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
