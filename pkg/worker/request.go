package worker

import (
	"context"
	"log/slog"
	"net/http"
)

type requestKey struct{}

// requestContext is the context of a request that came through the server. It
// replaces a context.WithValue and its value by one allocation.
type requestContext struct {
	context.Context
	id          string // X-Request-ID
	traceparent string // https://www.w3.org/TR/trace-context-1/#traceparent-header
}

// Value returns the requestContext itself, or a value of the context above.
func (c *requestContext) Value(key any) any {
	if key == (requestKey{}) {
		return c
	}
	return c.Context.Value(key)
}

func requestOf(ctx context.Context) *requestContext {
	c, _ := ctx.Value(requestKey{}).(*requestContext)
	return c
}

// addRequestContext adds the server's ids of a request to its context. It changes
// the request in place, because net/http cleans up only the original: it would
// leave files of a form behind.
func addRequestContext(r *http.Request) {
	id, traceparent := r.Header.Get("X-Request-Id"), r.Header.Get("Traceparent")
	if id == "" && traceparent == "" {
		return
	}
	*r = *r.WithContext(&requestContext{r.Context(), id, traceparent})
}

// RequestID returns the server's id of the request that ctx belongs to: the
// X-Request-ID that its client sees and the access log contains. It is empty if ctx
// does not belong to a request that the server sent to [Runtime.StartServer]. For a
// request sent without the server it is the header X-Request-ID, unchecked.
func RequestID(ctx context.Context) string {
	if c := requestOf(ctx); c != nil {
		return c.id
	}
	return ""
}

// Logger returns a logger for the request that ctx belongs to: [slog.Default], as
// it is now, with the attributes request_id, and trace_id and span_id of the
// request's traceparent (https://www.w3.org/TR/trace-context-1/). The span is the
// one that the server made for the request. If there is no such request (see
// [RequestID]), Logger returns slog.Default itself.
func Logger(ctx context.Context) *slog.Logger {
	log := slog.Default()
	c := requestOf(ctx)
	if c == nil {
		return log
	}
	if c.id != "" {
		log = log.With("request_id", c.id)
	}
	// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
	if t := c.traceparent; len(t) >= 55 && t[2] == '-' && t[35] == '-' && t[52] == '-' {
		log = log.With("trace_id", t[3:35], "span_id", t[36:52])
	}
	return log
}
