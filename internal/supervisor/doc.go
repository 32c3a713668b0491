// Package supervisor decides which workers live: it turns pages on disk into
// workers, replaces them when there is a reason, and starts them again when they
// exit.
//
// Each page has one goroutine, its actor, which owns everything about the page: its
// newest build, its workers, its route. What the actor does about an event is decided
// by next, a pure function of the page, the event and the situation: it has no I/O
// and no clock. The actor only carries out the effects. Builds, starts, health
// checks, drains and whatever else may take time run in goroutines beside it, whose
// results come back as events. If an event is about an attempt that was given up
// meanwhile, its process or port is only cleaned up.
//
// The Supervisor itself finds the pages on disk, starts and removes their actors, and
// passes changes of files, settings and commands on to them. Its Run returns when
// every actor has returned, and an actor when everything that it started has ended
// and every process is reaped.
package supervisor
