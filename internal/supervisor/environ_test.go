package supervisor

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/state"
	pkg "tqserver/pkg/worker"
)

// TestWhatTheConfigurationAllowsAWorkerTakes gives a worker the environment that
// comes of each number: it is refused with its line, or means the same there.
func TestWhatTheConfigurationAllowsAWorkerTakes(t *testing.T) {
	for key, field := range map[string]func(*pkg.Runtime) int{
		"workers.default.max_requests":          func(r *pkg.Runtime) int { return r.MaxRequests },
		"workers.default.read_timeout_seconds":  func(r *pkg.Runtime) int { return r.ReadTimeout },
		"workers.default.write_timeout_seconds": func(r *pkg.Runtime) int { return r.WriteTimeout },
		"workers.default.idle_timeout_seconds":  func(r *pkg.Runtime) int { return r.IdleTimeout },
		"workers.shutdown_grace_period_ms":      func(r *pkg.Runtime) int { return r.ShutdownTimeout },
	} {
		t.Run(key, func(t *testing.T) {
			refused := 0
			for _, n := range []int64{0, 1, 30, math.MaxInt32 - 1, math.MaxInt32, math.MaxInt32 + 1, 3_000_000_000, math.MaxUint32, math.MaxInt64 / int64(time.Second), math.MaxInt64} {
				cfg, err := config.Parse("/site/server.yaml", yamlOf(key, n))
				if err != nil {
					refused++
					if !regexp.MustCompile(`^/site/server.yaml:[23]: ` + key + `: must be at most \d+, not ` + fmt.Sprint(n)).MatchString(err.Error()) {
						t.Errorf("%d is refused with %v", n, err)
					}
					continue
				}
				r, err := runtimeOf(t, cfg)
				if err != nil || int64(field(r)) != n {
					t.Errorf("%d is allowed, and a worker says %v", n, err)
				}
			}
			if refused != 5 {
				t.Errorf("%d numbers are refused", refused)
			}
		})
	}
}

func yamlOf(key string, n int64) []byte {
	var text strings.Builder
	for depth, name := range strings.Split(key, ".") {
		fmt.Fprintf(&text, "%s%s:\n", strings.Repeat("  ", depth), name)
	}
	return []byte(strings.TrimSuffix(text.String(), "\n") + fmt.Sprintf(" %d\n", n))
}

// runtimeOf is what a worker makes of the environment that it gets.
func runtimeOf(t *testing.T, cfg *config.Config) (*pkg.Runtime, error) {
	h := &deps{root: cfg.Root, store: state.NewStore(state.Server{}), openLog: func(config.LogFile, string) Log { return discardLog{} }}
	p := newActor(h, "/", cfg.Root, settings{worker: cfg.Worker("/")})
	w := worker{port: 9000, settings: cfg.Worker("/")}
	for _, kv := range p.prepare(w, settings{worker: w.settings}).spec.Env {
		if key, value, _ := strings.Cut(kv, "="); strings.HasPrefix(key, "TQ_") {
			t.Setenv(key, value)
		}
	}
	return pkg.NewRuntime()
}
