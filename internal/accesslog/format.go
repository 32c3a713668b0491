package accesslog

import (
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"tqserver/internal/secret"
)

// appendLine appends a request as one line in a format, with its newline.
func appendLine(b []byte, r *Record, format string) []byte {
	if format == "json" {
		return appendJSON(b, r)
	}
	b = appendField(b, r.Client)
	b = append(b, " - - ["...)
	b = r.Time.Local().AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	if r.Method == "" && r.Target == "" {
		b = append(b, '-')
	} else {
		b = appendEscaped(b, r.Method)
		b = append(b, ' ')
		b = appendEscaped(b, secret.URL(r.Target))
		if r.Proto != "" { // there was none before HTTP/1.0
			b = append(b, ' ')
			b = appendEscaped(b, r.Proto)
		}
	}
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	if r.Bytes == 0 {
		b = append(b, '-')
	} else {
		b = strconv.AppendInt(b, r.Bytes, 10)
	}
	if format == "combined" {
		b = append(b, ` "`...)
		b = appendQuoted(b, secret.URL(r.Referer))
		b = append(b, `" "`...)
		b = appendQuoted(b, r.UserAgent)
		b = append(b, '"')
	}
	return append(b, '\n')
}

// appendField appends what stands without quotes.
func appendField(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return appendWord(b, s)
}

// appendQuoted appends what stands in quotes.
func appendQuoted(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return appendEscaped(b, s)
}

const hexDigits = "0123456789abcdef"

// cEscapes are the bytes that Apache writes as C does (ap_escape_logitem).
var cEscapes = [256]byte{'\b': 'b', '\n': 'n', '\r': 'r', '\t': 't', '\v': 'v', '\\': '\\', '"': '"'}

// appendEscaped appends text as Apache does: what is not printable ASCII is
// escaped, byte by byte.
func appendEscaped(b []byte, s string) []byte {
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		if cEscapes[c] != 0 {
			b = append(b, '\\', cEscapes[c])
		} else {
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		}
		from = i + 1
	}
	return append(b, s[from:]...)
}

// appendWord is appendEscaped for text that must not have a space in it.
func appendWord(b []byte, s string) []byte {
	from := 0
	for i := range len(s) {
		if s[i] == ' ' {
			b = append(appendEscaped(b, s[from:i]), `\x20`...)
			from = i + 1
		}
	}
	return appendEscaped(b, s[from:])
}

// appendJSON appends a request as an object. Texts that are empty are left out.
func appendJSON(b []byte, r *Record) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.Local().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	b = appendMember(b, "client", r.Client)
	b = appendMember(b, "method", r.Method)
	b = appendMember(b, "target", secret.URL(r.Target))
	b = appendMember(b, "proto", r.Proto)
	b = appendMember(b, "host", secret.Host(r.Host))
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, r.Bytes, 10)
	b = append(b, `,"took_ms":`...)
	b = strconv.AppendFloat(b, float64(r.Took.Microseconds())/1e3, 'f', -1, 64)
	b = appendMember(b, "route", r.Route)
	b = appendMember(b, "upstream", r.Upstream)
	b = appendMember(b, "request_id", r.RequestID)
	b = appendMember(b, "trace_id", r.TraceID)
	b = appendMember(b, "referer", secret.URL(r.Referer))
	b = appendMember(b, "user_agent", r.UserAgent)
	return append(b, "}\n"...)
}

func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':', '"')
	b = appendJSONText(b, value)
	return append(b, '"')
}

// appendJSONText appends the inside of a JSON string (RFC 8259 section 7).
// What a terminal obeys is escaped too, and bytes that are no UTF-8 become
// U+FFFD, because JSON cannot hold them.
func appendJSONText(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == utf8.RuneError:
			b = append(b, "\uFFFD"...)
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case !unicode.IsPrint(r):
			for _, u := range utf16.AppendRune(nil, r) {
				b = append(b, '\\', 'u', hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
			}
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}
