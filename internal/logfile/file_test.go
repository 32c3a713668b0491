package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLinesGoToTheFileOfTheirDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := open(t, filepath.Join(dir, "logs/{date}/server_{date}.log"))
		setClock(t, "2000-01-01 23:59:59")
		today := f.Path()
		write(t, f, "today\n")
		setClock(t, "2000-01-02 00:00:00")
		tomorrow := f.Path()
		write(t, f, "tomorrow\n")
		closeFile(t, f)

		if want := filepath.Join(dir, "logs/2000-01-01/server_2000-01-01.log"); today != want {
			t.Errorf("path is %s; want %s", today, want)
		}
		wantFile(t, today, "today\n")
		wantFile(t, tomorrow, "tomorrow\n")
	})
}

func TestALineGoesToTheFileOfTheDayOnWhichItWasMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		disk := &fakeDisk{space: 1 << 20, hang: make(chan struct{})}
		f := open(t, filepath.Join(dir, "{date}.log"))
		f.open = disk.open
		setClock(t, "2000-01-01 23:59:58")
		write(t, f, "first\n") // the disk has the line, and hangs
		synctest.Wait()
		write(t, f, "today\n")
		made := time.Now()
		setClock(t, "2000-01-02 00:00:01")
		write(t, f, "tomorrow\n")
		f.WriteLines(made, []byte("today, told late\n"))
		close(disk.hang)
		synctest.Wait()
		f.WriteLines(made, []byte("today, told later\n"))
		write(t, f, "and on\n")
		closeFile(t, f)
		wantFile(t, filepath.Join(dir, "2000-01-01.log"), "first\ntoday\ntoday, told late\ntoday, told later\n")
		wantFile(t, filepath.Join(dir, "2000-01-02.log"), "tomorrow\nand on\n")
	})
}

func TestOnlyPlaceholdersOfTheNameAreReplaced(t *testing.T) {
	t.Parallel()
	day := time.Date(2000, 1, 2, 3, 4, 5, 0, time.Local)
	for want, template := range map[string]Template{
		"": {Root: "/srv"},
		"/srv/{date}/{path}/logs/shop/2000-01-02.log":    {Root: "/srv/{date}/{path}", Name: "logs/{path}/{date}.log", Page: "shop"},
		"/srv/logs/{date}/{path}/2000-01-02.log":         {Root: "/srv", Name: "logs/{path}/{date}.log", Page: "{date}/{path}"},
		"/var/log/2000-01-02/2000-01-02/shop/cart/a.log": {Name: "/var/log/{date}/{date}/{path}/a.log", Page: "shop/cart"},
		"/srv/logs/a.log": {Root: "/srv", Name: "logs/a.log"},
	} {
		if got := template.PathOn(day); got != want {
			t.Errorf("%+v is %s; want %s", template, got, want)
		}
	}
}

// This test renames the folder of a project and puts another in its place.
func TestNothingIsMadeWhereTheProjectWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := t.TempDir()
		root, away := filepath.Join(base, "app"), filepath.Join(base, "away")
		os.Mkdir(root, 0o755)
		f := Open(Template{Root: root, Name: "logs/{date}.log"}, func(lost uint64, err error) { t.Errorf("%d lines lost: %v", lost, err) })
		setClock(t, "2000-01-01 12:00:00")
		write(t, f, "one\n")
		synctest.Wait()
		os.Rename(root, away)
		for range 3 {
			wait(10 * time.Second)
			write(t, f, "two\n")
		}
		setClock(t, "2000-01-02 12:00:00") // the next day has no other place
		write(t, f, "three\n")
		synctest.Wait()
		if _, err := os.Stat(root); err == nil {
			t.Error("the folder is made again under its old name")
		}
		wantFile(t, filepath.Join(away, "logs/2000-01-01.log"), "one\ntwo\ntwo\ntwo\nthree\n")
		os.Mkdir(root, 0o755)
		wait(10 * time.Second)
		write(t, f, "four\n")
		synctest.Wait()
		wantFile(t, filepath.Join(root, "logs/2000-01-02.log"), "four\n")
		remove(t, filepath.Join(root, "logs"))
		wait(10 * time.Second)
		wantFile(t, filepath.Join(root, "logs/2000-01-02.log"), "")
		closeFile(t, f)
	})
}

