package state

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// values are the types of the package whose values travel, all but those that hold
// or are a connection to a store.
var values = []any{
	Attr{}, Breaker(""), Build{}, Command{}, Crash{}, Cursor{}, Event{}, Exit{}, Frame{}, Item{}, Level(0), Line{}, Load{}, Mirror{}, Page{}, Phase(""),
	Problem{}, Role(""), Scope(0), Seconds(0), Server{}, Snapshot{}, CommandSpec{}, Stream{}, Trouble{}, TroubleKind(""), Update{}, Verb(""), Worker{},
}

func TestEveryValueComesBackEqualThroughJSON(t *testing.T) {
	t.Parallel()
	names := exportedTypes(t)
	delete(names, "Store")
	delete(names, "Source")
	for _, v := range values {
		typ := reflect.TypeOf(v)
		delete(names, typ.Name())
		for seed := range uint64(50) {
			sent := reflect.New(typ)
			fill(t, sent.Elem(), rand.New(rand.NewPCG(seed, 0)))
			got := reflect.New(typ)
			text, err := json.Marshal(sent.Interface())
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, got.Interface()); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if diff := cmp.Diff(sent.Interface(), got.Interface()); diff != "" {
				t.Fatalf("%s (-sent +got): %s\n%s", typ, diff, text)
			}
		}
	}
	if len(names) > 0 {
		t.Errorf("these types are not tested: %v", names)
	}
}

// exportedTypes returns the names of the package's exported types.
func exportedTypes(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && s.Name.IsExported() {
				names[s.Name.Name] = true
			}
			return true
		})
	}
	return names
}

// fill sets all fields of a value, so that a new one is tested without being named.
func fill(t *testing.T, v reflect.Value, rnd *rand.Rand) {
	switch v.Addr().Interface().(type) {
	case *time.Time:
		v.Set(reflect.ValueOf(time.Unix(rnd.Int64N(1e10), rnd.Int64N(1e9)).UTC()))
		return
	case *Attr:
		v.Set(reflect.ValueOf([]Attr{String("page", texts[rnd.IntN(len(texts))]), Int("pid", rnd.Int64()), Duration("took", time.Duration(rnd.Int64N(1e15)))}[rnd.IntN(3)]))
		return
	case *Seconds:
		v.SetInt(rnd.Int64N(1e15))
		return
	case *Level:
		v.SetInt(int64(LevelDebug) + rnd.Int64N(int64(LevelError-LevelDebug)+1))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), rnd)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), rnd)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+rnd.IntN(2), 2))
		for i := range v.Len() {
			fill(t, v.Index(i), rnd)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, rnd)
		fill(t, value, rnd)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(texts[rnd.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(rnd.Int64N(1 << 40))
	case reflect.Uint64:
		v.SetUint(rnd.Uint64())
	case reflect.Float64:
		v.SetFloat(rnd.NormFloat64())
	default:
		t.Fatalf("a value of %s cannot be made", v.Type())
	}
}

var texts = []string{"", "/api", "<a & b>", "tab\tand\nline\u2028\u0000", "世界 é 🙂"}

func TestTheStateHasThePromisedNamesInJSON(t *testing.T) {
	t.Parallel()
	var s Snapshot
	fill(t, reflect.ValueOf(&s).Elem(), rand.New(rand.NewPCG(3, 0)))
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var all any
	json.Unmarshal(text, &all)
	for _, path := range strings.Fields(`epoch seq server.version server.pid server.root server.started server.urls server.development server.paused server.stopping
		pages.route pages.dir pages.phase pages.build.number pages.build.trigger pages.build.started pages.build.took pages.build.cached
		pages.build.problems.file pages.build.problems.line pages.build.problems.column pages.build.problems.message pages.serving_build pages.swap
		pages.trouble.kind pages.trouble.text pages.workers.role pages.workers.pid pages.workers.port pages.workers.build pages.workers.since
		pages.restarts pages.next pages.load.requests pages.load.errors pages.load.in_flight pages.load.rate pages.load.p50 pages.load.p95 pages.load.p99 pages.load.cpu pages.load.memory`) {
		v := all
		for name := range strings.SplitSeq(path, ".") {
			if list, ok := v.([]any); ok {
				v = list[len(list)-1]
			}
			object, _ := v.(map[string]any)
			v = object[name]
		}
		if v == nil {
			t.Errorf("there is no %s in %s", path, text)
		}
	}
}

