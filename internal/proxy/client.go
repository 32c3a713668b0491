package proxy

import (
	"context"
	"net"
	"net/http"
	"time"
)

// lookEvery is how often a client is looked after that net/http cannot look
// after.
const lookEvery = 50 * time.Millisecond

type connKey struct{}

// ConnContext is for http.Server.ConnContext. With it the proxy notices that a
// client left whose request body is still unread, which net/http does not, and
// that a client that reads slowly does read.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if tcp, ok := c.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			limitUnsent(raw)
		}
	}
	return context.WithValue(ctx, connKey{}, c)
}

// clientOf returns the connection that a request came on, or nil if it cannot
// be looked after.
func clientOf(r *http.Request) *net.TCPConn {
	conn, _ := r.Context().Value(connKey{}).(*net.TCPConn)
	return conn
}
