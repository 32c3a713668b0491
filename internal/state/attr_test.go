package state

import (
	"encoding/json"
	"testing"
	"time"
)

func TestAnAttrKeepsItsKindInJSON(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]Attr{
		`{"key":"page","value":"/a"}`:                     String("page", "/a"),
		`{"key":"build","value":"7"}`:                     String("build", "7"),
		`{"key":"pid","value":7}`:                         Int("pid", 7),
		`{"key":"lines","value":18000000000000}`:          Int("lines", uint64(18_000_000_000_000)),
		`{"key":"took","value":0.409,"unit":"s"}`:         Duration("took", 409*time.Millisecond),
		`{"key":"up","value":86400.000000001,"unit":"s"}`: Duration("up", 24*time.Hour+1),
		`{"key":"up","value":-7,"unit":"s"}`:              Duration("up", -7*time.Second),
	} {
		text, err := json.Marshal(a)
		if err != nil || string(text) != want {
			t.Errorf("%v becomes %s, %v, want %s", a, text, err, want)
		}
		var back Attr
		if err := json.Unmarshal(text, &back); err != nil || back != a {
			t.Errorf("%s comes back as %#v, %v", text, back, err)
		}
	}
	for _, text := range []string{`{"key":"x","value":1.5}`, `{"key":"x","value":{}}`, `{"key":"x","value":"a","unit":"s"}`, `[]`} {
		if err := json.Unmarshal([]byte(text), new(Attr)); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

func TestALevelIsItsNameInJSON(t *testing.T) {
	t.Parallel()
	for l, want := range map[Level]string{LevelDebug: `"DEBUG"`, LevelInfo: `"INFO"`, LevelWarn: `"WARN"`, LevelError: `"ERROR"`} {
		text, err := json.Marshal(l)
		var back Level
		if err != nil || string(text) != want || json.Unmarshal(text, &back) != nil || back != l {
			t.Errorf("%v becomes %s, %v, and %v", l, text, err, back)
		}
	}
	if json.Unmarshal([]byte(`"LOUD"`), new(Level)) == nil {
		t.Error("a level that is none is accepted")
	}
}
