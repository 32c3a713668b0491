package wire

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tqserver/internal/message"
)

// isAllowedInTrailer reports whether a field may be in a trailer: it must not
// frame, route or modify a message (RFC 9110 section 6.5.1).
func isAllowedInTrailer(name string) bool {
	if strings.HasPrefix(name, "If-") {
		return false
	}
	switch name {
	case "Authorization", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Expect",
		"Host", "Keep-Alive", "Max-Forwards", "Pragma", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Range", "Realm",
		"Te", "Trailer", "Transfer-Encoding", "Www-Authenticate":
		return false
	}
	return message.IsToken(name)
}

// statusAllowsBody reports whether a response with this status may have a body (RFC
// 9110 sections 15.2, 15.3.5 and 15.4.5).
func statusAllowsBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func appendStatusLine(b []byte, is11 bool, status int) []byte {
	if is11 {
		b = append(b, "HTTP/1.1 "...)
	} else {
		b = append(b, "HTTP/1.0 "...)
	}
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	text := http.StatusText(status)
	if text == "" {
		text = fmt.Sprintf("status code %d", status)
	}
	return append(append(b, text...), "\r\n"...)
}

// appendFields appends the fields of a header that include selects and that can be
// written, sorted by name.
func appendFields(b []byte, h http.Header, include func(name string) bool) []byte {
	var array [32]string
	names := array[:0]
	for name := range h {
		if include(name) && message.IsToken(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			b = appendField(b, name, value)
		}
	}
	return b
}

// lineBreaks keeps a value in its line.
var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ")

func appendField(b []byte, name, value string) []byte {
	if strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 {
		value = lineBreaks.Replace(value)
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, strings.Trim(value, " \t")...)
	return append(b, "\r\n"...)
}
