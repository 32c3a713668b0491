// Package process keeps child processes: it starts them, hears when they are
// ready, reads what they print, stops them and reaps them.
//
// Three things see to it that no child outlives the server, however the
// server ends: a pipe whose end a worker of pkg/worker watches, the parent
// death signal where the kernel has one, and a guardian, the same program
// started again, which kills the process groups it was told of when its
// standard input ends. The first ends a worker in order, the second needs
// nothing of the worker, the third reaches the worker's own children too.
//
// The guardian also puts the terminal of a server that died back in order.
//
// Every goroutine belongs to a [Process] and has ended when its Done channel
// is closed, or to the [Parent] and has ended when Close returns.
package process
