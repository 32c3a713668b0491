package live

import (
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"

	"tqserver/internal/state"
)

// tag is a tag with what it says.
type tag struct {
	label
	text string
}

// label is what a tag says.
type label struct {
	face   string
	way    way
	method string
	nonce  string
}

// tag is what is put into the document.
func (d *dressed) tag(way way, nonce string) string {
	is := label{face: d.face, way: way, nonce: nonce}
	if d.request.Method != http.MethodGet && d.request.Method != http.MethodHead { // which tells of the answer to GET
		is.method = d.request.Method
	}
	if build, _, _ := strings.Cut(d.Header().Get("X-Tq-Build"), ";"); build != "" {
		if build != strconv.Itoa(d.build) {
			is.face = d.live.served(build, d.assets)
		}
	} else if p, ok := d.live.page(d.route); ok && p.ServingBuild == 0 {
		is.face = p.face // the answer says how the page is
	}
	return d.live.tag(d.route, is)
}

// tag makes a tag, or finds the last one of the page to say the same.
func (l *Live) tag(route string, is label) string {
	l.mu.Lock()
	last, ok := l.tags[route]
	l.mu.Unlock()
	if ok && last.label == is {
		return last.text
	}
	attributes := ""
	for _, a := range [][2]string{{"data-page", route}, {"data-face", is.face}, {"data-way", string(is.way)}, {"data-method", is.method}, {"nonce", is.nonce}} {
		if a[1] != "" {
			attributes += fmt.Sprintf(` %s="%s"`, a[0], html.EscapeString(a[1]))
		}
	}
	text := fmt.Sprintf(`<script async src="%s%s"%s></script>`, Reserved, scriptName, attributes)
	l.mu.Lock()
	l.tags[route] = tag{is, text}
	l.mu.Unlock()
	return text
}

// leaveAlone says, once a page, that it cannot be reloaded by itself.
func (l *Live) leaveAlone(route, policy string) {
	l.mu.Lock()
	told := l.refused[route]
	l.refused[route] = true
	l.mu.Unlock()
	if !told {
		l.warn("the browser cannot be reloaded: the page's Content-Security-Policy forbids it", state.String("page", route), state.String("policy", state.Printable(policy)))
	}
}
