package live

import (
	"errors"
	"io"
	"net/http/httptest"
	"testing"

	"tqserver/internal/recovered"
)

// A body on which a decoder panics ends its response and not the server.
func TestAPanicOfADecoderIsThatOfItsRequest(t *testing.T) {
	t.Parallel()
	for name, decode := range map[string]func(io.Reader) (io.ReadCloser, error){
		"at once":   func(io.Reader) (io.ReadCloser, error) { panic("boom") },
		"on a byte": func(r io.Reader) (io.ReadCloser, error) { return panicking{r}, nil },
	} {
		d := &dressed{ResponseWriter: httptest.NewRecorder()}
		d.startDecoding(decode)
		d.encoded.Write([]byte("text"))
		err := recovered.Call(func() error { d.finish(true); return nil })
		if _, ok := errors.AsType[*recovered.Panic](err); !ok {
			t.Errorf("%s: the response ends with %v", name, err)
		}
	}
}

// panicking panics of what it reads.
type panicking struct{ io.Reader }

func (p panicking) Read(b []byte) (int, error) {
	p.Reader.Read(b)
	panic("boom")
}

func (p panicking) Close() error { return nil }
