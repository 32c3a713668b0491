package build

import (
	"os"
	"testing"
)

func TestABinaryThatWasRolledBackIsKnownForIt(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	good := p.good()
	const crashing = "package main\n\nfunc main() { panic(1) }\n"
	p.write("pages/a/main.go", crashing)
	bad := p.good()
	want := func(b *Builder, force bool, putBack, when string) {
		t.Helper()
		res, err := b.Build(t.Context(), p.page, force)
		if err != nil || res.Binary != bad || res.RolledBackTo != putBack {
			t.Errorf("%s: Build is %+v, %v", when, res, err)
		}
	}
	want(p.Builder, false, "", "before")
	if err := p.RecordRollback(p.page, bad, good); err != nil {
		t.Fatal(err)
	}
	p.write("pages/a/main.go", crashing)
	p.write("go.mod", "module ex\n\ngo 1.26\n")
	want(p.Builder, false, good, "the same bytes again")
	want(p.again(), false, good, "another server")
	p.write("pages/a/main.go", crashing+"// the same program\n")
	want(p.Builder, false, "", "other bytes")
	p.write("pages/a/main.go", crashing)
	if res := p.build(); res.RolledBackTo != "" {
		t.Errorf("the first bytes again, after others: %+v", res)
	}
	if err := p.RecordRollback(p.page, bad, good); err != nil {
		t.Fatal(err)
	}
	want(p.Builder, false, good, "put back again")
	want(p.Builder, true, "", "by force")
	want(p.Builder, false, "", "after that")
	if err := p.RecordRollback(p.page, bad, good); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(good); err != nil {
		t.Fatal(err)
	}
	want(p.Builder, false, "", "where the other is gone")
}
