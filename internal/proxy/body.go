package proxy

import (
	"errors"
	"io"
	"sync/atomic"
)

var errOver = errors.New("read of a body after the end of its request")

// requestBody is a client's body on its way to the worker. Closing it does
// nothing, because net/http closes it when an attempt failed and another may
// follow; the server closes the real one. A nil one is none.
type requestBody struct {
	io.ReadCloser
	x      *exchange
	read   atomic.Bool // somebody began to
	reads  atomic.Bool // a read is under way
	ended  atomic.Bool
	failed atomic.Bool
	closed atomic.Bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errOver
	}
	b.read.Store(true)
	b.reads.Store(true)
	b.x.moved() // the worker took what was read before
	n, err := b.ReadCloser.Read(p)
	b.reads.Store(false)
	switch {
	case err == io.EOF:
		b.ended.Store(true)
	case err != nil:
		b.failed.Store(true)
	}
	b.x.moved()
	return n, err
}

func (b *requestBody) Close() error { return nil }

func (b *requestBody) shut() {
	if b != nil {
		b.closed.Store(true)
	}
}

func (b *requestBody) touched() bool { return b != nil && b.read.Load() }
func (b *requestBody) reading() bool { return b != nil && b.reads.Load() }
func (b *requestBody) pending() bool { return b != nil && !b.ended.Load() }
func (b *requestBody) broken() bool  { return b != nil && b.failed.Load() }

// responseBody is a worker's answer on its way to the client.
type responseBody struct {
	io.ReadCloser
	x *exchange
}

func (b *responseBody) Read(p []byte) (int, error) {
	b.x.moved() // what was read before was written
	n, err := b.ReadCloser.Read(p)
	b.x.moved()
	if err != nil && err != io.EOF && b.x.ended() {
		err = io.EOF // the stream ends as if the page had ended it
	}
	return n, err
}
