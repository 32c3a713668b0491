// Package policy says what holds for the requests of a path.
//
// [Compile] makes a [Table] of the configuration, and the proxy looks up the
// [Policy] of each request once. A policy has gates, which let a request pass or
// refuse it, and writers, which change the response on its way to the client.
// Both see a request as an [Exchange], whatever protocol the client speaks.
//
// A new gate is a file of its own and a line in gateKinds, which says from which
// option it is made. A gate may keep state: [Compile] keeps the gate itself as
// long as the option that it was made from stays as it is. The package starts no
// goroutines.
package policy
