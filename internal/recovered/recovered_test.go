package recovered

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAPanicIsAnErrorUntilItIsRethrown(t *testing.T) {
	t.Parallel()
	err := Call(func() error { panic("boom") })
	if err == nil || !strings.Contains(err.Error(), "panic: boom") || !strings.Contains(err.Error(), "recovered_test.go") {
		t.Errorf("the error is %v", err)
	}
	if again := Call(func() error { Rethrow(fmt.Errorf("read: %w", err)); return nil }); again == nil || !strings.Contains(again.Error(), "boom") {
		t.Errorf("rethrown it is %v", again)
	}
}

func TestAnErrorIsNoPanic(t *testing.T) {
	t.Parallel()
	want := errors.New("an error")
	for _, err := range []error{nil, want} {
		got := Call(func() error { return err })
		if got != err {
			t.Errorf("%v became %v", err, got)
		}
		Rethrow(got)
	}
}
