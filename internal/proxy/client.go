package proxy

import (
	"context"
	"net"
	"net/http"
	"time"
)

// lookEvery is how often a waiting client is looked after that net/http cannot
// look after.
const lookEvery = 100 * time.Millisecond

type connKey struct{}

// ConnContext is for http.Server.ConnContext: with it the proxy notices that a
// client left whose request body is still unread, which net/http does not.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// clientGone returns a channel that is closed when the client of a request
// with an unread body has left, and a function that ends the looking.
func clientGone(r *http.Request) (gone <-chan struct{}, stop func()) {
	conn, _ := r.Context().Value(connKey{}).(*net.TCPConn)
	if r.Body == nil || r.Body == http.NoBody || conn == nil {
		return nil, func() {}
	}
	left, done, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(ended)
		look := time.NewTicker(lookEvery)
		defer look.Stop()
		for {
			select {
			case <-look.C:
				if hungUp(conn) {
					close(left)
					return
				}
			case <-done:
				return
			}
		}
	}()
	return left, func() { close(done); <-ended }
}
