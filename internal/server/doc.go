// Package server puts the engine together: it listens, wires the parts, reads
// the configuration again when it was saved, writes down what happens, and
// starts and stops everything in order.
//
// Every goroutine it starts has ended when Run returns, but for one that is
// stuck writing to a console that nobody reads.
package server