// The loss is reported when there is a project again.
func TestLinesOfAProjectThatWasDeletedAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		root := filepath.Join(t.TempDir(), "app")
		os.Mkdir(root, 0o755)
		var warned warnings
		f := Open(Template{Root: root, Name: "a/b/x.log"}, warned.add)
		write(t, f, "one\n")
		synctest.Wait()
		remove(t, root)
		wait(time.Hour)
		for range 5 {
			write(t, f, "lost\n")
			wait(time.Hour)
		}
		if len(warned.got) > 0 {
			t.Errorf("warned of %v while there is no project", warned.got)
		}
		if _, err := os.Stat(root); err == nil {
			t.Error("the folder is made again")
		}
		os.Mkdir(root, 0o755)
		wait(time.Minute)
		write(t, f, "two\n")
		wait(time.Minute)
		wantFile(t, f.Path(), "two\n")
		if diff := cmp.Diff([]warning{{Lost: 5}}, warned.got); diff != "" {
			t.Errorf("warned (-want +got):\n%s", diff)
		}
		closeFile(t, f)
	})
}

func TestLinesFollowWhatTheFileHolds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ before, want string }{
		"whole lines": {"old\n", "old\nnew\n"},
		"half a line": {"old\nhal", "old\nhal\nnew\n"},
		"nothing":     {"", "new\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a.log")
			if err := os.WriteFile(path, []byte(test.before), 0o600); err != nil {
				t.Fatal(err)
			}
			f := open(t, path)
			write(t, f, "new\n")
			closeFile(t, f)
			wantFile(t, path, test.want)
		})
	}
}

func TestWritersNeverSplitEachOthersLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	one, two := open(t, path), open(t, path)
	const writers, lines = 8, 500
	var writing sync.WaitGroup
	for w := range writers {
		f := one
		if w%2 == 1 {
			f = two
		}
		writing.Go(func() {
			for i := range lines {
				write(t, f, fmt.Sprintf("%d %d %s\n", w, i, strings.Repeat("x", i)))
			}
		})
	}
	writing.Wait()
	closeFile(t, one)
	closeFile(t, two)

	next := make([]int, writers)
	for line := range strings.Lines(read(t, path)) {
		var w, i int
		var rest string
		fmt.Sscanf(line, "%d %d %s", &w, &i, &rest)
		if i != next[w] || rest != strings.Repeat("x", i) || !strings.HasSuffix(line, "\n") {
			t.Fatalf("writer %d should have line %d here, and the line is %.80q", w, next[w], line)
		}
		next[w]++
	}
	for w, n := range next {
		if n != lines {
			t.Errorf("writer %d has %d lines; want %d", w, n, lines)
		}
	}
}

func TestALineThatAnotherFileIsWritingIsNotEnded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	one, two := open(t, path), open(t, path)
	one.open = func(path string) (handle, error) {
		file, err := openForAppend(path)
		return &halfFile{handle: file, between: func() {
			write(t, two, "in one\n")
			closeFile(t, two)
		}}, err
	}
	write(t, one, "in two halves\n")
	closeFile(t, one)
	wantFile(t, path, "in two in one\nhalves\n")

	three := open(t, path)
	write(t, three, "half")
	closeFile(t, three)
	four := open(t, path)
	write(t, four, "whole\n")
	closeFile(t, four)
	wantFile(t, path, "in two in one\nhalves\nhalf\nwhole\n")
}

// A halfFile writes its first lines in two parts.
type halfFile struct {
	handle
	between func()
}

