// Package recovered carries a panic from a goroutine to the one that waits for it.
// Input from outside may make a decoder or a parser panic; that must end its
// request, not the server. The package starts no goroutines.
package recovered

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Panic is the error that Call returns for a panic.
type Panic struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.Value, p.Stack) }

// Call calls f. If f panics, it returns a [Panic].
func Call(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{v, debug.Stack()}
		}
	}()
	return f()
}

// Rethrow panics if err is a [Panic].
func Rethrow(err error) {
	if p, ok := errors.AsType[*Panic](err); ok {
		panic(p)
	}
}
