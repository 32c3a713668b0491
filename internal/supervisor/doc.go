// Package supervisor decides who lives: it turns pages on disk into workers,
// replaces them when there is reason to, and starts them again when they end.
//
// Each page has one goroutine, its actor, that owns all there is of the page:
// its newest build, its workers, its route. An actor never waits for anything;
// builds, starts, probes and drains run beside it and come back as results,
// and a result that is no longer asked for is only cleaned up after. Run
// returns when every actor has, and an actor when all it started has ended and
// every process is reaped.
//
// What is decided is in policy.go, as functions of nothing but their
// arguments.
package supervisor