// reader is a front end that reads now and then.
type reader struct {
	next func(context.Context, Cursor) (Update, error)
	seen Mirror
}

func (r *reader) read(t *testing.T) Update {
	t.Helper()
	u, err := r.next(t.Context(), r.seen.Cursor)
	if err != nil {
		t.Fatal(err)
	}
	r.seen.Apply(u)
	return u
}

// throughJSON returns what a value is on the other side of a connection.
func throughJSON[T any](t *testing.T, v T) (got T) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// FuzzAReaderOverJSONSeesWhatOneBesideTheStoreSees has two readers read at the same
// moments, and a third seldom, while pages come, change and go, lines and events
// are lost, and the server is restarted. What they know then is the state.
func FuzzAReaderOverJSONSeesWhatOneBesideTheStoreSees(f *testing.F) {
	f.Add([]byte("a page, its lines, and a read"))
	f.Add([]byte{0, 7, 7, 7, 3, 5, 1, 6, 7, 0, 9, 7, 8, 7})
	f.Add([]byte{0, 1, 4, 7, 10, 7, 2, 7, 8, 0, 7, 9, 9, 3, 7})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 60 {
			t.Skip("too many for a moment")
		}
		started := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
		s := NewStore(Server{Started: started})
		near := &reader{next: func(ctx context.Context, c Cursor) (Update, error) { return s.Next(ctx, c) }}
		far := &reader{next: func(ctx context.Context, c Cursor) (Update, error) {
			u, err := s.Next(ctx, throughJSON(t, c))
			return throughJSON(t, u), err
		}}
		seldom := &reader{next: far.next}
		check := func(who string, r *reader) {
			t.Helper()
			now, _ := s.Next(t.Context(), Cursor{})
			var want Mirror
			want.Apply(throughJSON(t, now))
			if diff := cmp.Diff(want, throughJSON(t, r.seen)); diff != "" {
				t.Fatalf("%s does not know the state (-want +got): %s", who, diff)
			}
		}
		pages := 0
		for i, op := range ops {
			route := fmt.Sprint("/", op>>4%5)
			switch rnd := rand.New(rand.NewPCG(uint64(op), uint64(i))); op % 11 {
			case 0, 1:
				var p Page
				fill(t, reflect.ValueOf(&p).Elem(), rnd)
				p.Route, p.Load = route, nil
				s.Publish(Event{Message: "changed", Attrs: []Attr{Int("n", pages)}, Page: &p})
				pages++
			case 2:
				s.Publish(Event{Page: &Page{Route: route}, Removed: true})
			case 3, 4:
				s.Append([]Line{{Page: route, PID: 1, Partial: op%2 == 0, Text: texts[rnd.IntN(len(texts))]}, {Page: route, PID: int(op), Text: "x"}})
			case 5:
				var l Load
				fill(t, reflect.ValueOf(&l).Elem(), rnd)
				l.Page = route
				s.SetLoads([]Load{l})
			case 6:
				s.ChangeServer(Event{Message: "paused"}, func(srv *Server) { srv.Paused = !srv.Paused })
			case 7:
				if diff := cmp.Diff(near.read(t), far.read(t)); diff != "" {
					t.Fatalf("they read (-near +far): %s", diff)
				}
				check("the reader over JSON", far)
			case 8:
				for range keptPages + int(op) {
					s.Publish(Event{Message: "many"})
				}
			case 9:
				for range 2*keptEvents + int(op) {
					s.Publish(Event{})
				}
			case 10:
				started = started.Add(time.Duration(op) * time.Minute)
				s = NewStore(Server{Started: started, PID: int(op)})
			}
			if s.seq == near.seen.Cursor.Seq {
				s.Publish(Event{Message: "something, so that no reader waits"})
			}
			if s.seq == seldom.seen.Cursor.Seq {
				s.Publish(Event{})
			}
		}
		seldom.read(t)
		check("who reads seldom", seldom)
		near.read(t)
		check("the reader beside the store", near)
	})
}
