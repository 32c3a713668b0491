package live

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tqserver/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout is what a test waits for what must come.
const testTimeout = 30 * time.Second

// newLive returns a Live that does not run: follow applies changes.
func newLive(t *testing.T, pages ...state.Page) *Live {
	t.Helper()
	src := fakeSource{state.NewStore(state.Server{Development: true})}
	l := New(Options{Source: src, Root: t.TempDir(), Epoch: "10", Warn: src.warn})
	for _, p := range pages {
		l.follow(p)
	}
	return l
}

func (l *Live) follow(p state.Page) {
	l.apply(context.Background(), state.Update{Events: []state.Event{{Page: &p}}})
}

// store is what the source of newLive reads.
func (l *Live) store() *state.Store { return l.src.(fakeSource).Store }

// fakeSource takes no commands.
type fakeSource struct{ *state.Store }

func (fakeSource) Do(context.Context, state.Command) error { return errors.ErrUnsupported }

func (s fakeSource) warn(message string, attrs ...state.Attr) {
	s.Publish(state.Event{Level: state.LevelWarn, Message: message, Attrs: attrs})
}

// behindProxy answers as the proxy would.
func (l *Live) behindProxy(route string, page http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		dressed, end := l.Dress(w, r, route)
		whole := false
		defer func() { end(whole) }()
		page(dressed, r)
		whole = true
	}
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	srv.Client().Timeout = testTimeout
	srv.Client().Transport.(*http.Transport).DisableCompression = true
	return srv
}