func (f *halfFile) Write(p []byte) (int, error) {
	n, err := f.handle.Write(p[:len("in two ")])
	f.between()
	m, err2 := f.handle.Write(p[n:])
	return n + m, errors.Join(err, err2)
}

func TestALockOfAnotherProgramStopsNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	other, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	write(t, f, "line\n")
	closeFile(t, f)
	wantFile(t, path, "line\n")
}

func TestNothingHappensBeforeTheFirstLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, filepath.Join(dir, "logs/a.log"))
	write(t, f, "")
	if f.wake != nil || f.queue != nil {
		t.Error("a File without lines has a goroutine or a buffer")
	}
	closeFile(t, f)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the folder holds %v, %v; want nothing", entries, err)
	}
}

func TestAnEmptyTemplateDiscards(t *testing.T) {
	t.Parallel()
	f := Open(Template{Name: ""}, nil)
	write(t, f, "line\n")
	if f.wake != nil || f.Path() != "" {
		t.Errorf("a File that discards runs a goroutine or has the path %q", f.Path())
	}
	closeFile(t, f)
}

func TestCloseIsIdempotentAndEndsWriting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	f := open(t, path)
	write(t, f, "kept\n")
	var closing sync.WaitGroup
	for range 4 {
		closing.Go(func() { closeFile(t, f) })
	}
	closing.Wait()
	write(t, f, "discarded\n")
	closeFile(t, f)
	wantFile(t, path, "kept\n")
}

func TestADeletedFolderIsMadeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "logs")
		f := open(t, filepath.Join(dir, "a.log"))
		write(t, f, "one\n")
		synctest.Wait()
		remove(t, dir)
		write(t, f, "lost with the folder\n")
		wait(10 * time.Second)
		wantFile(t, f.Path(), "")

		remove(t, dir)
		write(t, f, "two\n")
		synctest.Wait()
		wantFile(t, f.Path(), "two\n")
		closeFile(t, f)
	})
}

func TestADeletedFolderIsMadeAgainThoughNothingIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "logs")
		f := open(t, filepath.Join(dir, "a.log"))
		write(t, f, "one\n")
		time.Sleep(time.Hour)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantFile(t, filepath.Join(dir, "a.log"), "")
		closeFile(t, f)
	})
}

func TestAFileThatWasMovedAwayIsMadeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.log")
		f := open(t, path)
		write(t, f, "one\n")
		synctest.Wait()
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("another\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		wait(checkEvery)
		write(t, f, "two\n")
		closeFile(t, f)
		wantFile(t, path+".1", "one\n")
		wantFile(t, path, "another\ntwo\n")
	})
}

func TestLostLinesAreReportedOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		blocker := filepath.Join(dir, "logs")
		if err := os.WriteFile(blocker, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		var warnings warnings
		f := Open(Template{Name: filepath.Join(blocker, "a.log")}, warnings.add)
		for range 90 {
			write(t, f, "a\nb\n")
			wait(time.Second)
		}
		if len(warnings.got) != 2 || warnings.got[0] != (warning{2, 0}) || warnings.got[1].After < warnEvery {
			t.Errorf("warnings after 90 s are %v", warnings.got)
		}
		if !errors.Is(warnings.err, syscall.ENOTDIR) {
			t.Errorf("the reason is %v; want ENOTDIR", warnings.err)
		}

		remove(t, blocker)
		wait(retryAfter)
		write(t, f, "c\n")
		synctest.Wait()
		wantFile(t, f.Path(), "c\n")
		wait(time.Hour)
		closeFile(t, f)
		if len(warnings.got) != 3 || warnings.total() != 180 || warnings.got[2].After < 2*warnEvery {
			t.Errorf("warnings for 180 lost lines are %v", warnings.got)
		}
	})
}

func TestWarnMayWriteToItsFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		blocker := filepath.Join(t.TempDir(), "logs")
		if err := os.WriteFile(blocker, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		var f *File
		f = Open(Template{Name: filepath.Join(blocker, "a.log")}, func(lost uint64, err error) {
			fmt.Fprintf(f, "%d lost\n", lost)
		})
		write(t, f, "a\n")
		synctest.Wait()
		remove(t, blocker)
		wait(2 * warnEvery)
		closeFile(t, f)
		wantFile(t, f.Path(), "1 lost\n")
	})
}

func TestADiskThatFillsUpLeavesWholeLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := &fakeDisk{space: 1 << 20}
		var warnings warnings
		f := Open(Template{Name: filepath.Join(t.TempDir(), "a.log")}, warnings.add)
		f.open = disk.open

		write(t, f, "one\n")
		synctest.Wait()
		disk.space = 6
		write(t, f, "two\nthree\nfour\n")
		synctest.Wait()
		disk.space = 1 << 20
		write(t, f, "too soon\n")
		wait(retryAfter)
		write(t, f, "five\n")
		wait(2 * warnEvery)
		closeFile(t, f)

		wantFile(t, f.Path(), "one\ntwo\nth\nfive\n")
		if want := []warning{{2, 0}, {1, time.Minute}}; !cmp.Equal(want, warnings.got) {
			t.Errorf("warnings are %v; want %v", warnings.got, want)
		}
		if !errors.Is(warnings.err, syscall.ENOSPC) {
			t.Errorf("the reason is %v; want ENOSPC", warnings.err)
		}
	})
}

func TestAFullDeviceStopsNobody(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	var warnings warnings
	f := Open(Template{Name: "/dev/full"}, warnings.add)
	write(t, f, "a\nb\n")
	closeFile(t, f)
	if warnings.total() != 2 || !errors.Is(warnings.err, syscall.ENOSPC) {
		t.Errorf("%d lines lost with %v; want 2 with ENOSPC", warnings.total(), warnings.err)
	}
}

func TestADiskThatHangsDelaysOneWriteAndNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := &fakeDisk{space: 1 << 30, hang: make(chan struct{})}
		var warnings warnings
		f := Open(Template{Name: filepath.Join(t.TempDir(), "a.log")}, warnings.add)
		f.open = disk.open

		line := strings.Repeat("x", 1<<20-1) + "\n"
		start := time.Now()
		for range 4 {
			write(t, f, line)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("writing to the queue took %v", took)
		}
		for range 100 {
			write(t, f, line)
		}
		if took := time.Since(start); took != writeTimeout {
			t.Errorf("writing to the full queue took %v; want %v", took, writeTimeout)
		}

		wait(time.Minute)
		close(disk.hang)
		synctest.Wait()
		write(t, f, "again\n")
		closeFile(t, f)
		wantFile(t, f.Path(), strings.Repeat(line, 4)+"again\n")
		if warnings.total() != 100 || !errors.Is(warnings.err, errBehind) {
			t.Errorf("%d lines lost with %v; want 100 with %v", warnings.total(), warnings.err, errBehind)
		}
	})
}

func TestAWriteWaitsForADiskThatIsOnlySlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := &fakeDisk{space: 1 << 30, hang: make(chan struct{})}
		f := open(t, filepath.Join(t.TempDir(), "a.log"))
		f.open = disk.open
		line := strings.Repeat("x", queueSize-1) + "\n"
		write(t, f, line)
		time.AfterFunc(writeTimeout/2, func() { close(disk.hang) })
		write(t, f, line)
		closeFile(t, f)
		wantFile(t, f.Path(), line+line)
	})
}

func TestCloseDoesNotWaitForADiskThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := &fakeDisk{space: 1 << 20, hang: make(chan struct{})}
		f := Open(Template{Name: filepath.Join(t.TempDir(), "a.log")}, nil)
		f.open = disk.open
		write(t, f, "a\n")
		start := time.Now()
		if err := f.Close(); err == nil {
			t.Error("closing a File whose disk hangs gives no error")
		}
		if took := time.Since(start); took != closeAfter {
			t.Errorf("closing took %v; want %v", took, closeAfter)
		}
		close(disk.hang)
		closeFile(t, f)
		wantFile(t, f.Path(), "a\n")
	})
}

