package message

import (
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMembersAreThoseOfAllLines(t *testing.T) {
	got := slices.Collect(Members([]string{" a,\tb ,, c", "", ",", "a"}))
	if diff := cmp.Diff([]string{"a", "b", "c", "a"}, got); diff != "" {
		t.Error(diff)
	}
	if !HasToken([]string{"x", "Close "}, "close") || HasToken([]string{"closed, clos", "close x"}, "close") {
		t.Error("a token is what stands between commas, in any case")
	}
}

func TestConnectionNamesFieldsInAnyCase(t *testing.T) {
	long := "X-Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	h := http.Header{"Connection": {"close, x-one, X-TWO", "x-one, keep-alive, absent, a b, te, " + long}, "X-One": {"1"}, "X-Two": {"2"}, "X-Three": {"3"}, "Te": {"t"}, long: {"l"}}
	if diff := cmp.Diff(map[string]bool{"X-One": true, "X-Two": true, long: true}, NamedByConnection(h)); diff != "" {
		t.Error(diff)
	}
	RemoveHopByHop(h)
	if diff := cmp.Diff(http.Header{"X-Three": {"3"}}, h); diff != "" {
		t.Error(diff)
	}
	if NamedByConnection(http.Header{"Connection": {"keep-alive"}}) != nil {
		t.Error("of what most say a map is made")
	}
}

// Every request of a client calls this function.
func TestConnectionCostsNoMemoryButForWhatItNames(t *testing.T) {
	h := http.Header{"Connection": {"keep-alive, Upgrade, x-absent, HTTP2-Settings"}, "Upgrade": {"x"}}
	if n := testing.AllocsPerRun(100, func() { NamedByConnection(h) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzCapitalize(f *testing.F) {
	f.Add("x-one")
	f.Add("WWW--auth")
	f.Fuzz(func(t *testing.T, name string) {
		if !IsToken(name) {
			return
		}
		b := []byte(name)
		capitalize(b)
		if want := http.CanonicalHeaderKey(name); string(b) != want {
			t.Errorf("%q, want %q", b, want)
		}
	})
}
