package static

import (
	"strconv"
	"strings"
)

// maxRanges is how many parts of a file may be asked for at once. Each costs its
// own header in the response.
const maxRanges = 64

// validRanges returns what the field Range asks for of so many bytes as
// [http.ServeContent] reads it right: it takes bytes=-0 for nothing of a file and
// sends that, refuses units that it does not know, and wants numbers of at most 63
// bits (RFC 9110 section 14.1). The empty string is the whole file.
func validRanges(field string, size int64) string {
	unit, set, _ := strings.Cut(field, "=")
	if !strings.EqualFold(unit, "bytes") || strings.Count(set, ",") >= maxRanges {
		return "" // which is allowed, and must be done with an unknown unit (section 14.2)
	}
	var ranges []string
	empty, none := true, "bytes="+strconv.FormatInt(size, 10)+"-" // which cannot be satisfied
	if size == 0 {
		none = "bytes=-" // it could
	}
	for part := range strings.SplitSeq(set, ",") {
		part = strings.Trim(part, " \t")
		if part == "" {
			continue
		}
		empty = false
		first, last, ok := strings.Cut(part, "-")
		from, isFrom := parsePosition(first)
		to, isTo := parsePosition(last)
		switch {
		case !ok, first != "" && !isFrom, last != "" && !isTo, first == "" && last == "", isFrom && isTo && to < from:
			return none
		case size == 0 && (isFrom || to > 0): // many ask for a range of everything
			return ""
		case isFrom && from >= size, !isFrom && to == 0:
			continue
		}
		ranges = append(ranges, formatPosition(from, isFrom)+"-"+formatPosition(to, isTo))
	}
	switch {
	case empty:
		return ""
	case ranges == nil:
		return none
	}
	return "bytes=" + strings.Join(ranges, ",")
}

// maxPosition is beyond the end of every file.
const maxPosition = 1<<62 - 1

// parsePosition returns a number of digits alone.
func parsePosition(s string) (n int64, ok bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = maxPosition
	}
	return min(n, maxPosition), true
}

func formatPosition(n int64, given bool) string {
	if !given {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
