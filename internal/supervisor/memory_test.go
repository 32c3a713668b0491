package supervisor

import (
	"testing"
	"time"

	"tqserver/internal/process"
)

// limitMemory has workers take at most 100 MiB from now on.
func (s *harness) limitMemory() {
	cfg := s.settings()
	cfg.worker.MaxMemory = 100 * mebibyte
	s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
	s.after(time.Second)
}

func TestAWorkerThatTakesTooMuchMemoryIsReplaced(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.limitMemory()
		s.set(func() { s.memory = 100 * mebibyte })
		old := s.wantServing("v1")
		s.after(time.Hour)
		if s.wantServing("v1") != old {
			t.Fatal("it was replaced with as much as it may take")
		}
		s.set(func() { s.memory++ })
		s.after(memoryInterval)
		s.set(func() { s.memory = 0 })
		s.after(time.Second)
		if s.wantServing("v1") == old || old.stopCount() != 1 {
			t.Error("it was not replaced")
		}
		s.wantMessage("the worker uses more memory than max_memory: starting a replacement")
		if s.state().Restarts != 0 {
			t.Error("that counts as a crash")
		}
	})
}

func TestWorkersThatGrowAreReplacedAsOftenAsTheyDo(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.limitMemory()
		before := s.startCount()
		seen := make(map[int]time.Time) // workers
		usage := func(pid int) (process.Usage, error) {
			if _, ok := seen[pid]; !ok {
				seen[pid] = time.Now()
			}
			return process.Usage{Memory: 50*mebibyte + int64(40*time.Since(seen[pid]).Seconds()*mebibyte)}, nil
		}
		s.page.call(func() { s.page.usage = usage })
		for range 240 {
			s.request()
			s.after(time.Minute / 240)
		}
		if n := s.startCount() - before; n < 25 || n > 40 {
			t.Errorf("in a minute %d workers were replaced that were too large after 1.25 s of requests each", n)
		}
		before = s.startCount()
		s.after(10 * time.Minute)
		if n := s.startCount() - before; n < 10 || n > 35 {
			t.Errorf("in 10 minutes without a request %d were replaced", n)
		}
	})
}

func TestALimitThatIsTooLowReplacesSeldom(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.limitMemory()
		before := s.startCount()
		s.set(func() { s.memory = 200 * mebibyte })
		s.after(10 * time.Minute)
		if n := s.startCount() - before; n < 10 || n > 35 {
			t.Errorf("in 10 minutes there were %d replacements", n)
		}
	})
}

func TestWithoutALimitMemoryIsNotLookedAt(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.page.usage = nil
		s.after(time.Hour)
		s.wantServing("v1")
	})
}
