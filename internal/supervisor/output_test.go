package supervisor

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/state"
)

// slowLog counts what is written to it after it was closed.
type slowLog struct {
	closed atomic.Bool
	late   *atomic.Int64
}

func (l *slowLog) Write(b []byte) (int, error) {
	<-time.After(time.Millisecond)
	if l.closed.Load() {
		l.late.Add(1)
	}
	return len(b), nil
}

func (l *slowLog) Close() error { l.closed.Store(true); return nil }
func (l *slowLog) Path() string { return "" }

func TestNoLineIsWrittenToAFileThatWasClosed(t *testing.T) {
	var late atomic.Int64
	out := newOutput(&house{store: state.NewStore(state.Server{}), openLog: func(config.LogFile, string) Log { return &slowLog{late: &late} }}, "/", config.LogFile{Name: "a"})
	var writing sync.WaitGroup
	for range 2 {
		writing.Go(func() {
			for range 20 {
				out.write(1, false, []byte("line\n"))
			}
		})
	}
	for _, template := range []string{"b", "c", "d", "e"} {
		<-time.After(3 * time.Millisecond)
		out.open(config.LogFile{Name: template})
	}
	writing.Wait()
	out.close()
	if n := late.Load(); n > 0 {
		t.Errorf("%d of 40 lines", n)
	}
}
