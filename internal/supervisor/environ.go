package supervisor

import (
	"crypto/rand"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"tqserver/internal/process"
)

// processSpec says how the worker is run.
func (p *page) processSpec(a *startAttempt) process.Spec {
	w := p.cfg.worker
	procs := w.GoMaxProcs
	if procs == 0 {
		procs = runtime.NumCPU()
	}
	own := map[string]string{
		"TQ_PORT":                     strconv.Itoa(a.port),
		"TQ_SOCKET":                   a.socket,
		"TQ_MAX_REQUESTS":             strconv.Itoa(w.MaxRequests),
		"TQ_READ_TIMEOUT_SECONDS":     seconds(w.ReadTimeout),
		"TQ_WRITE_TIMEOUT_SECONDS":    seconds(w.WriteTimeout),
		"TQ_IDLE_TIMEOUT_SECONDS":     seconds(w.IdleTimeout),
		"TQ_SHUTDOWN_GRACE_PERIOD_MS": strconv.FormatInt(w.ShutdownGracePeriod.Milliseconds(), 10),
		"TQ_LOG_FILE":                 p.out.path(),
		"TQ_ROUTE":                    p.route,
		"TQ_BUILD":                    strconv.Itoa(a.build),
		"PWD":                         p.root, // as the project is called, links and all
		"GOMAXPROCS":                  strconv.Itoa(procs),
		"GOMEMLIMIT":                  w.GoMemLimit,
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		_, ours := own[key]
		return ours || strings.HasPrefix(key, "TQ_")
	})
	for key, value := range own {
		env = append(env, key+"="+value)
	}
	return process.Spec{Path: a.binary, Dir: p.root, Env: env}
}

// newSocketName returns a name that nobody else can know. It is one of Linux, which
// knows names that are no files and end with who listens (unix(7), "abstract").
func newSocketName() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return "@tqserver/" + rand.Text()
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
