// Package policy says what holds for the requests of a path, and what the server
// answers if a request must not go on.
package policy
