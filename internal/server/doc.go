// Package server assembles the engine: it listens, connects the parts, reloads the
// configuration when it is saved, and starts and stops everything in order.
//
// Every goroutine that it starts has ended when Run returns, except one that is
// stuck writing to a console that nobody reads.
package server
