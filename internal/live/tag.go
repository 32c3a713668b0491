package live

import (
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"

	"tqserver/internal/state"
)

// tag is a script tag and what it says.
type tag struct {
	label
	text string
}

// label is what a tag says.
type label struct {
	face    string
	channel channel
	method  string
	nonce   string
}

// tag returns the tag for the document.
func (d *dressed) tag(via channel, nonce string) string {
	is := label{face: d.face, channel: via, nonce: nonce}
	if d.request.Method != http.MethodGet && d.request.Method != http.MethodHead { // the tag is about the response to GET
		is.method = d.request.Method
	}
	if build, _, _ := strings.Cut(d.Header().Get("X-Tq-Build"), ";"); build != "" {
		if build != strconv.Itoa(d.build) {
			is.face = d.live.servedFace(build, d.assets)
		}
	} else if p, ok := d.live.page(d.route); ok && p.ServingBuild == 0 {
		is.face = p.face // the response says how the page is
	}
	return d.live.tag(d.route, is)
}

// tag returns the tag with a label. Most often it is the newest of the page.
func (l *Live) tag(route string, is label) string {
	l.mu.Lock()
	last, ok := l.tags[route]
	l.mu.Unlock()
	if ok && last.label == is {
		return last.text
	}
	attributes := ""
	for _, a := range [][2]string{{"data-page", route}, {"data-face", is.face}, {"data-way", string(is.channel)}, {"data-method", is.method}, {"nonce", is.nonce}} {
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

// warnUnreloadable warns once for each page that the browser cannot reload it.
func (l *Live) warnUnreloadable(route, policy string) {
	l.mu.Lock()
	told := l.warned[route]
	l.warned[route] = true
	l.mu.Unlock()
	if !told {
		l.warn("the browser cannot be reloaded: the page's Content-Security-Policy forbids it", state.String("page", route), state.String("policy", state.Printable(policy)))
	}
}
