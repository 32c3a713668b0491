package static

import (
	"strconv"
	"strings"
)

// maxRanges is how many parts of a file a request may ask for. Each costs a header
// in the response.
const maxRanges = 64

// validRanges returns the ranges of a Range field for a file of a size, in a form
// that [http.ServeContent] handles correctly: it treats bytes=-0 as a range,
// refuses unknown units, and wants numbers of at most 63 bits (RFC 9110 section
// 14.1). An empty string means the whole file.
func validRanges(field string, size int64) string {
	unit, set, _ := strings.Cut(field, "=")
	if !strings.EqualFold(unit, "bytes") || strings.Count(set, ",") >= maxRanges {
		return "" // allowed, and required for unknown units (section 14.2)
	}
	var ranges []string
	empty, none := true, "bytes="+strconv.FormatInt(size, 10)+"-" // cannot be satisfied
	if size == 0 {
		none = "bytes=-" // the other one could be satisfied
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
		case size == 0 && (isFrom || to > 0): // many clients ask for a range of everything
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

// parsePosition parses a number that consists of digits only.
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
