package accesslog

import (
	"strconv"

	"tqserver/internal/secret"
)

// appendCommon appends a request in Apache's Common Log Format.
func appendCommon(b []byte, r *Record) []byte {
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
		if r.Proto != "" { // HTTP/0.9 had none
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
	return b
}

// appendField appends a value without quotes.
func appendCombined(b []byte, r *Record) []byte {
	b = appendCommon(b, r)
	b = append(b, ` "`...)
	b = appendQuoted(b, secret.URL(r.Referer))
	b = append(b, `" "`...)
	b = appendQuoted(b, r.UserAgent)
	return append(b, '"')
}

// appendQuoted appends a value that is in quotes.
func appendField(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return appendWord(b, s)
}

// cEscapes are the bytes that Apache writes as C does (ap_escape_logitem).
func appendQuoted(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return appendEscaped(b, s)
}

// appendEscaped escapes text as Apache does: byte by byte, what is not printable
// ASCII.
var cEscapes = [256]byte{'\b': 'b', '\n': 'n', '\r': 'r', '\t': 't', '\v': 'v', '\\': '\\', '"': '"'}

// appendWord is like appendEscaped and also escapes spaces.
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
