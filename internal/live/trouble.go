package live

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"tqserver/internal/state"
)

// trouble is what keeps the newest version of a page from serving.
type trouble struct {
	id       string // changes with what it says
	kind     kind
	build    int
	message  string
	problems []state.Problem // of the compiler
	words    []string        // what the worker printed last
}

// kind is what went wrong.
type kind string

const (
	noBuild kind = "does not build"
	noStart kind = "does not start"
	crashes kind = "keeps crashing"
	dispute kind = "is defined by two folders"
)

// shortNotice is a trouble for the corner of a tab.
type shortNotice struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Message string `json:"message"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Still   string `json:"still,omitempty"` // what is shown nevertheless
}

const (
	manyLines    = 2000 // of a page's output, in which its last words are looked for
	shortMessage = 300  // bytes
)

// troubleOf returns what is wrong with a page, or was until now if it is being
// mended.
func (l *Live) troubleOf(before page, now state.Page) *trouble {
	t := &trouble{build: now.Build.Number, message: now.Problem}
	switch {
	case underWay(now.Phase):
		return before.trouble
	case now.Phase == state.Crashed:
		t.kind = crashes
		if what, cause, ok := strings.Cut(now.Problem, ": "); ok {
			t.kind, t.message = kind(what), cause
		}
		t.words = l.lastWords(now)
	case now.Problem == "":
		return nil
	case now.Phase == state.Failed && len(now.Build.Problems) > 0:
		t.kind, t.problems = noBuild, now.Build.Problems
	case now.Phase == state.Failed && now.Dir == "":
		t.kind = dispute
	case now.Phase == state.Failed:
		t.kind = noStart
		t.words = l.lastWords(now)
	case now.Phase == state.Serving, now.Phase == state.Asleep, now.Phase == state.Conflict:
		t.kind = dispute
	default:
		return nil
	}
	sum := sha256.Sum256(fmt.Append(nil, t.kind, t.build, t.message, t.problems, t.words))
	t.id = hex.EncodeToString(sum[:6])
	return t
}

// lastWords returns what the worker printed last that ended, or did not start.
func (l *Live) lastWords(p state.Page) []string {
	words := l.printed(p.Route, p.LastExit.PID)
	if len(words) == 0 && p.LastOutput != "" {
		words = strings.Split(p.LastOutput, "\n")
	}
	return words
}

// printed returns what a worker printed last.
func (l *Live) printed(route string, pid int) (words []string) {
	for _, line := range l.store.Lines(route, manyLines) {
		if line.PID == pid {
			words = append(words, state.Printable(line.Text))
		}
	}
	return words
}

// title says in few words what is wrong with a page.
func (t *trouble) title(route string) string {
	switch {
	case len(t.problems) > 1:
		return fmt.Sprintf("%s %s: %d errors", route, t.kind, len(t.problems))
	case len(t.problems) == 1:
		return fmt.Sprintf("%s %s: 1 error", route, t.kind)
	}
	return fmt.Sprintf("%s %s", route, t.kind)
}

// short returns what fits into a corner, nil of no trouble.
func (t *trouble) short(serving int) *shortNotice {
	if t == nil {
		return nil
	}
	n := &shortNotice{ID: t.id, Title: strings.TrimSpace(t.title("")), Message: t.message}
	if len(t.problems) > 0 {
		p := t.problems[0]
		n.Message, n.File, n.Line, n.Column = p.Message, p.File, p.Line, p.Column
	}
	n.Message, _, _ = strings.Cut(n.Message, "\n")
	n.Message = shortened(n.Message, shortMessage)
	if serving > 0 {
		n.Still = fmt.Sprintf("still showing build #%d", serving)
	}
	return n
}

// shortened cuts text, between two runes.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
