package state

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Level says how much an event matters. The zero Level is LevelInfo.
type Level int

// The levels. Info: something changed. Warn: the server coped. Error: someone
// must look.
const (
	LevelDebug Level = iota - 1
	LevelInfo
	LevelWarn
	LevelError
)

var levelNames = [...]string{"DEBUG", "INFO", "WARN", "ERROR"}

// String returns the level's name in capitals, as log lines have it.
func (l Level) String() string {
	if l < LevelDebug || l > LevelError {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levelNames[l-LevelDebug]
}

// MarshalText returns the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText accepts what MarshalText returns.
func (l *Level) UnmarshalText(text []byte) error {
	for i, name := range levelNames {
		if name == string(text) {
			*l = Level(i) + LevelDebug
			return nil
		}
	}
	return fmt.Errorf("unknown level %q", text)
}

// Seconds is a duration which JSON has as a number of seconds. JSON keeps it to
// the nanosecond if it is shorter than a month.
type Seconds time.Duration

// String formats s as time.Duration does.
func (s Seconds) String() string { return time.Duration(s).String() }

// MarshalJSON returns the number of seconds.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', -1, 64), nil
}

// UnmarshalJSON accepts a number of seconds.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return err
	}
	*s = Seconds(math.Round(seconds * float64(time.Second)))
	return nil
}

// Attr is a fact about an event. Make one with [String], [Int] or [Duration].
type Attr struct {
	Key   string
	Value any // a string, an int64 or Seconds
}

// String returns an Attr whose value is text.
func String(key, value string) Attr { return Attr{key, value} }

// Int returns an Attr whose value is a whole number.
func Int[N int | int64 | uint64](key string, value N) Attr { return Attr{key, int64(value)} }

// Duration returns an Attr whose value is a duration.
func Duration[D time.Duration | Seconds](key string, value D) Attr { return Attr{key, Seconds(value)} }

// Text returns the value as text.
func (a Attr) Text() string { return fmt.Sprint(a.Value) }

// String formats a as key=value.
func (a Attr) String() string { return a.Key + "=" + a.Text() }

// attrJSON is an Attr in JSON. A unit tells a duration from a number.
type attrJSON struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
	Unit  string          `json:"unit,omitempty"`
}

// MarshalJSON returns an object with key and value, and with the unit "s" if the
// value is a duration.
func (a Attr) MarshalJSON() ([]byte, error) {
	value, err := json.Marshal(a.Value)
	if err != nil {
		return nil, err
	}
	j := attrJSON{Key: a.Key, Value: value}
	if _, ok := a.Value.(Seconds); ok {
		j.Unit = "s"
	}
	return json.Marshal(j)
}

// UnmarshalJSON accepts what MarshalJSON returns.
func (a *Attr) UnmarshalJSON(text []byte) error {
	var j attrJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	a.Key = j.Key
	switch {
	case j.Unit == "s":
		return unmarshalValue[Seconds](a, j.Value)
	case len(j.Value) > 0 && j.Value[0] == '"':
		return unmarshalValue[string](a, j.Value)
	}
	return unmarshalValue[int64](a, j.Value)
}

func unmarshalValue[V any](a *Attr, text []byte) error {
	var v V
	err := json.Unmarshal(text, &v)
	a.Value = v
	return err
}
