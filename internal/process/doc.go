// Package process runs child processes: it starts them, learns when they are ready,
// reads their output, stops them and reaps them.
//
// Three mechanisms end the children of a server that ends, however it ends: a
// pipe that workers of pkg/worker watch, the parent death signal where the kernel
// has one, and a guardian. The guardian is the same program, started again. When
// its standard input ends, it kills the process groups that the server has named.
// The pipe ends a worker in order, the signal needs no help of the worker, and the
// guardian reaches the children of workers too.
//
// If the server dies, the guardian also restores its terminal.
//
// Every goroutine belongs to a [Process] and has ended when its Done channel
// is closed, or to the [Parent] and has ended when Close returns.
package process
