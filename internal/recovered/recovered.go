// Package recovered carries a panic from a goroutine to the one that waits for it.
// What comes from outside may make a decoder or a parser panic; that is to end its
// request and not the server. The package starts no goroutines.
package recovered

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Panic is the error of a function that panicked.
type Panic struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.Value, p.Stack) }

// Call calls a function. If it panics the error is a [Panic].
func Call(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{v, debug.Stack()}
		}
	}()
	return f()
}

// Rethrow panics with an error that is a [Panic].
func Rethrow(err error) {
	if p, ok := errors.AsType[*Panic](err); ok {
		panic(p)
	}
}
