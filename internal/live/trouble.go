package live

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"tqserver/internal/state"
)

// trouble is a [state.Trouble] with all that an error page shows of it.
type trouble struct {
	id       string // changes with what it says
	kind     state.TroubleKind
	build    int
	message  string
	problems []state.Problem // of the compiler
	output   []string        // last lines of the worker
}

// troubleTitles say in a few words what is wrong; the route comes before them.
var troubleTitles = map[state.TroubleKind]string{
	state.TroubleBuild:    "does not build",
	state.TroubleStart:    "does not start",
	state.TroubleCrash:    "keeps crashing",
	state.TroubleRollback: "was rolled back",
	state.TroubleConflict: "is defined by two folders",
}

// shortNotice is a trouble as the corner of a tab shows it.
type shortNotice struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Message string `json:"message"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Still   string `json:"still,omitempty"` // what the tab shows
}

const (
	manyLines    = 2000 // of a page's output that are searched for those of one worker
	shortMessage = 300  // bytes
)

// troubleOf returns what is wrong with a page. While the next version is under way
// that is what was wrong before.
func (l *Live) troubleOf(ctx context.Context, now state.Page) *trouble {
	if underWay(now.Phase) {
		return l.pages[now.Route].trouble
	}
	t := &trouble{kind: now.Trouble.Kind, build: now.Build.Number, message: now.Trouble.Text}
	switch {
	case now.Phase == state.Stopped:
		return nil
	case now.Phase == state.Crashed:
		if t.kind == "" {
			t.kind = state.TroubleCrash
		}
		t.message = now.LastExit.Cause // the title says the rest
		t.output = l.lastOutput(ctx, now)
	case t.kind == "":
		return nil
	case t.kind == state.TroubleBuild:
		t.problems = now.Build.Problems
	case t.kind != state.TroubleConflict:
		t.output = l.lastOutput(ctx, now)
	}
	sum := sha256.Sum256(fmt.Append(nil, t.kind, t.build, t.message, t.problems, t.output))
	t.id = hex.EncodeToString(sum[:6])
	return t
}

// lastOutput returns the last lines of the worker that crashed, or did not start.
func (l *Live) lastOutput(ctx context.Context, p state.Page) []string {
	lines := l.printed(ctx, p.Route, p.LastExit.PID)
	if len(lines) == 0 && p.Trouble.LastOutput != "" {
		lines = strings.Split(p.Trouble.LastOutput, "\n")
	}
	return lines
}

// printed returns the last lines of a worker.
func (l *Live) printed(ctx context.Context, route string, pid int) (texts []string) {
	lines, _ := l.src.Tail(ctx, route, manyLines)
	for _, line := range lines {
		if line.PID == pid {
			texts = append(texts, state.Printable(line.Text))
		}
	}
	return texts
}

// title says in a few words what is wrong with a page.
func (t *trouble) title(route string) string {
	switch {
	case len(t.problems) > 1:
		return fmt.Sprintf("%s %s: %d errors", route, troubleTitles[t.kind], len(t.problems))
	case len(t.problems) == 1:
		return fmt.Sprintf("%s %s: 1 error", route, troubleTitles[t.kind])
	}
	return route + " " + troubleTitles[t.kind]
}

// short returns what fits into a corner, nil if t is nil.
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

// shortened returns at most so many bytes of text, cut between two runes.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
