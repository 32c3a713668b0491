package live

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tqserver/internal/project"
	"tqserver/internal/state"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// explanation is the content of an error page or a waiting page.
type explanation struct {
	Status    int
	Face      string // of the page, if the document shows it
	Page, Dir string
	Build     int
	Title     string
	Message   string
	Waiting   bool
	Ready, Of int // pages, of a waiting page
	Problems  []problem
	Frames    []frame
	Output    []string
	RequestID string
}

// problem is a message of the compiler with the source around it.
type problem struct {
	state.Problem
	Source []sourceLine
}

// sourceLine is a line of source. If it is Here, Caret points to the column.
type sourceLine struct {
	Number int
	Text   string
	Here   bool
	Caret  string
}

// frame is a call, which may be in the page's own code or in the project.
type frame struct {
	state.Frame
	Own, Project bool
}

const (
	maxProblems = 50
	maxOutput   = 40       // lines
	maxLine     = 200      // bytes of a line of source
	maxText     = 16 << 10 // bytes of a message
	maxFrames   = 30
)

// Refused is a request that the proxy refuses in the name of its page; see
// proxy.Refused.
type Refused struct {
	Route     string
	Status    int
	Form      string
	RequestID string
	Began     time.Time
	Worker    int
}

// Explain returns the body of a refusal that says what is wrong with the page, if
// that is known. It is for proxy.Development.
func (l *Live) Explain(ctx context.Context, r Refused) (string, bool) {
	p, ok := l.page(r.Route)
	if !ok || l.isOff() {
		return "", false
	}
	x := explanation{Status: r.Status, Page: p.Route, Dir: p.Dir, Build: p.Build.Number, RequestID: r.RequestID}
	switch {
	case r.Status == http.StatusBadGateway:
		if !x.explainExit(ctx, l, r) {
			return "", false
		}
	case r.Status != http.StatusServiceUnavailable, p.Phase == state.Stopped, p.ServingBuild > 0:
		return "", false
	case p.showsTrouble():
		x.explainTrouble(l, p)
	case underWay(p.Phase):
		x.explainWait(l, p)
	default:
		return "", false
	}
	return x.write(r.Form), true
}

// causeTimeout is how long Explain waits for the cause when a worker did not respond:
// other goroutines read its output and notice its end.
const causeTimeout = time.Second

// explainExit says why a worker did not respond to a request, and reports whether
// that is known: the worker ended, or the handler panicked.
func (x *explanation) explainExit(ctx context.Context, l *Live, r Refused) bool {
	ctx, cancel := context.WithTimeout(ctx, causeTimeout)
	defer cancel()
	if r.Worker == 0 {
		return false
	}
	var known state.Mirror
	return state.Follow(ctx, l.src.Next, state.Cursor{}, func(u state.Update) error {
		known.Apply(u)
		p := known.Pages[r.Route]
		if p.LastExit.PID == r.Worker {
			x.Title, x.Message = p.Route+" crashed before it responded", state.Printable(p.LastExit.Cause)
			printed := l.printed(ctx, r.Route, r.Worker)
			x.addCrash(l, &p, lastCrash(printed), printed)
			return errFound
		}
		if since := l.printedSince(ctx, r); state.ParseCrash(since).Handler {
			x.Title = "A handler of " + p.Route + " panicked"
			x.addCrash(l, &p, state.ParseCrash(since), since)
			return errFound
		}
		return nil
	}) == errFound
}

// errFound ends the search for a cause.
var errFound = errors.New("found")

// printedSince returns what the worker printed since it got the request.
func (l *Live) printedSince(ctx context.Context, r Refused) (texts []string) {
	lines, _ := l.src.Tail(ctx, r.Route, manyLines)
	for _, line := range lines {
		if line.PID == r.Worker && !line.Time.Before(r.Began) {
			texts = append(texts, state.Printable(line.Text))
		}
	}
	return texts
}

// lastCrash returns the crash of a worker that ended.
func lastCrash(output []string) state.Crash {
	if end := state.ParseCrash(output); !end.Handler {
		return end
	}
	return state.Crash{}
}

