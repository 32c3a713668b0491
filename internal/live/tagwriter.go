package live

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// maxFirst is how many bytes of a document are searched for the place of the script.
const maxFirst = 64 << 10

// tagWriter inserts a tag into the document that is written to it.
type tagWriter struct {
	w     io.Writer
	tag   string
	begin func(tagged bool) // called before the first byte is written, if it is not nil
	flush bool              // after each write
	first []byte            // the beginning of the document, until the place of the tag is known
	done  bool              // the place is known
}

// buffers join the tag and the first piece of a document, so that one write sends
// both.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (p *tagWriter) Write(b []byte) (int, error) {
	err := p.write(b, final)
	if p.flush && err == nil {
		err = p.write(nil, usable)
		http.NewResponseController(p.w.(http.ResponseWriter)).Flush()
	}
	return len(b), err
}

// write writes more of the document, with the tag as soon as its place is as certain
// as needed.
func (p *tagWriter) write(b []byte, need certainty) error {
	if p.done {
		if len(b) == 0 {
			return nil
		}
		_, err := p.w.Write(b)
		return err
	}
	if len(p.first) > 0 {
		b = append(p.first, b...)
	}
	at, sure := scriptPlace(b)
	switch {
	case sure >= need:
	case len(b) < maxFirst:
		p.first = append(p.first[:0], b...)
		return nil
	case sure == vague:
		at = -1
	}
	p.done, p.first = true, nil
	if p.begin != nil {
		p.begin(at >= 0)
	}
	if at < 0 {
		_, err := p.w.Write(b)
		return err
	}
	all := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(all)
	all.Reset()
	all.Write(b[:at])
	all.WriteString(p.tag)
	all.Write(b[at:])
	_, err := p.w.Write(all.Bytes())
	return err
}
