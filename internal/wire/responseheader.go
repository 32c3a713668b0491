package wire

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

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

// noteTrailers notes which trailers the header announces.
func (w *response) noteTrailers() {
	for _, line := range w.header["Trailer"] {
		w.hasTrailer = true
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); isAllowedInTrailer(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
	if !w.hasTrailer {
		for name := range w.header {
			w.hasTrailer = w.hasTrailer || strings.HasPrefix(name, http.TrailerPrefix)
		}
	}
}

// decideFraming decides how the body is framed and whether the connection stays
// open. It returns the values of Connection.
func (w *response) decideFraming(sample []byte, whole bool) (connection []string) {
	allowed := statusAllowsBody(w.status)
	if whole && allowed && !w.hasTrailer && !w.hasLength && w.transferEncoding == "" && (!w.isHead || len(sample) > 0) {
		w.length = int64(len(sample))
	}
	connection = w.connection
	switch {
	case w.keepAlive10 && (w.isHead || w.length >= 0 || !allowed):
		if connection == nil {
			connection = []string{"keep-alive"}
		}
	case !w.is11:
		w.closeAfter = true
	}
	if w.length >= 0 && w.transferEncoding != "" && w.transferEncoding != "identity" {
		w.length = -1
	}
	switch {
	case w.isHead, !allowed, w.length >= 0:
	case w.is11 && w.transferEncoding != "identity":
		w.chunked = true
	default:
		w.closeAfter = true // the end of the connection ends the body
	}
	if w.c.server.isClosing() || w.body.hasUnread() && !w.closeAfter && (w.expectsContinue || !w.duplex && !w.drainBody()) {
		w.closeAfter = true
	}
	if w.closeAfter && !message.HasToken(connection, "close") && !(w.status == http.StatusSwitchingProtocols && message.HasToken(connection, "upgrade")) {
		connection = w.closeOptions(connection)
	}
	return connection
}

// closeOptions returns the values of Connection for a response that ends the
// connection.
func (w *response) closeOptions(connection []string) []string {
	if !w.is11 {
		return nil
	}
	options := "close"
	for option := range message.Members(connection) {
		if message.IsToken(option) && !strings.EqualFold(option, "keep-alive") {
			options = option + ", " + options
		}
	}
	return []string{options}
}

// finishHeader ends the header, so that the early part of the body can follow. The
// body begins with sample; if whole is set that is all of it.
func (w *response) finishHeader(sample []byte, whole bool) {
	w.headerDone = true
	connection, allowed, b := w.decideFraming(sample, whole), statusAllowsBody(w.status), w.out
	for _, value := range connection {
		b = appendField(b, "Connection", value)
	}
	if w.length >= 0 && allowed {
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, w.length, 10), "\r\n"...)
	}
	if w.sniffType && allowed && w.transferEncoding == "" && len(sample) > 0 {
		b = appendField(b, "Content-Type", http.DetectContentType(sample))
	}
	if !w.hasDate {
		b = append(b, "Date: "...)
		b = append(time.Now().UTC().AppendFormat(b, http.TimeFormat), "\r\n"...)
	}
	if w.chunked {
		b = appendField(b, "Transfer-Encoding", "chunked")
	}
	b = append(b, "\r\n"...)
	if cap(b) == headSize {
		b = w.pooled[:len(b)]
	}
	w.out = b
	early := w.early
	w.early = nil
	if !w.isHead && allowed {
		w.writeBody(early)
	}
}

func (w *response) appendTrailer(b []byte) []byte {
	for _, name := range w.trailers {
		for _, value := range w.header[name] {
			b = appendField(b, name, value)
		}
	}
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && isAllowedInTrailer(name) {
			for _, value := range values {
				b = appendField(b, name, value)
			}
		}
	}
	return b
}
