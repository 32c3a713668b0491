package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shop has options of kinds that can be combined.
type shop struct {
	Open    bool
	Names   []string
	Limits  []limit
	Claims  map[string][]string
	Colours map[string]limit
}

type limit struct {
	Requests int
	By       string
}

var limitOptions = []option[limit]{
	opt("requests", "100", integer(1, 1000), func(l *limit) *int { return &l.Requests }),
	opt("by", `"address"`, oneOf("address", "user"), func(l *limit) *string { return &l.By }),
}

var shopOptions = []option[shop]{
	opt("open", "false", boolean, func(s *shop) *bool { return &s.Open }),
	opt("lists.names", "[]", listOf(text(notEmpty)), func(s *shop) *[]string { return &s.Names }),
	opt("lists.limits", "[]", listOf(section(limitOptions, limit{Requests: 100, By: "address"})), func(s *shop) *[]limit { return &s.Limits }),
	opt("claims", "{}", mapOf(variable, listOf(text())), func(s *shop) *map[string][]string { return &s.Claims }),
	opt("colours", "{}", mapOf(variable, section(limitOptions, limit{Requests: 100})), func(s *shop) *map[string]limit { return &s.Colours }),
}

// decodeShop decodes a text as paths are decoded, over a standard.
func decodeShop(text string, standard shop) (map[string]shop, Problems) {
	d := newDecoder("f", "/")
	all, _ := mapOf(route, section(shopOptions, standard))(d, "paths", d.parse([]byte(text)))
	return all, d.problems
}

func TestKindsAreMadeOfKinds(t *testing.T) {
	t.Parallel()
	got, problems := decodeShop(`
/a:
  open: true
  lists:
    names: [x, y]
    limits:
    - {requests: 5}
    - by: user
  claims: {role: [admin, owner], team: []}
  colours:
    red: {requests: 7}
    blue:
`, shop{})
	want := shop{
		Open: true, Names: []string{"x", "y"}, Limits: []limit{{5, "address"}, {100, "user"}},
		Claims:  map[string][]string{"role": {"admin", "owner"}, "team": nil},
		Colours: map[string]limit{"red": {Requests: 7}, "blue": {Requests: 100}},
	}
	if diff := cmp.Diff(map[string]shop{"/a": want}, got); diff != "" || problems != nil {
		t.Errorf("%v (-want +got):\n%s", problems, diff)
	}
}

func TestAListBelowAPathIsThatOfThePath(t *testing.T) {
	t.Parallel()
	standard := shop{Names: make([]string, 1, 10), Limits: []limit{{1, "user"}}}
	got, problems := decodeShop(`
/a:
  lists: {names: [a]}
/b:
  lists: {names: [b1, b2]}
  open: true
/c:
  lists: {names: []}
/d:
  open: false
`, standard)
	for path, want := range map[string][]string{"/a": {"a"}, "/b": {"b1", "b2"}, "/c": nil, "/d": {""}} {
		if diff := cmp.Diff(want, got[path].Names); diff != "" {
			t.Errorf("names of %s (-want +got):\n%s", path, diff)
		}
		if diff := cmp.Diff(standard.Limits, got[path].Limits); diff != "" {
			t.Errorf("limits of %s are not the standard's (-want +got):\n%s", path, diff)
		}
	}
	if diff := cmp.Diff(make([]string, 10), standard.Names[:10]); diff != "" || problems != nil {
		t.Errorf("%v; the standard has changed:\n%s", problems, diff)
	}
}

func TestMistakesInNestedKindsAreNamed(t *testing.T) {
	t.Parallel()
	_, problems := decodeShop(`
/a:
  open: yes
  lists:
    names: [x, "", 1]
    limits:
    - {requests: 0}
    - 5
/b:
  open:
  lists: {names: {x: 1}}
  claims:
    role: admin
    a-b: []
  colours: {red: {request: 1}}
`, shop{})
	want := `f:3: paths./a.open: must be true or false, not the text "yes"
f:5: paths./a.lists.names: must not be empty
f:5: paths./a.lists.names: must be text, not 1
f:7: paths./a.lists.limits.requests: must be at least 1, not 0
f:8: paths./a.lists.limits: must be a section with options of its own, not 5
f:10: paths./b.open: must be true or false, not nothing
f:11: paths./b.lists.names: must be a list, not a section
f:13: paths./b.claims.role: must be a list, not the text "admin"
f:14: paths./b.claims.a-b: must be the name of an environment variable: letters, digits and _
f:15: paths./b.colours.red.request: is unknown: did you mean requests?`
	if diff := cmp.Diff(want, problems.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
