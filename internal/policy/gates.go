package policy

import "tqserver/internal/config"

// gateKinds are the kinds of gates, in the order in which a request meets them.
var gateKinds = []gateKind{
	kind(func(s config.PathSettings) int { return s.MaxBodyBytes }, limitBody),
}

// A gateKind makes gates of one option.
type gateKind struct {
	option func(config.PathSettings) any
	gate   func(option any) Gate
}

// kind returns the kind of gates that are made from an option. An option whose gate
// has state is a pointer, which the paths that inherit the option have in common:
// so they have the gate in common too. A gate may be nil, for none.
func kind[T comparable](option func(config.PathSettings) T, gate func(T) Gate) gateKind {
	return gateKind{
		option: func(s config.PathSettings) any { return option(s) },
		gate:   func(option any) Gate { return gate(option.(T)) },
	}
}
