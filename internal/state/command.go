package state

import (
	"fmt"
	"slices"
	"strings"
)

// Verb is what a command does.
type Verb string

// The verbs; [Commands] says what each does.
const (
	Rebuild  Verb = "rebuild"
	Restart  Verb = "restart"
	Start    Verb = "start"
	Stop     Verb = "stop"
	Kill     Verb = "kill"
	Reload   Verb = "reload"
	Pause    Verb = "pause"
	Resume   Verb = "resume"
	Shutdown Verb = "shutdown"
)

// Command is what a front end sends. Its success is visible in the state, like any other
// change.
type Command struct {
	Verb Verb   `json:"verb"`
	Page string `json:"page,omitempty"` // route; empty for the server, or for all pages
	Seat int    `json:"seat,omitempty"` // of a worker of the page, from 1; 0 for all
}

// Scope is the smallest thing on which a command acts.
type Scope int

// The scopes, from the largest.
const (
	ScopeServer Scope = iota
	ScopePage         // one page, or all if the command names none
	ScopeWorker       // one worker of a page, or all if the command names none
)

// String returns what has the scope.
func (s Scope) String() string { return [...]string{"the server", "pages", "workers"}[s] }

// CommandSpec describes the commands of a verb.
type CommandSpec struct {
	Verb   Verb
	Scope  Scope
	Key    string // that gives the command where there is a keyboard
	Help   string // what it does, in a few words
	Cannot string // what follows the page's route where the page is in no state for it
}

// CannotError says that a page is in no state for the command.
func (s CommandSpec) CannotError(route string) error { return fmt.Errorf("%s %s", route, s.Cannot) }

// Commands returns the table of commands. Front ends offer what is in it; what is
// not is refused by [Command.Spec].
func Commands() []CommandSpec {
	return []CommandSpec{
		{Restart, ScopeWorker, "r", "restart the page, without building and without downtime", "is stopped: start it first"},
		{Rebuild, ScopePage, "b", "rebuild the page, even if nothing changed", "is stopped: start it first"},
		{Stop, ScopePage, "x", "stop the page gracefully", "is already stopped"},
		{Start, ScopePage, "s", "start the page", "is already started"},
		{Kill, ScopePage, "X", "kill the page, without waiting for requests", "is already stopped"},
		{Pause, ScopeServer, "p", "pause watching: saved changes are built when it resumes", ""},
		{Resume, ScopeServer, "p", "resume watching", ""},
		{Reload, ScopeServer, "c", "reload the configuration", ""},
		{Shutdown, ScopeServer, "q", "shut the server down when the requests under way have ended", ""},
	}
}

// Spec returns the description of a command, or why no page and no state of the
// server makes sense of it.
func (c Command) Spec() (CommandSpec, error) {
	all := Commands()
	i := slices.IndexFunc(all, func(s CommandSpec) bool { return s.Verb == c.Verb })
	if i < 0 {
		names := make([]string, len(all))
		for i, s := range all {
			names[i] = string(s.Verb)
		}
		return CommandSpec{}, fmt.Errorf("unknown command %q: use one of %s", c.Verb, strings.Join(names, ", "))
	}
	s := all[i]
	switch {
	case s.Scope < ScopePage && c.Page != "":
		return s, fmt.Errorf("%s acts on %s: name no page", s.Verb, s.Scope)
	case s.Scope < ScopeWorker && c.Seat != 0:
		return s, fmt.Errorf("%s acts on %s: name no worker", s.Verb, s.Scope)
	}
	return s, nil
}
