package live

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tqserver/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is what a test waits for what must come.
const patience = 30 * time.Second

// newLive follows nothing by itself: what happens it is told by follow.
func newLive(t *testing.T, pages ...state.Page) *Live {
	t.Helper()
	l := New(state.NewStore(state.Server{Root: t.TempDir(), Started: time.UnixMilli(36), Development: true}))
	for _, p := range pages {
		l.follow(p)
	}
	return l
}

func (l *Live) follow(p state.Page) { l.take(state.Update{Events: []state.Event{{Page: &p}}}) }

// door answers as the proxy would.
func (l *Live) door(route string, page http.HandlerFunc) http.HandlerFunc {
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
	srv.Client().Timeout = patience
	srv.Client().Transport.(*http.Transport).DisableCompression = true
	return srv
}