func TestALineLargerThanTheQueueIsKept(t *testing.T) {
	t.Parallel()
	f := open(t, filepath.Join(t.TempDir(), "a.log"))
	line := strings.Repeat("x", 2*queueSize) + "\n"
	write(t, f, line)
	closeFile(t, f)
	wantFile(t, f.Path(), line)
}

func TestAnIdleFileHoldsNoBuffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, filepath.Join(t.TempDir(), "a.log"))
		for range 10 {
			write(t, f, "line\n")
			synctest.Wait()
		}
		wait(2 * checkEvery)
		f.mu.Lock()
		queue := f.queue
		f.mu.Unlock()
		if queue != nil {
			t.Errorf("an idle File holds %d bytes", cap(queue))
		}
		write(t, f, "line\n")
		closeFile(t, f)
		wantFile(t, f.Path(), strings.Repeat("line\n", 11))
	})
}

func BenchmarkWrite(b *testing.B) {
	f := Open(Template{Name: filepath.Join(b.TempDir(), "a.log")}, nil)
	defer f.Close()
	line := []byte(strings.Repeat("x", 99) + "\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		f.Write(line)
	}
}

// A fakeDisk has little space, or hangs.
type fakeDisk struct {
	space int           // bytes left
	hang  chan struct{} // writes wait until it is closed; may be nil
}

func (d *fakeDisk) open(path string) (handle, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	return &fakeFile{file, d}, err
}

type fakeFile struct {
	*os.File
	disk *fakeDisk
}

func (f *fakeFile) Write(p []byte) (int, error) {
	if f.disk.hang != nil {
		<-f.disk.hang
	}
	fits := min(len(p), f.disk.space)
	n, err := f.File.Write(p[:fits])
	f.disk.space -= n
	if err == nil && n < len(p) {
		err = &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return n, err
}

type warning struct {
	Lost  uint64
	After time.Duration // since the first
}

// warnings collects the reports of a File. Read it when the File is idle.
type warnings struct {
	got   []warning
	err   error
	first time.Time
}

func (w *warnings) add(lost uint64, err error) {
	if w.first.IsZero() {
		w.first = time.Now()
	}
	w.got = append(w.got, warning{lost, time.Since(w.first)})
	w.err = err
}

func (w *warnings) total() (lost uint64) {
	for _, warning := range w.got {
		lost += warning.Lost
	}
	return lost
}

// open returns a File that must not lose lines.
func open(t *testing.T, template string) *File {
	return Open(Template{Name: template}, func(lost uint64, err error) { t.Errorf("%d lines lost: %v", lost, err) })
}

func write(t *testing.T, f *File, lines string) {
	t.Helper()
	if n, err := f.Write([]byte(lines)); n != len(lines) || err != nil {
		t.Errorf("Write gives %d, %v; want %d, nil", n, err, len(lines))
	}
}

func closeFile(t *testing.T, f *File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// wait lets d pass in a bubble and waits for the goroutines.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// setClock lets time pass in a bubble until the local clock shows a time.
func setClock(t *testing.T, clock string) {
	t.Helper()
	then, err := time.ParseInLocation(time.DateTime, clock, time.Local)
	if err != nil {
		t.Fatal(err)
	}
	wait(time.Until(then))
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if got := read(t, path); got != want {
		t.Errorf("%s holds %s; want %s", filepath.Base(path), shorten(got), shorten(want))
	}
}

func shorten(text string) string {
	if len(text) <= 200 {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%.100q… (%d bytes, %d lines)", text, len(text), bytes.Count([]byte(text), []byte{'\n'}))
}