func (x *explanation) explainWait(l *Live, p page) {
	x.Waiting, x.Face = true, p.face
	x.Title = "Building " + p.Route
	x.Message = "The page appears here as soon as it is ready."
	switch p.Phase {
	case state.Starting:
		x.Title = "Starting " + p.Route
	case state.Waiting:
		x.Title, x.Message = p.Route+" is waiting for a port", "Every port from workers.port_range_start to port_range_end is in use."
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, other := range l.pages {
		if other.gone {
			continue
		}
		x.Of++
		if other.Phase != state.Building && other.Phase != state.Starting {
			x.Ready++
		}
	}
}

func (x *explanation) explainTrouble(l *Live, p page) {
	t := p.trouble
	x.Face, x.Title, x.Message, x.Build = p.face, t.title(p.Route), t.message, t.build
	if left := time.Until(p.Next); p.Phase == state.Crashed && left > 0 {
		x.Title += fmt.Sprintf("; next start in %d s", int(math.Ceil(left.Seconds())))
	}
	for _, compiler := range t.problems[:min(len(t.problems), maxProblems)] {
		compiler.Message = shortened(compiler.Message, maxText)
		x.Problems = append(x.Problems, problem{compiler, l.excerpt(compiler)})
	}
	if len(x.Problems) == 0 {
		x.addCrash(l, &p.Page, lastCrash(t.output), t.output)
	}
	if len(x.Problems) > 0 {
		x.Message = ""
	}
}

// addCrash adds a crash: its message and frames, and what the worker printed.
func (x *explanation) addCrash(l *Live, p *state.Page, end state.Crash, output []string) {
	first, more, _ := strings.Cut(end.Message, "\n")
	if !strings.Contains(x.Message, first) {
		more = end.Message
	}
	x.Message = strings.TrimSpace(x.Message + "\n" + shortened(more, maxText))
	own := project.Abs(l.root, p.Dir)
	for _, f := range end.Frames {
		at := frame{Frame: f, Own: filepath.Dir(f.File) == own, Project: project.Contains(l.root, f.File)}
		at.File = project.Show(l.root, f.File)
		x.Frames = append(x.Frames, at)
	}
	slices.SortStableFunc(x.Frames, func(a, b frame) int { return b.nearness() - a.nearness() })
	x.Frames = slices.CompactFunc(x.Frames, func(a, b frame) bool { return a.File == b.File && a.Line == b.Line }) // of a recursion
	x.Frames = x.Frames[:min(len(x.Frames), maxFrames)]
	if end.Message != "" {
		output = output[end.Line:]
		output = output[:min(len(output), maxOutput)]
	}
	x.Output = slices.Clone(output[max(0, len(output)-maxOutput):])
	for i, line := range x.Output {
		x.Output[i] = shortened(line, maxText)
	}
}

func (p frame) nearness() int {
	switch {
	case p.Own:
		return 2
	case p.Project:
		return 1
	}
	return 0
}

// excerpt returns the source around a problem, nil if it cannot be read.
func (l *Live) excerpt(p state.Problem) (lines []sourceLine) {
	if p.File == "" || p.Line < 1 {
		return nil
	}
	source := project.Excerpt(l.root, p.File, p.Line)
	for i, text := range source.Text {
		n := source.First + i
		line := sourceLine{Number: n, Here: n == p.Line}
		column := 0
		if line.Here && p.Column > 0 {
			column = min(p.Column-1, len(text))
		}
		cut := max(0, column-maxLine/2)
		before := tidy(text[cut:column])
		line.Text = before + shortened(tidy(text[column:]), maxLine)
		if cut > 0 {
			before, line.Text = "…"+before, "…"+line.Text
		}
		if line.Here && p.Column > 0 {
			line.Caret = strings.Repeat(" ", len([]rune(before))) + "^"
		}
		lines = append(lines, line)
	}
	return lines
}

// tidy replaces every tab of a line of source by four spaces.
func tidy(text string) string { return state.Printable(strings.ReplaceAll(text, "\t", "    ")) }

// write returns the explanation in a form.
func (x explanation) write(form string) string {
	var b strings.Builder
	switch form {
	case "text/html":
		pageTemplate.Execute(&b, x)
	case "application/problem+json":
		x.writeJSON(&b)
	default:
		x.writeText(&b)
	}
	return b.String()
}

// writeJSON writes a problem (RFC 9457) with the errors as a member of its own.
func (x explanation) writeJSON(w io.Writer) {
	type place struct {
		File    string `json:"file,omitempty"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Message string `json:"message"`
	}
	errors := []place{}
	for _, p := range x.Problems {
		errors = append(errors, place{p.File, p.Line, p.Column, p.Message})
	}
	if len(errors) == 0 && x.Message != "" && !x.Waiting {
		e := place{Message: x.Message}
		if len(x.Frames) > 0 && x.Frames[0].Project {
			e.File, e.Line = x.Frames[0].File, x.Frames[0].Line
		}
		errors = append(errors, e)
	}
	body := map[string]any{
		"type": "about:blank", "title": x.Title, "status": x.Status, "request_id": x.RequestID,
		"page": x.Page, "build": x.Build, "errors": errors,
	}
	if x.Message != "" {
		body["detail"] = x.Message
	}
	if len(x.Output) > 0 {
		body["output"] = x.Output
	}
	json.NewEncoder(w).Encode(body)
}

// writeText writes text for a terminal.
func (x explanation) writeText(w io.Writer) {
	fmt.Fprintf(w, "%d %s\n", x.Status, x.Title)
	if x.Message != "" {
		fmt.Fprintln(w, x.Message)
	}
	for _, p := range x.Problems {
		fmt.Fprintf(w, "\n%s\n", p.String())
		for _, line := range p.Source {
			mark := "  "
			if line.Here {
				mark = "> "
			}
			fmt.Fprintf(w, "  %s%4d | %s\n", mark, line.Number, line.Text)
			if line.Caret != "" {
				fmt.Fprintf(w, "         | %s\n", line.Caret)
			}
		}
	}
	if len(x.Frames) > 0 {
		fmt.Fprintln(w)
		for _, f := range x.Frames {
			fmt.Fprintf(w, "  %s:%d  %s\n", f.File, f.Line, f.Call)
		}
	} else if len(x.Output) > 0 {
		fmt.Fprintf(w, "\n  %s\n", strings.Join(x.Output, "\n  "))
	}
}
