package accesslog

import (
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"tqserver/internal/secret"
)

// appendJSON appends a request as an object without empty texts.
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
	return append(b, '}')
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

// appendJSONText appends the content of a JSON string (RFC 8259 section 7). It also
// escapes what a terminal would interpret, and replaces bytes that are not UTF-8,
// which JSON cannot hold, by U+FFFD.
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
