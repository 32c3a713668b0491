package supervisor

import (
	"crypto/rand"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// environ returns the environment of a worker.
func (a *actor) environ(w worker, socket string) []string {
	procs := w.settings.GoMaxProcs
	if procs == 0 {
		procs = runtime.NumCPU()
	}
	own := map[string]string{
		"TQ_PORT":                     strconv.Itoa(w.port),
		"TQ_SOCKET":                   socket,
		"TQ_MAX_REQUESTS":             strconv.Itoa(w.settings.MaxRequests),
		"TQ_READ_TIMEOUT_SECONDS":     seconds(w.settings.ReadTimeout),
		"TQ_WRITE_TIMEOUT_SECONDS":    seconds(w.settings.WriteTimeout),
		"TQ_IDLE_TIMEOUT_SECONDS":     seconds(w.settings.IdleTimeout),
		"TQ_SHUTDOWN_GRACE_PERIOD_MS": strconv.FormatInt(w.settings.ShutdownGracePeriod.Milliseconds(), 10),
		"TQ_LOG_FILE":                 a.out.path(),
		"TQ_ROUTE":                    a.page.route,
		"TQ_BUILD":                    strconv.Itoa(w.build),
		"PWD":                         a.root, // with links, as the user names the project
		"GOMAXPROCS":                  strconv.Itoa(procs),
		"GOMEMLIMIT":                  w.settings.GoMemLimit,
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		_, ours := own[key]
		return ours || strings.HasPrefix(key, "TQ_")
	})
	for key, value := range own {
		env = append(env, key+"="+value)
	}
	return env
}

// newSocketName returns a name that nobody can guess for a Unix socket, or nothing
// where there are no abstract sockets. These are no files, and end with the process
// that listens (unix(7)).
func newSocketName() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return "@tqserver/" + rand.Text()
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
