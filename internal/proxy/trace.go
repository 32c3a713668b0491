package proxy

// The trace that a request belongs to, by W3C Trace Context
// (https://www.w3.org/TR/trace-context-1/, level 1). The standard allows to pass the
// header on unread, to add a span, or to begin another trace where trust ends. The
// proxy adds a span, so that its time can be told from the worker's, and trusts every
// client's trace id, because that grants nothing.

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
)

// continueTrace returns the traceparent of an exchange, a new span in the trace
// that its client began, and the tracestate that belongs to it, or begins a
// trace. The parameters are the lines of both fields.
//
// A trace that begins here is not marked as sampled: the proxy records no spans, and
// leaves the choice to those that do (section 3.2.2.5.1).
func continueTrace(parents, states []string) (traceparent, tracestate string) {
	b := make([]byte, 0, traceparentLen)
	id, sampled, ok := parseTraceparent(parents)
	b = append(b, "00-"...)
	if ok {
		b = append(b, id...)
		tracestate = parseTracestate(states)
	} else {
		b = appendRandom(appendRandom(b))
	}
	b = append(b, '-')
	b = appendRandom(b)
	if sampled {
		b = append(b, "-01"...)
	} else {
		b = append(b, "-00"...)
	}
	return string(b), tracestate
}

// traceparentLen is the length of a traceparent of version 00.
const traceparentLen = len("00-00112233445566778899aabbccddeeff-0011223344556677-00")

// appendRandom appends 16 hexadecimal digits that are not all zero. Traces and
// spans must be told apart, not kept secret, so that the fast generator serves;
// it is seeded by the system, for each process.
func appendRandom(b []byte) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], max(1, rand.Uint64()))
	return hex.AppendEncode(b, raw[:])
}

// parseTraceparent parses a traceparent by section 3.2. Of later versions it parses what
// this one has too (section 3.2.4). It knows one of the flags; the others are not passed
// on (section 3.2.2.5.2).
func parseTraceparent(lines []string) (traceID string, sampled, ok bool) {
	if len(lines) != 1 || len(lines[0]) < traceparentLen {
		return "", false, false
	}
	s := lines[0]
	version, id, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	switch {
	case s[2] != '-' || s[35] != '-' || s[52] != '-',
		!isLowerHex(version) || !isLowerHex(id) || !isLowerHex(parent) || !isLowerHex(flags),
		version == "ff",
		len(s) > traceparentLen && (version == "00" || s[traceparentLen] != '-'),
		strings.Trim(id, "0") == "" || strings.Trim(parent, "0") == "":
		return "", false, false
	}
	return id, strings.IndexByte("13579bdf", flags[1]) >= 0, true
}

func isLowerHex(s string) bool {
	for _, c := range []byte(s) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// maxStates is how many members a tracestate may have, and maxStateText how
// long the key and the value of each may be (sections 3.3.1.2 and 3.3.1.3).
const (
	maxStates    = 32
	maxStateText = 256
)

// parseTracestate returns a tracestate in one line, as it came, or nothing if
// it is malformed. What is well formed is never longer than the standard lets
// it be, and passed on whole: that is more than the 512 characters that it asks
// for (section 3.3.1.5).
func parseTracestate(lines []string) string {
	state := strings.Join(lines, ",")
	members, full := 0, false
	for member := range strings.SplitSeq(state, ",") {
		members++
		member = strings.Trim(member, " \t")
		if members > maxStates || member != "" && !isState(member) {
			return ""
		}
		full = full || member != ""
	}
	if !full {
		return "" // an empty one should not be sent (section 3.3.1.1)
	}
	return state
}

// isState reports whether a member of a tracestate is well formed. Keys are
// those of level 2 of the standard, which allows more of them than level 1 and
// is what senders go by.
func isState(member string) bool {
	key, value, ok := strings.Cut(member, "=")
	if !ok || key == "" || len(key) > maxStateText || value == "" || len(value) > maxStateText {
		return false
	}
	for i, c := range []byte(key) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || i > 0 && strings.IndexByte("_-*/@", c) >= 0) {
			return false
		}
	}
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' || c == '=' {
			return false
		}
	}
	return true
}
