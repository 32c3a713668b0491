package supervisor

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	out := newOutput(&deps{store: state.NewStore(state.Server{}), openLog: func(config.LogFile, string) Log { return &slowLog{late: &late} }}, "/", config.LogFile{Name: "a"})
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
		out.setFile(config.LogFile{Name: template})
	}
	writing.Wait()
	out.close()
	if n := late.Load(); n > 0 {
		t.Errorf("%d of 40 lines", n)
	}
}

// textLog keeps what is written to it.
type textLog struct{ text []byte }

func (l *textLog) Write(b []byte) (int, error) { l.text = append(l.text, b...); return len(b), nil }
func (l *textLog) Close() error                { return nil }
func (l *textLog) Path() string                { return "" }

func TestTheFileHasWhatWasPrintedAndPeopleSeeItsLastState(t *testing.T) {
	store, log := state.NewStore(state.Server{}), new(textLog)
	out := newOutput(&deps{store: store, openLog: func(config.LogFile, string) Log { return log }}, "/", config.LogFile{Name: "a"})
	printed := "plain\nprogress 0%\rprogress 50%\rdone \x1b[K\nover\rthere\r\n\r\nwindows\r\n"
	out.write(1, false, []byte(printed))
	out.writePartial(1, false, []byte("connecting ...\rconnected, waiting ...\r"))
	out.writePartial(1, true, []byte("\r"))
	want := []string{"plain", "done \x1b[K", "there", "", "windows", "connected, waiting ..."}
	var got []string
	for _, line := range store.Lines("/", 100) {
		got = append(got, line.Text)
		if line.Partial != (line.Text == "connected, waiting ...") {
			t.Errorf("%q is open: %v", line.Text, line.Partial)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("people see (-want +got):\n%s", diff)
	}
	if string(log.text) != printed {
		t.Errorf("the file has %q, want %q", log.text, printed)
	}
}
